//! Signatures of pvr: `_sigs/<name>.json`, a JWS over a part of the state.
//!
//! Follows `pvs@2` as pvr writes it and Pantavisor reads it: the header names what is covered by patterns; the payload is
//! the canonical JSON of the entries that they select and is not carried; the signature is over
//! `protected + "." + base64url(payload)`. Guarantees: the key that a header brings along (`jwk`) is never used; every
//! signature in the state has to hold under a key or authority of the policy, one that does not is an error and no
//! missing one. What is excluded counts as covered, as on Pantavisor: the signer said that it does not matter.

mod header;
pub(crate) mod pattern;
mod selection;

use std::collections::{BTreeMap, BTreeSet};

use umiak_pvr::json::{Object, Value};

use crate::MAX_SIGNATURES;
use crate::base64::{decode_url, encode_url};
use crate::chain::{Authority, ChainError};
use crate::key::{Encoding, PublicKey};

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
    /// It does not hold.
    #[error("the signature {name} was made by no key that is trusted, or something that it covers was changed")]
    DoesNotHold {
        /// Its key in the state.
        name: String,
    },
    /// Too many.
    #[error("the state has {0} signatures, more than the limit of {MAX_SIGNATURES}")]
    TooMany(usize),
}

/// A signature that was read.
struct Jws<'a> {
    name: &'a str,
    protected: &'a str,
    signature: Vec<u8>,
    header: PvsHeader,
}

impl SignedState {
    /// Verifies all signatures of a state.
    ///
    /// # Errors
    /// [`PvsError`]: the first that does not hold. That there is none at all is no error here.
    pub fn verify(state: &Object, signers: &Signers<'_>) -> Result<Self, PvsError> {
        let signatures: Vec<(&String, &Value)> =
            state.iter().filter(|(_, value)| value.get("#spec").and_then(Value::as_str) == Some(PVS_SPEC)).collect();
        if signatures.len() > MAX_SIGNATURES {
            return Err(PvsError::TooMany(signatures.len()));
        }
        let mut found = Self::default();
        let (mut protected, mut excluded) = (BTreeSet::new(), BTreeSet::new());
        for (name, value) in signatures {
            let jws = Jws::read(name, value)?;
            let selected = jws.header.selection(name)?.of(state);
            found.signatures.insert(name.clone(), jws.signer(&selected.payload, signers)?);
            found.generations.extend(jws.header.generation.map(|generation| (name.clone(), generation)));
            protected.extend(selected.protected);
            excluded.extend(selected.excluded);
        }
        let seen = |key: &str| protected.contains(key) || excluded.contains(key);
        let open = state.keys().filter(|key| !key.starts_with(SIGNATURES) && !seen(key));
        found.uncovered = open.cloned().collect();
        found.excluded = excluded.difference(&protected).map(|key| (*key).to_owned()).collect();
        found.protected = protected.iter().map(|key| (*key).to_owned()).collect();
        Ok(found)
    }

    /// What is covered and what is not, as people ask for it.
    #[must_use]
    pub fn report(&self) -> Report {
        let Self { protected, excluded, uncovered, .. } = self.clone();
        Report { protected, excluded, notseen: uncovered }
    }
}

impl<'a> Jws<'a> {
    fn read(name: &'a str, value: &'a Value) -> Result<Self, PvsError> {
        let wrong = |reason: &str| PvsError::Form { name: name.to_owned(), reason: reason.to_owned() };
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let header = PvsHeader::of(name, value)?;
        let protected = text("protected").ok_or_else(|| wrong("it has no header"))?;
        let signature = text("signature").and_then(decode_url);
        let signature = signature.ok_or_else(|| wrong("its signature is no base64"))?;
        Ok(Self { name, protected, signature, header })
    }

    /// Who made it.
    fn signer(&self, payload: &str, signers: &Signers<'_>) -> Result<String, PvsError> {
        let message = format!("{}.{}", self.protected, encode_url(payload.as_bytes()));
        let holds = |key: &PublicKey| {
            key.algorithm() == self.header.algorithm && key.verifies(message.as_bytes(), &self.signature, Encoding::Jws)
        };
        if let Some((name, _)) = signers.keys.iter().find(|(_, key)| holds(key)) {
            return Ok((*name).to_owned());
        }
        let mut reason = None;
        for (name, authority) in signers.authorities.iter().filter(|_| !self.header.chain.is_empty()) {
            match authority.key(&self.header.chain) {
                Ok(key) if holds(&key) => return Ok((*name).to_owned()),
                Ok(_) => return Err(PvsError::DoesNotHold { name: self.name.to_owned() }),
                Err(error) => reason = Some(error),
            }
        }
        let name = self.name.to_owned();
        Err(reason.map_or(PvsError::DoesNotHold { name: name.clone() }, |source| PvsError::Chain { name, source }))
    }
}
