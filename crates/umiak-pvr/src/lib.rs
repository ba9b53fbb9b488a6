//! The pvr state document, its repository, app rendering and packages.
