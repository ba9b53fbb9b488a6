//! Giving a device a revision: what it lacks, whether that fits, sending it, and the step that makes it one.
//!
//! Each part is asked for by itself, in this order: [`Device::survey`], [`Device::send`], [`Device::start`],
//! [`Device::watch`]. What is cut off anywhere is gone on with by beginning again: objects that arrived are not sent
//! twice, and a revision that was put and never run is not put again.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::time::Duration;

use umiak_pvr::json::Object;
use umiak_pvr::{Entry, State};
use umiak_spec::{Digest, Observer};

use crate::clock::wait;
use crate::control::Control;
use crate::device::{Device, Way};
use crate::error::Error;
use crate::http::{Load, PHASE};
use crate::progress::{Progress, Verdict};
use crate::revision::Revision;

/// Between two looks at an update.
const LOOK: Duration = Duration::from_millis(500);

/// How long one look may take: a device that hangs is no reason to be late with the verdict on what it does.
const GLANCE: Duration = Duration::from_secs(60);

/// Where the objects of a state are on this side.
pub trait Objects {
    /// Bytes of the object.
    ///
    /// # Errors
    /// It is not there, or cannot be asked.
    fn length(&self, digest: &Digest) -> io::Result<u64>;

    /// Its bytes, from the first on. They are hashed on their way.
    ///
    /// # Errors
    /// It is not there, or cannot be read.
    fn open(&self, digest: &Digest) -> io::Result<Box<dyn Read + '_>>;
}

/// What a device is to be given.
pub struct Posting<'a> {
    /// All of the revision.
    pub state: &'a State,
    /// Where its objects are.
    pub objects: &'a dyn Objects,
    /// What it is about.
    pub message: Option<&'a str>,
    /// Send each object, also those that the device has; it compares them.
    pub force: bool,
    /// Further members of what is posted; only a remote takes them.
    pub envelope: Object,
}

/// An object that has to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Which.
    pub digest: Digest,
    /// Its bytes.
    pub length: u64,
    /// Bytes of what the device has under its name: the rest of an upload that was cut off, or none.
    pub there: Option<u64>,
}

/// Room on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that can be used, its reserve left alone.
    pub free: u64,
    /// Bytes of its storage.
    pub total: Option<u64>,
}

/// What a device has and lacks of a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// Objects of the revision, and their bytes.
    pub objects: BTreeMap<Digest, u64>,
    /// Those that have to be sent, or, of a remote, that it has to be asked about one by one.
    pub missing: Vec<Missing>,
    /// Whether the device runs this state now.
    pub running: bool,
    /// The room on it, if it tells.
    pub room: Option<Room>,
}

impl Survey {
    /// Bytes that have to be sent, at most.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.missing.iter().map(|missing| missing.length).sum()
    }

    /// Bytes of the device's storage that they take beyond what is there of them already.
    #[must_use]
    pub fn needed(&self) -> u64 {
        self.missing.iter().map(|missing| missing.length.saturating_sub(missing.there.unwrap_or(0))).sum()
    }

    /// Whether they fit, as far as the device tells.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.room.is_none_or(|room| self.needed() <= room.free)
    }
}

/// What was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Objects.
    pub objects: usize,
    /// Their bytes.
    pub bytes: u64,
}

impl Device {
    /// Asks what the device lacks, and how much room there is. Nothing of the device changes.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when an object is not there on this side, and what the device says.
    pub fn survey(&self, posting: &Posting<'_>, observer: &dyn Observer) -> Result<Survey, Error> {
        let mut objects = BTreeMap::new();
        for digest in posting.state.objects() {
            let length = posting.objects.length(&digest);
            objects.insert(digest, length.map_err(|source| Error::Unreadable { digest, source })?);
        }
        let current = self.state(observer)?;
        let running = current == *posting.state;
        let (has, room) = match &self.way {
            Way::Control(control) => (control.objects(observer)?, control.room(observer)?),
            // What it runs it has; of the rest it says so when it is asked object by object.
            Way::Remote(_) => (current.objects().iter().map(|digest| (*digest, None)).collect(), None),
        };
        let lacks = |(digest, length): (&Digest, &u64)| {
            let there = has.get(digest);
            let whole = there.is_some_and(|there| there.is_none_or(|there| there == *length));
            let missing = Missing { digest: *digest, length: *length, there: there.copied().flatten() };
            (posting.force || !whole).then_some(missing)
        };
        let missing = objects.iter().filter_map(lacks).collect();
        Ok(Survey { missing, objects, running, room })
    }

    /// Sends what is missing, one object after the other.
    ///
    /// # Errors
    /// [`Error::DoesNotFit`] before the first byte; what the device says of one object ([`Error::NoRoom`],
    /// [`Error::Refused`]). What was sent before stays there, and need not be sent again.
    pub fn send(&self, posting: &Posting<'_>, survey: &Survey, observer: &dyn Observer) -> Result<Sent, Error> {
        if let (false, Some(room)) = (survey.fits(), survey.room) {
            return Err(Error::DoesNotFit { place: self.place().to_owned(), needed: survey.needed(), free: room.free });
        }
        let names = names(posting.state);
        let mut sent = Sent::default();
        observer.expect(PHASE, survey.bytes());
        for Missing { digest, length, .. } in &survey.missing {
            let load = Load::new(posting.objects, *digest, *length, observer);
            let went = match &self.way {
                Way::Control(control) => control.send(digest, &load, observer).map(|()| true),
                Way::Remote(remote) => {
                    let name = names.get(digest).copied().unwrap_or_default();
                    remote.send(digest, name, &load, posting.force, observer)
                }
            }?;
            if went {
                sent.objects += 1;
                sent.bytes += length;
            } else {
                observer.advance(PHASE, *length);
            }
        }
        Ok(sent)
    }

