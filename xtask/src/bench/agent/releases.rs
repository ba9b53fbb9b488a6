//! The releases that devices are updated to: the pairs as Compose Apps in a registry, with the deltas between them.

use super::super::pairs::Layout;
use super::super::registry::server::Server;
use super::super::shell::Shell;
use crate::Failure;

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

    /// Publishes base and target of a pair as releases of one app, and the delta.
    ///
    /// # Errors
    /// umiak fails.
    pub fn publish(&self, shell: &Shell, pair: &Layout) -> Result<(), Failure> {
        let (name, layout) = (&pair.name, pair.directory.display());
        for tag in ["base", "target"] {
            let delta = if tag == "target" { "--delta-from base" } else { "" };
            shell.prepare(&format!(
                "mkdir -p app-{name}; $UMIAK -q copy oci:{layout}:{tag} $REGISTRY/team/{name}:{tag}
                 printf 'services:\\n  main:\\n    image: %s\\n    network_mode: none\\n    restart: \"no\"\\n    \
                     command: [\"{}\"]\\n' $REGISTRY/team/{name}:{tag} > app-{name}/compose.yaml
                 cd app-{name}; $UMIAK -q compose publish {delta} $REGISTRY/team/app-{name}:{tag}",
                command(name)
            ))?;
        }
        Ok(())
    }
}

/// A program that every release of the pair has, that stays or ends well.
fn command(pair: &str) -> &'static str {
    if pair == "d" { "/usr/bin/ruff\", \"--version" } else { "/usr/bin/sleep\", \"infinity" }
}
