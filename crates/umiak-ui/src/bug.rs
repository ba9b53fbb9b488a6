//! What happens when a program of umiak itself is wrong: exit code 70, and a text that says where and how to report it.
//!
//! A panic anywhere, in any thread, becomes that text instead of a backtrace; whatever a command returns afterwards
//! is not believed.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Mutex, PoisonError};

use crate::Diagnostic;

/// Exit code of our own bugs (EX_SOFTWARE of sysexits).
pub const BUG: u8 = 70;

static FIRST_PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Which program it was, and what its user may rely on all the same.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// Its name.
    pub name: &'static str,
    /// Its version, from its own manifest.
    pub version: &'static str,
    /// What holds whatever went wrong: the first hint.
    pub intact: &'static str,
}

/// Runs `work`; a panic in it or in a thread that it started becomes a diagnostic.
///
/// # Errors
/// The diagnostic of the first panic.
pub fn caught<T>(program: Program, work: impl FnOnce() -> T) -> Result<T, Box<Diagnostic>> {
    let before = panic::take_hook();
    panic::set_hook(Box::new(|info| {
        let mut first = FIRST_PANIC.lock().unwrap_or_else(PoisonError::into_inner);
        first.get_or_insert_with(|| info.to_string());
    }));
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(before);
    let panicked = FIRST_PANIC.lock().unwrap_or_else(PoisonError::into_inner).take();
    match (result, panicked) {
        (Ok(value), None) => Ok(value),
        (_, panicked) => Err(Box::new(diagnostic(program, panicked.as_deref().unwrap_or("a panic without a message")))),
    }
}

fn diagnostic(program: Program, panicked: &str) -> Diagnostic {
    let Program { name, version, intact } = program;
    Diagnostic {
        message: format!("{name} made a mistake of its own and stopped"),
        causes: panicked.lines().map(str::to_owned).collect(),
        outcome: Some(format!("{name} {version}, {} {}", std::env::consts::OS, std::env::consts::ARCH)),
        hints: vec![intact.into(), "please report this with the lines above and the command that was run".into()],
        exit: BUG,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: Program = Program { name: "umiak", version: "1", intact: "nothing is lost" };

    #[test]
    fn a_panic_in_any_thread_becomes_exit_code_70() {
        let told = caught(PROGRAM, || panic!("index out of range")).unwrap_err();
        assert_eq!(told.exit, 70);
        assert!(told.causes.iter().any(|cause| cause.contains("index out of range")), "{:?}", told.causes);
        assert!(told.causes.iter().any(|cause| cause.contains("bug.rs")), "{:?}", told.causes);
        let hidden = caught(PROGRAM, || std::thread::spawn(|| panic!("in a thread")).join().is_err());
        assert!(hidden.is_err());
        assert_eq!(caught(PROGRAM, || 7).ok(), Some(7));
    }
}
