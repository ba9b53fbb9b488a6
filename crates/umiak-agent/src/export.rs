//! An image out of the store again, as any OCI tool reads it.
//!
//! Layers go out uncompressed, each bit for bit what its diff ID says; the configuration, and so the image ID, is the image's
//! own. The manifest is another one than in the registry, because how a layer was compressed there is not kept.

use std::io::{self, Read};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::json;
use umiak_registry::Sink;
use umiak_spec::{Descriptor, Limits, Observer, ReadAt, media_type};
use umiak_store::{Layer, Store};

use crate::agent::Agent;
use crate::error::{AgentError, Class, SupplyError};
use crate::session::read_journal;
use crate::supply::{Part, Root};

impl Agent {
    /// Writes an image that a kept revision runs to `sink`, under `tag`. `what` is `APP`, `APP/SERVICE` or an image ID, whole or
    /// its first digits. Gives the manifest.
    ///
    /// # Errors
    /// There is no such image, or several; it is no image of layers; a layer is damaged; the sink's.
    pub fn export(
        &self,
        what: &str,
        sink: Box<dyn Sink>,
        tag: &str,
        observer: &dyn Observer,
    ) -> Result<Descriptor, AgentError> {
        let store = self.reading()?.ok_or_else(|| AgentError::NoSuchImage(what.to_owned()))?;
        if self.packaged(&store, what)?.is_some() {
            return Err(AgentError::NoLayers(what.to_owned()));
        }
        let part = self.part(&store, what)?;
        let Root::Layers(layers) = &part.root else {
            return Err(AgentError::NoLayers(what.to_owned()));
        };
        let limits = Limits::default();
        let config =
            store.document(&part.image, limits.document)?.ok_or_else(|| AgentError::NoSuchImage(what.to_owned()))?;
        let written = |source: umiak_registry::Error| {
            SupplyError::new(Class::Environment, format!("cannot export {what}")).because(source)
        };
        let mut descriptors = Vec::new();
        for diff_id in layers {
            let layer = Arc::new(store.layer(diff_id, &limits)?.ok_or(umiak_store::StoreError::NoLayer(*diff_id))?);
            let size = layer.skeleton().archive;
            let descriptor = Descriptor::new(media_type::OCI_LAYER, *diff_id, size);
            sink.put_blob(&descriptor, &Once::new(layer), observer).map_err(written)?;
            descriptors.push(descriptor);
        }
        let about = Descriptor::new(media_type::OCI_CONFIG, part.image, config.len() as u64);
        sink.put_blob(&about, &config.as_slice(), observer).map_err(written)?;
        let manifest = manifest(&about, &descriptors);
        let stored = sink.put_manifest(&manifest, media_type::OCI_MANIFEST, Some(tag), observer).map_err(written)?;
        sink.finish(observer).map_err(written)?;
        Ok(stored)
    }

    /// The one service that is meant, of all revisions that are kept.
    fn part(&self, store: &Store, what: &str) -> Result<Part, AgentError> {
        let journal = read_journal(store)?;
        let mut found: Vec<Part> = Vec::new();
        for revision in journal.state.kept(&self.policy.rules()) {
            let Some(target) = crate::kept::read(store, &revision)?.map(|kept| kept.target) else { continue };
            for app in &target.apps {
                for part in self.supply.describe(store, app)?.parts {
                    let current = journal.state.runs() == Some(revision);
                    if is_meant(what, &app.name, &part, current) && !found.iter().any(|one| one.image == part.image) {
                        found.push(part);
                    }
                }
            }
        }
        match found.len() {
            0 => Err(AgentError::NoSuchImage(what.to_owned())),
            1 => Ok(found.remove(0)),
            _ => Err(AgentError::SeveralImages(what.to_owned())),
        }
    }
}

/// Names are those of the current revision; digits may be any's.
fn is_meant(what: &str, app: &str, part: &Part, current: bool) -> bool {
    let named = what == app || what.split_once('/') == Some((app, part.service.name.as_str()));
    let digits = what.strip_prefix("sha256:").unwrap_or(what);
    (current && named) || (digits.len() >= 6 && part.image.hex().starts_with(digits))
}

/// Compact, members in this order: the same image is the same manifest.
fn manifest(config: &Descriptor, layers: &[Descriptor]) -> Vec<u8> {
    let one = |descriptor: &Descriptor| json!({ "mediaType": descriptor.media_type, "digest": descriptor.digest, "size": descriptor.size });
    let layers: Vec<_> = layers.iter().map(one).collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": media_type::OCI_MANIFEST,
        "config": one(config),
        "layers": layers,
    });
    serde_json::to_vec(&manifest).expect("texts and numbers can always be written as JSON")
}

/// A layer's tar, which is made as it is read, for a reader that goes from front to back; going back begins anew.
struct Once {
    layer: Arc<Layer>,
    size: u64,
    reading: Mutex<Reading>,
}

struct Reading {
    tar: Box<dyn Read + Send>,
    at: u64,
}

impl Once {
    fn new(layer: Arc<Layer>) -> Self {
        let size = layer.skeleton().archive;
        let reading = Mutex::new(Reading { tar: Box::new(Arc::clone(&layer).tar()), at: 0 });
        Self { layer, size, reading }
    }
}

impl ReadAt for Once {
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        if offset < reading.at {
            *reading = Reading { tar: Box::new(Arc::clone(&self.layer).tar()), at: 0 };
        }
        let ahead = offset - reading.at;
        let skipped = io::copy(&mut reading.tar.by_ref().take(ahead), &mut io::sink())?;
        reading.at += skipped;
        if reading.at != offset {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        reading.tar.read_exact(buffer)?;
        reading.at += buffer.len() as u64;
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

#[cfg(test)]
mod tests {
    use umiak_spec::Digest;

    use super::*;

    #[test]
    fn the_manifest_is_that_of_an_image() {
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 6);
        let layer = Descriptor::new(media_type::OCI_LAYER, Digest::of(b"layer"), 5);
        let bytes = manifest(&config, std::slice::from_ref(&layer));
        let read = umiak_spec::Document::parse(&bytes, media_type::OCI_MANIFEST, &Limits::default());
        let Ok(umiak_spec::Document::Manifest(read)) = read else { panic!("no manifest: {read:?}") };
        assert_eq!((read.config.digest, read.layers[0].digest), (config.digest, layer.digest));
    }
}
