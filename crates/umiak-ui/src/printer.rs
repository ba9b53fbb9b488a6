//! The one place that prints: what reaches stdout, what reaches stderr, in which form.
//!
//! Guarantees: stdout carries only what was asked for, so it can be piped whatever the talk is; the live progress
//! line is taken away before any other line is written; in JSON form every line on stderr is one JSON object with a
//! `type`: `fact`, `plan`, `happening`, `note`, `warning`, `hint`, `detail`, `heading`, `progress`,
//! `help` or `error`.
//!
//! It does not decide what is worth saying, only where it goes.

use std::io::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::{Map, Value, json};
use umiak_spec::Digest;

use crate::text::short_digests;
use crate::{Diagnostic, Table, printable};

/// How much talk is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    /// Plans, facts and progress.
    #[default]
    Normal,
    /// Also each step, and digests in full.
    Verbose,
}

/// What the printer has to know about the world. The program fills it in; this crate looks at nothing itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Setup {
    /// How much talk.
    pub verbosity: Verbosity,
    /// JSON documents on stdout and JSON lines on stderr.
    pub json: bool,
    /// Colour on stderr (stdout is never coloured).
    pub colour: bool,
    /// Columns of the terminal on stderr; `None` when it is no terminal.
    pub width: Option<usize>,
}

/// Prints data and talk. Shared by reference between threads.
pub struct Printer {
    setup: Setup,
    out: Mutex<Box<dyn Write + Send>>,
    talk: Mutex<Talk>,
}

struct Talk {
    writer: Box<dyn Write + Send>,
    /// A progress line stands on the terminal without a newline.
    live: bool,
}

/// Select Graphic Rendition parameters of the few styles there are.
#[derive(Clone, Copy)]
enum Paint {
    Error,
    Warning,
    Hint,
    Fact,
    Faint,
    Heading,
}

impl Paint {
    const fn parameters(self) -> &'static str {
        match self {
            Self::Error => "1;31",
            Self::Warning => "1;33",
            Self::Hint => "1;36",
            Self::Fact => "1;32",
            Self::Faint => "2",
            Self::Heading => "1",
        }
    }
}

