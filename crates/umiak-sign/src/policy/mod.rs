//! The policy: whose signatures an app needs, by where it comes from. The document is docs/formats/policy.md.
//!
//! Guarantees: a rule names only keys that are there; what is not known is refused by its name, because a policy that is
//! half understood protects nobody; the first rule that matches decides, and where none does the default. Without a
//! policy file everything is accepted: digests still decide what is run. How far a rule goes that asks for signatures says its
//! mode, in Pantavisor's words.

mod merged;

use std::collections::BTreeMap;

use serde::Deserialize;
use umiak_spec::{DocumentError, Limits};

use crate::chain::{Authority, ChainError};
use crate::key::{KeyError, PublicKey};
use crate::pvs::Signers;
use crate::pvs::pattern::Pattern;

pub use merged::MERGED;
pub(crate) use merged::agree;

/// Rules, and keys, of one policy.
const MAX_RULES: usize = 256;

/// What an app needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Demand {
    /// Nothing: the digest is enough.
    Anything,
    /// It is refused, whoever signed it.
    Nothing,
    /// Signatures.
    Signed {
        /// How far this goes.
        mode: Mode,
        /// Who counts: names of keys and authorities.
        signers: Vec<String>,
        /// How many of them.
        threshold: usize,
        /// How much of a pvr state they have to cover.
        cover: Cover,
    },
}

/// How far it goes that signatures are asked for. `disabled` is [`Demand::Anything`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Mode {
    /// Everything is looked at, nothing refused: what `strict` would refuse is told.
    Audit,
    /// Signatures that are there have to hold; where there are none, none are asked for.
    Lenient,
    /// There have to be as many as the rule says, and they have to cover what it says.
    #[default]
    Strict,
}

/// How much of a pvr state signatures have to cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cover {
    /// Every key, `_sigs/` excepted: Pantavisor's `strict`.
    #[default]
    All,
    /// Every key in a directory: files at the top, and `#spec`, are free.
    Parts,
}

/// The policy of a device.
#[derive(Debug, Clone)]
pub struct Policy {
    keys: BTreeMap<String, PublicKey>,
    authorities: BTreeMap<String, Authority>,
    rules: Vec<(Pattern, Demand)>,
    default: Demand,
    /// Whether last days of certificates are passed over.
    pub(crate) timeless: bool,
}

/// Why bytes are no policy.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Too long, or not JSON of this shape.
    #[error("cannot read the policy")]
    Document(#[from] DocumentError),
    /// Another version.
    #[error("the policy is of version {0}, and only version 1 is known")]
    Version(u64),
    /// A key that is none.
    #[error("the key `{name}` of the policy cannot be used")]
    Key {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: KeyError,
    },
    /// An authority that is none.
    #[error("the authority `{name}` of the policy cannot be used")]
    Authority {
        /// Its name.
        name: String,
        /// What is wrong with it.
        source: ChainError,
    },
    /// A rule that makes no sense.
    #[error("the rule for `{from}` {reason}")]
    Rule {
        /// What it is for; `default` for the default.
        from: String,
        /// What is wrong with it.
        reason: String,
    },
    /// More than the limit.
    #[error("the policy has {0} rules, keys and authorities, more than the limit of {MAX_RULES}")]
    TooMany(usize),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    version: u64,
    #[serde(default)]
    mode: ReadMode,
    #[serde(default)]
    dates: ReadDates,
    #[serde(default)]
    keys: BTreeMap<String, String>,
    #[serde(default)]
    authorities: BTreeMap<String, String>,
    #[serde(default)]
    rules: Vec<ReadRule>,
    default: ReadRule,
}

/// A rule, or the default, which has no `from`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadRule {
    #[serde(default)]
    from: Option<String>,
    accept: Accept,
    #[serde(default)]
    signers: Vec<String>,
    #[serde(default)]
    threshold: Option<usize>,
    #[serde(default)]
    cover: Option<ReadCover>,
    #[serde(default)]
    mode: Option<ReadMode>,
}

