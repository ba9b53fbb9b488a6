//! Ctrl-C, SIGTERM and SIGHUP: the first one asks the work to stop, the second one ends the program.
//!
//! Work that is asked to stop gives up at its next check and leaves files as they were; ending at once is safe as
//! well (files are written beside and renamed) but may leave a temporary file.

use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Exit code of a second Ctrl-C: stopped by the environment.
const STOPPED: i32 = 1;

/// Starts to listen. The flag is set from the first signal on.
///
/// # Errors
/// The system's, when signals cannot be handled; the flag then never changes and a signal ends the program.
pub fn listen() -> Result<&'static AtomicBool, ctrlc::Error> {
    listen_and(|| ())
}

/// The same; `told` is called at the first signal, on the signal's own thread.
///
/// # Errors
/// As [`listen`].
pub fn listen_and(told: impl Fn() + Send + 'static) -> Result<&'static AtomicBool, ctrlc::Error> {
    ctrlc::set_handler(move || {
        if ASKED.swap(true, Ordering::Relaxed) {
            #[expect(clippy::exit, reason = "a second Ctrl-C is asked for at once, from the signal's own thread")]
            std::process::exit(STOPPED);
        }
        told();
    })?;
    Ok(&ASKED)
}

/// The flag, for when nobody listens.
#[must_use]
pub fn never() -> &'static AtomicBool {
    &ASKED
}
