//! Shared test equipment: sample images, a failing HTTP server, kernel mounts, real peers.

pub mod disk;
pub mod http;
pub mod random;
pub mod registry;
pub mod sample;