    /// Lets the device delete what it keeps for no revision that it needs, and gives the bytes. Revisions that could
    /// have been gone back to may be among it.
    ///
    /// # Errors
    /// [`Error::Unsupported`] but on a control socket; what the device says.
    pub fn collect(&self, observer: &dyn Observer) -> Result<u64, Error> {
        self.control("clear away what it does not need")?.collect(observer)
    }

    /// Makes a revision of what was sent, and lets the device run it if `run`. Gives its name, if the device told one.
    ///
    /// `name` is the name that it should have; `seconds` since 1970 go into the one that it gets otherwise.
    ///
    /// # Errors
    /// [`Error::Refused`] when the device does not take the state or its signatures, [`Error::Conflict`] when there is
    /// another revision of the name, [`Error::Busy`], [`Error::Unknown`].
    pub fn start(
        &self,
        posting: &Posting<'_>,
        name: Option<&str>,
        seconds: u64,
        run: bool,
        observer: &dyn Observer,
    ) -> Result<Option<String>, Error> {
        match &self.way {
            Way::Control(control) => {
                let revision = put(control, posting, name, seconds, observer)?;
                if run {
                    control.run(&revision, observer)?;
                }
                Ok(Some(revision.as_str().to_owned()))
            }
            Way::Remote(remote) if run => {
                remote.post(posting.state, posting.message, name, &posting.envelope, observer)
            }
            Way::Remote(_) => Err(Error::Unsupported(format!("{} runs what it is given", self.place()))),
        }
    }

    /// Watches until the device says what became of the revision, at most `patience` long. `tell` is told each news.
    /// A device that does not answer is waited for: it may be starting anew.
    ///
    /// # Errors
    /// [`Error::Failed`] when it does not run the revision, [`Error::NoVerdict`] when it did not say in time.
    pub fn watch(
        &self,
        revision: &str,
        patience: Duration,
        tell: &mut dyn FnMut(&Progress),
        observer: &dyn Observer,
    ) -> Result<Progress, Error> {
        let clock = &*self.client().clock;
        let begun = clock.now();
        let mut last: Option<Progress> = None;
        let mut silent = false;
        loop {
            let left = patience.saturating_sub(clock.now().saturating_sub(begun));
            match self.look(revision, left.clamp(LOOK, GLANCE), observer) {
                Ok(Some(progress)) => {
                    silent = false;
                    if last.as_ref() != Some(&progress) {
                        tell(&progress);
                    }
                    match progress.status.verdict() {
                        Verdict::Good => return Ok(progress),
                        Verdict::Bad => return Err(failed(revision, progress)),
                        Verdict::Open => last = Some(progress),
                    }
                }
                Ok(None) => {}
                Err(error) if error.is_connection() || matches!(error, Error::Busy { .. } | Error::Slow { .. }) => {
                    if !std::mem::replace(&mut silent, true) {
                        observer.note("The device does not answer; it may be starting anew");
                    }
                }
                Err(error) => return Err(error),
            }
            let waited = clock.now().saturating_sub(begun);
            if waited >= patience {
                let last = last.map(|progress| progress.status);
                return Err(Error::NoVerdict { revision: revision.to_owned(), waited, last });
            }
            wait(clock, LOOK, observer)?;
        }
    }

    fn look(&self, revision: &str, within: Duration, observer: &dyn Observer) -> Result<Option<Progress>, Error> {
        match &self.way {
            Way::Control(control) => control.progress(revision, Some(within), observer),
            Way::Remote(remote) => remote.progress(revision, within, observer),
        }
    }
}

/// Puts the revision and its message there.
fn put(
    control: &Control,
    posting: &Posting<'_>,
    name: Option<&str>,
    seconds: u64,
    observer: &dyn Observer,
) -> Result<Revision, Error> {
    let named = name.map(Revision::new).transpose().map_err(|error| Error::Unsupported(error.to_string()))?;
    let revision = match named {
        Some(name) => name,
        None => match control.untouched(posting.state, observer)? {
            Some(name) => name,
            None => Revision::of(posting.state, seconds),
        },
    };
    control.put(&revision, posting.state, observer)?;
    if let Some(message) = posting.message {
        control.describe(&revision, message, observer)?;
    }
    Ok(revision)
}

fn failed(revision: &str, progress: Progress) -> Error {
    let Progress { status, message, log, .. } = progress;
    Error::Failed { revision: revision.to_owned(), status, message: Some(message).filter(|text| !text.is_empty()), log }
}

/// Each object's first path.
fn names(state: &State) -> BTreeMap<Digest, &str> {
    let mut names = BTreeMap::new();
    for (path, entry) in state.entries() {
        if let Entry::Object(digest) = entry {
            names.entry(*digest).or_insert(path.as_str());
        }
    }
    names
}
