//! The device's command line: its whole reference, and what it says to lines that mean nothing.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::process::Command;

struct Said {
    out: String,
    err: String,
    code: i32,
}

fn run(line: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_umiakd"));
    let output = command.env_clear().args(line.split_whitespace()).output().unwrap();
    Said {
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
        code: output.status.code().unwrap_or(-1),
    }
}

/// Compares with `tests/snapshots/<name>.txt`; `UMIAK_SNAPSHOTS=write` writes that file instead.
fn assert_snapshot(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(format!("{name}.txt"));
    if std::env::var_os("UMIAK_SNAPSHOTS").is_some_and(|value| value == "write") {
        fs::write(&path, text).unwrap();
    }
    let golden = fs::read_to_string(&path).unwrap_or_default();
    let differing = golden.lines().chain(["<end>"]).zip(text.lines().chain(["<end>"])).position(|(was, is)| was != is);
    if let Some(line) = differing {
        let is = text.lines().nth(line).unwrap_or("<end>");
        panic!(
            "{} differs in line {}, which is now {is}; UMIAK_SNAPSHOTS=write writes it anew",
            path.display(),
            line + 1
        );
    }
}

#[test]
fn every_page_of_help_is_as_reviewed() {
    let first = run("--help").out;
    let listed = |line: &&str| line.starts_with("  ") && !line.starts_with("   ") && line.len() > 18;
    let lines =
        first.lines().skip_while(|line| !line.ends_with("should run:")).take_while(|line| !line.contains("--json"));
    let commands: Vec<_> = lines.filter(listed).map(|line| line[..18].trim()).filter(|name| *name != "help").collect();
    assert!(commands.len() >= 16, "{commands:?}");
    let mut reference = format!("$ umiakd --help\n{first}");
    for command in commands {
        let page = run(&format!("{command} --help"));
        assert_eq!(page.code, 0, "{command}");
        // The options that every command has are on the first page.
        let own = page.out.split("\nTalk (anywhere on the line):").next().unwrap_or_default();
        reference.push_str(&format!("\n\n$ umiakd {command} --help\n{own}\n"));
    }
    let reference: String = reference.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    assert_snapshot("reference", &reference);
}

#[test]
fn a_wrong_line_is_told_on_stderr_with_code_2() {
    let mut told = String::new();
    for line in ["updat", "target set", "pin", "rollback one two", "check --explian", "logs --tail x", "daemon now"] {
        let said = run(line);
        assert_eq!((said.code, said.out.as_str()), (2, ""), "{line}");
        told.push_str(&format!("$ umiakd {line}\n{}\n", said.err));
    }
    assert_snapshot("wrong", &told);
}

#[test]
fn a_configuration_that_makes_no_sense_is_told_before_anything_is_done() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("umiakd.toml");
    fs::write(&config, format!("store = \"{0}/store\"\n[daemon]\nwindow = [\"noon\"]\n", directory.path().display()))
        .unwrap();
    let said = run(&format!("--config {} status", config.display()));
    assert_eq!(said.code, 2);
    let place = format!("error: {}:3: unknown field `window`", config.display());
    assert!(said.err.starts_with(&place), "{}", said.err);
    assert!(said.err.contains("nothing was changed"));
    assert!(!directory.path().join("store").exists());
    let said = run("--config /nonexistent/umiakd.toml --json status");
    let told: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!((told["type"].as_str(), told["exit"].as_i64(), said.code), (Some("error"), Some(1), 1));
}

#[test]
#[ignore = "needs: root"]
fn what_cannot_be_done_is_told_with_its_reason_and_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().display().to_string();
    // No container is started: any program will do.
    let config = format!(
        "store = \"{place}/data\"\nengine = \"oci\"\nruntime = \"/bin/true\"\ndaemon.socket = \"{place}/run/s\"\n"
    );
    fs::write(directory.path().join("umiakd.toml"), config).unwrap();
    fs::write(directory.path().join("broken.json"), "{\"apps\": [").unwrap();
    fs::write(directory.path().join("odd.json"), r#"{"apps": [{"reference": "shop:1", "tag": "1"}]}"#).unwrap();
    fs::write(directory.path().join("broken.tgz"), "no package").unwrap();
    let mut told = String::new();
    for line in [
        "status",
        "history",
        "check",
        "update",
        "rollback",
        "rollback abc",
        "rollback --dry-run",
        "pin abc",
        "unpin abc --dry-run",
        "prune --dry-run",
        "fsck",
        "logs",
        "logs shop",
        "logs --follow",
        "export shop out",
        "target show",
        "target set nothere.json",
        "target set a.json b.json",
        "target set broken.json",
        "target set odd.json",
        "target set Shop!",
        "target set .",
        "target set --dry-run oci:nothere",
        "target set oci:nothere",
        "check",
        "tx show",
        "tx commit",
        "tx abort",
        "tx add nothere.tgz",
        "tx begin abc",
        "tx begin",
        "tx begin",
        "tx add nothere.tgz",
        "tx add broken.json",
        "tx remove web",
        "tx show",
        "tx --dry-run commit",
        "tx abort",
        "target set ./broken.tgz",
        "target set --replace ./broken.tgz",
        "daemon --config x",
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_umiakd"));
        command.env_clear().current_dir(&directory).args(["--config", "umiakd.toml"]).args(line.split(' '));
        let output = command.output().unwrap();
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        let code = output.status.code().unwrap_or(-1);
        told.push_str(&format!("$ umiakd {line}\n{}[{code}]\n\n", text.replace(&place, "DIR")));
    }
    assert_snapshot("cannot", &told);
}

#[test]
fn completion_scripts_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let said = run(&format!("completion {shell}"));
        assert!(said.code == 0 && said.out.contains("rollback") && said.out.contains("stage-only"), "{shell}");
    }
}

#[test]
fn where_nothing_runs_a_store_is_looked_at_without_root_and_nothing_is_started() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("umiakd.toml");
    let place = directory.path().display();
    let text = format!("store = \"{place}/store\"\nengine = \"none\"\n[daemon]\nsocket = \"{place}/run/s\"\n");
    fs::write(&config, text).unwrap();
    let run = |line: &str| run(&format!("--config {} {line}", config.display()));
    for line in ["update", "rollback", "daemon"] {
        let said = run(line);
        assert!(said.code == 2 && said.err.contains("nothing runs on this machine"), "{line}: {}", said.err);
    }
    assert!(!directory.path().join("store").exists());
    let said = run("status");
    assert!(said.code == 0 && said.out.contains("engine  none"), "{}{}", said.out, said.err);
}
