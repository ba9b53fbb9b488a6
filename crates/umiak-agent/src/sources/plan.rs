//! What an update takes: documents and deltas to the planner, its answer to the agent.

use std::collections::{BTreeMap, BTreeSet};

use umiak_plan::{App, LayerFiles, Policy, StoredApp, Wanted, Way};
use umiak_spec::target::{Origin, Target, TargetApp};
use umiak_spec::{Digest, ImageReference, Observer};
use umiak_store::Store;

use super::{Sources, inventory};
use crate::error::{Class, SupplyError};
use crate::revision::Revision;
use crate::supply::{Change, How, Occasion, Planned};
use crate::target::ResolveError;
use crate::transaction;

impl Sources {
    pub(super) fn planned(
        &self,
        store: &Store,
        target: &Target,
        occasion: &Occasion,
        observer: &dyn Observer,
    ) -> Result<Planned, SupplyError> {
        let surveyed = (self.survey)(store);
        let mut device = surveyed
            .map_err(|error| SupplyError::new(Class::Environment, "cannot tell what the device has").because(error))?;
        inventory::fill(store, &mut device.stored).map_err(ResolveError::from)?;
        // Named by no app and yet not to go: documents of revisions, manifests of deltas.
        let mut stays: BTreeSet<Digest> =
            occasion.stays().chain([target]).map(|one| Revision::of(one).digest()).collect();
        // Held for a transaction: pruning leaves it.
        let held = store.closure(&transaction::held_name()).map_err(ResolveError::from)?;
        stays.extend(held.into_iter().flat_map(|held| held.blobs));
        device.stored.apps = self.kept_apps(store, occasion, &mut stays, observer)?;
        let layers: BTreeSet<Digest> = device.stored.layers.keys().copied().collect();
        let (mut wanted, mut uses) = (Wanted::default(), BTreeSet::new());
        let mut whole: BTreeMap<Digest, LayerFiles> = BTreeMap::new();
        let reader = self.reader(store, true, observer);
        for app in &target.apps {
            let content = reader.read(app)?;
            let closure = content.closure();
            stays.extend(&closure.blobs);
            uses.extend(closure.all_layers());
            uses.extend(closure.blobs);
            wanted.apps.push(reader.wanted(&content)?);
            for delta in reader.deltas(&content, &layers)? {
                uses.extend([delta.digest]);
                stays.extend([delta.digest]);
                uses.extend(delta.base.iter().chain(delta.manifest.parts.iter().map(|part| &part.blob.digest)));
                wanted.patches.extend(delta.patches());
                whole.extend(delta.whole());
                let mut wants = delta.wanted();
                wants.parts.retain(|part| !occasion.useless.contains(&part.blob));
                wanted.deltas.push(wants);
            }
            for delta in reader.object_deltas(&content)? {
                uses.insert(delta.base);
                if !occasion.useless.contains(&delta.blob) {
                    wanted.objects.push(delta);
                }
            }
        }
        let blobs = wanted.apps.iter().flat_map(App::blobs).map(|blob| blob.digest);
        uses.extend(blobs.collect::<Vec<_>>());
        tell(&mut wanted.apps, &whole);
        let apps = wanted.apps.iter().chain(device.stored.apps.iter().map(|stored| &stored.app));
        let bases = wanted.objects.iter().map(|delta| delta.base);
        let counted: BTreeSet<Digest> = apps.flat_map(App::blobs).map(|blob| blob.digest).chain(bases).collect();
        device.stored.blobs.retain(|digest, _| counted.contains(digest) || !stays.contains(digest));
        wanted.policy = Policy::default();
        wanted.own.clone_from(&occasion.own);
        let answer = umiak_plan::plan(&device, &wanted);
        let changes = changes(target, occasion.current.as_ref(), &wanted, &answer);
        let refusal = Some(answer.refusal(&device)).filter(|sentences| !sentences.is_empty());
        Ok(Planned {
            changes,
            refusal: refusal.map(|sentences| sentences.join("; ")),
            download: answer.download,
            reserve: answer.reserve,
            reclaim: answer.reclaims,
            uses,
            answer,
            device,
        })
    }

