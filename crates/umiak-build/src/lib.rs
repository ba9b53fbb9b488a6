//! From a source image to a device app: squashfs images, patches, extensions.
