//! Arguments of `umiak sig` and `umiak keys`.

use std::path::PathBuf;

use clap::{ArgGroup, Args, Subcommand, ValueEnum};

/// What signs.
#[derive(Debug, Clone, Args)]
pub struct SigningArgs {
    /// The private key, in PEM [default: pvs/key.default.pem in the configuration directory]
    #[arg(short, long, value_name = "FILE", env = "PVR_SIG_KEY", hide_env_values = true, global = true)]
    pub key: Option<PathBuf>,
    /// Certificates from the key's own upwards, in PEM; `no` for none [default: pvs/x5c.default.pem, if it is for the key]
    #[arg(short, long, value_name = "FILE", env = "PVR_X5C_PATH", hide_env_values = true, global = true)]
    pub x5c: Option<PathBuf>,
    /// The file whose first line opens the key; `-` for standard input
    #[arg(long, value_name = "FILE", env = "UMIAK_PASSWORD_FILE", hide_env_values = true, global = true)]
    pub password_file: Option<PathBuf>,
}

/// Whose signatures count.
#[derive(Debug, Clone, Default, Args)]
pub struct TrustArgs {
    /// Certificates of authorities, in PEM [repeat] [default: pvs/cacerts.default.pem]
    #[arg(short, long, value_name = "FILE", env = "PVR_SIG_CACERTS", hide_env_values = true, global = true)]
    pub cacerts: Vec<PathBuf>,
    /// Public keys, in PEM [repeat] [default: pvs/pubkey.default.pem]
    #[arg(long, value_name = "FILE", env = "PVR_SIG_PUBKEY", hide_env_values = true, global = true)]
    pub pubkey: Vec<PathBuf>,
}

/// Sign parts of a device's state, and verify who did
///
/// Signatures are pvr's: files _sigs/NAME.json, made over the committed state.
#[derive(Debug, Args)]
pub struct SigArgs {
    #[command(flatten)]
    pub signing: SigningArgs,
    #[command(flatten)]
    pub trust: TrustArgs,
    /// --pubkey, as pvr spells it in front of the verb
    #[arg(short = 'p', value_name = "FILE", hide = true)]
    pub pubkey_in_front: Option<PathBuf>,
    /// Put what is signed into the signature, too
    #[arg(long, global = true)]
    pub with_payload: bool,
    /// Write the signature to this file, `-` for stdout, and leave the device directory alone
    #[arg(long, value_name = "FILE", global = true)]
    pub output: Option<PathBuf>,
    /// pvr fetches public developer keys from there; umiak fetches none
    #[arg(long, value_name = "URL", hide = true, global = true)]
    pub certs_url: Option<String>,
    #[command(subcommand)]
    pub command: SigCommand,
}

/// The verbs of signatures.
#[derive(Debug, Subcommand)]
pub enum SigCommand {
    Add(SigAddArgs),
    Ls(SigLsArgs),
    Update(SigUpdateArgs),
    Verify(SigVerifyArgs),
}

