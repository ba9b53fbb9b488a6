//! What somebody writes behind `umiakd target set`: references, a target's file, a package, a bundle.
//!
//! A word that names a file is looked into, whatever the file is called; a word that names none is a reference. Guarantee:
//! nothing is fetched, and a file is read no further than its first entry.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use umiak_layer::TarReader;
use umiak_spec::target::{Asked, AskedApp, Origin, TargetError};
use umiak_spec::{ImageReference, Limits};

use super::error::ResolveError;

/// What a file is.
enum Found {
    Target(Asked),
    App(Origin),
}

/// What the words ask for. Relative paths are those of `directory`; in the document they are absolute.
///
/// # Errors
/// [`ResolveError`]: no reference and no file that is known; a target's file beside other words.
pub fn asked(words: &[String], directory: &Path, limits: &Limits) -> Result<Asked, ResolveError> {
    let mut asked = Asked::default();
    for word in words {
        let path = directory.join(word);
        let found = if path.is_file() {
            file(&path, limits)?
        } else if path.join("oci-layout").is_file() {
            Found::App(Origin::Image(ImageReference::Layout { path, selector: None }))
        } else {
            let origin: Origin =
                word.parse().map_err(|source| TargetError::Reference { text: word.clone(), source })?;
            Found::App(origin.below(directory))
        };
        match found {
            Found::Target(target) if words.len() == 1 => return Ok(target),
            Found::Target(_) => {
                let why = "it says all that is to run: nothing may stand beside it".into();
                return Err(ResolveError::File { path: directory.join(word), why });
            }
            Found::App(origin) => asked.apps.push(AskedApp::new(origin)),
        }
    }
    Ok(asked)
}

fn file(path: &Path, limits: &Limits) -> Result<Found, ResolveError> {
    let wrong = |why: String| ResolveError::File { path: path.to_owned(), why };
    let unread = |error: std::io::Error| wrong(format!("it cannot be read: {error}"));
    let mut start = Vec::new();
    File::open(path).map_err(unread)?.take(64).read_to_end(&mut start).map_err(unread)?;
    if start.trim_ascii_start().starts_with(b"{") {
        return target(path, limits).map(Found::Target);
    }
    let plain = umiak_layer::decompress(File::open(path).map_err(unread)?, limits).map_err(unread)?;
    let mut reader = TarReader::new(BufReader::new(plain), *limits);
    let first = reader.next_entry().map_err(|_| wrong("it is no JSON and no tar archive".into()))?;
    let name = first.map(|entry| String::from_utf8_lossy(entry.path.as_bytes()).into_owned()).unwrap_or_default();
    let compressed = start.get(..2) == Some(&[0x1f, 0x8b]) || start.get(..4) == Some(&[0x28, 0xb5, 0x2f, 0xfd]);
    match name.as_str() {
        "json" | "objects" => Ok(Found::App(Origin::Package(path.to_owned()))),
        _ if name.starts_with("objects/") => Ok(Found::App(Origin::Package(path.to_owned()))),
        "oci-layout" | "index.json" | "blobs" if compressed => {
            Err(wrong("it is a compressed bundle: uncompress it first".into()))
        }
        "oci-layout" | "index.json" | "blobs" => {
            let path = path.to_owned();
            Ok(Found::App(Origin::Image(ImageReference::OciArchive { path, selector: None })))
        }
        _ => Err(wrong("it is an archive that is neither a bundle nor a package".into())),
    }
}

fn target(path: &Path, limits: &Limits) -> Result<Asked, ResolveError> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(limits.document + 1).read_to_end(&mut bytes));
    read.map_err(|error| ResolveError::File { path: path.to_owned(), why: format!("it cannot be read: {error}") })?;
    let mut asked = Asked::parse(&bytes, limits)?;
    let beside = path.parent().unwrap_or(Path::new("/"));
    for app in &mut asked.apps {
        *app = app.clone().below(beside);
    }
    Ok(asked)
}
