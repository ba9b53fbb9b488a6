//! A law: of thousands of changes to a strictly signed package those are accepted that leave every file as enough signers
//! meant it, and no other.
//!
//! What is meant is told by a ledger of what was signed, without any cryptography and with patterns of its own.

use std::collections::{BTreeMap, BTreeSet};

use umiak_pvr::json::{Object, Value};
use umiak_sign::{Distrust, Known, Policy};

use crate::hand::{FROM, Hand, Over, policy, state};

const CHANGES: u32 = 2000;

/// One signature as it was made.
struct Entry {
    document: Value,
    signer: &'static str,
    over: Over<'static>,
    payload: Object,
}

struct Ledger(Vec<Entry>);

impl Ledger {
    /// Signs, and notes it.
    fn sign(&mut self, state: &mut Object, name: &str, hand: &Hand, over: Over<'static>) {
        hand.sign(state, name, over);
        let document = state[&format!("_sigs/{name}.json")].clone();
        let payload = selected(state, over);
        self.0.push(Entry { document, signer: hand.name, over, payload });
    }

    /// Whether a state is one that is to be accepted: all its signatures hold, every file has as many signers as asked for,
    /// and none is older than what was accepted.
    fn means(&self, state: &Object, threshold: usize, accepted: &BTreeMap<String, u64>) -> bool {
        let mut there = Vec::new();
        for document in state.values().filter(|value| is_signature(value)) {
            let entry = self.0.iter().find(|entry| entry.document == *document);
            match entry.filter(|entry| entry.payload == selected(state, entry.over)) {
                Some(entry) => there.push(entry),
                None => return false,
            }
        }
        state.iter().filter(|(key, value)| !(key.starts_with("_sigs/") && is_signature(value))).all(|(key, _)| {
            let left = |entry: &Entry| !key.starts_with("_sigs/") && any(entry.over.exclude, key);
            let over: Vec<_> = there.iter().filter(|entry| entry.payload.contains_key(key)).collect();
            let signers: BTreeSet<&str> = there
                .iter()
                .filter(|entry| entry.payload.contains_key(key) || left(entry))
                .map(|entry| entry.signer)
                .collect();
            let known = key.split('/').next().and_then(|part| accepted.get(part));
            let names = |over: &[&&Entry]| over.iter().map(|entry| entry.signer).collect::<BTreeSet<_>>().len();
            let young = |known: &u64| {
                let young: Vec<_> =
                    over.iter().filter(|entry| entry.over.generation >= Some(*known)).copied().collect();
                names(&young) >= threshold.min(names(&over))
            };
            signers.len() >= threshold && (over.is_empty() || known.is_none_or(young))
        })
    }
}

fn is_signature(value: &Value) -> bool {
    value.get("#spec").and_then(Value::as_str) == Some("pvs@2")
}

/// `a/**` and whole keys: all that is signed here.
fn any(patterns: &[&str], key: &str) -> bool {
    let one = |pattern: &&str| pattern.strip_suffix("**").map_or(key == *pattern, |above| key.starts_with(above));
    patterns.iter().any(one)
}

fn selected(state: &Object, over: Over<'_>) -> Object {
    let wanted = |key: &str| any(over.include, key) && !any(over.exclude, key);
    state.iter().filter(|(key, _)| wanted(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Marsaglia's xorshift: the same changes every time.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % limit
    }

    fn pick<'p, T>(&mut self, from: &'p [T]) -> &'p T {
        &from[self.below(from.len())]
    }
}

const WEB: &[&str] = &["web/**", "_config/web/**"];
const MAPS: &[&str] = &["maps/**"];

fn over(include: &'static [&'static str], exclude: &'static [&'static str], generation: Option<u64>) -> Over<'static> {
    Over { include, exclude, generation }
}

/// Packages of two signers: the one that is changed, and others whose files and signatures are carried into it.
fn packages(ledger: &mut Ledger, one: &Hand, two: &Hand) -> Vec<Object> {
    let files = ["web/run.json", "web/src.json", "web/lxc.json", "_config/web/x.json", "maps/run.json", "device.json"];
    let mut made = Vec::new();
    for generation in [5, 4] {
        let mut package = state(&files);
        package.insert("web/root.squashfs".to_owned(), generation.to_string().repeat(64).as_str().into());
        package.insert("maps/root.squashfs".to_owned(), "a".repeat(64).as_str().into());
        for (name, hand) in [("", one), ("-two", two)] {
            let web = over(WEB, &["web/src.json", "_sigs/web.json"], Some(generation));
            ledger.sign(&mut package, &format!("web{name}"), hand, web);
            ledger.sign(&mut package, &format!("maps{name}"), hand, over(MAPS, &["maps/src.json"], Some(generation)));
            ledger.sign(&mut package, &format!("_spec{name}"), hand, over(&["#spec", "device.json"], &[], None));
        }
        made.push(package);
    }
    // What one alone signed, as the newest of all.
    let mut lone = state(&["web/run.json", "evil/run.json", "device.json"]);
    ledger.sign(&mut lone, "web", one, over(WEB, &["web/src.json"], Some(9)));
    ledger.sign(&mut lone, "evil", one, over(&["evil/**", "#spec", "device.json"], &["evil/src.json"], Some(9)));
    ledger.sign(&mut lone, "evil-two", two, over(&["#spec"], &["web/src.json"], Some(9)));
    made.push(lone);
    // The old release of both, signed by one as a new one.
    let mut renewed = made[1].clone();
    ledger.sign(&mut renewed, "web", one, over(WEB, &["web/src.json"], Some(9)));
    ledger.sign(&mut renewed, "maps", one, over(MAPS, &[], Some(9)));
    made.push(renewed);
    made
}

