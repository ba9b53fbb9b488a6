//! Layers: `layers/<64 digits of the diff ID>/`.

pub(crate) mod kind;
