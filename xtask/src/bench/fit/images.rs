//! Apps for the bench: generated ones of a given shape, and ones with a real image.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use umiak_plan::{App, Blob, BlobKind, Contents, Image, Layer, Service, Unpacked};
use umiak_spec::{Digest, Limits, Silent};

use super::super::pairs::{Layout, tagged};
use super::tar::Tar;
use crate::Failure;

/// The blobs of all apps, each in a file named by its digest.
pub struct Shelf {
    directory: PathBuf,
    layers: BTreeMap<String, Layer>,
}

/// What a generated layer holds.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub files: usize,
    pub length: usize,
    pub directories: usize,
}

impl Shelf {
    pub fn new(directory: PathBuf) -> Result<Self, Failure> {
        fs::create_dir_all(&directory).map_err(|error| format!("cannot make {}: {error}", directory.display()))?;
        Ok(Self { directory, layers: BTreeMap::new() })
    }

    /// Where a blob is.
    pub fn path(&self, digest: &Digest) -> PathBuf {
        self.directory.join(digest.hex())
    }

    fn put(&self, kind: BlobKind, bytes: &[u8]) -> Result<Blob, Failure> {
        let digest = Digest::of(bytes);
        fs::write(self.path(&digest), bytes).map_err(|error| format!("cannot write a blob: {error}"))?;
        Ok(Blob::new(kind, digest, bytes.len() as u64))
    }

    /// A generated layer, gzip-compressed.
    fn generated(&mut self, shape: Shape) -> Result<Layer, Failure> {
        if let Some(layer) = self.layers.get(shape.name) {
            return Ok(layer.clone());
        }
        let blob = self.put(BlobKind::Layer, &gzip(&tar_of(shape))?)?;
        let layer = measured(&self.path(&blob.digest))?;
        self.layers.insert(shape.name.to_owned(), layer.clone());
        Ok(layer)
    }

    /// An image of generated layers.
    pub fn image(&mut self, shapes: &[Shape]) -> Result<Image, Failure> {
        let layers = shapes.iter().map(|shape| self.generated(*shape)).collect::<Result<Vec<_>, _>>()?;
        let diff_ids: Vec<String> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux", "config": {"Cmd": ["/bin/true"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = self.put(BlobKind::Config, config.to_string().as_bytes())?;
        let manifest = self.put(BlobKind::Manifest, format!("manifest of {}", config.digest).as_bytes())?;
        Ok(Image { config, manifests: vec![manifest], layers })
    }

    /// The image with a tag in a layout.
    pub fn real(&mut self, layout: &Layout, tag: &str) -> Result<Image, Failure> {
        let take = |kind, descriptor: &Value| -> Result<Vec<u8>, Failure> {
            let digest = descriptor["digest"].as_str().and_then(|text| text.strip_prefix("sha256:"));
            let digest = digest.ok_or_else(|| format!("a {kind} without a digest"))?;
            let path = layout.directory.join("blobs/sha256").join(digest);
            fs::read(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let index = layout.index()?;
        let manifest = take("manifest", tagged(&index, tag)?)?;
        let read: Value =
            serde_json::from_slice(&manifest).map_err(|error| format!("cannot parse a manifest: {error}"))?;
        let config = self.put(BlobKind::Config, &take("config", &read["config"])?)?;
        let mut layers = Vec::new();
        for layer in read["layers"].as_array().into_iter().flatten() {
            let blob = self.put(BlobKind::Layer, &take("layer", layer)?)?;
            layers.push(measured(&self.path(&blob.digest))?);
        }
        Ok(Image { config, manifests: vec![self.put(BlobKind::Manifest, &manifest)?], layers })
    }

    /// An app of one release.
    pub fn app(&self, name: &str, release: &str, images: Vec<Image>) -> Result<App, Failure> {
        let manifest = self.put(BlobKind::Manifest, format!("app {name} {release}").as_bytes())?;
        let bundle = self.put(BlobKind::Bundle, &compose(name, release))?;
        let service = |(number, image)| Service { name: format!("s{number}"), image };
        Ok(App {
            name: name.to_owned(),
            digest: manifest.digest,
            own: vec![manifest, bundle],
            bundle: Some(Unpacked { files: BTreeMap::from([(bundle.size, 1)]), directories: 0 }),
            services: images.into_iter().enumerate().map(service).collect(),
        })
    }

    /// What `docker load` takes: the image with all its layers, under a name.
    pub fn archive(&self, image: &Image, name: &str) -> Result<Vec<u8>, Failure> {
        let read = |digest| fs::read(self.path(digest)).map_err(|error| format!("cannot read a blob: {error}"));
        let files: Vec<String> = image.layers.iter().map(|layer| format!("{}.tar", layer.digest.hex())).collect();
        let config = format!("{}.json", image.config.digest.hex());
        let mut tar = Tar::default();
        let manifest = json!([{"Config": config, "RepoTags": [name], "Layers": files}]);
        tar.file("manifest.json", manifest.to_string().as_bytes());
        tar.file(&config, &read(&image.config.digest)?);
        let mut seen = Vec::new();
        for (layer, file) in image.layers.iter().zip(&files) {
            if !seen.contains(&layer.digest) {
                seen.push(layer.digest);
                tar.file(file, &read(&layer.digest)?);
            }
        }
        Ok(tar.finish())
    }
}

/// The compose file of a release.
pub fn compose(name: &str, release: &str) -> Vec<u8> {
    format!("name: {name}\n# {release}\nservices: {{}}\n").repeat(20).into_bytes()
}

/// Files that do not compress and directories, from the name alone.
fn tar_of(shape: Shape) -> Vec<u8> {
    let mut tar = Tar::default();
    let mut state = u64::from_le_bytes(Digest::of(shape.name.as_bytes()).as_bytes()[..8].try_into().unwrap_or([1; 8]));
    tar.directory(&format!("{}/", shape.name));
    for directory in 0..shape.directories {
        tar.directory(&format!("{}/d{directory:04}/", shape.name));
    }
    for file in 0..shape.files {
        let mut content = Vec::with_capacity(shape.length + 8);
        while content.len() < shape.length {
            // xorshift64
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            content.extend_from_slice(&state.to_le_bytes());
        }
        content.truncate(shape.length);
        tar.file(&format!("{}/d{:04}/file-{file:05}", shape.name, file % shape.directories.max(1)), &content);
    }
    tar.finish()
}

fn gzip(bytes: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut gzip = Command::new("gzip").args(["-n", "-1"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
    let gzip = gzip.as_mut().map_err(|error| format!("cannot start gzip: {error}"))?;
    let mut input = gzip.stdin.take().ok_or("gzip takes no input")?;
    let mut output = gzip.stdout.take().ok_or("gzip gives no output")?;
    let mut compressed = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || input.write_all(bytes));
        std::io::copy(&mut output, &mut compressed)
    })
    .map_err(|error| format!("gzip: {error}"))?;
    gzip.wait().map_err(|error| format!("gzip: {error}"))?;
    Ok(compressed)
}

fn measured(path: &Path) -> Result<Layer, Failure> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot measure {}: {error}", path.display());
    let file = fs::File::open(path).map_err(|error| failed(&error))?;
    let size = file.metadata().map_err(|error| failed(&error))?.len();
    let measure = umiak_layer::measure(file, &Limits::default(), &Silent).map_err(|error| failed(&error))?;
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let digest = Digest::from_hex(&name).map_err(|error| failed(&error))?;
    Ok(Layer { digest, size, diff_id: measure.diff_id, contents: Contents::measured(measure, None), files: None })
}
