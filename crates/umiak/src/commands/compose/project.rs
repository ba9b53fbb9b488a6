//! Where the compose project is that is to be published.

use std::path::{Path, PathBuf};

use umiak_build::compose::Folder;
use umiak_spec::Observer;

use crate::context::Context;
use crate::environment;
use crate::error::{Failure, Kind};

/// The project of these compose files; without any, the one in the current directory.
pub fn folder<'a>(context: &Context<'a>, files: &[PathBuf], observer: &'a dyn Observer) -> Result<Folder<'a>, Failure> {
    let here = context.here()?;
    let absolute: Vec<PathBuf> = files.iter().map(|file| here.join(file)).collect();
    let directory = match absolute.first() {
        Some(file) => file.parent().unwrap_or(&here).to_owned(),
        None => here,
    };
    let names = absolute.iter().map(|file| name(&directory, file)).collect::<Result<_, _>>()?;
    let environment = environment::variables();
    Ok(Folder { directory, names, environment, scratch: &context.environment.temporary_dir, observer })
}

/// A file as the project calls it: relative to its directory, if it is in there.
fn name(directory: &Path, file: &Path) -> Result<String, Failure> {
    let name = file.strip_prefix(directory).unwrap_or(file);
    let text = name
        .to_str()
        .ok_or_else(|| Failure::new(Kind::Usage, format!("the name of {} is not UTF-8", file.display())))?;
    Ok(text.to_owned())
}
