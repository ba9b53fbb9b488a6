//! `umiak delta …` through the program: what is said, what is written, what an error costs (nothing).
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::process::{Command, Stdio};

use harness::{Place, Said, assert_snapshot};
use serde_json::Value;
use umiak_layer::LayerWriter;
use umiak_spec::Limits;
use umiak_testkit::http::{Manner, Store};
use umiak_testkit::random::Chance;
use umiak_testkit::registry::Registry;
use umiak_testkit::sample::{SampleImage, SampleLayer, image, layout};
use umiak_tree::{Metadata, TreePath};

/// A tar of these files.
fn tar<C: AsRef<[u8]>>(files: &[(&str, C)]) -> Vec<u8> {
    let mut archive = LayerWriter::new(Vec::new());
    for (path, content) in files {
        let path = TreePath::from_archive(path.as_bytes(), &Limits::default()).unwrap();
        let mut content = content.as_ref();
        archive.file(&path, &Metadata::root_owned(0o644), content.len() as u64, &mut content).unwrap();
    }
    archive.finish().unwrap()
}

/// The changing layers of three releases: a library with some other bytes, a text, and in the last one something new.
fn releases() -> [Vec<u8>; 3] {
    let mut library = Chance::new(1).bytes(200 << 10);
    [1, 2, 3].map(|release| {
        for place in 1..20 {
            library[place * 9000 + release] ^= 0x55;
        }
        let text = (0..release * 40).map(|line| format!("line {line} of what it can do\n")).collect::<String>();
        let mut files = vec![("usr/lib/library", library.clone()), ("usr/share/doc/text", text.into_bytes())];
        files.extend((release == 3).then(|| ("usr/bin/tool", b"#!/bin/sh\necho something new\n".to_vec())));
        tar(&files)
    })
}

/// The tars `1.tar`, `2.tar`, `3.tar`, and the layouts `one`, `two` and `three` with a common layer below.
fn place(name: &str) -> Place {
    let place = Place::new(name);
    let common = tar(&[("etc/os-release", "ID=test\n")]);
    for ((release, number), name) in releases().into_iter().zip(1..).zip(["one", "two", "three"]) {
        place.write(&format!("{number}.tar"), &release);
        let layers = vec![SampleLayer::plain(common.clone()), SampleLayer::plain(release)];
        let platform = umiak_spec::Platform::host().to_string();
        layout(&place.path().join(name), "v", &image(&SampleImage { platform, layers })).unwrap();
    }
    place
}

/// Talk and data with figures taken out, that change whenever the codec gets better.
fn steady(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let bare = word.trim_end_matches([',', ':']);
            let is_number = bare.parse::<f64>().is_ok();
            let is_unit = ["B", "KiB", "MiB"].contains(&bare);
            match words.last_mut() {
                Some(last) if is_unit && last == "[N]" => *last = format!("[SIZE]{}", &word[bare.len()..]),
                _ if is_number => words.push(format!("[N]{}", &word[bare.len()..])),
                _ => words.push(without_digests(word)),
            }
        }
        out.push_str(&format!("{}\n", words.join(" ")));
    }
    out
}

/// A digest, long or short, is `[DIGEST]`.
fn without_digests(word: &str) -> String {
    let is_hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let mut out = String::new();
    let mut run = String::new();
    for c in word.chars().chain(['\n']) {
        if is_hex(c) {
            run.push(c);
            continue;
        }
        let digest = [12, 64].contains(&run.len());
        out.push_str(if digest { "[DIGEST]" } else { &run });
        run.clear();
        out.push(c);
    }
    out.trim_end_matches('\n').to_owned()
}

fn told(line: &str, said: &Said) -> String {
    let exit = if said.code == 0 { String::new() } else { format!("exit {}\n", said.code) };
    let text = steady(&format!("{}{}", said.err, said.out));
    // Which streams there are, and which file is dearer than which, changes with the codec, too.
    let is_stream = |line: &&str| line.starts_with("[SIZE]") && line.contains(", ");
    let mut lines: Vec<&str> = text.lines().filter(|line| !is_stream(line)).collect();
    lines.chunk_by_mut(|a, b| a.starts_with("[SIZE]") && b.starts_with("[SIZE]")).for_each(<[_]>::sort_unstable);
    format!("$ umiak {line}\n{}\n{exit}\n", lines.join("\n"))
}

