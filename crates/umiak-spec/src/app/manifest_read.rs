//! The app's manifest from bytes that anybody may have written, by the rules of the existing readers.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::manifest::{AppManifest, Form, IndexEntry, WHAT};
use super::{ARTIFACT_TYPE, AppError, MANIFEST_LIMIT, OCTET_STREAM, VERSION, annotation, inconsistent, read, shown};
use crate::manifest::or_default;
use crate::media_type::{CONFIGS, OCI_EMPTY, OCI_MANIFEST};
use crate::{Descriptor, Digest, DocumentError, Limits};

type Annotations = BTreeMap<String, String>;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Read {
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
    #[serde(default, deserialize_with = "or_default")]
    artifact_type: String,
    #[serde(default, deserialize_with = "or_default")]
    config: ReadBlob,
    #[serde(default, deserialize_with = "or_default")]
    layers: Vec<ReadBlob>,
    #[serde(default, deserialize_with = "or_default")]
    manifests: Vec<ReadBlob>,
    #[serde(default, deserialize_with = "or_default")]
    annotations: Annotations,
}

/// A descriptor of which nothing is known yet: those that mean nothing here may be named by digests of other kinds.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ReadBlob {
    #[serde(deserialize_with = "or_default")]
    media_type: String,
    #[serde(deserialize_with = "or_default")]
    digest: String,
    #[serde(deserialize_with = "or_default")]
    size: u64,
    #[serde(deserialize_with = "or_default")]
    annotations: Annotations,
    #[serde(deserialize_with = "or_default")]
    platform: ReadPlatform,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ReadPlatform {
    #[serde(deserialize_with = "or_default")]
    architecture: String,
}

impl AppManifest {
    /// Reads the document. Layers behind the metadata that are not umiak's are passed over, and metadata of a later
    /// version counts as none: so it is in the existing readers.
    ///
    /// # Errors
    /// [`AppError`]; `Other` for images and other artifacts.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, AppError> {
        // What is larger is read as well, to tell an image from an app that is too large.
        let read: Read = read(WHAT, bytes, limits.document)?;
        read.check_kind()?;
        if bytes.len() as u64 > MANIFEST_LIMIT {
            let source = DocumentError::TooLarge { size: bytes.len() as u64, limit: MANIFEST_LIMIT };
            return Err(AppError::Document { what: WHAT, source });
        }
        let Some(bundle) = read.layers.first() else { return Err(inconsistent(WHAT, "it has no bundle")) };
        let legacy = read.artifact_type != ARTIFACT_TYPE && read.config.media_type != OCI_EMPTY;
        let meta = read.layers.get(1).filter(|layer| layer.is_marked(annotation::LAYERS_META));
        let measures = read.layers.iter().skip(2).find(|layer| layer.is_marked(annotation::MEASURES));
        let app = Self {
            form: if legacy { Form::Legacy } else { Form::Artifact },
            bundle: bundle.descriptor("its bundle")?,
            bundle_index: if legacy { None } else { bundle.index()? },
            layers_meta: meta.map(|layer| layer.descriptor("its layers metadata")).transpose()?,
            measures: measures.filter(|_| meta.is_some()).map(|layer| layer.descriptor("its measures")).transpose()?,
            layers_indexes: read.manifests.iter().map(ReadBlob::entry).collect::<Result<_, _>>()?,
        };
        app.check(limits)?;
        Ok(app)
    }
}

impl Read {
    /// Fails for what is another kind of document.
    fn check_kind(&self) -> Result<(), AppError> {
        match self.annotations.get(annotation::APP) {
            Some(version) if version == VERSION => {}
            Some(version) => return Err(AppError::Version { what: WHAT, version: shown(version) }),
            // composectl does not ask for the annotation, and everybody writes it.
            None if self.artifact_type == ARTIFACT_TYPE => {}
            None => return Err(AppError::Other(self.kind())),
        }
        if self.media_type != OCI_MANIFEST {
            return Err(AppError::Other(format!("its media type is `{}`", shown(&self.media_type))));
        }
        Ok(())
    }

    fn kind(&self) -> String {
        let config = self.config.media_type.as_str();
        if !self.artifact_type.is_empty() {
            format!("its artifact type is `{}`", shown(&self.artifact_type))
        } else if CONFIGS.contains(&config) {
            "it is a container image".to_owned()
        } else if self.layers.is_empty() && !self.manifests.is_empty() {
            "it is an index of images".to_owned()
        } else {
            format!("it has no annotation `{}`", annotation::APP)
        }
    }
}

impl ReadBlob {
    fn is_marked(&self, name: &str) -> bool {
        self.annotations.get(name).is_some_and(|version| version == VERSION)
    }

    fn descriptor(&self, part: &str) -> Result<Descriptor, AppError> {
        Ok(Descriptor::new(self.media_type.as_str(), digest(&self.digest, part)?, self.size))
    }

    /// The bundle's index, if its annotations name one.
    fn index(&self) -> Result<Option<Descriptor>, AppError> {
        const PART: &str = "the index of its bundle";
        let named = |name| self.annotations.get(name);
        match (named(annotation::BUNDLE_INDEX_DIGEST), named(annotation::BUNDLE_INDEX_SIZE)) {
            (None, None) => Ok(None),
            (Some(text), Some(size)) => {
                let plain = !size.is_empty() && size.bytes().all(|byte| byte.is_ascii_digit());
                let size = size.parse().ok().filter(|_| plain);
                let size = size.ok_or_else(|| inconsistent(WHAT, format!("{PART} has no size")))?;
                Ok(Some(Descriptor::new(OCTET_STREAM, digest(text, PART)?, size)))
            }
            _ => Err(inconsistent(WHAT, format!("{PART} has a digest and no size, or a size and no digest"))),
        }
    }

    fn entry(&self) -> Result<IndexEntry, AppError> {
        let architecture = self.platform.architecture.clone();
        Ok(IndexEntry { architecture, digest: digest(&self.digest, "a layers index")?, size: self.size })
    }
}

fn digest(text: &str, part: &str) -> Result<Digest, AppError> {
    text.parse().map_err(|error| inconsistent(WHAT, format!("{part}: {error}")))
}
