//! What goes over a logger's sockets: lines of JSON.
//!
//! A sender says `hello` with its job's token and then its events, and hears acknowledgements.
//! On the Unix socket, where the kernel tells who asks, a user may also ask for a token of a job
//! of their own, and for the events of one.

use serde::{Deserialize, Serialize};

use crate::timing::event::JobKey;
use crate::timing::token::Token;

/// The first line of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::timing) enum Opening {
    /// Events of this job follow.
    Hello {
        /// Version of the events' format.
        version: u32,
        /// The job.
        job: JobKey,
        /// The right to tell of it.
        token: Token,
    },
    /// Asks for the token of a job of the caller's.
    Token {
        /// The job.
        job: JobKey,
    },
    /// Asks for all events that the caller may see: of one job, or of all.
    Events {
        /// The job.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobKey>,
    },
    /// Asks whether anyone is there.
    Status,
}

/// What the logger answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::timing) enum Answer {
    /// Everything the connection's sender sent up to this sequence number is on disk.
    Ack(u64),
    /// The token that was asked for.
    Token(Token),
    /// The events that were asked for are over: so many.
    End(u64),
    /// Who answers.
    Status {
        /// Version of hpcvm.
        hpcvm: String,
        /// Its TCP address, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tcp: Option<String>,
        /// Its process.
        pid: u32,
        /// Events it has taken since it began.
        events: u64,
    },
    /// What was sent is refused; the connection is closed after this.
    Error(String),
}

impl Answer {
    /// As a line.
    pub(in crate::timing) fn line(&self) -> Vec<u8> {
        let mut line = serde_json::to_vec(self).expect("an answer has string keys only");
        line.push(b'\n');
        line
    }
}
