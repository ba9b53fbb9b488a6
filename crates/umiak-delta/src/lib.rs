//! Binary deltas: from the bytes a device has to the bytes it shall have, in as few bytes between as can be.

pub mod align;
pub mod deflate;
pub mod exe;
pub mod foreign;
mod suffix;
pub mod varint;

mod settle;

pub use align::{Copy, align};
pub use settle::Settle;
