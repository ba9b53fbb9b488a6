//! Blobs that are fetched whole, in part or as deltas.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use umiak_spec::Digest;

use super::build::Builder;
use super::names::Names;
use crate::device::{Engine, Role};
use crate::engine::HEX;
use crate::ledger::{Action, Change, Step};
use crate::wanted::{App, Blob, BlobKind, Delta};

const NAMES: &str = "names in the directory of blobs";

impl<'a> Builder<'a> {
    /// Blobs that are not there whole, each once, with who wants it first; metadata before layers.
    fn missing_blobs(&self) -> BTreeMap<Blob, String> {
        let mut missing: BTreeMap<Blob, String> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        for app in &self.apps {
            let own = app.own.iter().map(|blob| (*blob, app.name.clone()));
            let images = app
                .services
                .iter()
                .flat_map(|service| service.image.blobs().map(|blob| (blob, format!("{}/{}", app.name, service.name))));
            for (blob, whose) in own.chain(images) {
                if seen.insert(blob.digest) && self.stored(&blob) != Some(blob.size) && !self.is_ingested(&blob) {
                    missing.insert(blob, whose);
                }
            }
        }
        missing
    }

    pub(super) fn stored(&self, blob: &Blob) -> Option<u64> {
        self.device.stored.blobs.get(&blob.digest).copied()
    }

    /// The blob of a layer that is kept as a squashfs image is not needed.
    fn is_ingested(&self, blob: &Blob) -> bool {
        self.device.engine == Engine::Squashfs
            && blob.kind == BlobKind::Layer
            && self
                .layers()
                .iter()
                .any(|(_, _, layer)| layer.digest == blob.digest && self.device.stored.layers.contains(&layer.diff_id))
    }

    pub(super) fn fetch(&mut self) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let missing = self.missing_blobs();
        let deltas = self.deltas(&missing);
        let made: BTreeSet<Digest> = deltas.iter().flat_map(|delta| delta.makes.iter().copied()).collect();
        let mut names = Names::of(self.device.stored.blobs.len(), HEX);
        for (blob, whose) in missing.iter().filter(|(blob, _)| !made.contains(&blob.digest)) {
            // A part that is longer than the blob is not a part of it.
            let fetched = self.stored(blob).filter(|fetched| *fetched <= blob.size).unwrap_or(0);
            let why = if fetched > 0 { "rest of a blob, part of which is here" } else { "blob, as it is fetched" };
            let mut changes = vec![Change::takes(place, file_system.rest_of_file(blob.size, fetched), why)];
            changes.push(Change::takes(place, names.add(file_system, 1), NAMES));
            let what = format!("{} {} of {whose}", blob.kind.word(), blob.digest.short());
            self.steps.push(Step::new(Action::Fetch, what, changes).downloading(blob.size - fetched));
        }
        for delta in deltas {
            self.apply(delta, &missing, &mut names);
        }
        if !missing.is_empty() {
            self.steps.push(Step::new(Action::Verify, format!("{} blobs", missing.len()), vec![]));
        }
    }

    /// Deltas that can be used and save something, the one that saves most first; no layer is made twice.
    fn deltas(&self, missing: &BTreeMap<Blob, String>) -> Vec<&'a Delta> {
        if !self.choice.deltas {
            return vec![];
        }
        let sizes: BTreeMap<Digest, u64> = missing
            .keys()
            .map(|blob| (blob.digest, blob.size - self.stored(blob).unwrap_or(0).min(blob.size)))
            .collect();
        let whole = self.sizes();
        let is_here = |digest: &Digest| {
            self.device.stored.blobs.get(digest).is_some_and(|here| whole.get(digest).is_none_or(|size| size == here))
        };
        let saves = |delta: &Delta, made: &BTreeSet<Digest>| {
            let makes = delta.makes.iter().collect::<BTreeSet<_>>();
            let bytes =
                makes.into_iter().filter(|digest| !made.contains(digest)).filter_map(|digest| sizes.get(digest));
            bytes.fold(0_u64, |sum, bytes| sum.saturating_add(*bytes)).saturating_sub(delta.download)
        };
        let mut open: Vec<&Delta> = self.wanted.deltas.iter().filter(|delta| delta.base.iter().all(is_here)).collect();
        open.sort_by_key(|delta| (Reverse(saves(delta, &BTreeSet::new())), delta.digest));
        let mut made = BTreeSet::new();
        let mut chosen = Vec::new();
        for delta in open {
            if saves(delta, &made) > 0 {
                made.extend(delta.makes.iter().copied());
                chosen.push(delta);
            }
        }
        chosen
    }

    /// Lengths of all blobs of which they are known.
    fn sizes(&self) -> BTreeMap<Digest, u64> {
        let stored = self.device.stored.apps.iter().map(|stored| &stored.app);
        let blobs = stored.chain(self.wanted.apps.iter()).flat_map(App::blobs);
        blobs.map(|blob| (blob.digest, blob.size)).collect()
    }

    fn apply(&mut self, delta: &Delta, missing: &BTreeMap<Blob, String>, names: &mut Names) {
        let Some((place, file_system)) = self.at(Role::Blobs) else { return };
        let what = format!("delta {}", delta.digest.short());
        let blob = file_system.file(delta.download);
        let mut changes = vec![Change::takes(place, blob, "delta, until it is applied")];
        changes.push(Change::takes(place, names.add(file_system, 1), NAMES));
        self.steps.push(Step::new(Action::Fetch, what.clone(), changes).downloading(delta.download));
        let makes: BTreeSet<&Digest> = delta.makes.iter().collect();
        let mut changes = Vec::new();
        for blob in missing.keys().filter(|blob| makes.contains(&blob.digest)) {
            // What was fetched of it goes only once it is made.
            changes.push(Change::takes(place, file_system.file(blob.size), "layers, made by the delta"));
            changes.push(Change::takes(place, names.add(file_system, 1), NAMES));
        }
        changes.push(Change::returns(place, blob, "delta, no longer needed"));
        self.steps.push(Step::new(Action::Apply, what, changes));
    }
}
