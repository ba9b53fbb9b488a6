//! An app of an image that is pinned already, whatever is there: what packages are made of.

use umiak_pvr::app::{ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, SourceDocument, SourceKind, check_name};

use crate::app::AppReport;
use crate::documents;
use crate::error::BuildError;
use crate::make::Make;
use crate::workshop::Workshop;

/// An app at one image.
#[derive(Debug, Clone)]
pub struct PinnedRequest {
    /// Its name.
    pub name: String,
    /// What src.json says of it but for the image's digest and configuration.
    pub document: SourceDocument,
    /// The image: `<name>@sha256:…`, as [`umiak_registry::Image::reference`] has it.
    pub image: String,
    /// Whether what is there of the app may be used: its root when it is of this very image, its compressed blocks else.
    /// The result is the same as without if this version of umiak made it.
    pub reuse: bool,
}

impl Workshop<'_> {
    /// Makes the app what the request says: the files that are missing or of something else, and its documents. What the
    /// app was before counts for nothing else: there is no patch afterwards.
    ///
    /// # Errors
    /// [`BuildError`]; the repository is then as it was.
    pub fn make_pinned(&self, request: &PinnedRequest) -> Result<AppReport, BuildError> {
        let name = request.name.as_str();
        check_name(name).map_err(BuildError::Name)?;
        let mut document = request.document.clone();
        if document.kind() != SourceKind::Docker {
            return Err(BuildError::Refused(format!("app `{name}` is not made of a container image")));
        }
        let image = self.image(&document, Some(&request.image))?;
        if let Some(base) = document.base() {
            let make = Make::Extension { base: base.to_owned() };
            return self.carry_out(name, document, image, make, false);
        }
        document.set_docker_digest(Some(image.reference()));
        document.set_docker_ovl_digest(None);
        let make = match request.reuse && self.has_root(name, &document) {
            true => Make::Nothing,
            false if request.reuse => Make::Root,
            false => Make::FreshRoot,
        };
        self.carry_out(name, document, image, make, false)
    }

    /// Whether the app's root is of the image that `document` names, in its format, and all there is.
    fn has_root(&self, name: &str, document: &SourceDocument) -> bool {
        let directory = documents::directory(self.repository, name);
        let recorded =
            documents::recorded_digest(self.repository, name, ROOT_SQUASHFS, umiak_pvr::app::DOCKER_DIGEST_SUFFIX);
        let Ok(before) = documents::read(self.repository, name, &self.limits) else { return false };
        recorded.as_deref() == document.docker_digest()
            && before.format_options() == document.format_options()
            && before.base().is_none()
            && !directory.join(ROOT_OVL_SQUASHFS).exists()
    }
}
