//! Binary deltas: from the bytes a device has to the bytes it shall have, in as few bytes between as can be.

#![allow(
    clippy::cast_possible_truncation,
    reason = "a codec cuts numbers into bytes; what comes from a delta is checked"
)]

mod align;
pub mod apply;
mod codec;
pub mod container;
mod correct;
pub mod deflate;
pub mod divide;
mod error;
pub mod exe;
pub mod foreign;
pub mod index;
pub mod inspect;
pub mod make;
mod model;
pub mod names;
mod patch;
mod piece;
pub mod plan;
mod reading;
pub mod streams;
mod suffix;
pub mod varint;

pub use align::{Aligner, Copy, align};
pub use apply::{Scratch, Space, apply};
pub use codec::Effort;
pub use error::DeltaError;
pub use make::{MakeOptions, make};
pub use reading::Delta;
