//! Shared test equipment: sample images, a failing HTTP server, kernel mounts, real peers.
#![allow(clippy::disallowed_methods, reason = "test equipment works in scratch directories")]

pub mod blocklog;
pub mod cosign;
pub mod crash;
pub mod device;
pub mod disk;
pub mod dockerd;
pub mod ferro;
pub mod guest;
pub mod http;
pub mod observer;
pub mod overlay2;
pub mod pantavisor;
pub mod random;
pub mod registry;
pub mod sample;
pub mod tar;
pub mod volume;
