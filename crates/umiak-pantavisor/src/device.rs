//! One device, whichever way it is reached.

use std::sync::Arc;
use std::time::Duration;

use umiak_pvr::State;
use umiak_spec::{Digest, Observer};

use crate::address::Address;
use crate::clock::Clock;
use crate::control::Control;
use crate::error::Error;
use crate::http::{Client, Download};
use crate::remote::Remote;

/// How devices are reached.
#[derive(Clone)]
pub struct Settings {
    /// Time that passes.
    pub clock: Arc<dyn Clock>,
    /// How long a device may be silent in the middle of something.
    pub patience: Duration,
    /// How long a document may take, from its first byte to its last, however steadily it comes. Objects take as long as
    /// they come at all.
    pub document: Duration,
    /// How long it may be busy with something else.
    pub busy: Duration,
    /// What lets in to a hub; goes to the server of the address only.
    pub token: Option<String>,
    /// `no`, an URL, or (`system`, or none) what the environment says.
    pub proxy: Option<String>,
    /// Take any certificate.
    pub insecure: bool,
    /// Certificates to trust instead of the public ones, PEM.
    pub ca_certificates: Option<Vec<u8>>,
}

impl Settings {
    /// The usual ones: pvcontrol's patience of 240 s, and a quarter of an hour for a document (4 MiB over a line of 40 kbit/s)
    /// and for a device that is busy.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            patience: Duration::from_secs(240),
            document: Duration::from_secs(900),
            busy: Duration::from_secs(900),
            token: None,
            proxy: None,
            insecure: false,
            ca_certificates: None,
        }
    }
}

/// A device that can be asked.
pub struct Device {
    pub(crate) way: Way,
}

pub(crate) enum Way {
    Control(Control),
    Remote(Remote),
}

impl Device {
    /// Looks whether there is a device at `address`.
    ///
    /// # Errors
    /// [`Error::Network`], [`Error::Denied`]; [`Error::NotADevice`] when something else answers.
    pub fn connect(address: &Address, settings: &Settings, observer: &dyn Observer) -> Result<Self, Error> {
        let place = address.to_string();
        let way = match address {
            Address::Control(socket) => Way::Control(Control::new(socket, place, settings)?),
            Address::Remote(url) => Way::Remote(Remote::connect(url, place, settings, observer)?),
        };
        Ok(Self { way })
    }

    /// What messages call it: its address.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.client().place
    }

    /// Whether this is a control socket: revisions have names there, need not be run, and room is told.
    #[must_use]
    pub fn is_control(&self) -> bool {
        matches!(self.way, Way::Control(_))
    }

    /// The state that the device runs, or (of a hub) the newest one it was given.
    ///
    /// # Errors
    /// What the device says; [`Error::State`] when it is no state.
    pub fn state(&self, observer: &dyn Observer) -> Result<State, Error> {
        match &self.way {
            Way::Control(control) => control.state(observer),
            Way::Remote(remote) => remote.state(observer),
        }
    }

    /// The bytes of an object. They are whatever the device has under its name: whoever takes them compares the digest.
    ///
    /// # Errors
    /// What the device says.
    pub fn object<'a>(&'a self, digest: &Digest, observer: &'a dyn Observer) -> Result<Download<'a>, Error> {
        match &self.way {
            Way::Control(control) => control.object(digest, observer),
            Way::Remote(remote) => remote.object(digest, observer),
        }
    }

    pub(crate) fn client(&self) -> &Client {
        match &self.way {
            Way::Control(control) => control.client(),
            Way::Remote(remote) => remote.client(),
        }
    }

    /// The control socket, for what only that can do.
    pub(crate) fn control(&self, what: &str) -> Result<&Control, Error> {
        match &self.way {
            Way::Control(control) => Ok(control),
            Way::Remote(_) => Err(Error::Unsupported(format!("{} cannot be asked to {what}", self.place()))),
        }
    }
}
