//! Registries for tests: settings that do not wait, and a registry played by the failing server.

use std::time::Duration;

use umiak_registry::RegistrySettings;
use umiak_testkit::http::{Files, Request, Server};
use umiak_testkit::sample::Blob;

/// No proxy, no credentials, no waiting between attempts, half a second of patience with a silent server.
pub fn settings() -> RegistrySettings {
    RegistrySettings {
        proxy: Some("no".into()),
        patience: Duration::from_millis(500),
        pause: |_| (),
        ..RegistrySettings::default()
    }
}

/// A registry with the repository `team/app`, whose tag `1` is the last of `blobs`.
pub struct Fake {
    pub server: Server,
    pub files: Files,
}

impl Fake {
    pub fn start(blobs: &[Blob]) -> Self {
        let files = Files::new();
        for blob in blobs {
            files.put(&manifest(&blob.digest.to_string()), &blob.media_type, blob.bytes.clone());
            files.put(&path(blob), "application/octet-stream", blob.bytes.clone());
        }
        let top = blobs.last().unwrap();
        files.put(&manifest("1"), &top.media_type, top.bytes.clone());
        let answering = files.clone();
        Self { server: Server::start(move |request| answering.answer(request)).unwrap(), files }
    }

    /// `docker://HOST:PORT/team/app:1`
    pub fn reference(&self) -> String {
        format!("docker://{}/team/app:1", self.server.address())
    }

    /// Where the requests for `path` began, in order: 0 for those without a range.
    pub fn starts(&self, path: &str) -> Vec<u64> {
        starts(&self.server, path)
    }
}

/// Where the requests for `path` began, in order: 0 for those without a range.
pub fn starts(server: &Server, path: &str) -> Vec<u64> {
    let start = |range: Option<&str>| {
        range.map_or(0, |range| range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap())
    };
    let reads = |request: &&Request| request.target == path && request.method == "GET";
    server.requests().iter().filter(reads).map(|request| start(request.header("range"))).collect()
}

/// Path of a manifest.
pub fn manifest(target: &str) -> String {
    format!("/v2/team/app/manifests/{target}")
}

/// Path of a blob.
pub fn path(blob: &Blob) -> String {
    format!("/v2/team/app/blobs/{}", blob.digest)
}
