//! `bench apps`: device apps from real images, against tar, mksquashfs, unsquashfs and rsync.
//!
//! Every run of ours starts with an empty cache and an empty object pool, but for what the measured command itself
//! presumes: a new base and a patch presume that the app was made before.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::measure::{Run, median, run};
use super::table::{self, Row};
use super::{Options, pairs};
use crate::{Failure, command, peers};

/// Ours and the peer's compressor, block size and threads.
const FORMAT: &str = "-comp xz -b 128K";
/// MiB.
const MEMORY_BAR: f64 = 300.0;

/// Runs all measures and prints the table.
fn measure_all(options: &Options, umiak: &Path) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut memory = 0.0_f64;
    for name in &options.only {
        let area = Area::new(umiak, &pairs::layout(&options.pairs, name))?;
        eprintln!("pair {name}");
        for measure in MEASURES {
            let (ours, peer) = area.compare(&measure, options.runs)?;
            memory = memory.max(ours.memory);
            let what = format!("{}, pair {name}", measure.title);
            rows.push(Row::ratio(what, seconds(ours), seconds(peer), measure.bar));
            if let Some(bar) = measure.size_bar {
                let what = format!("size of root.squashfs, pair {name}");
                rows.push(Row::ratio(
                    what,
                    area.size("ours/repo/app/root.squashfs")?,
                    area.size("peer/out.squashfs")?,
                    bar,
                ));
            }
            eprintln!("{}", table::markdown(&rows[rows.len() - 1..]).lines().last().unwrap_or(""));
        }
    }
    rows.push(one_file(options, umiak, &mut memory)?);
    rows.push(status(umiak, &mut memory)?);
    let peak = (memory, format!("{memory:.0} MiB"));
    rows.push(Row::limit("peak memory of any of these".into(), peak, &(MEMORY_BAR, format!("{MEMORY_BAR:.0} MiB"))));
    rows.sort_by(|one, other| one.measure.cmp(&other.measure));
    Ok(rows)
}

/// The bench.
pub fn bench(options: &Options) -> Result<(), Failure> {
    let packages = ["time", "squashfs-tools", "rsync", "tar"].map(str::to_owned).into();
    let missing = peers::install(&packages)?;
    if !missing.is_empty() {
        return Err(format!("install these first: {missing:?}"));
    }
    command::run(command::cargo().args(["build", "--release", "--quiet", "-p", "umiak"]))?;
    let rows = measure_all(options, &release_binary()?)?;
    let text = format!(
        "`cargo xtask bench apps --runs {}`, medians, ours and the peer in turn. {}\n\n{}",
        options.runs,
        table::machine(&["mksquashfs", "tar", "rsync"]),
        table::markdown(&rows)
    );
    println!("{text}");
    if options.write { table::write("apps", &text) } else { Ok(()) }
}

fn release_binary() -> Result<PathBuf, Failure> {
    let metadata = crate::tidy::metadata()?;
    let target = metadata["target_directory"].as_str().ok_or("cargo names no target directory")?;
    Ok(Path::new(target).join("release/umiak"))
}

fn seconds(run: Run) -> (f64, String) {
    (run.wall, format!("{:.2} s", run.wall))
}

/// One comparison: what is done before the clock starts, what is measured.
struct Measure {
    title: &'static str,
    bar: f64,
    size_bar: Option<f64>,
    ours_before: &'static str,
    ours: &'static str,
    peer_before: &'static str,
    peer: &'static str,
}

const ADD_BASE: &str = "mkdir repo; cd repo; $UMIAK init; $UMIAK app add --from oci:$PAIR:base -o \"$FORMAT\" app";
const PEER_BASE: &str = "mkdir root; for l in $BASE; do tar -xzf $l -C root; done; \
    mksquashfs root base.squashfs $FORMAT -noappend -processors 2 -quiet -no-progress; rm -r root";
