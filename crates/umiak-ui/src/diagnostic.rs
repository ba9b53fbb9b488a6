//! An error as people read it: what failed, why, what was changed, what to do next.
//!
//! ```text
//! error: cannot add app `nginx`
//!   registry.example/nginx:1: manifest unknown
//!   nothing was changed
//!
//! hint: look at the tag: skopeo list-tags docker://registry.example/nginx
//! ```

use std::io;
use std::path::Path;

use serde::Serialize;

use crate::printable;

/// Whose affair a failure is; the number is the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Files, disks, permissions, programs.
    Environment = 1,
    /// The command does not make sense as it stands.
    Usage = 2,
    /// There is not enough room.
    DoesNotFit = 3,
    /// Bytes are not what they should be.
    Untrusted = 4,
    /// A server or the way to it.
    Network = 5,
    /// The device went back to what it ran before.
    RolledBack = 6,
}

/// What most failures leave behind: our writers guarantee it.
const UNCHANGED: &str = "nothing was changed";

/// One failure, ready to be shown as text or as a JSON line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// What was attempted and failed.
    pub message: String,
    /// Why, outermost cause first.
    pub causes: Vec<String>,
    /// What the failure left behind, when it is certain: `nothing was changed`.
    pub outcome: Option<String>,
    /// What to do next, most useful first.
    pub hints: Vec<String>,
    /// The exit code that goes with it.
    pub exit: u8,
}

impl Diagnostic {
    /// A diagnostic without outcome and hints, with the causes of `error`'s `source` chain.
    ///
    /// A cause whose text the line above already ends with is left out: several libraries repeat their source.
    #[must_use]
    pub fn from_error(error: &(dyn std::error::Error + 'static), exit: u8) -> Self {
        let message = without_number(&error.to_string()).to_owned();
        let mut causes: Vec<String> = Vec::new();
        let mut source = error.source();
        while let Some(cause) = source {
            let text = cause.to_string();
            let text = without_number(&text);
            if !causes.last().unwrap_or(&message).ends_with(text) {
                causes.push(text.to_owned());
            }
            source = cause.source();
        }
        Self { message, causes, outcome: None, hints: Vec::new(), exit }
    }

    /// Something that a program itself found; nothing was changed.
    #[must_use]
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        let outcome = Some(UNCHANGED.into());
        Self { message: message.into(), causes: Vec::new(), outcome, hints: Vec::new(), exit: kind as u8 }
    }

    /// A library's error; nothing was changed.
    #[must_use]
    pub fn caused(error: &(dyn std::error::Error + 'static), kind: Kind) -> Self {
        Self { outcome: Some(UNCHANGED.into()), ..Self::from_error(error, kind as u8) }
    }

    /// A file operation of a program's own: `cannot create x: …`; nothing was changed.
    #[must_use]
    pub fn of_io(action: &str, path: &Path, error: &io::Error, kind: Kind) -> Self {
        let told = Self::caused(error, kind);
        Self { message: format!("cannot {action} {}: {}", path.display(), told.message), ..told }
    }

    /// Stdout cannot be written to; `None` when whoever read it went away: nothing is wrong and nobody listens.
    #[must_use]
    pub fn of_stdout(error: &io::Error) -> Option<Self> {
        let told = Self::from_error(error, Kind::Environment as u8);
        let message = format!("cannot write to stdout: {}", told.message);
        (error.kind() != io::ErrorKind::BrokenPipe).then_some(Self { message, ..told })
    }

    /// The text form; `error_mark` and `hint_mark` are the two words in front, coloured or not.
    pub(crate) fn render(&self, error_mark: &str, hint_mark: &str) -> String {
        let mut text = format!("{error_mark} {}\n", printable(&self.message));
        for line in self.causes.iter().chain(&self.outcome).flat_map(|cause| cause.lines()) {
            text.push_str(&format!("  {}\n", printable(line)));
        }
        if !self.hints.is_empty() {
            text.push('\n');
        }
        for hint in &self.hints {
            text.push_str(&format!("{hint_mark} {}\n", printable(hint)));
        }
        text
    }
}

/// A system error's text without ` (os error 2)` behind it: the words say it.
fn without_number(text: &str) -> &str {
    match text.rsplit_once(" (os error ") {
        Some((words, number)) if number.trim_end_matches(')').parse::<i32>().is_ok() => words,
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_has_error_causes_outcome_and_hint_in_that_order() {
        let diagnostic = Diagnostic {
            message: "cannot read `x`".into(),
            causes: vec!["a layer is truncated".into()],
            outcome: Some("nothing was changed".into()),
            hints: vec!["fetch it again".into()],
            exit: 4,
        };
        let text = "error: cannot read `x`\n  a layer is truncated\n  nothing was changed\n\nhint: fetch it again\n";
        assert_eq!(diagnostic.render("error:", "hint:"), text);
    }

    #[test]
    fn causes_that_only_repeat_the_line_above_are_left_out() {
        #[derive(Debug)]
        struct Outer(io::Error);
        impl std::fmt::Display for Outer {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "cannot open x: {}", self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let missing = Diagnostic::from_error(&io::Error::from_raw_os_error(2), 1);
        assert_eq!(missing.message, "No such file or directory");
        let diagnostic = Diagnostic::from_error(&Outer(io::Error::other("denied")), 1);
        assert_eq!((diagnostic.message.as_str(), diagnostic.causes.len()), ("cannot open x: denied", 0));
    }
}
