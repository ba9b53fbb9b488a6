//! The README's tour is executed: every line behind `$ ` in a block marked `console`, in order, in one shell.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use harness::Place;
use umiak_testkit::dockerd::Dockerd;

/// The commands of the tour; those that need a Docker daemon only where there is an `engine`.
fn commands(readme: &str, engine: bool) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => {
                inside = !inside && (language == "console" || engine && language == "console engine");
            }
            None if inside => commands.extend(line.strip_prefix("$ ").map(str::to_owned)),
            None => {}
        }
    }
    commands
}

fn readme() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap()
}

/// A shell that is to run `commands` with `umiak` on its path.
fn shell(place: &Place, commands: &[String]) -> Command {
    let programs = place.home().join("bin");
    std::fs::create_dir_all(&programs).unwrap();
    symlink(env!("CARGO_BIN_EXE_umiak"), programs.join("umiak")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let script = format!("set -euxo pipefail\n{}\n", commands.join("\n"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(place.path()).env_clear().env("HOME", place.home()).env("PATH", path);
    shell
}

fn run(mut shell: Command) -> String {
    let output = shell.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

#[test]
fn every_command_of_the_readme_s_tour_works() {
    let commands = commands(&readme(), false);
    assert!(commands.iter().filter(|command| command.starts_with("umiak ")).count() >= 10, "{commands:?}");
    let place = Place::new("tour");
    run(shell(&place, &commands));
}

#[test]
#[ignore = "needs: docker.io, docker-compose, iproute2, util-linux, tar, root"]
fn the_app_of_the_tour_runs_in_docker() {
    let readme = readme();
    let (_, part) = readme.split_once("**Compose apps**").unwrap();
    let mut commands_here = vec!["umiak demo -q --keep tour".to_owned(), "cd tour".to_owned()];
    commands_here.extend(commands(part, true));
    assert!(commands_here.iter().any(|command| command.starts_with("docker load")), "{commands_here:?}");
    let place = Place::new("tour-engine");
    let dockerd = Dockerd::start(&place.home().join("docker")).unwrap();
    let mut shell = shell(&place, &commands_here);
    shell.env("DOCKER_HOST", dockerd.host());
    let said = run(shell);
    assert!(said.contains("\"release\": 1") && said.contains("\"release\": 2"), "{said}");
    dockerd.stop().unwrap();
}

#[test]
fn only_console_blocks_are_commands() {
    let readme = "```text\n$ no\n```\n```console\n$ umiak init\n output\n$ ls\n```\n```sh\n$ no\n```\n";
    assert_eq!(commands(readme, false), ["umiak init", "ls"]);
    let readme = "```console engine\n$ docker ps\n```\n";
    assert_eq!((commands(readme, false).len(), commands(readme, true).len()), (0, 1));
}
