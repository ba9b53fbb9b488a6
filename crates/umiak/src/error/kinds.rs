//! Which error of which library is of what kind, and what to do about it.
//!
//! Every variant that a user can meet is named here on purpose: a new one shows up as a gap in review, not as a
//! wrong exit code.

use std::io;

use umiak_build::BuildError;
use umiak_build::compose::ComposeError;
use umiak_compose::Problem;
use umiak_pvr::parts::ReferenceError;
use umiak_registry::ErrorKind;
use umiak_release::ReleaseError;
use umiak_repository::Error as RepositoryError;
use umiak_repository::package::PackageError;
use umiak_spec::Cancelled;
use umiak_spec::app::AppError;

use crate::error::{Failure, Kind};

/// What to do about a private key where it should not be.
const KEY: &str = "keep it elsewhere: what lies there is carried to devices; --private-keys takes it all the same";

impl From<RepositoryError> for Failure {
    fn from(error: RepositoryError) -> Self {
        use RepositoryError as E;
        let (kind, hint) = match &error {
            E::Cancelled(_) => return Self::from(Cancelled),
            E::Io { source, .. } => of_io(source),
            E::NotARepository(_) => (Kind::Usage, "`umiak init` makes the current directory a device"),
            E::AlreadyARepository(_) => (Kind::Usage, "`umiak status` shows what differs from the last commit"),
            E::NotEmpty(_) => (Kind::Usage, "name a directory that is empty or absent"),
            E::NotASource(_) => {
                (Kind::Usage, "a device is a directory with .pvr, an unpacked package or a package file")
            }
            E::State { .. } | E::Document { .. } | E::Form { .. } => {
                (Kind::Untrusted, "get it again from where it came from, or restore it from a copy")
            }
            E::NotJson { .. } => {
                (Kind::Usage, "mend the file, or track it as bytes: remove it, commit, then `umiak add --raw`")
            }
            E::PrivateKeys { .. } => (Kind::Usage, KEY),
            E::Result(_) => (Kind::Usage, "take fewer parts: DEVICE#PART,-PART"),
            E::Path(_) | E::Glob(_) | E::AppName(_) => (Kind::Usage, ""),
            E::NoSuchApp(_) => (Kind::Usage, "`umiak app ls` lists the apps"),
            E::Missing(_) => {
                (Kind::Untrusted, "`umiak get` from the device or package that has them, or name its object pool")
            }
            E::Damaged { .. } => {
                (Kind::Untrusted, "delete that file and take it again with `umiak get` or `umiak import`")
            }
            E::Blocked { .. } => (Kind::Environment, "move it out of the way"),
            E::Elsewhere { source, .. } => match source.downcast_ref() {
                Some(error) => super::device::of_device(error),
                None => (Kind::Network, "try again: what was fetched so far is kept"),
            },
            E::DamagedElsewhere { .. } => {
                (Kind::Untrusted, "whoever has it whole can mend it: `umiak post --force` sends every object again")
            }
            E::Package(PackageError::OnlyDelta(_)) => {
                (Kind::Usage, "take the whole package: the .tgz that it leads to")
            }
            E::Package(_) => (Kind::Untrusted, "get the package again; nothing of it was used"),
        };
        Self::from_error(&error, kind, hints(hint))
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        use BuildError as E;
        let (kind, hint) = match &error {
            E::Cancelled(_) => return Self::from(Cancelled),
            E::Source(source) => {
                let (kind, hint) = of_source(source);
                return Self::from_error(&error, kind, hints(hint)).because(each_place(source));
            }
            E::Io { source, .. } => of_io(source),
            E::Write { source, .. } => of_cause(source, Kind::Environment, ""),
            E::Package { source, .. } => of_cause(source.as_ref(), Kind::Untrusted, "get the package again"),
            E::Squashfs { source, .. } => of_cause(
                source,
                Kind::Untrusted,
                "`umiak checkout` writes the committed one back, `umiak app install` makes it again",
            ),
            E::Layer { source, .. } => {
                of_cause(source, Kind::Untrusted, "the image is damaged or hostile: get it again")
            }
            E::WrongLayer { .. } | E::Stack { .. } => {
                (Kind::Untrusted, "the image is damaged or hostile: get it again")
            }
            E::Changeset { .. } => (Kind::Usage, "`umiak app update --newbase` makes a new base instead"),
            E::Exists(_) => (
                Kind::Usage,
                "`umiak app update` follows its image, `umiak app add --force` makes it again from the flags",
            ),
            E::NoApp(_) => (Kind::Usage, "`umiak app ls` lists the apps"),
            E::Document { .. } => (Kind::Untrusted, "`umiak checkout` writes the committed one back"),
            E::Format(_) => (Kind::Usage, "such as --format-options '-comp zstd -b 256K'"),
            E::Delta(source) => of_delta(source),
            E::Foreign(source) => of_foreign(source),
            E::Balena(source) => of_cause(source.as_ref(), Kind::Untrusted, "get the delta again"),
            E::NotTheBase { .. } => (Kind::Untrusted, BASE),
            E::MissingFiles { .. } => (
                Kind::Untrusted,
                "name with --also what has them: images, archives, directories; or as base what the delta was made from",
            ),
            E::Artifact { .. } => (Kind::Untrusted, "get the delta again, or make it again with `umiak delta make`"),
            E::Archive { source, .. } => of_cause(source, Kind::Untrusted, "get the archive again"),
            E::NoDelta { known, .. } if known.is_empty() => {
                (Kind::Usage, "`umiak delta publish BASE TARGET` makes one")
            }
            E::NoDelta { .. } => (Kind::Usage, "name one of these as the base"),
            E::NoBase { .. } => (
                Kind::Usage,
                "name with --from a release that is there, as registry reference, layout or bundle; or load it into Docker",
            ),
            E::Busy(_) => (Kind::Environment, "wait for that run, or end it"),
            E::Project(source) => {
                let kind = match &source.problem {
                    Problem::Read(error) => of_io(error).0,
                    _ => Kind::Usage,
                };
                return Self::from_error(&error, kind, source.hint().into_iter().collect());
            }
            E::Pack(source) => of_cause(source.as_ref(), Kind::Usage, "`.composeappignores` says what stays out"),
            E::Compose(source) => {
                let (kind, hint) = of_compose(source);
                return Self::from_error(&error, kind, hints(hint)).because(offered(source));
            }
            _ => (Kind::Usage, ""),
        };
        Self::from_error(&error, kind, hints(hint))
    }
}

