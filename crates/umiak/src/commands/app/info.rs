//! `umiak app info`: an app's src.json, and on stderr what its files are.

use std::fs;
use std::path::Path;

use umiak_pvr::app::{ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, SRC_JSON, SourceDocument};
use umiak_spec::Limits;
use umiak_ui::Size;

use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// Prints the app's source document.
pub fn run(context: &Context<'_>, name: &str) -> Outcome {
    let repository = context.repository()?;
    let name = name.trim_matches('/');
    let directory = repository.app_dir(name)?;
    if !directory.join(SRC_JSON).is_file() {
        return Err(umiak_repository::Error::NoSuchApp(name.to_owned()).into());
    }
    let document = source_document(&directory)?;
    for file in [ROOT_SQUASHFS, ROOT_OVL_SQUASHFS] {
        if let Ok(metadata) = fs::metadata(directory.join(file)) {
            context.printer.detail(&format!("{file} {}", Size(metadata.len())));
        }
    }
    Ok(context.printer.data(&format!("{}\n", document.to_text()))?)
}

/// The src.json of the app in `directory`.
pub fn source_document(directory: &Path) -> Result<SourceDocument, Failure> {
    let path = directory.join(SRC_JSON);
    let bytes = fs::read(&path).map_err(|error| Failure::of_io("read", &path, &error))?;
    SourceDocument::parse(&bytes, Limits::default().document).map_err(|error| {
        Failure::new(Kind::Untrusted, format!("cannot use {}: {error}", path.display()))
            .hint("`umiak checkout` writes the committed one back")
    })
}
