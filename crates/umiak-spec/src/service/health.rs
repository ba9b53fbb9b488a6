//! How a service is found to be healthy.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A probe and when it is made. Defaults are those of Docker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// What is tried.
    pub probe: Probe,
    /// From the end of one try to the next, and from the start to the first.
    pub interval: Duration,
    /// A try that takes longer failed.
    pub timeout: Duration,
    /// After the start, failed tries do not count for so long; a good one ends it.
    pub start_period: Duration,
    /// The interval during the start period.
    pub start_interval: Duration,
    /// So many failed tries in a row make the service unhealthy.
    pub retries: u32,
}

/// What is tried. Addresses are those that the service itself sees: its loopback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Probe {
    /// A program in the service, with its environment and user: code 0 is good.
    Exec(Vec<String>),
    /// A connection is accepted.
    Tcp {
        /// At this port.
        port: u16,
    },
    /// `GET` is answered with a status from 200 to 399.
    Http {
        /// At this port.
        port: u16,
        /// With the `/` at its beginning.
        path: String,
    },
}

impl Health {
    /// The probe with the default times: every 30 s, 30 s at most, three times in a row.
    #[must_use]
    pub fn new(probe: Probe) -> Self {
        Self {
            probe,
            interval: Duration::from_secs(30),
            timeout: Duration::from_secs(30),
            start_period: Duration::ZERO,
            start_interval: Duration::from_secs(5),
            retries: 3,
        }
    }
}
