//! How an update gets on, as Pantavisor tells it: a status, a percentage, a message.
//!
//! The document is read with forbearance: devices of several releases write it, a hub passes it on, and a member that is
//! absent says nothing. A status that is not known is neither good nor bad.

use std::fmt;

use umiak_pvr::Value;

use crate::document::{number, object, text};

/// Where an update is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Asked for.
    New,
    /// The first time that device and hub meet.
    Syncing,
    /// The device knows of it.
    Queued,
    /// Its objects come.
    Downloading,
    /// It is installed and tried.
    InProgress,
    /// It runs, and is watched.
    Testing,
    /// It runs; after a restart of the device the one before would be tried first.
    Updated,
    /// It runs, and is what the device comes back to.
    Done,
    /// The device will not do it.
    WontGo,
    /// It was tried, and the device went back to what it ran before.
    Error,
    /// Somebody took it back.
    Cancelled,
    /// A status that Pantavisor has not had so far.
    Other(String),
}

/// What a status means for whoever waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Open,
    /// It runs.
    Good,
    /// It does not.
    Bad,
}

const NAMES: [(&str, Status, u8); 11] = [
    ("NEW", Status::New, 0),
    ("SYNCING", Status::Syncing, 0),
    ("QUEUED", Status::Queued, 5),
    ("DOWNLOADING", Status::Downloading, 25),
    ("INPROGRESS", Status::InProgress, 50),
    ("TESTING", Status::Testing, 75),
    ("UPDATED", Status::Updated, 100),
    ("DONE", Status::Done, 100),
    ("WONTGO", Status::WontGo, 100),
    ("ERROR", Status::Error, 100),
    ("CANCELLED", Status::Cancelled, 100),
];

/// The message of a revision that is on the device and was never run.
const NOT_INSTALLED: &str = "Update not yet installed";

impl Status {
    fn named(name: &str) -> Self {
        let known = NAMES.iter().find(|(known, ..)| known.eq_ignore_ascii_case(name));
        known.map_or_else(|| Self::Other(one_line(name, 40)), |(_, status, _)| status.clone())
    }

    /// How far that is, in percent, when the device does not say.
    #[must_use]
    pub fn percent(&self) -> u8 {
        NAMES.iter().find(|(_, status, _)| status == self).map_or(0, |(.., percent)| *percent)
    }

    /// What it means for whoever waits.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Done | Self::Updated => Verdict::Good,
            Self::WontGo | Self::Error | Self::Cancelled => Verdict::Bad,
            _ => Verdict::Open,
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Other(name) => f.pad(name),
            known => f.pad(NAMES.iter().find(|(_, status, _)| status == known).map_or("", |(name, ..)| name)),
        }
    }
}

/// One look at an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it is.
    pub status: Status,
    /// How far that is, 0 to 100.
    pub percent: u8,
    /// What the device says about it; may be empty.
    pub message: String,
    /// Bytes that the device has fetched, and how many it will, while it fetches.
    pub fetched: Option<(u64, u64)>,
    /// Lines of the device's log, when something went wrong.
    pub log: Option<String>,
}

impl Progress {
    /// Reads a progress document; `None` when it has no status.
    #[must_use]
    pub fn read(document: &Value) -> Option<Self> {
        let status = Status::named(text(document, "status")?);
        let percent = number(document, "progress").and_then(|percent| u8::try_from(percent).ok());
        let percent = percent.filter(|percent| *percent <= 100).unwrap_or_else(|| status.percent());
        let total = object(document, "downloads").and_then(|downloads| object(&downloads, "total"));
        let fetched =
            total.and_then(|total| Some((number(&total, "total_downloaded")?, number(&total, "total_size")?)));
        let message = one_line(text(document, "status-msg").unwrap_or_default(), 300);
        let log = text(document, "logs").or_else(|| text(document, "log")).map(str::to_owned);
        Some(Self { status, percent, message, fetched, log })
    }

    /// Whether the revision lies there and was never run.
    pub(crate) fn is_untouched(&self) -> bool {
        self.status == Status::New || (self.status == Status::InProgress && self.message == NOT_INSTALLED)
    }
}

fn one_line(text: &str, most: usize) -> String {
    let text: String = text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect();
    text.trim().chars().take(most).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Option<Progress> {
        Progress::read(&Value::parse(text.as_bytes(), 10_000).unwrap())
    }

    #[test]
    fn a_document_of_a_device_is_read() {
        let progress = read(
            r#"{"status":"DOWNLOADING","status-msg":"Downloading update artifacts, retry 1 of 10","progress":25,"retries":0,
            "downloads":{"total":{"object_name":"total","object_id":"none","total_size":3000,"total_downloaded":"1000"}}}"#,
        );
        let progress = progress.unwrap();
        assert_eq!(
            (progress.status.clone(), progress.percent, progress.fetched),
            (Status::Downloading, 25, Some((1000, 3000)))
        );
        assert_eq!(progress.status.verdict(), Verdict::Open);
        assert_eq!(read(r#"{"status":"done"}"#).unwrap().percent, 100);
        assert_eq!(read(r#"{"status":"TESTING","progress":"80"}"#).unwrap().percent, 80);
        assert_eq!(read(r#"{"status":"QUEUED","progress":900}"#).unwrap().percent, 5);
    }

    #[test]
    fn what_says_nothing_is_nothing() {
        for text in ["{}", "[]", "null", r#"{"status":""}"#, r#"{"status":7}"#] {
            assert_eq!(read(text), None, "{text}");
        }
        let other = read(r#"{"status":"THAWING\n","status-msg":"a\nb"}"#).unwrap();
        assert_eq!((other.status.to_string().as_str(), other.status.verdict()), ("THAWING", Verdict::Open));
        assert_eq!(other.message, "a b");
    }

    proptest::proptest! {
        #[test]
        fn whatever_is_sent_is_read_or_not_and_shown_on_one_line(
            status in "\\PC{0,60}|\\x00{0,3}|[A-Z]{0,12}",
            percent in "-?[0-9]{1,20}|\"[0-9]{0,4}\"|null|\\[\\]",
            text in "(\\PC|\n|\t|\u{1b}){0,400}",
        ) {
            let document = Value::object([
                ("status", Value::from(status)),
                ("progress", Value::parse(percent.as_bytes(), 100).unwrap_or_default()),
                ("status-msg", Value::from(text)),
            ]);
            if let Some(progress) = Progress::read(&document) {
                proptest::prop_assert!(progress.percent <= 100);
                let shown = format!("{} {}", progress.status, progress.message);
                proptest::prop_assert!(shown.chars().count() < 400 && !shown.contains(char::is_control));
            }
        }
    }

    #[test]
    fn each_status_has_a_verdict_and_prints_as_it_is_written() {
        let verdict = |name: &str| Status::named(name).verdict();
        assert!(["DONE", "UPDATED"].iter().all(|name| verdict(name) == Verdict::Good));
        assert!(["WONTGO", "ERROR", "CANCELLED"].iter().all(|name| verdict(name) == Verdict::Bad));
        for (name, status, _) in NAMES {
            assert_eq!(status.to_string(), name);
        }
        assert_eq!(format!("{:<8}|", Status::New), "NEW     |");
    }
}
