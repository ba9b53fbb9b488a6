//! YAML with positions: what is written (`syntax`), what it means (`value`), and writing it (`write`).

pub(crate) mod syntax;
pub(crate) mod value;
pub(crate) mod write;

pub(crate) use syntax::{Kind, NodeId, Syntax};
pub(crate) use value::{Entry, Map, Shape, Tag, Value};
