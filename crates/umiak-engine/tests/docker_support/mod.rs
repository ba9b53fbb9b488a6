//! A store of ours in memory, with images made of busybox, and projects placed from it.

#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses some of it, and fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;

use umiak_compose::run::{Device, run};
use umiak_compose::{ComposeLimits, Project};
use umiak_engine::{Deployment, Docker, DockerOptions, Images, Placed};
use umiak_spec::service::{ImageDefaults, Persistence, Root, start_order};
use umiak_spec::{Digest, ImageConfig, Limits};
use umiak_testkit::dockerd::Dockerd;

/// What an agent's store would have.
#[derive(Default)]
pub struct Store {
    configs: BTreeMap<String, Vec<u8>>,
    layers: BTreeMap<String, Vec<u8>>,
    /// Layers that were read.
    pub read: Mutex<Vec<String>>,
}

impl Store {
    /// A layer with busybox as the only program, called `sh` too.
    pub fn busybox() -> Vec<u8> {
        layer(|root| {
            fs::create_dir_all(root.join("bin")).unwrap();
            fs::create_dir_all(root.join("tmp")).unwrap();
            fs::copy("/bin/busybox", root.join("bin/busybox")).unwrap();
            for name in ["sh", "sleep", "cat", "echo", "true", "httpd", "id", "env"] {
                std::os::unix::fs::symlink("busybox", root.join("bin").join(name)).unwrap();
            }
        })
    }

    pub fn image(&mut self, layers: &[&[u8]], config: &str) -> Digest {
        let diff_ids: Vec<String> = layers.iter().map(|layer| format!("\"{}\"", Digest::of(layer))).collect();
        let text = format!(
            r#"{{"architecture":"amd64","os":"linux","config":{config},"rootfs":{{"type":"layers","diff_ids":[{}]}}}}"#,
            diff_ids.join(",")
        );
        for layer in layers {
            self.layers.insert(Digest::of(layer).to_string(), layer.to_vec());
        }
        let digest = Digest::of(text.as_bytes());
        self.configs.insert(digest.to_string(), text.into_bytes());
        digest
    }

    /// A project of which every service has this image, placed in `directory`.
    pub fn deployment(&self, directory: &Path, revision: &str, image: &Digest, text: &str) -> Deployment {
        fs::create_dir_all(directory).unwrap();
        fs::write(directory.join("docker-compose.yml"), text).unwrap();
        let files = BTreeMap::from([("docker-compose.yml".to_owned(), text.as_bytes().to_vec())]);
        let (none, profiles) = (BTreeMap::new(), BTreeSet::new());
        let project = Project::read(&files, &[], &none, &ComposeLimits::default()).unwrap();
        let config = ImageConfig::parse(&self.configs[&image.to_string()], &Limits::default()).unwrap();
        let defaults = ImageDefaults::of(&config).unwrap();
        let images = project.services().iter().map(|service| (service.name.clone(), defaults.clone())).collect();
        let root = Root::Writable(Persistence::Revision);
        let run = run(&project, &images, &Device { files: &files, environment: &none, profiles: &profiles, root });
        assert_eq!(run.refused(true).collect::<Vec<_>>(), Vec::<&umiak_compose::run::Refusal>::new());
        let placed =
            |service: &umiak_spec::service::Service| Placed { service: service.clone(), image: *image, lowers: vec![] };
        Deployment {
            app: "shop".into(),
            revision: format!("sha256:{}", Digest::of(revision.as_bytes()).hex()),
            services: start_order(&run.services).into_iter().map(placed).collect(),
            project: Some(directory.to_owned()),
        }
    }
}

impl Images for Store {
    fn config(&self, image: &Digest) -> io::Result<Vec<u8>> {
        self.configs.get(&image.to_string()).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn layer(&self, diff_id: &Digest) -> io::Result<Box<dyn Read + Send + '_>> {
        let layer = self.layers.get(&diff_id.to_string()).ok_or(io::ErrorKind::NotFound)?;
        self.read.lock().unwrap().push(diff_id.to_string());
        Ok(Box::new(layer.as_slice()))
    }

    fn layer_size(&self, diff_id: &Digest) -> io::Result<u64> {
        Ok(self.layers.get(&diff_id.to_string()).ok_or(io::ErrorKind::NotFound)?.len() as u64)
    }
}

/// The tar of a directory that `fill` fills.
pub fn layer(fill: impl FnOnce(&Path)) -> Vec<u8> {
    let scratch = tempfile::tempdir().unwrap();
    fill(scratch.path());
    let mut tar = Command::new("tar");
    tar.args(["--sort=name", "--owner=0", "--group=0", "--mtime=@0", "-c", "-C"]).arg(scratch.path()).arg(".");
    let output = tar.output().unwrap();
    assert!(output.status.success());
    output.stdout
}

pub fn engine(dockerd: &Dockerd) -> Docker {
    Docker::new(DockerOptions { socket: dockerd.socket(), compose: None, environment: BTreeMap::new(), patience: None })
}
