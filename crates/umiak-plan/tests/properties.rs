//! Laws of the planner, on random devices and updates.

mod carried;
mod counted;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use umiak_plan::{
    App, Blob, BlobKind, Contents, Delta, DeltaPart, Device, Engine, FileSystem, Form, Image, Keeps, Kind, Layer,
    LayerFiles, ObjectDelta, Patch, Policy, Role, Service, Stored, StoredApp, StoredLayer, Unpacked, Wanted, Watermark,
    plan,
};
use umiak_spec::{Digest, Platform};

const KINDS: [Kind; 5] = [Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::F2fs, Kind::Other];

fn digest(what: &str, number: u64) -> Digest {
    Digest::of(format!("{what} {number}").as_bytes())
}

/// A number that is small, large or at the end.
fn extreme() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![0..100_000_u64, any::<u64>(), Just(u64::MAX), Just(0)]
}

fn layer(number: u64, sizes: impl Strategy<Value = u64>) -> impl Strategy<Value = Layer> {
    (sizes, 0..400_u64, 0..200_000_u64, 1..20_u64, 0..4_u8).prop_map(
        move |(size, files, length, directories, known)| {
            let diff_id = digest("diff", number);
            let measure = counted::measure(diff_id, files, length, directories);
            let contents = match known {
                0 => Contents::Usage {
                    size: measure.size,
                    usage: measure.usage(4096, 1).expect("it is in range"),
                    block_size: 4096,
                },
                1 => Contents::Expanded(measure.tar_size),
                _ => Contents::measured(measure, Some(LayerFiles { image: size, skeleton: 50, record: 0 })),
            };
            Layer { digest: digest("layer", number), size, diff_id, contents, files: None }
        },
    )
}

fn layers(sizes: impl Strategy<Value = u64> + Clone) -> impl Strategy<Value = Vec<Layer>> {
    (0..8_u64).map(|number| layer(number, sizes.clone())).collect::<Vec<_>>()
}

/// An app whose services have images of some of the layers.
fn app(number: u64, layers: &[Layer], stacks: &[Vec<usize>]) -> App {
    let service = |(index, stack): (usize, &Vec<usize>)| {
        let layers: Vec<Layer> = stack.iter().map(|layer| layers[*layer].clone()).collect();
        let config =
            Digest::of(format!("{:?}", layers.iter().map(|layer| layer.diff_id).collect::<Vec<_>>()).as_bytes());
        let config = Blob::new(BlobKind::Config, config, 1500);
        Service { name: format!("s{index}"), image: Image { config, manifests: vec![], layers } }
    };
    App {
        name: format!("app{}", number % 3),
        digest: digest("app", number),
        own: vec![
            Blob::new(BlobKind::Manifest, digest("app", number), 700),
            Blob::new(BlobKind::Object, digest("object", number % 3), object_size(number % 3)),
        ],
        bundle: Some(Unpacked { files: BTreeMap::from([(900, 2)]), directories: 1 }),
        services: stacks.iter().enumerate().map(service).collect(),
    }
}

/// Bytes of one of three objects.
const fn object_size(number: u64) -> u64 {
    70_000 + 5_000 * number
}

fn apps(layers: Vec<Layer>) -> impl Strategy<Value = Vec<App>> {
    let stack = prop::collection::vec(0..layers.len(), 1..4);
    prop::collection::vec(prop::collection::vec(stack, 1..3), 1..5)
        .prop_map(move |all| (0..).zip(&all).map(|(number, stacks)| app(number, &layers, stacks)).collect())
}

fn file_system(number: usize, blocks: impl Strategy<Value = u64>) -> impl Strategy<Value = FileSystem> {
    (0..5_usize, 9..=16_u32, blocks, 0..=100_u64, 0..=10_u64, prop::option::of(0..100_000_u64)).prop_map(
        move |(kind, power, blocks, free, reserved, inodes_free)| FileSystem {
            name: format!("/{number}"),
            kind: KINDS[kind],
            block_size: 1 << power,
            blocks,
            free: blocks / 100 * free,
            reserved: blocks / 100 * reserved,
            inodes_free,
            inode_size: 512,
            groups: 4,
        },
    )
}

#[derive(Debug, Clone)]
struct Case {
    device: Device,
    wanted: Wanted,
}

