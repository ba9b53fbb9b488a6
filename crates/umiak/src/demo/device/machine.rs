//! The demo's device: a machine that can be switched on, told commands, and lose its power.
//!
//! Where containers run, the machine is a process namespace with mounts of its own: nothing of it is left on this one, and
//! taking its first process away ends all of it at once, as a power cut does. What was in `/run` and what was mounted is
//! then gone, the number of its start is another one, and what is on disk stays. Where they do not, it is a directory, and
//! only the program that runs is killed. Either way what was written and not yet synced stays, too: what becomes of a
//! device without it is a matter of tests, not of a demo.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// Between two looks at whether to cut the power.
const LOOK: Duration = Duration::from_millis(2);

/// How long is waited for the last lines of a command that ended, whose pipe something else holds.
const LAST: Duration = Duration::from_secs(1);

/// Becomes the machine's first process: mounts of its own, a `/run` of its own, another start than the last one. It ends
/// when nobody holds its standard input any more. Children that lost their parents are nobody's to wait for.
const START: &str = r#"
set -eu
mkdir -p "$1"
mount -t tmpfs tmpfs "$1"
mount --bind "$2" /proc/sys/kernel/random/boot_id
echo on
exec env --ignore-signal=CHLD cat
"#;

/// Ends everything on the machine in an orderly way, and waits until it is gone.
const STOP: &str = r#"
kill -TERM -1 2>/dev/null
turn=0
while [ "$turn" -lt 200 ]; do
    set -- /proc/[0-9]*
    [ "$#" -gt 2 ] || exit 0
    sleep 0.05
    turn=$((turn + 1))
done
"#;

/// Enters a directory and becomes a program there.
const ENTER: &str = r#"cd "$1" && shift && exec "$@""#;

/// A machine.
pub struct Machine {
    /// Its directory: configuration, store.
    place: PathBuf,
    /// Where somebody stands who tells it commands.
    desk: PathBuf,
    /// The program `umiakd`.
    program: PathBuf,
    /// Whether it is a namespace.
    containers: bool,
    power: Option<Power>,
    starts: u32,
    /// Held as long as the machine has control groups: their names are those of its containers, and one machine's only.
    _alone: Option<File>,
}

/// A namespace that is there.
struct Power {
    unshare: Child,
    first: Pid,
}

/// What a command said.
pub struct Said {
    /// Both streams, line by line as they came.
    pub text: String,
    /// Exit code; none when the power was cut.
    pub code: Option<i32>,
}

impl Machine {
    /// A machine in the directory `place`, switched off, which is given the program `umiakd`: a copy of `program`. Its commands
    /// are told from `desk`.
    ///
    /// # Errors
    /// The file system's.
    pub fn new(place: &Path, desk: &Path, program: &Path, containers: bool) -> io::Result<Self> {
        let bin = place.join("bin");
        fs::create_dir_all(&bin)?;
        let umiakd = bin.join("umiakd");
        fs::copy(program, &umiakd)?;
        let alone = if containers {
            let groups = File::open("/sys/fs/cgroup")?;
            groups.lock()?;
            Some(groups)
        } else {
            None
        };
        Ok(Self {
            place: place.to_owned(),
            desk: desk.to_owned(),
            program: umiakd,
            containers,
            power: None,
            starts: 0,
            _alone: alone,
        })
    }

    /// Its store.
    pub fn store(&self) -> PathBuf {
        self.place.join("data/store")
    }

    /// Where its `/run/umiak` is.
    pub fn run(&self) -> PathBuf {
        self.place.join("run")
    }

