//! What people see of umiak: one printer, one progress line, tables, sizes and diagnostics.
//!
//! ```text
//! data  -> stdout   what was asked for: a state, a list, an archive; with --json a JSON document
//! talk  -> stderr   facts, notes, progress, errors; with --json one JSON object per line
//! ```
//!
//! This crate is a face: it prints and asks the time, which no library of umiak does. It does not read the
//! environment; whether there is a terminal, how wide it is and whether colour is wanted is told to it ([`Setup`]).

mod diagnostic;
mod printer;
mod progress;
mod size;
mod table;
mod text;

pub use diagnostic::Diagnostic;
pub use printer::{Printer, Setup, Verbosity};
pub use progress::Progress;
pub use size::{Size, span};
pub use table::{Align, Table};
pub use text::printable;
