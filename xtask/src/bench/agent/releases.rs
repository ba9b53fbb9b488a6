//! The releases that devices are updated to: the pairs as Compose Apps in a registry, with the deltas between them.

use std::fs;
use std::path::{Path, PathBuf};

use super::super::pairs::{Layout, sha256};
use super::super::registry::line::Line;
use super::super::registry::server::Server;
use super::super::shell::Shell;
use crate::Failure;

/// The pair whose image has one program, and no library that it needs.
const BARE: &str = "d";

/// A registry with what was published there.
pub struct Releases {
    server: Server,
    /// Remembers from one run to the next what was published by this umiak, and at which port.
    notes: Option<PathBuf>,
}

impl Releases {
    /// A registry, empty but for what an earlier run left in `cache`; scripts see its address as `$REGISTRY`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(shell: &mut Shell, umiak: &Path, cache: Option<&Path>) -> Result<Self, Failure> {
        // What another umiak published is another matter.
        let notes = cache.map(|cache| Ok::<_, Failure>(cache.join(format!("agent-{}", &sha256(umiak)?[..12]))));
        let notes = notes.transpose()?;
        let directory = notes.clone().unwrap_or_else(|| shell.directory().join("registry"));
        let server = Server::start(&directory)?;
        shell.set("REGISTRY", server.address());
        shell.prepare("mkdir -p home")?;
        Ok(Self { server, notes })
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Publishes base and target of a pair as releases of one app, and the delta between them; gives the line that leads to
    /// them. The images of the services are named by the line, too: whatever is fetched passes there.
    ///
    /// # Errors
    /// umiak fails.
    pub fn publish(&self, shell: &Shell, pair: &Layout) -> Result<Line, Failure> {
        let (name, layout) = (&pair.name, pair.directory.display());
        let note = self.notes.as_ref().map(|notes| notes.join(format!("{name}.port")));
        let known = note.as_ref().and_then(|note| fs::read_to_string(note).ok()?.trim().parse().ok());
        let line = Line::start_at(known.unwrap_or(0), self.port())?;
        if known.is_some() {
            return Ok(line);
        }
        eprintln!("publishing {name}");
        let address = line.address();
        for tag in ["base", "target"] {
            let delta = if tag == "target" { "--delta-from base" } else { "" };
            shell.prepare(&format!(
                r#"mkdir -p app-{name}; $UMIAK -q copy oci:{layout}:{tag} {address}/team/{name}:{tag}
                 cat > app-{name}/compose.yaml <<'END'
services:
  main:
    image: {address}/team/{name}:{tag}
    network_mode: none
    restart: "no"
{}
END
                 cd app-{name}; $UMIAK -q compose publish {delta} {address}/team/app-{name}:{tag}"#,
                service(name)
            ))?;
        }
        if let Some(note) = note {
            fs::write(note, line.port().to_string()).map_err(|error| error.to_string())?;
        }
        Ok(line)
    }
}

/// A word on the command line of the pair's service.
pub fn word(pair: &str) -> String {
    format!("umiak-bench-{pair}")
}

/// What the service runs: a shell that stops at once when it is told to. The pair without one borrows the device's.
fn service(pair: &str) -> String {
    let word = word(pair);
    let command = format!(
        r#"    command: ["/bin/sh", "-c", ": {word}; trap 'exit 0' TERM; while :; do sleep 1 & wait $$!; done"]"#
    );
    if pair != BARE {
        return command;
    }
    format!("{command}\n    volumes: [/bin:/bin:ro, /lib:/lib:ro, /lib64:/lib64:ro]")
}