/// Files that are named one by one.
const SOME: usize = 10;

/// What to do when the base is something else.
const BASE: &str = "name as base what the delta was made from, or make a delta from what is there";

/// What is wrong with a Compose App by what can be done about it.
fn of_compose(error: &ComposeError) -> (Kind, &'static str) {
    use ComposeError as E;
    match error {
        E::App { source, .. } => match **source {
            AppError::Other(_) => (Kind::Usage, "`umiak compose publish` makes an app of a compose project"),
            AppError::Version { .. } => (Kind::Untrusted, "use a later umiak"),
            AppError::Missing { .. } => (Kind::Usage, "measure the images again: `umiak image measure`"),
            AppError::TooMany { .. } => (Kind::Usage, "make it smaller, or publish it with --format umiak"),
            _ => (Kind::Untrusted, "the app is damaged: publish it again"),
        },
        E::Image { source, .. } => of_source(source),
        E::NotMadeFor { .. } => (Kind::Usage, "leave it out of --arch, or build the image for it"),
        E::NothingInCommon { .. } => (Kind::Usage, "build the images for the same architectures"),
        E::PinnedLine { .. } => (Kind::Usage, "one NAME@sha256:… a line"),
        E::Sizes { .. } => (Kind::Untrusted, "one of the two is damaged or hostile: get the image or the app again"),
        E::Refused { .. } => (Kind::Usage, "publish it with --format foundries, which devices read as well"),
        E::Name { .. } => (Kind::Usage, "such as registry.example/team/shop:1.0"),
        E::NoServices | E::Reference { .. } => (Kind::Usage, ""),
    }
}

/// What each service's image is made for, one line a service.
fn offered(error: &ComposeError) -> Vec<String> {
    let ComposeError::NothingInCommon { services } = error else { return Vec::new() };
    services.iter().map(|(service, platforms)| format!("{service}: {}", platforms.join(", "))).collect()
}

/// What is wrong with a delta by what can be done about it.
fn of_delta(error: &umiak_delta::DeltaError) -> (Kind, &'static str) {
    use umiak_delta::DeltaError as E;
    const DAMAGED: &str = "get the delta again; without it, the target can be had in full";
    match error {
        E::Base { .. } => (Kind::Untrusted, BASE),
        E::Version(_) | E::Features(_) => (Kind::Untrusted, "use the umiak that made it, or a later one"),
        E::Match(_) => (Kind::Environment, ""),
        E::Read(_) => of_cause(error, Kind::Untrusted, DAMAGED),
        _ => (Kind::Untrusted, DAMAGED),
    }
}

/// What is wrong with a delta of another program by what can be done about it.
fn of_foreign(error: &umiak_delta::foreign::ForeignError) -> (Kind, &'static str) {
    use umiak_delta::foreign::ForeignError as E;
    match error {
        E::Range { .. } | E::Open { .. } => (Kind::Untrusted, BASE),
        _ => of_cause(error, Kind::Untrusted, "get the delta again"),
    }
}

/// What each place said that was asked for an image, one line a place.
fn each_place(error: &umiak_registry::Error) -> Vec<String> {
    let umiak_registry::Error::Nowhere { tried, .. } = error else { return Vec::new() };
    let line = |(place, error): &(String, umiak_registry::Error)| {
        let told = umiak_ui::Diagnostic::from_error(error, 0);
        format!("{place}: {}", [vec![told.message], told.causes].concat().join(": "))
    };
    tried.iter().map(line).collect()
}

