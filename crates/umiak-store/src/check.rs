//! Is everything that is here what it says, and everything here that is needed?
//!
//! A check changes nothing. What to do about a damage: a blob or a layer is fetched or converted again, which replaces the
//! damaged one in place (so that what still can be read of it stays until then), or is removed with [`Store::discard_damage`].

use std::collections::BTreeSet;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};

use umiak_spec::{Cancelled, Digest, Observer, Sha256};

use crate::durable;
use crate::error::{IoContext as _, StoreError};
use crate::format::{DIRECTORIES, FILES, FOREIGN};
use crate::layers;
use crate::name::Name;
use crate::sealed;
use crate::store::Store;

/// How thorough a check is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// What is there and what is not; documents. Milliseconds.
    Names,
    /// Every byte.
    Content,
}

/// Something in the store.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The format file.
    Format,
    /// A ref.
    Ref(Name),
    /// A record.
    Record(Name),
    /// A blob.
    Blob(Digest),
    /// A blob that is not whole yet.
    Partial(Digest),
    /// A layer, by diff ID.
    Layer(Digest),
    /// Layers above each other, bottom first.
    Chain(Vec<Digest>),
    /// What umiak has not put there: a path relative to the store.
    Stray(String),
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Format => f.write_str("format file"),
            Self::Ref(name) => write!(f, "ref {name}"),
            Self::Record(name) => write!(f, "record {name}"),
            Self::Blob(digest) => write!(f, "blob {}", digest.short()),
            Self::Partial(digest) => write!(f, "partial blob {}", digest.short()),
            Self::Layer(digest) => write!(f, "layer {}", digest.short()),
            Self::Chain(chain) => write!(f, "stack of {}", chain.last().map_or_else(String::new, Digest::short)),
            Self::Stray(path) => f.write_str(path),
        }
    }
}

/// What is wrong with something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not what it should be; the reason is one clause.
    Damaged(String),
    /// A ref needs it and it is not here.
    Missing,
    /// It is not ours.
    Foreign,
}

/// One finding of a check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// On what.
    pub object: Object,
    /// What is wrong.
    pub fault: Fault,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.fault {
            Fault::Damaged(why) => write!(f, "{}: {why}", self.object),
            Fault::Missing => write!(f, "{}: it is needed and not here", self.object),
            Fault::Foreign => write!(f, "{}: umiak has not put it there", self.object),
        }
    }
}

/// Tells names that belong into a directory.
type Ours<'a> = &'a dyn Fn(&str) -> bool;

/// Bytes that are hashed between two questions whether to go on.
const PIECE: usize = 256 << 10;

impl Store {
    /// Looks at everything. Tells `observer` of the phase `Checking`, in bytes.
    ///
    /// # Errors
    /// [`StoreError::Cancelled`]; the file system, where a directory cannot be listed. A file that cannot be read is a
    /// finding.
    pub fn check(&self, depth: Depth, observer: &dyn Observer) -> Result<Vec<Damage>, StoreError> {
        let mut found = Findings::default();
        self.check_documents(&mut found)?;
        self.check_strays(&mut found)?;
        let blobs = self.blob_list()?;
        if depth == Depth::Content {
            let bytes = |digest| self.blob_path(digest).metadata().map_or(0, |metadata| metadata.len());
            observer.expect("Checking", blobs.iter().map(bytes).sum());
            for digest in blobs {
                found.damaged(Object::Blob(digest), self.check_blob(&digest, observer)?);
            }
        }
        for diff_id in layers::kind::list(self)? {
            observer.check()?;
            found.damaged(Object::Layer(diff_id), layers::kind::check(self, &diff_id, depth, observer)?);
        }
        Ok(found.0)
    }

    fn check_documents(&self, found: &mut Findings) -> Result<(), StoreError> {
        found.damaged(Object::Format, sealed::wrong(&self.place("format"))?.map(str::to_owned));
        for name in self.records("")? {
            let wrong = sealed::wrong(&self.place("records").join(name.as_str()))?;
            found.damaged(Object::Record(name), wrong.map(str::to_owned));
        }
        let mut missing = BTreeSet::new();
        for name in self.refs()? {
            let mut wrong = sealed::wrong(&self.ref_path(&name))?.map(str::to_owned);
            match self.closure(&name) {
                Ok(closure) => {
                    let here = self.missing(&closure.unwrap_or_default());
                    missing.extend(here.blobs.into_iter().map(Object::Blob));
                    missing.extend(here.layers.into_iter().map(Object::Layer));
                    missing.extend(here.chains.into_iter().map(Object::Chain));
                }
                Err(StoreError::DamagedDocument { why, .. }) => wrong = Some(why.to_owned()),
                Err(other) => return Err(other),
            }
            found.damaged(Object::Ref(name), wrong);
        }
        found.0.extend(missing.into_iter().map(|object| Damage { object, fault: Fault::Missing }));
        Ok(())
    }

