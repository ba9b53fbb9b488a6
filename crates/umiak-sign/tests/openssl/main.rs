//! Signatures that OpenSSL makes, in the forms in which cosign and pvr store them: what holds, and what does not.
#![allow(clippy::unwrap_used)]

mod cosign;
mod dates;
mod generations;
mod states;
mod threshold;
mod tool;
