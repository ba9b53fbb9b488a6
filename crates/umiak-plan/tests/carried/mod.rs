//! A device that carries a plan out: what it has by name, and the blocks and inodes of its file systems.

use std::collections::{BTreeMap, BTreeSet};

use umiak_plan::{Answer, App, Device, Form, Keeps, Removal, Role, Task, Wanted, plan};
use umiak_spec::Digest;

/// Plans, and if it fits carries the steps out; panics at the first that cannot be done.
pub fn carry_out(device: &Device, wanted: &Wanted) {
    let answer = plan(device, wanted);
    if answer.fits() {
        room(device, &answer);
        reserved(device, &answer);
        names(device, wanted, &answer);
    }
}

/// Blocks and inodes are taken and given back, and never run out.
fn room(device: &Device, answer: &Answer) {
    for (index, file_system) in device.file_systems.iter().enumerate() {
        let mut free = i128::from(file_system.available(device.watermark));
        let mut inodes = file_system.inodes_free.map(i128::from);
        for step in &answer.steps {
            let here = || step.changes.iter().filter(|change| change.file_system == index);
            for change in here() {
                free -= i128::from(change.taken.bytes);
                inodes = inodes.map(|inodes| inodes - i128::from(change.taken.inodes));
                assert!(free >= 0 || change.taken.bytes == 0, "{step:?}");
                assert!(inodes.is_none_or(|inodes| inodes >= 0) || change.taken.inodes == 0, "{step:?}");
            }
            for change in here() {
                free += i128::from(change.freed.bytes);
                inodes = inodes.map(|inodes| inodes + i128::from(change.freed.inodes));
            }
        }
    }
}

/// What is reserved is enough for all that follows, and never more than what may be taken.
fn reserved(device: &Device, answer: &Answer) {
    let place = device.place(Role::Blobs);
    let available = i128::from(device.file_systems[place].available(device.watermark));
    let (mut used, mut reserved) = (0_i128, None);
    assert_eq!(answer.holds.len(), answer.steps.len());
    if answer.holds.iter().any(|hold| hold.before == u64::MAX) {
        return; // more than can be said
    }
    for (step, hold) in answer.steps.iter().zip(&answer.holds) {
        let here = || step.changes.iter().filter(|change| change.file_system == place);
        let taken: i128 = here().map(|change| i128::from(change.taken.bytes)).sum();
        let freed: i128 = here().map(|change| i128::from(change.freed.bytes)).sum();
        let (before, during) = (i128::from(hold.before), i128::from(hold.during));
        if !matches!(step.task, Task::Reclaim(_)) {
            // What the steps before left of the reserve, and what they freed, is enough.
            assert!(reserved.is_none_or(|left: i128| before <= left), "{step:?}");
            assert!(before >= taken + during, "{step:?}");
            assert!(used + before <= available || before == 0, "{step:?}");
            assert!(reserved.is_some() || answer.reserve == hold.before);
            reserved = Some(before - taken + freed);
        }
        used += taken - freed;
    }
}

/// What the device has, by name.
struct Has {
    blobs: BTreeMap<Digest, u64>,
    layers: BTreeMap<Digest, Form>,
    chains: BTreeSet<Digest>,
    images: BTreeSet<Digest>,
}

