//! A registry that is a map. An app's manifest is JSON: services with arguments, roots, labels, dependencies.
//!
//! Roots are blobs. A blob whose base is named comes as a delta: what the fetch writes is made of the base in the store
//! and the delta, which is a blob of the registry, too.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use umiak_agent::{Class, Described, Fetched, Occasion, Part, Planned, Root, Supply, SupplyError, Watcher};
use umiak_plan::{Device, Engine, Keeps, Stored, Wanted, Watermark};
use umiak_spec::service::{Condition, Dependency, Network, Restart, Service};
use umiak_spec::target::{Asked, Kind, Target, TargetApp};
use umiak_spec::{Descriptor, Digest, Limits, Platform, Silent};
use umiak_store::{Closure, Keep, LayerDelta, LayerOptions, Object, Reservation, Store, StoreError};

use super::layered;

type Hook = Box<dyn Fn(&Digest) + Send + Sync>;

#[derive(Default)]
pub struct FakeSupply {
    blobs: Mutex<BTreeMap<Digest, Vec<u8>>>,
    /// What made of what by which delta.
    deltas: Mutex<BTreeMap<Digest, (Digest, Digest)>>,
    tags: Mutex<BTreeMap<String, Digest>>,
    /// Layers by diff ID, and which delta makes one of which.
    layers: Mutex<BTreeMap<Digest, Vec<u8>>>,
    layer_deltas: Mutex<BTreeMap<Digest, (Digest, Digest)>>,
    /// Layers that came by a delta.
    pub applied: AtomicU64,
    pub offline: AtomicBool,
    pub too_large: AtomicBool,
    /// Bytes that came over the network.
    pub fetched: AtomicU64,
    /// Called before each blob is fetched.
    pub hook: Mutex<Option<Arc<Hook>>>,
}

/// A service of an app to publish.
pub struct Publish<'a> {
    pub name: &'a str,
    /// What it does: see the engine.
    pub args: &'a str,
    /// What its root is: the first line is what the engine says that runs.
    pub root: Vec<u8>,
    pub labels: &'a [&'a str],
    /// `db healthy`, `db started restart`, …
    pub needs: &'a [&'a str],
    pub always: bool,
    /// Layers, the lowest first: what its root is in place of `root`, which is then only shown.
    pub layers: &'a [Vec<u8>],
}

/// A service that is well.
pub fn service<'a>(name: &'a str, args: &'a str, root: &str) -> Publish<'a> {
    Publish { name, args, root: root.as_bytes().to_vec(), labels: &[], needs: &[], always: false, layers: &[] }
}

impl FakeSupply {
    fn put(&self, bytes: &[u8]) -> Digest {
        let digest = Digest::of(bytes);
        self.blobs.lock().unwrap().insert(digest, bytes.to_vec());
        digest
    }

