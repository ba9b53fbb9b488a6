//! A device directory through its life: init, add, status, commit, checkout, get, merge, clone, deploy.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use umiak_pvr::{Reference, Value};
use umiak_repository::{
    AddOptions, Change, ChangeKind, CheckoutOptions, CloneOptions, DeployOptions, Error, InitOptions, Repository,
    clone, deploy,
};
use umiak_spec::{Digest, Silent};

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

fn status(repository: &Repository) -> Vec<String> {
    let line = |Change { kind, path }: Change| format!("{} {path}", kind.letter());
    repository.status(&Silent).unwrap().into_iter().map(line).collect()
}

fn json(root: &Path) -> String {
    fs::read_to_string(root.join(".pvr/json")).unwrap()
}

fn reference(path: &Path, parts: &str) -> Reference {
    Reference::parse(&format!("{}#{parts}", path.display())).unwrap()
}

fn pool_names(repository: &Repository) -> Vec<String> {
    let Ok(entries) = fs::read_dir(repository.pool().directory()) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name != ".umiak-tmp");
    names.sort();
    names
}

#[test]
fn a_new_directory_is_what_pvr_makes() {
    let temp = tempfile::tempdir().unwrap();
    let pool = temp.path().join("pool");
    let options = InitOptions { objects: Some(pool.clone()), ..InitOptions::default() };
    let root = temp.path().join("a/b");
    Repository::init(&root, &options).unwrap();
    assert_eq!(json(&root), r##"{"#spec":"pantavisor-service-system@1"}"##);
    let config = fs::read_to_string(root.join(".pvr/config")).unwrap();
    assert_eq!(config, format!("{{\n\t\"ObjectsDir\": \"{}\"\n}}", pool.display()));
    assert!(matches!(Repository::init(&root, &options), Err(Error::AlreadyARepository(_))));
    fs::create_dir_all(root.join("web/deep")).unwrap();
    assert_eq!(Repository::find(&root.join("web/deep")).unwrap().root(), root);
    // pvr's own configuration directory is no device.
    let home = temp.path().join("home");
    fs::create_dir_all(home.join(".pvr/objects")).unwrap();
    fs::write(home.join(".pvr/auth.json"), "{}").unwrap();
    assert!(matches!(Repository::find(&home), Err(Error::NotARepository(_))));
}

#[test]
fn add_status_commit() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let repository = Repository::init(root, &InitOptions::default()).unwrap();
    write(root, &[("web/run.json", "{ \"b\": 1.0,\n\"a\": [] }"), ("web/x", "hello"), ("raw.json", "{ }"), ("u", "")]);
    assert_eq!(status(&repository), ["? raw.json", "? u", "? web/run.json", "? web/x"]);
    let report = repository.add(&["web".into(), "nothing*".into()], AddOptions::default(), &Silent).unwrap();
    assert_eq!(report.added.len(), 2);
    assert_eq!(report.unmatched, ["nothing*"]);
    repository.add(&["r*.json".into()], AddOptions { raw: true, ..AddOptions::default() }, &Silent).unwrap();
    assert_eq!(status(&repository), ["A raw.json", "A web/run.json", "A web/x", "? u"]);
    let new = fs::read_to_string(root.join(".pvr/new")).unwrap();
    let expected = r#"{"raw.json":{"ForceObject":true,"Sha":""},"web/run.json":{"ForceObject":false,"Sha":""},"web/x":{"ForceObject":false,"Sha":""}}"#;
    assert_eq!(new, expected);

    let report = repository.commit("message", Some("2026-11-21T00:00:00Z"), &Silent).unwrap();
    assert_eq!((report.added.len(), report.stored.objects), (4, 2));
    let expected = format!(
        r##"{{"#spec":"pantavisor-service-system@1","checkpoint.json":{{"major":"2026-11-21T00:00:00Z"}},"raw.json":"{}","web/run.json":{{"a":[],"b":1}},"web/x":"{}"}}"##,
        Digest::of(b"{ }").hex(),
        Digest::of(b"hello").hex()
    );
    assert_eq!(json(root), expected);
    assert_eq!(fs::read_to_string(root.join(".pvr/commitmsg")).unwrap(), "message");
    assert_eq!(fs::read_to_string(root.join("checkpoint.json")).unwrap(), r#"{"major":"2026-11-21T00:00:00Z"}"#);
    assert!(!root.join(".pvr/new").exists());
    let object = fs::metadata(repository.pool().path(&Digest::of(b"hello"))).unwrap();
    assert_eq!((object.mode() & 0o777, object.nlink()), (0o444, 1), "never a link to the user's file");
    assert_eq!(status(&repository), ["? u"]);

    // A document is the same whatever its white space; a raw one is not.
    write(root, &[("web/run.json", "{\"a\":[],\"b\":1}"), ("raw.json", "{}"), ("web/x", "world")]);
    assert_eq!(status(&repository), ["C raw.json", "C web/x", "? u"]);
    fs::remove_file(root.join("web/x")).unwrap();
    assert_eq!(status(&repository), ["C raw.json", "D web/x", "? u"]);
    let report = repository.commit("second", None, &Silent).unwrap();
    assert_eq!((report.changed.len(), report.removed.len()), (1, 1));
    assert!(repository.commit("nothing", None, &Silent).unwrap().is_empty());
    assert_eq!(repository.commit_message().unwrap().as_deref(), Some("second"));
}

#[test]
fn null_in_a_document_is_not_changed_for_ever() {
    let temp = tempfile::tempdir().unwrap();
    let repository = device(temp.path(), &[("a.json", r#"{"x":null,"y":[null]}"#)]);
    assert_eq!(status(&repository), Vec::<String>::new());
    assert_eq!(repository.diff(&Silent).unwrap().canonical(), "{}");
}

#[test]
fn a_checkout_of_pvr_s_files_and_back() {
    // As pvr leaves it: relative pool, unknown configuration members, state not canonical, Sha filled in.
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let hello = Digest::of(b"hello").hex();
    write(
        root,
        &[
            (".pvr/json", &format!("{{ \"#spec\": \"s\", \"web/x\": \"{hello}\", \"a.json\": {{\"<\": 1.5}} }}")),
            (
                ".pvr/config",
                "{\n\t\"DefaultGetUrl\": \"https://x\",\n\t\"ObjectsDir\": \"pool\",\n\t\"AccessTokens\": null\n}",
            ),
            (".pvr/new", &format!("{{\"n\":{{\"Sha\":\"{hello}\",\"ForceObject\":false}}}}")),
            (&format!("pool/{hello}"), "hello"),
            ("n", "new"),
        ],
    );
    let repository = Repository::open(root).unwrap();
    assert_eq!(status(&repository), ["A n", "D a.json", "D web/x", &format!("? pool/{hello}")]);
    let report = repository.checkout(CheckoutOptions::default(), &Silent).unwrap();
    assert_eq!(report.written, 2);
    assert_eq!(fs::read_to_string(root.join("web/x")).unwrap(), "hello");
    assert_eq!(fs::read_to_string(root.join("a.json")).unwrap(), "{\n    \"\\u003c\": 1.5\n}");
    assert!(root.join("n").exists() && !root.join(".pvr/new").exists());
    assert_eq!(repository.checkout(CheckoutOptions::default(), &Silent).unwrap().unchanged, 2);
    let canonical = CheckoutOptions { canonical: true, ..CheckoutOptions::default() };
    repository.checkout(canonical, &Silent).unwrap();
    assert_eq!(fs::read_to_string(root.join("a.json")).unwrap(), "{\"<\":1.5E0}");
}

#[test]
fn hard_link_checkout_links_read_only_canonical() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let repository = device(root, &[("web/x", "hello"), ("a.json", "{ }")]);
    let options = CheckoutOptions { hardlink: true, ..CheckoutOptions::default() };
    assert_eq!(repository.checkout(options, &Silent).unwrap().written, 2);
    let (file, object) = (root.join("web/x"), repository.pool().path(&Digest::of(b"hello")));
    assert_eq!(fs::metadata(&file).unwrap().ino(), fs::metadata(object).unwrap().ino());
    assert_eq!(fs::metadata(&file).unwrap().mode() & 0o777, 0o444);
    assert_eq!(fs::read_to_string(root.join("a.json")).unwrap(), "{}");
    assert_eq!(repository.checkout(options, &Silent).unwrap().unchanged, 2);
    assert_eq!(fs::read_dir(root.join(".pvr/umiak-tmp")).unwrap().count(), 0);
}

#[test]
fn a_damaged_or_missing_object_changes_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let repository = device(root, &[("a", "1"), ("b", "2")]);
    let object = repository.pool().path(&Digest::of(b"2"));
    fs::set_permissions(&object, fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(&object, "x").unwrap();
    write(root, &[("a", "changed"), ("b", "changed too")]);
    for hardlink in [false, true] {
        let error = repository.checkout(CheckoutOptions { canonical: false, hardlink }, &Silent).unwrap_err();
        assert!(matches!(&error, Error::Damaged { path, .. } if *path == object), "{error}");
        assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "changed");
    }
    fs::remove_file(&object).unwrap();
    let error = repository.checkout(CheckoutOptions::default(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::Missing(list) if list.len() == 1 && list[0].1.as_str() == "b"), "{error}");
    assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "changed");
    // The file that a commit still has heals the pool.
    write(root, &[("a", "1"), ("b", "2")]);
    assert_eq!(repository.commit("", None, &Silent).unwrap().stored.objects, 1);
    assert!(repository.pool().contains(&Digest::of(b"2")));
}

#[test]
fn what_is_in_the_way_is_named_and_symlinks_lead_nowhere() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path().join("device");
    let repository = device(&root, &[("web/etc/passwd", "ours")]);
    let outside = temp.path().join("outside");
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("passwd"), "theirs").unwrap();
    fs::remove_dir_all(root.join("web/etc")).unwrap();
    symlink(&outside, root.join("web/etc")).unwrap();
    let error = repository.checkout(CheckoutOptions::default(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::Blocked { by, what: "a symbolic link", .. } if by == "web/etc"), "{error}");
    assert_eq!(fs::read_to_string(outside.join("passwd")).unwrap(), "theirs");
    fs::remove_file(root.join("web/etc")).unwrap();
    fs::create_dir_all(root.join("web/etc/passwd/x")).unwrap();
    let error = repository.checkout(CheckoutOptions::default(), &Silent).unwrap_err();
    assert!(matches!(&error, Error::Blocked { what: "a directory", .. }), "{error}");
    fs::remove_dir_all(root.join("web/etc")).unwrap();
    // A symlink in the file's own place is replaced, not followed.
    fs::create_dir_all(root.join("web/etc")).unwrap();
    symlink(outside.join("passwd"), root.join("web/etc/passwd")).unwrap();
    repository.checkout(CheckoutOptions::default(), &Silent).unwrap();
    assert_eq!(fs::read_to_string(root.join("web/etc/passwd")).unwrap(), "ours");
    assert_eq!(fs::read_to_string(outside.join("passwd")).unwrap(), "theirs");
}

