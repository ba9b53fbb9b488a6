//! The demo's last proof, as root: the kernel mounts base and patch, and a container runtime runs what is there.
//!
//! Everything is mounted in a mount namespace of its own, so that nothing is left mounted whatever happens. Without
//! root, or without the programs it takes, this part is left out and the demo says so.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Value, json};

/// What came of it.
pub enum Proof {
    /// The runtime that ran it, and what it printed.
    Ran { by: &'static str, printed: String },
    /// It was mounted; there is no runtime. What [`Process::proof`] reads.
    Mounted { read: String },
    /// Why this part was left out.
    LeftOut(String),
    /// It was tried and went wrong.
    Failed(String),
}

/// Runtimes in the order in which they are tried; `cat` only reads a file of what is mounted.
const RUNTIMES: [&str; 3] = ["crun", "runc", "cat"];

/// Mounts $base, $patch and the overlay, then runs the bundle with $runtime. A hybrid cgroup hierarchy confuses crun;
/// in our own namespace it can be taken away.
const SCRIPT: &str = r#"
set -eu
runtime=$1 base=$2 patch=$3 place=$4 container=$5 proof=$6
cd "$place"
mkdir -p base patch merged run
mount -t squashfs -o ro,loop "$base" base
mount -t squashfs -o ro,loop "$patch" patch
mount -t overlay -o ro,lowerdir="$place/patch:$place/base" overlay merged
if [ "$runtime" = cat ]; then
    exec cat "merged$proof"
fi
umount /sys/fs/cgroup/unified 2>/dev/null || true
exec "$runtime" --root "$place/run" run --bundle "$place" "$container"
"#;

/// How the app is started.
pub struct Process<'a> {
    /// Program and arguments.
    pub arguments: &'a [String],
    /// `NAME=value` each.
    pub environment: &'a [String],
    /// Working directory.
    pub directory: &'a str,
    /// A file that tells what is mounted, when nothing can be run.
    pub proof: &'a str,
}

/// Mounts `patch` above `base` and runs `process` there, in the empty directory `place`.
pub fn run(base: &Path, patch: &Path, place: &Path, process: &Process<'_>) -> Proof {
    if !rustix::process::geteuid().is_root() {
        return Proof::LeftOut("it takes root".into());
    }
    if let Some(missing) = ["unshare", "mount", "sh"].into_iter().find(|program| !is_there(program)) {
        return Proof::LeftOut(format!("it takes the program `{missing}`"));
    }
    let bundle = bundle(&place.join("merged"), process).to_string();
    if let Err(error) = fs::create_dir_all(place).and_then(|()| fs::write(place.join("config.json"), bundle)) {
        return Proof::Failed(format!("cannot write {}: {error}", place.display()));
    }
    let mut failed = String::new();
    for runtime in RUNTIMES.into_iter().filter(|runtime| is_there(runtime)) {
        match attempt(runtime, base, patch, place, process) {
            Ok(read) if runtime == "cat" => return Proof::Mounted { read },
            Ok(printed) => return Proof::Ran { by: runtime, printed },
            Err(reason) => failed = format!("{failed}{runtime}: {reason}; "),
        }
    }
    Proof::Failed(failed.trim_end_matches("; ").to_owned())
}

fn attempt(runtime: &str, base: &Path, patch: &Path, place: &Path, process: &Process<'_>) -> Result<String, String> {
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh", runtime]);
    command.args([base, patch, place]).arg(format!("umiak-demo-{}", std::process::id())).arg(process.proof);
    let Output { status, stdout, stderr } = command.output().map_err(|error| error.to_string())?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(String::from_utf8_lossy(&stderr).trim().replace('\n', ", "))
}

/// The runtime's configuration (OCI runtime specification 1.0.2), as small as it can be: read-only root, no network.
fn bundle(root: &Path, process: &Process<'_>) -> Value {
    let tmpfs = |destination: &str| json!({ "destination": destination, "type": "tmpfs", "source": "tmpfs" });
    let namespaces = ["pid", "mount", "ipc", "uts", "network"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": process.arguments,
            "env": process.environment,
            "cwd": process.directory,
        },
        "root": { "path": root, "readonly": true },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            tmpfs("/dev"),
            tmpfs("/tmp"),
        ],
        "linux": { "namespaces": namespaces },
    })
}

/// Whether a program is on the usual path of root.
fn is_there(program: &str) -> bool {
    let directories = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    directories.iter().any(|directory| PathBuf::from(directory).join(program).exists())
}
