//! `umiak pkg …` through the program: from an image to signed packages, and what is wrong with those of others.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs;
use std::process::{Command, Stdio};

use harness::project::{SIX, project, ready, refused, sizes};
use harness::{Place, assert_snapshot};

/// A git history of one commit more, always with the same name.
fn commit(place: &Place) {
    let git = |words: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-C", place.path().join("project").to_str().unwrap()]).args(words).env_clear();
        command.env("PATH", std::env::var_os("PATH").unwrap()).env("HOME", place.home());
        for who in ["AUTHOR", "COMMITTER"] {
            command.env(format!("GIT_{who}_NAME"), "x").env(format!("GIT_{who}_EMAIL"), "x@example.com");
            command.env(format!("GIT_{who}_DATE"), "2025-01-01T00:00:00Z");
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "git {words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    if !place.path().join("project/.git").exists() {
        git(&["init", "-q"]);
        git(&["add", ".keep"]);
    }
    git(&["commit", "-q", "--allow-empty", "-m", "more"]);
}

/// The packages, sorted, with their bytes.
fn packages(place: &Place, directory: &str) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(place.path().join(directory).join("releases")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".tgz")).collect();
    names.sort();
    names
        .into_iter()
        .map(|name| (name.clone(), fs::read(place.path().join(directory).join("releases").join(name)).unwrap()))
        .collect()
}

#[test]
fn from_an_image_to_signed_packages() {
    let place = project("pkg");
    let mut transcript = String::new();
    let mut run = |line: &str| {
        let said = place.run_in("project", line);
        transcript.push_str(&said.told("", line));
        said
    };
    run(&format!("pkg init -p {SIX} oci:images:master pvwebstatus --group system"));
    run("pkg init -p linux/amd64 oci:images:other pvwebstatus");
    run("pkg build --build-version 0-12-g7ab223a");
    // ECDSA on P-256 has signatures of one length, so that sizes are always the same.
    let keys = place.run("-q keys new --days 1 --kind p256");
    assert_eq!(keys.code, 0, "{}", keys.err);
    run("pkg build --dry-run --build-version 0-12-g7ab223a");
    run("pkg build --build-version 0-12-g7ab223a");
    run("pkg build --build-version 0-12-g7ab223a");
    run("pkg build --only arm64v8,linux/mips --build-version 1");
    assert_eq!(packages(&place, "project").len(), 8);
    run("pkg verify releases/pvwebstatus-v0.0.1-1.mips.tgz");
    run("pkg verify --strict releases/pvwebstatus-v0.0.1-1.mips.tgz");
    run("pkg verify --platform linux/amd64 releases/pvwebstatus-v0.0.1-1.mips.tgz");
    run("pkg build --only mips --build-version 2 --strict --generation 7");
    run("pkg verify --strict releases/pvwebstatus-v0.0.1-2.mips.tgz");
    run("pkg ls releases/pvwebstatus-v0.0.1-2.mips.tgz");
    run("pkg diff releases/pvwebstatus-v0.0.1-1.mips.tgz releases/pvwebstatus-v0.0.1-2.mips.tgz");
    assert_snapshot("pkg", &sizes(&transcript));
}

#[test]
fn the_same_bytes_in_another_folder_for_another_user_at_another_time() {
    let place = ready("pkg-same");
    place.done_in("project", "pkg build --build-version 1 -j 1");
    let copy = Command::new("cp").args(["-a", "project", "other folder"]).current_dir(place.path()).status().unwrap();
    assert!(copy.success());
    fs::remove_dir_all(place.path().join("other folder/releases")).unwrap();
    let config = place.home().join("elsewhere");
    fs::create_dir_all(config.join("pvs")).unwrap();
    for file in ["key.default.pem", "x5c.default.pem"] {
        fs::copy(place.home().join(".pvr/pvs").join(file), config.join("pvs").join(file)).unwrap();
    }
    let mut command = place.command(&place.path().join("other folder"));
    command
        .env("PVR_CONFIG_DIR", &config)
        .env("LC_ALL", "tr_TR.UTF-8")
        .env("TZ", "Asia/Kathmandu")
        .env("USER", "other");
    let said = place.finish(command.args(["pkg", "build", "--build-version", "1", "-j", "6", "--memory", "1M"]));
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(packages(&place, "project") == packages(&place, "other folder"));
}

