//! What a delta says of devices is what a device finds, to the byte.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic")]

mod common;
#[path = "common/deltas.rs"]
mod shelf;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use common::{archive, releases};
use shelf::{Shelf, packed};
use umiak_spec::delta::StoredFiles;
use umiak_spec::{Digest, Limits, Silent};
use umiak_store::{Keep, LayerDelta, LayerOptions, LayerRecord, RealDisk, Store, StoreOptions};
use umiak_testkit::random::Chance;

fn files(root: &Path, record: &LayerRecord) -> StoredFiles {
    let length = |name: &str| fs::metadata(root.join("layers").join(record.diff_id.hex()).join(name)).unwrap().len();
    assert_eq!((length("image.squashfs"), length("skeleton.squashfs")), (record.image.bytes, record.skeleton.bytes));
    StoredFiles { image: record.image.bytes, skeleton: record.skeleton.bytes, record: length("record") }
}

#[test]
fn a_device_needs_what_the_delta_says() {
    let shelf = Shelf::new();
    let [bottom, base, target] = {
        let (bottom, _) = releases(1, 30, 0);
        let (base, target) = releases(2, 150, 6);
        [bottom, base, target].map(|tree| archive(&tree))
    };
    // What stands behind the end of an archive is a device's affair, too.
    let large = archive(&releases(3, 200, 0).0);
    let [base, target] = [base, target].map(|tar| [tar, large.clone(), Chance::new(9).bytes(512)].concat());
    shelf.image("base", &[packed(&bottom), packed(&base)]);
    shelf.image("target", &[packed(&bottom), packed(&target)]);
    let draft = shelf.work(|work| work.draft_images(&shelf.at("base"), &shelf.at("target"))).unwrap();
    assert_eq!(shelf.litter(), Vec::<String>::new());
    let [said] = draft.manifest.device.as_slice() else { panic!("{:?}", draft.manifest.device) };
    assert_eq!(said.layer, Digest::of(&target));

    let area = tempfile::tempdir().unwrap();
    let store = Store::open(area.path(), Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap();
    let options = LayerOptions { limits: Limits::default(), ..LayerOptions::default() };
    for tar in [&bottom, &base] {
        store.ingest_layer(&Digest::of(tar), &tar.as_slice(), &Keep::Whole, &options, &Silent).unwrap();
    }
    let (part, blob) = draft.manifest.parts.iter().zip(&draft.contents).find(|(part, _)| part.is_delta()).unwrap();
    let delta = LayerDelta { blob, names: None };
    let below = vec![Digest::of(&bottom)];
    let patch = said.patch.unwrap();
    assert_eq!(patch.base, Digest::of(&base));
    let keep = Keep::Patch { base: patch.base, below };
    let made = store.apply_delta(&part.to, delta, &keep, &options, &Silent).unwrap();
    assert_eq!(made.layer.record.base, Some(patch.base));
    assert_eq!(files(area.path(), &made.layer.record), patch.files);
    assert_eq!(Some(made.spooled), said.spool);
    let whole = store.convert_layer(&part.to, &Keep::Whole, &options, &Silent).unwrap();
    assert_eq!(files(area.path(), &whole.record), said.whole.unwrap());
    assert!(patch.files.image * 2 < said.whole.unwrap().image, "{said:?}");
}
