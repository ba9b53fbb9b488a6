//! Current and previous take little more than one: after a commit, layers of revisions before become patches above those of
//! the current one that took their places.
//!
//! ```text
//! before:   base ── patch (previous)      layer (current)          base is kept for the patch alone
//! after:                                  layer (current) ── patch (previous)
//! ```
//!
//! Nothing of the current revision is written again: it is mounted. Everything comes out of the store; a layer has its one
//! name before and after, so that a cut leaves it in one form or the other. Done once for each commit. Where there is no room,
//! or it cannot be, everything stays as it is: it only takes more.

use std::collections::{BTreeMap, BTreeSet};

use umiak_engine::Observed;
use umiak_spec::Digest;
use umiak_store::{Keep, LayerOptions, LayerRecord, Name, Store, StoreError};

use crate::error::AgentError;
use crate::outcome::Watcher;
use crate::session::Session;
use crate::supply::Root;

/// Layers of one service of a revision, the lowest first.
type Stack = Vec<Digest>;

/// A service, by app and name, and its layers.
type Stacked = ((String, String), Stack);

/// Bytes that have to stay free beside what is written.
const MARGIN: u64 = 1 << 20;

/// The name of the record of the revisions whose layers are in their forms.
pub(crate) fn record() -> Name {
    "forms".parse().expect("a word is a name")
}

/// A layer that may become a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Turn {
    layer: Digest,
    base: Digest,
    below: Stack,
}

impl Session<'_> {
    /// See the module. That this fails fails nothing else.
    pub(crate) fn settle_forms(&mut self, watcher: &dyn Watcher) {
        match self.turn_forms(watcher) {
            // What was kept for the patches alone goes.
            Ok(true) => self.tidy_up(watcher),
            Ok(false) => {}
            Err(error) => watcher.note(&format!("layers stay in the forms that they have: {}", error.line())),
        }
    }

    /// Whether something was written again.
    fn turn_forms(&self, watcher: &dyn Watcher) -> Result<bool, AgentError> {
        // Where nothing is pruned nothing is gained.
        let Some(current) = self.journal.state.current.filter(|_| self.agent.policy.prune) else { return Ok(false) };
        let others: Vec<Digest> = self.kept().into_iter().filter(|revision| *revision != current).collect();
        let done: String = std::iter::once(&current).chain(&others).map(|revision| revision.hex() + "\n").collect();
        if self.store.record(&record())?.as_deref() == Some(done.as_bytes()) {
            return Ok(false);
        }
        let mut before = Vec::new();
        for revision in others {
            before.extend(self.stacks(&revision)?);
        }
        let turns = turns(&self.store, &self.stacks(&current)?, &before)?;
        if !turns.is_empty() {
            self.release()?;
        }
        let options = self.agent.supply.layer_options();
        let mut turned = false;
        for turn in turns {
            watcher.check()?;
            turned |= self.turn_one(&turn, &options, watcher)?;
        }
        self.store.put_record(&record(), done.as_bytes())?;
        Ok(turned)
    }

    /// Services that do not run hold the images that they ran from no longer: what goes is gone.
    fn release(&self) -> Result<(), AgentError> {
        let engine = &self.agent.engine;
        let places = self.current_places()?;
        let runs = |found: &Observed| {
            let place = places.get(&found.app).and_then(|services| services.get(&found.service));
            place.is_some_and(|place| place.revision == found.revision)
        };
        for found in engine.observe()?.iter().filter(|found| !runs(found)) {
            engine.release(&found.app, &found.revision, &found.service)?;
        }
        Ok(())
    }

    /// The stacks of a revision by app and service.
    fn stacks(&self, revision: &Digest) -> Result<Vec<Stacked>, AgentError> {
        let arrangement = self.arrangement(Some(*revision))?;
        let services = arrangement.apps.into_iter().flat_map(|(app, services)| {
            services.into_iter().map(move |one| ((app.clone(), one.part.service.name.clone()), one.part.root))
        });
        Ok(services
            .filter_map(|(name, root)| match root {
                Root::Layers(stack) => Some((name, stack)),
                Root::Blobs(_) => None,
            })
            .collect())
    }

    /// Makes the patch where there is room for it. A failure that is no stop is a note.
    fn turn_one(&self, turn: &Turn, options: &LayerOptions, watcher: &dyn Watcher) -> Result<bool, AgentError> {
        let keep = Keep::Patch { base: turn.base, below: turn.below.clone() };
        let converted = most(&self.store, &turn.layer).and_then(|most| {
            if self.store.free()?.bytes < most.saturating_add(MARGIN) {
                return Ok(false);
            }
            let report = self.store.convert_layer(&turn.layer, &keep, options, watcher)?;
            Ok(!report.was_here)
        });
        match converted {
            Err(StoreError::Cancelled(cancelled)) => Err(cancelled.into()),
            Err(error) => {
                watcher.note(&format!("layer {} stays in the form that it has: {error}", turn.layer.short()));
                Ok(false)
            }
            Ok(turned) => Ok(turned),
        }
    }
}

