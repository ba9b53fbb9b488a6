//! One platform's package, from pinned images to the file.
//!
//! Whatever stops it: the package that was there is there, or the new one; the record is written last, so that what is
//! half done is done again. Before anything is touched it is written that a build began and which files go along, so that
//! whatever one that was stopped has left is known for a build's own.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use umiak_build::{AppReport, PinnedRequest, Workshop};
use umiak_pvr::{Parts, StatePath};
use umiak_registry::Image;
use umiak_repository::package::Format;
use umiak_repository::{AddOptions, InitOptions, Repository};
use umiak_spec::{Digest, Verified};

use super::budget::Budget;
use super::found::{self, Found};
use super::pins::Pins;
use super::record::{Input, Left, Record};
use super::{Asked, Built, Delta, Outcome, Works, delta};
use crate::carried::{CONFIG, SIGNATURES, is_made};
use crate::durable::{self, Beside};
use crate::error::{IoContext as _, ReleaseError};
use crate::name::PackageName;
use crate::project::Source;

/// The message of the commits in device directories of packages.
const MESSAGE: &str = "umiak pkg build";

/// One platform.
pub(super) struct Job<'a> {
    pub(super) works: &'a Works<'a>,
    pub(super) asked: &'a Asked<'a>,
    pub(super) source: &'a Source,
    pub(super) name: &'a PackageName,
    pub(super) pins: &'a Pins<'a>,
    pub(super) budget: &'a Budget,
}

/// What is there before anything is done.
struct Look {
    record: Option<Record>,
    found: Found,
    /// Length and digest of the package, when nothing is to be done.
    unchanged: Option<(u64, Digest)>,
}

