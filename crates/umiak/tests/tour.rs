//! The README's tour is executed: every line behind `$ ` in a block marked `console`, in order, in one shell.
//! Blocks marked `console engine` and `console device` are executed where there is a Docker daemon and where there may be a
//! device: mounts and processes of its own, so that nothing of this machine is touched.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod harness;

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use harness::Place;
use umiak_testkit::dockerd::Dockerd;

/// The commands of the tour: of blocks marked `console`, and `console` with one of the `more` words.
fn commands(readme: &str, more: &[&str]) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in readme.lines() {
        match line.strip_prefix("```") {
            Some(language) => {
                let marked = language.strip_prefix("console").map(str::trim);
                inside = !inside && marked.is_some_and(|word| word.is_empty() || more.contains(&word));
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
    // Under that name it is the device's program; what it starts of itself must find the name again.
    std::fs::copy(env!("CARGO_BIN_EXE_umiak"), programs.join("umiakd")).unwrap();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let script = format!("set -euxo pipefail\n{}\n", commands.join("\n"));
    let mut shell = Command::new("bash");
    shell.args(["-c", &script]).current_dir(place.path()).env_clear().env("HOME", place.home()).env("PATH", path);
    shell
}

/// A device: this machine with `/etc`, `/var/lib`, `/run` and processes of its own. `$1` is a directory for them. When the
/// commands are done, everything that they started is ended.
const DEVICE: &str = r#"
cd "$1"
mkdir -p etc work lib run
mount -t overlay -o lowerdir=/etc,upperdir="$1/etc",workdir="$1/work" overlay /etc
mount --bind lib /var/lib
mount -t tmpfs tmpfs /run
leave() {
    kill -TERM -1 2>/dev/null || true
    for turn in $(seq 200); do
        set -- /proc/[0-9]*
        [ "$#" -gt 1 ] || break
        sleep 0.05
    done
}
trap leave EXIT
cd "$2"
"#;

fn run(mut shell: Command) -> String {
    let output = shell.output().unwrap();
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    out.into_owned()
}

#[test]
fn every_command_of_the_readme_s_tour_works() {
    let commands = commands(&readme(), &[]);
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
    commands_here.extend(commands(part, &["engine"]));
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
#[ignore = "needs: crun, util-linux, root"]
fn the_app_of_the_tour_runs_on_a_device() {
    let readme = readme();
    let (_, part) = readme.split_once("**Compose apps**").unwrap();
    let (published, day_one) = part.split_once("## On the device").unwrap();
    let mut before = vec!["umiak demo -q --keep tour".to_owned(), "cd tour".to_owned()];
    before.extend(commands(published, &[]));
    let place = Place::new("tour-device");
    run(shell(&place, &before));

    let commands = commands(day_one, &["device"]);
    assert!(commands.iter().filter(|command| command.starts_with("umiakd ")).count() >= 12, "{commands:?}");
    // One device at a time: the demo holds the same lock while its device has control groups.
    let groups = File::open("/sys/fs/cgroup").unwrap();
    groups.lock().unwrap();
    let device = place.home().join("device");
    std::fs::create_dir_all(&device).unwrap();
    let script = format!("set -euxo pipefail\n{DEVICE}\n{}\n", commands.join("\n"));
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]);
    shell.args(["bash", "-c", &script, "bash"]).arg(&device).arg(place.path().join("tour"));
    let path = format!("{}:{}", place.home().join("bin").display(), std::env::var("PATH").unwrap());
    shell.env_clear().env("HOME", place.home()).env("PATH", path);
    let said = run(shell);
    assert!(said.contains("release 1: open") && said.contains("committed"), "{said}");
    assert!(place.path().join("tour/support.tar.gz").exists());
    let (_, at_last) = said.rsplit_once("target ").unwrap();
    assert!(at_last.contains("engine  oci"), "{said}");
    assert!(!said.rsplit_once("Revision").unwrap().1.contains("healthy"), "everything was stopped: {said}");
}

#[test]
fn only_console_blocks_are_commands() {
    let readme = "```text\n$ no\n```\n```console\n$ umiak init\n output\n$ ls\n```\n```sh\n$ no\n```\n";
    assert_eq!(commands(readme, &[]), ["umiak init", "ls"]);
    let readme = "```console engine\n$ docker ps\n```\n";
    assert_eq!((commands(readme, &["device"]).len(), commands(readme, &["engine"]).len()), (0, 1));
}
