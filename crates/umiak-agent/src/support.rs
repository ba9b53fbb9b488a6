//! Everything that somebody far away needs to see of a device in trouble: documents, no contents of apps, no secrets.

use umiak_store::Depth;

use crate::agent::Agent;
use crate::outcome::Silently;
use crate::session::read_journal;

/// One file of a support bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// Its name: one component of a path.
    pub name: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Agent {
    /// The pieces of a support bundle. What cannot be had says why in its place: a bundle is always made.
    #[must_use]
    pub fn support(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut add = |name: &str, text: Result<String, String>| {
            let text = text.unwrap_or_else(|why| format!("cannot be had: {why}\n"));
            pieces.push(Piece { name: name.to_owned(), bytes: text.into_bytes() });
        };
        let json = |value: serde_json::Result<String>| value.map_err(|error| error.to_string());
        add(
            "status.json",
            self.status().map_err(|error| error.line()).and_then(|status| json(serde_json::to_string_pretty(&status))),
        );
        add(
            "target.json",
            match self.target() {
                Ok(Some(asking)) => String::from_utf8(asking.asked.to_bytes()).map_err(|error| error.to_string()),
                Ok(None) => Err("no target is set".to_owned()),
                Err(error) => Err(error.line()),
            },
        );
        add("policy.txt", Ok(format!("{:#?}\n", self.policy)));
        add("engine.txt", self.engine.observe().map(|all| format!("{all:#?}\n")).map_err(|error| error.to_string()));
        let store = self.reading().map_err(|error| error.line());
        let store = store.and_then(|store| store.ok_or_else(|| "there is no store".to_owned()));
        match store {
            Ok(store) => {
                let journal = read_journal(&store).map_err(|error| error.line());
                add("journal.json", journal.and_then(|journal| json(serde_json::to_string_pretty(&journal))));
                let found = store.check(Depth::Names, &Silently).map_err(|error| error.to_string());
                add("store.txt", found.map(|found| found.iter().map(|damage| format!("{damage}\n")).collect()));
            }
            Err(why) => add("journal.json", Err(why)),
        }
        pieces
    }
}
