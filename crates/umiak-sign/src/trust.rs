//! The verdict: whether what is there is what the policy asks for.

use std::collections::{BTreeMap, BTreeSet};

use umiak_pvr::json::Object;
use umiak_spec::Digest;

use crate::cosign::Signature;
use crate::policy::{Cover, Demand, MERGED, Mode, Policy, agree};
use crate::pvs::{Known, PvsError, SignedState, needs_cover};

/// Signers, how many of them, how much of a state they have to cover, and how far that goes.
#[derive(Clone, Copy)]
struct Needed<'p> {
    mode: Mode,
    signers: &'p [String],
    threshold: usize,
    cover: Cover,
}

/// Names that a message shows.
const SHOWN: usize = 5;

/// Why an app is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// The policy refuses whatever comes from there.
    #[error("the policy accepts nothing from {origin}")]
    Refused {
        /// Where the app is from.
        origin: String,
    },
    /// Not enough signatures.
    #[error("{origin} is signed by {found} of the {threshold} that the policy asks for ({})", signers.join(", "))]
    Unsigned {
        /// Where the app is from.
        origin: String,
        /// How many signers there are.
        found: usize,
        /// How many there have to be.
        threshold: usize,
        /// Who counts.
        signers: Vec<String>,
    },
    /// A signature of a state that does not hold.
    #[error("{origin} is not what was signed")]
    State {
        /// Where the state is from.
        origin: String,
        /// What is wrong.
        source: PvsError,
    },
    /// Keys of a state that nobody signed.
    #[error("{origin} has files that nobody signed: {}", keys.join(", "))]
    Uncovered {
        /// Where the state is from.
        origin: String,
        /// The first of them.
        keys: Vec<String>,
    },
    /// Keys of a state that not enough signers speak for.
    #[error(
        "{origin} has files that are signed by {found} of the {threshold} that the policy asks for ({}): {}",
        signers.join(", "), keys.join(", ")
    )]
    TooFew {
        /// Where the state is from.
        origin: String,
        /// The first of those that the fewest speak for.
        keys: Vec<String>,
        /// How many signers speak for each of these.
        found: usize,
        /// How many have to.
        threshold: usize,
        /// Who counts.
        signers: Vec<String>,
    },
    /// A part of a state that is older than one that was accepted.
    #[error("{}", older(origin, part, *found, *known))]
    Older {
        /// Where the state is from.
        origin: String,
        /// The part.
        part: String,
        /// The generation that its signature says; `None`: none.
        found: Option<u64>,
        /// The highest that was accepted.
        known: u64,
    },
}

fn older(origin: &str, part: &str, found: Option<u64>, known: u64) -> String {
    let found = found.map_or_else(|| "without a generation".to_owned(), |found| format!("as generation {found}"));
    format!("{part} of {origin} is signed {found}, and this device has accepted generation {known} of it already")
}

/// Who vouches for a state, and for what of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Vouched {
    /// Names of the policy's keys and authorities.
    pub signers: Vec<String>,
    /// The generation of each part of the state that has one: once this state was accepted, none that is older should be.
    pub generations: BTreeMap<String, u64>,
}

impl Policy {
    /// Whether signatures are needed before an app from `origin` is looked into.
    #[must_use]
    pub fn needs_signatures(&self, origin: &str) -> bool {
        matches!(self.demand(origin), Demand::Signed { mode: Mode::Lenient | Mode::Strict, .. })
    }

    /// Whether nothing from `origin` is refused, and what would be is to be told: see [`Policy::audit_manifest`],
    /// [`Policy::audit_state`].
    #[must_use]
    pub fn audits(&self, origin: &str) -> bool {
        matches!(self.demand(origin), Demand::Signed { mode: Mode::Audit, .. })
    }