/// Bytes that a patch of a layer takes at most: what shows the layer now.
fn most(store: &Store, layer: &Digest) -> Result<u64, StoreError> {
    let record = store.layer_record(layer)?.ok_or(StoreError::NoLayer(*layer))?;
    let base = record.base.map(|base| store.layer_record(&base)).transpose()?.flatten();
    let base = base.map_or(0, |base| base.image.bytes);
    Ok(record.image.bytes.saturating_add(record.skeleton.bytes).saturating_add(base))
}

/// Which layers may become patches of which. A layer that is whole may be worth it; one that is a patch already only where what
/// it lies above is kept for it alone.
fn turns(store: &Store, current: &[Stacked], before: &[Stacked]) -> Result<Vec<Turn>, StoreError> {
    let of_current: BTreeSet<Digest> = current.iter().flat_map(|(_, stack)| stack).copied().collect();
    let wanted: BTreeSet<Digest> =
        before.iter().flat_map(|(_, stack)| stack).copied().chain(of_current.clone()).collect();
    let mut places: BTreeMap<Digest, BTreeSet<&[Digest]>> = BTreeMap::new();
    for (_, stack) in before {
        for (number, layer) in stack.iter().enumerate() {
            places.entry(*layer).or_default().insert(&stack[..number]);
        }
    }
    let mut turns: BTreeMap<Digest, Turn> = BTreeMap::new();
    for (name, stack) in before {
        let Some((_, above)) = current.iter().find(|(other, _)| other == name) else { continue };
        for (number, layer) in stack.iter().enumerate() {
            // A patch holds for one stack below it.
            if of_current.contains(layer) || places.get(layer).is_none_or(|places| places.len() > 1) {
                continue;
            }
            let Some(record) = store.layer_record(layer)? else { continue };
            if record.base.is_some_and(|base| wanted.contains(&base)) {
                continue;
            }
            if let Some(base) = successor(store, (stack, number), above)? {
                turns.insert(*layer, Turn { layer: *layer, base, below: stack[..number].to_vec() });
            }
        }
    }
    Ok(turns.into_values().collect())
}

/// The layer that took the place of one, counted from the bottom or else from the top: a whole one that is new there.
fn successor(store: &Store, (stack, number): (&Stack, usize), above: &Stack) -> Result<Option<Digest>, StoreError> {
    let from_top = (above.len() + number).checked_sub(stack.len());
    for place in [Some(number), from_top].into_iter().flatten() {
        let Some(found) = above.get(place).filter(|found| !stack.contains(found)) else { continue };
        if store.layer_record(found)?.as_ref().is_some_and(LayerRecord::is_whole) {
            return Ok(Some(*found));
        }
    }
    Ok(None)
}