const PEER_IMAGE: &str = "mkdir root; for l in $TARGET; do tar -xzf $l -C root; done; \
    mksquashfs root out.squashfs $FORMAT -noappend -processors 2 -quiet -no-progress";

const MEASURES: [Measure; 3] = [
    Measure {
        title: "image to root.squashfs, wall",
        bar: 1.0,
        size_bar: Some(1.02),
        ours_before: "mkdir repo; cd repo; $UMIAK init",
        ours: "cd repo; $UMIAK app add --from oci:$PAIR:target -o \"$FORMAT\" app",
        peer_before: "",
        peer: PEER_IMAGE,
    },
    Measure {
        title: "--newbase after an update, wall",
        bar: 0.35,
        size_bar: None,
        ours_before: ADD_BASE,
        ours: "cd repo; $UMIAK app update --from oci:$PAIR:target --newbase app",
        peer_before: "",
        peer: PEER_IMAGE,
    },
    Measure {
        title: "--patch, wall",
        bar: 0.25,
        size_bar: None,
        ours_before: ADD_BASE,
        ours: "cd repo; $UMIAK app update --from oci:$PAIR:target --patch app",
        peer_before: PEER_BASE,
        // What is gone is looked up as well, as a patch needs it.
        peer: "unsquashfs -q -n -d lower base.squashfs; mkdir root; for l in $TARGET; do tar -xzf $l -C root; done; \
            rsync -aHX --checksum --compare-dest=$PWD/lower/ root/ upper/; \
            diff <(cd lower; find . | sort) <(cd root; find . | sort) | sed -n 's/^< //p' > gone || true; \
            mksquashfs upper out.squashfs $FORMAT -noappend -processors 2 -quiet -no-progress",
    },
];

/// A scratch directory for one pair, gone when dropped.
struct Area {
    directory: PathBuf,
    variables: String,
}

impl Area {
    fn new(umiak: &Path, layout: &Path) -> Result<Self, Failure> {
        let directory = std::env::temp_dir().join(format!("umiak-bench-{}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        let list = |tag| -> Result<String, Failure> {
            Ok(pairs::layers(layout, tag)?.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" "))
        };
        let variables = format!(
            "UMIAK={}; PAIR={}; BASE=\"{}\"; TARGET=\"{}\"; FORMAT=\"{FORMAT}\"; export PVR_CONFIG_DIR=$PWD/config; ",
            umiak.display(),
            layout.display(),
            list("base")?,
            list("target")?
        );
        Ok(Self { directory, variables })
    }

    /// Alternates ours and the peer's.
    fn compare(&self, measure: &Measure, runs: usize) -> Result<(Run, Run), Failure> {
        let mut results = (Vec::new(), Vec::new());
        for _ in 0..runs.max(1) {
            results.0.push(self.one("ours", measure.ours_before, measure.ours)?);
            results.1.push(self.one("peer", measure.peer_before, measure.peer)?);
        }
        median(results.0).zip(median(results.1)).ok_or_else(|| "no runs".to_owned())
    }