fn cases(
    sizes: impl Strategy<Value = u64> + Clone,
    blocks: impl Strategy<Value = u64> + Clone,
) -> impl Strategy<Value = Case> {
    let file_systems = (file_system(0, blocks.clone()), file_system(1, blocks));
    let apps = layers(sizes.clone()).prop_flat_map(apps);
    let roles = prop::collection::vec(0..2_usize, 4);
    let odd = prop::collection::vec(0..300_u64, 0..3);
    let rest = (0..4_usize, 20..=99_u64, any::<[bool; 3]>(), prop::collection::vec(0..4_u8, 5), sizes, 0..8_u64, odd);
    (file_systems, apps, roles, rest).prop_map(
        |(
            file_systems,
            apps,
            roles,
            (engine, watermark, [keeps, reclaim, prune_after], fates, download, base, odd),
        )| {
            let mut device = Device {
                name: "device".into(),
                file_systems: vec![file_systems.0, file_systems.1],
                roles: Role::ALL.into_iter().zip(roles).collect(),
                keeps: if keeps || engine == 0 { Keeps::Layers } else { Keeps::Blobs },
                engine: Engine::ALL[engine],
                watermark: Watermark::new(watermark).expect("it is in range"),
                platform: Platform::new("linux", "arm64", None),
                stored: Stored::default(),
            };
            // 0: wanted; 1: stored; 2: stored and running; 3: wanted, stored and running.
            let of = |fates_of: &[u8]| -> Vec<App> {
                let chosen = apps.iter().zip(&fates).filter(|(_, fate)| fates_of.contains(fate));
                chosen.map(|(app, _)| app.clone()).collect()
            };
            // What runs and is to be the previous one is pinned as well.
            let stored = |app: App, running| StoredApp { app, running, pinned: running && base % 2 == 0 };
            let running = of(&[2, 3]).into_iter().map(|app| stored(app, true));
            let there = of(&[1]).into_iter().map(|app| stored(app, false)).chain(running).collect();
            device.stored = Stored::of(there, device.keeps, device.engine);
            device.stored.blobs.extend(odd.iter().map(|number| (digest("junk", *number), number * 1000)));
            if let Some(number) = odd.first() {
                // The rest of an update that was cut: a layer's blob in part or whole, a part of a delta.
                device.stored.blobs.entry(digest("layer", number % 8)).or_insert(number * 10_000);
                device.stored.blobs.entry(digest("part", number % 3)).or_insert(*number);
            }
            let part = |number: u64, size, makes: &[u64]| DeltaPart {
                blob: digest("part", number),
                size,
                makes: makes.iter().map(|makes| digest("diff", (base + makes) % 8)).collect(),
                spool: number.is_multiple_of(2).then_some(size / 2),
            };
            let parts = vec![part(0, download, &[1, 2]), part(1, download / 3, &[1]), part(2, download / 4, &[3])];
            let delta =
                Delta { digest: digest("delta", 0), from: "base".into(), base: vec![digest("diff", base)], parts };
            let other =
                Delta { digest: digest("delta", 1), base: vec![digest("diff", (base + 4) % 8)], ..delta.clone() };
            let patch = |layer: u64, below: Vec<Digest>| Patch {
                layer: digest("diff", (base + layer) % 8),
                base: digest("diff", base),
                below,
                files: LayerFiles { image: download / 5, skeleton: 100, record: 0 },
            };
            let patches = vec![
                patch(1, vec![]),
                patch(2, vec![digest("diff", base)]),
                patch(3, vec![digest("diff", (base + 1) % 8)]),
            ];
            if device.keeps == Keeps::Layers && base > 3 {
                patched(&mut device.stored);
            }
            let made = |number: u64, bytes, spool| ObjectDelta {
                object: digest("object", number % 3),
                size: object_size(number % 3),
                name: "root.squashfs".into(),
                from: "base".into(),
                base: digest("object", (number + 1) % 3),
                base_size: object_size((number + 1) % 3),
                blob: digest("object part", bytes),
                bytes,
                spool,
                whole: number.is_multiple_of(2),
            };
            let objects = vec![
                made(base, 900, download),
                made(base + 1, 40_000, 100),
                made(base, 2000, 0),
                made(base + 2, 80_000, 0),
            ];
            let policy = Policy { reclaim, prune_after };
            let (apps, deltas) = (of(&[0, 3]), vec![delta, other]);
            Case { device, wanted: Wanted { apps, deltas, objects, patches, policy, ..Wanted::default() } }
        },
    )
}

/// Keeps one stored layer as a patch of another, above what lies under it in the first image that has it.
fn patched(stored: &mut Stored) {
    let stacks = stored.apps.iter().flat_map(|stored| stored.app.images()).map(|image| &image.layers);
    let Some(stack) = stacks.max_by_key(|layers| layers.len()).filter(|layers| layers.len() > 1) else { return };
    let diff_ids: Vec<Digest> = stack.iter().map(|layer| layer.diff_id).collect();
    let (layer, below) = diff_ids.split_last().expect("it has more than one");
    let base = stored.layers.keys().copied().find(|base| base != layer);
    if let (Some(base), Some(kept)) = (base, stored.layers.get_mut(layer)) {
        *kept = StoredLayer {
            form: Form::Patch { base, below: below.to_vec() },
            files: LayerFiles { image: 5000, skeleton: 10, record: 300 },
        };
    }
}

fn usual() -> impl Strategy<Value = Case> {
    cases(0..4_000_000_u64, 10_000..1_000_000_u64)
}

