//! Making, updating and re-making a device app: which file is built from what, and in which order it becomes visible.
//!
//! ```text
//! add       image              -> root.squashfs                      --base: root.ovl.squashfs above the base app's
//! update    image again, new?  -> root.squashfs      (new base)      its patch, if any, goes
//!                              -> root.ovl.squashfs  (patch)         always against this app's root.squashfs
//! install   src.json           -> whatever is missing or not from the images that src.json names
//! ```
//!
//! A new root.squashfs changes what other apps extend: they are made again in the same call. All files of all apps
//! are staged before the first directory is exchanged.

use umiak_pvr::app::{
    DOCKER_DIGEST_SUFFIX, ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, ROOTFS_DIGEST_SUFFIX, SourceDocument, SourceKind,
    check_name,
};
use umiak_tree::ChangeReport;

use crate::cost::Costs;
use crate::documents;
use crate::error::BuildError;
use crate::image::SourceImage;
use crate::make::{Built, Make};
use crate::stage::Stage;
use crate::workshop::Workshop;

/// A new app.
#[derive(Debug, Clone)]
pub struct AddRequest {
    /// Its name: one directory in the repository.
    pub name: String,
    /// A container image's reference, or the path of a root file system.
    pub from: String,
    /// Which of the two.
    pub kind: SourceKind,
    /// The app that it extends.
    pub base: Option<String>,
    /// What src.json holds besides: arguments, volumes, overrides, format options, platform, source order.
    pub document: SourceDocument,
    /// Replace an app of that name.
    pub force: bool,
    /// Leave out of an extension what differs from the base in mtime alone.
    pub ignore_mtime: bool,
}

/// How an update reaches the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UpdateMode {
    /// A patch when the app has one or extends another, else a new base.
    #[default]
    AsBefore,
    /// Keep root.squashfs, carry the difference in root.ovl.squashfs.
    Patch,
    /// A fresh root.squashfs without patch.
    NewBase,
}

/// An update of an app.
#[derive(Debug, Clone, Default)]
pub struct UpdateRequest {
    /// Another source from now on.
    pub from: Option<String>,
    /// Another app to extend from now on.
    pub base: Option<String>,
    /// Another platform from now on.
    pub platform: Option<String>,
    /// How it reaches the device.
    pub mode: UpdateMode,
    /// Leave out of a patch what differs from the base in mtime alone.
    pub ignore_mtime: bool,
    /// Only work out what each choice would cost.
    pub dry_run: bool,
}

/// Which file an app got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// A new `root.squashfs`.
    Root,
    /// A new `root.ovl.squashfs` above the app's own `root.squashfs`.
    Patch,
    /// A new `root.ovl.squashfs` above the base app's `root.squashfs`.
    Extension,
    /// The source is back at what `root.squashfs` was made from: the patch is gone.
    PatchDropped,
    /// Only the documents were rendered again.
    Documents,
    /// The source has not changed; nothing was written.
    Unchanged,
    /// Nothing was written, as asked; the costs say what would be.
    Planned,
}

/// What was done to one app.
#[derive(Debug, Clone)]
pub struct AppReport {
    /// The app.
    pub app: String,
    /// What it got.
    pub outcome: Outcome,
    /// The image it is of now.
    pub image: String,
    /// Bytes of the squashfs that was written.
    pub written: Option<u64>,
    /// Compressed blocks that were copied from an earlier image, of all blocks.
    pub copied_blocks: (u64, u64),
    /// What a patch and a new base cost, when both are possible.
    pub costs: Option<Costs>,
    /// Bytes of all files of the image, before compression, for patches and extensions.
    pub target_bytes: u64,
    /// What differs from the base, for patches and extensions.
    pub changes: Option<ChangeReport>,
    /// What a person should know.
    pub warnings: Vec<String>,
    /// The apps that extend this one and were made again.
    pub dependents: Vec<AppReport>,
}

impl AppReport {
    pub(crate) fn new(app: &str, outcome: Outcome, image: &str) -> Self {
        Self {
            app: app.to_owned(),
            outcome,
            image: image.to_owned(),
            written: None,
            copied_blocks: (0, 0),
            costs: None,
            target_bytes: 0,
            changes: None,
            warnings: Vec::new(),
            dependents: Vec::new(),
        }
    }
}