fn change(state: &mut Object, others: &[Object], dice: &mut Dice) {
    let keys: Vec<String> = state.keys().cloned().collect();
    let signatures: Vec<String> = keys.iter().filter(|key| key.starts_with("_sigs/")).cloned().collect();
    let names = [
        "web/more.json",
        "evil/run.json",
        "_sigs/web.json",
        "_sigs/run.json",
        "_config/web/y.json",
        "maps/src.json",
        "top.json",
    ];
    let name = || Value::object([("name", Value::from("evil"))]);
    match dice.below(12) {
        0 => drop(state.remove(dice.pick(&keys))),
        1 => drop(state.insert(dice.pick(&keys).clone(), name())),
        2 => drop(state.insert((*dice.pick(&names)).to_owned(), name())),
        3 if !signatures.is_empty() => drop(state.remove(dice.pick(&signatures))),
        // All that one of them signed.
        9 => {
            let of = dice.below(2) == 0;
            state.retain(|key, _| !key.starts_with("_sigs/") || key.ends_with("-two.json") == of);
        }
        // Under another name, or twice, or where no signature belongs.
        4 | 5 if !signatures.is_empty() => {
            let from = dice.pick(&signatures);
            let document = if dice.below(2) == 0 { state[from].clone() } else { state.remove(from).unwrap() };
            let place = *dice.pick(&["_sigs/a.json", "_sigs/run.json", "_sigs/web.json", "web/signature.json"]);
            state.insert(place.to_owned(), document);
        }
        6 if !signatures.is_empty() => {
            let key = dice.pick(&signatures);
            if let Value::Object(members) = &mut state.get_mut(key).unwrap() {
                let member = *dice.pick(&["#spec", "protected", "signature", "payload"]);
                let text = members.get(member).and_then(Value::as_str).unwrap_or("AAAA").to_owned();
                let at = dice.below(text.len());
                let letter = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
                members
                    .insert(member.to_owned(), format!("{}{letter}{}", &text[..at], &text[at + 1..]).as_str().into());
            }
        }
        // One file, or one part with its signatures, out of another package.
        7 | 8 => {
            let other = dice.pick(others);
            let all: Vec<&String> = other.keys().collect();
            let key = *dice.pick(&all);
            state.insert(key.clone(), other[key].clone());
        }
        _ => {
            let (other, part) = (dice.pick(others), *dice.pick(&["web", "maps", "evil", "_spec"]));
            let belongs = |key: &str| {
                let places = [format!("{part}/"), format!("_config/{part}/"), format!("_sigs/{part}")];
                places.iter().any(|place| key.starts_with(place.as_str()))
            };
            state.retain(|key, _| !belongs(key));
            state.extend(other.iter().filter(|(key, _)| belongs(key)).map(|(key, value)| (key.clone(), value.clone())));
        }
    }
}

fn told(policy: &Policy, state: &Object, known: &Known) -> &'static str {
    match policy.check_state(FROM, state, known) {
        Ok(_) => "accepted",
        Err(Distrust::State { .. }) => "not what was signed",
        Err(Distrust::Unsigned { .. }) => "unsigned",
        Err(Distrust::Uncovered { .. }) => "uncovered",
        Err(Distrust::TooFew { .. }) => "too few",
        Err(Distrust::Older { .. }) => "older",
        Err(Distrust::Refused { .. }) => "refused",
    }
}

#[test]
fn no_change_is_accepted_that_its_signers_did_not_mean() {
    let (one, two) = (Hand::new("one"), Hand::new("two"));
    let mut ledger = Ledger(Vec::new());
    let packages = packages(&mut ledger, &one, &two);
    let both = policy(&[&one, &two], r#","threshold":2"#, "");
    let either = policy(&[&one, &two], "", "");
    let generations: BTreeMap<String, u64> = [("web".to_owned(), 5), ("maps".to_owned(), 5)].into();
    let known = Known { generations: generations.clone(), ..Known::default() };
    assert_eq!(told(&both, &packages[0], &known), "accepted");
    let mut seen: BTreeMap<&str, u32> = BTreeMap::new();
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for number in 0..CHANGES {
        let mut state = packages[0].clone();
        for _ in 0..=dice.below(3) {
            change(&mut state, &packages, &mut dice);
        }
        for (policy, threshold) in [(&both, 2), (&either, 1)] {
            let said = told(policy, &state, &known);
            let meant = ledger.means(&state, threshold, &generations);
            assert_eq!(said == "accepted", meant, "{number} by {threshold}: {said}: {state:#?}");
            *seen.entry(said).or_default() += u32::from(state != packages[0]);
        }
    }
    for verdict in ["accepted", "not what was signed", "unsigned", "uncovered", "too few", "older"] {
        assert!(seen.get(verdict).is_some_and(|count| *count > 20), "{verdict} was hardly met: {seen:?}");
    }
}
