//! Signatures of pvr: `_sigs/<name>.json`, a JWS over a part of the state.
//!
//! Follows `pvs@2` as pvr writes it and Pantavisor reads it: the header names what is covered by patterns; the payload is
//! the canonical JSON of the entries that they select and is not carried; the signature is over
//! `protected + "." + base64url(payload)`. Guarantees: the key that a header brings along (`jwk`) is never used; every
//! signature in the state has to hold under a key or authority of the policy, one that does not is an error and no
//! missing one. What is excluded counts as covered, as on Pantavisor: the signer said that it does not matter.
//!
//! The page is docs/formats/pvs.md; what generations mean is in `generation`.

pub(crate) mod generation;
mod header;
mod jws;
pub(crate) mod pattern;
mod selection;
mod voices;

use std::collections::{BTreeMap, BTreeSet};

use umiak_pvr::json::{Object, Value};
use umiak_spec::Digest;

use crate::MAX_SIGNATURES;
use crate::chain::{Authority, ChainError};
use crate::key::PublicKey;
use jws::Jws;
use voices::{Voice, Voices};

pub use header::{MAX_GENERATION, PVS_SPEC, PvsHeader};
pub use selection::{Selected, Selection, SelectionError};

/// Where signatures are, which need not be covered themselves.
const SIGNATURES: &str = "_sigs/";

/// Whose signatures count: by the names that the policy has for them.
#[derive(Debug, Clone, Default)]
pub struct Signers<'a> {
    /// Keys.
    pub keys: Vec<(&'a str, &'a PublicKey)>,
    /// Authorities, for signatures that bring a chain of certificates.
    pub authorities: Vec<(&'a str, &'a Authority)>,
}

/// Comparisons of a pattern with a key, for all signatures of one state together: thousands of files under hundreds of
/// patterns.
const MAX_COMPARISONS: usize = 1 << 24;

/// What the signatures of a state say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SignedState {
    /// Key of the signature in the state, and who made it.
    pub signatures: BTreeMap<String, String>,
    /// The generations that signatures have, by the same key; a signature need not have one.
    pub generations: BTreeMap<String, u64>,
    /// Keys of the state whose values are signed.
    pub protected: Vec<String>,
    /// Keys that a signer left out by name, and no other signature protects: they count as covered.
    pub excluded: Vec<String>,
    /// Keys of the state that no signature covers; `_sigs/` is not counted.
    pub uncovered: Vec<String>,
    pub(crate) voices: Voices,
}

/// What is known when the signatures of a state are looked at.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The moment, in seconds since 1970, where there is a clock that can be believed: certificates whose last day is over are
    /// refused. Without it last days are not looked at.
    pub now: Option<u64>,
    /// Generations that were accepted, by part of a state: older ones are refused.
    pub generations: BTreeMap<String, u64>,
    /// Signatures that were accepted before and are in what runs now.
    pub standing: Standing,
}

/// What runs now, and was accepted before. Its signatures are asked neither for their certificates' last days nor for their
/// generations when they come again beside something else; its files may be in a merged state, whoever signed them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    signatures: BTreeSet<Digest>,
    entries: BTreeSet<(String, Digest)>,
}

impl Standing {
    /// Takes a state in.
    pub fn add(&mut self, state: &Object) {
        let found = signatures(state).take(MAX_SIGNATURES);
        self.signatures.extend(found.filter_map(|(name, value)| Some(Jws::read(name, value).ok()?.mark())));
        self.entries.extend(state.iter().map(|(key, value)| (key.clone(), mark(value))));
    }

    /// Whether a key with this value is in what runs.
    pub(crate) fn has(&self, key: &str, value: &Value) -> bool {
        self.entries.contains(&(key.to_owned(), mark(value)))
    }
}

fn mark(value: &Value) -> Digest {
    Digest::of(value.canonical().as_bytes())
}

/// What signatures cover, in pvr's words (`pvr sig ls`).
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
pub struct Report {
    /// Keys whose values are signed.
    pub protected: Vec<String>,
    /// Keys that belong to what is signed, and may have any value.
    pub excluded: Vec<String>,
    /// Keys that nobody speaks for; `_sigs/` is not counted.
    pub notseen: Vec<String>,
}

/// Why a state's signatures are not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PvsError {
    /// Something that should be a signature.
    #[error("the signature {name} cannot be read: {reason}")]
    Form {
        /// Its key in the state.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The certificates that it brings.
    #[error("the certificates of the signature {name} are not trusted")]
    Chain {
        /// Its key in the state.
        name: String,
        /// Why.
        source: ChainError,
    },
    /// Its certificates are trusted, and it does not hold.
    #[error("the signature {name} is over something else: what it covers was changed after it was signed")]
    Changed {
        /// Its key in the state.
        name: String,
    },
    /// It does not hold under any key.
    #[error("the signature {name} was made by no key that is trusted, or something that it covers was changed")]
    DoesNotHold {
        /// Its key in the state.
        name: String,
    },
    /// One that is over nothing.
    #[error("the signature {name} is over nothing: no file of the state is one that it means")]
    Nothing {
        /// Its key in the state.
        name: String,
    },
    /// Too many.
    #[error("the state has {0} signatures, more than the limit of {MAX_SIGNATURES}")]
    TooMany(usize),
    /// More to compare than anybody's signatures need.
    #[error(
        "the patterns of the state's signatures and its files make more comparisons than the limit of {MAX_COMPARISONS}"
    )]
    TooMuch,
}

/// The signatures of a state, wherever they are in it: Pantavisor looks for them by their form as well.
fn signatures(state: &Object) -> impl Iterator<Item = (&String, &Value)> {
    state.iter().filter(|(_, value)| is_signature(value))
}