#[test]
fn the_life_of_a_delta() {
    let place = place("delta-life");
    let mut transcript = String::new();
    let mut run = |line: &str| {
        let said = place.run(line);
        transcript.push_str(&told(line, &said));
        said
    };
    run("delta make 1.tar 2.tar -o 2.delta");
    run("delta apply 1.tar 2.delta -o again.tar");
    run("delta inspect 2.delta");
    run("delta inspect 2.delta --base 1.tar");
    run("delta make 1.tar 1.tar -o same.delta");
    run("-v delta make --effort fast oci:one:v oci:two:v -o image.delta");
    run("-v delta apply oci:one:v image.delta -o oci:made:v");
    run("delta inspect image.delta --base oci:one:v");
    run("delta publish oci:one:v oci:two:v oci:three:v");
    run("delta apply oci:two:v oci:three:v -o made.tar");
    run("delta inspect oci:three:v --base oci:one:v");
    run("--dry-run delta make 1.tar 2.tar -o nothing");
    run("--dry-run delta apply 1.tar 2.delta -o nothing");
    run("--dry-run delta publish oci:one:v oci:three:v");
    run("-q delta make 1.tar 3.tar -o 3.delta");
    assert_snapshot("delta", &transcript);
    let read = |name: &str| fs::read(place.path().join(name)).unwrap();
    assert_eq!(read("again.tar"), read("2.tar"));
    assert!(!place.path().join("nothing").exists());
}

#[test]
fn with_json_everything_is_told_in_numbers() {
    let place = place("delta-json");
    let document = |line: &str| -> Value {
        let said = place.done(line);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{line}: {error}: {}", said.out))
    };
    let made = document("delta make 1.tar 2.tar -o 2.delta --json");
    let size = fs::metadata(place.path().join("2.delta")).unwrap().len();
    assert_eq!((made["written"].as_bool(), made["bytes"].as_u64()), (Some(true), Some(size)));
    let applied = document("delta apply 1.tar 2.delta -o again.tar --json");
    assert_eq!((applied["verified"].as_bool(), applied["bytes"].as_u64()), (Some(true), made["target_bytes"].as_u64()));
    let inspected = document("delta inspect 2.delta --base 1.tar --json");
    let streams = inspected["streams"].as_array().unwrap();
    let packed: u64 = streams.iter().map(|stream| stream["packed"].as_u64().unwrap()).sum();
    assert!(streams.iter().all(|stream| stream["name"].is_string()));
    assert_eq!(packed + inspected["index_bytes"].as_u64().unwrap(), size);
    assert_eq!(inspected["dearest"][0]["name"], "usr/lib/library");
    document("delta make oci:one:v oci:two:v -o image.delta --json");
    let inspected = document("delta inspect image.delta --base oci:one:v --json");
    assert_eq!(inspected["reused"].as_array().unwrap().len(), 1);
    let applied = document("delta apply oci:one:v image.delta -o oci:made:v --json");
    assert_eq!((applied["layers"].as_u64(), applied["rebuilt"].as_u64()), (Some(2), Some(0)));
    let published = document("delta publish oci:one:v oci:two:v oci:three:v --json");
    assert_eq!(published["deltas"].as_array().unwrap().len(), 2);
}

