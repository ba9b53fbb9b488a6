//! Who signs packages, and with which rules.

use std::fmt::Write as _;

use umiak_pvr::State;
use umiak_release::{Sealed, Sealing};
use umiak_seal::{Rule, Signer as _, seal};
use umiak_spec::{Digest, Sha256};

use super::git::Head;
use crate::cli::PkgBuildArgs;
use crate::commands::signing::{Signing, signing};
use crate::context::Context;
use crate::error::{Failure, Kind};

/// The signature over the state's format, and the key that says it.
const SPEC: (&str, &str) = ("_spec", "#spec");

/// A key, and what its signatures say besides.
pub struct Seal {
    signing: Signing,
    generation: Option<u64>,
    strict: bool,
}

impl Seal {
    /// What the flags mean; `None` when nothing is to be signed.
    ///
    /// # Errors
    /// There is no key; a generation that is none.
    pub fn of(context: &Context<'_>, arguments: &PkgBuildArgs, head: Option<&Head>) -> Result<Option<Self>, Failure> {
        if arguments.unsigned {
            return Ok(None);
        }
        let generation = generation(arguments.generation.as_deref(), head)?;
        let signing = signing(context, &arguments.signing)
            .map_err(|failure| failure.hint("--unsigned makes packages that nobody vouches for"))?;
        Ok(Some(Self { signing, generation, strict: arguments.strict }))
    }

    /// The generation that signatures have.
    #[must_use]
    pub const fn generation(&self) -> Option<u64> {
        self.generation
    }

    /// The signatures of a state with these apps.
    pub fn sign(&self, state: &State, apps: &[String]) -> Sealed {
        let part = |app: &String| Rule::part(app, &[], &[], true).of_generation(self.generation);
        let mut rules: Vec<Rule> = apps.iter().map(part).collect();
        if self.strict {
            rules.push(Rule::raw(SPEC.0, &[SPEC.1.to_owned()], &[]));
        }
        let sign = |rule: Rule| {
            let document = seal(state, &rule, &self.signing.key, &self.signing.chain)?;
            Ok((rule.name, document))
        };
        rules.into_iter().map(sign).collect()
    }

    /// As the library takes it; `sign` is [`Self::sign`].
    pub fn sealing<'a>(&self, sign: &'a (dyn Fn(&State, &[String]) -> Sealed + Sync)) -> Sealing<'a> {
        let mut chain = Sha256::new();
        self.signing.chain.iter().for_each(|certificate| chain.update(Digest::of(certificate).hex().as_bytes()));
        let mut identity = format!("{} {}", Digest::of(self.signing.key.spki()).hex(), chain.finish().hex());
        // Writing to a string cannot fail.
        let _ = write!(identity, " {:?} {}", self.generation, self.strict);
        Sealing { identity, seal: sign }
    }
}

/// The generation that was asked for, or that git counts.
fn generation(text: Option<&str>, head: Option<&Head>) -> Result<Option<u64>, Failure> {
    match (text, head) {
        (Some("none"), _) | (None, None) => Ok(None),
        (None | Some("git"), Some(head)) => Ok(Some(head.count)),
        (Some("git"), None) => Err(Failure::new(Kind::Usage, "there is no git history to count")
            .hint("give the generation as a number: --generation N")),
        (Some(number), _) => match number.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(Failure::new(Kind::Usage, format!("`{number}` is no generation"))
                .hint("--generation takes a number, `git` or `none`")),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_a_number_or_git_s() {
        let head = Head { count: 12, revision: "7ab223a".into(), dirty: false };
        let of = |text, head: Option<&Head>| generation(text, head).ok();
        assert_eq!(of(None, Some(&head)), Some(Some(12)));
        assert_eq!(of(None, None), Some(None));
        assert_eq!(of(Some("none"), Some(&head)), Some(None));
        assert_eq!(of(Some("7"), Some(&head)), Some(Some(7)));
        assert_eq!(of(Some("git"), None), None);
        assert_eq!(of(Some("-1"), None), None);
    }
}
