//! The scenario language: a device, what is stored and what is wanted as text; the ledger of steps and the verdict as text.
//!
//! One statement a line; `#` begins a comment.
//!
//! ```text
//! fs NAME KIND SIZE free SIZE [reserved SIZE] [inodes N] [block N] [groups N]
//! role ROLE NAME              where it lies         engine WORD · keeps blobs|layers · watermark N
//! layer NAME SIZE CONTENTS    its blob; CONTENTS: N x SIZE in N dirs | usage SIZE of SIZE | expands SIZE | unknown
//! image NAME LAYER..          an image: the lowest layer first
//! app NAME/RELEASE [bundle SIZE] SERVICE=IMAGE..
//! has APP [running] [pinned] [blobs]       what is on the device; `blobs`: and not in the engine
//! part LAYER SIZE             so much of a blob was fetched
//! blob LAYER                  its blob was fetched
//! delta NAME SIZE [spool SIZE] FROM+.. -> MAKES..    layers; the download for each that it makes
//! pvr NAME/RELEASE OBJECT=SIZE..                     an app of objects, which are named by what stands before the `=`
//! made OBJECT SIZE spool SIZE FROM [whole]           a delta at hand; `whole`: the object can be had whole, too
//! patch SIZE BASE -> LAYER [above LAYER..]           what a layer takes as a patch of another
//! kept LAYER SIZE on BASE [above LAYER..]            a layer that is there as a patch
//! leftover NAME SIZE          a blob of no app
//! allow reclaim|prune · forbid reclaim|prune
//! update APP..                plans, and writes what comes of it
//! explain APP..               plans, and writes the rows
//! ```

mod read;
mod show;

use std::collections::BTreeMap;

use umiak_plan::{
    App, Delta, Device, Engine, FileSystem, Image, Keeps, Layer, ObjectDelta, Patch, Policy, Stored, StoredApp, Wanted,
    Watermark,
};
use umiak_spec::{Digest, Platform};

/// What the statements so far made.
pub struct World {
    device: Device,
    layers: BTreeMap<String, Layer>,
    images: BTreeMap<String, Image>,
    apps: BTreeMap<String, App>,
    deltas: Vec<Delta>,
    objects: Vec<ObjectDelta>,
    patches: Vec<Patch>,
    policy: Policy,
    /// What short digests stand for.
    names: BTreeMap<String, String>,
}

/// Plays a scenario; its transcript.
pub fn play(text: &str) -> String {
    let device = Device {
        name: "device".into(),
        file_systems: Vec::<FileSystem>::new(),
        roles: BTreeMap::new(),
        keeps: Keeps::Blobs,
        engine: Engine::Docker,
        watermark: Watermark::default(),
        platform: Platform::new("linux", "arm64", None),
        stored: Stored::default(),
    };
    let mut world = World {
        device,
        layers: BTreeMap::new(),
        images: BTreeMap::new(),
        apps: BTreeMap::new(),
        deltas: vec![],
        objects: vec![],
        patches: vec![],
        policy: Policy::default(),
        names: BTreeMap::new(),
    };
    let mut transcript = String::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("");
        let words: Vec<&str> = line.split_whitespace().collect();
        if let Some((verb, words)) = words.split_first() {
            let said = world.statement(verb, words);
            transcript += &said.unwrap_or_else(|| panic!("line {}: cannot understand `{line}`", number + 1));
        }
    }
    transcript
}

impl World {
    fn named(&mut self, what: &str, name: &str) -> Digest {
        let digest = Digest::of(format!("{what} {name}").as_bytes());
        self.names.insert(digest.short(), name.to_owned());
        digest
    }

    fn wanted(&self, apps: &[&str]) -> Option<Wanted> {
        let apps = apps.iter().map(|name| self.apps.get(*name).cloned()).collect::<Option<Vec<_>>>()?;
        Some(Wanted {
            apps,
            deltas: self.deltas.clone(),
            objects: self.objects.clone(),
            patches: self.patches.clone(),
            policy: self.policy,
            ..Wanted::default()
        })
    }

    fn store(&mut self, app: App, words: &[&str]) {
        let (blobs, running) = (words.contains(&"blobs"), words.contains(&"running"));
        let stored = StoredApp { app, running, pinned: words.contains(&"pinned") };
        let mut of = Stored::of(vec![stored], self.device.keeps, self.device.engine);
        let all = &mut self.device.stored;
        all.blobs.append(&mut of.blobs);
        all.apps.append(&mut of.apps);
        all.layers.append(&mut of.layers);
        if !blobs {
            all.chains.append(&mut of.chains);
            all.images.append(&mut of.images);
        }
    }
}
