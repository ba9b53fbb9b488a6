//! A project, a registry that counts what it is asked, and images for six platforms, all in one scratch directory.

#![allow(dead_code, clippy::unwrap_used, clippy::disallowed_methods, reason = "shared by several test programs")]

use std::fs;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use umiak_layer::LayerWriter;
use umiak_pvr::app::SourceDocument;
use umiak_pvr::{State, Value};
use umiak_registry::{Context, Place as Order, RegistrySettings};
use umiak_release::{
    Arch, Asked, BuildVersion, Draft, Effort, InitReport, Line, Outcome, Project, ReleaseError, Sealed, Sealing, Works,
    init,
};
use umiak_spec::{Limits, Observer, Platform, Silent};
use umiak_testkit::http::{Fault, Files, Server};
use umiak_testkit::random::Chance;
use umiak_testkit::sample::{Blob, SampleImage, SampleLayer, image, index};
use umiak_tree::{Metadata, TreePath};

/// The six of container-ci.
pub const SIX: [&str; 6] =
    ["linux/amd64", "linux/arm/v6", "linux/arm/v7", "linux/arm64", "linux/mips", "linux/riscv64"];

/// A layer with these files.
pub fn layer(files: &[(&str, Vec<u8>)]) -> SampleLayer {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let metadata = Metadata::root_owned(0o755);
        archive.file(&path, &metadata, content.len() as u64, &mut content.as_slice()).unwrap();
    }
    SampleLayer::plain(archive.finish().unwrap())
}

/// Assets that all platforms share.
pub fn shared() -> SampleLayer {
    layer(&[("srv/www/app.js", Chance::new(7).bytes(60 << 10))])
}

/// An image of one platform, of this release.
pub fn sample(platform: &str, release: u64) -> SampleImage {
    let seed = platform.bytes().map(u64::from).sum::<u64>();
    let program = Chance::new(seed).bytes(200 << 10);
    let own = layer(&[("usr/bin/app", program), ("etc/release", format!("{release}\n").into_bytes())]);
    SampleImage { platform: platform.into(), layers: vec![shared(), own] }
}

/// A project beside its registry.
pub struct Place {
    scratch: Arc<tempfile::TempDir>,
    files: Arc<Files>,
    server: Arc<Server>,
    folder: &'static str,
}

/// How a build is made.
#[derive(Clone)]
pub struct How<'a> {
    pub only: &'a [Arch],
    pub jobs: usize,
    pub threads: usize,
    pub memory: u64,
    pub build: &'a str,
    pub key: Option<&'a str>,
    pub from: Option<&'a Path>,
    pub private_keys: bool,
    pub dry_run: bool,
}

impl Default for How<'_> {
    fn default() -> Self {
        Self {
            only: &[],
            jobs: 3,
            threads: 2,
            memory: 1 << 30,
            build: "0-g7ab223a",
            key: Some("a"),
            from: None,
            private_keys: false,
            dry_run: false,
        }
    }
}

impl Place {
    pub fn new() -> Self {
        let files = Arc::new(Files::new());
        let answers = Arc::clone(&files);
        let server = Server::start(move |request| answers.answer(request)).unwrap();
        let scratch = Arc::new(tempfile::tempdir().unwrap());
        Self { scratch, files, server: Arc::new(server), folder: "project" }
    }

    /// Another project with a cache of its own beside the same registry.
    pub fn beside(&self, folder: &'static str) -> Self {
        let (scratch, files, server) = (Arc::clone(&self.scratch), Arc::clone(&self.files), Arc::clone(&self.server));
        Self { scratch, files, server, folder }
    }

    pub fn root(&self) -> PathBuf {
        self.scratch.path().join(self.folder)
    }

    pub fn project(&self) -> Project {
        Project::at(&self.root())
    }

    /// `HOST/web`
    pub fn repository(&self) -> String {
        format!("{}/web", self.server.address().trim_start_matches("http://"))
    }

    /// Pushes these blobs, the last of them under a tag.
    pub fn push(&self, tag: &str, blobs: &[Blob]) {
        for blob in blobs {
            self.files.put(&format!("/v2/web/manifests/{}", blob.digest), &blob.media_type, blob.bytes.clone());
            self.files.put(&format!("/v2/web/blobs/{}", blob.digest), &blob.media_type, blob.bytes.clone());
        }
        let top = blobs.last().unwrap();
        self.files.put(&format!("/v2/web/manifests/{tag}"), &top.media_type, top.bytes.clone());
    }

