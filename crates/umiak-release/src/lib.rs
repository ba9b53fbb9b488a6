//! Packages for every platform: what container-ci does with scripts around pvr, as a library.
//!
//! ```text
//! pvpkg.json                                     name and version                          init
//! container-ci.conf                              platforms, unless the caller names them
//! pvpkg/<arch>/<app>/src.json                    the image and how it runs
//! pvpkg/<arch>/<app>/…, _config/<app>/…          files that go along as they are
//!      |  image of that platform, squashfs, documents, signature                           build
//! releases/<arch>/<app>/…, _sigs/<app>.json      a device directory
//! releases/<name>-<version>-<build>.<arch>.tgz   the package
//!      |  every check that an installing device makes                                      verify, compare
//! ```
//!
//! Guarantees: the same sources give the same packages, byte for byte, whatever the folder, the user, the clock, the locale
//! and the number of jobs; what has not changed is not made again; one platform that fails does not keep the others from
//! being made. A package appears under its name whole or not at all. A file that somebody put where only the build puts
//! files is never lost and never in a package: it is refused by name.
//!
//! What it does not do: ask git, the environment or the time (versions and times are handed in), make keys (who signs is a
//! function that the caller gives), print.

mod arch;
mod build;
mod carried;
mod compare;
mod conf;
mod durable;
mod error;
mod init;
mod name;
mod project;
mod pvpkg;
mod verify;

pub use arch::{Arch, TABLE};
pub use build::{Asked, Built, Delta, DeltaState, Effort, Line, Outcome, Sealed, Sealing, Works};
pub use carried::Carried;
pub use compare::{Difference, compare, length};
pub use conf::{CONF, platforms as conf_platforms};
pub use error::ReleaseError;
pub use init::{Draft, InitReport, init};
pub use name::{BuildVersion, PackageName};
pub use project::{Project, Source};
pub use pvpkg::{PVPKG_JSON, Pvpkg};
pub use verify::{Judge, Verified};