/// Every step finds what it starts from, and at the end everything that is wanted is there.
fn names(device: &Device, wanted: &Wanted, answer: &Answer) {
    let stored = &device.stored;
    let mut has = Has {
        blobs: stored.blobs.clone(),
        layers: stored.layers.iter().map(|(layer, stored)| (*layer, stored.form.clone())).collect(),
        chains: stored.chains.clone(),
        images: stored.images.clone(),
    };
    let blob_of: BTreeMap<Digest, (Digest, u64)> = wanted
        .apps
        .iter()
        .chain(stored.apps.iter().map(|stored| &stored.app))
        .flat_map(|app| app.images().flat_map(|image| &image.layers))
        .map(|layer| (layer.diff_id, (layer.digest, layer.size)))
        .collect();
    let mut downloaded = 0_u64;
    for step in &answer.steps {
        match &step.task {
            Task::Reclaim(removal) => {
                has.remove(removal);
                stays(device, &has, |stored| stored.running || stored.pinned);
            }
            Task::Fetch { blob, size, .. } => {
                let before = has.blobs.insert(*blob, *size).filter(|before| before <= size).unwrap_or(0);
                assert_eq!(step.download, size - before);
                downloaded = downloaded.saturating_add(step.download);
            }
            Task::Ingest { layer, blob, form } => {
                let (digest, size) = blob_of[layer];
                assert_eq!((has.blobs.remove(blob), *blob), (Some(size), digest));
                has.keep(*layer, form);
            }
            Task::Apply { part, base, makes, .. } => {
                assert!(has.blobs.remove(part).is_some());
                let base_blob =
                    |layer| blob_of.get(layer).is_some_and(|(blob, size)| has.blobs.get(blob) == Some(size));
                match device.keeps {
                    Keeps::Layers => assert!(base.iter().all(|layer| has.layers.contains_key(layer))),
                    Keeps::Blobs => assert!(base.iter().all(base_blob)),
                }
                for (layer, form) in makes {
                    match device.keeps {
                        Keeps::Layers => has.keep(*layer, form),
                        Keeps::Blobs => drop(has.blobs.insert(blob_of[layer].0, blob_of[layer].1)),
                    }
                }
            }
            Task::Make { object, base, delta, size, spool } => {
                let made = wanted.objects.iter().find(|made| (made.object, made.blob) == (*object, *delta));
                let made = made.expect("a delta that is at hand");
                assert_eq!((has.blobs.get(base), made.base), (Some(&made.base_size), *base));
                assert_eq!((*size, *spool), (made.size, made.spool));
                assert_eq!(step.download, made.bytes);
                has.blobs.insert(*object, made.size);
                downloaded = downloaded.saturating_add(step.download);
            }
            Task::Whole { layer } => {
                assert!(has.layers.insert(*layer, Form::Whole).is_some_and(|form| !form.is_whole()));
            }
            Task::Load { image, chains } => {
                has.chains.extend(chains);
                has.images.insert(*image);
            }
            Task::Prune(removal) => has.remove(removal),
            Task::Verify | Task::Name | Task::Switch { .. } => {}
        }
    }
    assert_eq!(downloaded, answer.download);
    complete(device, wanted, &has);
    stays(device, &has, |stored| stored.pinned);
}

impl Has {
    fn keep(&mut self, layer: Digest, form: &Form) {
        if let Form::Patch { base, below } = form {
            assert_eq!(self.layers.get(base), Some(&Form::Whole), "a patch needs a whole layer");
            assert!(below.iter().all(|layer| self.layers.contains_key(layer)), "what is under a patch comes before it");
        }
        self.layers.insert(layer, form.clone());
    }

    fn remove(&mut self, removal: &Removal) {
        let all = removal.blobs.iter().all(|blob| self.blobs.remove(blob).is_some())
            && removal.layers.iter().all(|layer| self.layers.remove(layer).is_some())
            && removal.chains.iter().all(|chain| self.chains.remove(chain))
            && removal.images.iter().all(|image| self.images.remove(image));
        assert!(all, "nothing is removed twice, nor what is not there");
        let bases = self.layers.values().filter_map(Form::base);
        assert!(bases.into_iter().all(|base| self.layers.contains_key(base)), "what a patch lies above stays");
    }
}

/// All that is wanted is there, and every stack can be mounted.
fn complete(device: &Device, wanted: &Wanted, has: &Has) {
    for image in wanted.apps.iter().flat_map(App::images) {
        let mut below = Vec::new();
        for layer in &image.layers {
            match device.keeps {
                Keeps::Blobs => assert_eq!(has.blobs.get(&layer.digest), Some(&layer.size)),
                Keeps::Layers => {
                    let form = has.layers.get(&layer.diff_id).expect("a wanted layer is there");
                    let valid = match form {
                        Form::Whole => true,
                        Form::Patch { below: only, .. } => *only == below,
                    };
                    assert!(valid, "a patch is mounted above its own layers only");
                }
            }
            below.push(layer.diff_id);
        }
        if device.engine.stores() {
            assert!(image.chain().all(|(chain, _)| has.chains.contains(&chain)));
            assert!(has.images.contains(&image.config.digest));
        }
    }
    let own = wanted.apps.iter().flat_map(|app| &app.own);
    assert!(own.into_iter().all(|blob| has.blobs.get(&blob.digest) == Some(&blob.size)));
}

/// Apps that stay were there whole, and still are.
fn stays(device: &Device, has: &Has, stays: fn(&umiak_plan::StoredApp) -> bool) {
    for app in device.stored.apps.iter().filter(|stored| stays(stored)).map(|stored| &stored.app) {
        assert!(app.own.iter().all(|blob| has.blobs.contains_key(&blob.digest)));
        for image in app.images() {
            match device.keeps {
                Keeps::Blobs => assert!(image.layers.iter().all(|layer| has.blobs.contains_key(&layer.digest))),
                Keeps::Layers => assert!(image.layers.iter().all(|layer| has.layers.contains_key(&layer.diff_id))),
            }
            assert!(!device.engine.stores() || image.chain().all(|(chain, _)| has.chains.contains(&chain)));
        }
    }
}
