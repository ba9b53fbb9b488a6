//! The program `umiakd`. All of it is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    umiakd::main()
}
