//! Trust in pvr states: what the device knows when it looks at their signatures, and what it keeps of them afterwards.
//!
//! Known are the date, where the clock was set; the generation of each part that was accepted, from a record and from what
//! runs; the signatures of what runs. Guarantees: a generation is kept when its revision is committed and never goes down
//! again; where the record is lost, what runs still counts; what runs is not asked for dates or generations when it comes
//! again beside something else, so that one part can be updated long after the certificate of another has expired.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use umiak_pvr::State;
use umiak_pvr::json::{Object, Value};
use umiak_sign::{Distrust, Known, Vouched};
use umiak_spec::target::{AskedApp, Carrier, Kind, Origin, Target, TargetApp};
use umiak_store::{Name, Store};

use super::content::Reader;
use super::error::ResolveError;
use super::places;
use super::vouch::{self, Named};
use crate::inbox;
use crate::kept;
use crate::session::read_journal;
use crate::sources::Sources;

/// The record of the generations that were accepted.
const RECORD: &str = "generations";
/// The version that is written and read.
const VERSION: u64 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: u64,
    parts: BTreeMap<String, u64>,
}

/// The name of the record.
pub(crate) fn record() -> Name {
    RECORD.parse().expect("lower-case letters are a name")
}

/// Where a state came from, for the policy.
pub(super) enum Came {
    /// Out of a file: the rule for this origin counts.
    From(String),
    /// It was put together here, of packages from these origins, each of which was looked at by itself.
    Merged(BTreeSet<String>),
}

impl Came {
    fn of(store: &Store, origin: &Origin, objects: &[Carrier]) -> Self {
        // Whoever wants another file judged so has to write there first, and only root can.
        let here = origin.path().and_then(Path::parent) == Some(inbox::states(store.path()).as_path());
        if here { Self::merged(objects) } else { Self::From(places::named(origin)) }
    }

    /// Of packages that are, or were, in these places.
    pub(super) fn merged(objects: &[Carrier]) -> Self {
        Self::Merged(objects.iter().map(places::carrier).collect())
    }

    fn check(&self, sources: &Sources, state: &Object, known: &Known) -> Result<Vouched, Distrust> {
        match self {
            Self::From(origin) => sources.trust.check_state(origin, state, known),
            Self::Merged(from) => sources.trust.check_merged(from, state, known),
        }
    }

    fn vouched(&self, sources: &Sources, state: &Object) -> Vouched {
        match self {
            Self::From(origin) => sources.trust.vouched_state(origin, state),
            Self::Merged(_) => sources.trust.vouched_merged(state),
        }
    }

    fn audit(&self, sources: &Sources, state: &Object, known: &Known) -> Vec<Distrust> {
        match self {
            Self::From(origin) => sources.trust.audit_state(origin, state, known),
            Self::Merged(from) => sources.trust.audit_merged(from, state, known),
        }
    }
}

impl Reader<'_> {
    /// Whether the policy accepts a state as it was asked for.
    ///
    /// # Errors
    /// [`ResolveError::Distrust`]; a record that cannot be read is an error, for otherwise damage would open the door.
    pub(crate) fn trust_asked(&self, asked: &AskedApp, state: &State) -> Result<(), ResolveError> {
        let came = Came::of(self.store, &asked.origin, &asked.objects);
        trust(self.sources, Some(self.store), &came, state)
    }

    /// What a rule that only looks has against an app that was pinned, in words; also that it could not be looked at.
    pub(crate) fn concerns(&self, app: &TargetApp) -> Vec<String> {
        let found = match app.kind {
            Kind::Pvr => self.concerns_of_state(app),
            Kind::Compose | Kind::Image => self.concern_of_manifest(app).map(Vec::from_iter),
        };
        match found {
            Ok(found) => found.iter().map(|concern| line(concern)).collect(),
            Err(error) => vec![format!("the signatures of {} could not be looked at: {}", app.name, line(&error))],
        }
    }

    fn concerns_of_state(&self, app: &TargetApp) -> Result<Vec<Distrust>, ResolveError> {
        let (sources, store) = (self.sources, self.store);
        let Some(state) = stored(sources, store, app).filter(|_| sources.trust.asks()) else { return Ok(Vec::new()) };
        Ok(Came::of(store, &app.origin, &app.objects).audit(sources, &state, &known(sources, store)?))
    }

    fn concern_of_manifest(&self, app: &TargetApp) -> Result<Option<Distrust>, ResolveError> {
        let origin = places::named(&app.origin);
        let reference = places::pinned(&app.origin, app.top.digest).filter(|_| self.sources.trust.audits(&origin));
        let Some(reference) = reference else { return Ok(None) };
        let documents = self.documents(reference.clone());
        let named = Named { origin: &origin, reference: &reference, digest: &app.top.digest };
        vouch::concern(self.sources, named, documents.source()?, self.observer)
    }
}