#[test]
fn who_signed_what_is_told_and_what_was_changed_is_refused() {
    let place = ready("pkg-signed");
    place.done_in("project", "pkg build --only amd64 --build-version 1 --generation 3");
    let file = "project/releases/pvwebstatus-v0.0.1-1.amd64.tgz";
    let own = place.home().join(".pvr/pvs/cacerts.default.pem");
    let json = place.done(&format!("pkg verify --json --cacerts {} {file}", own.display())).out;
    for word in ["\"_sigs/pvwebstatus.json\": \"cacerts.default.pem\"", "\"_sigs/pvwebstatus.json\": 3", "#spec"] {
        assert!(json.contains(word), "{word}: {json}");
    }
    // Another authority.
    place.done("-q keys new --days 1 --kind p256 --name foreign");
    let foreign = place.home().join(".pvr/pvs/cacerts.foreign.pem");
    let said = place.run(&format!("pkg verify --cacerts {} {file}", foreign.display()));
    refused(&said, 4, &["pvwebstatus-v0.0.1-1.amd64.tgz", "_sigs/pvwebstatus.json", "nothing was changed"]);
    // Nobody's.
    place.done_in("project", "pkg build --only amd64 --build-version 2 --unsigned");
    let unsigned = "project/releases/pvwebstatus-v0.0.1-2.amd64.tgz";
    refused(&place.run(&format!("pkg verify {unsigned}")), 4, &["is not signed", "hint:"]);
    place.done(&format!("pkg verify --unsigned {unsigned}"));
    // What a shell has set gives way to what is said; what is said twice does not.
    for (directory, line) in [
        ("project", "pkg build --only amd64 --build-version 2 --unsigned".to_owned()),
        ("", format!("pkg verify --unsigned {unsigned}")),
    ] {
        let mut command = place.command(&place.path().join(directory));
        command.args(line.split(' '));
        for variable in ["PVR_SIG_KEY", "PVR_SIG_CACERTS", "PVR_SIG_PUBKEY"] {
            command.env(variable, "/nowhere.pem");
        }
        let said = place.finish(&mut command);
        assert_eq!(said.code, 0, "{line}: {}", said.err);
        let more = if directory.is_empty() { "--cacerts x.pem" } else { "--key x.pem" };
        refused(&place.run_in(directory, &format!("{line} {more}")), 2, &["--unsigned", "cannot be used with"]);
    }
    // Over something else: run.json was changed after it was signed, and all hashes are right.
    place.done("init");
    place.done(&format!("import {file}"));
    place.done("checkout");
    let run_json = place.read("pvwebstatus/run.json").replace("system", "root");
    place.write("pvwebstatus/run.json", run_json);
    place.done("commit");
    place.done("export changed.tgz");
    refused(&place.run("pkg verify changed.tgz"), 4, &["changed.tgz", "_sigs/pvwebstatus.json"]);
    // No tar, and not all of one.
    place.write(
        "no.tgz",
        "this is no tar archive, however long it may be, and nobody should take it for one".repeat(20),
    );
    refused(&place.run("pkg verify --unsigned no.tgz"), 4, &["no.tgz"]);
    let bytes = fs::read(place.path().join(file)).unwrap();
    place.write("cut.tgz", &bytes[..bytes.len() / 2]);
    refused(&place.run("pkg verify --unsigned cut.tgz"), 4, &["cut.tgz"]);
}

#[test]
#[ignore = "needs: git"]
fn packages_are_called_after_the_commit_and_signed_with_its_number() {
    let place = ready("pkg-git");
    commit(&place);
    place.done_in("project", "pkg build --only mips");
    commit(&place);
    let json = place.done_in("project", "pkg build --only mips --json").out;
    assert!(json.contains("\"outcome\": \"made\""), "{json}");
    let names: Vec<String> = packages(&place, "project").into_iter().map(|(name, _)| name).collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(names[0].starts_with("pvwebstatus-v0.0.1-0-1-g") && names[1].starts_with("pvwebstatus-v0.0.1-0-2-g"));
    let verified = place.done(&format!("pkg verify --json project/releases/{}", names[1])).out;
    assert!(verified.contains("\"_sigs/pvwebstatus.json\": 2"), "{verified}");
    place.write("project/.keep", "changed");
    assert!(place.done_in("project", "pkg build --only mips").err.contains("warning: files are otherwise"));
}

