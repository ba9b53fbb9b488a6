//! What a container has of the network: `lxc.net.0`, `lxc.namespace.keep` and the `network` of its `run.json`.
//!
//! As LXC has it: a container that keeps the device's network is on it; one without network devices has its loopback.

use umiak_spec::service::{Attachment, Network, Private};

use super::found::At;
use super::manifest::Manifest;

/// The network of those that are on a Pantavisor's bridge: all containers of the device, and by it the world.
const BRIDGE: &str = "default";

/// What the lines of a configuration say.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// The device's network is kept.
    pub(super) kept: bool,
    kind: Option<Kind>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Empty,
    Bridge,
    /// Refused.
    Other,
}

impl Asked {
    /// A line; whether it is one of a network.
    pub(super) fn line(&mut self, key: &str, value: &str, at: &At<'_>) -> bool {
        let Some(name) = key.strip_prefix("lxc.net.") else { return false };
        match (name, value) {
            ("0.type", "empty") => self.kind = Some(Kind::Empty),
            ("0.type", "none") => self.kept = true,
            ("0.type", "veth") => self.kind = Some(Kind::Bridge),
            ("0.type", other) => {
                self.kind = Some(Kind::Other);
                at.refuse(key, format!("network devices of type `{other}` are not given to containers here"));
            }
            ("0.link", "lxcbr0") | ("0.flags", "up") | ("0.name", "eth0") => {}
            ("0.ipv4.gateway", "auto") => {}
            _ => at.refuse(key, "is not understood here: addresses and bridges are the engine's"),
        }
        true
    }

    pub(super) fn settle(&self, manifest: &Manifest, internal: impl Fn(&str) -> Option<bool>, run: &At<'_>) -> Network {
        if let Some(pool) = &manifest.pool {
            if self.kind.is_some() {
                run.refuse("network.pool", "lxc.container.conf gives it a network, too");
            }
            let Some(internal) = internal(&pool.name) else {
                run.refuse("network.pool", format!("device.json has no pool `{}`", pool.name));
                return Network::None;
            };
            return attached(Attachment { internal, ..Attachment::new(&pool.name) });
        }
        match (manifest.network_mode.as_deref(), self.kind) {
            (Some("host"), _) => Network::Host,
            (Some(_), _) | (None, Some(Kind::Empty | Kind::Other)) => Network::None,
            (None, Some(Kind::Bridge)) => attached(Attachment::new(BRIDGE)),
            (None, None) if self.kept => Network::Host,
            (None, None) => Network::None,
        }
    }
}

fn attached(place: Attachment) -> Network {
    Network::Private(Private { attached: vec![place], ports: vec![] })
}
