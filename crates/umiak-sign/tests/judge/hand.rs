//! Signers with keys made of seeds, and policies of them.

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use umiak_pvr::json::{Object, Value};
use umiak_sign::{Policy, Selection, base64, pem};
use umiak_spec::Limits;

/// Where everything here is from.
pub const FROM: &str = "file/media/usb/shop.tgz";

/// An Ed25519 key as RFC 8410 has it, in front of its 32 bytes.
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Somebody who signs.
pub struct Hand {
    pub name: &'static str,
    key: Ed25519KeyPair,
}

/// What a signature is to be over.
#[derive(Clone, Copy, Default)]
pub struct Over<'o> {
    pub include: &'o [&'o str],
    pub exclude: &'o [&'o str],
    pub generation: Option<u64>,
}

impl Hand {
    pub fn new(name: &'static str) -> Self {
        let seed: Vec<u8> = name.bytes().cycle().take(32).collect();
        Self { name, key: Ed25519KeyPair::from_seed_unchecked(&seed).unwrap() }
    }

    fn public(&self) -> String {
        pem::block("PUBLIC KEY", &[&SPKI[..], self.key.public_key().as_ref()].concat())
    }

    /// The document of a signature over what it selects of a state.
    pub fn signature(&self, state: &Object, over: Over<'_>) -> Value {
        let texts = |list: &[&str]| list.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let (include, exclude) = (texts(over.include), texts(over.exclude));
        let payload = Selection::parse(&include, &exclude).unwrap().of(state).payload;
        let mut header = serde_json::json!({
            "alg": "EdDSA", "typ": "PVS", "pvs": { "include": include, "exclude": exclude },
        });
        if let Some(generation) = over.generation {
            header["generation"] = generation.into();
        }
        let protected = base64::encode_url(header.to_string().as_bytes());
        let message = format!("{protected}.{}", base64::encode_url(payload.as_bytes()));
        let signature = base64::encode_url(self.key.sign(message.as_bytes()).as_ref());
        let members = [("#spec", "pvs@2"), ("protected", &protected), ("signature", &signature)];
        Value::object(members.map(|(name, text)| (name, Value::from(text))))
    }

    /// Signs a state, under a name.
    pub fn sign(&self, state: &mut Object, name: &str, over: Over<'_>) {
        let signature = self.signature(state, over);
        state.insert(format!("_sigs/{name}.json"), signature);
    }
}

/// A policy for [`FROM`] (and more rules), of these signers.
pub fn policy(hands: &[&Hand], more: &str, rules: &str) -> Policy {
    let keys: serde_json::Map<_, _> = hands.iter().map(|hand| (hand.name.to_owned(), hand.public().into())).collect();
    let signers: Vec<&str> = hands.iter().map(|hand| hand.name).collect();
    let (keys, signers) = (serde_json::Value::from(keys), serde_json::json!(signers));
    let text = format!(
        r#"{{"version":1,"keys":{keys},"rules":[{rules}{{"from":"file/**","accept":"signed","signers":{signers}{more}}}],
            "default":{{"accept":"none"}}}}"#
    );
    Policy::parse(text.as_bytes(), &Limits::default()).unwrap()
}

/// A state of these files, each with a document that says which it is.
pub fn state(files: &[&str]) -> Object {
    let file = |key: &&str| ((*key).to_owned(), Value::object([("name", Value::from(*key))]));
    let mut state: Object = files.iter().map(file).collect();
    state.insert("#spec".to_owned(), "pantavisor-service-system@1".into());
    state
}
