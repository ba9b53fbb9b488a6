//! The README's tour is executed: every line behind `$ ` in a block marked `console`, in order, in one shell.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use harness::Place;

/// The commands of the tour.
fn commands(readme: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => inside = !inside && language == "console",
            None if inside => commands.extend(line.strip_prefix("$ ").map(str::to_owned)),
            None => {}
        }
    }
    commands
}

#[test]
fn every_command_of_the_readme_s_tour_works() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let commands = commands(&std::fs::read_to_string(&readme).unwrap());
    assert!(commands.iter().filter(|command| command.starts_with("umiak ")).count() >= 10, "{commands:?}");
    let place = Place::new("tour");
    let programs = place.home().join("bin");
    std::fs::create_dir_all(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_umiak"), programs.join("umiak")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let script = format!("set -euxo pipefail\n{}\n", commands.join("\n"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(place.path()).env_clear().env("HOME", place.home()).env("PATH", path);
    let output = shell.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
}

#[test]
fn only_console_blocks_are_commands() {
    let readme = "```text\n$ no\n```\n```console\n$ umiak init\n output\n$ ls\n```\n```sh\n$ no\n```\n";
    assert_eq!(commands(readme), ["umiak init", "ls"]);
}
