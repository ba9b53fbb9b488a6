//! One platform's package, from pinned images to the file.
//!
//! Whatever stops it: the package that was there is there, or the new one; the record is written last, so that what is
//! half done is done again.

use std::collections::BTreeMap;
use std::path::PathBuf;

use umiak_build::{AppReport, PinnedRequest, Workshop};
use umiak_pvr::Parts;
use umiak_registry::Image;
use umiak_repository::package::Format;
use umiak_repository::{ChangeKind, InitOptions, Repository};

use super::budget::Budget;
use super::pins::Pins;
use super::record::{Input, Record};
use super::{Asked, Built, Delta, Outcome, Works, delta};
use crate::durable::{self, Beside};
use crate::error::ReleaseError;
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

impl Job<'_> {
    /// Makes the package, unless it is there.
    pub(super) fn run(&self) -> Result<Built, ReleaseError> {
        let works = self.works;
        works.observer.check()?;
        let images = self.images()?;
        let release = works.project.release(self.source.arch);
        let package = works.project.package(self.name);
        let input = self.input(&images);
        let record = Record::read(&release);
        let mut built = Built {
            package: package.clone(),
            outcome: Outcome::Planned,
            file: None,
            images: images
                .iter()
                .map(|(app, image)| (app.clone(), image.reference.clone(), image.config.platform.clone()))
                .collect(),
            apps: Vec::new(),
            delta: None,
        };
        let clean = record.is_some() && self.is_clean()?;
        if let Some(record) = record.as_ref().filter(|record| record.input == input && clean && record.is_of(&package))
        {
            let delta = if self.asked.dry_run { None } else { self.delta(true)? };
            return Ok(Built { outcome: Outcome::Unchanged, file: Some(record.file), delta, ..built });
        }
        if self.asked.dry_run {
            return Ok(built);
        }
        let layers = images.values().flat_map(|image| &image.layers).map(|layer| layer.size).max().unwrap_or(0);
        let share = self.budget.take(Budget::estimate(layers, works.threads.get()), works.observer)?;
        // Blocks of a root that this very program made are those that it would make; of another's that is not certain.
        built.apps = self.make(&images, record.is_some() && clean)?;
        let record = Record::of(input, &package)?;
        record.keep(&release)?;
        drop(share);
        Ok(Built { outcome: Outcome::Made, file: Some(record.file), delta: self.delta(false)?, ..built })
    }

    /// The delta from the release before.
    fn delta(&self, unchanged: bool) -> Result<Option<Delta>, ReleaseError> {
        let Some(from) = self.asked.from else { return Ok(None) };
        delta::make(self.works, self.budget, from, self.name, unchanged)
    }

    /// The image of every app, pinned.
    fn images(&self) -> Result<BTreeMap<String, Image>, ReleaseError> {
        let image = |(app, document)| Ok((String::clone(app), self.pins.image(document)?));
        self.source.apps.iter().map(image).collect()
    }

    /// All that decides the package's bytes.
    fn input(&self, images: &BTreeMap<String, Image>) -> String {
        let identity = self.asked.sealing.as_ref().map_or("", |sealing| &sealing.identity);
        let start = Input::new().line(&self.name.to_string()).line(&self.works.image_time.to_string()).line(identity);
        let line = |input: Input, (app, image): (&String, &Image)| {
            let document = self.source.apps.get(app).map(|document| document.to_value().canonical());
            input.line(app).line(&document.unwrap_or_default()).line(&image.reference)
        };
        images.iter().fold(start, line).finish()
    }

    fn release(&self) -> PathBuf {
        self.works.project.release(self.source.arch)
    }

    /// The parts of the device directory that belong into the package.
    fn parts(&self) -> Vec<String> {
        let of = |app: &String| [app.clone(), format!("_config/{app}")];
        self.source.apps.keys().flat_map(of).chain(["_sigs".to_owned()]).collect()
    }

    /// Whether the device directory is as it was left.
    fn is_clean(&self) -> Result<bool, ReleaseError> {
        let repository = match Repository::open(&self.release()) {
            Err(umiak_repository::Error::NotARepository(_)) => return Ok(false),
            result => result?,
        };
        let changes = repository.status(self.works.observer)?;
        Ok(changes.iter().all(|change| change.kind == ChangeKind::Untracked))
    }

    fn make(&self, images: &BTreeMap<String, Image>, reuse: bool) -> Result<Vec<AppReport>, ReleaseError> {
        let (works, release) = (self.works, self.release());
        let repository = match Repository::open(&release) {
            Err(umiak_repository::Error::NotARepository(_)) => Repository::init(&release, &InitOptions::default())?,
            result => result?,
        };
        let _lock = repository.lock(works.observer)?;
        for gone in repository.pristine()?.apps().iter().filter(|app| !self.source.apps.contains_key(*app)) {
            durable::remove(&release.join(gone))?;
        }
        let mut reports = Vec::new();
        for app in self.in_order() {
            let (Some(document), Some(image)) = (self.source.apps.get(app), images.get(app)) else { continue };
            let request =
                PinnedRequest { name: app.clone(), document: document.clone(), image: image.reference.clone(), reuse };
            let sources = self.pins.sources(document)?;
            let workshop = Workshop {
                repository: &release,
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
        self.record(&repository)?;
        self.write(&repository)?;
        Ok(reports)
    }

    /// The apps, those that others extend first.
    fn in_order(&self) -> Vec<&String> {
        let extends = |app: &&String| self.source.apps.get(*app).is_some_and(|document| document.base().is_some());
        let (above, below): (Vec<_>, Vec<_>) = self.source.apps.keys().partition(extends);
        [below, above].concat()
    }

    /// Signs and commits.
    fn record(&self, repository: &Repository) -> Result<(), ReleaseError> {
        let observer = self.works.observer;
        let apps: Vec<String> = self.source.apps.keys().cloned().collect();
        repository.add(&apps, false, observer)?;
        let signatures = repository.root().join("_sigs");
        durable::remove(&signatures)?;
        if let Some(sealing) = &self.asked.sealing {
            let state = repository.working_state(observer)?;
            for (name, document) in (sealing.seal)(&state, &apps).map_err(ReleaseError::Seal)? {
                durable::put(&signatures.join(format!("{name}.json")), document.canonical().as_bytes())?;
            }
            repository.add(&["_sigs".to_owned()], false, observer)?;
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
