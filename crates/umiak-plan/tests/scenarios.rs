//! Named scenarios: each known mistake of other fit checks, and each promise of this one, as a device and a transcript.
//!
//! `scenarios/NAME.txt` is played and compared with `scenarios/NAME.transcript`; `UMIAK_SNAPSHOTS=write` rewrites them.

mod counted;
mod scenario;

use std::path::{Path, PathBuf};

#[test]
fn every_scenario_has_its_transcript() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scenarios");
    let mut all: Vec<PathBuf> = std::fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "txt"));
    all.sort();
    assert!(all.len() >= 15, "only {} scenarios", all.len());
    let mut wrong = Vec::new();
    for path in all {
        let played = scenario::play(&std::fs::read_to_string(&path).unwrap());
        let expected = path.with_extension("transcript");
        if std::env::var_os("UMIAK_SNAPSHOTS").is_some_and(|word| word == "write") {
            std::fs::write(&expected, &played).unwrap();
        } else if std::fs::read_to_string(&expected).unwrap_or_default() != played {
            wrong.push(format!("{}:\n{played}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
