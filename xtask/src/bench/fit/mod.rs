//! `bench fit`: what updates were said to take, and what they take on real file systems with a real Docker daemon.

mod device;
mod images;
mod tar;
pub(super) mod watch;

use umiak_plan::{App, Kind};

use super::shell::Shell;
use super::{Options, machine, pairs, table};
use crate::{Failure, peers, tidy};
use device::{Edge, Outcome};
use images::{Shape, Shelf};

/// Bytes that a figure may be over, where one percent is less.
const ALLOWED: u64 = 64 << 10;

/// Bytes of each file system.
const SIZE: u64 = 1 << 30;

/// Pairs with a real image that are updated from base to target.
const PAIRS: [&str; 2] = ["a", "d"];

const SMALL: Shape = Shape { name: "small", files: 6000, length: 1700, directories: 300 };
const LARGE: Shape = Shape { name: "large", files: 3, length: 15 << 20, directories: 1 };
const FIRST: Shape = Shape { name: "first", files: 400, length: 30_000, directories: 20 };
const SECOND: Shape = Shape { name: "second", files: 420, length: 30_000, directories: 20 };
const THIRD: Shape = Shape { name: "third", files: 380, length: 31_000, directories: 24 };
const OTHER: Shape = Shape { name: "other", files: 200, length: 100_000, directories: 2 };
const DEEP: Shape = Shape { name: "deep", files: 2500, length: 6000, directories: 1200 };
const CROWD: Shape = Shape { name: "crowd", files: 5000, length: 3000, directories: 1 };

/// An update: its name in the table, the apps that are wanted, and whether what it replaces goes.
type Update = (String, Vec<App>, bool);

/// Runs all updates on each file system; prints the table and writes it down if asked.
///
/// # Errors
/// A peer is missing; no root; a command failed.
pub fn bench(options: &Options) -> Result<(), Failure> {
    let wanted = ["docker.io", "iproute2", "util-linux", "e2fsprogs", "xfsprogs", "mount", "gzip", "python3"];
    let missing = peers::install(&wanted.map(str::to_owned).into())?;
    if !missing.is_empty() {
        return Err(format!("the bench needs Debian packages: apt-get install {}", Vec::from_iter(missing).join(" ")));
    }
    let machine = machine::describe(&["docker.io", "e2fsprogs", "xfsprogs"]);
    let target = tidy::metadata()?;
    let target = target["target_directory"].as_str().ok_or("cargo names no target directory")?;
    let shell = Shell::new(std::path::Path::new(target), "fit")?;
    let mut shelf = Shelf::new(shell.directory().join("shelf"))?;
    let updates = updates(options, &mut shelf)?;
    let mut lines = Vec::new();
    for (kind, block) in [(Kind::Ext4, 4096), (Kind::Ext4, 1024), (Kind::Xfs, 4096)] {
        let label = format!("{kind} {block}");
        if !options.only.is_empty() && !options.only.iter().any(|only| *only == kind.to_string()) {
            continue;
        }
        let mut edge = Edge::new(shell.directory(), kind, block, SIZE)?;
        for (name, apps, prune) in &updates {
            let outcome = edge.update(&shelf, apps.clone(), *prune)?;
            let line = line(&format!("{label}: {name}"), &outcome);
            eprintln!("| {} |", line.join(" | "));
            lines.push(line);
        }
    }
    let how = if options.write { "cargo xtask bench fit --pairs DIR" } else { "a part" };
    let text = format!("`{how}`; {machine}.\n\n{}", table::grid(heads(), lines));
    println!("{text}");
    if options.write { table::write("fit", &text) } else { Ok(()) }
}