/// The device with nothing on it and so much room that it is done in the same way, whatever it takes.
fn roomy(device: &Device) -> Device {
    let mut device = Device { stored: Stored::default(), ..device.clone() };
    for file_system in &mut device.file_systems {
        (file_system.blocks, file_system.free, file_system.reserved) = (1 << 50, 1 << 50, 0);
        file_system.inodes_free = None;
    }
    device
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_fits_can_be_carried_out(case in usual()) {
        carried::carry_out(&case.device, &case.wanted);
    }

    #[test]
    fn more_room_never_makes_it_fit_less(mut case in usual(), more in 0..1_000_000_u64, place in 0..2_usize) {
        let fitted = plan(&case.device, &case.wanted).fits();
        let file_system = &mut case.device.file_systems[place];
        file_system.free = file_system.free.saturating_add(more);
        file_system.inodes_free = file_system.inodes_free.map(|inodes| inodes.saturating_add(more));
        prop_assert!(!fitted || plan(&case.device, &case.wanted).fits());
    }

    #[test]
    fn the_order_of_apps_does_not_matter(case in usual()) {
        let mut turned = case.clone();
        turned.wanted.apps.reverse();
        turned.device.stored.apps.reverse();
        let (one, other) = (plan(&case.device, &case.wanted), plan(&turned.device, &turned.wanted));
        prop_assert_eq!(one.uses, other.uses);
        prop_assert_eq!((one.download, one.verdict), (other.download, other.verdict));
    }

    #[test]
    fn the_peak_is_not_below_the_end(case in usual()) {
        let answer = plan(&case.device, &case.wanted);
        for found in &answer.uses {
            prop_assert!(i128::from(found.peak) >= found.last);
            prop_assert!(i128::from(found.inodes_peak) >= found.inodes_last);
        }
    }

    /// The same apps, but no two share a layer.
    #[test]
    fn sharing_never_costs_more(case in usual()) {
        let empty = roomy(&case.device);
        let mut wanted = Wanted { deltas: vec![], patches: vec![], ..case.wanted };
        let shared = plan(&empty, &wanted);
        let mut number = 100;
        for service in wanted.apps.iter_mut().flat_map(|app| &mut app.services) {
            for layer in &mut service.image.layers {
                number += 1;
                (layer.digest, layer.diff_id) = (digest("layer", number), digest("diff", number));
            }
            service.image.config.digest = digest("config", number);
        }
        let apart = plan(&empty, &wanted);
        prop_assert!(shared.download <= apart.download);
        for (shared, apart) in shared.uses.iter().zip(&apart.uses) {
            prop_assert!(shared.peak <= apart.peak && shared.last <= apart.last, "{shared:?} {apart:?}");
            prop_assert!(shared.inodes_peak <= apart.inodes_peak);
        }
    }

    #[test]
    fn a_bound_is_not_below_the_exact_figure(case in usual()) {
        let empty = roomy(&case.device);
        let mut wanted = Wanted { deltas: vec![], patches: vec![], ..case.wanted };
        let each = |wanted: &mut Wanted, change: fn(&mut Layer)| {
            let services = wanted.apps.iter_mut().flat_map(|app| &mut app.services);
            services.flat_map(|service| &mut service.image.layers).for_each(change);
        };
        each(&mut wanted, |layer| {
            let measure = counted::measure(layer.diff_id, 300, 700 + layer.size % 9000, 10);
            layer.size %= measure.tar_size;
            layer.contents = Contents::measured(measure, Some(LayerFiles { image: layer.size, skeleton: 50, record: 0 }));
        });
        let exact = plan(&empty, &wanted);
        let mut lesser = [wanted.clone(), wanted.clone(), wanted];
        each(&mut lesser[0], |layer| {
            if let Contents::Measured(measured) = &layer.contents {
                let measure = &measured.layer;
                layer.contents = Contents::Usage { size: measure.size, usage: measure.usage(4096, 0).expect("it is in range"), block_size: 4096 };
            }
        });
        each(&mut lesser[1], |layer| {
            if let Contents::Measured(measured) = &layer.contents {
                layer.contents = Contents::Expanded(measured.layer.tar_size);
            }
        });
        each(&mut lesser[2], |layer| {
            if let Contents::Measured(measured) = &layer.contents {
                layer.size = layer.size.max(measured.layer.tar_size / 1000);
            }
            layer.contents = Contents::Unknown;
        });
        for wanted in &lesser {
            for (bound, exact) in plan(&empty, wanted).uses.iter().zip(&exact.uses) {
                // Where nobody counted for such a file system, the figure is a bound of its own.
                prop_assert!(exact.bound || bound.peak >= exact.peak, "{bound:?} {exact:?}");
                prop_assert!(bound.inodes_peak >= exact.inodes_peak, "{bound:?} {exact:?}");
            }
        }
    }

    #[test]
    fn the_ends_of_numbers_are_no_trouble(case in cases(extreme(), extreme())) {
        carried::carry_out(&case.device, &case.wanted);
        let answer = plan(&case.device, &case.wanted);
        let digests: BTreeSet<_> = answer.explain().into_iter().map(|row| row.what).collect();
        prop_assert!(digests.len() <= answer.steps.len());
    }
}
