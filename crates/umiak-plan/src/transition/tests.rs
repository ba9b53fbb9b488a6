//! Every phase with every event, and what holds after any sequence of events.

use proptest::prelude::*;
use umiak_spec::Digest;

use super::{Duty, Event, OLDER, Phase, REMEMBERED, Refusal, Rules, State};

fn revision(number: u8) -> Digest {
    Digest::of(&[number])
}

fn phases() -> Vec<Phase> {
    let target = revision(2);
    vec![
        Phase::Rest,
        Phase::Staging { target },
        Phase::Staged { target },
        Phase::Switching { target, boots: 0 },
        Phase::Testing { target, boots: 0 },
        Phase::Returning { failed: target, why: "unhealthy".into() },
    ]
}

fn events() -> Vec<Event> {
    let why = || "unhealthy".to_owned();
    vec![
        Event::Begin { target: revision(3), again: false },
        Event::Staged,
        Event::GaveUp,
        Event::Dropped,
        Event::Go,
        Event::Switched,
        Event::Good,
        Event::Bad { why: why() },
        Event::Boot,
        Event::Returned,
        Event::Disliked { revision: revision(1), why: why() },
        Event::Pin(revision(4)),
        Event::Unpin(revision(4)),
        Event::Forget(revision(5)),
    ]
}

/// The table as people read it: a column a phase, a row an event.
#[test]
fn the_table() {
    let state = |phase| State { current: Some(revision(1)), phase, ..State::default() };
    let mut table = String::new();
    for event in events() {
        let name = format!("{event:?}");
        let name = name.split([' ', '(']).next().unwrap_or_default();
        table.push_str(&format!("{name:9}"));
        for phase in phases() {
            let cell = match state(phase).after(&event, &Rules::default()) {
                Ok(next) => format!("{:?}", next.phase).split(' ').next().unwrap_or_default().to_owned(),
                Err(Refusal::Busy(_)) => "busy".into(),
                Err(_) => "-".into(),
            };
            table.push_str(&format!(" {cell:9}"));
        }
        table.push('\n');
    }
    let lines: Vec<&str> = table.lines().map(str::trim_end).collect();
    let expected = [
        "Begin     Staging   Staging   Staging   busy      busy      busy",
        "Staged    -         Staged    Staged    -         -         -",
        "GaveUp    Rest      Rest      Rest      -         -         -",
        "Dropped   Rest      Rest      Rest      -         -         -",
        "Go        -         -         Switching Switching -         -",
        "Switched  -         -         -         Testing   Testing   -",
        "Good      -         -         -         -         Rest      -",
        "Bad       -         -         -         Returning Returning Returning",
        "Boot      Rest      Staging   Staged    Switching Switching Returning",
        "Returned  -         -         -         -         -         Rest",
        "Disliked  Rest      Staging   Staged    Switching Testing   Returning",
        "Pin       Rest      Staging   Staged    Switching Testing   Returning",
        "Unpin     Rest      Staging   Staged    Switching Testing   Returning",
        "Forget    Rest      Staging   Staged    Switching Testing   Returning",
    ];
    assert_eq!(lines, expected, "\n{table}");
}

fn follow(state: &mut State, events: &[Event]) {
    for event in events {
        *state = state.after(event, &Rules::default()).expect("in turn");
    }
}

fn update(state: &mut State, number: u8) {
    let begin = Event::Begin { target: revision(number), again: false };
    follow(state, &[begin, Event::Staged, Event::Go, Event::Switched, Event::Good]);
}

#[test]
fn an_update_makes_current_previous() {
    let mut state = State::default();
    for number in 1..=4 {
        update(&mut state, number);
    }
    assert_eq!((state.current, state.previous), (Some(revision(4)), Some(revision(3))));
    assert_eq!(state.older, [revision(2), revision(1)]);
    assert_eq!(state.kept(&Rules::default()).len(), 2);
    assert_eq!(state.kept(&Rules { older: 1, ..Rules::default() }).len(), 3);
    // Back to one that is older: it is not named twice.
    update(&mut state, 2);
    assert_eq!((state.current, state.previous), (Some(revision(2)), Some(revision(4))));
    assert_eq!(state.older, [revision(3), revision(1)]);
}