#[test]
fn a_state_that_is_none_is_a_typed_error() {
    let temp = tempfile::tempdir().unwrap();
    let repository = device(temp.path(), &[]);
    for bad in ["[]", "{", r#"{"../x":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}"#, "\u{0}"] {
        fs::write(temp.path().join(".pvr/json"), bad).unwrap();
        assert!(matches!(repository.status(&Silent), Err(Error::State { .. })), "{bad}");
        assert!(matches!(repository.commit("", None, &Silent), Err(Error::State { .. })), "{bad}");
        assert_eq!(json(temp.path()), bad);
    }
    for (file, bad) in [(".pvr/config", "[]"), (".pvr/new", "7")] {
        let temp = tempfile::tempdir().unwrap();
        device(temp.path(), &[]);
        fs::write(temp.path().join(file), bad).unwrap();
        let result = Repository::open(temp.path()).and_then(|repository| repository.status(&Silent));
        assert!(matches!(result, Err(Error::Form { .. })), "{file}");
    }
}

#[test]
fn a_tracked_document_that_is_no_json_is_changed_but_not_committed() {
    let temp = tempfile::tempdir().unwrap();
    let repository = device(temp.path(), &[("a.json", "{}"), ("b", "1")]);
    let before = json(temp.path());
    write(temp.path(), &[("a.json", "{"), ("b", "2")]);
    assert_eq!(status(&repository), ["C a.json", "C b"]);
    let error = repository.commit("", None, &Silent).unwrap_err();
    assert!(matches!(&error, Error::NotJson { path, .. } if path.as_str() == "a.json"), "{error}");
    assert_eq!(json(temp.path()), before);
    assert_eq!(pool_names(&repository), [Digest::of(b"1").hex()], "the pool is as it was");
}

