//! The shim as a program of its own, a tenth of `umiakd`'s size: for tests, and for devices that want it so.
//!
//! What it does is described in `umiak_engine::oci::shim`; people have no use for it.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::SystemTime;

use umiak_engine::oci::shim;

struct Clock;

impl shim::Clock for Clock {
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }
}

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    ExitCode::from(shim::run(&arguments, &Clock))
}
