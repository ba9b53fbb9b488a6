//! The key that signs and the keys that count, as the flags and the configuration directory name them.
//!
//! Guarantees: a key in a device directory is refused, since it would be committed and carried to every device; no key is
//! ever fetched; nobody is asked for a password.

use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, Read};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use umiak_seal::{FileKey, Signer as _};
use umiak_sign::{Authority, PublicKey, Signers, key_of_certificate, pem};
use umiak_spec::Digest;
use zeroize::Zeroizing;

use crate::cli::{SigningArgs, TrustArgs};
use crate::context::Context;
use crate::error::{Failure, Kind, hint_for_key};

/// Bytes of a file with keys or certificates.
const MAX_FILE: u64 = 256 << 10;
/// Bytes of a password.
const MAX_PASSWORD: u64 = 4096;
/// In the certificates of the keys that pvr downloads where there are none, private halves included.
const PUBLIC_DEVELOPER: &[u8] = b"Pantavisor Dev CA";

/// What signs.
pub struct Signing {
    /// The key.
    pub key: FileKey,
    /// Its certificates in DER, its own first; empty where there are none.
    pub chain: Vec<Vec<u8>>,
}

/// Whose signatures count.
#[derive(Default)]
pub struct Trusted {
    keys: Vec<(String, PublicKey)>,
    authorities: Vec<(String, Authority)>,
}

impl Trusted {
    /// As the library takes them.
    #[must_use]
    pub fn signers(&self) -> Signers<'_> {
        Signers {
            keys: self.keys.iter().map(|(name, key)| (name.as_str(), key)).collect(),
            authorities: self.authorities.iter().map(|(name, authority)| (name.as_str(), authority)).collect(),
        }
    }
}

/// Where keys are that nobody named.
///
/// # Errors
/// Without a home directory.
pub fn directory(context: &Context<'_>) -> Result<PathBuf, Failure> {
    let none = || Failure::new(Kind::Environment, "there is no configuration directory").hint("name one: -c DIR");
    Ok(context.environment.config_dir.as_ref().ok_or_else(none)?.join("pvs"))
}

/// The key to sign with and its certificates.
///
/// # Errors
/// There is none, it cannot be read, or it is where it must not be.
pub fn signing(context: &Context<'_>, arguments: &SigningArgs) -> Result<Signing, Failure> {
    let file = match &arguments.key {
        Some(file) => file.clone(),
        None => directory(context)?.join("key.default.pem"),
    };
    if arguments.key.is_none() && !file.exists() {
        let text = format!("there is no key to sign with ({})", file.display());
        return Err(Failure::new(Kind::Usage, text).hint("`umiak keys new` makes one; --key names one"));
    }
    kept_out(&file)?;
    warn_of_readers(context, &file)?;
    let password = arguments.password_file.as_deref().map(password).transpose()?;
    let key = private_key(&file, password.as_deref().map(Vec::as_slice))?;
    let chain = chain(context, arguments, &key)?;
    if chain.iter().any(|der| der.windows(PUBLIC_DEVELOPER.len()).any(|bytes| bytes == PUBLIC_DEVELOPER)) {
        context.printer.warning("this is the developer key that pvr gives to everybody: anybody can sign with it");
    }
    Ok(Signing { key, chain })
}

/// The private key in a file.
///
/// # Errors
/// It cannot be read, or is none.
pub fn private_key(file: &Path, password: Option<&[u8]>) -> Result<FileKey, Failure> {
    let text = Zeroizing::new(text(file)?);
    FileKey::from_pem(&text, password).map_err(|error| {
        let failure = Failure::new(Kind::Usage, format!("the key {} cannot be used", file.display()));
        failure.because(vec![error.to_string()]).hint(hint_for_key(&error))
    })
}

/// The first line of a file, or of standard input.
///
/// # Errors
/// It cannot be read, or is empty.
pub fn password(file: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let failed = |error: &io::Error| Failure::of_io("read", file, error);
    let reader: Box<dyn Read> = match file.as_os_str().to_str() {
        Some("-") => Box::new(io::stdin()),
        _ => Box::new(File::open(file).map_err(|error| failed(&error))?),
    };
    let mut line = Zeroizing::new(Vec::new());
    BufReader::new(reader.take(MAX_PASSWORD)).read_until(b'\n', &mut line).map_err(|error| failed(&error))?;
    while line.last().is_some_and(|last| matches!(last, b'\n' | b'\r')) {
        line.pop();
    }
    if line.is_empty() {
        return Err(Failure::new(Kind::Usage, format!("there is no password in {}", file.display())));
    }
    Ok(line)
}

