//! Where revisions come from: the seam between what decides (the executor) and what knows registries, documents and deltas.
//!
//! One implementation reads registries, layouts, bundles and packages; tests have another. Everything is given by digest;
//! what is fetched goes into the store and nowhere else. Every method can be called again after a crash at any point.

use std::collections::BTreeSet;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use umiak_plan::Own;
use umiak_pvr::State;
use umiak_repository::package::Contents;
use umiak_spec::Digest;
use umiak_spec::service::Service;
use umiak_spec::target::{Asked, Carrier, Target, TargetApp};
use umiak_store::{Closure, Incoming, LayerOptions, Object, Reservation, Store};

use crate::error::{Class, SupplyError};
use crate::outcome::Watcher;

/// A service as its app's documents describe it, and what it runs from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// What is to run.
    pub service: Service,
    /// Digest of the image's configuration.
    pub image: Digest,
    /// What its root is made of.
    pub root: Root,
}

/// What a service's root is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Root {
    /// Layers by diff ID, the lowest first.
    Layers(Vec<Digest>),
    /// Squashfs images that are blobs of the store, the topmost first.
    Blobs(Vec<Digest>),
}

/// An app as its documents describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    /// Its services, in no particular order.
    pub parts: Vec<Part>,
    /// The blob that its project is unpacked from.
    pub project: Option<Digest>,
}

/// How an app of the target comes to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// It is here.
    Unchanged,
    /// All its layers that are missing are made by deltas.
    Delta,
    /// Some layers by deltas, some whole.
    Mixed,
    /// What is missing comes whole.
    Full,
    /// It goes.
    Removed,
}

/// One line of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Change {
    /// The app.
    pub app: String,
    /// What runs now: a tag, or digits of the digest.
    pub from: Option<String>,
    /// What is to run.
    pub to: Option<String>,
    /// How it comes.
    pub how: How,
    /// Bytes that are fetched for it.
    pub download: u64,
    /// Bytes that would be fetched without deltas.
    pub full: u64,
}

/// A plan: what the update takes, and whether it can be done.
#[derive(Debug, Clone)]
pub struct Planned {
    /// One line an app.
    pub changes: Vec<Change>,
    /// Why it cannot be done, in a sentence with numbers; `None`: it can.
    pub refusal: Option<String>,
    /// The fit check: every step, every file system.
    pub answer: umiak_plan::Answer,
    /// The device that it was made for: names of the answer's file systems.
    pub device: umiak_plan::Device,
    /// Bytes that come over the network.
    pub download: u64,
    /// Bytes of the store's file system to hold while fetching.
    pub reserve: u64,
    /// What no kept revision needs has to go first.
    pub reclaim: bool,
    /// Blobs (partial ones, too) and layers that the update uses or makes: not pruned meanwhile.
    pub uses: BTreeSet<Digest>,
}

/// What an update is planned beside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Occasion {
    /// The revision that runs; `None` on a device that has run nothing yet.
    pub current: Option<Target>,
    /// The others that stay.
    pub others: Vec<Target>,
    /// Parts of deltas, by the digests of their blobs, that were tried in vain.
    pub useless: BTreeSet<Digest>,
    /// What the device writes for itself.
    pub own: Own,
}

impl Occasion {
    /// All revisions that stay, the one that runs first.
    pub fn stays(&self) -> impl Iterator<Item = &Target> {
        self.current.iter().chain(&self.others)
    }
}

/// How the steps of a plan ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// All that the plan's steps bring is here.
    All,
    /// These parts of deltas, by the digests of their blobs, are of no use: what they were to make is to be planned again.
    Without(BTreeSet<Digest>),
}

/// Resolves, plans, fetches and reads targets.
pub trait Supply: Send + Sync {
    /// Pins what is asked and brings all documents into the store (manifests, configurations, bundles, states): tags become
    /// digests, signatures and generation are compared with the policy. May use the network.
    ///
    /// # Errors
    /// Not found, not trusted, of an older generation, no network.
    fn resolve(&self, store: &Store, asked: &Asked, watcher: &dyn Watcher) -> Result<Target, SupplyError>;

    /// What a policy that only looks at signatures (audit) would refuse of a target that was resolved, in words; also what could
    /// not be looked at. May use the network.
    fn concerns(&self, _store: &Store, _target: &Target, _watcher: &dyn Watcher) -> Vec<String> {
        Vec::new()
    }

