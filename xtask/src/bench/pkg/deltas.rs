//! Deltas between two releases of a package, of the image pairs that are there: their size against the whole package and
//! against the deltas of others between the two package files, and what taking one costs a device.
//!
//! The others are given the packages without gzip around them, which none of them looks into; the smaller counts. The squashfs
//! images inside are compressed, as they are on devices, and stay so for everybody. bsdiff is left out: it makes as much as the
//! two of them, in minutes and with 17 times the memory.

use super::super::pairs::{self, Layout};
use super::super::shell::Shell;
use super::super::table::Row;
use super::Bench;
use crate::Failure;
use crate::bench::{FORMAT, device_program};

/// Pairs of an image of one architecture, release N and N+1.
const PAIRS: [&str; 4] = ["a", "b", "c", "d"];

/// Both packages, and no delta yet.
const READY: &str = r#"arch=$(dpkg --print-architecture); number=1
for tag in base target; do
  mkdir $tag; cd $tag; $UMIAK -q pkg init -p linux/$arch "oci:$PAIR:$tag" web -o "$FORMAT"
  $UMIAK -q pkg build --unsigned --build-version $number > /dev/null; cd ..; number=2
  cp $tag/releases/*.tgz $tag.tgz; gunzip -c $tag.tgz > $tag.tar
done"#;

const MAKE: &str = "cd target; $UMIAK -q pkg build --unsigned --build-version 2 --from ../base/releases > /dev/null";

/// What others make of the same two.
const OTHERS: [(&str, &str); 2] = [
    ("xdelta3", "xdelta3 -9 -B 536870912 -f -e -s base.tar target.tar xdelta3"),
    ("zstd", "zstd -q -f -19 --long=31 --patch-from=base.tar target.tar -o zstd"),
];

/// Two devices that have the first release.
const DEVICES: &str = r#"mv target/releases/*.delta 2.delta
for way in delta whole; do
  mkdir $way; printf 'store = "%s/store"\nengine = "none"\n\n[daemon]\nsocket = "%s/sock"\n' $PWD/$way $PWD/$way > $way.toml
  $UMIAKD --config $way.toml -q target set base.tgz; $UMIAKD --config $way.toml -q update --stage-only
done"#;

const BY_DELTA: &str =
    "$UMIAKD --config delta.toml -q target set 2.delta; $UMIAKD --config delta.toml -q update --stage-only";
const BY_PACKAGE: &str =
    "$UMIAKD --config whole.toml -q target set target.tgz; $UMIAKD --config whole.toml -q update --stage-only";

/// Adds the rows of each pair that is there.
pub fn measure(bench: &mut Bench<'_>) -> Result<(), Failure> {
    let chosen = |pair: &Layout| bench.options.only.is_empty() || bench.options.only.contains(&pair.name);
    let pairs: Vec<Layout> = pairs::present(bench.options, &PAIRS).into_iter().filter(chosen).collect();
    pairs.iter().try_for_each(|pair| of(bench, pair))
}

fn of(bench: &mut Bench<'_>, pair: &Layout) -> Result<(), Failure> {
    let mut shell = Shell::new(&bench.target, "pkg-delta")?;
    shell.set("UMIAK", &bench.umiak);
    shell.set("UMIAKD", device_program(bench.options, &bench.umiak)?);
    shell.set("PVR_CONFIG_DIR", shell.directory().join("home"));
    shell.set("PAIR", &pair.directory);
    shell.set("FORMAT", FORMAT);
    shell.prepare(READY)?;
    let made = shell.measure(MAKE)?;
    shell.prepare("cp target/releases/*.delta ours")?;
    let (ours, whole) = (shell.size("ours")?, shell.size("target.tgz")?);
    let name = &pair.name;
    bench.row(Row::sizes_if(format!("{name}: the delta of a package; the package is the peer"), ours, whole, None));
    let mut smallest: Option<(u64, &str)> = None;
    for (other, script) in OTHERS {
        shell.prepare(script)?;
        let found = (shell.size(other)?, other);
        smallest = Some(smallest.map_or(found, |smallest| smallest.min(found)));
    }
    if let Some((size, other)) = smallest {
        bench.row(Row::sizes_if(
            format!("{name}: the same; {other} of the two packages is the peer"),
            ours,
            size,
            None,
        ));
    }
    shell.prepare(DEVICES)?;
    let (delta, package) = (shell.measure(BY_DELTA)?, shell.measure(BY_PACKAGE)?);
    let how = format!("{name}: the delta taken by a device (made in {:.0} s); the package is the peer", made.wall);
    bench.row(Row::costs(how, delta, package, None));
    Ok(())
}
