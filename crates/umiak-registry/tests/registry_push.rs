//! Debian's docker-registry, which knows nothing of referrers: pushed to with umiak, read with umiak and with skopeo.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Mutex;

use common::deltas::{assert_same, found, sample, subject};
use common::{assert_layers, context, image, run, source};
use umiak_registry::{Context, Credentials, ErrorKind, Sink, Stored, open_sink};
use umiak_spec::{Descriptor, Digest, Listing, Silent};
use umiak_testkit::registry::Registry;
use umiak_testkit::sample::{self as samples, Blob, SampleImage};

/// Stores an image, blob by blob.
fn put_image(sink: &dyn Sink, image: &SampleImage) -> Descriptor {
    let blobs = samples::image(image);
    let (manifest, others) = blobs.split_last().unwrap();
    for Blob { media_type, digest, bytes } in others {
        sink.put_blob(&Descriptor::new(media_type, *digest, bytes.len() as u64), bytes, &Silent).unwrap();
    }
    sink.put_manifest(&manifest.bytes, &manifest.media_type, sink.tag(), &Silent).unwrap()
}

fn sink(reference: &str, context: &Context) -> Box<dyn Sink> {
    open_sink(&reference.parse().unwrap(), context).unwrap()
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn an_image_and_its_deltas_are_pushed_found_and_copied() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let registry = Registry::start(directory.path()).unwrap();
    let name = format!("docker://{}/team/app", registry.address());
    let sample_image = image("linux/amd64", 4, 300_000);
    let target = put_image(sink(&format!("{name}:1"), &context).as_ref(), &sample_image);
    let pulled = source(&format!("{name}:1"), &context).unwrap();
    let pinned = pulled.resolve(&[]).unwrap();
    assert_layers(pulled.as_ref(), &pinned, &sample_image);
    let manifest = pinned.manifest.unwrap();
    assert_eq!(manifest, target);
    assert_eq!(pulled.document(&manifest, &Silent).unwrap(), samples::image(&sample_image).last().unwrap().bytes);

    assert!(found(&name, &target.digest, &context).is_empty());
    let (one, other) = (sample(&target, "one", 700_000), sample(&target, "other", 5));
    let put_one = one.put_to(&name, &context).unwrap();
    let put_other = other.put_to(&format!("{name}:delta"), &context).unwrap();
    one.put_to(&name, &context).unwrap();
    let fresh = common::context(&directory.path().join("elsewhere"));
    assert_same(&found(&name, &target.digest, &fresh), &[(&put_one, &one), (&put_other, &other)]);

    // Everything about it is ordinary to skopeo: the delta, the list of deltas, the copy of both into a layout.
    let tag = umiak_spec::referrers::fallback_tag(&target.digest);
    let layout = directory.path().join("copy").display().to_string();
    for (tag, keep) in [("1", true), ("delta", true), (&tag, false)] {
        let (from, to) = (format!("{name}:{tag}"), format!("oci:{layout}:{tag}"));
        run("skopeo", &["inspect", "--raw", "--tls-verify=false", &from]);
        let mut arguments = vec!["copy", "-q", "--all", "--src-tls-verify=false", &from, &to];
        // Skopeo does not know artifact types, and loses them when it writes a list again.
        arguments.extend(keep.then_some("--preserve-digests"));
        run("skopeo", &arguments);
    }
    assert_same(&found(&format!("oci:{layout}"), &target.digest, &context), &[(&put_one, &one), (&put_other, &other)]);
}

#[test]
#[ignore = "needs: docker-registry"]
fn a_list_survives_the_deletion_of_what_it_lists() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let registry = Registry::start(directory.path()).unwrap();
    let name = format!("docker://{}/team/app", registry.address());
    let sample_image = image("linux/amd64", 4, 1000);
    let target = put_image(sink(&format!("{name}:1"), &context).as_ref(), &sample_image);
    let (one, other) = (sample(&target, "one", 10), sample(&target, "other", 20));
    let gone = one.put_to(&name, &context).unwrap();
    let revisions =
        directory.path().join("registry/docker/registry/v2/repositories/team/app/_manifests/revisions/sha256");
    fs::remove_dir_all(revisions.join(gone.digest.hex())).unwrap();
    let put_other = other.put_to(&name, &context).unwrap();
    assert_same(&found(&name, &target.digest, &context), &[(&put_other, &other)]);
}

