//! Records and refs: what the store remembers by name.
//!
//! A record is a small atomic document of the agent, any bytes. A ref is a closure under a name: it is refused while
//! anything that it names is missing, and keeps all of it from being pruned.

use umiak_spec::Digest;

use crate::closure::{Closure, Missing};
use crate::error::StoreError;
use crate::layers;
use crate::name::Name;
use crate::sealed;
use crate::store::Store;

impl Store {
    /// The record `name`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::DamagedDocument`] when neither of its two files is whole; the file system.
    pub fn record(&self, name: &Name) -> Result<Option<Vec<u8>>, StoreError> {
        sealed::read(&self.record_path(name))
    }

    /// Writes the record `name`: afterwards, and after a crash at any moment, it is the one before or this one.
    ///
    /// # Errors
    /// [`StoreError::TooLarge`] above 4 MiB; the file system.
    pub fn put_record(&self, name: &Name, content: &[u8]) -> Result<(), StoreError> {
        self.updating()?;
        self.write_sealed(&self.record_path(name), content)
    }

    /// Removes the record `name`, if there is one.
    ///
    /// # Errors
    /// The file system.
    pub fn remove_record(&self, name: &Name) -> Result<(), StoreError> {
        self.remove_sealed(&self.record_path(name))
    }

    /// The names of the records that begin with `prefix`, sorted.
    ///
    /// # Errors
    /// The file system.
    pub fn records(&self, prefix: &str) -> Result<Vec<Name>, StoreError> {
        let mut names = sealed::list(&self.place("records"))?;
        names.retain(|name| name.as_str().starts_with(prefix));
        Ok(names)
    }

    fn record_path(&self, name: &Name) -> std::path::PathBuf {
        self.root.join("records").join(name.as_str())
    }

    pub(crate) fn ref_path(&self, name: &Name) -> std::path::PathBuf {
        self.root.join("refs").join(name.as_str())
    }

    /// What of `closure` is not here.
    #[must_use]
    pub fn missing(&self, closure: &Closure) -> Missing {
        let absent = |digests: &mut dyn Iterator<Item = Digest>, here: &dyn Fn(&Digest) -> bool| {
            digests.filter(|digest| !here(digest)).collect::<std::collections::BTreeSet<_>>()
        };
        let blobs = absent(&mut closure.blobs.iter().copied(), &|digest| self.has_blob(digest));
        let layers = absent(&mut closure.all_layers().into_iter(), &|digest| layers::kind::has(self, digest));
        let whole = |chain: &&Vec<Digest>| chain.iter().all(|layer| !layers.contains(layer));
        let chains = closure.chains.iter().filter(whole).filter(|chain| !layers::kind::stacks(self, chain));
        Missing { chains: chains.cloned().collect(), blobs, layers }
    }

    /// Makes (or replaces) the ref `name`.
    ///
    /// # Errors
    /// [`StoreError::Incomplete`] while anything of it is missing; the file system.
    pub fn set_ref(&self, name: &Name, closure: &Closure) -> Result<(), StoreError> {
        self.updating()?;
        let missing = self.missing(closure);
        if !missing.is_empty() {
            return Err(StoreError::Incomplete(missing));
        }
        self.settle()?;
        let body = serde_json::to_vec(closure).expect("digests are JSON");
        self.write_sealed(&self.ref_path(name), &body)
    }

    /// Removes the ref `name`, if there is one. What only it named may be pruned.
    ///
    /// # Errors
    /// The file system.
    pub fn remove_ref(&self, name: &Name) -> Result<(), StoreError> {
        self.remove_sealed(&self.ref_path(name))
    }

    /// The names of all refs, sorted.
    ///
    /// # Errors
    /// The file system.
    pub fn refs(&self) -> Result<Vec<Name>, StoreError> {
        sealed::list(&self.place("refs"))
    }

    /// What the ref `name` holds, if there is one.
    ///
    /// # Errors
    /// [`StoreError::DamagedDocument`]; the file system.
    pub fn closure(&self, name: &Name) -> Result<Option<Closure>, StoreError> {
        let path = self.ref_path(name);
        let Some(body) = sealed::read(&path)? else { return Ok(None) };
        let why = "it does not say what it holds";
        serde_json::from_slice(&body).map(Some).map_err(|_| StoreError::DamagedDocument { path, why })
    }
}
