//! `umiak keys new`.

use std::path::{Path, PathBuf};

use umiak_seal::{FileKey, Kind as KeyKind, Signer as _, Validity, issue, new_authority, new_key, public_pem};
use umiak_sign::pem;
use zeroize::Zeroizing;

use super::Files;
use crate::cli::{KeysNewArgs, KindArg};
use crate::clock;
use crate::commands::signing::{certificates, kept_out, password, private_key};
use crate::commands::together::{self, NewFile};
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Readable by everybody, and by the owner only.
const PUBLIC: u32 = 0o644;
const PRIVATE: u32 = 0o600;
const DAY: u64 = 86_400;

/// A file that is going to be made.
struct Planned {
    place: PathBuf,
    text: Zeroizing<String>,
    mode: u32,
    /// What it is, for people.
    what: &'static str,
}

/// Makes the key and what belongs to it: all files or none.
pub fn run(context: &Context<'_>, arguments: &KeysNewArgs) -> Outcome {
    let files = Files::named(context, arguments.dir.as_deref(), &arguments.name)?;
    refuse_places(context, arguments, &files)?;
    let mut names = vec![files.key(), files.public()];
    if !arguments.bare {
        names.extend([files.certificate(), files.authority()]);
    }
    if !arguments.bare && arguments.authority.is_none() {
        names.push(files.authority_key());
    }
    if let Some(there) = names.iter().find(|file| file.exists()) {
        return Err(together::there_already(there).hint("keys are never replaced: give it another --name"));
    }
    if context.talk.dry_run {
        names.iter().for_each(|file| context.printer.detail(&file.display().to_string()));
        context.would(&format!("make {} files in {}", names.len(), files.directory.display()));
        return Ok(());
    }
    let password = arguments.password_file.as_deref().map(password).transpose()?;
    let planned = planned(context, arguments, &files, password.as_deref().map(Vec::as_slice))?;
    // The key is the first of them and the last to appear: where it is, the rest is.
    let in_order = planned.iter().rev();
    let new = in_order.map(|file| NewFile { place: &file.place, bytes: file.text.as_bytes(), mode: file.mode });
    together::write_new(&files.directory, &new.collect::<Vec<_>>())?;
    for file in &planned {
        context.printer.fact("Made", &format!("{}, {}", file.place.display(), file.what));
    }
    if arguments.name == "default" {
        context.printer.hint("`umiak sig add --part APP` signs; `umiak keys export policy` says what devices need");
    } else {
        context.printer.hint(&format!("sign with --key {}", files.key().display()));
    }
    Ok(())
}

/// Refuses to make private keys where they would be carried along.
fn refuse_places(context: &Context<'_>, arguments: &KeysNewArgs, files: &Files) -> Outcome {
    let there = files.directory.ancestors().find(|directory| directory.exists()).unwrap_or(Path::new("."));
    kept_out(&there.join(format!("key.{}.pem", arguments.name)))?;
    // Whoever keeps the whole home directory in git has chosen so.
    if arguments.dir.is_none() {
        return Ok(());
    }
    let real = std::fs::canonicalize(there).unwrap_or_else(|_| there.to_owned());
    match real.ancestors().find(|directory| directory.join(".git").exists()) {
        Some(root) => {
            let text = format!("{} is in the git repository {}", files.directory.display(), root.display());
            let own = context.environment.config_dir.as_ref().map(|directory| directory.join("pvs"));
            let own = own.map_or_else(|| "elsewhere".to_owned(), |directory| directory.display().to_string());
            Err(Failure::new(Kind::Usage, text).hint(format!("private keys do not belong there: keep them in {own}")))
        }
        None => Ok(()),
    }
}

fn planned(
    context: &Context<'_>,
    arguments: &KeysNewArgs,
    files: &Files,
    password: Option<&[u8]>,
) -> Result<Vec<Planned>, Failure> {
    let kind = kind(arguments.kind);
    let subject = arguments.subject.as_deref().unwrap_or(&arguments.name);
    let from = clock::now(context.environment.fixed_time);
    let validity = Validity { from, until: from + u64::from(arguments.days) * DAY };
    let (key, text) = made(kind, password)?;
    let public = public_pem(&key).into();
    let mut planned = vec![
        Planned { place: files.key(), text, mode: PRIVATE, what: "the private key" },
        Planned { place: files.public(), text: public, mode: PUBLIC, what: "its public half" },
    ];
    if arguments.bare {
        return Ok(planned);
    }
    let (authority, authority_key) = match &arguments.authority {
        Some(name) => {
            let files = Files { directory: files.directory.clone(), name: name.clone() };
            (certificates(&files.authority())?.remove(0), private_key(&files.authority_key(), password)?)
        }
        None => {
            let (key, text) = made(kind, password)?;
            let what = "the authority's private key: keep it where no build machine is";
            planned.push(Planned { place: files.authority_key(), text, mode: PRIVATE, what });
            (new_authority(&format!("{subject} authority"), &key, validity)?, key)
        }
    };
    let certificate = issue(subject, key.spki(), &authority, &authority_key, validity)?;
    let certificate = pem::block("CERTIFICATE", &certificate).into();
    let authority = pem::block("CERTIFICATE", &authority).into();
    planned.extend([
        Planned { place: files.certificate(), text: certificate, mode: PUBLIC, what: "its certificate" },
        Planned { place: files.authority(), text: authority, mode: PUBLIC, what: "the authority, which devices trust" },
    ]);
    Ok(planned)
}

/// A new key, and its file's text.
fn made(kind: KeyKind, password: Option<&[u8]>) -> Result<(FileKey, Zeroizing<String>), Failure> {
    let text = new_key(kind, password)?;
    Ok((FileKey::from_pem(&text, password)?, text))
}

fn kind(kind: KindArg) -> KeyKind {
    match kind {
        KindArg::Rsa2048 => KeyKind::Rsa2048,
        KindArg::Rsa3072 => KeyKind::Rsa3072,
        KindArg::Rsa4096 => KeyKind::Rsa4096,
        KindArg::P256 => KeyKind::P256,
        KindArg::P384 => KeyKind::P384,
    }
}
