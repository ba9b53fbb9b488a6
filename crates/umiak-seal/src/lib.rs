//! Private keys, and what is made with them: signatures of pvr over states, and certificates for the keys that make them.
//!
//! ```text
//! PEM file  ->  FileKey  \
//! PKCS#11, KMS: yours    -- Signer --  seal(state, rule)  ->  _sigs/<name>.json
//! new_key(kind)          /             certificates       ->  chain (x5c), authority
//! ```
//!
//! Guarantees: what is signed is selected by the same code that verifies (`umiak_sign::Selection`); a signature is
//! verified before it is handed out; the same state, rule, key and chain give the same bytes, ECDSA included (RFC 6979),
//! so that packages are reproducible; a rule never selects by a bare `**`. Key bytes are wiped when they are dropped.
//!
//! What this crate does not do: read or write files, ask for passwords or the time, verify what others signed
//! (`umiak-sign`). Programs for devices do not have it.

mod authority;
mod der;
mod error;
mod key;
mod rule;
mod seal;
mod signer;

pub use authority::{Validity, issue, new_authority};
pub use error::SealError;
pub use key::{FileKey, Kind, encrypted, new_key, public_pem};
pub use rule::Rule;
pub use seal::{reseal, seal, sealed, with_payload};
pub use signer::Signer;