/// The certificates of a text, in its order.
///
/// # Errors
/// It cannot be read, or has none.
pub fn certificates(file: &Path) -> Result<Vec<Vec<u8>>, Failure> {
    let text = text(file)?;
    let blocks = pem::blocks(&text).unwrap_or_default();
    let found: Vec<_> = blocks.into_iter().filter(|(label, _)| *label == "CERTIFICATE").map(|(_, der)| der).collect();
    if found.is_empty() {
        let text = format!("there is no certificate in {}", file.display());
        return Err(Failure::new(Kind::Usage, text).hint("it takes certificates in PEM, that of the key first"));
    }
    Ok(found)
}

fn chain(context: &Context<'_>, arguments: &SigningArgs, key: &FileKey) -> Result<Vec<Vec<u8>>, Failure> {
    match &arguments.x5c {
        Some(file) if file.as_os_str() == "no" => Ok(Vec::new()),
        Some(file) => certificates(file),
        None => {
            let file = directory(context).map(|directory| directory.join("x5c.default.pem"));
            let Some(file) = file.ok().filter(|file| file.exists()) else { return Ok(Vec::new()) };
            let found = certificates(&file)?;
            let own = key_of_certificate(&found[0]).is_ok_and(|own| own.id() == Digest::of(key.spki()));
            if !own {
                context.printer.detail(&format!("without certificates: those in {} are another key's", file.display()));
            }
            Ok(if own { found } else { Vec::new() })
        }
    }
}

/// Whose signatures count: the files that are named, or else the defaults that are there.
///
/// # Errors
/// There are none, or one cannot be used.
pub fn trusted(context: &Context<'_>, arguments: &TrustArgs) -> Result<Trusted, Failure> {
    let (mut authorities, mut keys) = (arguments.cacerts.clone(), arguments.pubkey.clone());
    if authorities.is_empty() && keys.is_empty() {
        let directory = directory(context)?;
        let there = |name: &str| Some(directory.join(name)).filter(|file| file.exists());
        authorities.extend(there("cacerts.default.pem"));
        keys.extend(there("pubkey.default.pem"));
    }
    if authorities.is_empty() && keys.is_empty() {
        let failure = Failure::new(Kind::Usage, "there is no key and no authority to verify signatures with");
        return Err(failure.hint("name them with --cacerts and --pubkey"));
    }
    let wrong = |file: &Path, error: &dyn std::error::Error| {
        let failure = Failure::new(Kind::Usage, format!("{} cannot be used", file.display()));
        failure.because(vec![error.to_string()])
    };
    let mut trusted = Trusted::default();
    for file in &authorities {
        let authority = Authority::from_pem(&text(file)?).map_err(|error| wrong(file, &error))?;
        trusted.authorities.push((name_of(file), authority));
    }
    for file in &keys {
        let key = PublicKey::from_pem(&text(file)?).map_err(|error| wrong(file, &error))?;
        trusted.keys.push((name_of(file), key));
    }
    Ok(trusted)
}

/// What a signer is called: the file's name.
fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A small file.
///
/// # Errors
/// It cannot be read, or is none of ours by its size or letters.
pub fn text(file: &Path) -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::of_io("read", file, &error);
    let mut text = String::new();
    let read = File::open(file).map_err(failed)?.take(MAX_FILE + 1).read_to_string(&mut text);
    match read {
        Ok(read) if read as u64 > MAX_FILE => {
            Err(Failure::new(Kind::Usage, format!("{} is too large for keys or certificates", file.display())))
        }
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            let failure = Failure::new(Kind::Usage, format!("{} is not PEM", file.display()));
            Err(failure.hint("`openssl pkey -inform DER -in FILE` writes a key as PEM, `openssl x509` a certificate"))
        }
        Err(error) => Err(failed(error)),
    }
}

/// Refuses a private key in a device directory: it would be committed, and be on every device.
///
/// # Errors
/// It is in one.
pub fn kept_out(file: &Path) -> Result<(), Failure> {
    let directory = file.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let real = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_owned());
    match real.ancestors().find(|directory| directory.join(".pvr/json").is_file()) {
        Some(root) => {
            let text = format!("the private key {} is in the device directory {}", file.display(), root.display());
            Err(Failure::new(Kind::Usage, text).hint("keep it elsewhere: what lies there is carried to devices"))
        }
        None => Ok(()),
    }
}

fn warn_of_readers(context: &Context<'_>, file: &Path) -> Result<(), Failure> {
    let metadata = fs::metadata(file).map_err(|error| Failure::of_io("read", file, &error))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        let name = file.display();
        context.printer.warning(&format!("others than its owner can read the private key {name}: `chmod 600 {name}`"));
    }
    Ok(())
}