impl Printer {
    /// A printer on the process's stdout and stderr.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        Self::to(setup, Box::new(io::stdout()), Box::new(io::stderr()))
    }

    /// A printer on two writers of the caller.
    #[must_use]
    pub fn to(setup: Setup, out: Box<dyn Write + Send>, talk: Box<dyn Write + Send>) -> Self {
        Self { setup, out: Mutex::new(out), talk: Mutex::new(Talk { writer: talk, live: false }) }
    }

    /// How this printer was set up.
    #[must_use]
    pub const fn setup(&self) -> Setup {
        self.setup
    }

    /// Whether documents and JSON lines are wanted.
    #[must_use]
    pub const fn is_json(&self) -> bool {
        self.setup.json
    }

    /// Whether each step is said.
    #[must_use]
    pub fn is_verbose(&self) -> bool {
        self.setup.verbosity == Verbosity::Verbose
    }

    /// A digest for people: 12 digits, or all of it when verbose.
    #[must_use]
    pub fn digest(&self, digest: &Digest) -> String {
        if self.setup.verbosity == Verbosity::Verbose { digest.to_string() } else { digest.short() }
    }

    /// Writes data to stdout as it is.
    ///
    /// # Errors
    /// What stdout reports; `BrokenPipe` when the reader went away.
    pub fn data(&self, text: &str) -> io::Result<()> {
        let mut out = self.data_writer();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Writes bytes to stdout as they are.
    ///
    /// # Errors
    /// What stdout reports.
    pub fn data_bytes(&self, bytes: &[u8]) -> io::Result<()> {
        let mut out = self.data_writer();
        out.write_all(bytes)?;
        out.flush()
    }

    /// Writes `value` to stdout as one indented JSON document.
    ///
    /// # Errors
    /// What stdout reports.
    pub fn document(&self, value: &(impl Serialize + ?Sized)) -> io::Result<()> {
        let mut text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        text.push('\n');
        self.data(&text)
    }

    /// Stdout for a library that writes an archive. It is locked as long as the guard lives.
    pub fn data_writer(&self) -> impl Write + use<'_> {
        DataWriter(self.out.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A thing done, in the past tense: ` Added     nginx, 7.0 MiB`. Silent when quiet.
    pub fn fact(&self, word: &str, text: &str) {
        if self.setup.verbosity == Verbosity::Quiet {
            return;
        }
        if self.setup.json {
            return self.event("fact", &json!({ "word": word, "text": text }));
        }
        let word = self.painted(Paint::Fact, &format!("{word:<9}"));
        self.talk_line(&format!(" {word} {}", printable(text)));
    }

    /// Something that happened, for programs: one JSON line of type `happening`. People are told it as facts.
    pub fn happened(&self, value: &impl Serialize) {
        if self.setup.json {
            self.event("happening", value);
        }
    }

    /// What is going to be done: the table as text, `value` as a JSON line. Silent when quiet.
    pub fn plan(&self, table: &Table, value: &impl Serialize) {
        match (self.setup.verbosity, self.setup.json) {
            (Verbosity::Quiet, _) => {}
            (_, true) => self.event("plan", value),
            (_, false) => self.talk_raw(&table.to_string()),
        }
    }

    /// A sentence worth knowing that is neither a fact nor a warning. Silent when quiet.
    pub fn note(&self, text: &str) {
        if self.setup.verbosity > Verbosity::Quiet {
            self.said("note", text, &format!(" {}", printable(text)));
        }
    }

    /// A step or a measure that only who asked for `-v` wants.
    pub fn detail(&self, text: &str) {
        if self.setup.verbosity == Verbosity::Verbose {
            self.said("detail", text, &format!(" {}", self.painted(Paint::Faint, &printable(text))));
        }
    }

    /// Something to look at although the command went on. Shown when quiet, too.
    pub fn warning(&self, text: &str) {
        self.said("warning", text, &format!("{} {}", self.painted(Paint::Warning, "warning:"), printable(text)));
    }

    /// Advice that follows a warning or a fact. Silent when quiet.
    pub fn hint(&self, text: &str) {
        if self.setup.verbosity > Verbosity::Quiet {
            self.said("hint", text, &format!("{} {}", self.painted(Paint::Hint, "hint:"), printable(text)));
        }
    }

    /// The heading of a part of a longer story, after an empty line. Silent when quiet.
    pub fn heading(&self, text: &str) {
        if self.setup.verbosity > Verbosity::Quiet {
            self.said("heading", text, &format!("\n{}", self.painted(Paint::Heading, &printable(text))));
        }
    }

    /// A page of help on stderr, for who asked for nothing at all.
    pub fn page(&self, text: &str) {
        if self.setup.json { self.event("help", &json!({ "text": text })) } else { self.talk_raw(text) }
    }

    /// A failure. Always shown. Gives its exit code.
    pub fn failed(&self, diagnostic: &Diagnostic) -> u8 {
        self.show(diagnostic);
        diagnostic.exit
    }

    fn show(&self, diagnostic: &Diagnostic) {
        if self.setup.json {
            return self.event("error", diagnostic);
        }
        let text = diagnostic.render(&self.painted(Paint::Error, "error:"), &self.painted(Paint::Hint, "hint:"));
        match self.setup.verbosity {
            Verbosity::Verbose => self.talk_raw(&text),
            _ => self.talk_raw(&short_digests(&text)),
        }
    }

    /// One JSON line on stderr: `value`'s members after a `type`. A value that is no object becomes `value`.
    pub(crate) fn event(&self, kind: &str, value: &impl Serialize) {
        let mut members = Map::from_iter([("type".to_owned(), Value::from(kind))]);
        match serde_json::to_value(value) {
            Ok(Value::Object(object)) => members.extend(object),
            Ok(other) => drop(members.insert("value".into(), other)),
            Err(error) => drop(members.insert("unprintable".into(), error.to_string().into())),
        }
        self.talk_line(&Value::Object(members).to_string());
    }

    /// A whole line on stderr, above the live line.
    pub(crate) fn talk_line(&self, line: &str) {
        self.talk_raw(&format!("{line}\n"));
    }

    /// Puts `line` on the terminal in place of the last live line.
    pub(crate) fn live(&self, line: &str) {
        let mut talk = self.lock_talk();
        talk.live = true;
        talk.write(&format!("\r\x1b[K{line}"));
    }

    /// Takes the live line away.
    pub(crate) fn end_live(&self) {
        self.talk_raw("");
    }

    fn said(&self, kind: &str, text: &str, line: &str) {
        if self.setup.json { self.event(kind, &json!({ "text": text })) } else { self.talk_line(line) }
    }

    fn talk_raw(&self, text: &str) {
        let mut talk = self.lock_talk();
        let clear = if std::mem::take(&mut talk.live) { "\r\x1b[K" } else { "" };
        talk.write(&format!("{clear}{text}"));
    }

    fn lock_talk(&self) -> MutexGuard<'_, Talk> {
        self.talk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn painted(&self, paint: Paint, text: &str) -> String {
        if self.setup.colour { format!("\x1b[{}m{text}\x1b[0m", paint.parameters()) } else { text.to_owned() }
    }
}

impl Talk {
    /// Nobody can be told that stderr is gone.
    fn write(&mut self, text: &str) {
        let _ = self.writer.write_all(text.as_bytes());
        let _ = self.writer.flush();
    }
}

struct DataWriter<'a>(MutexGuard<'a, Box<dyn Write + Send>>);