#[derive(Deserialize, Clone, Copy, PartialEq)]
#[serde(rename_all = "lowercase")]
enum Accept {
    Any,
    None,
    Signed,
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum ReadCover {
    All,
    Parts,
}

/// As Pantavisor's `PV_SECUREBOOT_MODE` has them.
#[derive(Deserialize, Clone, Copy, PartialEq, Default)]
#[serde(rename_all = "lowercase")]
enum ReadMode {
    Disabled,
    Audit,
    Lenient,
    #[default]
    Strict,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Default)]
#[serde(rename_all = "lowercase")]
enum ReadDates {
    #[default]
    Clock,
    Ignore,
}

impl Default for Policy {
    fn default() -> Self {
        let (keys, authorities, rules) = Default::default();
        Self { keys, authorities, rules, default: Demand::Anything, timeless: false }
    }
}

impl Policy {
    /// Reads the document.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, PolicyError> {
        let (size, limit) = (bytes.len() as u64, limits.document);
        if size > limit {
            return Err(DocumentError::TooLarge { size, limit }.into());
        }
        let read: Read = serde_json::from_slice(bytes).map_err(DocumentError::from)?;
        if read.version != 1 {
            return Err(PolicyError::Version(read.version));
        }
        let count = read.keys.len() + read.authorities.len() + read.rules.len();
        if count > MAX_RULES {
            return Err(PolicyError::TooMany(count));
        }
        let key = |(name, pem): (String, String)| match PublicKey::from_pem(&pem) {
            Ok(key) => Ok((name, key)),
            Err(source) => Err(PolicyError::Key { name, source }),
        };
        let authority = |(name, pem): (String, String)| match Authority::from_pem(&pem) {
            Ok(authority) => Ok((name, authority)),
            Err(source) => Err(PolicyError::Authority { name, source }),
        };
        let mut policy = Self {
            keys: read.keys.into_iter().map(key).collect::<Result<_, _>>()?,
            authorities: read.authorities.into_iter().map(authority).collect::<Result<_, _>>()?,
            timeless: read.dates == ReadDates::Ignore,
            ..Self::default()
        };
        let both = policy.keys.keys().find(|name| policy.authorities.contains_key(*name));
        if let Some(name) = both {
            let reason = format!("cannot tell the key `{name}` from the authority of that name");
            return Err(PolicyError::Rule { from: "default".into(), reason });
        }
        for (at, mut rule) in read.rules.into_iter().enumerate() {
            let wrong = |from: String, reason: &str| PolicyError::Rule { from, reason: reason.to_owned() };
            let from = rule.from.take().ok_or_else(|| wrong(format!("rules[{at}]"), "has no `from`"))?;
            let pattern = Pattern::parse(&from);
            let pattern = pattern.ok_or_else(|| wrong(from.clone(), "has a pattern that is none"))?;
            policy.rules.push((pattern, policy.demanded(&from, rule, read.mode)?));
        }
        if read.default.from.is_some() {
            let reason = "has a `from`, and is for what no rule is for".to_owned();
            return Err(PolicyError::Rule { from: "default".into(), reason });
        }
        policy.default = policy.demanded("default", read.default, read.mode)?;
        Ok(policy)
    }

    /// What is read as a demand; `mode` is the policy's.
    fn demanded(&self, from: &str, read: ReadRule, mode: ReadMode) -> Result<Demand, PolicyError> {
        let wrong = |reason: String| PolicyError::Rule { from: from.to_owned(), reason };
        if read.accept != Accept::Signed {
            let more =
                !read.signers.is_empty() || read.threshold.is_some() || read.cover.is_some() || read.mode.is_some();
            if more {
                return Err(wrong("has signers and does not ask for signatures".into()));
            }
            return Ok(if read.accept == Accept::Any { Demand::Anything } else { Demand::Nothing });
        }
        let mut signers = read.signers;
        signers.sort_unstable();
        signers.dedup();
        let unknown =
            signers.iter().find(|name| !self.keys.contains_key(*name) && !self.authorities.contains_key(*name));
        if let Some(name) = unknown {
            return Err(wrong(format!("names the signer `{name}`, which the policy does not have")));
        }
        let threshold = read.threshold.unwrap_or(1);
        if threshold == 0 || threshold > signers.len() {
            return Err(wrong(format!("asks for {threshold} signatures of {} signers", signers.len())));
        }
        let cover = match read.cover {
            Some(ReadCover::Parts) => Cover::Parts,
            _ => Cover::All,
        };
        let mode = match read.mode.unwrap_or(mode) {
            ReadMode::Disabled => return Ok(Demand::Anything),
            ReadMode::Audit => Mode::Audit,
            ReadMode::Lenient => Mode::Lenient,
            ReadMode::Strict => Mode::Strict,
        };
        Ok(Demand::Signed { mode, signers, threshold, cover })
    }

    /// What an app from `origin` needs: a repository with its registry (`registry.example/team/shop`), or `file` and the
    /// path of a layout, bundle or package (`file/media/usb/shop.tar`).
    #[must_use]
    pub fn demand(&self, origin: &str) -> &Demand {
        let rule = self.rules.iter().find(|(pattern, _)| pattern.matches(origin));
        rule.map_or(&self.default, |(_, demand)| demand)
    }

    /// Whether there is anything that it asks for.
    #[must_use]
    pub fn asks(&self) -> bool {
        self.default != Demand::Anything || self.rules.iter().any(|(_, demand)| *demand != Demand::Anything)
    }

    /// The keys and authorities of these names.
    pub(crate) fn signers<'p>(&'p self, names: &[String]) -> Signers<'p> {
        let named = |name: &str| names.iter().any(|known| known == name);
        Signers {
            keys: self.keys.iter().filter(|(name, _)| named(name)).map(|(name, key)| (name.as_str(), key)).collect(),
            authorities: self
                .authorities
                .iter()
                .filter(|(name, _)| named(name))
                .map(|(name, authority)| (name.as_str(), authority))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The public half of a key that nobody has.
    pub(super) const KEY: &str = "-----BEGIN PUBLIC KEY-----\\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\\n-----END PUBLIC KEY-----\\n";

    fn policy(rules: &str) -> Result<Policy, PolicyError> {
        let text = format!(r#"{{"version":1,"keys":{{"k":"{KEY}"}},"rules":[{rules}],"default":{{"accept":"any"}}}}"#);
        Policy::parse(text.as_bytes(), &Limits::default())
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let policy = policy(
            r#"{"from":"r.example/a/open","accept":"any"},{"from":"r.example/a/**","accept":"signed","signers":["k"]},
               {"from":"file/**","accept":"none"}"#,
        )
        .unwrap();
        assert_eq!(policy.demand("r.example/a/open"), &Demand::Anything);
        let signed = Demand::Signed { mode: Mode::Strict, signers: vec!["k".into()], threshold: 1, cover: Cover::All };
        assert_eq!(policy.demand("r.example/a/b/c"), &signed);
        assert!(policy.needs_signatures("r.example/a/shop") && !policy.needs_signatures("r.example/b"));
        assert_eq!(policy.demand("file/media/usb/shop.tar"), &Demand::Nothing);
        assert_eq!(policy.demand("r.example/b"), &Demand::Anything);
        assert!(policy.asks() && !Policy::default().asks());
    }

    #[test]
    fn what_is_half_understood_is_refused() {
        for (rule, why) in [
            (r#"{"from":"a","accept":"signed","signers":["who"]}"#, "an unknown signer"),
            (r#"{"from":"a","accept":"signed"}"#, "no signers"),
            (r#"{"from":"a","accept":"signed","signers":["k","k"],"threshold":2}"#, "one key twice"),
            (r#"{"from":"a","accept":"signed","signers":["k"],"threshold":0}"#, "no signature"),
            (r#"{"from":"a","accept":"any","signers":["k"]}"#, "signers that do not count"),
            (r#"{"from":"a","accept":"sometimes"}"#, "an unknown word"),
            (r#"{"from":"a","accept":"any","mode":"audit"}"#, "nothing to look at"),
            (r#"{"from":"a","accept":"signed","signers":["k"],"mode":"lax"}"#, "a mode that Pantavisor has not"),
            (r#"{"from":"a","accept":"any","until":"2030"}"#, "an unknown member"),
            (r#"{"from":"a/[","accept":"any"}"#, "a pattern that is none"),
            (r#"{"from":"a","from":"b","accept":"any"}"#, "two places"),
            (r#"{"from":7,"accept":"any"}"#, "a place that is none"),
        ] {
            assert!(policy(rule).is_err(), "{why}");
        }
        let nowhere = policy(r#"{"from":"a","accept":"any"},{"accept":"any"}"#).unwrap_err();
        assert_eq!(nowhere.to_string(), "the rule for `rules[1]` has no `from`");
        let somewhere = br#"{"version":1,"default":{"from":"a","accept":"any"}}"#;
        assert!(
            matches!(Policy::parse(somewhere, &Limits::default()), Err(PolicyError::Rule { from, .. }) if from == "default")
        );
        let without_default = Policy::parse(br#"{"version":1}"#, &Limits::default());
        assert!(matches!(without_default, Err(PolicyError::Document(_))));
        let later = Policy::parse(br#"{"version":2,"default":{"accept":"any"}}"#, &Limits::default());
        assert!(matches!(later, Err(PolicyError::Version(2))));
    }

    #[test]
    fn a_mode_is_the_rules_own_or_the_policys() {
        let text = |mode: &str, rule: &str| {
            format!(
                r#"{{"version":1,{mode}"keys":{{"k":"{KEY}"}},"rules":[{{"from":"a","accept":"signed","signers":["k"]{rule}}}],
                    "default":{{"accept":"none"}}}}"#
            )
        };
        let signed = |mode| Demand::Signed { mode, signers: vec!["k".into()], threshold: 1, cover: Cover::All };
        for (mode, rule, demand) in [
            ("", "", signed(Mode::Strict)),
            (r#""mode":"lenient","#, "", signed(Mode::Lenient)),
            (r#""mode":"audit","#, r#","mode":"strict""#, signed(Mode::Strict)),
            (r#""mode":"disabled","#, "", Demand::Anything),
            ("", r#","mode":"disabled""#, Demand::Anything),
            ("", r#","mode":"audit""#, signed(Mode::Audit)),
        ] {
            let policy = Policy::parse(text(mode, rule).as_bytes(), &Limits::default()).unwrap();
            assert_eq!((policy.demand("a"), policy.demand("b")), (&demand, &Demand::Nothing), "{mode} {rule}");
            assert!(!policy.timeless);
        }
        let timeless = Policy::parse(text(r#""dates":"ignore","#, "").as_bytes(), &Limits::default()).unwrap();
        assert!(timeless.timeless);
        assert!(Policy::parse(text(r#""dates":"never","#, "").as_bytes(), &Limits::default()).is_err());
    }

    #[test]
    fn a_private_key_is_no_key_of_a_policy() {
        let text = "-----BEGIN PRIVATE KEY-----AQID-----END PRIVATE KEY-----";
        assert_eq!(PublicKey::from_pem(text), Err(KeyError::Private));
        assert_eq!(PublicKey::from_pem("ssh-ed25519 AAAA"), Err(KeyError::Pem));
        let damaged = KEY.replace("\\n", "\n").replace("MCow", "MCox");
        assert_eq!(PublicKey::from_pem(&damaged), Err(KeyError::Form));
    }
}
