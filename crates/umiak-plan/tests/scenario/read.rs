//! Statements of a scenario.

use std::collections::BTreeMap;

use umiak_plan::{
    App, Blob, BlobKind, Contents, Delta, DeltaPart, Engine, FileSystem, Form, Image, Keeps, Layer, LayerFiles,
    ObjectDelta, Patch, Role, Service, StoredLayer, Unpacked, Watermark, plan,
};
use umiak_spec::Digest;

use super::{World, show};
use crate::counted::measure;

/// Bytes of every skeleton.
const SKELETON: u64 = 20 << 10;

impl World {
    /// Carries one statement out; what it says. `None` when it is not understood.
    pub(super) fn statement(&mut self, verb: &str, words: &[&str]) -> Option<String> {
        match (verb, words) {
            ("fs", [name, kind, size, rest @ ..]) => self.file_system(name, kind, size, rest)?,
            ("role", [role, name]) => {
                let role = Role::ALL.into_iter().find(|known| known.word() == *role)?;
                let place = self.device.file_systems.iter().position(|known| known.name == *name)?;
                self.device.roles.insert(role, place);
            }
            ("engine", [word]) => {
                self.device.engine = Engine::ALL.into_iter().find(|known| known.word() == *word)?;
            }
            ("keeps", [word]) => self.device.keeps = Keeps::ALL.into_iter().find(|known| known.word() == *word)?,
            ("watermark", [percent]) => match Watermark::new(percent.parse().ok()?) {
                Ok(watermark) => self.device.watermark = watermark,
                Err(error) => return Some(format!("{error}\n")),
            },
            ("layer", [name, blob, contents @ ..]) => self.layer(name, bytes(blob)?, contents)?,
            ("image", [name, layers @ ..]) => self.image(name, layers)?,
            ("app", [name, rest @ ..]) => self.app(name, rest)?,
            ("has", [name, rest @ ..]) => {
                let app = self.apps.get(*name)?.clone();
                self.store(app, rest);
            }
            ("part", [layer, fetched]) => {
                self.device.stored.blobs.insert(self.layers.get(*layer)?.digest, bytes(fetched)?);
            }
            ("delta", [name, download, from, "->", makes @ ..]) => {
                self.delta(name, (download, None), from, makes)?;
            }
            ("delta", [name, download, "spool", spool, from, "->", makes @ ..]) => {
                self.delta(name, (download, Some(spool)), from, makes)?;
            }
            ("pvr", [release, objects @ ..]) => self.pvr(release, objects)?,
            ("made", [object, size, "spool", spool, from, rest @ ..]) => {
                self.made(object, (size, spool), from, rest.contains(&"whole"))?;
            }
            ("patch", [size, base, "->", layer, below @ ..]) => {
                let diff_id = |name: &&str| self.layers.get(*name).map(|layer| layer.diff_id);
                let below = below.iter().filter(|word| **word != "above").map(diff_id).collect::<Option<Vec<_>>>()?;
                let files = LayerFiles { image: bytes(size)?, skeleton: SKELETON, record: 0 };
                self.patches.push(Patch { layer: diff_id(layer)?, base: diff_id(base)?, below, files });
            }
            ("kept", [layer, size, "on", base, below @ ..]) => {
                let diff_id = |name: &&str| self.layers.get(*name).map(|layer| layer.diff_id);
                let below = below.iter().filter(|word| **word != "above").map(diff_id).collect::<Option<Vec<_>>>()?;
                let form = Form::Patch { base: diff_id(base)?, below };
                let files = LayerFiles { image: bytes(size)?, skeleton: SKELETON, record: 0 };
                self.device.stored.layers.insert(diff_id(layer)?, StoredLayer { form, files });
            }
            ("leftover", [name, size]) => {
                let digest = self.named("leftover", name);
                self.device.stored.blobs.insert(digest, bytes(size)?);
            }
            ("blob", [layer]) => {
                let layer = self.layers.get(*layer)?;
                self.device.stored.blobs.insert(layer.digest, layer.size);
            }
            ("allow" | "forbid", [what]) => match *what {
                "reclaim" => self.policy.reclaim = verb == "allow",
                "prune" => self.policy.prune_after = verb == "allow",
                _ => return None,
            },
            ("update", apps) => {
                let answer = plan(&self.device, &self.wanted(apps)?);
                return Some(show::update(&self.device, &self.names, apps, &answer));
            }
            ("explain", apps) => {
                let answer = plan(&self.device, &self.wanted(apps)?);
                return Some(show::explain(&self.device, &self.names, apps, &answer));
            }
            _ => return None,
        }
        Some(String::new())
    }

    /// A delta whose parts make one layer each, of as many bytes each.
    fn delta(&mut self, name: &str, (size, spool): (&str, Option<&str>), from: &str, makes: &[&str]) -> Option<()> {
        let digest = self.named("delta", name);
        let diff_id = |name: &str| self.layers.get(name).map(|layer| layer.diff_id);
        let size = bytes(size)?;
        let spool = spool.map_or(Some(None), |word| bytes(word).map(Some))?;
        let base = from.split('+').map(diff_id).collect::<Option<Vec<_>>>()?;
        let mut parts = Vec::new();
        for (index, layer) in makes.iter().enumerate() {
            let blob = Digest::of(format!("part {index} of {name}").as_bytes());
            parts.push(DeltaPart { blob, size, makes: vec![diff_id(layer)?], spool });
        }
        self.deltas.push(Delta { digest, from: from.to_owned(), base, parts });
        Some(())
    }

