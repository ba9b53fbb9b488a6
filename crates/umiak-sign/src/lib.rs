//! Who vouches for an app: public keys, the signatures that cosign and pvr write, and the policy that asks for them.
//!
//! ```text
//! Policy  rules: where an app is from -> whose signatures it needs
//!    |
//!    +-- image, Compose App:  Signature (cosign: simple signing, or a Sigstore bundle) over the manifest's digest
//!    +-- pvr state:           _sigs (JWS over the selected part of the state), by key or by chain of certificates
//! ```
//!
//! Guarantees: nothing that was signed is looked into before its signature holds; no network and no clock is asked, a
//! moment is handed in; a key that a document brings along is never believed; inputs have named limits, and decoders return an error or a
//! value on any bytes. What this crate does not do: fetch signatures, sign, keep private keys
//! (the crate umiak-seal does, so that a device's program has none of it).

pub mod base64;
mod certificate;
mod chain;
mod cosign;
pub mod der;
mod key;
pub mod pem;
mod policy;
mod pvs;
mod trust;

pub use chain::{Authority, ChainError, MAX_CHAIN, key_of_certificate};
pub use cosign::{
    ARTIFACT_TYPE, BUNDLE, Found, SIMPLE_SIGNING, Signature, SignatureError, SignatureManifest, signature_tag,
};
pub use key::{Algorithm, Encoding, KeyError, PublicKey};
pub use policy::{Cover, Demand, MERGED, Mode, Policy, PolicyError};
pub use pvs::{
    Known, MAX_GENERATION, PVS_SPEC, PvsError, PvsHeader, Report, Selected, Selection, SelectionError, SignedState,
    Signers, Standing,
};
pub use trust::{Distrust, Vouched};

/// Signatures that are tried for one app, or in one state: more is somebody's joke.
pub const MAX_SIGNATURES: usize = 64;
