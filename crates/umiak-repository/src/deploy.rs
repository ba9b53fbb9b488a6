//! Putting devices and packages together into one directory the way a device has it: hard links to the pool, nothing
//! that is not in the state, and `.pv/` with the links that the boot loader follows.
//!
//! pvr turns any directory into a device and deletes what it finds there. umiak deploys into a device directory, an empty
//! directory or a new one.

use std::path::{Path, PathBuf};

use umiak_pvr::{Reference, State, StateError, StatePath, Value};
use umiak_spec::Observer;

use crate::checkout::{CheckoutOptions, CheckoutReport};
use crate::durable::{self, Staging};
use crate::error::{Error, IoContext};
use crate::pool::Stored;
use crate::repository::{JSON, NEW, Repository};
use crate::source::open_reference;
use crate::transfer::build_directory;

/// How a directory is put together.
#[derive(Debug, Clone, Default)]
pub struct DeployOptions {
    /// Replace JSON documents instead of merging them (`--nomerge`).
    pub replace_documents: bool,
    /// The object pool of a directory that is made; `None` for `.pvr/objects`.
    pub objects: Option<PathBuf>,
}

/// What a deploy did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeployReport {
    /// What happened to the files.
    pub files: CheckoutReport,
    /// What the pool did not have yet.
    pub stored: Stored,
    /// Names in `.pv/` and the files they link to.
    pub boot_links: Vec<(String, StatePath)>,
}

/// Lays every source over what `directory` has, deletes files that are not in the result, links the others to the pool.
///
/// # Errors
/// [`Error::NotEmpty`] for a directory with files that is not a device directory; as [`Repository::get`] and
/// [`Repository::checkout`].
pub fn deploy(
    directory: &Path,
    sources: &[Reference],
    options: &DeployOptions,
    observer: &dyn Observer,
) -> Result<(Repository, DeployReport), Error> {
    if directory.join(JSON).is_file() {
        let repository = Repository::open(directory)?;
        let report = repository.deploy(sources, options, observer)?;
        return Ok((repository, report));
    }
    build_directory(directory, options.objects.as_deref(), |repository| repository.deploy(sources, options, observer))
}

impl Repository {
    fn deploy(
        &self,
        sources: &[Reference],
        options: &DeployOptions,
        observer: &dyn Observer,
    ) -> Result<DeployReport, Error> {
        let _lock = self.lock(observer)?;
        let combine: fn(&State, &State) -> Result<State, StateError> =
            if options.replace_documents { State::overlay } else { State::merge };
        let mut stage = self.pool().stage()?;
        let before = self.pristine()?;
        let mut state = before.clone();
        for reference in sources {
            let (source, parts) = open_reference(reference)?;
            let theirs = source.take(parts, &mut stage, self.pool(), observer)?;
            state = combine(&state, &theirs).map_err(Error::Result)?;
        }
        let needed = state.objects();
        let stored = stage.publish(|digest| needed.contains(digest), observer)?;
        let mut working = self.scan(&state, &crate::pending::Pending::default(), observer)?;
        let mut delete = std::mem::take(&mut working.untracked);
        delete.append(&mut working.special);
        let checkout = CheckoutOptions { canonical: true, hardlink: true };
        let files = self.write_files(&state, &working, checkout, &delete, observer)?;
        let staging = self.staging()?;
        self.adopt(&staging, &before, &state, Stored::default())?;
        durable::remove_file(&self.root().join(NEW))?;
        let boot_links = self.link_boot_files(&staging, &state)?;
        Ok(DeployReport { files, stored, boot_links })
    }

    /// Links what `bsp/run.json` names as kernel, initial file systems, device tree or FIT to the names in `.pv/` that
    /// the boot loader looks for.
    fn link_boot_files(&self, staging: &Staging, state: &State) -> Result<Vec<(String, StatePath)>, Error> {
        let links = boot_links(state);
        for (name, file) in &links {
            durable::create_directories(&self.root().join(".pv"))?;
            let existing = self.root().join(file);
            staging.link(&existing).at("link", &existing)?.publish(&self.root().join(".pv").join(name))?;
        }
        if !links.is_empty() {
            durable::sync_directory(&self.root().join(".pv"))?;
        }
        Ok(links)
    }
}

fn boot_links(state: &State) -> Vec<(String, StatePath)> {
    let Some(umiak_pvr::Entry::Inline(run)) = state.get("bsp/run.json") else { return Vec::new() };
    let mut names: Vec<(String, &str)> = Vec::new();
    for (member, name) in
        [("linux", "pv-kernel.img"), ("initrd", "pv-initrd.img"), ("fdt", "pv-fdt.dtb"), ("fit", "pantavisor.fit")]
    {
        names.extend(run.get(member).and_then(Value::as_str).map(|file| (name.to_owned(), file)));
    }
    if let Some(file) = run.get("rpiab").and_then(Value::as_str) {
        let suffix = if file.ends_with(".gz") { ".gz" } else { "" };
        names.push((format!("rpiboot.img{suffix}"), file));
    }
    let addons = run.get("addons").and_then(Value::as_array).unwrap_or_default();
    let addons = addons.iter().filter_map(Value::as_str).enumerate();
    names.extend(addons.map(|(index, file)| (format!("pv-initrd.img.{index}"), file)));
    let tracked = |(name, file): (String, &str)| {
        let path = StatePath::new(&format!("bsp/{file}")).ok()?;
        matches!(state.get(path.as_str()), Some(umiak_pvr::Entry::Object(_))).then_some((name, path))
    };
    names.into_iter().filter_map(tracked).collect()
}