    /// The apps of revisions that stay. What of them cannot be read any more counts for nothing, and is said.
    fn kept_apps(
        &self,
        store: &Store,
        occasion: &Occasion,
        stays: &mut BTreeSet<Digest>,
        observer: &dyn Observer,
    ) -> Result<Vec<StoredApp>, SupplyError> {
        let reader = self.reader(store, false, observer);
        let mut seen = BTreeSet::new();
        let mut apps = Vec::new();
        let runs = |app: &TargetApp| {
            let mut current = occasion.current.iter().flat_map(|current| &current.apps);
            current.any(|current| current.top.digest == app.top.digest)
        };
        for app in occasion.stays().flat_map(|target| &target.apps).filter(|app| seen.insert(app.top.digest)) {
            let read = reader.read(app).and_then(|content| {
                stays.extend(content.closure().blobs);
                reader.wanted(&content)
            });
            match read {
                Ok(wanted) => apps.push(StoredApp { app: wanted, running: runs(app), pinned: true }),
                Err(ResolveError::Cancelled(cancelled)) => return Err(ResolveError::from(cancelled).into()),
                Err(error) => observer.note(&format!("{} cannot be read: {error}", app.name)),
            }
        }
        Ok(apps)
    }
}

/// Adds what deltas tell of the files of layers.
fn tell(apps: &mut [App], whole: &BTreeMap<Digest, LayerFiles>) {
    let layers = apps.iter_mut().flat_map(|app| &mut app.services).flat_map(|service| &mut service.image.layers);
    for layer in layers {
        layer.files = whole.get(&layer.diff_id).copied();
    }
}

/// A line for each app of the target and of what runs now.
fn changes(target: &Target, current: Option<&Target>, wanted: &Wanted, answer: &umiak_plan::Answer) -> Vec<Change> {
    let mut changes = Vec::new();
    for (app, planned) in target.apps.iter().zip(&wanted.apps) {
        let whose = format!("{}/", planned.name);
        let chosen = answer.choices.iter().filter(|choice| choice.whose.starts_with(&whose));
        let (mut deltas, mut fulls, mut download, mut full) = (0, 0, 0_u64, 0_u64);
        for choice in chosen {
            match choice.way {
                Way::Here | Way::Blob => continue,
                Way::Delta { .. } => deltas += 1,
                Way::Full => fulls += 1,
            }
            download = download.saturating_add(choice.download);
            full = full.saturating_add(choice.full);
        }
        // What was chosen for an object is in the choices.
        let own = planned.own.iter().filter(|blob| answer_fetches(answer, &blob.digest));
        let own = own.filter(|blob| answer.choices.iter().all(|choice| choice.layer != blob.digest));
        let own = own.fold(0_u64, |sum, blob| sum.saturating_add(blob.size));
        let before = current.and_then(|current| current.app(&app.name));
        let how = match (deltas, fulls) {
            (0, 0) if before.is_some_and(|before| before.top.digest == app.top.digest) => How::Unchanged,
            (0, _) => How::Full,
            (_, 0) => How::Delta,
            _ => How::Mixed,
        };
        changes.push(Change {
            app: app.name.clone(),
            from: before.map(called),
            to: Some(called(app)),
            how,
            download: download.saturating_add(own),
            full: full.saturating_add(own),
        });
    }
    let gone = current.into_iter().flat_map(|current| &current.apps);
    for app in gone.filter(|app| target.app(&app.name).is_none()) {
        let (from, to) = (Some(called(app)), None);
        changes.push(Change { app: app.name.clone(), from, to, how: How::Removed, download: 0, full: 0 });
    }
    changes
}

fn answer_fetches(answer: &umiak_plan::Answer, digest: &Digest) -> bool {
    let fetched = |task: &umiak_plan::Task| matches!(task, umiak_plan::Task::Fetch { blob, .. } if blob == digest);
    answer.steps.iter().any(|step| fetched(&step.task))
}

/// What people call a release: its tag, or digits of its digest.
fn called(app: &TargetApp) -> String {
    let tag = match &app.origin {
        Origin::Image(ImageReference::Registry(name) | ImageReference::Bare(name)) => name.tag.clone(),
        _ => None,
    };
    match tag.filter(|tag| tag != "latest") {
        Some(tag) => tag,
        None => app.top.digest.short(),
    }
}
