//! One file of an app: a root, a patch, an extension.

use std::fs::File;
use std::io::BufWriter;
use std::path::{Path, PathBuf};

use umiak_layer::LayerContent;
use umiak_pvr::app::{
    DOCKER_DIGEST_SUFFIX, ROOT_OVL_SQUASHFS, ROOT_SQUASHFS, ROOTFS_DIGEST_SUFFIX, SourceDocument, SourceKind,
};
use umiak_spec::Verified;
use umiak_squashfs::{Base, ImageOptions};
use umiak_tree::{Changeset, Kind, OverlayOptions, Tree, changeset};

use crate::app::{AppReport, Outcome};
use crate::base::{self, KnownImage};
use crate::cost::Known;
use crate::documents;
use crate::error::{BuildError, IoContext as _};
use crate::format;
use crate::image::SourceImage;
use crate::layers::Layers;
use crate::squash::squash;
use crate::stage::Stage;
use crate::workshop::Workshop;

/// What is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Make {
    /// No file.
    Nothing,
    /// `root.squashfs`.
    Root,
    /// The same without a look at the one that is there.
    FreshRoot,
    /// `root.ovl.squashfs` above the app's own root.
    Patch,
    /// `root.ovl.squashfs` above another app's root.
    Extension {
        /// That app.
        base: String,
    },
    /// No `root.ovl.squashfs` any more.
    DropPatch,
}

/// An app that is staged.
pub(crate) struct Built {
    pub stage: Stage,
    pub report: AppReport,
    /// Where its new root.squashfs is until the stage is committed.
    pub root: Option<PathBuf>,
}

