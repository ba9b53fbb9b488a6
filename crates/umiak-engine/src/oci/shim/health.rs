//! Probes: is the service well? Made one at a time; a probe that takes too long failed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use umiak_mount::{namespace, signals};
use umiak_spec::service::{Health, Probe};

use super::starting::read_pid;
use super::watch::Watch;
use super::{Phase, Wellness};

/// Bytes of what a failed probe said that are kept.
const SAID_MAX: usize = 400;

/// Bytes of an answer's first line.
const ANSWER_MAX: usize = 256;

/// The clock's shortest interval: a probe of 0 s would be made without end.
const SHORTEST: Duration = Duration::from_millis(10);

/// When probes are made, and what came of them.
#[derive(Debug)]
pub(super) struct Checks {
    health: Health,
    started: Instant,
    due: Instant,
    failed: u32,
    good: bool,
}

impl Checks {
    pub(super) fn new(health: Health, started: Instant) -> Self {
        let mut checks = Self { health, started, due: started, failed: 0, good: false };
        checks.due = started + checks.pause(started);
        checks
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        now >= self.due
    }

    fn is_starting(&self, now: Instant) -> bool {
        !self.good && now < self.started + self.health.start_period
    }

    fn pause(&self, now: Instant) -> Duration {
        let starting = self.is_starting(now) && !self.health.start_interval.is_zero();
        (if starting { self.health.start_interval } else { self.health.interval }).max(SHORTEST)
    }

    /// Takes a probe's outcome; tells how the service is now.
    fn count(&mut self, good: bool, now: Instant) -> Wellness {
        let starting = self.is_starting(now);
        if good {
            self.failed = 0;
            self.good = true;
        } else if !starting {
            self.failed = self.failed.saturating_add(1);
        }
        self.due = now + self.pause(now);
        match (self.failed >= self.health.retries.max(1), self.good) {
            (true, _) => Wellness::Unhealthy,
            (false, true) => Wellness::Healthy,
            (false, false) => Wellness::Starting,
        }
    }
}

impl Watch<'_> {
    /// Makes one probe and writes down what changed.
    pub(super) fn check(&mut self, checks: &mut Checks) {
        let timeout = if checks.health.timeout.is_zero() { checks.health.interval } else { checks.health.timeout };
        let end = Instant::now() + timeout.max(SHORTEST);
        let outcome = match checks.health.probe.clone() {
            Probe::Exec(_) => self.exec_probe(end),
            Probe::Tcp { port } => self.network_probe(end, move |end| connect(port, end).map(|_| ())),
            Probe::Http { port, path } => self.network_probe(end, move |end| get(port, &path, end)),
        };
        if self.stop || self.main_ended() {
            return;
        }
        let now = Instant::now();
        let before = self.seen.health;
        let wellness = checks.count(outcome.is_ok(), now);
        self.seen.health = Some(wellness);
        let detail = outcome.err();
        if before != Some(wellness) {
            let words = match (wellness, &detail) {
                (Wellness::Unhealthy, Some(why)) => format!("unhealthy: {why}"),
                (Wellness::Unhealthy, None) => "unhealthy".to_owned(),
                (Wellness::Healthy, _) => "healthy".to_owned(),
                (Wellness::Starting, _) => "starting".to_owned(),
            };
            self.note(&words);
        }
        if before != Some(wellness) || self.seen.detail != detail {
            self.seen.detail = detail;
            self.enter(Phase::Running);
        }
    }

    /// Runs the probe's process in the container. It becomes our child, as its runtime ends at once.
    fn exec_probe(&mut self, end: Instant) -> Result<(), String> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK).map_err(|error| error.to_string())?;
        let errors = write.try_clone().map_err(|error| error.to_string())?;
        let (pid_file, log) = (self.directory.join("probe.pid"), self.directory.join("probe.log"));
        let _ = crate::durable::remove_file(&pid_file);
        let mut command = self.orders.runtime.command(&log);
        command.args(["exec", "--detach", "--pid-file"]).arg(&pid_file);
        command.arg("--process").arg(self.directory.join("probe.json")).arg(&self.orders.container);
        command.stdout(write).stderr(errors);
        self.call(command, "run the probe", &log)?;
        let pid = read_pid(&pid_file).ok_or("the runtime did not say which process it started")?;
        let code = loop {
            if let Some(code) = self.take_ended(pid) {
                break code;
            }
            if Instant::now() >= end || self.stop || self.main_ended() {
                self.signal(pid, signals::KILL);
                // With its container gone it is gone; otherwise the kernel needs a moment.
                self.wait_for(pid, Instant::now() + Duration::from_secs(1));
                return Err("the probe did not end in time".to_owned());
            }
            self.turn(Some(end));
        };
        if code == 0 {
            return Ok(());
        }
        let said = words(&read);
        Err(if said.is_empty() { format!("code {code}") } else { format!("code {code}: {said}") })
    }

    /// Connects from inside the service's network, in a thread that ends in time; output is taken meanwhile.
    fn network_probe(
        &mut self,
        end: Instant,
        probe: impl FnOnce(Instant) -> Result<(), String> + Send + 'static,
    ) -> Result<(), String> {
        let network = self.orders.network.clone();
        let (done, watched) = pipe_with(PipeFlags::CLOEXEC).map_err(|error| error.to_string())?;
        let body = move || {
            let _until_the_end = watched;
            match network {
                Some(keeper) => namespace::in_network(&keeper, move || probe(end))
                    .unwrap_or_else(|error| Err(format!("its network cannot be entered: {error}"))),
                None => probe(end),
            }
        };
        let thread =
            std::thread::Builder::new().stack_size(128 << 10).spawn(body).map_err(|error| error.to_string())?;
        while !thread.is_finished() && !is_closed(done.as_fd()) {
            self.turn(Some(Instant::now() + Duration::from_millis(20)));
        }
        thread.join().unwrap_or_else(|_| Err("the probe failed".to_owned()))
    }
}