    fn check_strays(&self, found: &mut Findings) -> Result<(), StoreError> {
        let known = |name: &str| DIRECTORIES.contains(&name) || FILES.contains(&name) || FOREIGN.contains(&name);
        let digest = |name: &str| Digest::from_hex(name).is_ok();
        let document = |name: &str| name.strip_suffix('~').unwrap_or(name).parse::<Name>().is_ok();
        let sha256 = |name: &str| name == "sha256";
        let ours: [(&str, Ours<'_>); 7] = [
            ("", &known),
            ("blobs", &sha256),
            ("blobs/sha256", &digest),
            ("ingest", &digest),
            ("layers", &digest),
            ("refs", &document),
            ("records", &document),
        ];
        for (directory, ours) in ours {
            for name in durable::entries(&self.root.join(directory))? {
                if !ours(&name) {
                    let path = if directory.is_empty() { name } else { format!("{directory}/{name}") };
                    found.0.push(Damage { object: Object::Stray(path), fault: Fault::Foreign });
                }
            }
        }
        Ok(())
    }

    fn check_blob(&self, digest: &Digest, observer: &dyn Observer) -> Result<Option<String>, StoreError> {
        match self.hash_blob(digest, observer) {
            Ok(found) if found == *digest => Ok(None),
            Ok(found) => Ok(Some(format!("its bytes have the digest {}", found.short()))),
            Err(error) if Cancelled::is_behind(&error) => Err(Cancelled.into()),
            Err(error) => Ok(Some(format!("it cannot be read: {error}"))),
        }
    }

    fn hash_blob(&self, digest: &Digest, observer: &dyn Observer) -> io::Result<Digest> {
        let mut file = File::open(self.blob_path(digest))?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; PIECE];
        loop {
            observer.check()?;
            match file.read(&mut piece) {
                Ok(0) => return Ok(hash.finish()),
                Ok(count) => {
                    hash.update(&piece[..count]);
                    observer.advance("Checking", count as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Removes what is damaged, so that it counts as not here; a document is made again from its copy where that is whole.
    /// Does nothing about what is missing. The format file is never removed.
    ///
    /// # Errors
    /// [`StoreError::DamagedDocument`] for a format file that cannot be mended; the file system.
    pub fn discard_damage(&self, damage: &Damage) -> Result<(), StoreError> {
        self.updating()?;
        if damage.fault == Fault::Missing {
            return Ok(());
        }
        self.remove_damaged(&damage.object)?;
        self.settle()
    }

    fn remove_damaged(&self, object: &Object) -> Result<(), StoreError> {
        match object {
            Object::Blob(digest) => {
                self.remove_blob(digest)?;
                self.sync_names(&self.blobs())
            }
            Object::Layer(diff_id) => self.remove_layer(diff_id).map(drop),
            Object::Partial(digest) => self.forget_partial(digest),
            Object::Ref(name) => self.mend_or_remove(&self.ref_path(name), || self.closure(name).map(drop)),
            Object::Record(name) => {
                self.mend_or_remove(&self.place("records").join(name.as_str()), || self.record(name).map(drop))
            }
            Object::Format => self.mend_sealed(&self.place("format")).map(drop),
            Object::Chain(_) => Ok(()),
            Object::Stray(path) => {
                let path = self.root.join(path);
                durable::remove_tree(&*self.disk, &path)?;
                self.disk.sync_dir(durable::parent(&path)).at("sync", durable::parent(&path))
            }
        }
    }

    fn mend_or_remove(
        &self,
        path: &std::path::Path,
        readable: impl Fn() -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        match self.mend_sealed(path).and_then(|_| readable()) {
            Err(StoreError::DamagedDocument { .. }) => self.remove_sealed(path),
            other => other,
        }
    }
}

#[derive(Default)]
struct Findings(Vec<Damage>);

impl Findings {
    fn damaged(&mut self, object: Object, why: Option<String>) {
        self.0.extend(why.map(|why| Damage { object, fault: Fault::Damaged(why) }));
    }
}
