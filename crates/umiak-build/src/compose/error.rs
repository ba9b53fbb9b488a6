//! What can go wrong between a compose project and an app in a registry.

use umiak_spec::app::AppError;
use umiak_spec::{Digest, ReferenceError};

/// Why an app could not be published or read.
#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    /// A document of the app could not be read, or may not be published.
    #[error("cannot use {app} as a Compose App")]
    App {
        /// The app.
        app: String,
        /// What is wrong with it.
        source: Box<AppError>,
    },
    /// A name that no registry can have.
    #[error("{user} names an image that no registry can have")]
    Reference {
        /// The service, or the file, that names it.
        user: String,
        /// What is wrong with it.
        source: ReferenceError,
    },
    /// The image of a service could not be had.
    #[error("cannot get the image {image} of {}", services.join(", "))]
    Image {
        /// The image.
        image: String,
        /// The services that it is for.
        services: Vec<String>,
        /// Why.
        source: Box<umiak_registry::Error>,
    },
    /// A service's image is not made for an architecture that was asked for.
    #[error("the image {image} of {service} is not made for {wanted}, only for {}", offered.join(", "))]
    NotMadeFor {
        /// The image.
        image: String,
        /// The service.
        service: String,
        /// What was asked for.
        wanted: String,
        /// What it is made for.
        offered: Vec<String>,
    },
    /// No architecture is common to all services.
    #[error("no architecture is common to all services")]
    NothingInCommon {
        /// Each service, and what its image is made for.
        services: Vec<(String, Vec<String>)>,
    },
    /// No service has an image.
    #[error("the project has no services")]
    NoServices,
    /// A line of a list of pinned images is none.
    #[error("line {line} of the pinned images is not NAME@sha256:…: {text}")]
    PinnedLine {
        /// Counted from 1.
        line: usize,
        /// What it says.
        text: String,
    },
    /// Two documents tell different sizes of the same blob.
    #[error("{blob} has {one} bytes by {first}, and {other} by {second}")]
    Sizes {
        /// The blob.
        blob: Digest,
        /// What says `one`.
        first: String,
        /// Bytes.
        one: u64,
        /// What says `other`.
        second: String,
        /// Bytes.
        other: u64,
    },
    /// The name that an app is to have.
    #[error("{name} cannot be the name of an app: {reason}")]
    Name {
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// The registry did not take the manifest.
    #[error("{app} was refused: the registry takes no manifests of the legacy form")]
    Refused {
        /// The app.
        app: String,
        /// What the registry said.
        source: Box<umiak_registry::Error>,
    },
}