/// A source's error by what can be done about it.
fn of_source(error: &umiak_registry::Error) -> (Kind, &'static str) {
    match error.kind() {
        ErrorKind::Network => (Kind::Network, "try again: what was fetched so far is kept"),
        ErrorKind::NotFound => (Kind::Usage, "look at the name and the tag"),
        ErrorKind::Denied => (Kind::Network, "log in with `docker login`, or give -u and -p"),
        ErrorKind::Corrupt => (Kind::Untrusted, "the image is damaged: get it again"),
        ErrorKind::Platform => (Kind::Usage, "pick one with --platform"),
        ErrorKind::Unsupported => (Kind::Usage, ""),
        ErrorKind::System => of_cause(error, Kind::Environment, ""),
        ErrorKind::Cancelled => (Kind::Environment, ""),
    }
}

/// The kind of the system's error somewhere below `error`, or else what it is otherwise.
fn of_cause(error: &(dyn std::error::Error + 'static), otherwise: Kind, hint: &'static str) -> (Kind, &'static str) {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<io::Error>() {
            // What a decoder reports through io has no number of the system's.
            Some(system) if system.raw_os_error().is_some() => return of_io(system),
            _ => next = error.source(),
        }
    }
    (otherwise, hint)
}

impl From<ReleaseError> for Failure {
    fn from(error: ReleaseError) -> Self {
        use ReleaseError as E;
        let (kind, hint) = match error {
            E::Cancelled(cancelled) => return Self::from(cancelled),
            E::Build(error) => return Self::from(error),
            E::Repository(error) => return Self::from(error),
            E::Io { ref source, .. } => of_io(source),
            E::NoProject(_) => (Kind::Usage, "`umiak pkg init IMAGE APP` makes one"),
            E::Pvpkg(_) => (Kind::Usage, "it is a JSON object such as {\"name\": \"web\", \"version\": \"v1.0.0\"}"),
            E::Conf(_) | E::NoPlatforms => (Kind::Usage, "name the platforms: -p linux/amd64,linux/arm/v7"),
            E::Platform(_) => (Kind::Usage, "`umiak pkg init --help` lists platforms and their directories"),
            E::Directory(_) => {
                (Kind::Usage, "the directories are amd64, arm32v6, arm32v7, arm64v8, mips, riscv64 and such")
            }
            E::Exists(_) => (Kind::Usage, "--force replaces them"),
            E::NothingToMake(_) => (Kind::Usage, "`umiak pkg init -p PLATFORM IMAGE APP` writes one"),
            E::Document { .. } | E::Refused { .. } => (Kind::Usage, "`umiak pkg init --force` writes it anew"),
            E::PrivateKeys(_) => (Kind::Usage, KEY),
            E::Foreign { ref files, .. } => {
                let hints = vec![
                    "what belongs into the package goes to pvpkg/ARCH/APP/ or pvpkg/ARCH/_config/APP/".to_owned(),
                    "move the rest away: what is in releases/ARCH/APP is made anew each time".to_owned(),
                ];
                let more = files.iter().skip(1).take(SOME).map(|file| format!("also {file}"));
                return Self::from_error(&error, Kind::Usage, hints).because(more.collect());
            }
            E::Reference(_) | E::AppName(_) | E::Word { .. } => (Kind::Usage, ""),
            E::Seal(_) => (Kind::Environment, ""),
            E::Signature { .. } => (Kind::Untrusted, "--cacerts and --pubkey say whose signatures count"),
            E::Unsigned(_) => (Kind::Untrusted, "`umiak pkg build` signs packages; --unsigned leaves signatures alone"),
            E::Uncovered { .. } => (Kind::Untrusted, "`umiak pkg build --strict` covers all of it"),
            E::OtherPlatform { .. } => (Kind::Untrusted, "take the package that is made for it"),
        };
        Self::from_error(&error, kind, hints(hint))
    }
}

impl From<ReferenceError> for Failure {
    fn from(error: ReferenceError) -> Self {
        Self::from_error(
            &error,
            Kind::Usage,
            hints(
                "name a directory or a package file, with #PARTS or without; `umiak clone` and `umiak get` take from devices",
            ),
        )
    }
}

impl From<Cancelled> for Failure {
    fn from(error: Cancelled) -> Self {
        Self::from_error(&error, Kind::Environment, Vec::new())
    }
}

/// A system error by what can be done about it.
pub fn of_io(error: &io::Error) -> (Kind, &'static str) {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            (Kind::DoesNotFit, "make room, or point --config-dir or TMPDIR to where there is some")
        }
        io::ErrorKind::PermissionDenied => (Kind::Environment, "run it as the user who owns the file"),
        io::ErrorKind::ReadOnlyFilesystem => (Kind::Environment, "the file system is mounted read-only"),
        _ => (Kind::Environment, ""),
    }
}

pub(super) fn hints(hint: &str) -> Vec<String> {
    if hint.is_empty() { Vec::new() } else { vec![hint.to_owned()] }
}
