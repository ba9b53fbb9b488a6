//! Programs: copies between ELF files whose references are predicted.
//!
//! When a function moves, every branch to it, every pointer, every table entry that names it changes, though nothing else did. The references
//! of the base are known from its headers and instructions; in copies they are made to point where their targets are now, and
//! only what is still wrong is in the delta. `docs/formats/delta-executables.md` is the specification.
//!
//! What cannot be parsed is not a program; a base that is not what the maker had gives wrong bytes at worst, which the digests find.

mod arm64;
mod elf;
mod finder;
mod form;
mod frames;
mod labels;
mod learned;
mod predict;
mod space;
mod window;
mod x86;

use std::io;

pub use form::Form;
pub use labels::{Labelled, Programs};
pub use predict::predict;

/// A program cannot be patched.
#[derive(Debug, thiserror::Error)]
pub enum ExeError {
    /// The base has no headers that are understood.
    #[error("the base is no program that is understood")]
    Base,
    /// What the delta notes of the target's segments.
    #[error("read the segments of a program")]
    Note(#[source] io::Error),
    /// Base, delta or output.
    #[error("patch a program")]
    Io(#[from] io::Error),
}
