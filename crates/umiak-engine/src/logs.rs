//! Lines of what services print, as engines hand them out.

use std::ops::ControlFlow;
use std::time::{Duration, SystemTime};

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
    /// Nothing that the service said: its supervisor notes that it started, ended, was found ill.
    Note,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When it was printed, by the device's clock of that time.
    pub at: SystemTime,
    /// The service.
    pub service: String,
    /// The revision that it ran in, twelve digits; none where that is not known.
    pub revision: Option<String>,
    /// Where.
    pub stream: Stream,
    /// Its bytes, without the end of line.
    pub text: Vec<u8>,
}

/// Which lines are wanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LogQuery {
    /// The last so many of each service; none: all that are kept.
    pub tail: Option<usize>,
    /// None before this.
    pub since: Option<SystemTime>,
    /// Go on with new ones until the sink breaks off.
    pub follow: bool,
}

/// Takes lines.
pub trait LogSink {
    /// A line.
    fn line(&mut self, line: &Line) -> ControlFlow<()>;

    /// While following: no new line for about [`FOLLOW_PAUSE`]. A chance to break off.
    fn idle(&mut self) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

impl<F: FnMut(&Line) -> ControlFlow<()>> LogSink for F {
    fn line(&mut self, line: &Line) -> ControlFlow<()> {
        self(line)
    }
}

/// How often a sink that follows is asked whether it still wants to.
pub const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
