//! What a Docker daemon's classic store has of an image: where each layer lies and what it takes, as `du` counts.
//!
//! Paths are those of Docker 20.10 to 28: `image/overlay2/layerdb` and `overlay2`. Images are loaded from layer tars by way
//! of a `docker save` archive that GNU tar makes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use umiak_spec::Digest;

use crate::dockerd::Dockerd;
use crate::volume::run;

/// One layer in the store.
#[derive(Debug, Clone)]
pub struct StoredLayer {
    /// `overlay2/<cache-id>`
    pub directory: PathBuf,
    /// What Docker says is its size.
    pub size: u64,
    /// Bytes of all blocks below `directory`, as `du` counts them.
    pub usage: u64,
    /// `tar-split.json.gz`
    pub tar_split: PathBuf,
    /// Its bytes.
    pub tar_split_size: u64,
}

/// Loads an image of these uncompressed layers, bottom first, under `name` (`a:1`); `scratch` gets a copy of them.
///
/// # Errors
/// The daemon refuses it: with what it said; or a file cannot be read or written.
pub fn load(daemon: &Dockerd, scratch: &Path, name: &str, layers: &[PathBuf]) -> io::Result<Vec<StoredLayer>> {
    let directory = scratch.join("archive");
    fs::create_dir_all(&directory)?;
    let (mut names, mut diff_ids) = (Vec::new(), Vec::new());
    for (number, layer) in layers.iter().enumerate() {
        let bytes = fs::read(layer)?;
        diff_ids.push(Digest::of(&bytes));
        names.push(format!("{number}.tar"));
        fs::write(directory.join(format!("{number}.tar")), bytes)?;
    }
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
        list(diff_ids.iter().map(ToString::to_string))
    );
    fs::write(directory.join("config.json"), config)?;
    let manifest =
        format!(r#"[{{"Config":"config.json","RepoTags":["{name}"],"Layers":[{}]}}]"#, list(names.into_iter()));
    fs::write(directory.join("manifest.json"), manifest)?;
    let archive = scratch.join("archive.tar");
    run(Command::new("tar").arg("-cf").arg(&archive).arg("-C").arg(&directory).arg("."))?;
    daemon.docker(&["load", "-i", &archive.display().to_string()])?;
    fs::remove_dir_all(&directory)?;
    fs::remove_file(&archive)?;
    stored(daemon.root(), &diff_ids)
}

fn list(texts: impl Iterator<Item = String>) -> String {
    texts.map(|text| format!("\"{text}\"")).collect::<Vec<_>>().join(",")
}

/// What the store below `root` has of the image with these layers, bottom first; what is still to be written is written.
///
/// # Errors
/// A layer is not there, or cannot be read.
pub fn stored(root: &Path, diff_ids: &[Digest]) -> io::Result<Vec<StoredLayer>> {
    rustix::fs::syncfs(fs::File::open(root)?)?;
    let mut chain: Option<Digest> = None;
    let mut layers = Vec::new();
    for diff_id in diff_ids {
        let id = chain.map_or(*diff_id, |below| Digest::of(format!("{below} {diff_id}").as_bytes()));
        chain = Some(id);
        let metadata = root.join("image/overlay2/layerdb/sha256").join(id.hex());
        let text = |name: &str| fs::read_to_string(metadata.join(name)).map(|text| text.trim().to_owned());
        let directory = root.join("overlay2").join(text("cache-id")?);
        let tar_split = metadata.join("tar-split.json.gz");
        layers.push(StoredLayer {
            size: text("size")?.parse().map_err(io::Error::other)?,
            usage: du(&directory)?,
            tar_split_size: fs::metadata(&tar_split)?.len(),
            tar_split,
            directory,
        });
    }
    Ok(layers)
}

/// Bytes of all blocks below `path`.
///
/// # Errors
/// `du` fails.
pub fn du(path: &Path) -> io::Result<u64> {
    let output = Command::new("du").args(["-s", "--block-size=1"]).arg(path).output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let bytes = said.split_whitespace().next().and_then(|number| number.parse().ok());
    bytes
        .filter(|_| output.status.success())
        .ok_or_else(|| io::Error::other(format!("du {}: {}", path.display(), String::from_utf8_lossy(&output.stderr))))
}