#[test]
fn a_failed_revision_is_not_begun_again_until_asked() {
    let mut state = State::default();
    update(&mut state, 1);
    let bad = Event::Bad { why: "web is unhealthy".into() };
    let begin = |again| Event::Begin { target: revision(2), again };
    follow(&mut state, &[begin(false), Event::Staged, Event::Go, bad, Event::Returned]);
    assert_eq!((state.current, state.runs()), (Some(revision(1)), Some(revision(1))));
    let refusal = state.after(&begin(false), &Rules::default()).unwrap_err();
    assert_eq!(refusal, Refusal::Failed { revision: revision(2), why: "web is unhealthy".into() });
    update(&mut state, 3);
    follow(&mut state, &[begin(true)]);
    assert!(state.failed.is_empty(), "a new attempt has a new verdict");
}

#[test]
fn starts_of_the_machine_are_bounded_and_start_the_window_anew() {
    let mut state = State::default();
    update(&mut state, 1);
    let begin = Event::Begin { target: revision(2), again: false };
    follow(&mut state, &[begin, Event::Staged, Event::Go, Event::Switched]);
    for boots in 1..=3 {
        follow(&mut state, &[Event::Boot]);
        assert_eq!(state.phase, Phase::Switching { target: revision(2), boots });
        follow(&mut state, &[Event::Switched]);
    }
    follow(&mut state, &[Event::Boot]);
    assert_eq!((state.duty(), state.runs()), (Duty::Return(revision(2)), Some(revision(1))));
}

fn any_event() -> impl Strategy<Value = Event> {
    let digest = || (0_u8..6).prop_map(revision);
    prop_oneof![
        4 => (digest(), any::<bool>()).prop_map(|(target, again)| Event::Begin { target, again }),
        4 => Just(Event::Staged),
        1 => Just(Event::GaveUp),
        1 => Just(Event::Dropped),
        4 => Just(Event::Go),
        4 => Just(Event::Switched),
        3 => Just(Event::Good),
        2 => Just(Event::Bad { why: "x".repeat(5000) }),
        2 => Just(Event::Boot),
        2 => Just(Event::Returned),
        1 => digest().prop_map(|revision| Event::Disliked { revision, why: String::new() }),
        1 => digest().prop_map(Event::Pin),
        1 => digest().prop_map(Event::Unpin),
        1 => digest().prop_map(Event::Forget),
    ]
}

proptest! {
    #[test]
    fn what_holds_after_any_sequence(events in prop::collection::vec(any_event(), 0..120)) {
        let rules = Rules::default();
        let mut state = State::default();
        for event in events {
            let Ok(next) = state.after(&event, &rules) else { continue };
            // Only a commit changes what is current, and it becomes previous.
            if next.current != state.current {
                prop_assert_eq!(&event, &Event::Good);
                prop_assert_eq!(next.current, state.target());
                prop_assert!(next.previous == state.current);
            }
            // What is current or runs is never pruned.
            let kept = next.kept(&rules);
            prop_assert!(next.current.iter().chain(&next.previous).all(|revision| kept.contains(revision)));
            prop_assert!(next.runs().is_none_or(|revision| kept.contains(&revision)));
            // Nothing is current and previous, and no revision is listed twice.
            let mut line: Vec<_> = next.current.iter().chain(&next.previous).chain(&next.older).collect();
            let length = line.len();
            line.sort();
            line.dedup();
            prop_assert_eq!(line.len(), length);
            prop_assert!(next.older.len() <= OLDER && next.failed.len() <= REMEMBERED);
            // A target is neither current nor marked as failed, but for one that a person disliked meanwhile.
            prop_assert!(next.target().is_none_or(|target| Some(target) != next.current));
            // Told twice is told once, where it is not refused.
            if let Ok(again) = next.after(&event, &rules)
                && !matches!(event, Event::Boot | Event::Disliked { .. })
            {
                prop_assert_eq!(&again, &next);
            }
            // It survives being written down.
            let text = serde_json::to_string(&next).unwrap();
            prop_assert_eq!(serde_json::from_str::<State>(&text).unwrap(), next.clone());
            state = next;
        }
        // From anywhere a device comes to rest by itself.
        for event in [Event::GaveUp, Event::Bad { why: String::new() }, Event::Returned] {
            state = state.after(&event, &rules).unwrap_or(state);
        }
        prop_assert_eq!(state.duty(), Duty::Rest);
    }
}