    /// Told before a target is committed: signatures of its parts that are of older generations are refused from now on.
    ///
    /// # Errors
    /// The store.
    fn committed(&self, _store: &Store, _target: &Target) -> Result<(), SupplyError> {
        Ok(())
    }

    /// Bytes of the record of generations that [`Supply::committed`] would write; none where it writes none.
    fn committed_bytes(&self, _store: &Store, _target: &Target) -> Option<u64> {
        None
    }

    /// Everything that the store has to hold for an app; read from documents that [`Supply::resolve`] brought.
    ///
    /// # Errors
    /// A document is not in the store, or not what it should be.
    fn closure(&self, store: &Store, app: &TargetApp) -> Result<Closure, SupplyError>;

    /// The services of an app; read from documents that [`Supply::resolve`] brought.
    ///
    /// # Errors
    /// A document is not in the store, or asks what is not understood.
    fn describe(&self, store: &Store, app: &TargetApp) -> Result<Described, SupplyError>;

    /// What the update takes. May ask the network which deltas there are.
    ///
    /// # Errors
    /// As for [`Supply::resolve`]. That it does not fit is no error: see [`Planned::refusal`].
    fn plan(
        &self,
        store: &Store,
        target: &Target,
        occasion: &Occasion,
        watcher: &dyn Watcher,
    ) -> Result<Planned, SupplyError>;

    /// Brings everything that the target's closures name into the store: the plan's steps, one after the other. Before each
    /// as much of `space` is held as the plan says.
    ///
    /// # Errors
    /// No network, no space, wrong bytes. What came is kept for the next try.
    fn fetch(
        &self,
        store: &Store,
        target: &Target,
        planned: &Planned,
        space: &Reservation<'_>,
        watcher: &dyn Watcher,
    ) -> Result<Fetched, SupplyError>;

    /// Brings one damaged or missing object of these targets into the store again.
    ///
    /// # Errors
    /// It cannot be had from anywhere.
    fn repair(
        &self,
        store: &Store,
        object: &Object,
        targets: &[Target],
        watcher: &dyn Watcher,
    ) -> Result<(), SupplyError>;

    /// Judges the package in a file before anything is done with it: that it is whole, that the policy accepts it, that it is
    /// for this device. There may be no store yet.
    ///
    /// # Errors
    /// What is wrong with it, by name.
    fn package(&self, _: Option<&Store>, _path: &Path, _: &dyn Watcher) -> Result<Contents, SupplyError> {
        Err(SupplyError::new(Class::Usage, "no packages are taken here"))
    }

    /// The same of a package as it comes: its objects are laid aside, since that may take hours and others change the store
    /// meanwhile.
    ///
    /// # Errors
    /// What is wrong with it, by name; there is no room.
    fn streamed(&self, _: &Incoming, _input: &mut dyn Read, _: &dyn Watcher) -> Result<Contents, SupplyError> {
        Err(SupplyError::new(Class::Usage, "no packages are taken here"))
    }

    /// Judges a state that was put together from packages, each of which was judged before, that came from these places.
    ///
    /// # Errors
    /// The policy does not accept the whole.
    fn merged(&self, _: &Store, _state: &State, _from: &[Carrier], _: &dyn Watcher) -> Result<(), SupplyError> {
        Ok(())
    }

    /// The squashfs images that a root is stacked from, the topmost first.
    ///
    /// # Errors
    /// One of them is not in the store.
    fn lowers(&self, store: &Store, root: &Root) -> Result<Vec<PathBuf>, SupplyError>;

    /// The uncompressed tar of a layer.
    ///
    /// # Errors
    /// It is not in the store, or damaged.
    fn layer<'s>(&self, store: &'s Store, diff_id: &Digest) -> io::Result<Box<dyn Read + Send + 's>>;

    /// How layers are written that are kept in another form.
    fn layer_options(&self) -> LayerOptions {
        LayerOptions::default()
    }

    /// Unpacks an app's project into a directory that is there and empty.
    ///
    /// # Errors
    /// The blob is not in the store or is no project; the file system.
    fn unpack(&self, store: &Store, project: &Digest, into: &Path) -> Result<(), SupplyError>;
}
