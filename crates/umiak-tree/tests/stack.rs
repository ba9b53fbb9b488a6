//! How layers stack: one test for each rule of the image specification, and for what archives do in practice.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use umiak_spec::Limits;
use umiak_testkit::random::Bytes;
use umiak_tree::{Directory, Kind, Metadata, Stack, StackError, Tree, TreePath};

fn path(text: &str) -> TreePath {
    TreePath::from_archive(text.as_bytes(), &Limits::default()).unwrap()
}

/// Applies a script: one line is one change, `---` starts a layer.
/// `d PATH [MODE]`, `f PATH CONTENT`, `s PATH TARGET`, `l PATH TARGET`, `w PATH` (whiteout), `o PATH` (opaque).
fn try_stack(script: &str) -> Result<Tree<Bytes>, StackError> {
    let limits = Limits { depth: 8, entries: 50, ..Limits::default() };
    let mut stack = Stack::new(limits);
    stack.begin_layer()?;
    for line in script.split(';').map(str::trim) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["---"] => stack.begin_layer()?,
            ["d", at] => stack.add(path(at), Metadata::root_owned(0o750), Kind::Directory(Directory::new()))?,
            ["d", at, mode] => {
                let metadata = Metadata::root_owned(u16::from_str_radix(mode, 8).unwrap());
                stack.add(path(at), metadata, Kind::Directory(Directory::new()))?;
            }
            ["f", at, content] => {
                stack.add(path(at), Metadata::root_owned(0o644), Kind::File(Bytes::of(content.as_bytes())))?;
            }
            ["s", at, target] => {
                stack.add(path(at), Metadata::root_owned(0o777), Kind::Symlink(target.as_bytes().into()))?;
            }
            ["l", at, target] => stack.link(path(at), path(target))?,
            ["w", at] => stack.whiteout(path(at))?,
            ["o", at] => stack.opaque(path(at))?,
            _ => panic!("{line}"),
        }
    }
    stack.finish()
}