impl Job<'_> {
    /// Makes the package, unless it is there.
    pub(super) fn run(&self) -> Result<Built, ReleaseError> {
        let works = self.works;
        works.observer.check()?;
        let images = self.images()?;
        let input = self.input(&images)?;
        let planned = self.planned(&images);
        if let Some(repository) = self.there()? {
            let look = self.look(&repository, &input)?;
            if look.unchanged.is_some() || self.asked.dry_run {
                return self.rest(&repository, look, planned);
            }
        }
        if self.asked.dry_run {
            return Ok(planned);
        }
        let layers = images.values().flat_map(|image| &image.layers).map(|layer| layer.size).max().unwrap_or(0);
        let share = self.budget.take(Budget::estimate(layers, works.threads.get()), works.observer)?;
        let (repository, first) = self.there_or_new()?;
        let lock = repository.lock(works.observer)?;
        // Another run may have made it while this one waited.
        let look = self.look(&repository, &input)?;
        if look.unchanged.is_some() {
            // The delta takes its own share and lock.
            drop((lock, share));
            return self.rest(&repository, look, planned);
        }
        // Where no build was done, and nothing was committed, a first run was stopped: what is there is of that one.
        let is_done = look.record.as_ref().is_some_and(Record::is_done);
        let begun = !is_done && !first && repository.pristine()?.entries().is_empty();
        // Blocks of a root that this very program made are those that it would make; of another's that is not certain.
        let reuse = look.found.spares_images() && look.record.as_ref().is_some_and(|record| record.ours);
        Record::begun(look.record.as_ref(), self.carried()?).keep(repository.root())?;
        let apps = self.make(&repository, &images, look.record.as_ref(), reuse)?;
        let package = works.project.package(self.name);
        let record = Record::of(input, found::left(&repository, self.source)?, &package)?;
        record.keep(repository.root())?;
        // Memory first, then the lock: who holds a lock waits for nothing that others hold.
        drop((lock, share));
        let replaced = if begun { Vec::new() } else { look.found.replaced };
        let (file, delta) = (Some(record.file), self.delta(&repository)?);
        Ok(Built { outcome: Outcome::Made, file, apps, replaced, delta, ..planned })
    }

    /// What would be said of a package before it is made.
    fn planned(&self, images: &BTreeMap<String, Image>) -> Built {
        let image =
            |(app, image): (&String, &Image)| (app.clone(), image.reference.clone(), image.config.platform.clone());
        Built {
            package: self.works.project.package(self.name),
            outcome: Outcome::Planned,
            file: None,
            images: images.iter().map(image).collect(),
            apps: Vec::new(),
            replaced: Vec::new(),
            delta: None,
        }
    }

    /// What is said of a package that is not made now.
    fn rest(&self, repository: &Repository, look: Look, planned: Built) -> Result<Built, ReleaseError> {
        let Some(file) = look.unchanged else { return Ok(Built { replaced: look.found.replaced, ..planned }) };
        let delta = if self.asked.dry_run { None } else { self.delta(repository)? };
        Ok(Built { outcome: Outcome::Unchanged, file: Some(file), delta, ..planned })
    }

    /// Looks at what is there: all of it as one run left it.
    fn look(&self, repository: &Repository, input: &str) -> Result<Look, ReleaseError> {
        let _lock = repository.lock_shared(self.works.observer)?;
        let record = Record::read(repository.root());
        let left = record.as_ref().map(|record| &record.left);
        let found = Found::of(repository, self.source, left, self.works.observer)?;
        if !found.foreign.is_empty() {
            return Err(ReleaseError::Foreign { release: repository.root().to_owned(), files: found.foreign });
        }
        let begun = record.as_ref().is_some_and(|record| !record.is_done());
        let found = if begun { found.without_carried() } else { found };
        let package = self.works.project.package(self.name);
        let same = |record: &&Record| {
            record.ours && record.input == input && found.replaced.is_empty() && record.is_of(&package)
        };
        let unchanged = record.as_ref().filter(same).map(|record| record.file);
        Ok(Look { record, found, unchanged })
    }

    /// The delta from the release before.
    fn delta(&self, repository: &Repository) -> Result<Option<Delta>, ReleaseError> {
        let Some(from) = self.asked.from else { return Ok(None) };
        delta::make(self.works, self.budget, from, self.name, repository)
    }

    /// The image of every app, pinned.
    fn images(&self) -> Result<BTreeMap<String, Image>, ReleaseError> {
        let image = |(app, document)| Ok((String::clone(app), self.pins.image(document)?));
        self.source.apps.iter().map(image).collect()
    }

    /// All that decides the package's bytes.
    fn input(&self, images: &BTreeMap<String, Image>) -> Result<String, ReleaseError> {
        let identity = self.asked.sealing.as_ref().map_or("", |sealing| &sealing.identity);
        let start = Input::new().line(&self.name.to_string()).line(&self.works.image_time.to_string()).line(identity);
        let line = |input: Input, (app, image): (&String, &Image)| {
            let document = self.source.apps.get(app).map(|document| document.to_value().canonical());
            input.line(app).line(&document.unwrap_or_default()).line(&image.reference)
        };
        let mut input = images.iter().fold(start, line);
        for (name, digest) in self.carried()? {
            input = input.line(&name).line(&digest);
        }
        Ok(input.finish())
    }

    /// What goes along.
    fn carried(&self) -> Result<Left, ReleaseError> {
        let digest = |(name, path): (&StatePath, &PathBuf)| {
            let file = fs::File::open(path).at("open", path)?;
            let (digest, _) = Verified::new(file).finish().at("read", path)?;
            Ok((name.to_string(), digest.hex()))
        };
        self.source.carried.iter().map(digest).collect()
    }

    /// The device directory, if it is there.
    fn there(&self) -> Result<Option<Repository>, ReleaseError> {
        match Repository::open(&self.works.project.release(self.source.arch)) {
            Err(umiak_repository::Error::NotARepository(_)) => Ok(None),
            result => Ok(Some(result?)),
        }
    }

    /// The device directory, and whether it was made just now.
    fn there_or_new(&self) -> Result<(Repository, bool), ReleaseError> {
        let project = self.works.project;
        // Of several runs one makes it.
        let _alone = durable::alone(&project.releases())?;
        match self.there()? {
            Some(repository) => Ok((repository, false)),
            None => Ok((Repository::init(&project.release(self.source.arch), &InitOptions::default())?, true)),
        }
    }

    /// The parts of the device directory that belong into the package.
    fn parts(&self) -> Vec<String> {
        let of = |app: &String| [app.clone(), format!("{CONFIG}/{app}")];
        self.source.apps.keys().flat_map(of).chain([SIGNATURES.to_owned()]).collect()
    }

    /// Makes the apps, signs and commits them, and writes the package. The caller holds the lock.
    fn make(
        &self,
        repository: &Repository,
        images: &BTreeMap<String, Image>,
        record: Option<&Record>,
        reuse: bool,
    ) -> Result<Vec<AppReport>, ReleaseError> {
        let (works, release) = (self.works, repository.root());
        durable::sweep(&works.project.releases(), &format!(".{}.tgz", self.source.arch))?;
        durable::sweep_deltas(&works.project.releases(), self.source.arch.as_str())?;
        self.clear(release, record)?;
        let mut reports = Vec::new();
        for app in self.in_order() {
            let (Some(document), Some(image)) = (self.source.apps.get(app), images.get(app)) else { continue };
            let request =
                PinnedRequest { name: app.clone(), document: document.clone(), image: image.reference.clone(), reuse };
            let sources = self.pins.sources(document)?;
            let workshop = Workshop {
                repository: release,
                cache: works.cache,
                sources: &sources,
                platforms: &[],
                limits: works.limits,
                threads: works.threads,
                image_time: works.image_time,
                observer: works.observer,
            };
            reports.push(workshop.make_pinned(&request)?);
        }
        for (name, path) in &self.source.carried {
            durable::copy_within(release, &release.join(name), path)?;
        }
        self.record(repository)?;
        self.write(repository)?;
        Ok(reports)
    }

    /// Takes away what the last build left and this one does not make: apps that are gone, files that went along.
    fn clear(&self, release: &Path, record: Option<&Record>) -> Result<(), ReleaseError> {
        for path in record.into_iter().flat_map(|record| record.left.keys()) {
            let Some((app, name)) = path.split_once('/') else { continue };
            let stays = self.source.carried.contains_key(path.as_str())
                || (self.source.apps.contains_key(app) && is_made(name))
                || app == SIGNATURES;
            if !stays {
                durable::remove(&release.join(path))?;
                durable::remove_empty(&release.join(path), release);
            }
        }
        Ok(())
    }

    /// The apps, those that others extend first.
    fn in_order(&self) -> Vec<&String> {
        let extends = |app: &&String| self.source.apps.get(*app).is_some_and(|document| document.base().is_some());
        let (above, below): (Vec<_>, Vec<_>) = self.source.apps.keys().partition(extends);
        [below, above].concat()
    }

    /// Signs and commits.
    fn record(&self, repository: &Repository) -> Result<(), ReleaseError> {
        let (observer, release) = (self.works.observer, repository.root());
        let signatures = release.join(SIGNATURES);
        durable::remove(&signatures)?;
        let options = AddOptions { private_keys: self.asked.private_keys, ..AddOptions::default() };
        repository.add(&self.parts(), options, observer)?;
        if let Some(sealing) = &self.asked.sealing {
            let state = repository.working_state(observer)?;
            let apps: Vec<String> = self.source.apps.keys().cloned().collect();
            for (name, document) in (sealing.seal)(&state, &apps).map_err(ReleaseError::Seal)? {
                let place = signatures.join(format!("{name}.json"));
                durable::put_within(release, &place, document.canonical().as_bytes())?;
            }
            repository.add(&[SIGNATURES.to_owned()], AddOptions::default(), observer)?;
        }
        repository.commit(MESSAGE, None, observer)?;
        // Objects of releases before; a pool that somebody has put elsewhere may be others' as well.
        if repository.pool().directory().starts_with(repository.root()) {
            repository.pool().retain(&repository.pristine()?.objects())?;
        }
        Ok(())
    }

    /// Writes the package.
    fn write(&self, repository: &Repository) -> Result<(), ReleaseError> {
        let place = self.works.project.package(self.name);
        let mut beside = Beside::new(&place)?;
        let parts = Parts::from_list(self.parts());
        repository.export(&parts, &mut beside.file, Format::Gzip, self.works.observer)?;
        beside.publish(&place)
    }
}
