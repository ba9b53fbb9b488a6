//! Being written.
#![allow(missing_docs)]
use std::io::{Read, Write};
use umiak_spec::ReadAt;
#[derive(Debug, thiserror::Error)]
pub enum DeflateError { #[error("not yet")] NotYet }
pub struct Recipe; pub struct Layout;
impl Recipe {
    pub fn of_target(_: &[u8]) -> Option<(Self, Vec<u8>)> { None }
    pub fn of_base(_: &[u8]) -> Option<(Layout, Vec<u8>)> { None }
    pub fn encode(&self, _: &mut Vec<u8>) {}
    pub fn decode(_: &mut &[u8]) -> Result<Self, DeflateError> { Err(DeflateError::NotYet) }
    pub fn wrap(&self, _: &mut dyn Read, _: &mut dyn Write) -> Result<u64, DeflateError> { Err(DeflateError::NotYet) }
}
impl Layout {
    pub fn encode(&self, _: &mut Vec<u8>) {}
    pub fn decode(_: &mut &[u8]) -> Result<Self, DeflateError> { Err(DeflateError::NotYet) }
    pub fn unwrap(&self, _: &dyn ReadAt, _: &mut dyn Write) -> Result<u64, DeflateError> { Err(DeflateError::NotYet) }
}