/// Whether the policy accepts a state that came from somewhere. Where there is no store yet, nothing is known.
///
/// # Errors
/// As for [`Reader::trust_asked`].
pub(super) fn trust(sources: &Sources, store: Option<&Store>, came: &Came, state: &State) -> Result<(), ResolveError> {
    let Value::Object(members) = state.to_value() else { return Ok(()) };
    if sources.trust.asks() {
        let known = match store {
            Some(store) => known(sources, store)?,
            None => Known { now: (sources.date)(), ..Known::default() },
        };
        came.check(sources, &members, &known)?;
    }
    Ok(())
}

/// An error and all its causes in one line.
fn line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}

/// From now on no part of this target is accepted in an older generation.
///
/// # Errors
/// The store.
pub(crate) fn committed(sources: &Sources, store: &Store, target: &Target) -> Result<(), ResolveError> {
    match raised(sources, store, target) {
        Some(bytes) => Ok(store.put_record(&record(), &bytes)?),
        None => Ok(()),
    }
}

/// What the record is to say once a target is committed; none where that is what it says.
pub(crate) fn raised(sources: &Sources, store: &Store, target: &Target) -> Option<Vec<u8>> {
    if !sources.trust.asks() {
        return None;
    }
    // One that cannot be read is said with the next target; it is no reason not to commit this one.
    let before = read(store).ok()?;
    let mut parts = before.clone();
    for app in &target.apps {
        raise(&mut parts, generations(sources, store, app));
    }
    let document = || Document { version: VERSION, parts: parts.clone() };
    (parts != before).then(|| serde_json::to_vec(&document()).expect("texts and numbers are JSON"))
}

/// What the device knows.
fn known(sources: &Sources, store: &Store) -> Result<Known, ResolveError> {
    let mut known = Known { now: (sources.date)(), generations: read(store)?, ..Known::default() };
    for app in running(store).iter().flat_map(|target| &target.apps) {
        raise(&mut known.generations, generations(sources, store, app));
        if let Some(state) = stored(sources, store, app) {
            known.standing.add(&state);
        }
    }
    Ok(known)
}

/// The target that runs. Where the journal is lost nothing is known of it.
fn running(store: &Store) -> Option<Target> {
    let current = read_journal(store).ok()?.state.current?;
    Some(kept::read(store, &current).ok()??.target)
}

/// The generations of an app's parts, as signatures say them that hold; none of what is no state.
fn generations(sources: &Sources, store: &Store, app: &TargetApp) -> BTreeMap<String, u64> {
    let came = Came::of(store, &app.origin, &app.objects);
    stored(sources, store, app).map(|state| came.vouched(sources, &state).generations).unwrap_or_default()
}

/// An app's state; none where it is no pvr app, or not to be had.
fn stored(sources: &Sources, store: &Store, app: &TargetApp) -> Option<Object> {
    if app.kind != Kind::Pvr {
        return None;
    }
    let limit = sources.limits.document;
    let bytes = store.document(&app.top.digest, limit).ok()??;
    match Value::parse(&bytes, limit) {
        Ok(Value::Object(members)) => Some(members),
        _ => None,
    }
}

fn raise(parts: &mut BTreeMap<String, u64>, by: BTreeMap<String, u64>) {
    for (part, generation) in by {
        let known = parts.entry(part).or_default();
        *known = generation.max(*known);
    }
}

fn read(store: &Store) -> Result<BTreeMap<String, u64>, ResolveError> {
    let Some(bytes) = store.record(&record())? else { return Ok(BTreeMap::new()) };
    match serde_json::from_slice(&bytes) {
        Ok(Document { version: VERSION, parts }) => Ok(parts),
        _ => Err(ResolveError::Missing {
            what: "the list of accepted generations".to_owned(),
            why: "its record says something else".to_owned(),
        }),
    }
}