#[test]
#[ignore = "needs: docker-registry"]
fn several_push_deltas_for_one_image_at_the_same_time() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let registry = Registry::start(directory.path()).unwrap();
    let name = format!("docker://{}/team/app", registry.address());
    std::thread::scope(|scope| {
        for base in ["one", "other"] {
            let (name, context) = (&name, &context);
            scope.spawn(move || sample(&subject(), base, 5000).put_to(name, context).unwrap());
        }
    });
    let list = source(&name, &context).unwrap().referrers(&subject().digest, None, &Silent).unwrap();
    // Neither this registry nor the specification has a way to change a tag only if it has not changed meanwhile: what
    // is certain is that each of the two has seen its own entry.
    assert!((1..=2).contains(&list.len()), "{list:?}");
}

#[test]
#[ignore = "needs: docker-registry"]
fn blobs_that_are_there_are_not_sent_and_chunks_are_taken() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let registry = Registry::start(directory.path()).unwrap();
    let name = format!("docker://{}/team/app", registry.address());
    let content: Vec<u8> = (0..9_000_000_u32).map(|at| (at >> 3).to_le_bytes()[0]).collect();
    let blob = Descriptor::new("a/b", Digest::of(&content), content.len() as u64);
    assert_eq!(sink(&name, &context).put_blob(&blob, &content, &Silent).unwrap(), Stored::New);
    assert_eq!(sink(&name, &context).put_blob(&blob, &content, &Silent).unwrap(), Stored::There);
    let fetched = source(&name, &context).unwrap().blob(&blob, &Silent).unwrap();
    assert_eq!(common::bytes(&fetched), content);
}

/// A line to `registry` that breaks while the first requests go over it: after so many bytes each. What has gone over it
/// arrives.
fn breaking_line(registry: &str, breaks: Vec<usize>) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let (address, registry) = (listener.local_addr().unwrap().to_string(), registry.to_owned());
    let left = Mutex::new(breaks);
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&registry).unwrap());
            let (mut answers, mut to_client) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut answers, &mut to_client));
            let (mut buffer, mut passed) = (vec![0; 64 << 10], 0);
            while let Ok(count @ 1..) = client.read(&mut buffer) {
                // The registry may have closed a line that was idle.
                if server.write_all(&buffer[..count]).is_err() {
                    break;
                }
                passed += count;
                let mut left = left.lock().unwrap();
                if left.first().is_some_and(|limit| passed > *limit) {
                    left.remove(0);
                    break;
                }
            }
            let _ = (server.shutdown(Shutdown::Both), client.shutdown(Shutdown::Both));
        }
    });
    address
}

#[test]
#[ignore = "needs: docker-registry"]
fn a_push_over_a_line_that_breaks_arrives() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let registry = Registry::start(directory.path()).unwrap();
    let content: Vec<u8> = (0..20_000_000_u32).map(|at| (at.wrapping_mul(7) >> 5).to_le_bytes()[0]).collect();
    let blob = Descriptor::new("a/b", Digest::of(&content), content.len() as u64);
    let line = breaking_line(&registry.address(), vec![3_000_000, 5_000_000, 9_000_000]);
    let watch = common::watch::Watch::until(u64::MAX);
    let sink = sink(&format!("docker://{line}/team/app"), &context);
    assert_eq!(sink.put_blob(&blob, &content, &watch).unwrap(), Stored::New);
    assert_eq!(watch.expected.into_inner(), watch.done.into_inner());
    let direct = source(&format!("docker://{}/team/app", registry.address()), &context).unwrap();
    assert_eq!(common::bytes(&direct.blob(&blob, &Silent).unwrap()), content);
}

/// The password `secret`, as htpasswd hashes it.
const PASSWORD: &str = "me:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n";

fn start_with_password(directory: &Path) -> Registry {
    let file = directory.join("htpasswd");
    fs::write(&file, PASSWORD).unwrap();
    let auth = format!("}}\nauth: {{htpasswd: {{realm: here, path: '{}'}}", file.display());
    Registry::start_with(directory, &auth).unwrap()
}

#[test]
#[ignore = "needs: docker-registry"]
fn a_password_is_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let mut context = context(directory.path());
    let registry = start_with_password(directory.path());
    let name = format!("docker://{}/team/app", registry.address());
    let delta = sample(&subject(), "one", 100_000);
    for credentials in [None, Some("wrong")] {
        context.registry.credentials =
            credentials.map(|password| Credentials { username: "me".into(), password: password.into() });
        let error = delta.put_to(&name, &context).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error:?}");
    }
    context.registry.credentials = Some(Credentials { username: "me".into(), password: "secret".into() });
    let put = delta.put_to(&name, &context).unwrap();
    assert_same(&found(&name, &subject().digest, &context), &[(&put, &delta)]);
    let list = source(&name, &context).unwrap().referrers(&subject().digest, None, &Silent).unwrap();
    assert!(Listing::default().add(&list[0]));
}
