//! What a service has of the network.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

/// The network that a service sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// The device's.
    Host,
    /// Only its own loopback.
    None,
    /// One of its own, attached to networks of the app.
    Private(Private),
    /// That of another service of the app.
    Service(String),
}

impl Default for Network {
    fn default() -> Self {
        Self::Private(Private { attached: vec![Attachment::new("default")], ports: vec![] })
    }
}

/// A network of a service's own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Private {
    /// The app's networks that it is attached to. On each, services find one another by their names.
    pub attached: Vec<Attachment>,
    /// What the device passes on to it.
    pub ports: Vec<Port>,
}

/// A place on a network of the app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network's name in the app; `default` is there unsaid.
    pub network: String,
    /// Whether the network leads nowhere but to the app's services.
    pub internal: bool,
    /// Names besides the service's own.
    pub aliases: Vec<String>,
    /// A fixed address.
    pub address: Option<IpAddr>,
}

impl Attachment {
    /// Attached to `network`, nothing special.
    #[must_use]
    pub fn new(network: &str) -> Self {
        Self { network: network.to_owned(), internal: false, aliases: vec![], address: None }
    }
}

/// A port of the device that leads to one of the service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// The device's address; none: all.
    pub host: Option<IpAddr>,
    /// The device's port; none: any free one.
    pub published: Option<u16>,
    /// The service's.
    pub target: u16,
    /// The protocol.
    pub protocol: Protocol,
}

/// A transport protocol.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}
