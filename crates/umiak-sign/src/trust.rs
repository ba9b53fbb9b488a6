//! The verdict: whether what is there is what the policy asks for.

use std::collections::BTreeSet;

use umiak_pvr::json::Object;
use umiak_spec::Digest;

use crate::cosign::Signature;
use crate::policy::{Cover, Demand, Policy};
use crate::pvs::{PvsError, SignedState};

/// Signers, how many of them, and how much of a state they have to cover.
type Needed<'p> = (&'p [String], usize, Cover);

/// Names that a message shows.
const SHOWN: usize = 5;

/// Why an app is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The policy refuses whatever comes from there.
    #[error("the policy accepts nothing from {origin}")]
    Refused {
        /// Where the app is from.
        origin: String,
    },
    /// Not enough signatures.
    #[error("{origin} is signed by {found} of the {threshold} that the policy asks for ({})", signers.join(", "))]
    Unsigned {
        /// Where the app is from.
        origin: String,
        /// How many signers there are.
        found: usize,
        /// How many there have to be.
        threshold: usize,
        /// Who counts.
        signers: Vec<String>,
    },
    /// A signature of a state that does not hold.
    #[error("{origin} is not what was signed")]
    State {
        /// Where the state is from.
        origin: String,
        /// What is wrong.
        source: PvsError,
    },
    /// Keys of a state that nobody signed.
    #[error("{origin} has files that nobody signed: {}", keys.join(", "))]
    Uncovered {
        /// Where the state is from.
        origin: String,
        /// The first of them.
        keys: Vec<String>,
    },
}

impl Policy {
    /// Whether signatures are needed before an app from `origin` is looked into.
    #[must_use]
    pub fn needs_signatures(&self, origin: &str) -> bool {
        matches!(self.demand(origin), Demand::Signed { .. })
    }

    /// Whether the manifest (or index) `digest` from `origin` is accepted: who vouches for it.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn check_manifest(
        &self,
        origin: &str,
        digest: &Digest,
        signatures: &[Signature],
    ) -> Result<Vec<String>, Distrust> {
        let Some((signers, threshold, _)) = self.demanded_of(origin)? else { return Ok(Vec::new()) };
        let keys = self.signers(signers).keys;
        let held = |key| signatures.iter().take(crate::MAX_SIGNATURES).any(|signature| signature.holds(key, digest));
        let found: Vec<_> = keys.into_iter().filter(|(_, key)| held(key)).collect();
        // One key under two names is one signer.
        let different: BTreeSet<Digest> = found.iter().map(|(_, key)| key.id()).collect();
        enough(origin, different.len(), threshold, signers)?;
        Ok(found.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    /// Whether a pvr state from `origin` is accepted: who vouches for it. Every signature in it has to
    /// hold, also one more than are needed.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn check_state(&self, origin: &str, state: &Object) -> Result<Vec<String>, Distrust> {
        let Some((names, threshold, cover)) = self.demanded_of(origin)? else { return Ok(Vec::new()) };
        let signed = SignedState::verify(state, &self.signers(names))
            .map_err(|source| Distrust::State { origin: origin.to_owned(), source })?;
        let signers: BTreeSet<&String> = signed.signatures.values().collect();
        enough(origin, signers.len(), threshold, names)?;
        let counts = |key: &&String| cover == Cover::All || key.contains('/');
        let keys: Vec<String> = signed.uncovered.iter().filter(counts).take(SHOWN).cloned().collect();
        if !keys.is_empty() {
            return Err(Distrust::Uncovered { origin: origin.to_owned(), keys });
        }
        Ok(signers.into_iter().cloned().collect())
    }

    /// Signers, threshold and cover, where signatures are asked for.
    fn demanded_of(&self, origin: &str) -> Result<Option<Needed<'_>>, Distrust> {
        match self.demand(origin) {
            Demand::Anything => Ok(None),
            Demand::Nothing => Err(Distrust::Refused { origin: origin.to_owned() }),
            Demand::Signed { signers, threshold, cover } => Ok(Some((signers, *threshold, *cover))),
        }
    }
}

fn enough(origin: &str, found: usize, threshold: usize, signers: &[String]) -> Result<(), Distrust> {
    if found >= threshold {
        return Ok(());
    }
    Err(Distrust::Unsigned { origin: origin.to_owned(), found, threshold, signers: signers.to_vec() })
}
