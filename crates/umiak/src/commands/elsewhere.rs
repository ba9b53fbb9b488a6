//! Pantavisor devices behind an address, for the verbs that take from one or give to one.

use std::fs;
use std::sync::Arc;
use std::time::Duration;

use umiak_pantavisor::{Address, Device, Settings};
use umiak_pvr::{Parts, State};
use umiak_repository::{Arriving, Elsewhere, ElsewhereError};
use umiak_spec::{Digest, Observer};

use crate::clock::Passing;
use crate::context::Context;
use crate::error::Failure;

/// A device to take from.
pub struct Source {
    device: Device,
    /// Which of its keys are meant.
    pub parts: Parts,
}

impl Source {
    /// What `text` names; `None` when that is a path.
    ///
    /// # Errors
    /// It is no address, or no device answers there.
    pub fn find(context: &Context<'_>, text: &str) -> Result<Option<Self>, Failure> {
        let Some((address, parts)) = Address::find(text)? else { return Ok(None) };
        let device = Device::connect(&address, &settings(context)?, &context.progress())?;
        Ok(Some(Self { device, parts }))
    }

    /// The parts of its state that are meant.
    ///
    /// # Errors
    /// What the device says.
    pub fn selected(&self, context: &Context<'_>) -> Result<State, Failure> {
        Ok(self.device.state(&context.progress())?.filter(&self.parts))
    }
}

impl Elsewhere for Source {
    fn name(&self) -> String {
        self.device.place().to_owned()
    }

    fn state(&self, observer: &dyn Observer) -> Result<State, ElsewhereError> {
        Ok(self.device.state(observer)?)
    }

    fn object<'a>(&'a self, digest: &Digest, observer: &'a dyn Observer) -> Result<Arriving<'a>, ElsewhereError> {
        let download = self.device.object(digest, observer)?;
        Ok(Arriving { length: download.length(), bytes: Box::new(download) })
    }
}

/// How devices are reached, from flags and environment.
///
/// # Errors
/// A file of certificates that cannot be read.
pub fn settings(context: &Context<'_>) -> Result<Settings, Failure> {
    let certificates = context.environment.certificates.as_ref();
    let read = certificates.map(|path| fs::read(path).map_err(|error| Failure::of_io("read", path, &error)));
    Ok(Settings {
        token: context.world.access_token.clone().filter(|token| !token.is_empty()),
        proxy: Some(context.world.http_proxy.clone()),
        insecure: context.world.insecure,
        ca_certificates: read.transpose()?,
        ..Settings::new(Arc::new(Passing::new()))
    })
}

/// The same for who waits longer or shorter for a device that is busy.
///
/// # Errors
/// As [`settings`].
pub fn patient(context: &Context<'_>, busy: u64) -> Result<Settings, Failure> {
    Ok(Settings { busy: Duration::from_secs(busy), ..settings(context)? })
}
