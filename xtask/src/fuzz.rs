//! `cargo xtask fuzz`: a few seconds of each fuzz target, when `cargo fuzz` is there.
//!
//! The crates' own mutation tests run everywhere and stand in where it is not; this says which of the two it was.

use std::process::Stdio;

use crate::{Failure, command};

/// Runs every target for `seconds`.
///
/// # Errors
/// A target found something, or does not build.
pub fn run(seconds: u32) -> Result<(), Failure> {
    let mut probe = command::cargo();
    let probe = probe.args(["fuzz", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !probe.is_ok_and(|status| status.success()) {
        eprintln!("cargo fuzz is not installed: the mutation tests of the crates stand in for the fuzz targets");
        return Ok(());
    }
    let list = command::cargo().args(["fuzz", "list"]).output();
    let list = list.map_err(|error| format!("cannot list the fuzz targets: {error}"))?;
    for target in String::from_utf8_lossy(&list.stdout).split_whitespace() {
        let mut fuzz = command::cargo();
        // Without a sanitizer it needs no nightly compiler; there is no unsafe code to watch.
        fuzz.args(["fuzz", "run", "--sanitizer", "none", target, "--", &format!("-max_total_time={seconds}")]);
        command::run(fuzz.env("RUSTC_BOOTSTRAP", "1"))?;
    }
    Ok(())
}