fn is_signature(value: &Value) -> bool {
    value.get("#spec").and_then(Value::as_str) == Some(PVS_SPEC)
}

/// Whether a key has to be covered: what is no signature has to be, also below `_sigs/`, for it could be run.
pub(crate) fn needs_cover(key: &str, value: &Value) -> bool {
    !(key.starts_with(SIGNATURES) && is_signature(value))
}

/// Whether a signer can leave a key out. Below `_sigs/` he means signatures, and nothing else that comes under such a name.
fn may_be_left(key: &str, value: &Value) -> bool {
    !key.starts_with(SIGNATURES) || is_signature(value)
}

impl SignedState {
    /// Verifies all signatures of a state, whatever the day: see [`Self::verify_at`].
    ///
    /// # Errors
    /// [`PvsError`]: the first that does not hold. That there is none at all is no error here.
    pub fn verify(state: &Object, signers: &Signers<'_>) -> Result<Self, PvsError> {
        Self::verify_at(state, signers, None)
    }

    /// Verifies all signatures of a state at the moment `now`, in seconds since 1970: certificates whose last day is over are
    /// refused.
    ///
    /// # Errors
    /// [`PvsError`]: the first that does not hold. That there is none at all is no error here.
    pub fn verify_at(state: &Object, signers: &Signers<'_>, now: Option<u64>) -> Result<Self, PvsError> {
        let (found, mut refused) = Self::examine(state, signers, &Known { now, ..Known::default() });
        if refused.is_empty() { Ok(found) } else { Err(refused.swap_remove(0)) }
    }

    /// The same to the end: what the signatures that hold say, and why each of the others does not.
    #[must_use]
    pub fn examine(state: &Object, signers: &Signers<'_>, known: &Known) -> (Self, Vec<PvsError>) {
        let (mut found, mut refused) = (Self::default(), Vec::new());
        let count = signatures(state).count();
        if count > MAX_SIGNATURES {
            refused.push(PvsError::TooMany(count));
        }
        let mut compared = 0_usize;
        for (name, value) in signatures(state).take(MAX_SIGNATURES) {
            let (jws, selection) = match Jws::read(name, value).and_then(|jws| Ok((jws.header.selection(name)?, jws))) {
                Ok((selection, jws)) => (jws, selection),
                Err(error) => {
                    refused.push(error);
                    continue;
                }
            };
            // Nobody has signed yet what says how much is to be done.
            compared = compared.saturating_add(selection.patterns().saturating_mul(state.len()));
            if compared > MAX_COMPARISONS {
                refused.push(PvsError::TooMuch);
                break;
            }
            let stands = known.standing.signatures.contains(&jws.mark());
            let mut selected = selection.of(state);
            if selected.protected.is_empty() {
                refused.push(PvsError::Nothing { name: name.clone() });
                continue;
            }
            selected.excluded.retain(|key| may_be_left(key, &state[*key]));
            match jws.signer(&selected.payload, signers, known.now.filter(|_| !stands)) {
                Ok((signer, key)) => {
                    let generation = jws.header.generation;
                    found.signatures.insert(name.clone(), signer.clone());
                    found.generations.extend(generation.map(|generation| (name.clone(), generation)));
                    found.voices.add(Voice { signer, key, generation, stands }, &selected);
                }
                Err(error) => refused.push(error),
            }
        }
        for (key, value) in state {
            if found.voices.signed(key) {
                found.protected.push(key.clone());
            } else if found.voices.speak_for(key) {
                found.excluded.push(key.clone());
            } else if needs_cover(key, value) {
                found.uncovered.push(key.clone());
            }
        }
        (found, refused)
    }

    /// What is covered and what is not, as people ask for it.
    #[must_use]
    pub fn report(&self) -> Report {
        let Self { protected, excluded, uncovered, .. } = self.clone();
        Report { protected, excluded, notseen: uncovered }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_signed_cannot_ask_for_work_without_end() {
        let header =
            serde_json::json!({"alg": "RS256", "typ": "PVS", "pvs": {"include": vec!["a?c*e"; 200], "exclude": []}});
        let protected = crate::base64::encode_url(header.to_string().as_bytes());
        let forged = serde_json::json!({"#spec": "pvs@2", "protected": protected, "signature": "AAAA"});
        let mut state = serde_json::Map::new();
        state.insert("_sigs/a.json".into(), forged);
        let examined = |state: &serde_json::Map<String, serde_json::Value>| {
            let text = serde_json::to_string(state).unwrap();
            let Value::Object(state) = Value::parse(text.as_bytes(), 4 << 20).unwrap() else { panic!("an object") };
            SignedState::examine(&state, &Signers::default(), &Known::default()).1
        };
        assert!(!examined(&state).contains(&PvsError::TooMuch));
        state.extend((0..90_000).map(|number| (format!("{number}"), serde_json::Value::from(0))));
        assert_eq!(examined(&state), [PvsError::TooMuch]);
    }

    #[test]
    fn what_is_no_signature_is_covered_by_no_name() {
        let text = r##"{"#spec":"x","_sigs/a.json":{"#spec":"pvs@2"},"_sigs/run.json":{"#spec":"service-manifest-run@1"},"_sigs/root.squashfs":"0"}"##;
        let Value::Object(state) = Value::parse(text.as_bytes(), 1 << 10).unwrap() else { panic!("an object") };
        let (found, refused) = SignedState::examine(&state, &Signers::default(), &Known::default());
        assert_eq!(found.uncovered, ["#spec", "_sigs/root.squashfs", "_sigs/run.json"]);
        assert_eq!(refused.len(), 1, "what is one has to hold");
    }
}