    /// Whether the manifest (or index) `digest` from `origin` is accepted: who vouches for it.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn check_manifest(
        &self,
        origin: &str,
        digest: &Digest,
        signatures: &[Signature],
    ) -> Result<Vec<String>, Distrust> {
        let Some(needed) = needed(origin, self.demand(origin))? else { return Ok(Vec::new()) };
        match self.judge_manifest(origin, digest, signatures, needed) {
            Err(_) if needed.mode == Mode::Audit || (needed.mode == Mode::Lenient && signatures.is_empty()) => {
                Ok(Vec::new())
            }
            verdict => verdict,
        }
    }

    /// What a rule in audit would refuse of a manifest, were it strict.
    #[must_use]
    pub fn audit_manifest(&self, origin: &str, digest: &Digest, signatures: &[Signature]) -> Option<Distrust> {
        match needed(origin, self.demand(origin)) {
            Ok(Some(needed)) if needed.mode == Mode::Audit => {
                self.judge_manifest(origin, digest, signatures, needed).err()
            }
            _ => None,
        }
    }

    fn judge_manifest(
        &self,
        origin: &str,
        digest: &Digest,
        signatures: &[Signature],
        needed: Needed<'_>,
    ) -> Result<Vec<String>, Distrust> {
        let keys = self.signers(needed.signers).keys;
        let held = |key| signatures.iter().take(crate::MAX_SIGNATURES).any(|signature| signature.holds(key, digest));
        let found: Vec<_> = keys.into_iter().filter(|(_, key)| held(key)).collect();
        // One key under two names is one signer.
        let different: BTreeSet<Digest> = found.iter().map(|(_, key)| key.identity()).collect();
        enough(origin, different.len(), needed)?;
        Ok(found.into_iter().map(|(name, _)| name.to_owned()).collect())
    }

    /// Whether a pvr state from `origin` is accepted: who vouches for it. Every signature in it has to
    /// hold, also one more than are needed.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn check_state(&self, origin: &str, state: &Object, known: &Known) -> Result<Vouched, Distrust> {
        self.check(origin, self.demand(origin), state, known)
    }

    /// The same of a state that was put together on the device of packages from these origins, each of which was checked by
    /// itself before. A policy may have a rule for it under the name [`MERGED`]. What runs already may be uncovered.
    ///
    /// # Errors
    /// [`Distrust`].
    pub fn check_merged(&self, from: &BTreeSet<String>, state: &Object, known: &Known) -> Result<Vouched, Distrust> {
        self.check(MERGED, &self.demand_of_merged(from), state, known)
    }

    /// Who vouches for a state that was accepted once, whatever speaks against it by now.
    #[must_use]
    pub fn vouched_state(&self, origin: &str, state: &Object) -> Vouched {
        match needed(origin, self.demand(origin)) {
            Ok(Some(needed)) => self.judge_state(origin, state, &Known::default(), needed).0,
            _ => Vouched::default(),
        }
    }

    /// The same of a state that was put together on the device, whatever was asked of its packages.
    #[must_use]
    pub fn vouched_merged(&self, state: &Object) -> Vouched {
        let signers = &self.signers_of_merged();
        let needed = Needed { mode: Mode::Lenient, signers, threshold: 0, cover: Cover::Parts };
        self.judge_state(MERGED, state, &Known::default(), needed).0
    }

    /// All that a rule in audit would refuse of a state, were it strict.
    #[must_use]
    pub fn audit_state(&self, origin: &str, state: &Object, known: &Known) -> Vec<Distrust> {
        self.audit(origin, self.demand(origin), state, known)
    }

    /// The same of a state that was put together on the device.
    #[must_use]
    pub fn audit_merged(&self, from: &BTreeSet<String>, state: &Object, known: &Known) -> Vec<Distrust> {
        self.audit(MERGED, &self.demand_of_merged(from), state, known)
    }

    fn audit(&self, origin: &str, demand: &Demand, state: &Object, known: &Known) -> Vec<Distrust> {
        match needed(origin, demand) {
            Ok(Some(needed)) if needed.mode == Mode::Audit => self.judge_state(origin, state, known, needed).1,
            _ => Vec::new(),
        }
    }

    fn check(&self, origin: &str, demand: &Demand, state: &Object, known: &Known) -> Result<Vouched, Distrust> {
        let Some(needed) = needed(origin, demand)? else { return Ok(Vouched::default()) };
        let (vouched, mut concerns) = self.judge_state(origin, state, known, needed);
        if needed.mode == Mode::Audit || concerns.is_empty() {
            return Ok(vouched);
        }
        Err(concerns.swap_remove(0))
    }

    /// Who vouches for a state, and what speaks against it, the worst first.
    fn judge_state(&self, origin: &str, state: &Object, known: &Known, needed: Needed<'_>) -> (Vouched, Vec<Distrust>) {
        let from = || origin.to_owned();
        let known = Known { now: known.now.filter(|_| !self.timeless), ..known.clone() };
        let (signed, refused) = SignedState::examine(state, &self.signers(needed.signers), &known);
        let mut concerns: Vec<Distrust> =
            refused.into_iter().map(|source| Distrust::State { origin: from(), source }).collect();
        if needed.mode != Mode::Lenient {
            concerns.extend(lacking(origin, state, &signed, &known, needed));
        }
        // What is put together here, and is to count later, is judged under no rule of its packages.
        let agree = if origin == MERGED { self.agree_on_merged() } else { agree(needed.mode, needed.threshold) };
        let ages = signed.voices.ages(agree);
        let older = ages.older(&known.generations).into_iter();
        concerns.extend(older.map(|(part, found, known)| Distrust::Older { origin: from(), part, found, known }));
        let signers: BTreeSet<String> = signed.signatures.into_values().collect();
        (Vouched { signers: signers.into_iter().collect(), generations: ages.accepted() }, concerns)
    }
}