#[test]
fn what_goes_wrong_has_a_reason_a_hint_and_a_code_and_changes_nothing() {
    let place = place("delta-wrong");
    place.done("delta make 1.tar 2.tar -o good");
    place.done("delta make oci:one:v oci:two:v -o image.delta");
    let good = fs::read(place.path().join("good")).unwrap();
    let mut damaged = good.clone();
    *damaged.last_mut().unwrap() ^= 1;
    place.write("damaged", &damaged);
    place.write("short", &good[..good.len() - 9]);
    let mut later = good.clone();
    later[7] = 2;
    place.write("later", &later);
    let mut strange = good.clone();
    strange[0] = b'X';
    place.write("strange", &strange);
    place.write("rs", b"rs\x026\x45\x09\x09\x00");
    place.write("rs-base", b"short");
    place.done("delta publish oci:one:v oci:two:v");
    let before = names(&place);
    let mut transcript = String::new();
    for (line, code) in [
        ("delta apply 3.tar good -o out", 4),
        ("delta apply 1.tar damaged -o out", 4),
        ("delta apply 1.tar short -o out", 4),
        ("delta apply 1.tar later -o out", 4),
        ("delta apply 1.tar strange -o out", 4),
        ("delta apply nowhere good -o out", 2),
        ("delta apply 1.tar nowhere -o out", 2),
        ("delta apply oci:one:v good -o out", 2),
        ("delta apply 1.tar good -o no/such/directory", 1),
        ("delta apply rs-base rs -o out", 4),
        ("delta apply oci:three:v image.delta -o oci:out:v", 4),
        ("delta apply oci:three:v oci:two:v -o oci:out:v", 4),
        ("delta apply oci:one:v oci:three:v -o oci:out:v", 2),
        ("delta apply oci:one:v image.delta -o docker-archive:out", 2),
        ("delta make 1.tar oci:two:v -o out", 2),
        ("delta make 1.tar nowhere -o out", 2),
        ("delta make oci:one:v oci:two:w -o out", 2),
        ("delta make --platform linux/riscv64 oci:one:v oci:two:v -o out", 2),
        ("delta publish oci:one:v oci-archive:image.delta", 2),
        ("delta inspect rs", 2),
        ("delta inspect damaged --base 1.tar", 4),
    ] {
        let said = place.run(line);
        assert_eq!((said.code, said.out.as_str()), (code, ""), "{line}: {}", said.err);
        assert!(said.err.contains("nothing was changed"), "{line}: {}", said.err);
        assert_eq!(names(&place), before, "{line}");
        transcript.push_str(&told(line, &said));
    }
    assert_snapshot("wrong-delta", &transcript);
}

/// All names in the place.
fn names(place: &Place) -> Vec<String> {
    let mut names = Vec::new();
    let mut pending = vec![place.path()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.display().to_string());
            if path.is_dir() {
                pending.push(path);
            }
        }
    }
    names.sort();
    names
}

#[test]
fn killed_at_any_point_it_is_done_by_the_next_run() {
    let place = Place::new("delta-killed");
    // Large enough that it is not done at once.
    let mut library = Chance::new(2).bytes(24 << 20);
    let base = tar(&[("library", &library)]);
    (0..library.len()).step_by(100_000).for_each(|at| library[at] ^= 1);
    let target = tar(&[("library", &library)]);
    place.write("base.tar", &base);
    place.write("target.tar", &target);
    place.done("delta make --effort fast base.tar target.tar -o delta");
    let wanted = ["base.tar", "delta", "out", "target.tar"];
    let (out, beside) = (place.path().join("out"), place.path().join(".out.umiak"));
    for part in 0..5 {
        let enough = target.len() as u64 * part / 4;
        let mut command = place.command(&place.path());
        command.args(["delta", "apply", "base.tar", "delta", "-o", "out"]).stderr(Stdio::null());
        let mut run = command.spawn().unwrap();
        loop {
            let there = fs::metadata(&beside).is_ok_and(|file| file.len() >= enough);
            if there || run.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::yield_now();
        }
        // It may be done already.
        let _ = run.kill();
        run.wait().unwrap();
        assert!(!out.exists() || fs::read(&out).unwrap() == target);
        place.done("delta apply base.tar delta -o out");
        assert!(fs::read(&out).unwrap() == target);
        let mut left: Vec<_> = fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, wanted);
        fs::remove_file(&out).unwrap();
    }
}

#[test]
fn an_image_that_was_killed_on_its_way_is_made_by_the_next_run() {
    let place = Place::new("delta-killed-image");
    let mut library = Chance::new(2).bytes(12 << 20);
    for name in ["one", "two"] {
        let layers = vec![SampleLayer::plain(tar(&[("library", &library)]))];
        let platform = umiak_spec::Platform::host().to_string();
        layout(&place.path().join(name), "v", &image(&SampleImage { platform, layers })).unwrap();
        (0..library.len()).step_by(100_000).for_each(|at| library[at] ^= 1);
    }
    place.done("delta publish --effort fast oci:one:v oci:two:v");
    let line = |out: &str| format!("delta apply oci:one:v oci:two:v -o {out}");
    // Killed when something begins to be there: the place of what is uncompressed has no names.
    for (out, directory) in [("oci:out/made:v", "out/made"), ("oci-archive:out/made.tar", "out")] {
        fs::create_dir_all(place.path().join("out")).unwrap();
        let mut command = place.command(&place.path());
        let mut run = command.args(line(out).split_whitespace()).stderr(Stdio::null()).spawn().unwrap();
        let begun = || fs::read_dir(place.path().join(directory)).is_ok_and(|mut entries| entries.next().is_some());
        while !begun() && run.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = run.kill();
        run.wait().unwrap();
        place.done(&line(out));
        assert!(names(&place).iter().all(|name| !name.contains("/.")), "{:?}", names(&place));
        fs::remove_dir_all(place.path().join("out")).unwrap();
    }
}

