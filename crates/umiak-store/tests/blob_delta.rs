//! Objects made by deltas of other objects: the very bytes, or an error that says what is to blame and nothing left behind.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::images::{delta, delta_saying, image};
use common::open;
use umiak_spec::{Digest, Silent};
use umiak_store::{Hooked, LayerOptions, MadeBlob, RealDisk, Room, Store, StoreError, StoreOptions};
use umiak_testkit::random::Chance;

/// Two releases of an image: one file stays, one changes a little, one goes and one comes.
fn releases() -> (Vec<u8>, Vec<u8>) {
    let mut chance = Chance::new(5);
    let (stays, goes, comes) = (chance.bytes(600_000), chance.bytes(30_000), chance.bytes(20_000));
    let text: Vec<u8> = (0..40_000_u32).flat_map(|line| format!("line {}\n", line * 7).into_bytes()).collect();
    let mut changed = text.clone();
    changed.splice(9000..9003, *b"in the middle of it");
    let base = image(&[("goes", &goes), ("stays", &stays), ("text", &text)]);
    (base, image(&[("comes", &comes), ("stays", &stays), ("text", &changed)]))
}

fn make(store: &Store, target: &[u8], delta: &[u8]) -> Result<MadeBlob, StoreError> {
    store.make_blob(&Digest::of(target), &delta, Room::ANY, &LayerOptions::default(), &Silent)
}

fn is_clean(root: &Path) -> bool {
    std::fs::read_dir(root.join("staging")).unwrap().next().is_none()
}

fn holds(store: &Store, bytes: &[u8]) -> bool {
    store.document(&Digest::of(bytes), 1 << 30).unwrap().as_deref() == Some(bytes)
}

#[test]
fn an_image_is_made_of_the_one_before() {
    let (base, target) = releases();
    let delta = delta(&base, &target, true);
    assert!(delta.len() < 25_000, "{} bytes", delta.len());
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    store.put_blob(&Digest::of(&base), &base).unwrap();
    let made = make(&store, &target, &delta).unwrap();
    assert!(holds(&store, &target) && is_clean(area.path()));
    // What stays is copied in its compressed blocks and lies nowhere beside.
    assert!(!made.was_here && made.spooled < 560_000, "{made:?}");
    assert_eq!(make(&store, &target, &delta).unwrap(), MadeBlob { was_here: true, spooled: 0 });
    // A damaged one is made again in its place.
    std::fs::write(store.blob(&Digest::of(&target)).unwrap().unwrap().path(), b"damaged").unwrap();
    store.replace_blob(&Digest::of(&target), &delta, Room::ANY, &LayerOptions::default(), &Silent).unwrap();
    assert!(holds(&store, &target));
}

#[test]
fn any_file_is_made_of_another() {
    let mut chance = Chance::new(9);
    let (base, target) = releases();
    let mut other = chance.bytes(200_000);
    let plain = other.clone();
    other.splice(70_000..70_010, *b"other bytes here");
    // Of an image as it is, of a plain file, to nothing, of nothing.
    for (base, target) in [(&base, &target), (&plain, &other), (&plain, &Vec::new()), (&Vec::new(), &other)] {
        let delta = delta(base, target, false);
        let area = tempfile::tempdir().unwrap();
        let store = open(area.path());
        store.put_blob(&Digest::of(base), base).unwrap();
        make(&store, target, &delta).unwrap();
        assert!(holds(&store, target) && is_clean(area.path()));
    }
}

