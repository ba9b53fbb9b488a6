//! Signatures of pvr: `_sigs/<name>.json`, a JWS over a part of the state.
//!
//! Follows `pvs@2` as pvr writes it and Pantavisor reads it: the header names what is covered by patterns; the payload is
//! the canonical JSON of the entries that they select and is not carried; the signature is over
//! `protected + "." + base64url(payload)`. Guarantees: the key that a header brings along (`jwk`) is never used; every
//! signature in the state has to hold under a key or authority of the policy, one that does not is an error and no
//! missing one. What is excluded counts as covered, as on Pantavisor: the signer said that it does not matter.

pub(crate) mod pattern;

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use umiak_pvr::json::{Object, Value};

use crate::MAX_SIGNATURES;
use crate::base64::{decode, decode_url, encode_url};
use crate::chain::{Authority, ChainError, MAX_CHAIN};
use crate::key::{Algorithm, Encoding, PublicKey};
use pattern::Pattern;

/// What makes a value a signature.
const SPEC: &str = "pvs@2";
/// Where signatures are, which need not be covered themselves.
const SIGNATURES: &str = "_sigs/";
/// Bytes of a header.
const MAX_HEADER: usize = 128 << 10;
/// Patterns of one signature.
const MAX_PATTERNS: usize = 256;

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
    /// Keys of the state that no signature covers; `_sigs/` is not counted.
    pub uncovered: Vec<String>,
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

#[derive(Deserialize)]
struct Header {
    alg: String,
    pvs: Rules,
    #[serde(default)]
    x5c: Option<Vec<String>>,
    /// Extensions that must be understood (RFC 7515 4.1.11): none are.
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Rules {
    #[serde(default)]
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Option<Vec<String>>,
}

/// A signature that was read.
struct Jws<'a> {
    name: &'a str,
    protected: &'a str,
    signature: Vec<u8>,
    algorithm: Algorithm,
    chain: Vec<Vec<u8>>,
    include: Vec<Pattern>,
    exclude: Vec<Pattern>,
}

impl SignedState {
    /// Verifies all signatures of a state.
    ///
    /// # Errors
    /// [`PvsError`]: the first that does not hold. That there is none at all is no error here.
    pub fn verify(state: &Object, signers: &Signers<'_>) -> Result<Self, PvsError> {
        let signatures: Vec<(&String, &Value)> =
            state.iter().filter(|(_, value)| value.get("#spec").and_then(Value::as_str) == Some(SPEC)).collect();
        if signatures.len() > MAX_SIGNATURES {
            return Err(PvsError::TooMany(signatures.len()));
        }
        let mut found = Self::default();
        let mut covered: BTreeSet<&str> = BTreeSet::new();
        for (name, value) in signatures {
            let jws = Jws::read(name, value)?;
            let (payload, spoken_for) = jws.payload(state);
            found.signatures.insert(name.clone(), jws.signer(&payload, signers)?);
            covered.extend(spoken_for);
        }
        let open = state.keys().filter(|key| !key.starts_with(SIGNATURES) && !covered.contains(key.as_str()));
        found.uncovered = open.cloned().collect();
        Ok(found)
    }
}

impl<'a> Jws<'a> {
    fn read(name: &'a str, value: &'a Value) -> Result<Self, PvsError> {
        let wrong = |reason: &str| PvsError::Form { name: name.to_owned(), reason: reason.to_owned() };
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let protected = text("protected").ok_or_else(|| wrong("it has no header"))?;
        let signature = text("signature").and_then(decode_url);
        let signature = signature.ok_or_else(|| wrong("its signature is no base64"))?;
        if protected.len() > MAX_HEADER {
            return Err(wrong("its header is too long"));
        }
        let header = decode_url(protected).ok_or_else(|| wrong("its header is no base64"))?;
        let header: Header = serde_json::from_slice(&header).map_err(|error| wrong(&error.to_string()))?;
        if header.crit.is_some() {
            return Err(wrong("it needs an extension that is not known"));
        }
        let algorithm = match header.alg.as_str() {
            "RS256" => Algorithm::Rsa,
            "ES256" => Algorithm::EcdsaP256,
            "ES384" => Algorithm::EcdsaP384,
            "EdDSA" => Algorithm::Ed25519,
            _ => return Err(wrong("its algorithm is not known: RS256, ES256, ES384 and EdDSA are")),
        };
        let chain = header.x5c.unwrap_or_default();
        if chain.len() > MAX_CHAIN {
            return Err(PvsError::Chain { name: name.to_owned(), source: ChainError::TooLong(chain.len()) });
        }
        let chain = chain.iter().map(|text| decode(text)).collect::<Option<_>>();
        let patterns = |list: Option<Vec<String>>| {
            let list = list.unwrap_or_default();
            if list.len() > MAX_PATTERNS {
                return Err(wrong("it has too many patterns"));
            }
            let parsed = list.iter().map(|text| Pattern::parse(text)).collect::<Option<Vec<_>>>();
            parsed.ok_or_else(|| wrong("it has a pattern that is none"))
        };
        Ok(Self {
            name,
            protected,
            signature,
            algorithm,
            chain: chain.ok_or_else(|| wrong("a certificate is no base64"))?,
            include: patterns(header.pvs.include)?,
            exclude: patterns(header.pvs.exclude)?,
        })
    }

    /// What was signed, and the keys that it speaks for.
    fn payload<'s>(&self, state: &'s Object) -> (Vec<u8>, Vec<&'s str>) {
        let any = |patterns: &[Pattern], key: &str| patterns.iter().any(|pattern| pattern.matches(key));
        let (mut selected, mut spoken_for) = (Object::new(), Vec::new());
        for (key, value) in state {
            if any(&self.exclude, key) {
                spoken_for.push(key.as_str());
            } else if any(&self.include, key) {
                selected.insert(key.clone(), value.clone());
                spoken_for.push(key.as_str());
            }
        }
        (Value::Object(selected).canonical().into_bytes(), spoken_for)
    }

    /// Who made it.
    fn signer(&self, payload: &[u8], signers: &Signers<'_>) -> Result<String, PvsError> {
        let message = format!("{}.{}", self.protected, encode_url(payload));
        let holds = |key: &PublicKey| {
            key.algorithm() == self.algorithm && key.verifies(message.as_bytes(), &self.signature, Encoding::Jws)
        };
        if let Some((name, _)) = signers.keys.iter().find(|(_, key)| holds(key)) {
            return Ok((*name).to_owned());
        }
        let mut reason = None;
        for (name, authority) in signers.authorities.iter().filter(|_| !self.chain.is_empty()) {
            match authority.key(&self.chain) {
                Ok(key) if holds(&key) => return Ok((*name).to_owned()),
                Ok(_) => return Err(PvsError::DoesNotHold { name: self.name.to_owned() }),
                Err(error) => reason = Some(error),
            }
        }
        let name = self.name.to_owned();
        Err(reason.map_or(PvsError::DoesNotHold { name: name.clone() }, |source| PvsError::Chain { name, source }))
    }
}
