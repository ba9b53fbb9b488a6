//! Verdicts about pvr states, as somebody sees them who wants one that is not meant: signatures carried from one package to
//! another, signers counted twice, old releases under new numbers. Keys are made of seeds, so that nothing else is needed.
#![allow(clippy::unwrap_used)]

mod carried;
mod generations;
mod hand;
mod mutations;
