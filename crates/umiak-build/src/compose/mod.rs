//! Compose Apps: joining their documents, the images of their services and the places where these are kept.

pub mod carry;