impl Write for DataWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::Align;

    /// What a printer wrote, for tests.
    #[derive(Clone, Default)]
    pub(crate) struct Heard(Arc<Mutex<Vec<u8>>>);

    impl Heard {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Heard {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    pub(crate) fn printer(setup: Setup) -> (Printer, Heard, Heard) {
        let (out, talk) = (Heard::default(), Heard::default());
        (Printer::to(setup, Box::new(out.clone()), Box::new(talk.clone())), out, talk)
    }

    fn say_everything(printer: &Printer) {
        let mut table = Table::new(&[Align::Left]);
        table.row(["shop"]);
        printer.plan(&table, &json!({ "apps": ["shop"] }));
        printer.fact("Added", "shop");
        printer.note("noted");
        printer.detail("detailed");
        printer.warning("beware");
        printer.data("data\n").unwrap();
    }

    #[test]
    fn verbosity_decides_what_talk_is_shown_and_never_touches_the_data() {
        let cases = [
            (Verbosity::Quiet, "warning: beware\n"),
            (Verbosity::Normal, " shop\n Added     shop\n noted\nwarning: beware\n"),
            (Verbosity::Verbose, " shop\n Added     shop\n noted\n detailed\nwarning: beware\n"),
        ];
        for (verbosity, expected) in cases {
            let (printer, out, talk) = printer(Setup { verbosity, ..Setup::default() });
            say_everything(&printer);
            assert_eq!((out.text().as_str(), talk.text().as_str()), ("data\n", expected));
        }
    }

    #[test]
    fn in_json_form_every_line_of_talk_is_an_object_with_a_type() {
        let (printer, _, talk) = printer(Setup { json: true, verbosity: Verbosity::Verbose, ..Setup::default() });
        say_everything(&printer);
        let types: Vec<_> = talk.text().lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
        let types: Vec<_> = types.iter().map(|line| line["type"].as_str().unwrap()).collect();
        assert_eq!(types, ["plan", "fact", "note", "detail", "warning"]);
    }

    #[test]
    fn the_live_line_goes_before_other_talk_comes() {
        let (printer, _, talk) = printer(Setup::default());
        printer.live("half");
        printer.note("whole");
        printer.note("next");
        assert_eq!(talk.text(), "\r\x1b[Khalf\r\x1b[K whole\n next\n");
    }

    #[test]
    fn colour_is_only_where_it_was_asked_for() {
        let (plain, _, heard) = printer(Setup::default());
        plain.warning("x");
        assert!(!heard.text().contains('\x1b'));
        let (coloured, _, heard) = printer(Setup { colour: true, ..Setup::default() });
        coloured.warning("x");
        assert_eq!(heard.text(), "\x1b[1;33mwarning:\x1b[0m x\n");
    }
}
