//! Where container images come from: registries, image layouts, archives, the Docker daemon, root file systems; and
//! where artifacts go to: registries, layouts, archives of layouts.
//!
//! ```text
//! reference --open--> Source --resolve(platforms)--> Image { reference@digest, manifest, config, layers }
//!                      |  |                             |
//!                      |  +-----------fetch(layer)------+--> BlobFile   (a local file, or a stretch of one)
//!                      +--referrers(manifest)--> Referrer --document, blob-->
//!
//! reference --open_sink--> Sink <--put_blob, put_manifest, finish--
//! ```
//!
//! Guarantees: manifests and configurations are verified before they are looked into; a layer that came over a network
//! is verified before it is handed out, and kept by digest so that it is fetched once; an interrupted fetch goes on
//! where it stopped. What this crate does not do: look into layers, print, read the environment.

mod announced;
mod archive;
mod archive_sink;
mod auth;
mod blob;
mod body;
mod cache;
mod connect;
mod copy;
mod daemon;
mod distribution;
mod download;
mod durable;
mod error;
mod fetch;
mod flow;
mod image;
mod landing;
mod layout;
mod layout_sink;
mod login;
mod parallel;
mod redirect;
mod referrers;
mod registry_sink;
mod remote;
mod retry;
mod rootfs;
mod sink;
mod source;
mod tags;
mod transport;
mod upload;
mod watch;

pub use auth::Credentials;
pub use blob::{BlobFile, BlobReader};
pub use copy::{Choice, Content, Copied, Copy, Part, content};
pub use distribution::RegistrySettings;
pub use error::{Error, ErrorKind};
pub use fetch::fetch_all;
pub use flow::{Clock, DEFAULT_BUDGET, Flow, SHARE};
pub use image::{Image, Layer, resolve_documents};
pub use landing::Landing;
pub use parallel::in_parallel;
pub use sink::{Sink, Stored, open_sink, open_sink_from, put_delta};
pub use source::{Context, Delivered, Place, Source, open, open_watched};
pub use tags::delete;