    /// Switches it on.
    ///
    /// # Errors
    /// There can be no namespaces here, in the words of `unshare`.
    pub fn on(&mut self) -> io::Result<()> {
        if !self.containers || self.power.is_some() {
            return Ok(());
        }
        self.starts += 1;
        let boot = self.place.join("boot_id");
        fs::write(&boot, format!("00000000-0000-4000-8000-{:012}\n", self.starts))?;
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "private"]);
        command.args(["sh", "-c", START, "sh"]).arg(self.run()).arg(&boot);
        let mut unshare = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let mut line = String::new();
        if let Some(out) = unshare.stdout.take() {
            BufReader::new(out).read_line(&mut line)?;
        }
        let first = if line.trim() == "on" { child_of(unshare.id()) } else { None };
        let Some(first) = first else {
            drop(unshare.stdin.take());
            let output = unshare.wait_with_output()?;
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()));
        };
        self.power = Some(Power { unshare, first });
        Ok(())
    }

    /// Takes the power away from everything that runs on it.
    pub fn off(&mut self) {
        if let Some(mut power) = self.power.take() {
            let _ = kill_process(power.first, Signal::KILL);
            let _ = power.unshare.wait();
        }
    }

    /// Ends its containers, then switches it off.
    pub fn shut_down(&mut self) {
        if let Some(power) = &self.power {
            let _ = inside(power).args(["sh", "-c", STOP]).status();
        }
        self.off();
        for group in groups() {
            // Those of containers that a cut ended; one that is in use stays.
            let _ = fs::remove_dir(group);
        }
    }

    /// Runs `umiakd` with `arguments`; `told` gets each line. Cuts the power as soon as `cut` says so, which is asked with
    /// what was said so far.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn umiakd(
        &mut self,
        arguments: &[&str],
        told: &mut dyn FnMut(&str),
        cut: &dyn Fn(&str) -> bool,
    ) -> io::Result<Said> {
        let (reader, writer) = io::pipe()?;
        let mut command = self.command(arguments);
        command.stdin(Stdio::null()).stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the pipe's other end as well.
        drop(command);
        let lines = lines(reader);
        let mut text = String::new();
        let mut ended = false;
        loop {
            match lines.recv_timeout(if ended { LAST } else { LOOK }) {
                Ok(line) => {
                    told(&line);
                    text.push_str(&line);
                    text.push('\n');
                }
                Err(RecvTimeoutError::Disconnected) => break,
                // What it started may hold the pipe.
                Err(RecvTimeoutError::Timeout) if ended => break,
                Err(RecvTimeoutError::Timeout) => ended = child.try_wait()?.is_some(),
            }
            if !ended && cut(&text) {
                self.off();
                let _ = child.kill();
                child.wait()?;
                return Ok(Said { text, code: None });
            }
        }
        Ok(Said { text, code: child.wait()?.code() })
    }

    /// Asks `umiakd` something; gives the document that it prints.
    ///
    /// # Errors
    /// It cannot be started, or prints none.
    pub fn ask(&self, arguments: &[&str]) -> io::Result<serde_json::Value> {
        let output = self.command(&[&["--json"], arguments].concat()).stdin(Stdio::null()).output()?;
        serde_json::from_slice(&output.stdout)
            .map_err(|_| io::Error::other(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.power {
            Some(power) => {
                let mut command = inside(power);
                command.args(["sh", "-c", ENTER, "sh"]).arg(&self.desk).arg(&self.program);
                command
            }
            None => Command::new(&self.program),
        };
        command.arg("--config").arg(self.place.join("umiakd.toml")).args(arguments).current_dir(&self.desk);
        let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        command.env_clear().env("PATH", path);
        command
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.shut_down();
    }
}

/// A command that begins on the machine.
fn inside(power: &Power) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["--mount", "--pid", "--target"]).arg(power.first.as_raw_nonzero().to_string()).arg("--");
    command
}

/// The child of a process that has one.
fn child_of(parent: u32) -> Option<Pid> {
    let wanted = format!("PPid:\t{parent}");
    for entry in fs::read_dir("/proc").ok()?.filter_map(Result::ok) {
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        if status.lines().any(|line| line == wanted) {
            return Pid::from_raw(entry.file_name().to_str()?.parse().ok()?);
        }
    }
    None
}

/// Lines as they come.
fn lines(reader: io::PipeReader) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for line in BufReader::new(reader).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// Control groups of the demo's containers, in each hierarchy.
fn groups() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let below = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let hierarchies = below(top).chain([top.to_owned()]).map(|path| path.join("umiak"));
    let ours = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.starts_with("umiak+shop+")
    };
    hierarchies.flat_map(|path| below(&path).collect::<Vec<_>>()).filter(ours).collect()
}
