//! From a source image to a device app: squashfs roots, patches, extensions.
//!
//! ```text
//! reference -> SourceImage -> Layers -> Tree<LayerContent> --------------------> root.squashfs
//!              (pinned)       (indexed)        |  changeset against the base
//!                                              +-----------------------------> root.ovl.squashfs
//! everything is staged beside the app and becomes visible at once, src.json and what is rendered from it included
//! ```
//!
//! [`Workshop`] has the verbs: [`Workshop::add`], [`Workshop::update`], [`Workshop::install`]. The crate joins the
//! registry, layer, tree, squashfs and pvr crates; it knows no terminal, and everything it is told comes in as values.

mod app;
mod base;
mod cache;
mod compare;
pub mod compose;
mod content_list;
mod cost;
pub mod delta;
mod documents;
mod error;
mod format;
mod image;
mod layers;
mod make;
pub mod measure;
mod pinned;
mod prepare;
mod squash;
mod stage;
mod workshop;

pub use app::{AddRequest, AppReport, Outcome, UpdateMode, UpdateRequest};
pub use compare::{Comparison, Having, ImageDiff};
pub use cost::{Cost, Costs};
pub use error::BuildError;
pub use format::{DEFAULT_FORMAT, FormatError, parse as parse_format};
pub use pinned::PinnedRequest;
pub use workshop::Workshop;