#[test]
fn without_a_key_a_project_or_a_name_nothing_is_made() {
    let place = project("pkg-wrong");
    refused(&place.run_in("project", "pkg build"), 2, &["pvpkg.json", "umiak pkg init"]);
    refused(&place.run_in("project", "pkg init oci:images:master web"), 2, &["no platform", "-p"]);
    refused(&place.run_in("project", "pkg init -p linux/vax oci:images:master web"), 2, &["linux/vax"]);
    place.write("project/container-ci.conf", "PLATFORMS=\"linux/amd64 linux/mips\"\n");
    place.done_in("project", "pkg init oci:images:master web");
    assert!(place.path().join("project/pvpkg/mips/web/src.json").exists());
    refused(&place.run_in("project", "pkg build"), 2, &["git", "--build-version"]);
    refused(&place.run_in("project", "pkg build --build-version 1"), 2, &["umiak keys new", "--unsigned"]);
    assert!(!place.path().join("project/releases").exists());
    refused(&place.run_in("project", "pkg build --build-version 1 --unsigned --only sparc"), 2, &["sparc"]);
    place.done_in("project", "pkg build --build-version 1 --unsigned");
    // One platform whose image is not there: the others are made, and the exit code says that not all is well.
    let source = place.read("project/pvpkg/mips/web/src.json").replace("\"master\"", "\"gone\"");
    place.write("project/pvpkg/mips/web/src.json", source);
    let said = place.run_in("project", "pkg build --unsigned --build-version 9");
    refused(&said, 2, &["mips:", "gone"]);
    assert!(said.out.contains("failed") && said.out.contains("made"), "{}", said.out);
    assert!(place.path().join("project/releases/web-v0.0.1-9.amd64.tgz").exists());
}

#[test]
fn what_was_changed_by_hand_is_told_and_what_was_put_there_is_refused() {
    let place = ready("pkg-by-hand");
    let build = "pkg build --only amd64,mips --build-version 1";
    assert!(!place.done_in("project", build).err.contains("warning"));
    place.write("project/releases/mips/pvwebstatus/run.json", "{}");
    let told = "warning: in releases/mips files were otherwise than a build leaves them, and were made again: \
                pvwebstatus/run.json\n";
    let said = place.done_in("project", build);
    assert!(said.err.contains(told), "{}", said.err);
    assert!(!place.done_in("project", build).err.contains("warning"));
    place.write("project/releases/amd64/pvwebstatus/mdev.json", r#"{"rules":[]}"#);
    let said = place.run_in("project", build);
    refused(&said, 2, &["amd64:", "releases/amd64 has 1 file(s)", "pvwebstatus/mdev.json", "pvpkg/ARCH/APP"]);
    assert!(said.out.contains("failed") && said.out.contains("unchanged"), "{}", said.out);
    let project = place.path().join("project");
    fs::rename(project.join("releases/amd64/pvwebstatus/mdev.json"), project.join("pvpkg/amd64/pvwebstatus/mdev.json"))
        .unwrap();
    place.done_in("project", build);
    let listed = place.done_in("project", "pkg ls releases/pvwebstatus-v0.0.1-1.amd64.tgz").out;
    assert!(listed.contains("pvwebstatus/mdev.json"), "{listed}");
    let json = place.done_in("project", "pkg build --json --only amd64 --build-version 1").out;
    assert!(json.contains("\"replaced\": []"), "{json}");
}

#[test]
fn a_pipeline_s_variables_mean_what_container_ci_s_do() {
    let place = ready("pkg-variables");
    let run = |words: &[&str], variables: &[(&str, &str)]| {
        let mut command = place.command(&place.path().join("project"));
        place.finish(command.args(words).envs(variables.iter().copied()))
    };
    let words = [("PACKAGE_NAME", "shop"), ("PACKAGE_VERSION", "v2"), ("BUILD_VERSION", "0-7-gabcdef0")];
    let said = run(&["pkg", "build", "--only", "mips"], &words);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("shop-v2-0-7-gabcdef0.mips.tgz"), "{}", said.out);
    // Set and empty is as good as not set, and whoever wants no signature gets none, whichever key there is.
    let empty = [("PACKAGE_NAME", ""), ("PACKAGE_VERSION", ""), ("BUILD_VERSION", ""), ("PVR_SIG_KEY", "/nowhere.pem")];
    refused(&run(&["pkg", "build"], &empty), 2, &["git", "--build-version"]);
    let said = run(&["pkg", "build", "--only", "mips", "--build-version", "3", "--unsigned"], &empty);
    assert_eq!(said.code, 0, "{}", said.err);
    assert!(said.out.contains("pvwebstatus-v0.0.1-3.mips.tgz"), "{}", said.out);
    let file = "releases/pvwebstatus-v0.0.1-3.mips.tgz";
    let said = run(&["pkg", "verify", "--unsigned", file], &[("PVR_SIG_CACERTS", "/nowhere.pem")]);
    assert_eq!(said.code, 0, "{}", said.err);
}

