//! Copies between real registries: one that has ranges and no referrers, and one that has referrers and no ranges.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use common::copying::{copy, fates, whole};
use common::deltas::{assert_same, found, sample};
use common::{assert_layers, context, image, platform, run, source};
use umiak_registry::{Choice, ErrorKind, delete};
use umiak_spec::{Descriptor, Silent};
use umiak_testkit::ferro::Ferro;
use umiak_testkit::registry::Registry;
use umiak_testkit::sample::{self as samples, SampleImage};

/// The layout `layout` with the tag `1`: an index of two platforms.
fn layout(directory: &std::path::Path) -> ([SampleImage; 2], String) {
    let images = [image("linux/amd64", 1, 500_000), image("linux/arm64", 2, 500_000)];
    let place = directory.join("layout");
    samples::layout(&place, "1", &samples::index(&images)).unwrap();
    (images, format!("oci:{}:1", place.display()))
}

#[test]
#[ignore = "needs: docker-registry, cargo:ferro-oci-server"]
fn referrers_go_from_either_kind_of_registry_to_the_other() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (images, from) = layout(directory.path());
    let (one, other) = (Registry::start(directory.path()).unwrap(), Ferro::start(directory.path()).unwrap());
    let manifest = samples::image(&images[0]).pop().unwrap();
    let subject = Descriptor::new(&manifest.media_type, manifest.digest, manifest.bytes.len() as u64);
    let delta = sample(&subject, "base", 200_000);
    let put = delta.put_to(from.strip_suffix(":1").unwrap(), &context).unwrap();

    let all = Choice { referrers: true, ..whole() };
    let places = [
        from,
        format!("docker://{}/team/app:1", one.address()),
        format!("docker://{}/team/app:1", other.address()),
        format!("docker://{}/team/back:1", one.address()),
        format!("oci:{}:1", directory.path().join("last").display()),
    ];
    let mut digests = Vec::new();
    for pair in places.windows(2) {
        let (content, copied) = copy(&pair[0], &pair[1], &all, &context).unwrap();
        digests.push(content.top.digest);
        assert_eq!(fates(&copied).iter().sum::<usize>(), content.blobs.len(), "{pair:?}");
        assert_same(&found(&pair[1], &subject.digest, &context), &[(&put, &delta)]);
        let there = source(&pair[1], &context).unwrap();
        let resolved = there.resolve(&[platform("linux/arm64")]).unwrap();
        assert_layers(there.as_ref(), &resolved, &images[1]);
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "digests stay");
}

#[test]
#[ignore = "needs: docker-registry, skopeo, cargo:ferro-oci-server"]
fn skopeo_and_umiak_read_what_the_other_copied() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (images, from) = layout(directory.path());
    let (one, other) = (Registry::start(directory.path()).unwrap(), Ferro::start(directory.path()).unwrap());
    let flags = ["-q", "--all", "--preserve-digests", "--src-tls-verify=false", "--dest-tls-verify=false"];
    let skopeo = |from: &str, to: &str| run("skopeo", &[&["copy"], &flags[..], &[from, to]].concat());
    let at = |address: String, name: &str| format!("docker://{address}/{name}:1");
    for (near, far) in [(one.address(), other.address()), (other.address(), one.address())] {
        copy(&from, &at(near.clone(), "ours"), &whole(), &context).unwrap();
        copy(&at(near.clone(), "ours"), &at(far.clone(), "ours"), &whole(), &context).unwrap();
        skopeo(&at(far.clone(), "ours"), &at(near.clone(), "theirs"));
        copy(&at(near, "theirs"), &at(far.clone(), "both"), &whole(), &context).unwrap();
        let there = source(&at(far, "both"), &context).unwrap();
        for image in &images {
            let resolved = there.resolve(&[platform(&image.platform)]).unwrap();
            assert_layers(there.as_ref(), &resolved, image);
        }
    }
}

#[test]
#[ignore = "needs: docker-registry"]
fn a_real_registry_takes_blobs_from_its_other_repositories() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (_, from) = layout(directory.path());
    let registry = Registry::start(directory.path()).unwrap();
    let place = |name: &str| format!("docker://{}/{name}:1", registry.address());
    assert_eq!(fates(&copy(&from, &place("a"), &whole(), &context).unwrap().1), [0, 6, 0]);
    assert_eq!(fates(&copy(&place("a"), &place("b/c"), &whole(), &context).unwrap().1), [0, 0, 6]);
    assert_eq!(fates(&copy(&place("a"), &place("b/c"), &whole(), &context).unwrap().1), [6, 0, 0]);
}

#[test]
#[ignore = "needs: docker-registry, cargo:ferro-oci-server"]
fn tags_are_listed_and_manifests_deleted_in_real_registries() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (_, from) = layout(directory.path());
    let (one, other) = (Registry::start(directory.path()).unwrap(), Ferro::start(directory.path()).unwrap());
    for address in [one.address(), other.address()] {
        let name = format!("docker://{address}/team/app");
        let mut top = None;
        for tag in ["1", "2"] {
            top = Some(copy(&from, &format!("{name}:{tag}"), &Choice::default(), &context).unwrap().0.top.digest);
        }
        let mut tags = source(&name, &context).unwrap().tags(&Silent).unwrap();
        tags.sort();
        assert_eq!(tags, ["1", "2"]);
        let single = delete(&format!("{name}:1").parse().unwrap(), &context, &Silent);
        assert!(single.is_ok() || single.unwrap_err().kind() == ErrorKind::Unsupported);
        assert!(source(&format!("{name}:2"), &context).unwrap().top(&Silent).is_ok(), "the other tag stays");
        delete(&format!("{name}@{}", top.unwrap()).parse().unwrap(), &context, &Silent).unwrap();
        let gone =
            source(&format!("{name}@{}", top.unwrap()), &self::context(&directory.path().join("fresh"))).unwrap();
        assert_eq!(gone.top(&Silent).unwrap_err().kind(), ErrorKind::NotFound);
    }
}
