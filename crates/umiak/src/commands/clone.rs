//! `umiak clone`: a new device directory from another one or from a package.

use std::path::PathBuf;

use umiak_pvr::{Reference, State};
use umiak_repository::{CheckoutOptions, CloneOptions};

use super::preview;
use crate::cli::CloneArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// What package files are called; the directory is called the same without it.
const SUFFIXES: [&str; 5] = [".pvrexport.tgz", ".tar.gz", ".tgz", ".tar", ".gz"];

/// Makes the directory and writes the files.
pub fn run(context: &Context<'_>, arguments: &CloneArgs) -> Outcome {
    let reference = Reference::parse(&arguments.from)?;
    let directory = match &arguments.directory {
        Some(directory) => directory.clone(),
        None => own_name(&reference)?,
    };
    if context.talk.dry_run {
        return preview::transfer(context, &State::default(), &[reference], false);
    }
    let options = CloneOptions {
        objects: context.objects(arguments.objects.as_deref()),
        checkout: CheckoutOptions { canonical: arguments.canonical, hardlink: false },
    };
    let (_, report) = umiak_repository::clone(&reference, &directory, &options, &context.progress())?;
    context.printer.fact("Cloned", &format!("{} files into {}", report.written, directory.display()));
    Ok(())
}

/// The last name of the path, without a package's suffix.
fn own_name(reference: &Reference) -> Result<PathBuf, Failure> {
    let path = reference.path.trim_end_matches('/');
    let name = path.rsplit('/').next().unwrap_or_default();
    let name = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    if matches!(name, "" | "." | ".." | ".pvr") {
        return Err(Failure::new(Kind::Usage, format!("`{path}` gives the new directory no name"))
            .hint("name the directory: umiak clone DEVICE DIR"));
    }
    Ok(PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_called_as_the_device_is() {
        for (from, name) in [("../shop", "shop"), ("a/b.tgz#web", "b"), ("x.pvrexport.tgz", "x"), ("dev/", "dev")] {
            assert_eq!(own_name(&Reference::parse(from).unwrap()).unwrap(), PathBuf::from(name));
        }
        assert!(own_name(&Reference::parse("..").unwrap()).is_err());
    }
}