/// What a state has too little of that `strict` asks for: signers, cover, signers of what is covered.
fn lacking(origin: &str, state: &Object, signed: &SignedState, known: &Known, needed: Needed<'_>) -> Vec<Distrust> {
    let Needed { threshold, cover, .. } = needed;
    // What a merged state has of what runs was let in before.
    let runs = |key: &str| origin == MERGED && known.standing.has(key, &state[key]);
    let counts = |key: &&String| (cover == Cover::All || key.contains('/')) && !runs(key);
    let shown = |keys: &mut dyn Iterator<Item = &str>| keys.take(SHOWN).map(str::to_owned).collect::<Vec<_>>();
    let from = || origin.to_owned();
    let mut lacking: Vec<Distrust> = enough(origin, signed.voices.signers(), needed).err().into_iter().collect();
    let keys = shown(&mut signed.uncovered.iter().filter(counts).map(String::as_str));
    lacking.extend((!keys.is_empty()).then(|| Distrust::Uncovered { origin: from(), keys }));
    // Where the whole has too few there is nothing to say of its files.
    if threshold > 1 && signed.voices.signers() >= threshold {
        let covered = state.iter().filter(|(key, value)| needs_cover(key, value) && signed.voices.speak_for(key));
        let covered = covered.map(|(key, _)| key).filter(counts).map(String::as_str);
        lacking.extend(signed.voices.fewest(covered, threshold).map(|(found, keys)| {
            let (keys, signers) = (shown(&mut keys.into_iter()), needed.signers.to_vec());
            Distrust::TooFew { origin: from(), keys, found, threshold, signers }
        }));
    }
    lacking
}

/// Signers, threshold and cover, where signatures are asked for.
fn needed<'p>(origin: &str, demand: &'p Demand) -> Result<Option<Needed<'p>>, Distrust> {
    match demand {
        Demand::Anything => Ok(None),
        Demand::Nothing => Err(Distrust::Refused { origin: origin.to_owned() }),
        Demand::Signed { mode, signers, threshold, cover } => {
            Ok(Some(Needed { mode: *mode, signers, threshold: *threshold, cover: *cover }))
        }
    }
}

fn enough(origin: &str, found: usize, needed: Needed<'_>) -> Result<(), Distrust> {
    if found >= needed.threshold {
        return Ok(());
    }
    let (threshold, signers) = (needed.threshold, needed.signers.to_vec());
    Err(Distrust::Unsigned { origin: origin.to_owned(), found, threshold, signers })
}
