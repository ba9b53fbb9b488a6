//! The document from bytes that anybody may have written.

use serde::Deserialize;

use super::{
    Asked, AskedApp, Carrier, Kind, MAX_OBJECTS, MEDIA_TYPE, Origin, Target, TargetApp, TargetError, VERSION,
    check_count, check_name,
};
use crate::manifest::check_size;
use crate::{Descriptor, Digest, DocumentError, Limits};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Read {
    version: u64,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    generation: Option<u64>,
    #[serde(default)]
    testing_seconds: Option<u64>,
    apps: Vec<ReadApp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct ReadApp {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    kind: Option<String>,
    reference: String,
    #[serde(default)]
    objects: Vec<String>,
    #[serde(default)]
    media_type: Option<String>,
    #[serde(default)]
    digest: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

impl Asked {
    /// Reads what somebody asks for. A target that is pinned already is read as well, as what it asks for.
    ///
    /// # Errors
    /// [`TargetError`].
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, TargetError> {
        let read = Read::parse(bytes, limits)?;
        let apps: Vec<AskedApp> = read.apps.iter().map(ReadApp::asked).collect::<Result<_, _>>()?;
        let mut names: Vec<&str> = apps.iter().filter_map(|app| app.name.as_deref()).collect();
        names.sort_unstable();
        match names.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(TargetError::Twice(pair[0].to_owned())),
            None => Ok(Self { generation: read.generation, testing_seconds: read.testing_seconds, apps }),
        }
    }
}

impl Target {
    /// Reads a pinned target.
    ///
    /// # Errors
    /// [`TargetError`]; [`TargetError::NotPinned`] when something is left open.
    pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, TargetError> {
        let read = Read::parse(bytes, limits)?;
        let apps = read.apps.iter().map(ReadApp::pinned).collect::<Result<_, _>>()?;
        Self { generation: read.generation.unwrap_or(0), testing_seconds: read.testing_seconds, apps }.checked()
    }
}

impl Read {
    fn parse(bytes: &[u8], limits: &Limits) -> Result<Self, TargetError> {
        check_size(bytes, limits)?;
        let read: Self = serde_json::from_slice(bytes).map_err(DocumentError::from)?;
        if read.version != VERSION {
            return Err(TargetError::Version(read.version));
        }
        if let Some(other) = read.media_type.as_ref().filter(|kind| *kind != MEDIA_TYPE) {
            return Err(DocumentError::Other(shown(other)).into());
        }
        check_count(read.apps.len())?;
        Ok(read)
    }
}

impl ReadApp {
    fn asked(&self) -> Result<AskedApp, TargetError> {
        let name = self.name.clone();
        name.as_deref().map_or(Ok(()), check_name)?;
        let origin: Origin =
            self.reference.parse().map_err(|source| TargetError::Reference { text: shown(&self.reference), source })?;
        let wrong = |source| TargetError::Digest { app: shown(&self.reference), source };
        let digest: Option<Digest> = self.digest.as_ref().map(|text| text.parse().map_err(wrong)).transpose()?;
        Ok(AskedApp { name, objects: self.carriers(&origin)?, origin, digest })
    }

    fn carriers(&self, origin: &Origin) -> Result<Vec<Carrier>, TargetError> {
        if !self.objects.is_empty() && !matches!(origin, Origin::Package(_)) {
            return Err(TargetError::Objects(shown(&self.reference)));
        }
        let carriers: Option<Vec<Carrier>> = self.objects.iter().map(|text| Carrier::parse(text)).collect();
        let carriers = carriers.filter(|carriers| carriers.len() <= MAX_OBJECTS);
        carriers.ok_or_else(|| TargetError::Carriers(shown(&self.reference)))
    }

    fn pinned(&self) -> Result<TargetApp, TargetError> {
        let asked = self.asked()?;
        let kind = [Kind::Compose, Kind::Image, Kind::Pvr].into_iter();
        let kind = kind.clone().find(|kind| self.kind.as_deref() == Some(kind.word()));
        let pin = || {
            let top = Descriptor::new(self.media_type.clone()?, asked.digest?, self.size?);
            Some((asked.name.clone()?, kind?, top))
        };
        let (name, kind, top) = pin().ok_or_else(|| TargetError::NotPinned(shown(&self.reference)))?;
        Ok(TargetApp { name, kind, origin: asked.origin, objects: asked.objects, top })
    }
}

fn shown(text: &str) -> String {
    text.chars().take(200).collect()
}
