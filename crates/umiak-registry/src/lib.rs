//! Where container images come from: registries, layouts, archives, the Docker daemon, root file systems.