/// Sign an app, or any part of the state
///
/// The committed state is signed, so: commit, sign, commit. The signature is tracked at once. Patterns match keys of the
/// state: `*` and `?` within a component, `**` at the end for all below; `{a,b}` means itself. A bare `**` is refused: no Pantavisor device
/// understands it, and it would mean every file that there ever will be.
#[derive(Debug, Args)]
#[command(group = ArgGroup::new("what").required(true).args(["part", "raw"]))]
pub struct SigAddArgs {
    /// Sign this app: its files, and its configuration in _config/NAME
    #[arg(short, long, value_name = "NAME")]
    pub part: Option<String>,
    /// Sign what the patterns say, under this name
    #[arg(short, long, value_name = "NAME")]
    pub raw: Option<String>,
    /// What to sign; below the app's directory with --part [repeat] [default with --part: **]
    #[arg(short, long, value_name = "PATTERN", value_delimiter = ',')]
    pub include: Vec<String>,
    /// What of it to leave out; it counts as covered, whatever it says [repeat] [default with --part: src.json]
    #[arg(short, long, value_name = "PATTERN", value_delimiter = ',')]
    pub exclude: Vec<String>,
    /// Leave _config/NAME out
    #[arg(short, long)]
    pub noconfig: bool,
    /// A number that goes up from release to release: devices that ask for it take no lower one [default: that of the
    /// signature that is there]
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

/// Show what is signed, as pvr's JSON: protected, excluded, notseen
///
/// Signatures are verified first, whatever the day: a certificate whose last day is over is told here, and fails `sig verify`. Of
/// a device directory, the committed state is looked at.
#[derive(Debug, Args)]
pub struct SigLsArgs {
    /// Directory or package file, with #PARTS or without [default: the device directory we are in]
    #[arg(value_name = "DEVICE")]
    pub device: Option<String>,
    /// The signatures, too
    #[arg(long)]
    pub with_sigs: bool,
}

/// Sign again what was signed, by the rules that are stored in the signatures
#[derive(Debug, Args)]
#[command(visible_alias = "up")]
pub struct SigUpdateArgs {
    /// Only these signatures
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The generation [default: as it was]
    #[arg(long, value_name = "N")]
    pub generation: Option<u64>,
}

/// Verify every signature, and say what is covered
///
/// Fails when a signature does not hold, when a certificate's last day is over, as on a device whose clock is right, and when
/// nobody signed anything.
#[derive(Debug, Args)]
pub struct SigVerifyArgs {
    /// Directory or package file, with #PARTS or without [default: the device directory we are in]
    #[arg(value_name = "DEVICE")]
    pub device: Option<String>,
    /// Fail also when anything is not covered, as devices in strict mode do
    #[arg(long)]
    pub strict: bool,
}

/// The verbs of keys.
#[derive(Debug, Subcommand)]
pub enum KeysCommand {
    New(KeysNewArgs),
    Export(KeysExportArgs),
}

/// Make a signing key, an authority, and the key's certificate from it
///
/// Writes key.NAME.pem, pubkey.NAME.pem, x5c.NAME.pem, cacerts.NAME.pem and authority.NAME.key.pem, none of which may be
/// there. Files with private keys are for their owner only. They are never made in a device directory or in a git
/// repository, where they would be carried along.
#[derive(Debug, Args)]
pub struct KeysNewArgs {
    /// What the files are called; those of `default` are used where no other is named
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub name: String,
    /// What kind of key
    #[arg(long, value_name = "KIND", default_value = "rsa2048")]
    pub kind: KindArg,
    /// Whose key it is, as the certificates say it [default: NAME]
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,
    /// How many days the certificates are valid
    #[arg(long, value_name = "N", default_value = "3650")]
    pub days: u32,
    /// Have the certificate issued by the authority of this name instead of a new one
    #[arg(long, value_name = "NAME", conflicts_with = "bare")]
    pub authority: Option<String>,
    /// A key only, without certificates
    #[arg(long)]
    pub bare: bool,
    /// Protect private keys by the first line of this file; `-` for standard input
    #[arg(long, value_name = "FILE", env = "UMIAK_PASSWORD_FILE", hide_env_values = true)]
    pub password_file: Option<PathBuf>,
    /// Where the files go [default: pvs in the configuration directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum KindArg {
    /// RSA of 2048 bits, which every Pantavisor device verifies
    Rsa2048,
    /// RSA of 3072 bits
    Rsa3072,
    /// RSA of 4096 bits
    Rsa4096,
    /// ECDSA on P-256: small and fast; for umiakd, not for Pantavisor
    P256,
    /// ECDSA on P-384: the same, larger
    P384,
}

/// Print what devices need to know of a key: never a private key
#[derive(Debug, Args)]
pub struct KeysExportArgs {
    /// What to print
    #[arg(value_name = "WHAT", default_value = "public")]
    pub what: ExportArg,
    /// Of which key
    #[arg(long, value_name = "NAME", default_value = "default")]
    pub name: String,
    /// Where the files are [default: pvs in the configuration directory]
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Write to this file instead of stdout
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What is exported of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExportArg {
    /// The public key, in PEM
    Public,
    /// The authority's certificate, in PEM
    Authority,
    /// A trust policy for umiakd that asks for the authority's signatures, or the key's
    Policy,
    /// The file for the trust store of a Pantavisor device
    TrustStore,
}
