//! Measuring images wherever they are: each layer once, what is kept, what is refused.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a test may panic and write files")]

mod common;

use std::fs;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::Arc;

use common::{Device, archive, releases};
use umiak_build::BuildError;
use umiak_build::measure::{Measuring, Which};
use umiak_registry::Context;
use umiak_spec::app::measures::Measures;
use umiak_spec::delta::StoredFiles;
use umiak_spec::{Digest, Limits, Silent};
use umiak_store::{Keep, LayerOptions, RealDisk, Store, StoreOptions};
use umiak_testkit::sample::{SampleImage, SampleLayer, index, layout};

fn measured(
    sources: &Context,
    cache: Option<&Path>,
    device: bool,
    images: &[&str],
    which: &Which,
) -> Result<Measures, BuildError> {
    let threads = NonZeroUsize::new(2).unwrap();
    let measuring = Measuring { cache, device, limits: Limits::default(), threads, observer: &Silent };
    let references: Vec<_> = images.iter().map(|image| image.parse().unwrap()).collect();
    measuring.images(sources, &references, which)
}

/// What a store has of a layer that it took in.
fn stored(store: &Path, tar: &[u8]) -> StoredFiles {
    let (options, diff_id) = (LayerOptions::default(), Digest::of(tar));
    let open = Store::open(store, Arc::new(RealDisk), &StoreOptions::UPDATE).unwrap();
    open.ingest_layer(&diff_id, &tar, &Keep::Whole, &options, &Silent).unwrap();
    let length = |name: &str| fs::metadata(store.join("layers").join(diff_id.hex()).join(name)).unwrap().len();
    StoredFiles { image: length("image.squashfs"), skeleton: length("skeleton.squashfs"), record: length("record") }
}

#[test]
fn layers_are_measured_once_and_kept() {
    let device = Device::new();
    let (base, target) = releases(3, 60, 20);
    let one = device.image("one", &[&base]);
    let two = device.image("two", &[&base, &target]);
    let (cache, best) = (device.path("cache"), Which::Best(Vec::new()));
    device.work(&Silent, |workshop| {
        let sources = workshop.sources;
        let first = measured(sources, Some(&cache), false, &[&one, &two], &best).unwrap();
        first.check(&Limits::default()).unwrap();
        let tars = [archive(&base), archive(&target)];
        assert_eq!(
            first.layers.keys().copied().collect::<std::collections::BTreeSet<_>>(),
            tars.iter().map(|tar| Digest::of(tar)).collect()
        );
        let services = first.platforms.values().next().unwrap();
        assert_eq!(services.keys().collect::<Vec<_>>(), [&one, &two]);
        assert_eq!(services[&two].layers, tars.iter().map(|tar| Digest::of(tar)).collect::<Vec<_>>());
        let layer = &first.layers[&Digest::of(&tars[0])];
        assert_eq!((layer.measure.tar_size, layer.archive_size), (tars[0].len() as u64, tars[0].len() as u64));

        let with = measured(sources, Some(&cache), true, &[&two], &best).unwrap();
        for (digest, layer) in &with.layers {
            assert_eq!(layer.measure, first.layers[digest].measure);
            let tar = tars.iter().find(|tar| Digest::of(tar) == *digest).unwrap();
            assert_eq!(layer.device, Some(stored(&device.path("store"), tar)));
        }
        // Without the blobs, only what was kept can answer; damaged, it is no answer.
        for tar in &tars {
            for image in ["one", "two"] {
                let _ = fs::remove_file(device.path(image).join("blobs/sha256").join(Digest::of(tar).hex()));
            }
        }
        assert_eq!(measured(sources, Some(&cache), true, &[&two], &best).unwrap(), with);
        assert_eq!(measured(sources, Some(&cache), false, &[&one, &two], &best).unwrap(), first);
        assert!(measured(sources, None, false, &[&two], &best).is_err());
        let kept = cache.join("measures-2").join(Digest::of(&tars[0]).hex());
        let text = String::from_utf8_lossy(&fs::read(&kept).unwrap()).into_owned();
        assert!(text.contains("tarSize"));
        let mut bytes = fs::read(&kept).unwrap();
        bytes[100] ^= 1;
        fs::write(&kept, bytes).unwrap();
        assert!(measured(sources, Some(&cache), false, &[&two], &best).is_err());
    });
}

#[test]
fn platforms_stay_apart_and_the_metadata_has_the_larger_usage() {
    let device = Device::new();
    let (base, target) = releases(5, 40, 20);
    let (low, high) = (archive(&base), archive(&target));
    let sample = |platform: &str, layers: &[&Vec<u8>]| SampleImage {
        platform: platform.to_owned(),
        layers: layers.iter().map(|tar| SampleLayer::plain((*tar).clone())).collect(),
    };
    let images =
        [sample("linux/amd64", &[&low]), sample("linux/arm/v7", &[&low, &high]), sample("linux/arm/v6", &[&high])];
    layout(&device.path("many"), "v", &index(&images)).unwrap();
    let image = format!("oci:{}:v", device.path("many").display());
    device.work(&Silent, |workshop| {
        let all = measured(workshop.sources, None, false, &[&image], &Which::All).unwrap();
        let platforms: Vec<String> = all.platforms.keys().map(ToString::to_string).collect();
        assert_eq!(platforms, ["linux/amd64", "linux/arm/v6", "linux/arm/v7"]);
        let meta = all.layers_meta(4096).unwrap();
        assert_eq!(meta.architectures.keys().collect::<Vec<_>>(), ["amd64", "arm"]);
        let (usage, measure) = (
            |architecture: &str, tar: &[u8]| meta.layer(architecture, &Digest::of(tar)).unwrap().usage,
            |tar: &[u8]| &all.layers[&Digest::of(tar)].measure,
        );
        assert_eq!(usage("amd64", &low), measure(&low).usage(4096, 0).unwrap());
        assert_eq!(
            usage("arm", &high),
            measure(&high).usage(4096, 0).unwrap() + 8192,
            "lowest in one, not in the other"
        );
        assert!(all.layers_meta(3000).is_none());
        let some = Which::Each(vec!["linux/amd64".parse().unwrap(), "linux/riscv64".parse().unwrap()]);
        assert!(measured(workshop.sources, None, false, &[&image], &some).is_err());
    });
}
