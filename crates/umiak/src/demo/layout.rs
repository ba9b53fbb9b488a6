//! An OCI image layout with a few tagged images, written from layers in memory.
//!
//! Follows the OCI image layout and image manifest specifications 1.1: `oci-layout`, `index.json`,
//! `blobs/sha256/<hex>`; layers are plain tar archives, so a layer's digest is its diff ID.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use umiak_spec::Digest;

/// A layout being filled.
pub struct Layout {
    root: PathBuf,
    manifests: Vec<Value>,
}

impl Layout {
    /// An empty layout in a new directory.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root.join("blobs/sha256"))?;
        Ok(Self { root: root.to_owned(), manifests: Vec::new() })
    }

    /// Stores a layer; gives its descriptor.
    ///
    /// # Errors
    /// The file system's.
    pub fn layer(&self, archive: &[u8]) -> io::Result<Value> {
        self.blob(archive, "application/vnd.oci.image.layer.v1.tar")
    }

    /// Adds an image of these layers that runs `config`, tagged `tag`.
    ///
    /// # Errors
    /// The file system's.
    pub fn image(&mut self, tag: &str, layers: &[Value], config: &Value) -> io::Result<()> {
        let architecture = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            "x86" => "386",
            other => other,
        };
        let descriptor = self.manifest(&json!({ "architecture": architecture, "os": "linux" }), layers, config)?;
        self.tagged(descriptor, tag);
        Ok(())
    }

    /// Adds an index of images of these layers for each of these platforms, tagged `tag`: layers without programs serve
    /// all of them.
    ///
    /// # Errors
    /// The file system's.
    pub fn everywhere(&mut self, tag: &str, platforms: &[&str], layers: &[Value]) -> io::Result<()> {
        let mut manifests = Vec::new();
        for platform in platforms {
            let mut words = platform.splitn(3, '/');
            let (os, architecture) = (words.next(), words.next());
            let mut place = json!({ "os": os, "architecture": architecture });
            if let Some(variant) = words.next() {
                place["variant"] = json!(variant);
            }
            let mut descriptor = self.manifest(&place, layers, &json!({}))?;
            descriptor["platform"] = place;
            manifests.push(descriptor);
        }
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": manifests });
        let descriptor = self.blob(index.to_string().as_bytes(), media_type)?;
        self.tagged(descriptor, tag);
        Ok(())
    }

    /// Stores the manifest of an image; gives its descriptor.
    fn manifest(&self, platform: &Value, layers: &[Value], config: &Value) -> io::Result<Value> {
        let diff_ids: Vec<_> = layers.iter().map(|layer| layer["digest"].clone()).collect();
        let mut document = platform.clone();
        document["config"] = config.clone();
        document["rootfs"] = json!({ "type": "layers", "diff_ids": diff_ids });
        let config = self.blob(document.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json")?;
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({ "schemaVersion": 2, "mediaType": media_type, "config": config, "layers": layers });
        self.blob(manifest.to_string().as_bytes(), media_type)
    }

    fn tagged(&mut self, mut descriptor: Value, tag: &str) {
        descriptor["annotations"] = json!({ "org.opencontainers.image.ref.name": tag });
        self.manifests.push(descriptor);
    }

    /// Writes `index.json`: the layout is complete.
    ///
    /// # Errors
    /// The file system's.
    pub fn finish(self) -> io::Result<()> {
        let media_type = "application/vnd.oci.image.index.v1+json";
        let index = json!({ "schemaVersion": 2, "mediaType": media_type, "manifests": self.manifests });
        fs::write(self.root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#)?;
        fs::write(self.root.join("index.json"), index.to_string())
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> io::Result<Value> {
        let digest = Digest::of(bytes);
        fs::write(self.root.join("blobs/sha256").join(digest.hex()), bytes)?;
        Ok(json!({ "mediaType": media_type, "digest": digest.to_string(), "size": bytes.len() }))
    }
}
