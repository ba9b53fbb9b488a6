//! `umiak clone`: a new device directory from another one, from a package or from a Pantavisor device.

use std::path::PathBuf;

use umiak_pvr::{Reference, State};
use umiak_repository::{CheckoutOptions, CloneOptions};

use super::elsewhere::Source;
use super::preview;
use crate::cli::CloneArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

/// What package files are called; the directory is called the same without it.
const SUFFIXES: [&str; 5] = [".pvrexport.tgz", ".tar.gz", ".tgz", ".tar", ".gz"];

/// Makes the directory and writes the files.
pub fn run(context: &Context<'_>, arguments: &CloneArgs) -> Outcome {
    let options = CloneOptions {
        objects: context.objects(arguments.objects.as_deref()),
        checkout: CheckoutOptions { canonical: arguments.canonical, hardlink: false },
    };
    let directory = |name: &dyn Fn() -> Result<PathBuf, Failure>| arguments.directory.clone().map_or_else(name, Ok);
    let (directory, report) = match Source::find(context, &arguments.from)? {
        Some(device) => {
            let directory = directory(&|| device_name(&arguments.from))?;
            if context.talk.dry_run {
                return preview::laid_over(context, &State::default(), &device.selected(context)?, false);
            }
            let progress = context.progress();
            let (_, report) = umiak_repository::clone_from(&device, &device.parts, &directory, &options, &progress)?;
            (directory, report)
        }
        None => {
            let reference = Reference::parse(&arguments.from)?;
            let directory = directory(&|| own_name(&reference))?;
            if context.talk.dry_run {
                return preview::transfer(context, &State::default(), &[reference], false);
            }
            let (_, report) = umiak_repository::clone(&reference, &directory, &options, &context.progress())?;
            (directory, report)
        }
    };
    context.printer.fact("Cloned", &format!("{} files into {}", report.written, directory.display()));
    Ok(())
}

/// The host of an address, or the last name of its path when that is more than where every device's remote is.
fn device_name(address: &str) -> Result<PathBuf, Failure> {
    let place = address.split('#').next().unwrap_or_default();
    let rest = place.split_once("://").filter(|(scheme, _)| *scheme != "unix").map_or(place, |(_, rest)| rest);
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) && !name.contains(':') => name,
        _ => host.trim_matches(['[', ']']),
    };
    let own = path.trim_end_matches('/').rsplit('/').next().filter(|name| !matches!(*name, "" | "pvr" | "cgi-bin"));
    let name = own.unwrap_or(host);
    if place.starts_with("unix:") || place.starts_with(['/', '.']) || matches!(name, "" | "." | ".." | ".pvr") {
        return Err(Failure::new(Kind::Usage, format!("`{place}` gives the new directory no name"))
            .hint("name the directory: umiak clone DEVICE DIR"));
    }
    Ok(PathBuf::from(name))
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

    #[test]
    fn directories_are_called_as_the_address_is() {
        for (from, name) in [
            ("10.0.0.7#web", "10.0.0.7"),
            ("fe80::1", "fe80::1"),
            ("[fe80::1]", "fe80::1"),
            ("http://kiosk.local:12368/cgi-bin/pvr", "kiosk.local"),
            ("http://kiosk.local/", "kiosk.local"),
            ("https://pvr.example/me/kiosk", "kiosk"),
        ] {
            assert_eq!(device_name(from).unwrap(), PathBuf::from(name), "{from}");
        }
        for socket in ["unix:/pv/pv-ctrl", "/pv/pv-ctrl", "http://../"] {
            assert!(device_name(socket).is_err(), "{socket}");
        }
    }
}
