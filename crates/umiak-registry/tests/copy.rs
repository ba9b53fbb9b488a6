//! Copies between registries, layouts and archives: what is sent, what is not, and what it is afterwards.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs;

use common::archives::docker_archive;
use common::copying::{copy, fates, fill, large_files, manifest_of, sends, setting, setting_like, whole};
use common::deltas::{assert_same, found, sample};
use common::{assert_layers, context, image, platform, source, told};
use umiak_registry::{Choice, ErrorKind};
use umiak_spec::{Descriptor, Digest, Silent, media_type};
use umiak_testkit::http::{Fault, Manner, Store};
use umiak_testkit::sample::{self as samples, Blob};

#[test]
fn an_index_is_copied_whole_and_unchanged() {
    let setting = setting();
    let (content, copied) = setting.copy(&whole()).unwrap();
    setting.assert_copied();
    assert_eq!(content.top.digest, setting.blobs.last().unwrap().digest);
    assert_eq!(fates(&copied), [0, 6, 0]);
    assert!(large_files(setting.directory.path()).is_empty(), "blobs pass through");
}

#[test]
fn one_platform_of_an_index_is_copied_as_its_own_manifest() {
    let setting = setting();
    let choice = Choice { platforms: vec![platform("linux/arm64")], ..Choice::default() };
    let (content, copied) = setting.copy(&choice).unwrap();
    assert_eq!(content.top.digest, manifest_of(&setting.samples[1]));
    assert_eq!(fates(&copied), [0, 3, 0]);
    let copied = source(&setting.target(), &setting.context).unwrap();
    assert_layers(copied.as_ref(), &copied.resolve(&[]).unwrap(), &setting.samples[1]);
    assert!(setting.to.1.blob(&setting.layer().digest).is_none());

    let choice = Choice { platforms: vec![platform("linux/riscv64")], ..Choice::default() };
    let error = setting.copy(&choice).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Platform, "{error:?}");
}

#[test]
fn only_what_is_missing_is_sent() {
    let setting = setting();
    setting.copied();
    let before = sends(&setting.to.0);
    let (_, copied) = setting.copy(&whole()).unwrap();
    assert_eq!(fates(&copied), [6, 0, 0]);
    assert_eq!(sends(&setting.to.0), before);

    setting.to.1.lose(&setting.layer().digest);
    let (_, copied) = setting.copy(&whole()).unwrap();
    assert_eq!(fates(&copied), [5, 1, 0]);
}

#[test]
fn within_a_registry_nothing_is_sent() {
    let setting = setting();
    let other = format!("docker://{}/other/place:2", setting.from.0.address());
    let (_, copied) = copy(&setting.source(), &other, &whole(), &setting.context).unwrap();
    assert_eq!(fates(&copied), [0, 0, 6]);
    assert_eq!(sends(&setting.from.0), 0);
    let index = setting.from.1.manifest_in("other/place", "2");
    assert_eq!(index.as_ref(), setting.blobs.last().map(|index| &index.bytes));
    let tag = format!("docker://{}/team/app:other", setting.from.0.address());
    let (_, copied) = copy(&setting.source(), &tag, &whole(), &setting.context).unwrap();
    assert_eq!(fates(&copied), [6, 0, 0], "another tag of the same repository");
}

#[test]
fn a_registry_that_mounts_nothing_is_sent_it() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (server, store) = Store::start(Manner { mounts: false, ..Manner::default() }).unwrap();
    let blobs = samples::image(&image("linux/amd64", 1, 100_000));
    fill(&store, &blobs, "1");
    let place = |name: &str| format!("docker://{}/{name}", server.address());
    let (_, copied) = copy(&place("team/app:1"), &place("b:1"), &Choice::default(), &context).unwrap();
    assert_eq!(fates(&copied), [0, 3, 0]);
    let begun = server.requests().iter().filter(|request| request.method == "POST").count();
    assert_eq!(begun, 3, "what was begun by asking is gone on with");
}

#[test]
fn copies_go_through_layouts_and_archives_and_come_back_the_same() {
    let setting = setting();
    let place = |name: &str| setting.directory.path().join(name).display().to_string();
    let (layout, archive) = (format!("oci:{}:1", place("layout")), format!("oci-archive:{}:1", place("archive.tar")));
    let bare = setting.source().replace("docker://", "");
    for (from, to) in [(bare, &layout), (layout.clone(), &archive), (archive.clone(), &setting.target())] {
        copy(&from, to, &whole(), &setting.context).unwrap();
    }
    setting.assert_copied();
    let listed = fs::read_to_string(setting.directory.path().join("layout/index.json")).unwrap();
    assert_eq!(listed.matches("sha256:").count(), 1, "only the index is listed: {listed}");
}