/// The names of the tree: directories with mode, files with content, links with target; `=` joins names of one inode.
fn listing(tree: &Tree<Bytes>) -> String {
    let mut firsts = std::collections::BTreeMap::new();
    let entries = tree.walk().skip(1).map(|entry| {
        let name = entry.path.to_string();
        if let Some(first) = firsts.get(&entry.id) {
            return format!("{name}={first}");
        }
        firsts.insert(entry.id, name.clone());
        match &entry.inode.kind {
            Kind::Directory(_) => format!("{name}:{:o}", entry.inode.metadata.mode),
            Kind::File(content) => format!("{name}({})", String::from_utf8_lossy(&content.0)),
            Kind::Symlink(target) => format!("{name}->{}", String::from_utf8_lossy(target)),
            _ => unreachable!(),
        }
    });
    entries.collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(script: &str, expected: &str) {
    assert_eq!(listing(&try_stack(script).unwrap()), expected, "{script}");
}

#[test]
fn whiteouts_act_on_lower_layers_only_wherever_they_stand() {
    check("f a 1; f b 1; ---; w a", "/b(1)");
    check("f a 1; ---; w a; f a 2", "/a(2)");
    check("f a 1; ---; f a 2; w a", "/a(2)");
    check("d d; f d/low 1; ---; f d/up 2; w d", "/d:755 /d/up(2)");
    check("d d; f d/low 1; ---; w d; d d 700; f d/up 2", "/d:700 /d/up(2)");
    check("f a 1; w a; w none; w none/deep", "/a(1)");
}

#[test]
fn opaque_marks_keep_the_directory_and_their_own_layer() {
    check("d d 711; f d/low 1; ---; f d/up 2; o d", "/d:711 /d/up(2)");
    check("d d 711; f d/low 1; ---; o d; f d/up 2", "/d:711 /d/up(2)");
    check("f a 1; ---; o /; f b 2", "/b(2)");
    check("f a 1; ---; o a; o none", "/a(1)");
}

#[test]
fn entries_come_in_any_order_and_the_last_wins() {
    check("f d/a 1; d d 700", "/d:700 /d/a(1)");
    check("f x/y/a 1", "/x:755 /x/y:755 /x/y/a(1)");
    check("f a 1; f a 2", "/a(2)");
    check("d d 700; d d 711", "/d:711");
    check("f d/a 1; f d 2", "/d(2)");
    check("f d 1; f d/a 2", "/d:755 /d/a(2)");
}

#[test]
fn types_replace_each_other_and_directories_merge() {
    check("d d 700; f d/a 1; ---; d d 711; f d/b 2", "/d:711 /d/a(1) /d/b(2)");
    check("d d; f d/a 1; ---; f d 2", "/d(2)");
    check("f d 1; ---; d d 700; f d/a 2", "/d:700 /d/a(2)");
    check("s d /etc; ---; d d 700; f d/a 2", "/d:700 /d/a(2)");
}

#[test]
fn hard_links_find_their_target_in_any_place() {
    check("f a 1; l b a", "/a(1) /b=/a");
    check("l b a; f a 1", "/a(1) /b=/a");
    check("l c b; l b a; f a 1", "/a(1) /b=/a /c=/a");
    check("l b a; l c b; f a 1", "/a(1) /b=/a /c=/a");
    check("f a 1; ---; l b a", "/a(1) /b=/a");
    // The layer's own target goes first, even when it comes later.
    check("f a 1; ---; l b a; f a 2", "/a(2) /b=/a");
    check("f a 1; ---; f a 2; l b a", "/a(2) /b=/a");
    // A link made before its target is replaced keeps what it was made to.
    check("f a 1; l b a; f a 2", "/a(2) /b(1)");
    // A rename in one layer: link and whiteout.
    check("f a 1; ---; l b a; w a", "/b(1)");
    check("f a 1; ---; w a; l b a", "/b(1)");
    check("f a 1; l a a", "/a(1)");
    check("s a x; l b a", "/a->x /b=/a");
    check("l a b; f a 1", "/a(1)");
}

#[test]
fn symbolic_links_among_parents_are_followed_inside_the_root() {
    check("d usr/lib 755; s lib usr/lib; ---; f lib/a 1", "/lib->usr/lib /usr:755 /usr/lib:755 /usr/lib/a(1)");
    check("d d 755; s l ../../../d; f l/a 1", "/d:755 /d/a(1) /l->../../../d");
    check("d d 755; s x/l /d; f x/l/a 1", "/d:755 /d/a(1) /x:755 /x/l->/d");
    check("s l gone/deep; f l/a 1", "/gone:755 /gone/deep:755 /gone/deep/a(1) /l->gone/deep");
    check("d d 755; s l d; f d/a 1; ---; w l/a", "/d:755 /l->d");
    check("d d 755; s l d; f d/a 1; ---; l b l/a", "/b(1) /d:755 /d/a=/b /l->d");
}

#[test]
fn what_makes_no_tree_is_an_error_that_names_the_layer() {
    let error = |script: &str| try_stack(script).unwrap_err();
    assert_eq!(
        error("f a 1; ---; l b none"),
        StackError::LinkTarget { layer: 1, path: path("b"), target: path("none") }
    );
    assert!(matches!(error("l a b; l b a"), StackError::LinkTarget { layer: 0, .. }));
    assert!(matches!(error("l a a"), StackError::LinkTarget { .. }));
    assert!(matches!(error("d d; l a d"), StackError::LinkToDirectory { .. }));
    assert!(matches!(error("l a d; f d/x 1"), StackError::LinkToDirectory { .. }));
    assert!(matches!(error("s a b; s b a; f a/x 1"), StackError::Circular { .. }));
    assert!(matches!(error("f / 1"), StackError::RootReplaced { .. }));
    assert!(matches!(error("d 1/2/3/4/5/6; s l 1/2/3/4/5/6; f l/7/8/9 x"), StackError::TooDeep { .. }));
    assert!(matches!(error(&format!("s l {}; f l/a 1", "n".repeat(256))), StackError::LongName { .. }));
    assert!(matches!(error("f a 1;".repeat(51).trim_end_matches(';')), StackError::TooMany { limit: 50, .. }));
}

#[test]
fn long_chains_of_links_take_linear_time() {
    let mut stack = Stack::new(Limits::default());
    stack.begin_layer().unwrap();
    let name = |n: usize| path(&format!("l{n}"));
    for n in 0..50_000 {
        stack.link(name(n), name(n + 1)).unwrap();
    }
    for n in (50_001..100_000).rev() {
        stack.link(name(n), name(n - 1)).unwrap();
    }
    stack.add(name(50_000), Metadata::root_owned(0), Kind::File(Bytes::of(b"end"))).unwrap();
    let tree = stack.finish().unwrap();
    assert_eq!((tree.len(), tree.name_counts()[1]), (2, 100_000));
}
