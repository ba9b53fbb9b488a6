//! The power is cut before every single change on disk in turn: afterwards the committed state is the old or the new one,
//! every object in the pool is whole, and doing the same again succeeds.

use std::fs;
use std::path::Path;

use umiak_pvr::{Reference, State};
use umiak_spec::{Cancelled, Digest, Observer, Silent};

use crate::durable::changes_until_death;
use crate::package::{Format, ImportMode};
use crate::{AddOptions, CheckoutOptions, DeployOptions, Error, InitOptions, Repository, deploy};

fn write(root: &Path, files: &[(&str, &str)]) {
    for (path, content) in files {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

fn device(root: &Path, files: &[(&str, &str)]) -> Repository {
    let repository = Repository::init(root, &InitOptions::default()).unwrap();
    write(root, files);
    repository.add(&[], AddOptions::default(), &Silent).unwrap();
    repository.commit("first", None, &Silent).unwrap();
    repository
}

const OLD: [(&str, &str); 3] = [("a", "old a"), ("b.json", "{\"old\":1}"), ("gone", "gone")];
const NEW: [(&str, &str); 3] = [("a", "new a"), ("b.json", "{\"new\":2}"), ("d/c", "new c")];

fn check_pool(repository: &Repository) {
    for entry in fs::read_dir(repository.pool().directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != ".umiak-tmp" {
            repository.pool().verify(&Digest::from_hex(&name).unwrap(), &Silent).unwrap();
        }
    }
}

/// Runs `work` on a fresh device of `OLD` files, dying before change 0, 1, 2, … until it survives. `prepare` gets the
/// device ready. Returns how many changes the work makes.
fn die_everywhere(
    prepare: impl Fn(&Path, &Repository),
    work: impl Fn(&Path, &Repository) -> Result<(), Error>,
    new: &State,
) -> u64 {
    for life in 0..10_000 {
        let temp = tempfile::tempdir().unwrap();
        let root = temp.path().join("device");
        let repository = device(&root, &OLD);
        let old = repository.pristine().unwrap();
        prepare(temp.path(), &repository);
        changes_until_death(Some(life));
        let result = work(temp.path(), &repository);
        changes_until_death(None);
        drop(repository);

        let repository = Repository::open(&root).unwrap();
        let now = repository.pristine().unwrap();
        assert!(now == old || now == *new, "after {life} changes the state is {}", now.canonical());
        check_pool(&repository);
        for digest in now.objects() {
            repository.pool().verify(&digest, &Silent).unwrap();
        }
        if result.is_ok() {
            assert_eq!(now, *new);
            return life;
        }
        work(temp.path(), &repository).unwrap();
        assert_eq!(repository.pristine().unwrap(), *new, "doing it again finishes it");
        check_pool(&repository);
        for staging in [root.join(".pvr/umiak-tmp"), repository.pool().directory().join(".umiak-tmp")] {
            assert_eq!(
                fs::read_dir(&staging).map_or(0, Iterator::count),
                0,
                "nothing is left in {}",
                staging.display()
            );
        }
    }
    panic!("it never survives");
}

fn new_state() -> State {
    let temp = tempfile::tempdir().unwrap();
    device(temp.path(), &NEW).pristine().unwrap()
}

#[test]
fn commit_dies_everywhere() {
    let prepare = |_: &Path, repository: &Repository| {
        write(repository.root(), &NEW);
        fs::remove_file(repository.root().join("gone")).unwrap();
        repository.add(&[], AddOptions::default(), &Silent).unwrap();
    };
    let work = |_: &Path, repository: &Repository| repository.commit("second", None, &Silent).map(drop);
    let changes = die_everywhere(prepare, work, &new_state());
    assert!(changes > 10, "{changes}");
}

#[test]
fn import_dies_everywhere() {
    let prepare = |temp: &Path, _: &Repository| {
        let other = device(&temp.join("other"), &NEW);
        let file = fs::File::create(temp.join("package")).unwrap();
        other.export(&umiak_pvr::Parts::all(), file, Format::Tar, &Silent).unwrap();
    };
    let work = |temp: &Path, repository: &Repository| {
        let mut file = fs::File::open(temp.join("package")).unwrap();
        let limits = umiak_spec::Limits::default();
        repository.import(&mut file, &temp.join("package"), ImportMode::Replace, &limits, &Silent).map(drop)
    };
    assert!(die_everywhere(prepare, work, &new_state()) > 10);
}

#[test]
fn deploy_dies_everywhere_and_every_file_stays_whole() {
    let prepare = |temp: &Path, repository: &Repository| {
        device(&temp.join("other"), &NEW);
        repository.checkout(CheckoutOptions { hardlink: true, canonical: true }, &Silent).unwrap();
    };
    let mut new = new_state();
    new.insert(umiak_pvr::StatePath::new("gone").unwrap(), umiak_pvr::Entry::Object(Digest::of(b"gone")));
    let whole = ["old a", "new a", "{\"old\":1}", "{\"new\":2}", "gone", "new c"];
    let work = |temp: &Path, repository: &Repository| {
        let reference = Reference::parse(temp.join("other").to_str().unwrap()).unwrap();
        let options = DeployOptions { replace_documents: true, objects: None };
        let result = deploy(repository.root(), &[reference], &options, &Silent).map(drop);
        for path in ["a", "b.json", "gone", "d/c"] {
            if let Ok(content) = fs::read_to_string(repository.root().join(path)) {
                assert!(whole.contains(&content.as_str()), "{path} holds {content:?}");
            }
        }
        result
    };
    assert!(die_everywhere(prepare, work, &new) > 20);
}

/// Cancels at the n-th question.
struct Cancels(std::sync::atomic::AtomicUsize);

impl Observer for Cancels {
    fn expect(&self, _: &'static str, _: u64) {}
    fn advance(&self, _: &'static str, _: u64) {}
    fn note(&self, _: &str) {}
    fn check(&self) -> Result<(), Cancelled> {
        use std::sync::atomic::Ordering;
        let left = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| Some(left.saturating_sub(1)));
        if left == Ok(0) { Err(Cancelled) } else { Ok(()) }
    }
}

#[test]
fn a_cancelled_commit_leaves_state_and_pool_as_they_were() {
    let temp = tempfile::tempdir().unwrap();
    let repository = device(temp.path(), &OLD);
    let state = || fs::read(temp.path().join(".pvr/json")).unwrap();
    let pool = || {
        let mut names: Vec<_> =
            fs::read_dir(repository.pool().directory()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        (names, fs::read_dir(repository.pool().directory().join(".umiak-tmp")).unwrap().count())
    };
    write(temp.path(), &NEW);
    repository.add(&[], AddOptions::default(), &Silent).unwrap();
    let (before, objects) = (state(), pool());
    let mut cancelled = 0;
    for questions in 0.. {
        match repository.commit("second", None, &Cancels(questions.into())) {
            Err(Error::Cancelled(_)) => cancelled += 1,
            other => {
                other.unwrap();
                break;
            }
        }
        assert_eq!(state(), before, "cancelled at question {questions}");
        if pool() != objects {
            // Cancelled after the objects were published: they are whole, and no state needs them.
            check_pool(&repository);
        }
    }
    assert!(cancelled > 5, "{cancelled}");
}