impl Workshop<'_> {
    /// Stages one app.
    pub(crate) fn make(
        &self,
        name: &str,
        document: &mut SourceDocument,
        image: &SourceImage,
        make: Make,
        ignore_mtime: bool,
    ) -> Result<Built, BuildError> {
        let mut stage = Stage::begin(self.repository, name)?;
        let mut root = None;
        let mut report = match &make {
            Make::Nothing => AppReport::new(name, Outcome::Documents, image.reference()),
            Make::Root | Make::FreshRoot => {
                let old = if make == Make::Root { self.root_before(name)? } else { None };
                let report = self.root(name, document, image, old.as_ref(), &mut stage)?;
                root = Some(stage.path(ROOT_SQUASHFS));
                report
            }
            Make::Patch => {
                let below = documents::directory(self.repository, name).join(ROOT_SQUASHFS);
                let report = self.overlay(name, document, image, &below, ignore_mtime, &mut stage)?;
                AppReport { outcome: Outcome::Patch, ..report }
            }
            Make::Extension { base } => {
                let (below, digest) = self.base_app(base)?;
                document.set_docker_digest(digest.as_deref());
                self.extension(name, document, image, &below, ignore_mtime, &mut stage)?
            }
            Make::DropPatch => {
                self.drop_overlay(document, &mut stage)?;
                AppReport::new(name, Outcome::PatchDropped, image.reference())
            }
        };
        if document.kind() == SourceKind::Docker {
            document.set_docker_config(image.docker_config(&self.limits));
        }
        report.warnings.extend(documents::write(&mut stage, self.repository, name, document, &self.limits)?);
        Ok(Built { stage, report, root })
    }

    /// Stages an app anew above the root that its base is about to have.
    pub(crate) fn extend_again(
        &self,
        name: &str,
        base: &SourceDocument,
        root: &Path,
        ignore_mtime: bool,
    ) -> Result<Built, BuildError> {
        let mut document = documents::read(self.repository, name, &self.limits)?;
        let image = self.image(&document, document.docker_ovl_digest())?;
        let mut stage = Stage::begin(self.repository, name)?;
        document.set_docker_digest(base.docker_digest());
        let mut report = self.extension(name, &mut document, &image, root, ignore_mtime, &mut stage)?;
        report.warnings.extend(documents::write(&mut stage, self.repository, name, &document, &self.limits)?);
        Ok(Built { stage, report, root: None })
    }

    /// Root and digest of the app that another one extends.
    fn base_app(&self, base: &str) -> Result<(PathBuf, Option<String>), BuildError> {
        let document = documents::read(self.repository, base, &self.limits)?;
        let root = documents::directory(self.repository, base).join(ROOT_SQUASHFS);
        if !root.is_file() {
            return Err(BuildError::Refused(format!("app `{base}` has no {ROOT_SQUASHFS} that could be extended")));
        }
        Ok((root, document.docker_digest().map(str::to_owned)))
    }

    fn options(&self, document: &SourceDocument) -> Result<ImageOptions, BuildError> {
        let words = document.format_options().unwrap_or(format::DEFAULT_FORMAT);
        let options = ImageOptions { threads: self.threads, image_time: self.image_time, ..ImageOptions::default() };
        Ok(format::parse(words, options)?)
    }

    /// Opens a squashfs as something to compare with or to copy from.
    pub(crate) fn known(&self, path: &Path) -> Result<KnownImage, BuildError> {
        KnownImage::open(path, &self.cache(), &self.limits, self.threads, self.observer)
    }

    /// The root that is there, to copy from.
    fn root_before(&self, name: &str) -> Result<Option<KnownImage>, BuildError> {
        let old = documents::directory(self.repository, name).join(ROOT_SQUASHFS);
        match old.is_file().then(|| self.known(&old)) {
            Some(Err(BuildError::Cancelled(cancelled))) => Err(cancelled.into()),
            // An old root that cannot be read is not worth an error: it only spares work.
            Some(Err(_)) | None => Ok(None),
            Some(Ok(old)) => Ok(Some(old)),
        }
    }

    fn root(
        &self,
        name: &str,
        document: &mut SourceDocument,
        image: &SourceImage,
        old: Option<&KnownImage>,
        stage: &mut Stage,
    ) -> Result<AppReport, BuildError> {
        let options = self.options(document)?;
        let layers = self.layers(image)?;
        let (tree, told) = layers.tree(image.reference())?;
        let plain = plain_bytes(&tree);
        let known = old.map(|old| Known {
            base: (old.bytes(), old.plain_bytes()),
            target_plain: plain,
            patch_plain: self.changed_plain(old, &tree),
        });
        let copy_from = old.map(KnownImage::base);
        let mut report = AppReport::new(name, Outcome::Root, image.reference());
        report.warnings = told;
        self.squashed(tree, &layers, copy_from, &options, ROOT_SQUASHFS, stage, &mut report)?;
        report.costs = known.zip(report.written).map(|(known, written)| known.with_new_base(written));
        self.drop_overlay(document, stage)?;
        if document.kind() == SourceKind::Rootfs {
            let path = stage.path(ROOT_SQUASHFS);
            let file = File::open(&path).at("open", &path)?;
            let digest = Verified::new(file).finish().at("read", &path)?.0.to_string();
            stage.put(&format!("{ROOT_SQUASHFS}{ROOTFS_DIGEST_SUFFIX}"), digest.as_bytes())?;
            document.set_rootfs_digest(Some(&digest));
        } else {
            stage.put(&format!("{ROOT_SQUASHFS}{DOCKER_DIGEST_SUFFIX}"), image.reference().as_bytes())?;
            document.set_docker_digest(Some(image.reference()));
        }
        Ok(report)
    }

    fn extension(
        &self,
        name: &str,
        document: &mut SourceDocument,
        image: &SourceImage,
        below: &Path,
        ignore_mtime: bool,
        stage: &mut Stage,
    ) -> Result<AppReport, BuildError> {
        let report = self.overlay(name, document, image, below, ignore_mtime, stage)?;
        stage.remove(ROOT_SQUASHFS)?;
        stage.remove(&format!("{ROOT_SQUASHFS}{DOCKER_DIGEST_SUFFIX}"))?;
        let mut report = AppReport { outcome: Outcome::Extension, ..report };
        let carried = report.changes.as_ref().map_or(0, umiak_tree::ChangeReport::carried_bytes);
        if carried > report.target_bytes / 2 && carried > 0 {
            report.warnings.push("more than half of this image is not in the base: does it really extend it?".into());
        }
        // There is nothing to choose: an extension has no base of its own.
        report.costs = None;
        Ok(report)
    }

    /// Makes `root.ovl.squashfs` above `below`.
    fn overlay(
        &self,
        name: &str,
        document: &mut SourceDocument,
        image: &SourceImage,
        below: &Path,
        ignore_mtime: bool,
        stage: &mut Stage,
    ) -> Result<AppReport, BuildError> {
        let options = self.options(document)?;
        let known = self.known(below)?;
        let layers = self.layers(image)?;
        let (target, told) = layers.tree(image.reference())?;
        let target_plain = plain_bytes(&target);
        let changes = self.changes(&known, &target, ignore_mtime)?;
        let costs =
            Known { base: (known.bytes(), known.plain_bytes()), target_plain, patch_plain: plain_bytes(&changes.tree) };
        drop(target);
        let mut report = AppReport::new(name, Outcome::Patch, image.reference());
        report.warnings = told;
        self.squashed(changes.tree, &layers, Some(known.base()), &options, ROOT_OVL_SQUASHFS, stage, &mut report)?;
        report.costs = report.written.map(|written| costs.with_patch(written));
        report.changes = Some(changes.report);
        report.target_bytes = target_plain;
        stage.put(&format!("{ROOT_OVL_SQUASHFS}{DOCKER_DIGEST_SUFFIX}"), image.reference().as_bytes())?;
        document.set_docker_ovl_digest(Some(image.reference()));
        Ok(report)
    }

    /// What an update would cost, without writing anything.
    pub(crate) fn price(
        &self,
        name: &str,
        document: &SourceDocument,
        image: &SourceImage,
        make: &Make,
        ignore_mtime: bool,
    ) -> Result<AppReport, BuildError> {
        let mut report = AppReport::new(name, Outcome::Planned, image.reference());
        let below = match make {
            Make::Nothing | Make::DropPatch => return Ok(report),
            Make::Extension { base } => self.base_app(base)?.0,
            Make::Root | Make::FreshRoot | Make::Patch => {
                documents::directory(self.repository, name).join(ROOT_SQUASHFS)
            }
        };
        self.options(document)?;
        let known = self.known(&below)?;
        let (target, told) = self.layers(image)?.tree(image.reference())?;
        let changes = self.changes(&known, &target, ignore_mtime)?;
        let costs = Known {
            base: (known.bytes(), known.plain_bytes()),
            target_plain: plain_bytes(&target),
            patch_plain: plain_bytes(&changes.tree),
        };
        report.costs = Some(costs.estimate());
        report.warnings = told;
        report.changes = Some(changes.report);
        Ok(report)
    }

    fn changes(
        &self,
        known: &KnownImage,
        target: &Tree<LayerContent>,
        ignore_mtime: bool,
    ) -> Result<Changeset<LayerContent>, BuildError> {
        changeset(&known.tree()?, target, OverlayOptions { ignore_mtime })
            .map_err(|source| BuildError::Changeset { base: known.path().to_owned(), source })
    }

    /// Plain bytes that a patch from `old` to `target` would carry; all of them when there can be no patch.
    fn changed_plain(&self, old: &KnownImage, target: &Tree<LayerContent>) -> u64 {
        self.changes(old, target, false).map_or_else(|_| plain_bytes(target), |changes| plain_bytes(&changes.tree))
    }

    /// Writes one squashfs into the stage and keeps its content list.
    #[expect(clippy::too_many_arguments, reason = "one call for both kinds of squashfs")]
    fn squashed(
        &self,
        tree: Tree<LayerContent>,
        layers: &Layers,
        base: Option<Base>,
        options: &ImageOptions,
        squashfs: &str,
        stage: &mut Stage,
        report: &mut AppReport,
    ) -> Result<(), BuildError> {
        let file = stage.create(squashfs)?;
        let path = stage.path(squashfs);
        let out = (BufWriter::with_capacity(1 << 20, file), path.as_path());
        let (out, written) = squash(tree.clone(), layers, base, options, out, self.observer)?;
        drop(out.into_inner().map_err(std::io::IntoInnerError::into_error).at("write", &path)?);
        if squashfs == ROOT_SQUASHFS {
            // The next patch or new base starts from this file: knowing its contents spares reading it.
            let file = File::open(&path).at("open", &path)?;
            let digest = Verified::new(file).finish().at("read", &path)?.0;
            base::keep(&self.cache(), digest, &tree, |_, content| Some(content.digest));
        }
        report.written = Some(written.bytes);
        report.copied_blocks = (written.copied_blocks, written.copied_blocks + written.compressed_blocks);
        Ok(())
    }

    fn drop_overlay(&self, document: &mut SourceDocument, stage: &mut Stage) -> Result<(), BuildError> {
        document.set_docker_ovl_digest(None);
        stage.remove(ROOT_OVL_SQUASHFS)?;
        stage.remove(&format!("{ROOT_OVL_SQUASHFS}{DOCKER_DIGEST_SUFFIX}"))
    }
}

fn plain_bytes(tree: &Tree<LayerContent>) -> u64 {
    let sizes = tree.inodes().filter_map(|(_, inode)| match &inode.kind {
        Kind::File(content) => Some(content.size),
        _ => None,
    });
    sizes.sum()
}
