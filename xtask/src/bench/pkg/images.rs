//! A real image for six platforms: Debian with nginx, Python and curl of each architecture, below static assets that all
//! share.
//!
//! Debian publishes no big-endian MIPS any more: `linux/mips` here is its little-endian `mipsel`; `linux/arm/v6` is its
//! `armel`, which is for still older processors. Nothing of it is run, only packed. Packages are unpacked and not configured,
//! since this machine runs only its own. The images are kept beside the image pairs.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::super::Options;
use super::super::pairs::{Layout, sha256};
use crate::{Failure, command};

/// Platform, Debian's architecture, the release that has it.
const SIX: [(&str, &str, &str); 6] = [
    ("linux/amd64", "amd64", "bookworm"),
    ("linux/arm/v6", "armel", "bookworm"),
    ("linux/arm/v7", "armhf", "bookworm"),
    ("linux/arm64", "arm64", "bookworm"),
    ("linux/mips", "mipsel", "bookworm"),
    ("linux/riscv64", "riscv64", "trixie"),
];

/// What is in each of them.
const PROGRAMS: &str = "nginx-light,python3,python3-numpy,git,ca-certificates,curl";

/// The tag.
pub const TAG: &str = "six";

/// The platforms, as they are written on command lines.
pub fn platforms() -> String {
    SIX.map(|(platform, ..)| platform).join(",")
}

