//! OCI tar layers to and from trees.