    /// Pushes a release for these platforms.
    pub fn release(&self, platforms: &[&str], release: u64) {
        let samples: Vec<SampleImage> = platforms.iter().map(|platform| sample(platform, release)).collect();
        self.push("master", &index(&samples));
    }

    /// Pushes one platform's image under a tag of its own.
    pub fn release_alone(&self, platform: &str, tag: &str) {
        self.push(tag, &image(&sample(platform, 1)));
    }

    /// How often a path was asked for.
    pub fn count(&self, path: &str) -> usize {
        self.server.requests().iter().filter(|request| request.target == path && request.method == "GET").count()
    }

    /// What happens to the next requests for a path.
    pub fn fail(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        self.files.fail(path, faults);
    }

    /// Where the last request for a path asked to begin.
    pub fn last_range(&self, path: &str) -> Option<u64> {
        let requests = self.server.requests();
        let last = requests.iter().rev().find(|request| request.target == path && request.method == "GET")?;
        last.header("range")?.strip_prefix("bytes=")?.split('-').next()?.parse().ok()
    }

    pub fn init(&self, image: &str, platforms: &[&str], force: bool) -> Result<InitReport, ReleaseError> {
        let mut document = SourceDocument::new();
        document.set_docker_source(Some("remote,local"));
        document.set_arg("PV_GROUP", Value::from("system"));
        let platforms: Vec<Platform> = platforms.iter().map(|text| text.parse().unwrap()).collect();
        let (app, document) = ("pvwebstatus", &document);
        let draft = Draft { app, image, document, platforms: &platforms, force, dry_run: false };
        init(&self.project(), &draft)
    }

    pub fn build(&self, how: &How<'_>) -> Result<Vec<Line>, ReleaseError> {
        self.build_watched(how, &Silent)
    }

    pub fn build_watched(&self, how: &How<'_>, observer: &dyn Observer) -> Result<Vec<Line>, ReleaseError> {
        let build = BuildVersion::parse(how.build).unwrap();
        let pvpkg = self.project().pvpkg()?;
        let seal = |state: &State, apps: &[String]| signed(state, apps, how.key.unwrap_or(""));
        let sealing = how.key.map(|key| Sealing { identity: key.to_owned(), seal: &seal });
        let cache = self.scratch.path().join(format!("{}-cache", self.folder));
        let sources = Context {
            cache: cache.clone(),
            order: vec![Order::Remote, Order::Local],
            docker_socket: self.scratch.path().join("no.sock"),
            registry: RegistrySettings::default(),
            limits: Limits::default(),
        };
        let works = Works {
            project: &self.project(),
            cache: &cache,
            sources: &sources,
            limits: Limits::default(),
            threads: NonZeroUsize::new(how.threads).unwrap(),
            jobs: NonZeroUsize::new(how.jobs).unwrap(),
            memory: how.memory,
            image_time: 0,
            observer,
        };
        works.build(&Asked {
            only: how.only,
            name: &pvpkg.name,
            version: &pvpkg.version,
            build: &build,
            sealing,
            from: how.from.map(|directory| (directory, Effort::Fast)),
            private_keys: how.private_keys,
            dry_run: how.dry_run,
        })
    }

    /// What became of each platform, when none failed.
    pub fn outcomes(&self, how: &How<'_>) -> Vec<Outcome> {
        self.build(how).unwrap().into_iter().map(|line| line.result.unwrap().outcome).collect()
    }

    /// Everything below `path` as `tree` prints it, names that begin with a dot left out.
    pub fn tree(&self, path: &str) -> Vec<String> {
        let mut found = Vec::new();
        walk(&self.root().join(path), "", &mut found);
        found.sort();
        found
    }

    /// The packages with their bytes.
    pub fn packages(&self) -> Vec<(String, Vec<u8>)> {
        let names = self.tree("releases").into_iter().filter(|name| !name.contains('/') && name.ends_with(".tgz"));
        names.map(|name| (name.clone(), fs::read(self.root().join("releases").join(name)).unwrap())).collect()
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, content: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// Documents that stand for signatures: who signed, and what.
fn signed(state: &State, apps: &[String], key: &str) -> Sealed {
    let over = umiak_spec::Digest::of(state.canonical().as_bytes()).hex();
    let document = Value::object([("by", Value::from(key)), ("over", Value::from(over))]);
    Ok(apps.iter().map(|app| (app.clone(), document.clone())).collect())
}

fn walk(path: &Path, name: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let own = entry.file_name().into_string().unwrap();
        if own.starts_with('.') {
            continue;
        }
        let name = if name.is_empty() { own } else { format!("{name}/{own}") };
        if entry.path().is_dir() { walk(&entry.path(), &name, found) } else { found.push(name) }
    }
}