/// The layout; made when it is not there.
///
/// # Errors
/// mmdebstrap fails; files cannot be written.
pub fn six(options: &Options) -> Result<Layout, Failure> {
    let pairs = options.pairs.clone();
    std::fs::create_dir_all(&pairs).map_err(|error| format!("cannot make {}: {error}", pairs.display()))?;
    let layout = Layout { name: "pkg".to_owned(), directory: pairs.join("pkg.oci") };
    if layout.directory.join("index.json").exists() {
        return Ok(layout);
    }
    let blobs = layout.directory.join("blobs/sha256");
    std::fs::create_dir_all(&blobs).map_err(|error| format!("cannot make {}: {error}", blobs.display()))?;
    let assets = stored(&layout, &assets(&pairs)?)?;
    let mut entries = Vec::new();
    for (platform, debian, release) in SIX {
        let tar = pairs.join(format!("pkg-{debian}.tar"));
        if !tar.exists() {
            debootstrap(debian, release, &tar)?;
        }
        entries.push(image(&layout, platform, &[stored(&layout, &tar)?, assets.clone()])?);
    }
    let kind = "application/vnd.oci.image.index.v1+json";
    let index = document(&layout, kind, &json!({"schemaVersion": 2, "mediaType": kind, "manifests": entries}))?;
    let mut top = index;
    top["annotations"] = json!({(super::super::pairs::TAG): TAG});
    write(&layout.directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
    write(&layout.directory.join("index.json"), &json!({"schemaVersion": 2, "manifests": [top]}).to_string())?;
    Ok(layout)
}

/// Unpacks Debian packages of one architecture.
fn debootstrap(architecture: &str, release: &str, tar: &Path) -> Result<(), Failure> {
    let part = tar.with_extension("part.tar");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=extract", "--format=tar"]).env("SOURCE_DATE_EPOCH", "1735689600");
    mmdebstrap.arg(format!("--architectures={architecture}")).arg(format!("--include=base-files,{PROGRAMS}"));
    let source = format!("deb {} {release} main", mirror()?);
    command::run(mmdebstrap.arg(release).arg(&part).arg(source))?;
    std::fs::rename(&part, tar).map_err(|error| format!("cannot rename {}: {error}", part.display()))
}

/// Where this machine's own packages come from: one suite of it is enough, and is of one moment.
fn mirror() -> Result<String, Failure> {
    let mut apt = Command::new("apt-get");
    let output = apt.args(["indextargets", "--format", "$(REPO_URI) $(SUITE) $(CODENAME)"]).output();
    let output = output.map_err(|error| format!("cannot start apt-get: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let main = |line: &&str| !line.contains("-security") && !line.contains("-updates") && !line.contains("-backports");
    let found = text.lines().filter(main).find_map(|line| line.split(' ').next().filter(|uri| uri.contains("://")));
    found.map(str::to_owned).ok_or_else(|| "apt-get knows no mirror: run apt-get update on a Debian machine".to_owned())
}

/// The static assets of pair d as a layer, or the same every time where there is no such pair.
fn assets(pairs: &Path) -> Result<std::path::PathBuf, Failure> {
    let tar = pairs.join("pkg-assets.tar");
    let script = "mkdir -p pkg-assets; if [ -f d-base.tar ]; then tar -xf d-base.tar -C pkg-assets srv; \
                  else mkdir -p pkg-assets/srv/www; head -c 3000000 /usr/share/dict/words \
                  > pkg-assets/srv/www/words 2>/dev/null || seq 400000 > pkg-assets/srv/www/words; fi; \
                  tar --sort=name --owner=0 --group=0 --mtime=@1735689600 -cf pkg-assets.tar -C pkg-assets srv; \
                  rm -r pkg-assets";
    command::run(Command::new("bash").args(["-euc", script]).current_dir(pairs))?;
    Ok(tar)
}

/// A layer that was stored: its descriptor, with the digest of the uncompressed archive beside it.
fn stored(layout: &Layout, tar: &Path) -> Result<Value, Failure> {
    let diff_id = sha256(tar)?;
    let blob = layout.directory.join("layer.gz");
    let script = "gzip -6nc \"$0\" > \"$1\"";
    command::run(Command::new("bash").args(["-euc", script]).arg(tar).arg(&blob))?;
    let mut descriptor = kept(layout, &blob, "application/vnd.oci.image.layer.v1.tar+gzip")?;
    descriptor["diff"] = json!(format!("sha256:{diff_id}"));
    Ok(descriptor)
}

/// Moves a file to its place in the layout.
fn kept(layout: &Layout, file: &Path, kind: &str) -> Result<Value, Failure> {
    let hex = sha256(file)?;
    let size = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    let descriptor = json!({"mediaType": kind, "digest": format!("sha256:{hex}"), "size": size});
    let place = layout.blob(&descriptor)?;
    std::fs::rename(file, &place).map_err(|error| format!("cannot store {}: {error}", place.display()))?;
    Ok(descriptor)
}

fn document(layout: &Layout, kind: &str, value: &Value) -> Result<Value, Failure> {
    let file = layout.directory.join("document");
    write(&file, &value.to_string())?;
    kept(layout, &file, kind)
}

/// The manifest of one platform, as an index names it.
fn image(layout: &Layout, platform: &str, layers: &[Value]) -> Result<Value, Failure> {
    let words: Vec<&str> = platform.split('/').collect();
    let mut place = json!({"os": words[0], "architecture": words[1]});
    if let Some(variant) = words.get(2) {
        place["variant"] = json!(variant);
    }
    let mut config = place.clone();
    config["config"] = json!({"Cmd": ["/usr/sbin/nginx", "-g", "daemon off;"], "Env": ["PATH=/usr/sbin:/usr/bin"]});
    let diff_ids: Vec<&Value> = layers.iter().map(|layer| &layer["diff"]).collect();
    config["rootfs"] = json!({"type": "layers", "diff_ids": diff_ids});
    let config = document(layout, "application/vnd.oci.image.config.v1+json", &config)?;
    let plain =
        |layer: &Value| json!({"mediaType": layer["mediaType"], "digest": layer["digest"], "size": layer["size"]});
    let layers: Vec<Value> = layers.iter().map(plain).collect();
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
    let mut descriptor = document(layout, kind, &manifest)?;
    descriptor["platform"] = place;
    Ok(descriptor)
}

/// The files of each platform's layers, bottom first, with its directory's name.
///
/// # Errors
/// The layout is damaged.
pub fn layers(layout: &Layout) -> Result<Vec<(String, String)>, Failure> {
    let index = layout.index()?;
    let index = layout.document(super::super::pairs::tagged(&index, TAG)?)?;
    let entries = index["manifests"].as_array().ok_or("an index without manifests")?;
    let of = |entry: &Value| {
        let manifest = layout.document(entry)?;
        let files = manifest["layers"].as_array().ok_or("a manifest without layers")?;
        let files: Result<Vec<String>, Failure> =
            files.iter().map(|layer| Ok(layout.blob(layer)?.display().to_string())).collect();
        let place = &entry["platform"];
        let name = format!("{}{}", place["architecture"], place["variant"]).replace(['"', '/'], "").replace("null", "");
        Ok((name, files?.join(" ")))
    };
    entries.iter().map(of).collect()
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    std::fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}
