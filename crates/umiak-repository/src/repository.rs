//! A device directory: making one, finding one, and asking what its state is.

use std::fs;
use std::path::{Path, PathBuf};

use umiak_pvr::state::SYSTEM_1;
use umiak_pvr::{Entry, State, StatePath, Value};
use umiak_spec::Observer;

use crate::config::Config;
use crate::durable::{self, Staging};
use crate::error::{Error, IoContext};
use crate::hash::Stat;
use crate::lock::{Current, Lock};
use crate::pending::Pending;
use crate::pool::Pool;
use crate::stat_cache::StatCache;
use crate::working::{self, Found, Working};
use crate::{DOCUMENT_LIMIT, read_file};

pub(crate) const JSON: &str = ".pvr/json";
pub(crate) const NEW: &str = ".pvr/new";
pub(crate) const CONFIG: &str = ".pvr/config";
pub(crate) const MESSAGE: &str = ".pvr/commitmsg";
const LOCK: &str = ".pvr/umiak.lock";
const STAT: &str = ".pvr/umiak-stat";
const STAGING: &str = ".pvr/umiak-tmp";

/// A device directory. Methods lock it for as long as they need; [`Repository::lock`] holds the lock over several.
#[derive(Debug)]
pub struct Repository {
    root: PathBuf,
    pub(crate) config: Config,
    pool: Pool,
    lock: Current,
}

/// How a new device directory is made.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The state's format (default `pantavisor-service-system@1`).
    pub spec: String,
    /// The object pool to record; `None` for `.pvr/objects`. pvr's default, `~/.pvr/objects`, is the caller's to name.
    pub objects: Option<PathBuf>,
}

impl Default for InitOptions {
    fn default() -> Self {
        Self { spec: SYSTEM_1.to_owned(), objects: None }
    }
}

impl Repository {
    /// Makes `root` (created if need be) a device directory with an empty state.
    ///
    /// # Errors
    /// [`Error::AlreadyARepository`], or [`Error::Io`].
    pub fn init(root: &Path, options: &InitOptions) -> Result<Self, Error> {
        if root.join(JSON).exists() {
            return Err(Error::AlreadyARepository(root.to_owned()));
        }
        let mut config = Config::default();
        if let Some(objects) = &options.objects {
            config.set_objects(&std::path::absolute(objects).at("use", objects)?);
        }
        durable::create_directories(root)?;
        let staging = Staging::open(&root.join(STAGING))?;
        durable::replace(&staging, &root.join(CONFIG), config.to_text().as_bytes(), 0o600)?;
        // The state comes last: it is what makes a directory a device.
        durable::replace(&staging, &root.join(JSON), State::new(&options.spec).canonical().as_bytes(), 0o644)?;
        Self::open(root)
    }

    /// Opens the device directory `root`.
    ///
    /// # Errors
    /// [`Error::NotARepository`] without `.pvr/json`; [`Error::Document`] for a damaged configuration.
    pub fn open(root: &Path) -> Result<Self, Error> {
        if !root.join(JSON).is_file() {
            return Err(Error::NotARepository(root.to_owned()));
        }
        let config = Config::read(&root.join(CONFIG))?;
        let pool = Pool::new(config.objects(root));
        Ok(Self { root: root.to_owned(), config, pool, lock: Current::default() })
    }

    /// Opens the device directory that `start` is, or is inside of. (`~/.pvr`, pvr's own configuration, is none: it
    /// has no `json`.)
    ///
    /// # Errors
    /// As [`Repository::open`].
    pub fn find(start: &Path) -> Result<Self, Error> {
        let start = std::path::absolute(start).at("use", start)?;
        match start.ancestors().find(|directory| directory.join(JSON).is_file()) {
            Some(root) => Self::open(root),
            None => Err(Error::NotARepository(start)),
        }
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The object pool.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.pool
    }

    /// What `get`, `merge` or `clone` took from last.
    #[must_use]
    pub fn last_source(&self) -> Option<&str> {
        self.config.last_source()
    }

    /// What was posted to last.
    #[must_use]
    pub fn last_target(&self) -> Option<&str> {
        self.config.last_target()
    }

    /// Notes what was posted to, for the next time.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written, [`Error::Cancelled`].
    pub fn remember_post(&self, target: &str, observer: &dyn Observer) -> Result<(), Error> {
        let _lock = self.lock(observer)?;
        let mut config = self.config.clone();
        config.set_last_target(target);
        if config == self.config {
            return Ok(());
        }
        durable::replace(&self.staging()?, &self.root.join(CONFIG), config.to_text().as_bytes(), 0o600)
    }

    /// Keeps other processes of umiak out until the result is dropped. Methods of *this* value go on working.
    ///
    /// # Errors
    /// [`Error::Io`] when the lock file cannot be made; [`Error::Cancelled`] while waiting.
    pub fn lock(&self, observer: &dyn Observer) -> Result<Lock, Error> {
        self.lock.take(&self.root.join(LOCK), true, observer)
    }

