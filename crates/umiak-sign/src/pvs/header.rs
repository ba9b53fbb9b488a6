//! The protected header of a pvr signature: how it was made, what it covers, which generation it is.
//!
//! Reading it verifies nothing: it says what somebody wrote. `SignedState::verify` says who.

use serde::Deserialize;
use umiak_pvr::json::Value;

use super::PvsError;
use super::selection::Selection;
use crate::base64::{decode, decode_url};
use crate::chain::{ChainError, MAX_CHAIN};
use crate::key::Algorithm;

/// What makes a value of a state a signature.
pub const PVS_SPEC: &str = "pvs@2";
/// The highest generation: the largest number that every reader of JSON holds exactly.
pub const MAX_GENERATION: u64 = (1 << 53) - 1;
/// Bytes of a header.
const MAX_HEADER: usize = 128 << 10;

/// What a header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PvsHeader {
    /// What kind of key signed.
    pub algorithm: Algorithm,
    /// Patterns of the keys that are signed.
    pub include: Vec<String>,
    /// Patterns of the keys that are not, although they belong to it.
    pub exclude: Vec<String>,
    /// A number that later signatures of the same parts do not go below; umiak's own member, which pvr and Pantavisor pass over.
    pub generation: Option<u64>,
    /// Certificates in DER, that of the key first; empty when there are none.
    pub chain: Vec<Vec<u8>>,
}

#[derive(Deserialize)]
struct Read {
    alg: String,
    pvs: Patterns,
    #[serde(default)]
    generation: Option<u64>,
    #[serde(default)]
    x5c: Option<Vec<String>>,
    /// Extensions that must be understood (RFC 7515 4.1.11): none are.
    #[serde(default)]
    crit: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Patterns {
    #[serde(default)]
    include: Option<Vec<String>>,
    #[serde(default)]
    exclude: Option<Vec<String>>,
}

impl PvsHeader {
    /// The header of a signature; `name` is its key in the state, for messages.
    ///
    /// # Errors
    /// [`PvsError::Form`] when it is no signature that can be read, [`PvsError::Chain`] for too many certificates.
    pub fn of(name: &str, document: &Value) -> Result<Self, PvsError> {
        let wrong = |reason: String| PvsError::Form { name: name.to_owned(), reason };
        let protected = document.get("protected").and_then(Value::as_str);
        let protected = protected.ok_or_else(|| wrong("it has no header".into()))?;
        if protected.len() > MAX_HEADER {
            return Err(wrong("its header is too long".into()));
        }
        let header = decode_url(protected).ok_or_else(|| wrong("its header is no base64".into()))?;
        let read: Read = serde_json::from_slice(&header).map_err(|error| wrong(error.to_string()))?;
        if read.crit.is_some() {
            return Err(wrong("it needs an extension that is not known".into()));
        }
        if read.generation.is_some_and(|generation| generation > MAX_GENERATION) {
            return Err(wrong(format!("its generation is above {MAX_GENERATION}")));
        }
        let algorithm = Algorithm::from_jws(&read.alg);
        let unknown = || wrong("its algorithm is not known: RS256, ES256, ES384 and EdDSA are".into());
        let chain = read.x5c.unwrap_or_default();
        if chain.len() > MAX_CHAIN {
            return Err(PvsError::Chain { name: name.to_owned(), source: ChainError::TooLong(chain.len()) });
        }
        let chain = chain.iter().map(|text| decode(text)).collect::<Option<_>>();
        Ok(Self {
            algorithm: algorithm.ok_or_else(unknown)?,
            include: read.pvs.include.unwrap_or_default(),
            exclude: read.pvs.exclude.unwrap_or_default(),
            generation: read.generation,
            chain: chain.ok_or_else(|| wrong("a certificate is no base64".into()))?,
        })
    }

    /// Its patterns.
    ///
    /// # Errors
    /// [`PvsError::Form`].
    pub fn selection(&self, name: &str) -> Result<Selection, PvsError> {
        let wrong = |error: super::SelectionError| PvsError::Form { name: name.to_owned(), reason: error.to_string() };
        Selection::parse(&self.include, &self.exclude).map_err(wrong)
    }
}