fn updates(options: &Options, shelf: &mut Shelf) -> Result<Vec<Update>, Failure> {
    let mut app = |name: &str, release: &str, images: &[&[Shape]]| {
        let images = images.iter().map(|shapes| shelf.image(shapes)).collect::<Result<Vec<_>, _>>()?;
        shelf.app(name, release, images)
    };
    let shop1 = app("shop", "1", &[&[SMALL, FIRST]])?;
    let shop2 = app("shop", "2", &[&[SMALL, SECOND]])?;
    let shop3 = app("shop", "3", &[&[DEEP, THIRD]])?;
    let shop4 = app("shop", "4", &[&[DEEP, FIRST], &[DEEP, SECOND]])?;
    let stats1 = app("stats", "1", &[&[SMALL, OTHER]])?;
    let stats2 = app("stats", "2", &[&[CROWD]])?;
    let media1 = app("media", "1", &[&[LARGE]])?;
    let updates: [(&str, Vec<App>, bool); 6] = [
        ("many small files", vec![shop1], false),
        ("next release, the earlier stays", vec![shop2.clone()], false),
        ("a second app on the same base; prune", vec![shop2, stats1.clone()], true),
        ("new base with many directories; prune", vec![shop3.clone(), stats1.clone()], true),
        ("few large files", vec![shop3, stats1, media1.clone()], false),
        ("two apps at once, two services, one large directory; prune", vec![shop4, stats2, media1], true),
    ];
    let mut updates: Vec<Update> = updates.map(|(name, apps, prune)| (name.to_owned(), apps, prune)).into();
    for layout in pairs::present(options, &PAIRS) {
        let mut release = |tag| {
            let image = shelf.real(&layout, tag)?;
            shelf.app("real", &format!("{} {tag}", layout.name), vec![image])
        };
        let (base, last) = (release("base")?, release("target")?);
        updates.push((format!("image {}, base; prune", layout.name), vec![base], true));
        updates.push((format!("image {}, target; prune", layout.name), vec![last], true));
    }
    Ok(updates)
}

fn heads() -> Vec<String> {
    let heads = ["update", "peak", "said", "over", "end", "said", "over", "inodes", "said", "bar"];
    heads.map(str::to_owned).into()
}

/// Sizes in KiB. The peak is what the update takes more than before; the end is what apps and engine use after it.
fn line(name: &str, outcome: &Outcome) -> Vec<String> {
    let found = &outcome.answer.uses[0];
    let (before, own) = (i128::from(outcome.before.bytes), i128::from(outcome.own));
    let peak = (i128::from(outcome.most.bytes) - before, i128::from(found.peak));
    let end = (own + i128::from(outcome.last.bytes) - before, own + found.last);
    let inodes = (i128::from(outcome.most.inodes) - i128::from(outcome.before.inodes), i128::from(found.inodes_peak));
    let kib = |bytes: i128| table::apart(u64::try_from(bytes / 1024).unwrap_or(0));
    let verdict = verdict(&[peak, end], inodes);
    let sizes = [peak, end].into_iter().flat_map(|(took, said)| {
        let over = said - took;
        #[expect(clippy::cast_precision_loss, reason = "lengths of files, far below 2^53")]
        let percent = 100.0 * over as f64 / took.max(1) as f64;
        [kib(took), kib(said), format!("{:+} ({percent:+.2} %)", over / 1024)]
    });
    let inodes = [inodes.0.to_string(), inodes.1.to_string()];
    [name.to_owned()].into_iter().chain(sizes).chain(inodes).chain([verdict.to_owned()]).collect()
}

/// Of what was taken and said: never under, and of sizes at most one percent or [`ALLOWED`] over.
fn verdict(sizes: &[(i128, i128)], inodes: (i128, i128)) -> &'static str {
    if sizes.iter().chain([&inodes]).any(|(took, said)| said < took) {
        return "**under**";
    }
    let over = |(took, said): &(i128, i128)| said - took > i128::from(ALLOWED).max(took / 100);
    if sizes.iter().any(over) { "**over**" } else { "met" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_one_percent_or_64_kib_and_never_under() {
        let small = 64 << 10;
        assert_eq!(verdict(&[(100 << 20, 101 << 20), (5, 5 + small)], (7, 9)), "met");
        assert_eq!(verdict(&[(100 << 20, (100 << 20) + 2 * small), (5, 6 + small)], (7, 9)), "**over**");
        assert_eq!(verdict(&[(100, 99)], (7, 9)), "**under**");
        assert_eq!(verdict(&[(100, 100)], (7, 6)), "**under**");
    }
}