#[test]
fn get_overlays_merge_merges_and_neither_touches_files() {
    let temp = tempfile::tempdir().unwrap();
    let theirs = device(
        &temp.path().join("theirs"),
        &[("os/run.json", r#"{"b":{"y":2}}"#), ("os/root", "new"), ("os-extra/x", "extra"), ("web/x", "web")],
    );
    for (merge, run) in [(false, r#"{"b":{"y":2}}"#), (true, r#"{"a":1,"b":{"x":1,"y":2}}"#)] {
        let root = temp.path().join(format!("ours-{merge}"));
        let ours = device(&root, &[("os/run.json", r#"{"a":1,"b":{"x":1}}"#), ("os/root", "old"), ("keep", "k")]);
        let reference = reference(theirs.root(), "os");
        let report = if merge { ours.merge(&reference, &Silent) } else { ours.get(&reference, &Silent) }.unwrap();
        assert_eq!((report.added.len(), report.changed.len(), report.stored.objects), (0, 2, 1));
        let state = ours.pristine().unwrap();
        assert_eq!(
            state.entries().keys().map(umiak_pvr::StatePath::as_str).collect::<Vec<_>>(),
            ["keep", "os/root", "os/run.json"]
        );
        assert_eq!(state.get("os/run.json").unwrap().to_value().canonical(), run);
        assert_eq!(fs::read_to_string(root.join("os/root")).unwrap(), "old");
        let last = Repository::open(&root).unwrap().last_source().unwrap().to_owned();
        assert_eq!(last, format!("{}#os", theirs.root().display()));
    }
}

#[test]
fn get_takes_from_a_dot_pvr_and_from_an_unpacked_package() {
    let temp = tempfile::tempdir().unwrap();
    let theirs = device(&temp.path().join("theirs"), &[("web/x", "web")]);
    let hello = Digest::of(b"hello").hex();
    write(
        temp.path(),
        &[("unpacked/json", &format!("{{\"h\":\"{hello}\"}}")), (&format!("unpacked/objects/{hello}"), "hello")],
    );
    let ours = device(&temp.path().join("ours"), &[]);
    ours.get(&reference(&theirs.root().join(".pvr"), ""), &Silent).unwrap();
    ours.get(&reference(&temp.path().join("unpacked"), ""), &Silent).unwrap();
    assert_eq!(ours.pristine().unwrap().entries().len(), 2);
    // An object whose bytes are not what its name says is refused, and nothing changes.
    let before = json(ours.root());
    write(
        temp.path(),
        &[
            ("bad/json", &format!("{{\"x\":\"{}\"}}", Digest::of(b"x").hex())),
            (&format!("bad/objects/{}", Digest::of(b"x").hex()), "y"),
        ],
    );
    assert!(matches!(ours.get(&reference(&temp.path().join("bad"), ""), &Silent), Err(Error::Damaged { .. })));
    assert!(matches!(ours.get(&reference(&temp.path().join("none"), ""), &Silent), Err(Error::NotASource(_))));
    assert_eq!(json(ours.root()), before);
    assert_eq!(pool_names(&ours).len(), 2);
}

#[test]
fn clone_makes_all_or_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let theirs = device(&temp.path().join("theirs"), &[("web/x", "web"), ("web/run.json", "{}"), ("os/x", "os")]);
    let target = temp.path().join("copy");
    let (copy, report) = clone(&reference(theirs.root(), "web"), &target, &CloneOptions::default(), &Silent).unwrap();
    assert_eq!(report.written, 2);
    assert_eq!(status(&copy), Vec::<String>::new());
    assert_eq!(fs::read_to_string(target.join("web/x")).unwrap(), "web");
    assert!(matches!(
        clone(&reference(theirs.root(), ""), &target, &CloneOptions::default(), &Silent),
        Err(Error::NotEmpty(_))
    ));
    fs::remove_file(theirs.pool().path(&Digest::of(b"os"))).unwrap();
    let broken = clone(&reference(theirs.root(), ""), &temp.path().join("broken"), &CloneOptions::default(), &Silent);
    assert!(matches!(broken, Err(Error::Missing(_))));
    let names: Vec<_> = fs::read_dir(temp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn deploy_links_deletes_and_points_the_boot_loader() {
    let temp = tempfile::tempdir().unwrap();
    let bsp = device(
        &temp.path().join("bsp"),
        &[
            ("bsp/run.json", r#"{"linux":"kernel.img","initrd":"pantavisor","addons":["addon.xz"],"firmware":"f"}"#),
            ("bsp/kernel.img", "kernel"),
            ("bsp/pantavisor", "initrd"),
            ("bsp/addon.xz", "addon"),
            ("device.json", r#"{"a":1}"#),
        ],
    );
    let app = device(&temp.path().join("app"), &[("web/x", "web"), ("device.json", r#"{"b":2}"#)]);
    let target = temp.path().join("device");
    let sources = [reference(bsp.root(), ""), reference(app.root(), "web,device.json")];
    let (deployed, report) = deploy(&target, &sources, &DeployOptions::default(), &Silent).unwrap();
    let names: Vec<_> = report.boot_links.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["pv-kernel.img", "pv-initrd.img", "pv-initrd.img.0"]);
    let inode = |path: &str| fs::metadata(target.join(path)).unwrap().ino();
    assert_eq!(inode(".pv/pv-kernel.img"), inode("bsp/kernel.img"));
    assert_eq!(inode("bsp/kernel.img"), fs::metadata(deployed.pool().path(&Digest::of(b"kernel"))).unwrap().ino());
    assert_eq!(fs::read_to_string(target.join("device.json")).unwrap(), r#"{"a":1,"b":2}"#);
    assert_eq!(status(&deployed), Vec::<String>::new());

    // Again, over a directory with files that do not belong, one of them where a directory is needed now.
    write(&target, &[("junk/deep/file", "x"), ("new", "a file")]);
    symlink("/etc", target.join("link")).unwrap();
    let more = device(&temp.path().join("more"), &[("new/x", "1")]);
    let (deployed, report) =
        deploy(&target, &[reference(more.root(), "")], &DeployOptions::default(), &Silent).unwrap();
    assert_eq!(report.files.deleted, 3);
    assert!(!target.join("junk").exists() && !target.join("link").exists() && Path::new("/etc").exists());
    assert_eq!(fs::read_to_string(target.join("new/x")).unwrap(), "1");
    assert_eq!(status(&deployed), Vec::<String>::new());

    // A directory that is no device is not emptied.
    let precious = temp.path().join("home");
    write(&precious, &[("thesis", "x")]);
    let refused = deploy(&precious, &[reference(more.root(), "")], &DeployOptions::default(), &Silent);
    assert!(matches!(refused, Err(Error::NotEmpty(_))));
    assert!(precious.join("thesis").exists());
}

#[test]
fn apps_are_listed_and_removed() {
    let temp = tempfile::tempdir().unwrap();
    let repository = device(
        temp.path(),
        &[
            ("web/src.json", r##"{"#spec":"service-manifest-src@1"}"##),
            ("web/root.squashfs", "x"),
            ("bsp/src.json", r##"{"#spec":"bsp-manifest-src@1"}"##),
            ("_config/web/etc/x", "x"),
            ("plain/x", "x"),
        ],
    );
    assert_eq!(repository.apps().unwrap(), ["web"]);
    repository.remove_app("web", &Silent).unwrap();
    assert_eq!(status(&repository), ["D web/root.squashfs", "D web/src.json"]);
    assert!(temp.path().join("_config/web/etc/x").exists());
    assert!(matches!(repository.remove_app("web", &Silent), Err(Error::NoSuchApp(_))));
    assert!(matches!(repository.remove_app("../x", &Silent), Err(Error::AppName(_))));
}

#[test]
fn changes_are_found_however_the_file_was_changed() {
    let temp = tempfile::tempdir().unwrap();
    let root = temp.path();
    let repository = device(root, &[("a", "one"), ("b.json", "{\"x\":1}")]);
    assert_eq!(status(&repository), Vec::<String>::new());
    // Same size, same mtime, at once: nothing but the content (and the ctime) tells.
    for round in 0..20 {
        let before = fs::metadata(root.join("a")).unwrap().modified().unwrap();
        fs::write(root.join("a"), if round % 2 == 0 { "two" } else { "one" }).unwrap();
        fs::File::options().write(true).open(root.join("a")).unwrap().set_modified(before).unwrap();
        let expected: &[&str] = if round % 2 == 0 { &["C a"] } else { &[] };
        assert_eq!(status(&repository), expected, "round {round}");
    }
    fs::write(root.join(".pvr/umiak-stat"), "damaged").unwrap();
    assert_eq!(status(&repository), Vec::<String>::new());
    // The cache may not be trusted blindly across kinds: a document turned raw is compared by its bytes.
    repository.add(&["b.json".into()], AddOptions { raw: true, ..AddOptions::default() }, &Silent).unwrap();
    assert_eq!(repository.status(&Silent).unwrap()[0].kind, ChangeKind::Changed);
    repository.commit("", None, &Silent).unwrap();
    let state = repository.pristine().unwrap();
    assert_eq!(state.get("b.json").unwrap().to_value(), Value::from(Digest::of(b"{\"x\":1}").hex()));
}

#[test]
fn one_at_a_time_and_the_holder_may_go_on() {
    let temp = tempfile::tempdir().unwrap();
    let repository = device(temp.path(), &[("a", "1")]);
    let lock = repository.lock(&Silent).unwrap();
    write(temp.path(), &[("a", "2")]);
    assert_eq!(status(&repository), ["C a"], "the holder can ask");
    repository.commit("", None, &Silent).unwrap();

    struct Impatient;
    impl umiak_spec::Observer for Impatient {
        fn expect(&self, _: &'static str, _: u64) {}
        fn advance(&self, _: &'static str, _: u64) {}
        fn note(&self, _: &str) {}
        fn check(&self) -> Result<(), umiak_spec::Cancelled> {
            Err(umiak_spec::Cancelled)
        }
    }
    let other = Repository::open(temp.path()).unwrap();
    assert!(matches!(other.status(&Impatient), Err(Error::Cancelled(_))), "another has to wait");
    drop(lock);
    assert_eq!(status(&other), Vec::<String>::new());
}
