//! Signing a part of a state: the document `_sigs/<name>.json`.
//!
//! The form is docs/formats/pvs.md. Guarantees: what the signature protects is not nothing and not itself; the chain is
//! the key's; the same input gives the same document.

use umiak_pvr::json::{Object, Value};
use umiak_pvr::{State, StatePath};
use umiak_sign::base64::{encode, encode_url};
use umiak_sign::der::{Der, INTEGER};
use umiak_sign::{Algorithm, ChainError, MAX_CHAIN, PVS_SPEC, PublicKey, key_of_certificate};
use umiak_spec::Digest;

use crate::error::SealError;
use crate::rule::Rule;
use crate::signer::{Signer, signed};

/// Signs what `rule` selects of `state`: the document that belongs under [`Rule::key`]. `chain` is empty, or certificates
/// in DER that lead from the signer's key to an authority (which itself need not be there).
///
/// # Errors
/// [`SealError`]: the rule selects nothing, everything or itself, the chain is not the key's, the key does not sign.
pub fn seal(state: &State, rule: &Rule, signer: &dyn Signer, chain: &[Vec<u8>]) -> Result<Value, SealError> {
    let payload = payload(state, rule)?;
    let header = header(rule, signer, chain)?;
    let protected = encode_url(header.canonical().as_bytes());
    let message = format!("{protected}.{}", encode_url(payload.as_bytes()));
    let signature = encode_url(&signed(signer, message.as_bytes())?);
    Ok(Value::object([
        ("#spec", Value::from(PVS_SPEC)),
        ("protected", Value::from(protected)),
        ("signature", Value::from(signature)),
    ]))
}

/// Signs a stored signature's part anew, by the rule that it was made by and with its generation.
///
/// # Errors
/// As [`seal`], and [`SealError::NoSignature`], [`SealError::Stored`].
pub fn reseal(state: &State, name: &str, signer: &dyn Signer, chain: &[Vec<u8>]) -> Result<Value, SealError> {
    seal(state, &Rule::stored(state, name)?, signer, chain)
}

/// The same document with what was signed inside, which pvr does with `--with-payload`: for readers that have no state.
///
/// # Errors
/// As [`seal`] for the rule.
pub fn with_payload(document: &Value, state: &State, rule: &Rule) -> Result<Value, SealError> {
    let mut members = document.as_object().cloned().unwrap_or_default();
    members.insert("payload".into(), Value::from(encode_url(payload(state, rule)?.as_bytes())));
    Ok(Value::Object(members))
}

fn payload(state: &State, rule: &Rule) -> Result<String, SealError> {
    let selection = rule.selection()?;
    let value = state.to_value();
    let none = Object::new();
    let mut members = value.as_object().unwrap_or(&none).clone();
    let own = rule.key();
    // The first signature of this name is no member yet, and will be one.
    members.entry(own.clone()).or_insert(Value::Null);
    let selected = selection.of(&members);
    if selected.protected.contains(&own.as_str()) {
        return Err(SealError::Itself { name: rule.name.clone() });
    }
    if selected.protected.is_empty() {
        return Err(SealError::Nothing { name: rule.name.clone() });
    }
    Ok(selected.payload)
}

fn header(rule: &Rule, signer: &dyn Signer, chain: &[Vec<u8>]) -> Result<Value, SealError> {
    let texts = |list: &[String]| Value::from(list.iter().map(String::as_str).collect::<Vec<_>>());
    let patterns = Value::object([("exclude", texts(&rule.exclude)), ("include", texts(&rule.include))]);
    let mut members = vec![
        ("alg", Value::from(signer.algorithm().jws())),
        ("jwk", jwk(signer)?),
        ("pvs", patterns),
        ("typ", Value::from("PVS")),
    ];
    if let Some(generation) = rule.generation {
        let generation = i64::try_from(generation).map_err(|_| SealError::Generation(generation))?;
        members.push(("generation", Value::from(generation)));
    }
    if let Some(leaf) = chain.first() {
        if chain.len() > MAX_CHAIN {
            return Err(ChainError::TooLong(chain.len()).into());
        }
        if key_of_certificate(leaf)?.id() != Digest::of(signer.spki()) {
            return Err(SealError::NotItsKey);
        }
        members.push(("x5c", Value::from(chain.iter().map(|der| encode(der)).collect::<Vec<_>>())));
    }
    Ok(Value::object(members))
}

/// The key as JWS has it (RFC 7517, RFC 7518 6): pvr wants one there. Nobody believes it.
fn jwk(signer: &dyn Signer) -> Result<Value, SealError> {
    let key = PublicKey::from_spki(signer.spki())?;
    let damaged = || SealError::Form("its public half cannot be read".into());
    let text = |bytes: &[u8]| Value::from(encode_url(bytes));
    let point = |curve: &str| {
        let (form, both) = key.bits().split_first().ok_or_else(damaged)?;
        let (x, y) = both.split_at(both.len() / 2);
        let members = [("crv", Value::from(curve)), ("kty", Value::from("EC")), ("x", text(x)), ("y", text(y))];
        // 4: both coordinates are there.
        if *form == 4 { Ok(Value::object(members)) } else { Err(damaged()) }
    };
    match signer.algorithm() {
        Algorithm::EcdsaP256 => point("P-256"),
        Algorithm::EcdsaP384 => point("P-384"),
        Algorithm::Rsa => {
            let mut numbers = Der::new(key.bits()).sequence().ok_or_else(damaged)?;
            let mut number = || {
                let digits = numbers.value(INTEGER).ok_or_else(damaged)?;
                Ok::<_, SealError>(text(digits.strip_prefix(&[0]).unwrap_or(digits)))
            };
            let (n, e) = (number()?, number()?);
            Ok(Value::object([("e", e), ("kty", Value::from("RSA")), ("n", n)]))
        }
        Algorithm::Ed25519 => Err(SealError::Unknown),
    }
}

/// The state with a signature in its place: what is committed or packed.
///
/// # Errors
/// [`SealError::Name`].
pub fn sealed(state: &State, rule: &Rule, document: Value) -> Result<State, SealError> {
    let path = StatePath::new(&rule.key()).map_err(|_| SealError::Name(rule.name.clone()))?;
    let mut state = state.clone();
    state.insert(path, umiak_pvr::Entry::Inline(document));
    Ok(state)
}