#[test]
fn a_registry_keeps_deltas_beside_their_target_with_and_without_referrers() {
    let place = place("delta-registry");
    for referrers in [true, false] {
        let (server, _store) =
            Store::start(Manner { referrers, says_subject: referrers, ..Manner::default() }).unwrap();
        let name = format!("{}/team/app", server.address().trim_start_matches("http://"));
        // What a pusher does: an identical delta carries nothing, so its artifact is small; the image comes by applying.
        for (number, release) in ["one", "two", "three"].iter().enumerate() {
            let line = format!("--insecure delta make oci:{release}:v oci:{release}:v -o same-{release}");
            place.done(&line);
            place.done(&format!(
                "--insecure delta apply oci:{release}:v same-{release} -o docker://{name}:{}",
                number + 1
            ));
        }
        place.done(&format!("--insecure delta publish docker://{name}:1 docker://{name}:2 docker://{name}:3"));
        for base in [1, 2] {
            let made = format!("made-{referrers}-{base}");
            let line = format!("--insecure delta apply docker://{name}:{base} docker://{name}:3 -o oci:{made}:v");
            place.done(&line);
            assert_eq!(image_id(&place, &made), image_id(&place, "three"));
        }
        let said = place.run(&format!("--insecure delta apply docker://{name}:3 docker://{name}:2 -o oci:x:v"));
        assert_eq!(said.code, 2, "{}", said.err);
    }
}

/// The digest of the config of the image in a layout.
fn image_id(place: &Place, layout: &str) -> String {
    let index: Value = serde_json::from_str(&place.read(&format!("{layout}/index.json"))).unwrap();
    let blob = |digest: &Value| format!("{layout}/blobs/sha256/{}", &digest.as_str().unwrap()[7..]);
    let tagged = index["manifests"].as_array().unwrap().iter().find(|entry| entry["artifactType"].is_null()).unwrap();
    let manifest: Value = serde_json::from_str(&place.read(&blob(&tagged["digest"]))).unwrap();
    manifest["config"]["digest"].as_str().unwrap().to_owned()
}

#[test]
#[ignore = "needs: docker-registry, skopeo"]
fn deltas_travel_through_a_registry_and_skopeo() {
    let place = place("delta-skopeo");
    let registry = Registry::start(&place.path()).unwrap();
    let name = format!("{}/team/app", registry.address());
    let skopeo = |arguments: &[&str]| {
        let mut command = Command::new("skopeo");
        command.current_dir(place.path()).args(["--insecure-policy"]).args(arguments);
        assert!(command.stdout(Stdio::null()).status().unwrap().success(), "{arguments:?}");
    };
    let copy = |from: &str, to: &str| {
        skopeo(&["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", "--preserve-digests", from, to]);
    };
    for (tag, layout) in [("1", "one"), ("2", "two"), ("3", "three")] {
        copy(&format!("oci:{layout}:v"), &format!("docker://{name}:{tag}"));
    }
    place.done(&format!(
        "--insecure delta publish docker://{name}:1 docker://{name}:2 docker://{name}:3 --tag delta-{{}}"
    ));
    place.done(&format!("--insecure delta apply docker://{name}:1 docker://{name}:3 -o oci:made:v"));
    assert_eq!(image_id(&place, "made"), image_id(&place, "three"));
    // What was made is an image for others.
    copy("oci:made:v", &format!("docker://{name}:again"));
    skopeo(&["inspect", "--tls-verify=false", &format!("docker://{name}:again")]);
}
