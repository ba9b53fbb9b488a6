//! What people see of umiak: one printer, one progress line, tables, sizes and diagnostics.
//!
//! ```text
//! data  -> stdout   what was asked for: a state, a list, an archive; with --json a JSON document
//! talk  -> stderr   facts, notes, progress, errors; with --json one JSON object per line
//! ```
//!
//! It is also the common ground of the programs: how they begin and end ([`program`]), the flags for talk ([`TalkArgs`]),
//! a command line that was not understood ([`usage_diagnostic`]), panics ([`bug`]) and signals ([`interrupt`]).
//!
//! This crate is a face: it prints, asks the time and looks at the terminal, which no library of umiak does.

pub mod bug;
mod date;
mod diagnostic;
pub mod interrupt;
mod pace;
mod plan;
mod printer;
pub mod program;
mod progress;
mod span;
mod table;
mod talk;
mod text;
mod usage;

pub use date::rfc3339;
pub use diagnostic::{Diagnostic, Kind};
pub use pace::Monotonic;
pub use plan::PlanView;
pub use printer::{Printer, Setup, Verbosity};
pub use progress::Progress;
pub use span::span;
pub use table::{Align, Table};
pub use talk::{ColorWhen, TalkArgs, setup};
pub use text::printable;
pub use umiak_spec::Size;
pub use usage::{USAGE, diagnostic as usage_diagnostic};
