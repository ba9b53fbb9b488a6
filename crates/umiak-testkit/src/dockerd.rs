//! A private Docker daemon (Debian's `docker.io`): classic image store, graph driver overlay2.
//!
//! Guarantees: it answers when [`Dockerd::start`] returns; when the value is dropped its process, containerd, every
//! shim and container, its mounts and its network are gone: it lives in process, mount and network namespaces of its
//! own, which end with it. It touches the caller's files only below the given root. It reaches no network and sets no
//! firewall rule. Also when the test's process is killed the daemon ends; and it lives no longer than the
//! *thread* that started it.
//!
//! Needs root and the packages `docker.io`, `iproute2`, `util-linux`.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::volume::run;

/// For starting, and again for stopping before it is killed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at a process.
const MOMENT: Duration = Duration::from_millis(10);

/// A running daemon.
pub struct Dockerd {
    /// `unshare`, which waits for the daemon and takes it along when it is killed.
    outer: Child,
    root: PathBuf,
    /// Socket, log and what is running: a short path, as sockets need one.
    scratch: TempDir,
}

impl Dockerd {
    /// Starts one that keeps everything below `root`, which need not exist; what an earlier one left there is taken up.
    ///
    /// # Errors
    /// No root, a program is missing, or the daemon ends or does not answer within 30 seconds: with the end of its log.
    pub fn start(root: &Path) -> io::Result<Self> {
        Self::start_with(root, &[])
    }

    /// Like [`Dockerd::start`] with further arguments: `--max-concurrent-uploads=1`.
    ///
    /// # Errors
    /// As [`Dockerd::start`].
    pub fn start_with(root: &Path, more: &[&str]) -> io::Result<Self> {
        Self::launch(root, more, &["--net"])
    }

    /// Like [`Dockerd::start`] on the caller's network: it can pull from a registry on loopback. It makes no network of its own there.
    ///
    /// # Errors
    /// As [`Dockerd::start`].
    pub fn start_on_network(root: &Path) -> io::Result<Self> {
        Self::launch(root, &[], &[])
    }

    fn launch(root: &Path, more: &[&str], own: &[&str]) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let scratch = tempfile::Builder::new().prefix("umiak-dockerd-").tempdir()?;
        let log = File::create(scratch.path().join("log"))?;
        let argument = |name, path: &Path| format!("--{name}={}", path.display());
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]).args(own);
        command.args([
            "--mount-proc",
            "--propagation",
            "private",
            "sh",
            "-c",
            "ip link set lo up && exec \"$@\"",
            "sh",
        ]);
        command.args(["dockerd", "--storage-driver=overlay2", "--iptables=false", "--ip-forward=false"]);
        // What it may raise limits to differs between machines: containers get modest ones.
        command.args(["--bridge=none", "--exec-opt=native.cgroupdriver=cgroupfs", "--default-ulimit=nofile=4096:4096"]);
        command.arg(argument("data-root", root)).arg(argument("exec-root", &scratch.path().join("exec")));
        command.arg(argument("pidfile", &scratch.path().join("pid")));
        command.arg(format!("--host=unix://{}", scratch.path().join("socket").display())).args(more);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let mut daemon = Self { outer: command.spawn()?, root: root.to_owned(), scratch };
        daemon.wait()?;
        Ok(daemon)
    }

    /// Like [`Dockerd::start`], with networks: containers find one another, and published ports are open in the daemon's
    /// own network ([`Dockerd::within`]).
    ///
    /// # Errors
    /// As [`Dockerd::start`].
    pub fn start_with_networks(root: &Path) -> io::Result<Self> {
        // The last word on a setting counts.
        let addresses = "--default-address-pool=base=172.31.0.0/16,size=24";
        Self::start_with(root, &["--iptables=true", "--bridge=", "--bip=172.30.9.1/24", addresses])
    }

    /// A command in the daemon's network.
    ///
    /// # Errors
    /// The daemon ended.
    pub fn within(&self, program: &str) -> io::Result<Command> {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.inner()?)).arg(program).stdin(Stdio::null());
        Ok(command)
    }

    /// Stops it in its tracks, or lets it go on: paused, it accepts connections and answers none, and containers run on.
    ///
    /// # Errors
    /// The daemon ended.
    pub fn pause(&self, paused: bool) -> io::Result<()> {
        run(Command::new("kill").args([if paused { "-STOP" } else { "-CONT" }, &self.inner()?]))
    }

    /// Its data root.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The socket it listens on.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.scratch.path().join("socket")
    }

    /// The value of `DOCKER_HOST` for it.
    #[must_use]
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket().display())
    }

    /// A command that talks to it when it is a Docker client, and knows no settings of the user.
    #[must_use]
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.scratch.path()).stdin(Stdio::null());
        command.env_remove("DOCKER_CONTEXT").env_remove("DOCKER_TLS_VERIFY");
        command
    }

    /// Runs `docker` with `arguments`; what it printed.
    ///
    /// # Errors
    /// It is missing, or failed: with what it said.
    pub fn docker(&self, arguments: &[&str]) -> io::Result<String> {
        let output = self.command("docker").args(arguments).output()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let why = String::from_utf8_lossy(&output.stderr);
        Err(io::Error::other(format!("docker {}: {}: {said}{why}", arguments.join(" "), output.status)))
    }

    /// What it logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read(self.scratch.path().join("log"))
            .map_or_else(|error| error.to_string(), |log| String::from_utf8_lossy(&log).into_owned())
    }

    /// Stops it as dropping does, and says how it ended.
    ///
    /// # Errors
    /// It had to be killed.
    pub fn stop(mut self) -> io::Result<()> {
        self.end()
    }

    fn wait(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if let Some(status) = self.outer.try_wait()? {
                return Err(io::Error::other(format!("dockerd ended: {status}: {}", self.end_of_log())));
            }
            if self.answers().is_ok_and(|answers| answers) {
                return Ok(());
            }
            std::thread::sleep(MOMENT);
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, format!("dockerd does not answer: {}", self.end_of_log())))
    }

    fn answers(&self) -> io::Result<bool> {
        let mut stream = UnixStream::connect(self.socket())?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: localhost\r\n\r\n")?;
        let mut answer = [0; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer.ends_with(b" 200"))
    }

    fn end_of_log(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }

    /// The daemon's own process, as this side counts: the only child of `unshare`.
    fn inner(&self) -> io::Result<String> {
        let outer = self.outer.id();
        let children = fs::read_to_string(format!("/proc/{outer}/task/{outer}/children"))?;
        children.split_whitespace().next().map(str::to_owned).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn end(&mut self) -> io::Result<()> {
        if self.outer.try_wait()?.is_some() {
            return Ok(());
        }
        // It is asked to: then it stops its containers and unmounts. A daemon that just ended needs no signal.
        if let Ok(inner) = self.inner() {
            let _ = run(Command::new("kill").args(["-TERM", &inner]));
        }
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.outer.try_wait()?.is_some() {
                return Ok(());
            }
            std::thread::sleep(MOMENT);
        }
        // The first process of a process namespace takes all others of it along.
        if let Ok(inner) = self.inner() {
            let _ = run(Command::new("kill").args(["-KILL", &inner]));
        }
        self.outer.wait()?;
        Err(io::Error::other(format!("dockerd had to be killed: {}", self.end_of_log())))
    }
}

impl Drop for Dockerd {
    fn drop(&mut self) {
        // The test that cares calls `stop`.
        let _ = self.end();
    }
}