#[test]
fn what_is_to_blame_is_said_and_nothing_is_left() {
    let (base, target) = releases();
    let delta = delta(&base, &target, true);
    let area = tempfile::tempdir().unwrap();
    let store = open(area.path());
    let missing = make(&store, &target, &delta).unwrap_err();
    assert!(matches!(missing, StoreError::NoBlob(digest) if digest == Digest::of(&base)), "{missing}");
    store.put_blob(&Digest::of(&base), &base).unwrap();
    let wrong =
        store.make_blob(&Digest::of(b"other"), &delta, Room::ANY, &LayerOptions::default(), &Silent).unwrap_err();
    assert!(matches!(wrong, StoreError::WrongDigest { .. }), "{wrong}");
    // Every byte of the delta counts; its index is seen at once, a frame when it is read.
    for at in [0, 9, 20, 60, delta.len() / 2, delta.len() - 1] {
        let mut damaged = delta.clone();
        damaged[at] ^= 1;
        let error = make(&store, &target, &damaged).unwrap_err();
        assert!(matches!(error, StoreError::BlobDelta { .. }), "byte {at}: {error}");
        assert!(make(&store, &target, &delta[..at]).is_err());
    }
    // A base that rots: in its tables, in a block that is copied, in a block that a changed file is made of, at its end.
    let place = store.blob(&Digest::of(&base)).unwrap().unwrap().path().to_owned();
    for at in [0, 100, base.len() / 3, base.len() - 5000, base.len() - 30] {
        let mut rotten = base.clone();
        rotten[at] ^= 0x10;
        std::fs::write(&place, &rotten).unwrap();
        match make(&store, &target, &delta) {
            Err(StoreError::DamagedBase { base: told, .. }) => assert_eq!(told, Digest::of(&base)),
            // Nothing of what is wrong was needed.
            Ok(_) => {
                assert!(holds(&store, &target));
                std::fs::remove_file(store.blob(&Digest::of(&target)).unwrap().unwrap().path()).unwrap();
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
        assert!(!store.has_blob(&Digest::of(&target)) && is_clean(area.path()), "byte {at}");
    }
    std::fs::write(&place, &base[..base.len() / 2]).unwrap();
    let error = make(&store, &target, &delta).unwrap_err();
    assert!(matches!(error, StoreError::DamagedBase { .. }), "{error}");
}

/// A store with one blob, on a disk that knows how much lay in `staging` at most.
struct Watched {
    area: tempfile::TempDir,
    store: Store,
    most: Arc<AtomicU64>,
}

impl Watched {
    fn new(base: &[u8]) -> Self {
        let area = tempfile::tempdir().unwrap();
        let (root, most) = (area.path().to_owned(), Arc::new(AtomicU64::new(0)));
        let seen = Arc::clone(&most);
        let disk = Hooked::new(Arc::new(RealDisk), move |_| {
            let files = std::fs::read_dir(root.join("staging")).into_iter().flatten().flatten();
            seen.fetch_max(files.map(|file| file.metadata().map_or(0, |told| told.len())).sum(), Ordering::SeqCst);
            Ok(())
        });
        let store = Store::open(area.path(), Arc::new(disk), &StoreOptions::UPDATE).unwrap();
        store.put_blob(&Digest::of(base), base).unwrap();
        most.store(0, Ordering::SeqCst);
        Self { area, store, most }
    }

    fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    /// Makes `target` in `room`, for which there is not enough of something: what, and how much there is.
    fn refused(&self, target: &[u8], delta: &[u8], room: Room) -> (&'static str, u64) {
        let digest = Digest::of(target);
        let error = self.store.make_blob(&digest, &delta, room, &LayerOptions::default(), &Silent).unwrap_err();
        assert!(!self.store.has_blob(&digest) && is_clean(self.area.path()));
        match error {
            StoreError::Exceeds { digest: told, what, limit } if told == digest => (what, limit),
            error => panic!("{error:?}"),
        }
    }
}

/// What lies beside while a target is made.
fn spooled(base: &[u8], target: &[u8], delta: &[u8]) -> u64 {
    make(&Watched::new(base).store, target, delta).unwrap().spooled
}

#[test]
fn no_more_lies_beside_than_is_told() {
    let (base, target) = releases();
    let watched = Watched::new(&base);
    let made = make(&watched.store, &target, &delta(&base, &target, true)).unwrap();
    let (most, told) = (watched.most(), made.spooled + target.len() as u64);
    assert!(most <= told && most > told - told / 50, "{most} of {told}");
}

#[test]
fn no_more_is_written_than_there_is_room_for() {
    let (base, target) = releases();
    let size = target.len() as u64;
    let delta = delta(&base, &target, true);
    let watched = Watched::new(&base);
    assert_eq!(watched.refused(&target, &delta, Room { size: size - 1, ..Room::ANY }), ("it", size - 1));
    assert_eq!(watched.most(), 0, "nothing was begun");
    for spool in [0, 1000, 300_000] {
        let refused = watched.refused(&target, &delta, Room { size, spool });
        assert_eq!(refused, ("what lies beside meanwhile", spool));
        assert!(watched.most() <= spool, "{} of {spool}", watched.most());
    }
    // As much as it says that it takes is enough, and a byte less is not.
    let spool = spooled(&base, &target, &delta);
    watched.refused(&target, &delta, Room { size, spool: spool - 1 });
    let room = Room { size, spool };
    watched.store.make_blob(&Digest::of(&target), &delta, room, &LayerOptions::default(), &Silent).unwrap();
    assert!(holds(&watched.store, &target));
}

#[test]
fn a_delta_that_lies_about_its_length_is_cut_off() {
    let (base, target) = releases();
    let spool = spooled(&base, &target, &delta(&base, &target, true));
    for size in [0, 4096, target.len() as u64 - 1] {
        let lies = delta_saying(&base, &target, true, size);
        let watched = Watched::new(&base);
        assert_eq!(watched.refused(&target, &lies, Room { size, spool }), ("it", size));
        assert!(watched.most() <= size + spool, "{} of {size}", watched.most());
        // A plain file is seen to be longer by who makes it.
        let lies = delta_saying(&base, &target, false, size);
        let watched = Watched::new(&base);
        let error = make(&watched.store, &target, &lies).unwrap_err();
        assert!(matches!(error, StoreError::BlobDelta { .. }), "{error}");
        assert!(watched.most() <= size && is_clean(watched.area.path()), "{} of {size}", watched.most());
    }
    // An image that is tiny, of a file that is not.
    let bomb = image(&[("zeros", &vec![0; 8 << 20])]);
    let delta = delta(&base, &bomb, true);
    assert!(bomb.len() + delta.len() < 100_000, "{} and {}", bomb.len(), delta.len());
    let (watched, room) = (Watched::new(&base), Room { size: bomb.len() as u64, spool: 1 << 20 });
    assert_eq!(watched.refused(&bomb, &delta, room), ("what lies beside meanwhile", 1 << 20));
    assert!(watched.most() <= room.spool, "{}", watched.most());
}

/// What the golden delta leaves beside while it is applied. Package deltas that were written say such figures, and a byte more
/// is refused: it may become less, and never more (docs/formats/package-delta.md).
const GOLDEN_SPOOL: u64 = 48_460;

#[test]
fn the_golden_delta_spools_what_it_always_did() {
    let golden = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let lines =
        |count: u32| (0..count).flat_map(|line| format!("line {}\n", line * 7).into_bytes()).collect::<Vec<u8>>();
    if std::env::var_os("UMIAK_SNAPSHOTS").is_some_and(|word| word == "write") {
        let stays = Chance::new(5).bytes(3000);
        let base = image(&[("goes", &lines(300)), ("stays", &stays), ("text", &lines(4000))]);
        let target = image(&[("comes", &lines(500)), ("stays", &stays), ("text", &lines(4100))]);
        std::fs::create_dir_all(golden("")).unwrap();
        std::fs::write(golden("base.squashfs"), &base).unwrap();
        std::fs::write(golden("image.delta"), delta(&base, &target, true)).unwrap();
    }
    let [base, delta] = ["base.squashfs", "image.delta"].map(|name| std::fs::read(golden(name)).unwrap());
    let target = umiak_delta::Delta::open(&delta).unwrap().index().target.digest;
    let watched = Watched::new(&base);
    let made = watched.store.make_blob(&target, &delta, Room::ANY, &LayerOptions::default(), &Silent).unwrap();
    assert_eq!(made.spooled, GOLDEN_SPOOL);
}
