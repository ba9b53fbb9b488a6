//! Why something could not be signed, read or made.

use umiak_sign::{ChainError, KeyError, MAX_GENERATION, PvsError, SelectionError};

/// Why something could not be signed, read or made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not PEM, or not one private key in it.
    #[error("it is not one private key in PEM")]
    Pem,
    /// A public key, or a certificate: nothing can be signed with it.
    #[error("it is not the private key: nothing can be signed with a public key or a certificate")]
    Public,
    /// The key is encrypted, and no password was given.
    #[error("the key is protected by a password")]
    PasswordNeeded,
    /// The password does not open the key.
    #[error("the password does not open the key")]
    WrongPassword,
    /// Encrypted as PEM was before PKCS#8, which protects next to nothing; or in a way that is not known.
    #[error("the key is encrypted in a way that is not known: PKCS#8 with PBKDF2 or scrypt, and AES, is")]
    Encryption,
    /// The key's bytes make no sense, or contradict each other.
    #[error("the private key is damaged: {0}")]
    Form(String),
    /// A key of another kind.
    #[error("it is a key of a kind that is not known: RSA (2048 to 4096 bits), P-256 and P-384 are")]
    Unknown,
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
    /// The key gave no signature, or one that does not hold.
    #[error("the key makes no signature that holds{}", if .0.is_empty() { String::new() } else { format!(": {}", .0) })]
    Signing(String),
    /// The name of a signature.
    #[error("`{0}` is no name of a signature: it becomes the file _sigs/NAME.json")]
    Name(String),
    /// A rule that selects by a bare `**`.
    #[error(
        "the rule of `{name}` has the pattern `**`, which means every file there is or will be, and on a device none"
    )]
    Everything {
        /// Of which signature.
        name: String,
    },
    /// Patterns that are none.
    #[error("the rule of `{name}` cannot be used")]
    Patterns {
        /// Of which signature.
        name: String,
        /// What is wrong with them.
        source: SelectionError,
    },
    /// A rule that selects nothing.
    #[error("the rule of `{name}` selects no file of the state")]
    Nothing {
        /// Of which signature.
        name: String,
    },
    /// A rule that selects the signature itself.
    #[error("the rule of `{name}` selects the signature's own file, which changes with it")]
    Itself {
        /// Of which signature.
        name: String,
    },
    /// A generation above the limit.
    #[error("{0} is no generation: they end at {MAX_GENERATION}")]
    Generation(u64),
    /// There is no signature of that name.
    #[error("the state has no signature `{0}`")]
    NoSignature(String),
    /// A stored signature whose rule cannot be read.
    #[error("the stored signature cannot be used")]
    Stored(#[from] PvsError),
    /// Certificates that cannot be used.
    #[error("the certificates cannot be used")]
    Chain(#[from] ChainError),
    /// The first certificate is for another key.
    #[error("the first certificate is not for this key")]
    NotItsKey,
    /// What a certificate should say.
    #[error("no certificate can be made: {0}")]
    Certificate(String),
}

impl From<KeyError> for SealError {
    fn from(error: KeyError) -> Self {
        Self::Form(error.to_string())
    }
}
