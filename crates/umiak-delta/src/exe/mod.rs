//! Being written.
#![allow(missing_docs)]
use umiak_spec::ReadAt;
pub struct Alignment {
    pub copies: Vec<crate::Copy>,
    pub note: Vec<u8>,
}
#[derive(Debug, thiserror::Error)]
pub enum ExeError {
    #[error("not yet")]
    NotYet,
    #[error(transparent)]
    Io(#[from] std::io::Error),
}
pub fn align(_base: &[u8], _target: &[u8]) -> Option<Alignment> {
    None
}
pub fn predict(_: &dyn ReadAt, _: &[u8], _: &[crate::Copy], _: &mut dyn crate::Settle) -> Result<(), ExeError> {
    Err(ExeError::NotYet)
}