    /// An app of objects. What is named alike is the same object.
    fn pvr(&mut self, release: &str, objects: &[&str]) -> Option<()> {
        let digest = self.named("app", release);
        let mut own = vec![Blob::new(BlobKind::Manifest, digest, 700)];
        for object in objects {
            let (name, size) = object.split_once('=')?;
            own.push(Blob::new(BlobKind::Object, self.named("object", name), bytes(size)?));
        }
        let name = release.split('/').next()?.to_owned();
        self.apps.insert(release.to_owned(), App { name, digest, own, bundle: None, services: vec![] });
        Some(())
    }

    fn made(&mut self, object: &str, (size, spool): (&str, &str), from: &str, whole: bool) -> Option<()> {
        let blob = self.named("object delta", object);
        let mut known = |name: &str| {
            let digest = self.named("object", name);
            let blobs = self.apps.values().flat_map(|app| &app.own);
            blobs.into_iter().find(|blob| blob.digest == digest).map(|blob| (digest, blob.size))
        };
        let ((object, object_size), (base, base_size)) = (known(object)?, known(from)?);
        self.objects.push(ObjectDelta {
            object,
            size: object_size,
            name: "root.squashfs".to_owned(),
            from: from.to_owned(),
            base,
            base_size,
            blob,
            bytes: bytes(size)?,
            spool: bytes(spool)?,
            whole,
        });
        Some(())
    }

    fn file_system(&mut self, name: &str, kind: &str, size: &str, rest: &[&str]) -> Option<()> {
        let rest: BTreeMap<&str, &str> =
            rest.chunks(2).map(|pair| Some((pair[0], *pair.get(1)?))).collect::<Option<_>>()?;
        let block = rest.get("block").map_or(Some(4096), |word| word.parse().ok())?;
        let blocks = |key: &str| rest.get(key).map_or(Some(0), |word| bytes(word)).map(|bytes| bytes / block);
        let number = |key: &str| rest.get(key).map(|word| word.parse::<u64>().ok());
        self.device.file_systems.push(FileSystem {
            name: name.to_owned(),
            kind: kind.parse().ok()?,
            block_size: u32::try_from(block).ok()?,
            blocks: bytes(size)? / block,
            free: blocks("free")?,
            reserved: blocks("reserved")?,
            inodes_free: number("inodes").map_or(Some(None), |number| number.map(Some))?,
            inode_size: if kind == "xfs" { 512 } else { 256 },
            groups: u32::try_from(number("groups").unwrap_or(Some(4))?).ok()?,
        });
        Some(())
    }

    fn layer(&mut self, name: &str, size: u64, contents: &[&str]) -> Option<()> {
        let digest = self.named("layer", name);
        let diff_id = self.named("diff", name);
        let contents = match contents {
            [files, "x", length, "in", directories, "dirs"] => {
                let measure = measure(diff_id, files.parse().ok()?, bytes(length)?, directories.parse().ok()?);
                Contents::measured(measure, Some(LayerFiles { image: size, skeleton: SKELETON, record: 0 }))
            }
            ["usage", usage, "of", size] => {
                Contents::Usage { usage: bytes(usage)?, size: bytes(size)?, block_size: 4096 }
            }
            ["expands", length] => Contents::Expanded(bytes(length)?),
            ["unknown"] => Contents::Unknown,
            _ => return None,
        };
        self.layers.insert(name.to_owned(), Layer { digest, size, diff_id, contents, files: None });
        Some(())
    }

    fn image(&mut self, name: &str, layers: &[&str]) -> Option<()> {
        let config = self.named("config", name);
        let manifest = self.named("manifest", name);
        let layers = layers.iter().map(|layer| self.layers.get(*layer).cloned()).collect::<Option<Vec<_>>>()?;
        let config = Blob::new(BlobKind::Config, config, 2000);
        let manifests = vec![Blob::new(BlobKind::Manifest, manifest, 1000)];
        self.images.insert(name.to_owned(), Image { config, manifests, layers });
        Some(())
    }

    fn app(&mut self, release: &str, rest: &[&str]) -> Option<()> {
        let (digest, bundle) = (self.named("app", release), self.named("bundle", release));
        let (size, services) = match rest {
            ["bundle", size, services @ ..] => (bytes(size)?, services),
            services => (800, services),
        };
        let own = vec![Blob::new(BlobKind::Manifest, digest, 700), Blob::new(BlobKind::Bundle, bundle, size)];
        let mut all = Vec::new();
        for service in services {
            let (name, image) = service.split_once('=')?;
            all.push(Service { name: name.to_owned(), image: self.images.get(image)?.clone() });
        }
        let unpacked = Unpacked { files: BTreeMap::from([(size * 2, 1)]), directories: 0 };
        let name = release.split('/').next()?.to_owned();
        self.apps.insert(release.to_owned(), App { name, digest, own, bundle: Some(unpacked), services: all });
        Some(())
    }
}

/// `12KiB`, `3MiB`, `1GiB`, `77`.
fn bytes(word: &str) -> Option<u64> {
    let (number, unit) = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)]
        .iter()
        .find_map(|(unit, power)| Some((word.strip_suffix(unit)?, *power)))
        .unwrap_or((word, 0));
    number.parse::<u64>().ok()?.checked_mul(1 << unit)
}
