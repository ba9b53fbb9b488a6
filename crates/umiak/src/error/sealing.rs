//! Errors of keys and signatures by what can be done about them.

use umiak_seal::SealError;
use umiak_sign::{ChainError, PvsError};

use crate::error::{Failure, Kind};

/// What to do about a key that cannot be used.
#[must_use]
pub fn hint_for_key(error: &SealError) -> &'static str {
    match error {
        SealError::PasswordNeeded => "name a file with the password: --password-file FILE, or - for standard input",
        SealError::WrongPassword => "the password is the first line of the file",
        SealError::Encryption => "`openssl pkcs8 -topk8 -in KEY -out FILE` protects it as PKCS#8",
        SealError::Public => "name the private key: --key FILE",
        SealError::Unknown => "`umiak keys new` makes a key",
        _ => "a private key is PKCS#8, PKCS#1 or SEC 1 in PEM: `openssl pkey -in KEY` says whether it is one",
    }
}

impl From<SealError> for Failure {
    fn from(error: SealError) -> Self {
        let (kind, hint) = match &error {
            SealError::Everything { .. } => {
                (Kind::Usage, "name what is meant, such as --include 'web/**' --include '#spec'")
            }
            SealError::Nothing { .. } => {
                (Kind::Usage, "it is the committed state that is signed: `umiak commit`; `umiak json` shows the files")
            }
            SealError::Itself { .. } => (Kind::Usage, "leave it out: --exclude '_sigs/NAME.json'"),
            SealError::NoSignature(_) => (Kind::Usage, "`umiak sig add` makes one"),
            SealError::NotItsKey => (Kind::Usage, "name the key's own certificates with --x5c, or none: --x5c no"),
            SealError::Stored(_) => (Kind::Untrusted, "sign it again with `umiak sig add`"),
            SealError::Form(_) => (Kind::Untrusted, "take the key from where it is kept safe"),
            SealError::Random | SealError::Signing(_) => (Kind::Environment, ""),
            _ => (Kind::Usage, ""),
        };
        let hints = if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] };
        Self::from_error(&error, kind, hints)
    }
}

impl From<PvsError> for Failure {
    fn from(error: PvsError) -> Self {
        let hint = match &error {
            PvsError::Changed { .. } => "if the change is meant, `umiak sig update` signs it",
            PvsError::DoesNotHold { .. } => {
                "if the change is meant, `umiak sig update` signs it; --cacerts and --pubkey say whose signatures count"
            }
            PvsError::Chain { source: ChainError::Expired { .. }, .. } => {
                "`umiak keys new --authority NAME` makes a key with a new certificate, `umiak sig update` signs with it"
            }
            PvsError::Chain { .. } => "--cacerts names the authorities that count",
            _ => "get it again from where it came from",
        };
        Self::from_error(&error, Kind::Untrusted, vec![hint.to_owned()])
    }
}