#[test]
fn what_refers_to_an_image_comes_along_when_asked_for() {
    for (referrers, manner) in [
        (true, Manner::default()),
        (true, Manner { referrers: false, ..Manner::default() }),
        (false, Manner::default()),
    ] {
        let setting = setting_like(manner);
        let subject = |blob: &Blob| Descriptor::new(&blob.media_type, blob.digest, blob.bytes.len() as u64);
        let manifests = setting.samples.each_ref().map(|sample| samples::image(sample).pop().unwrap());
        let deltas = manifests.each_ref().map(|blob| sample(&subject(blob), &blob.digest.short(), 50_000));
        let name = setting.source();
        let untagged = name.strip_suffix(":1").unwrap();
        let put = deltas.each_ref().map(|delta| delta.put_to(untagged, &setting.context).unwrap());

        setting.copy(&Choice { referrers, ..whole() }).unwrap();
        setting.assert_copied();
        let at = |digest: &Digest| found(&setting.target(), digest, &setting.context);
        for (manifest, (put, delta)) in manifests.iter().zip(put.iter().zip(&deltas)) {
            let there = at(&manifest.digest);
            if referrers { assert_same(&there, &[(put, delta)]) } else { assert!(there.is_empty()) }
        }
    }
}

#[test]
fn an_entry_that_refers_to_another_is_listed_where_the_copy_is() {
    let setting = setting_like(Manner { referrers: false, ..Manner::default() });
    let manifest = samples::image(&setting.samples[0]).pop().unwrap();
    let subject = Descriptor::new(&manifest.media_type, manifest.digest, manifest.bytes.len() as u64);
    let delta = sample(&subject, "base", 1000);
    let put = delta.put_to(setting.source().strip_suffix(":1").unwrap(), &setting.context).unwrap();
    let of_delta = Blob { digest: put.digest, media_type: put.media_type.clone(), bytes: delta.delta.to_bytes() };
    let entries = format!("{},{}", manifest.descriptor(""), of_delta.descriptor(""));
    let kind = media_type::OCI_INDEX;
    setting.from.1.put("1", kind, format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{entries}]}}"#));
    setting.copy(&whole()).unwrap();
    assert_same(&found(&setting.target(), &manifest.digest, &setting.context), &[(&put, &delta)]);
}

#[test]
fn a_saved_image_gets_a_manifest_and_keeps_its_config() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let (server, store) = Store::start(Manner::default()).unwrap();
    let sample = image("linux/amd64", 7, 200_000);
    let file = directory.path().join("saved.tar");
    fs::write(&file, docker_archive(&sample, r#"["team/app:1"]"#)).unwrap();
    let from = format!("docker-archive:{}", file.display());
    let to = format!("docker://{}/team/app:1", server.address());
    let (content, copied) = copy(&from, &to, &Choice::default(), &context).unwrap();
    assert_eq!(fates(&copied), [0, 3, 0]);
    let there = source(&to, &context).unwrap();
    let found = there.resolve(&[]).unwrap();
    assert_layers(there.as_ref(), &found, &sample);
    assert!(found.layers.iter().all(|layer| layer.media_type == media_type::OCI_LAYER));
    let again = copy(&from, &to, &Choice::default(), &context).unwrap();
    assert_eq!(again.0.top.digest, content.top.digest);
    assert_eq!(fates(&again.1), [3, 0, 0]);
    assert!(store.manifest("1").is_some());

    let wrong = Choice { platforms: vec![platform("linux/arm64")], ..Choice::default() };
    assert_eq!(copy(&from, &to, &wrong, &context).unwrap_err().kind(), ErrorKind::Platform);
}

#[test]
fn a_root_file_system_is_no_image_to_copy() {
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path());
    let from = format!("rootfs:{}", directory.path().display());
    let to = format!("oci:{}/layout:1", directory.path().display());
    let error = copy(&from, &to, &Choice::default(), &context).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error:?}");
}

#[test]
fn an_app_is_copied_with_its_bundle_index_or_without_when_that_is_gone() {
    for gone in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let context = context(directory.path());
        let (server, store) = Store::start(Manner::default()).unwrap();
        let (bundle, listing) = (b"bundle".to_vec(), br#"{"docker-compose.yml":"sha256:x"}"#.to_vec());
        for blob in [&bundle, &listing, &Vec::new()] {
            store.put_blob("team/app", blob.clone());
        }
        let text = format!(
            r#"{{"schemaVersion":2,"mediaType":"{}","annotations":{{"compose-app":"v1"}},
            "config":{{"mediaType":"{}","digest":"{}"}},
            "layers":[{{"mediaType":"application/octet-stream","digest":"{}","size":6,"annotations":{{
            "org.foundries.app.bundle.index.digest":"{}","org.foundries.app.bundle.index.size":"{}"}}}}]}}"#,
            media_type::OCI_MANIFEST,
            media_type::OCI_CONFIG,
            Digest::of(b""),
            Digest::of(&bundle),
            Digest::of(&listing),
            listing.len(),
        );
        store.put("1", media_type::OCI_MANIFEST, text.clone());
        if gone {
            store.lose(&Digest::of(&listing));
        }
        let from = format!("docker://{}/team/app:1", server.address());
        let layout = directory.path().join("layout");
        let (_, copied) = copy(&from, &format!("oci:{}:1", layout.display()), &Choice::default(), &context).unwrap();
        let there = |bytes: &[u8]| layout.join("blobs/sha256").join(Digest::of(bytes).hex()).exists();
        assert!(there(&bundle) && there(b"") && there(text.as_bytes()));
        assert_eq!((there(&listing), copied.lost.len()), (!gone, usize::from(gone)));
    }
}