impl Workshop<'_> {
    /// Makes a new app.
    ///
    /// # Errors
    /// [`BuildError`]; the repository is then as it was.
    pub fn add(&self, request: &AddRequest) -> Result<AppReport, BuildError> {
        let name = request.name.trim_matches('/');
        check_name(name).map_err(BuildError::Name)?;
        if !request.force && documents::exists(self.repository, name) {
            return Err(BuildError::Exists(name.to_owned()));
        }
        let mut document = request.document.clone();
        self.point_at(&mut document, request.kind, &request.from)?;
        document.set_base(request.base.as_deref());
        let image = self.image(&document, None)?;
        let make = match (&request.base, request.kind) {
            (None, _) => Make::Root,
            (Some(base), SourceKind::Docker) => Make::Extension { base: base.clone() },
            (Some(_), _) => return Err(refused("only an app from a container image can extend another app")),
        };
        self.carry_out(name, document, image, make, request.ignore_mtime)
    }

    /// Looks up the source of an app again and brings the app up to it.
    ///
    /// # Errors
    /// [`BuildError`]; the repository is then as it was.
    pub fn update(&self, name: &str, request: &UpdateRequest) -> Result<AppReport, BuildError> {
        let name = name.trim_matches('/');
        let mut document = documents::read(self.repository, name, &self.limits)?;
        let before = document.clone();
        if let Some(platform) = &request.platform {
            document.set_docker_platform(Some(platform));
        }
        if let Some(base) = &request.base {
            document.set_base(Some(base));
        }
        if let Some(from) = &request.from {
            let kind = document.kind();
            self.point_at(&mut document, kind, from)?;
        }
        if document.kind() == SourceKind::Rootfs {
            return self.update_root_file_system(name, document, request);
        }
        let image = self.image(&document, None)?;
        let make = self.choose(name, &before, &document, &image, request)?;
        match make {
            Make::Nothing if before == document => Ok(AppReport::new(name, Outcome::Unchanged, image.reference())),
            make if request.dry_run => self.price(name, &document, &image, &make, request.ignore_mtime),
            make => self.carry_out(name, document, image, make, request.ignore_mtime),
        }
    }

    /// Makes what is missing or stale of an app from the images that src.json names, and renders its documents.
    ///
    /// # Errors
    /// [`BuildError`]; the repository is then as it was.
    pub fn install(&self, name: &str) -> Result<AppReport, BuildError> {
        let name = name.trim_matches('/');
        let document = documents::read(self.repository, name, &self.limits)?;
        let current = |squashfs, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| {
                let suffix =
                    if document.kind() == SourceKind::Rootfs { ROOTFS_DIGEST_SUFFIX } else { DOCKER_DIGEST_SUFFIX };
                documents::recorded_digest(self.repository, name, squashfs, suffix).as_deref() == Some(wanted)
            })
        };
        if document.kind() == SourceKind::Rootfs {
            let make = if current(ROOT_SQUASHFS, document.rootfs_digest()) { Make::Nothing } else { Make::Root };
            let image = self.image(&document, None)?;
            return self.carry_out(name, document, image, make, false);
        }
        let own_root = document.base().is_none();
        if own_root && !current(ROOT_SQUASHFS, document.docker_digest()) {
            let (document, overlay) = without_overlay(document);
            let image = self.image(&document, document.docker_digest())?;
            let report = self.carry_out(name, document, image, Make::Root, false)?;
            return match overlay {
                Some(overlay) => self.patch_to(name, &overlay),
                None => Ok(report),
            };
        }
        let on_base = document.base().map_or(Ok(true), |base| self.lies_on_current_base(&document, base))?;
        match document.docker_ovl_digest().filter(|wanted| !on_base || !current(ROOT_OVL_SQUASHFS, Some(wanted))) {
            Some(overlay) => {
                let overlay = overlay.to_owned();
                self.patch_to(name, &overlay)
            }
            None => self.render_again(name, &document),
        }
    }

    /// Whether an extension was made for the base app as it is now. It was not if the base was updated by pvr, which
    /// leaves dependents behind, or if power was cut between exchanging the base and those that extend it.
    fn lies_on_current_base(&self, document: &SourceDocument, base: &str) -> Result<bool, BuildError> {
        Ok(document.docker_digest() == documents::read(self.repository, base, &self.limits)?.docker_digest())
    }

    /// Renders an app's documents from its src.json.
    fn render_again(&self, name: &str, document: &SourceDocument) -> Result<AppReport, BuildError> {
        let image = document.docker_ovl_digest().or(document.docker_digest()).unwrap_or("");
        let mut report = AppReport::new(name, Outcome::Documents, image);
        let mut stage = Stage::begin(self.repository, name)?;
        report.warnings = documents::write(&mut stage, self.repository, name, document, &self.limits)?;
        stage.commit()?;
        Ok(report)
    }

    /// Makes the overlay of an app lead to the image `pinned`.
    fn patch_to(&self, name: &str, pinned: &str) -> Result<AppReport, BuildError> {
        let document = documents::read(self.repository, name, &self.limits)?;
        let image = self.image(&document, Some(pinned))?;
        let make = match document.base() {
            Some(base) => Make::Extension { base: base.to_owned() },
            None => Make::Patch,
        };
        self.carry_out(name, document, image, make, false)
    }

    /// Which file an update needs.
    fn choose(
        &self,
        name: &str,
        before: &SourceDocument,
        document: &SourceDocument,
        image: &SourceImage,
        request: &UpdateRequest,
    ) -> Result<Make, BuildError> {
        let new = image.reference();
        if let Some(base) = document.base() {
            if request.mode == UpdateMode::NewBase {
                return Err(BuildError::Refused(format!(
                    "app `{name}` extends `{base}` and has no base of its own: update `{base}` with --newbase"
                )));
            }
            let same = before.base() == Some(base)
                && before.docker_ovl_digest() == Some(new)
                && self.lies_on_current_base(before, base)?;
            return Ok(if same { Make::Nothing } else { Make::Extension { base: base.to_owned() } });
        }
        let patched = document.docker_ovl_digest();
        Ok(match request.mode {
            UpdateMode::NewBase if patched.is_none() && document.docker_digest() == Some(new) => Make::Nothing,
            UpdateMode::NewBase => Make::Root,
            UpdateMode::AsBefore if patched.is_none() && document.docker_digest() == Some(new) => Make::Nothing,
            UpdateMode::AsBefore if patched.is_none() => Make::Root,
            _ if patched.or(document.docker_digest()) == Some(new) => Make::Nothing,
            _ if document.docker_digest() == Some(new) => Make::DropPatch,
            _ => Make::Patch,
        })
    }

    fn update_root_file_system(
        &self,
        name: &str,
        document: SourceDocument,
        request: &UpdateRequest,
    ) -> Result<AppReport, BuildError> {
        if request.mode == UpdateMode::Patch {
            return Err(refused("an app from a root file system has no patches: there is no image to come back to"));
        }
        let image = self.image(&document, None)?;
        if request.dry_run {
            return Ok(AppReport::new(name, Outcome::Planned, image.reference()));
        }
        self.carry_out(name, document, image, Make::Root, false)
    }

    /// Builds, stages and exchanges one app and those that extend it.
    pub(crate) fn carry_out(
        &self,
        name: &str,
        mut document: SourceDocument,
        image: SourceImage,
        make: Make,
        ignore_mtime: bool,
    ) -> Result<AppReport, BuildError> {
        let new_root = matches!(make, Make::Root | Make::FreshRoot);
        let mut stages = Vec::new();
        let Built { stage, mut report, root } = self.make(name, &mut document, &image, make, ignore_mtime)?;
        stages.push(stage);
        // The layers may be large; what follows has layers of its own.
        drop(image);
        if let Some(root) = root.filter(|_| new_root) {
            for dependent in documents::dependents(self.repository, name, &self.limits)? {
                let Built { stage, report: made, .. } =
                    self.extend_again(&dependent, &document, &root, ignore_mtime)?;
                stages.push(stage);
                report.dependents.push(made);
            }
        }
        self.observer.check()?;
        stages.into_iter().try_for_each(Stage::commit)?;
        Ok(report)
    }
}

fn without_overlay(mut document: SourceDocument) -> (SourceDocument, Option<String>) {
    let overlay = document.docker_ovl_digest().map(str::to_owned);
    document.set_docker_ovl_digest(None);
    (document, overlay)
}

fn refused(text: &str) -> BuildError {
    BuildError::Refused(text.to_owned())
}
