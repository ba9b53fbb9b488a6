//! The releases that devices are updated to: the pairs as Compose Apps in a registry, with the deltas between them.

use super::super::pairs::Layout;
use super::super::registry::server::Server;
use super::super::shell::Shell;
use crate::Failure;

/// The pair whose image has one program, and no library that it needs.
const BARE: &str = "d";

/// A registry with what was published there.
pub struct Releases {
    server: Server,
}

impl Releases {
    /// An empty registry; scripts see its address as `$REGISTRY`.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(shell: &mut Shell) -> Result<Self, Failure> {
        let server = Server::start(&shell.directory().join("registry"))?;
        shell.set("REGISTRY", server.address());
        shell.prepare("mkdir -p home")?;
        Ok(Self { server })
    }

    pub fn port(&self) -> u16 {
        self.server.port()
    }

    pub fn address(&self) -> String {
        self.server.address()
    }

    /// Publishes base and target of a pair as releases of one app at `address`, which leads to the registry, and the delta
    /// between them. The images of the services are named by the same address: whatever is fetched passes there.
    ///
    /// # Errors
    /// umiak fails.
    pub fn publish(&self, shell: &Shell, pair: &Layout, address: &str) -> Result<(), Failure> {
        let (name, layout) = (&pair.name, pair.directory.display());
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
        Ok(())
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