#[test]
fn a_tag_that_moves_meanwhile_changes_nothing() {
    let setting = setting();
    let other = samples::index(&[image("linux/amd64", 9, 1000)]);
    fill(&setting.from.1, &other, "other");
    // The first who asks for the tag gets what it was; everybody later what it is.
    let path = "/v2/team/app/manifests/1";
    setting.from.1.fail_reading(path, [Fault::Instead(other.last().unwrap().bytes.clone())]);
    let (content, _) = setting.copy(&whole()).unwrap();
    assert_eq!(content.top.digest, other.last().unwrap().digest);
    assert_eq!(setting.from.0.count(path), 1, "a tag is looked up once");
    assert_eq!(setting.to.1.manifest("2").as_ref(), other.last().map(|index| &index.bytes));
}

#[test]
fn a_copy_that_is_cut_off_leaves_no_tag_and_is_gone_on_with() {
    let setting = setting();
    setting.from.1.fail_reading(&setting.layer_path(), std::iter::repeat_n(Fault::status(500), 20));
    assert_eq!(setting.copy(&whole()).unwrap_err().kind(), ErrorKind::Network);
    assert!(setting.to.1.manifest("2").is_none());
    let index = setting.blobs.last().unwrap().digest.to_string();
    assert!(setting.to.1.manifest(&index).is_none());
    setting.from.1.fail_reading(&setting.layer_path(), []);
    while setting.copy(&whole()).is_err() {}
    setting.assert_copied();
}

#[test]
fn documents_that_lie_about_sizes_are_refused() {
    let setting = setting();
    let layer = setting.layer();
    let wrong = |size: usize| {
        let manifest = samples::image(&setting.samples[0]).pop().unwrap();
        let text = String::from_utf8(manifest.bytes).unwrap();
        let text = text.replace(&format!("\"size\":{}", layer.bytes.len()), &format!("\"size\":{size}"));
        setting.from.1.put("1", media_type::OCI_MANIFEST, text);
        setting.copy(&Choice::default()).unwrap_err()
    };
    for size in [layer.bytes.len() - 1, layer.bytes.len() + 1, 1] {
        let error = wrong(size);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{size}: {error:?}");
    }
    let huge = wrong(1 << 50);
    assert!(huge.to_string().contains("limit"), "{huge}");
    assert!(setting.to.1.manifest("2").is_none());
}

#[test]
fn an_index_without_end_is_refused() {
    let setting = setting();
    let mut inner = setting.blobs.last().unwrap().clone();
    for _ in 0..12 {
        let kind = media_type::OCI_INDEX;
        let text = format!(r#"{{"schemaVersion":2,"mediaType":"{kind}","manifests":[{}]}}"#, inner.descriptor(""));
        inner = Blob { digest: Digest::of(text.as_bytes()), media_type: kind.into(), bytes: text.into() };
        setting.from.1.put(&inner.digest.to_string(), kind, inner.bytes.clone());
    }
    setting.from.1.put("1", &inner.media_type, inner.bytes);
    let error = setting.copy(&whole()).unwrap_err();
    assert!(told(&error).contains("in one another"), "{error:?}");
}

#[test]
fn whoever_watches_hears_the_total_once() {
    let setting = setting();
    let watch = common::watch::Watch::until(u64::MAX);
    let (from, to) = (setting.source().parse().unwrap(), setting.target().parse().unwrap());
    let source = umiak_registry::open(&from, &setting.context).unwrap();
    let sink = umiak_registry::open_sink(&to, &setting.context).unwrap();
    let found = umiak_registry::content(source.as_ref(), &from, &whole(), &setting.context.limits, &Silent).unwrap();
    setting.from.1.fail_reading(&setting.layer_path(), [Fault::Cut(70_000)]);
    let copy = umiak_registry::Copy {
        source: source.as_ref(),
        from: &from,
        sink: sink.as_ref(),
        parallel: 2,
        observer: &watch,
    };
    let missing = copy.missing(&found).unwrap();
    copy.run(&found, &missing, None).unwrap();
    assert_eq!((watch.expected.into_inner(), watch.done.into_inner()), (found.size(), found.size()));
}
