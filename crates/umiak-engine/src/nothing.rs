//! The engine of a machine that runs nothing: stores are made there for devices elsewhere.
//!
//! A factory fills the store that a device is delivered with, a build makes it part of a root file system. Everything up to
//! starting is done; starting is an error. It needs no root, no mounts and no runtime.

use umiak_spec::service::Service;

use crate::{Deployment, Engine, EngineError, Images, LogQuery, LogSink, Observed, Refused};

/// Runs nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nothing;

impl Engine for Nothing {
    fn name(&self) -> &'static str {
        "none"
    }

    /// Nothing is refused: whether a service can run is asked again where it is to run.
    fn refuses(&self, _: &Service) -> Vec<Refused> {
        Vec::new()
    }

    fn ready(&self, _: &Deployment, _: &dyn Images) -> Result<(), EngineError> {
        Ok(())
    }

    fn start(&self, deployment: &Deployment, service: &str) -> Result<(), EngineError> {
        let why = format!("nothing of {} runs on this machine: its engine is `none`", deployment.app);
        Err(EngineError::Service { service: service.to_owned(), why })
    }

    fn stop(&self, _: &str, _: &str, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    fn observe(&self) -> Result<Vec<Observed>, EngineError> {
        Ok(Vec::new())
    }

    fn remove(&self, _: &str, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    fn purge(&self, _: &str) -> Result<(), EngineError> {
        Ok(())
    }

    fn logs(&self, _: &str, _: Option<&str>, _: &LogQuery, _: &mut dyn LogSink) -> Result<(), EngineError> {
        Ok(())
    }
}
