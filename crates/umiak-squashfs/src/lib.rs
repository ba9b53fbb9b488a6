//! squashfs images to and from trees, reproducible.
