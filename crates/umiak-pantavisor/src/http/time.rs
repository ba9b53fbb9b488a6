//! How long a request may take, as ureq is told it.
//!
//! Silence is timed for all requests alike. A document has an end beside that: one that comes byte by byte is never silent.

use std::time::Duration;

use ureq::http::Request;
use ureq::{Agent, AsSendBody};

use super::Answer;

/// How long an answer may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Time {
    /// As long as a document may.
    Document,
    /// As long as something of it comes.
    Object,
    /// So long, with all that goes before; nor is a device waited for that is busy.
    Within(Duration),
}

/// What is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Document,
    Object,
}

impl Time {
    /// Makes the request. The agent's own limits are those of documents.
    pub(super) fn run<B: AsSendBody>(
        self,
        agent: &Agent,
        sent: Sent,
        request: Request<B>,
    ) -> Result<Answer, ureq::Error> {
        let mut limits = agent.configure_request(request);
        if sent == Sent::Object {
            limits = limits.timeout_send_body(None);
        }
        limits = match self {
            Self::Document => limits,
            Self::Object => limits.timeout_recv_body(None),
            Self::Within(time) => limits.timeout_global(Some(time)),
        };
        agent.run(limits.build())
    }
}
