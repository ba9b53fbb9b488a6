//! The application in the demo's images: an information kiosk, as far as a container's life goes.
//!
//! It reads its settings, opens if the page that they name is there, says so and stays until it is told to end. Its probe
//! looks at the same and ends. It has no screen.

use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::failed;
use crate::cli::KioskArgs;
use crate::context::Context;
use crate::error::{Failure, Kind, Outcome};

const SETTINGS: &str = "/etc/kiosk/settings.json";

/// How often it looks whether it is to end.
const NAP: Duration = Duration::from_millis(50);

/// Runs it.
///
/// # Errors
/// It cannot open: its settings cannot be read, or name a page that is not there.
pub fn run(context: &Context<'_>, arguments: &KioskArgs) -> Outcome {
    let open = open(Path::new(SETTINGS))?;
    if arguments.probe {
        return Ok(());
    }
    context.printer.data(&format!("{open}\n"))?;
    while !context.interrupted.load(Ordering::Relaxed) {
        thread::sleep(NAP);
    }
    Ok(context.printer.data("closed\n")?)
}

/// What it says when it opens.
fn open(settings: &Path) -> Result<String, Failure> {
    let text = fs::read(settings).map_err(failed("read", settings))?;
    let read: Value = serde_json::from_slice(&text).unwrap_or_default();
    let wrong = |what: &str| Failure::new(Kind::Environment, format!("cannot open: {}: {what}", settings.display()));
    let (Some(title), Some(release), Some(start)) =
        (read["title"].as_str(), read["release"].as_u64(), read["start"].as_str())
    else {
        return Err(wrong("title, release and start are not all there"));
    };
    if !Path::new(start).is_file() {
        return Err(wrong(&format!("start is {start}, which is not there")));
    }
    Ok(format!("{title}, release {release}: open"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_opens_only_where_its_first_page_is() {
        let path = std::env::temp_dir().join(format!("umiak-kiosk-{}", std::process::id()));
        let open_with = |start: &str| {
            let settings = serde_json::json!({ "title": "Kiosk", "release": 2, "start": start });
            fs::write(&path, settings.to_string()).unwrap();
            open(&path).map_err(|failure| format!("{failure:?}"))
        };
        assert_eq!(open_with("/proc/self/exe").unwrap(), "Kiosk, release 2: open");
        let wrong = open_with("/nonexistent/page.html").unwrap_err();
        assert!(wrong.contains("start is /nonexistent/page.html, which is not there"), "{wrong}");
        fs::write(&path, "{}").unwrap();
        assert!(open(&path).is_err());
        fs::remove_file(&path).unwrap();
    }
}