    /// Publishes an app under a reference.
    pub fn publish(&self, reference: &str, services: &[Publish<'_>]) -> Digest {
        let services: Vec<Value> = services
            .iter()
            .map(|one| {
                // A config names what is in the layers, as a real one does with their digests.
                let label = if one.layers.is_empty() { "" } else { str::from_utf8(&one.root).unwrap() };
                let config = self.put(format!("{label}\nconfig of {} {}", one.name, one.args).as_bytes());
                let layers: Vec<Digest> = one.layers.iter().map(|tar| self.put_layer(tar)).collect();
                json!({
                    "name": one.name, "args": one.args, "config": config, "root": self.put(&one.root), "layers": layers,
                    "labels": one.labels, "needs": one.needs, "always": one.always,
                })
            })
            .collect();
        let digest = self.put(json!({ "services": services }).to_string().as_bytes());
        self.tags.lock().unwrap().insert(reference.to_owned(), digest);
        digest
    }

    /// Publishes a delta that makes one root of another.
    pub fn publish_delta(&self, base: &[u8], target: &[u8]) {
        let common = base.iter().zip(target).take_while(|(one, other)| one == other).count();
        let mut delta = (common as u64).to_le_bytes().to_vec();
        delta.extend_from_slice(&target[common..]);
        let made = (Digest::of(base), self.put(&delta));
        self.deltas.lock().unwrap().insert(Digest::of(target), made);
    }

    fn put_layer(&self, tar: &[u8]) -> Digest {
        let digest = layered::diff_id(tar);
        self.layers.lock().unwrap().insert(digest, tar.to_vec());
        digest
    }

    /// Publishes a delta that makes one layer of another.
    pub fn publish_layer_delta(&self, base: &[u8], target: &[u8]) {
        let made = (layered::diff_id(base), self.put(&layered::delta(base, target)));
        self.layer_deltas.lock().unwrap().insert(layered::diff_id(target), made);
    }

    /// What every layer should be.
    pub fn all_layers(&self) -> BTreeMap<Digest, Vec<u8>> {
        self.layers.lock().unwrap().clone()
    }

    /// Brings one layer: by a delta above the base's image where there is one, whole otherwise.
    fn bring_layer(&self, store: &Store, layer: &Digest, below: &[Digest]) -> Result<(), SupplyError> {
        let failed = |error: StoreError| SupplyError::new(Class::Environment, "cannot store").because(error);
        let options = LayerOptions::default();
        let made = self.layer_deltas.lock().unwrap().get(layer).copied();
        if let Some((base, delta)) =
            made.filter(|(base, _)| matches!(store.layer(base, &Limits::default()), Ok(Some(_))))
        {
            self.ingest(store, &delta, &self.get(&delta)?)?;
            let bytes = document(store, &delta)?;
            let keep = Keep::Patch { base, below: below.to_vec() };
            let delta = LayerDelta { blob: &bytes, names: None };
            store.apply_delta(layer, delta, &keep, &options, &Silent).map_err(failed)?;
            self.applied.fetch_add(1, Ordering::SeqCst);
            return Ok(());
        }
        let tar = self.layers.lock().unwrap()[layer].clone();
        self.ingest(store, layer, &tar)?;
        let bytes = document(store, layer)?;
        store.ingest_layer(layer, &bytes.as_slice(), &Keep::Whole, &options, &Silent).map_err(failed)?;
        Ok(())
    }

    /// What every blob should be.
    pub fn all(&self) -> BTreeMap<Digest, Vec<u8>> {
        self.blobs.lock().unwrap().clone()
    }

    fn get(&self, digest: &Digest) -> Result<Vec<u8>, SupplyError> {
        if self.offline.load(Ordering::SeqCst) {
            return Err(SupplyError::new(Class::Network, "the registry does not answer"));
        }
        let found = self.blobs.lock().unwrap().get(digest).cloned();
        found.ok_or_else(|| SupplyError::new(Class::Network, format!("{} is not found", digest.short())))
    }

    /// Brings one blob, by a delta where there is one and its base is here.
    fn bring(&self, store: &Store, digest: &Digest, watcher: &dyn Watcher) -> Result<(), SupplyError> {
        let hook = self.hook.lock().unwrap().clone();
        if let Some(hook) = hook {
            hook(digest);
        }
        watcher.check().map_err(|cancelled| SupplyError::new(Class::Environment, "stopped").because(cancelled))?;
        let made = self.deltas.lock().unwrap().get(digest).copied();
        let bytes = match made {
            Some((base, delta)) if store.has_blob(&base) => {
                self.ingest(store, &delta, &self.get(&delta)?)?;
                let delta = document(store, &delta)?;
                let (head, tail) = delta.split_at(8);
                let common = usize::try_from(u64::from_le_bytes(head.try_into().unwrap())).unwrap();
                let mut bytes = document(store, &base)?[..common].to_vec();
                bytes.extend_from_slice(tail);
                return self.write(store, digest, &bytes, false);
            }
            _ => self.get(digest)?,
        };
        self.ingest(store, digest, &bytes)
    }

    fn ingest(&self, store: &Store, digest: &Digest, bytes: &[u8]) -> Result<(), SupplyError> {
        self.write(store, digest, bytes, true)
    }

    fn write(&self, store: &Store, digest: &Digest, bytes: &[u8], network: bool) -> Result<(), SupplyError> {
        if store.has_blob(digest) {
            return Ok(());
        }
        let failed = |error: StoreError| SupplyError::new(Class::Environment, "cannot store").because(error);
        let mut ingest = store.ingest(digest, bytes.len() as u64).map_err(failed)?;
        let from = usize::try_from(ingest.offset()).unwrap();
        for piece in bytes[from..].chunks(1 << 10) {
            ingest.write(piece).map_err(failed)?;
            ingest.checkpoint().map_err(failed)?;
            if network {
                self.fetched.fetch_add(piece.len() as u64, Ordering::SeqCst);
            }
        }
        ingest.finish().map_err(failed)
    }
}

fn document(store: &Store, digest: &Digest) -> Result<Vec<u8>, SupplyError> {
    let found = store.document(digest, 1 << 24).map_err(|error| SupplyError::new(Class::Corrupt, error.to_string()))?;
    found.ok_or_else(|| SupplyError::new(Class::Corrupt, format!("{} is not in the store", digest.short())))
}

fn manifest(store: &Store, app: &TargetApp) -> Result<Value, SupplyError> {
    Ok(serde_json::from_slice(&document(store, &app.top.digest)?).unwrap())
}

fn digest(value: &Value) -> Digest {
    value.as_str().unwrap().parse().unwrap()
}

fn layers(value: &Value) -> Vec<Digest> {
    value["layers"].as_array().into_iter().flatten().map(digest).collect()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

fn described(value: &Value) -> Service {
    let args = value["args"].as_str().unwrap().split(' ').map(str::to_owned).collect();
    let mut service = Service::new(value["name"].as_str().unwrap(), args);
    service.labels = texts(&value["labels"]).into_iter().map(|label| (label, "true".to_owned())).collect();
    if !service.labels.contains_key("private") {
        service.network = Network::Host;
    }
    if value["always"] == true {
        service.restart = Restart::Always;
    }
    for need in texts(&value["needs"]) {
        let words: Vec<&str> = need.split(' ').collect();
        let condition = match words[1] {
            "healthy" => Condition::Healthy,
            "completed" => Condition::Completed,
            _ => Condition::Started,
        };
        let restart = words.contains(&"restart");
        service.depends_on.insert(words[0].to_owned(), Dependency { condition, restart, required: true });
    }
    service
}

impl Supply for FakeSupply {
    fn resolve(&self, store: &Store, asked: &Asked, watcher: &dyn Watcher) -> Result<Target, SupplyError> {
        let mut apps = Vec::new();
        for app in &asked.apps {
            let reference = app.origin.to_string();
            let found = self.tags.lock().unwrap().get(&reference).copied();
            let top = found.ok_or_else(|| SupplyError::new(Class::Network, format!("{reference} is not found")))?;
            let bytes = self.get(&top)?;
            self.bring(store, &top, watcher)?;
            for service in serde_json::from_slice::<Value>(&bytes).unwrap()["services"].as_array().unwrap() {
                self.bring(store, &digest(&service["config"]), watcher)?;
            }
            let name = reference.split('/').next_back().unwrap().split(':').next().unwrap().to_owned();
            let descriptor = Descriptor {
                media_type: "application/json".into(),
                digest: top,
                size: bytes.len() as u64,
                platform: None,
                annotations: umiak_spec::Annotations::default(),
                artifact_type: None,
            };
            let (origin, objects) = (app.origin.clone(), Vec::new());
            apps.push(TargetApp { name, kind: Kind::Compose, origin, objects, top: descriptor });
        }
        let target = Target { generation: 0, testing_seconds: asked.testing_seconds, apps };
        Ok(target.checked().unwrap())
    }

    fn closure(&self, store: &Store, app: &TargetApp) -> Result<Closure, SupplyError> {
        let mut blobs = BTreeSet::from([app.top.digest]);
        let mut chains = BTreeSet::new();
        for service in manifest(store, app)?["services"].as_array().unwrap() {
            blobs.extend([digest(&service["config"]), digest(&service["root"])]);
            let chain = layers(service);
            if !chain.is_empty() {
                chains.insert(chain);
            }
        }
        Ok(Closure { blobs, chains, ..Closure::default() })
    }

    fn describe(&self, store: &Store, app: &TargetApp) -> Result<Described, SupplyError> {
        let part = |value: &Value| Part {
            service: described(value),
            image: digest(&value["config"]),
            root: match layers(value) {
                none if none.is_empty() => Root::Blobs(vec![digest(&value["root"])]),
                layers => Root::Layers(layers),
            },
        };
        let parts = manifest(store, app)?["services"].as_array().unwrap().iter().map(part).collect();
        Ok(Described { parts, project: None })
    }

    fn plan(&self, _: &Store, _: &Target, _: &Occasion, _: &dyn Watcher) -> Result<Planned, SupplyError> {
        let device = Device {
            name: "fake".into(),
            file_systems: vec![],
            roles: BTreeMap::new(),
            keeps: Keeps::Layers,
            engine: Engine::Runtime,
            watermark: Watermark::new(95).unwrap(),
            platform: "linux/amd64".parse::<Platform>().unwrap(),
            stored: Stored::default(),
        };
        let refusal = self.too_large.load(Ordering::SeqCst).then(|| "/ has 3 MiB too little".to_owned());
        Ok(Planned {
            changes: vec![],
            refusal,
            answer: umiak_plan::plan(&device, &Wanted::default()),
            device,
            download: 0,
            reserve: 16 << 10,
            reclaim: false,
            uses: BTreeSet::new(),
        })
    }

    fn fetch(
        &self,
        store: &Store,
        target: &Target,
        _: &Planned,
        _: &Reservation<'_>,
        watcher: &dyn Watcher,
    ) -> Result<Fetched, SupplyError> {
        for app in &target.apps {
            let closure = self.closure(store, app)?;
            for blob in &closure.blobs {
                if !store.has_blob(blob) {
                    self.bring(store, blob, watcher)?;
                }
            }
            for chain in &closure.chains {
                let missing = store.missing(&closure).layers;
                for (at, layer) in chain.iter().enumerate().filter(|(_, layer)| missing.contains(layer)) {
                    self.bring_layer(store, layer, &chain[..at])?;
                }
            }
        }
        Ok(Fetched::All)
    }

    fn repair(&self, store: &Store, object: &Object, _: &[Target], _: &dyn Watcher) -> Result<(), SupplyError> {
        let Object::Blob(digest) = object else { return Err(SupplyError::new(Class::Corrupt, "not a blob")) };
        let bytes = self.get(digest)?;
        store.put_blob(digest, &bytes).map_err(|error| SupplyError::new(Class::Corrupt, error.to_string()))
    }

    fn lowers(&self, store: &Store, root: &Root) -> Result<Vec<PathBuf>, SupplyError> {
        let blobs = match root {
            Root::Blobs(blobs) => blobs,
            Root::Layers(layers) => {
                let failed = |error: StoreError| SupplyError::new(Class::Corrupt, "no root").because(error);
                return store.root(layers, &LayerOptions::default(), &Silent).map_err(failed);
            }
        };
        let path = |digest: &Digest| {
            let blob = store.blob(digest).map_err(|error| SupplyError::new(Class::Corrupt, error.to_string()))?;
            let absent = || SupplyError::new(Class::Corrupt, format!("{} is not in the store", digest.short()));
            Ok(blob.ok_or_else(absent)?.path().to_owned())
        };
        blobs.iter().map(path).collect()
    }

    fn layer<'s>(&self, _: &'s Store, _: &Digest) -> io::Result<Box<dyn Read + Send + 's>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn unpack(&self, _: &Store, _: &Digest, _: &Path) -> Result<(), SupplyError> {
        Ok(())
    }
}

impl FakeSupply {
    pub fn set_hook(&self, hook: impl Fn(&Digest) + Send + Sync + 'static) {
        *self.hook.lock().unwrap() = Some(Arc::new(Box::new(hook)));
    }
}
