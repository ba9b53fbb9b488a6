//! What only the kernel can do for a device: loop devices, squashfs images, overlay stacks, network namespaces, signals.
//!
//! ```text
//! image files, topmost first --loops--> block devices --stack--> one overlay at a mount point
//! /proc/self/mountinfo       --table--> what is mounted where, also by a process that is no more
//! ```
//!
//! Guarantees: nothing is kept in memory that the kernel does not know: a mount made here is found again by
//! [`table::Table::read`] after the process ended, and its loop devices go when it goes. Every call can be repeated.
//! This is the only crate with unsafe code: ioctls on loop devices and interfaces, unsharing a namespace, a signal
//! descriptor; each with the reason why it is sound. It knows no store and no container.

#![allow(unsafe_code)]

mod durable;
mod error;
mod loops;
pub mod namespace;
pub mod signals;
mod stack;
pub mod table;
mod unmount;

pub use error::MountError;
pub use loops::{LoopDevice, SECTOR};
pub use stack::{LOWERS_MAX, Stack, Upper, bind};
pub use unmount::{Unmounted, unmount};
