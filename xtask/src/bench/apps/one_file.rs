//! `--patch` after one file of the largest image changed: how many bytes that takes.
//!
//! The changed image is the base with one more layer, in which a file of about 40 KB has new contents of the same length
//! that no compressor makes smaller.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Bench, Prepared};
use crate::Failure;
use crate::bench::noise::noise;
use crate::bench::pairs::{self, Layout};
use crate::bench::table::Row;

/// About as long as the file that changes.
const LENGTH: u64 = 40_000;

/// What a patch may cost beside its file's bytes, twice.
const FIXED: u64 = 8 * 1024;

/// Adds the row.
pub fn measure(bench: &mut Bench<'_>, pair: &Prepared, layout: &Layout) -> Result<(), Failure> {
    let shell = pair.shell();
    shell.prepare("rm -rf changed; mkdir changed; cp -a $PAIR changed/layout")?;
    let directory = shell.directory().join("changed");
    let file = a_file(&layout.layers("base")?)?;
    write(&directory.join("top").join(&file.path), &noise(0, file.length))?;
    shell.prepare("cd changed; tar --owner=0 --group=0 -cf top.tar -C top $(cd top; find -type f)")?;
    add_layer(&Layout { name: layout.name.clone(), directory: directory.join("layout") }, &directory.join("top.tar"))?;
    pair.restore()?;
    bench.ours(pair.ours("$UMIAK app update --from oci:../../changed/layout:changed --patch app")?);
    let size = shell.size("ours/repo/app/root.ovl.squashfs")?;
    let measure = format!("{}: --patch after one file of {} B changed, size", pair.name, file.length);
    bench.row(Row::size(measure, size, 2 * file.length + FIXED));
    Ok(())
}

/// A file of an archive.
#[derive(Debug, PartialEq, Eq)]
struct File {
    path: PathBuf,
    length: u64,
}

/// The file of the topmost layer whose length is nearest to [`LENGTH`].
fn a_file(layers: &[PathBuf]) -> Result<File, Failure> {
    let top = layers.last().ok_or("an image without layers")?;
    let output = Command::new("tar").arg("-tvzf").arg(top).output();
    let output = output.map_err(|error| format!("cannot start tar: {error}"))?;
    nearest(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| format!("no file in {}", top.display()))
}

/// The choice from the lines that `tar -tv` prints; names with spaces are left out.
fn nearest(listing: &str) -> Option<File> {
    let files = listing.lines().filter(|line| line.starts_with('-')).filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [_, _, length, _, _, path] = words[..] else { return None };
        Some(File { path: path.into(), length: length.parse().ok()? })
    });
    files.min_by_key(|file| (file.length.abs_diff(LENGTH), file.path.clone()))
}

/// Gives the base one more layer and calls the result `changed`.
fn add_layer(layout: &Layout, layer: &Path) -> Result<(), Failure> {
    let mut index = layout.index()?;
    let mut descriptor = pairs::tagged(&index, "base")?.clone();
    let mut manifest = layout.document(&descriptor)?;
    let mut config = layout.document(&manifest["config"])?;
    let mut top = store(layout, &std::fs::read(layer).map_err(|error| format!("cannot read the layer: {error}"))?)?;
    push(&mut config["rootfs"]["diff_ids"], top["digest"].clone());
    top["mediaType"] = json!("application/vnd.oci.image.layer.v1.tar");
    push(&mut manifest["layers"], top);
    replace(&mut manifest["config"], &store(layout, config.to_string().as_bytes())?);
    replace(&mut descriptor, &store(layout, manifest.to_string().as_bytes())?);
    descriptor["annotations"][pairs::TAG] = json!("changed");
    push(&mut index["manifests"], descriptor);
    write(&layout.directory.join("index.json"), index.to_string().as_bytes())
}

fn push(list: &mut Value, item: Value) {
    if let Some(list) = list.as_array_mut() {
        list.push(item);
    }
}

/// Points a descriptor at other bytes.
fn replace(descriptor: &mut Value, other: &Value) {
    descriptor["digest"] = other["digest"].clone();
    descriptor["size"] = other["size"].clone();
}

/// Stores a blob; digest and size of its descriptor.
fn store(layout: &Layout, bytes: &[u8]) -> Result<Value, Failure> {
    let path = layout.directory.join("new-blob");
    write(&path, bytes)?;
    let hex = pairs::sha256(&path)?;
    let descriptor = json!({"digest": format!("sha256:{hex}"), "size": bytes.len()});
    let blob = layout.blob(&descriptor)?;
    std::fs::rename(&path, &blob).map_err(|error| format!("cannot store {}: {error}", blob.display()))?;
    Ok(descriptor)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
    made.and_then(|()| std::fs::write(path, bytes)).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_file_is_chosen() {
        let listing = "drwxr-xr-x root/root         0 2025-01-01 00:00 opt/\n\
                       -rw-r--r-- root/root     39000 2025-01-01 00:00 opt/near\n\
                       -rw-r--r-- root/root     40000 2025-01-01 00:00 opt/with space\n\
                       -rw-r--r-- root/root       100 2025-01-01 00:00 opt/far\n";
        assert_eq!(nearest(listing), Some(File { path: "opt/near".into(), length: 39_000 }));
    }
}
