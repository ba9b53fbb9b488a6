//! One large layer: as an image in the registry, and as an archive that Docker loads.

use std::fs;
use std::path::PathBuf;

use umiak_testkit::dockerd::Dockerd;

use super::super::shell::Shell;
use crate::Failure;

/// Makes an image of one layer of 300 MB: two thirds noise in files of many sizes, one third text; pushes it as
/// `team/large:1` and keeps it as `large.tar`.
const MAKE: &str = r#"
rm -rf large large.oci large.tar; mkdir -p large/tree
python3 - <<'END'
import os, random
noise, left, number = random.Random(7), 300 << 20, 0
words = [noise.randbytes(noise.randint(2, 9)).hex() for _ in range(4000)]
while left > 0:
    size = min(left, int(1024 * 2 ** noise.uniform(0, 12)))
    directory = f"large/tree/d{number % 300}"
    os.makedirs(directory, exist_ok=True)
    with open(f"{directory}/f{number}", "wb") as file:
        if number % 3:
            file.write(noise.randbytes(size))
        else:
            text = " ".join(noise.choices(words, k=size // 12 + 1)).encode()
            file.write((text * 2)[:size])
    left, number = left - size, number + 1
END
tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=@0 -C large/tree -cf large/layer.tar .
digest=$(sha256sum large/layer.tar | cut -d' ' -f1)
printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/true"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' \
    $digest > large/config.json
printf '[{"Config":"config.json","RepoTags":["large:1"],"Layers":["layer.tar"]}]' > large/manifest.json
tar -C large -cf large.tar manifest.json config.json layer.tar
rm -r large
$UMIAK -q copy docker-archive:large.tar $REGISTRY/team/large:1
"#;

/// Makes the image, where it is not there yet.
///
/// # Errors
/// A program fails.
pub fn prepare(shell: &Shell) -> Result<(), Failure> {
    if shell.has("large.tar") { Ok(()) } else { shell.prepare(MAKE) }
}

/// CPU seconds that the daemon spends on `docker load` of the layer.
///
/// # Errors
/// No root; a program fails.
pub fn docker(shell: &Shell) -> Result<f64, Failure> {
    let said = |error: std::io::Error| error.to_string();
    let root = shell.directory().join("docker");
    let _ = fs::remove_dir_all(&root);
    let daemon = Dockerd::start(&root).map_err(said)?;
    let process = process_of(&root)?;
    let before = spent(&process)?;
    let archive = shell.directory().join("large.tar");
    daemon.docker(&["load", "-q", "-i", &archive.display().to_string()]).map_err(said)?;
    let after = spent(&process)?;
    daemon.stop().map_err(said)?;
    let _ = fs::remove_dir_all(&root);
    Ok(after - before)
}

/// The daemon that has this data root.
fn process_of(root: &std::path::Path) -> Result<PathBuf, Failure> {
    let wanted = format!("--data-root={}", root.display());
    for entry in fs::read_dir("/proc").map_err(|error| error.to_string())?.flatten() {
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        if words.first() == Some(&&b"dockerd"[..]) && words.contains(&wanted.as_bytes()) {
            return Ok(entry.path());
        }
    }
    Err("no dockerd has this data root".into())
}

/// CPU seconds of a process and of those of its children that ended: it unpacks in processes of its own.
fn spent(process: &std::path::Path) -> Result<f64, Failure> {
    let text = fs::read_to_string(process.join("stat")).map_err(|error| error.to_string())?;
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| fields.get(index).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    // utime, stime, cutime, cstime; a tick is a hundredth of a second on every Linux that Debian has.
    Ok((11..=14).map(ticks).sum::<f64>() / 100.0)
}
