//! One signature of a state: read, told from others, verified.

use umiak_pvr::json::Value;
use umiak_spec::Digest;

use super::header::PvsHeader;
use super::{PvsError, Signers};
use crate::base64::{decode_url, encode_url};
use crate::chain::ChainError;
use crate::key::{Encoding, PublicKey};

/// Letters of a member's name that a message shows.
const SHOWN: usize = 64;
/// What a signature's document may have: of anything else nobody has signed what it says.
const MEMBERS: [&str; 4] = ["#spec", "payload", "protected", "signature"];

/// A signature that was read.
pub(super) struct Jws<'a> {
    name: &'a str,
    protected: &'a str,
    /// What it says itself that it is over, where it does.
    payload: Option<&'a Value>,
    signature: Vec<u8>,
    pub(super) header: PvsHeader,
}

impl<'a> Jws<'a> {
    /// Reads the value `name` of a state.
    pub(super) fn read(name: &'a str, value: &'a Value) -> Result<Self, PvsError> {
        let wrong = |reason: &str| PvsError::Form { name: name.to_owned(), reason: reason.to_owned() };
        let text = |member: &str| value.get(member).and_then(Value::as_str);
        let header = PvsHeader::of(name, value)?;
        let foreign = |member: &&String| !MEMBERS.contains(&member.as_str());
        if let Some(member) = value.as_object().and_then(|members| members.keys().find(foreign)) {
            let member: String = member.chars().filter(|letter| !letter.is_control()).take(SHOWN).collect();
            return Err(wrong(&format!("it has a member `{member}`, which no signature has")));
        }
        let protected = text("protected").ok_or_else(|| wrong("it has no header"))?;
        let signature = text("signature").and_then(decode_url);
        let signature = signature.ok_or_else(|| wrong("its signature is no base64"))?;
        Ok(Self { name, protected, payload: value.get("payload"), signature, header })
    }

    /// Tells this signature from every other: the same header and the same bytes.
    pub(super) fn mark(&self) -> Digest {
        Digest::of(format!("{}.{}", self.protected, encode_url(&self.signature)).as_bytes())
    }

    /// Who made it: the policy's name, and what tells the key from others. `now` is a moment that can be believed.
    pub(super) fn signer(
        &self,
        payload: &str,
        signers: &Signers<'_>,
        now: Option<u64>,
    ) -> Result<(String, Digest), PvsError> {
        let payload = encode_url(payload.as_bytes());
        if self.payload.is_some_and(|carried| carried.as_str() != Some(&payload)) {
            return Err(PvsError::Changed { name: self.name.to_owned() });
        }
        let message = format!("{}.{payload}", self.protected);
        let holds = |key: &PublicKey| {
            key.algorithm() == self.header.algorithm && key.verifies(message.as_bytes(), &self.signature, Encoding::Jws)
        };
        if let Some((name, key)) = signers.keys.iter().find(|(_, key)| holds(key)) {
            return Ok(((*name).to_owned(), key.identity()));
        }
        let name = || self.name.to_owned();
        let mut reason = None;
        for (authority, trusted) in signers.authorities.iter().filter(|_| !self.header.chain.is_empty()) {
            match trusted.key(&self.header.chain, now) {
                Ok(key) if holds(&key) => return Ok(((*authority).to_owned(), key.identity())),
                Ok(_) => return Err(PvsError::Changed { name: name() }),
                // Of several reasons the one that says most: the chain is trusted, and too old.
                Err(error @ ChainError::Expired { .. }) => reason = Some(error),
                Err(error) => reason = reason.or(Some(error)),
            }
        }
        Err(match reason {
            Some(source) => PvsError::Chain { name: name(), source },
            None => PvsError::DoesNotHold { name: name() },
        })
    }
}
