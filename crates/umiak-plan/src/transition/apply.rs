//! The table itself: state and event to state.

use umiak_spec::Digest;

use super::{Event, Failure, OLDER, Phase, REASON, REMEMBERED, Refusal, Rules, State};

impl State {
    /// The state after an event; the same state again where the event was told before (each may be told twice).
    ///
    /// # Errors
    /// The event cannot happen in this phase, or is not wanted: see [`Refusal`].
    pub fn after(&self, event: &Event, rules: &Rules) -> Result<Self, Refusal> {
        match event {
            Event::Begin { target, again } => self.begin(*target, *again),
            Event::Staged => match self.phase {
                Phase::Staging { target } | Phase::Staged { target } => Ok(self.with(Phase::Staged { target })),
                _ => self.out_of_turn(event),
            },
            Event::GaveUp | Event::Dropped => match self.phase {
                Phase::Rest | Phase::Staging { .. } | Phase::Staged { .. } => Ok(self.with(Phase::Rest)),
                _ => self.out_of_turn(event),
            },
            Event::Go => match self.phase {
                Phase::Staged { target } => Ok(self.with(Phase::Switching { target, boots: 0 })),
                Phase::Switching { .. } => Ok(self.clone()),
                _ => self.out_of_turn(event),
            },
            Event::Switched => match self.phase {
                Phase::Switching { target, boots } | Phase::Testing { target, boots } => {
                    Ok(self.with(Phase::Testing { target, boots }))
                }
                _ => self.out_of_turn(event),
            },
            Event::Good => match self.phase {
                Phase::Testing { target, .. } => Ok(self.commit(target)),
                _ => self.out_of_turn(event),
            },
            Event::Bad { why } => match self.phase {
                Phase::Switching { target, .. } | Phase::Testing { target, .. } => {
                    Ok(self.with(Phase::Returning { failed: target, why: cut(why) }))
                }
                Phase::Returning { .. } => Ok(self.clone()),
                _ => self.out_of_turn(event),
            },
            Event::Boot => Ok(self.booted(rules)),
            Event::Returned => match &self.phase {
                Phase::Returning { failed, why } => Ok(self.with(Phase::Rest).failing(*failed, why)),
                _ => self.out_of_turn(event),
            },
            Event::Disliked { revision, why } => Ok(self.clone().failing(*revision, why)),
            Event::Pin(revision) => Ok(self.pin(*revision)),
            Event::Unpin(revision) => Ok(self.unpin(revision)),
            Event::Forget(revision) => self.forget(revision, rules),
        }
    }

    fn with(&self, phase: Phase) -> Self {
        Self { phase, ..self.clone() }
    }

    fn out_of_turn<T>(&self, event: &Event) -> Result<T, Refusal> {
        Err(Refusal::OutOfTurn { event: word(event), phase: words(&self.phase) })
    }

    fn begin(&self, target: Digest, again: bool) -> Result<Self, Refusal> {
        match &self.phase {
            Phase::Switching { target: busy, .. }
            | Phase::Testing { target: busy, .. }
            | Phase::Returning { failed: busy, .. } => return Err(Refusal::Busy(*busy)),
            Phase::Staging { target: same } | Phase::Staged { target: same } if *same == target => {
                return Ok(self.clone());
            }
            Phase::Rest | Phase::Staging { .. } | Phase::Staged { .. } => {}
        }
        if self.current == Some(target) {
            return Err(Refusal::Current(target));
        }
        let mut state = self.with(Phase::Staging { target });
        match self.failed.get(&target) {
            Some(failure) if !again => Err(Refusal::Failed { revision: target, why: failure.why.clone() }),
            _ => {
                state.failed.remove(&target);
                Ok(state)
            }
        }
    }

    fn commit(&self, target: Digest) -> Self {
        let mut state = self.with(Phase::Rest);
        let before: Vec<Digest> = self.current.iter().chain(&self.previous).chain(&self.older).copied().collect();
        let mut before = before.into_iter().filter(|revision| *revision != target);
        state.current = Some(target);
        state.previous = before.next();
        state.older = before.take(OLDER).collect();
        state
    }

    /// A target gets `rules.boots` starts of the machine, then it has failed.
    fn booted(&self, rules: &Rules) -> Self {
        let (target, boots) = match self.phase {
            Phase::Switching { target, boots } | Phase::Testing { target, boots } => (target, boots.saturating_add(1)),
            _ => return self.clone(),
        };
        if boots > rules.boots {
            let why = format!("the machine was started {boots} times before there was a verdict");
            return self.with(Phase::Returning { failed: target, why });
        }
        // Nothing runs after a start: all services are started anew, and the testing window begins anew.
        self.with(Phase::Switching { target, boots })
    }

    fn failing(mut self, revision: Digest, why: &str) -> Self {
        let order = self.failed.values().map(|failure| failure.order).max().map_or(0, |order| order.saturating_add(1));
        self.failed.insert(revision, Failure { why: cut(why), order });
        while self.failed.len() > REMEMBERED {
            let Some(oldest) = self.failed.iter().min_by_key(|(_, failure)| failure.order).map(|(found, _)| *found)
            else {
                break;
            };
            self.failed.remove(&oldest);
        }
        self
    }

    fn pin(&self, revision: Digest) -> Self {
        let mut state = self.clone();
        state.pinned.insert(revision);
        state
    }

    fn unpin(&self, revision: &Digest) -> Self {
        let mut state = self.clone();
        state.pinned.remove(revision);
        state
    }

    fn forget(&self, revision: &Digest, rules: &Rules) -> Result<Self, Refusal> {
        let returning = matches!(&self.phase, Phase::Returning { failed, .. } if failed == revision);
        if returning || self.kept(rules).contains(revision) {
            return Err(Refusal::InUse(*revision));
        }
        let mut state = self.clone();
        state.older.retain(|older| older != revision);
        Ok(state)
    }
}

/// A reason of at most [`REASON`] bytes.
fn cut(why: &str) -> String {
    if why.len() <= REASON {
        return why.to_owned();
    }
    let end = (0..=REASON).rev().find(|end| why.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", &why[..end])
}

const fn word(event: &Event) -> &'static str {
    match event {
        Event::Begin { .. } => "begin",
        Event::Staged => "staged",
        Event::GaveUp => "gave up",
        Event::Dropped => "dropped",
        Event::Go => "go",
        Event::Switched => "switched",
        Event::Good => "good",
        Event::Bad { .. } => "bad",
        Event::Boot => "boot",
        Event::Returned => "returned",
        Event::Disliked { .. } => "disliked",
        Event::Pin(_) => "pin",
        Event::Unpin(_) => "unpin",
        Event::Forget(_) => "forget",
    }
}

/// A phase in words, for people.
const fn words(phase: &Phase) -> &'static str {
    match phase {
        Phase::Rest => "nothing is under way",
        Phase::Staging { .. } => "a revision is being staged",
        Phase::Staged { .. } => "a revision is staged",
        Phase::Switching { .. } => "services are being switched",
        Phase::Testing { .. } => "a revision is being tested",
        Phase::Returning { .. } => "a failed revision is being taken back",
    }
}