#[test]
fn the_words_behind_the_app_are_those_of_app_add() {
    let place = project("pkg-words");
    let words = "--group system --restart-policy container --status-goal READY --volume /data:permanent \
                 --arg PV_LXC_NETWORK_TYPE=none --format-options -comp=zstd --source local,remote";
    place.done_in("project", &format!("pkg init -p linux/mips oci:images:master web {words}"));
    let document = place.read("project/pvpkg/mips/web/src.json");
    for word in [
        r#""PV_GROUP": "system""#,
        r#""PV_RESTART_POLICY": "container""#,
        r#""PV_STATUS_GOAL": "READY""#,
        r#""PV_LXC_NETWORK_TYPE": "none""#,
        r#""/data": "permanent""#,
        r#""docker_source": "local,remote""#,
        "format_options",
    ] {
        assert!(document.contains(word), "{word}: {document}");
    }
    // Nothing said, it is container-ci's document to the byte, in the environment's words where there are some.
    let mut command = place.command(&place.path().join("project"));
    command.env("PVR_GROUP", "root").args([
        "pkg",
        "init",
        "-p",
        "linux/amd64",
        "registry.example/team/web:master",
        "own",
    ]);
    assert_eq!(place.finish(&mut command).code, 0);
    let expected = "{\n  \"#spec\": \"service-manifest-src@1\",\n  \"template\": \"builtin-lxc-docker\",\n  \"args\": {\n    \
                    \"PV_GROUP\": \"root\"\n  },\n  \"docker_name\": \"registry.example/team/web\",\n  \"docker_tag\": \
                    \"master\",\n  \"docker_source\": \"remote,local\",\n  \"docker_platform\": \"linux/amd64\"\n}\n";
    assert_eq!(place.read("project/pvpkg/amd64/own/src.json"), expected);
    // Without a variant it is Docker's.
    place.done_in("project", "pkg init -p linux/arm oci:images:master web");
    assert!(place.read("project/pvpkg/arm32v7/web/src.json").contains("\"linux/arm/v7\""));
}

#[test]
fn whoever_is_ended_in_the_middle_leaves_whole_packages() {
    let place = ready("pkg-ended");
    place.done_in("project", "pkg build --build-version 1");
    let expected = packages(&place, "project");
    let releases = place.path().join("project/releases");
    for signal in ["-TERM", "-INT", "-KILL"] {
        fs::remove_dir_all(&releases).unwrap();
        let mut command = place.command(&place.path().join("project"));
        command.args(["pkg", "build", "--build-version", "1", "-j", "2"]).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        let is_there = || fs::read_dir(&releases).is_ok_and(|mut entries| entries.any(|entry| is_package(&entry)));
        while !is_there() && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let told = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(told.success());
        // It may have been done before it was told to end: what is there is whole all the same.
        child.wait().unwrap();
        for (name, bytes) in packages(&place, "project") {
            assert!(expected.contains(&(name.clone(), bytes)), "{signal}: {name} is another one");
        }
        place.done_in("project", "pkg build --build-version 1");
        assert!(packages(&place, "project") == expected, "{signal}");
        let rest = fs::read_dir(&releases).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        assert_eq!(rest.filter(|name| name.contains(".new-")).count(), 0, "{signal}");
    }
}

fn is_package(entry: &std::io::Result<fs::DirEntry>) -> bool {
    entry.as_ref().is_ok_and(|entry| entry.path().extension().is_some_and(|end| end == "tgz"))
}