fn is_closed(fd: std::os::fd::BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut fds, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// What a probe printed, cut, on one line.
fn words(pipe: &OwnedFd) -> String {
    let mut bytes = [0u8; SAID_MAX];
    let length = rustix::io::read(pipe, &mut bytes).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..length]).split_whitespace().collect::<Vec<_>>().join(" ")
}

fn left(end: Instant) -> Result<Duration, String> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() { Err("no answer in time".to_owned()) } else { Ok(left) }
}

fn connect(port: u16, end: Instant) -> Result<TcpStream, String> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&address, left(end)?).map_err(|error| format!("port {port}: {error}"))
}

fn get(port: u16, path: &str, end: Instant) -> Result<(), String> {
    let mut stream = connect(port, end)?;
    let fail = |error: std::io::Error| format!("port {port}: {error}");
    stream.set_write_timeout(Some(left(end)?)).map_err(fail)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nUser-Agent: umiak\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).map_err(fail)?;
    let mut answer = Vec::with_capacity(ANSWER_MAX);
    let mut bytes = [0u8; ANSWER_MAX];
    while answer.len() < ANSWER_MAX && !answer.contains(&b'\n') {
        stream.set_read_timeout(Some(left(end)?)).map_err(fail)?;
        match stream.read(&mut bytes).map_err(fail)? {
            0 => break,
            length => answer.extend_from_slice(&bytes[..length]),
        }
    }
    status(&answer).and_then(|status| {
        if (200..400).contains(&status) { Ok(()) } else { Err(format!("GET {path}: status {status}")) }
    })
}

/// `HTTP/1.1 200 OK`
fn status(answer: &[u8]) -> Result<u16, String> {
    let text = String::from_utf8_lossy(answer);
    let mut words = text.split_ascii_whitespace();
    let http = words.next().is_some_and(|word| word.starts_with("HTTP/"));
    let status = words.next().and_then(|word| word.parse().ok()).filter(|_| http);
    status.ok_or_else(|| "the answer is not HTTP".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn health() -> Health {
        let mut health = Health::new(Probe::Tcp { port: 1 });
        health.start_period = Duration::from_secs(20);
        health.retries = 2;
        health
    }

    #[test]
    fn failures_count_after_the_start_period_and_in_a_row() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut checks = Checks::new(health(), start);
        assert_eq!(checks.due(), at(5), "the start interval");
        assert_eq!(checks.count(false, at(5)), Wellness::Starting);
        assert_eq!(checks.count(false, at(10)), Wellness::Starting);
        assert_eq!(checks.count(true, at(15)), Wellness::Healthy);
        assert_eq!(checks.due(), at(45), "a good one ends the start period");
        assert_eq!(checks.count(false, at(16)), Wellness::Healthy, "one is not two");
        assert_eq!(checks.count(false, at(50)), Wellness::Unhealthy);
        assert_eq!(checks.count(true, at(80)), Wellness::Healthy);
        let mut slow = Checks::new(health(), start);
        assert_eq!(slow.count(false, at(21)), Wellness::Starting);
        assert_eq!(slow.count(false, at(51)), Wellness::Unhealthy, "never well");
    }

    #[test]
    fn answers_are_read() {
        assert_eq!(status(b"HTTP/1.0 204 No Content\r\n"), Ok(204));
        for wrong in [&b""[..], b"SSH-2.0-x", b"HTTP/1.1", b"HTTP/1.1 x", b"\xff\xfe"] {
            assert!(status(wrong).is_err());
        }
    }

    #[test]
    fn a_real_answer_and_silence() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            for answer in ["HTTP/1.1 302 Found\r\n\r\n", "HTTP/1.1 503 x\r\n\r\n", "hello\n"] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                assert!(request[..length].starts_with(b"GET /health HTTP/1.1\r\n"));
                stream.write_all(answer.as_bytes()).unwrap();
            }
            listener
        });
        let soon = || Instant::now() + Duration::from_secs(5);
        assert_eq!(get(port, "/health", soon()), Ok(()));
        assert!(get(port, "/health", soon()).unwrap_err().contains("503"));
        assert!(get(port, "/health", soon()).is_err());
        // It listens still, accepts and says nothing.
        let _silent = server.join().unwrap();
        assert!(get(port, "/health", Instant::now() + Duration::from_millis(50)).is_err());
    }
}
