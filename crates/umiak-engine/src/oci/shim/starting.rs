//! Starting: pipes, the runtime's `run`, the number of the first process.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::fs::OFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use umiak_mount::signals;

use super::watch::Watch;
use super::{Phase, Wellness};
use crate::oci::runtime;
use crate::oci::shim::orders::uptime;

impl Watch<'_> {
    /// Starts the service and returns its first process, or what the runtime said.
    pub(super) fn start(&mut self) -> Result<i32, String> {
        self.enter(Phase::Starting);
        self.refresh_resolver();
        let pid = match self.run_container() {
            Ok(pid) => pid,
            Err(why) => {
                self.output.close(self.clock.now());
                self.delete();
                return Err(why);
            }
        };
        self.main = Some(pid);
        self.seen.pid = Some(pid);
        self.seen.since = Some(uptime());
        self.seen.health = self.orders.health.as_ref().map(|_| Wellness::Starting);
        self.seen.detail = None;
        self.note(&format!("started, process {pid}"));
        self.enter(Phase::Running);
        Ok(pid)
    }

    fn run_container(&mut self) -> Result<i32, String> {
        let pipes = || -> Result<(OwnedFd, OwnedFd), rustix::io::Errno> {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
            let flags = rustix::fs::fcntl_getfl(&read)?;
            rustix::fs::fcntl_setfl(&read, flags | OFlags::NONBLOCK)?;
            Ok((read, write))
        };
        let fail = |error: rustix::io::Errno| format!("no pipes: {error}");
        let (out_read, out_write) = pipes().map_err(fail)?;
        let (err_read, err_write) = pipes().map_err(fail)?;
        self.output.open(out_read, err_read);
        let pid_file = self.directory.join("pid");
        let log = self.directory.join("runtime.log");
        let mut command = self.orders.runtime.command(&log);
        command.args(["run", "--detach", "--bundle"]).arg(&self.directory).arg("--pid-file").arg(&pid_file);
        command.arg(&self.orders.container).stdout(out_write).stderr(err_write);
        if self.orders.stdin {
            let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(fail)?;
            command.stdin(read);
            self.output.keep(write);
        }
        self.call(command, "start the service", &log)?;
        read_pid(&pid_file).ok_or_else(|| "the runtime did not say which process it started".to_owned())
    }

    /// A call of the runtime, to its end or the end of patience.
    pub(super) fn call(&mut self, mut command: Command, act: &str, log: &Path) -> Result<(), String> {
        runtime::forget(log);
        self.forget_ended();
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.orders.runtime.name()))?;
        // Nothing of the pipes may stay open here, or their end is never seen.
        drop(command);
        let pid = child.id().cast_signed();
        match self.wait_for(pid, Instant::now() + self.orders.runtime.patience) {
            Some(0) => Ok(()),
            Some(code) => Err(match runtime::said(log) {
                said if said == "it said nothing" => format!("{} ended with code {code}", self.orders.runtime.name()),
                said => said,
            }),
            None => {
                self.signal(pid, signals::KILL);
                Err(self.orders.runtime.hangs(act).to_string())
            }
        }
    }

    /// Takes what is left of the container away.
    pub(super) fn delete(&mut self) {
        let log = self.directory.join("runtime.log");
        let mut command = self.orders.runtime.command(&log);
        command.args(["delete", "--force", &self.orders.container]).stdout(Stdio::null());
        match self.call(command, "delete the container", &log) {
            Err(said) if !runtime::is_absent(&said) => self.note(&format!("what is left of it: {said}")),
            _ => {}
        }
    }

    /// The device's name servers may have changed since the service's file was made. The file is mounted: it is
    /// written, never replaced.
    fn refresh_resolver(&self) {
        if let Some(own) = &self.orders.resolver {
            let _ = crate::oci::resolver::refresh(own);
        }
    }
}

pub(super) fn read_pid(path: &Path) -> Option<i32> {
    let mut text = String::new();
    std::io::Read::take(File::open(path).ok()?, 20).read_to_string(&mut text).ok()?;
    text.trim().parse().ok().filter(|pid| *pid > 1)
}

use std::io::Read as _;