    /// Keeps other processes of umiak from changing the directory until the lock is dropped; several may look at once. A
    /// directory that cannot be written to is not locked.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Cancelled`].
    pub fn lock_shared(&self, observer: &dyn Observer) -> Result<Lock, Error> {
        self.lock.take(&self.root.join(LOCK), false, observer)
    }

    pub(crate) fn staging(&self) -> Result<Staging, Error> {
        Staging::open(&self.root.join(STAGING))
    }

    /// The committed state.
    ///
    /// # Errors
    /// [`Error::State`] when `.pvr/json` is not a state.
    pub fn pristine(&self) -> Result<State, Error> {
        read_state(&self.root.join(JSON))
    }

    pub(crate) fn pending(&self) -> Result<Pending, Error> {
        Pending::read(&self.root.join(NEW))
    }

    /// The last commit's message.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be read.
    pub fn commit_message(&self) -> Result<Option<String>, Error> {
        Ok(read_file(&self.root.join(MESSAGE))?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Looks at all files, with the help of the stat cache, and brings the cache up to date.
    pub(crate) fn scan(&self, pristine: &State, pending: &Pending, observer: &dyn Observer) -> Result<Working, Error> {
        let path = self.root.join(STAT);
        let cache = StatCache::decode(read_file(&path)?.unwrap_or_default());
        // A file made now tells the file system's time. Where none can be made, no cache can be written either.
        let staging = self.staging().ok();
        let marker = staging.as_ref().and_then(|staging| staging.create(0o600).ok());
        let started = marker.and_then(|(_, file)| file.metadata().ok()).map(|metadata| Stat::of(&metadata));
        let mut working = working::scan(&self.root, pristine, pending, &cache, started.as_ref(), observer)?;
        if working.next.fresh || working.next.len() != cache.len() {
            let next = std::mem::take(&mut working.next).encode();
            let staged = staging.and_then(|staging| staging.write(&next, 0o644).ok());
            if let Some(Err(error)) = staged.map(|staged| staged.publish(&path)) {
                observer.note(&format!("Cannot keep what was hashed for the next time: {error}"));
            }
        }
        Ok(working)
    }

    /// The state as the tracked files are now: what a commit would record.
    ///
    /// # Errors
    /// [`Error::NotJson`] when a file that is tracked as a document is none; [`Error::Io`].
    pub fn working_state(&self, observer: &dyn Observer) -> Result<State, Error> {
        let _lock = self.lock_shared(observer)?;
        let pristine = self.pristine()?;
        let working = self.scan(&pristine, &self.pending()?, observer)?;
        let mut state = State::with_spec(pristine.spec());
        for (path, found) in &working.tracked {
            if let Some(entry) = self.entry(path, found, &pristine)? {
                state.insert(path.clone(), entry);
            }
        }
        state.check().map_err(Error::Result)?;
        Ok(state)
    }

    /// The entry of a file that was looked at; `None` for a missing one.
    pub(crate) fn entry(&self, path: &StatePath, found: &Found, pristine: &State) -> Result<Option<Entry>, Error> {
        Ok(match found {
            Found::Missing => None,
            Found::Object(digest) => Some(Entry::Object(*digest)),
            Found::NotJson(source) => return Err(Error::NotJson { path: path.clone(), source: source.clone() }),
            Found::Document(_) => match pristine.get(path.as_str()) {
                Some(same) if found.is(same) => Some(same.clone()),
                _ => self.read_value(path)?.map(Entry::Inline),
            },
        })
    }

    fn read_value(&self, path: &StatePath) -> Result<Option<Value>, Error> {
        let Some(bytes) = read_file(&self.root.join(path))? else { return Ok(None) };
        let value = Value::parse(&bytes, DOCUMENT_LIMIT);
        value.map(Some).map_err(|source| Error::NotJson { path: path.clone(), source })
    }

    /// What changes the committed state into the files as they are, as a JSON merge patch.
    ///
    /// # Errors
    /// As [`Repository::working_state`].
    pub fn diff(&self, observer: &dyn Observer) -> Result<Value, Error> {
        let _lock = self.lock_shared(observer)?;
        Ok(self.pristine()?.difference(&self.working_state(observer)?))
    }

    /// Replaces the committed state; afterwards, and after a crash, it is the old or the new one.
    pub(crate) fn write_state(&self, staging: &Staging, state: &State) -> Result<(), Error> {
        durable::replace(staging, &self.root.join(JSON), state.canonical().as_bytes(), 0o644)
    }
}

/// Reads a state document.
pub(crate) fn read_state(path: &Path) -> Result<State, Error> {
    let bytes = match read_file(path)? {
        Some(bytes) => bytes,
        None => fs::read(path).at("open", path)?,
    };
    State::parse(&bytes, DOCUMENT_LIMIT).map_err(|source| Error::State { path: path.to_owned(), source })
}