    fn one(&self, side: &str, before: &str, script: &str) -> Result<Run, Failure> {
        let directory = self.directory.join(side);
        let _ = std::fs::remove_dir_all(&directory);
        std::fs::create_dir_all(&directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        if !before.is_empty() {
            run(&format!("{}{before}", self.variables), &directory)?;
        }
        // What is still on its way to the disk is not this run's.
        let _ = Command::new("sync").status();
        run(&format!("{}{script}", self.variables), &directory)
    }

    fn size(&self, path: &str) -> Result<(f64, String), Failure> {
        let path = self.directory.join(path);
        let bytes =
            std::fs::metadata(&path).map_err(|error| format!("cannot look at {}: {error}", path.display()))?.len();
        let bytes = u32::try_from(bytes / 1024).map_err(|_| "an image of terabytes".to_owned())?;
        Ok((f64::from(bytes), format!("{bytes} KiB")))
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}

/// A patch after one file of the largest image changed: its size against the file's.
fn one_file(options: &Options, umiak: &Path, memory: &mut f64) -> Result<Row, Failure> {
    const FILE_BYTES: f64 = 40_000.0;
    let name = if options.only.iter().any(|name| name == "b") { "b" } else { &options.only[0] };
    let area = Area::new(umiak, &pairs::layout(&options.pairs, name))?;
    // The changed file is random, so that compression cannot make the figure look better.
    let before = format!(
        "{ADD_BASE}; cd ..; mkdir -p top/usr/share; head -c 40000 /dev/urandom > top/usr/share/changed; \
         tar -cf top.tar -C top usr/share/changed; cp -r $PAIR changed.oci; cd changed.oci; \
         python3 -c '{ADD_LAYER}' ../top.tar"
    );
    let script = "cd repo; $UMIAK app update --from oci:../changed.oci:target --patch app";
    let found = area.one("ours", &before, script)?;
    *memory = memory.max(found.memory);
    let (kib, text) = area.size("ours/repo/app/root.ovl.squashfs")?;
    let bar = (2.0 * FILE_BYTES + 8192.0) / 1024.0;
    Ok(Row::limit(
        format!("--patch after a change of one 40 000-byte file, pair {name}"),
        (kib, text),
        &(bar, format!("{bar:.0} KiB (twice the file and 8 KiB)")),
    ))
}

/// Appends a layer to the image tagged `base` and calls the result `target`.
const ADD_LAYER: &str = r#"
import hashlib, json, sys
load = lambda d: json.load(open("blobs/sha256/" + d[7:]))
def store(data):
    d = hashlib.sha256(data).hexdigest()
    open("blobs/sha256/" + d, "wb").write(data)
    return {"digest": "sha256:" + d, "size": len(data)}
index = json.load(open("index.json"))
name = "org.opencontainers.image.ref.name"
entry = next(m for m in index["manifests"] if m["annotations"][name] == "base")
manifest = load(entry["digest"]); config = load(manifest["config"]["digest"])
layer = open(sys.argv[1], "rb").read()
config["rootfs"]["diff_ids"].append("sha256:" + hashlib.sha256(layer).hexdigest())
manifest["layers"].append(dict(store(layer), mediaType="application/vnd.oci.image.layer.v1.tar"))
manifest["config"].update(store(json.dumps(config).encode()))
index["manifests"] = [entry, dict(entry, annotations={name: "target"}, **store(json.dumps(manifest).encode()))]
json.dump(index, open("index.json", "w"))
"#;

/// `umiak status` of 20 000 files, the first time and again.
fn status(umiak: &Path, memory: &mut f64) -> Result<Row, Failure> {
    let directory = std::env::temp_dir().join(format!("umiak-bench-status-{}", std::process::id()));
    let area = Area { variables: format!("UMIAK={}; export PVR_CONFIG_DIR=$PWD/config; ", umiak.display()), directory };
    let before = "mkdir repo; cd repo; $UMIAK init; python3 -c '
import os, random
random.seed(1)
for d in range(200):
    os.makedirs(f\"app/{d}\")
    for f in range(100):
        open(f\"app/{d}/{f}\", \"wb\").write(random.randbytes(random.randrange(1000, 40000)))
'; $UMIAK add . ; rm -f .pvr/umiak-stat";
    let first = area.one("ours", before, "cd repo; $UMIAK status > /dev/null")?;
    let again: Result<Vec<_>, _> = (0..3)
        .map(|_| run(&format!("{}cd repo; $UMIAK status > /dev/null", area.variables), &area.directory.join("ours")))
        .collect();
    let again = median(again?).ok_or("no runs")?;
    *memory = memory.max(first.memory).max(again.memory);
    Ok(Row::ratio(
        "umiak status, 20 000 files: second run against the first".into(),
        seconds(again),
        seconds(first),
        0.1,
    ))
}
