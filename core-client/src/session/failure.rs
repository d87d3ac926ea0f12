//! Why something did not work, before it becomes a caller's error.

use std::time::Duration;

use meshwire_proto::{ErrorKind, Retry};

/// Kind, sentence and what to do; the handle adds operation and context.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong.
    pub kind: ErrorKind,
    /// What the caller may do.
    pub retry: Retry,
    /// When to try again, where the gateway said so.
    pub retry_after: Option<Duration>,
    /// One sentence.
    pub message: String,
}

impl Failure {
    /// A failure with the retry class of its kind.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, retry: kind.retry(), retry_after: None, message: message.into() }
    }

    /// From a number, a message and a wait of the wire.
    pub(super) fn from_wire(code: u32, message: &str, retry_after_ms: u32) -> Self {
        let kind = ErrorKind::from_number(code);
        let message = if message.is_empty() { format!("the gateway answered {kind}") } else { message.to_owned() };
        let after = (retry_after_ms > 0).then(|| Duration::from_millis(u64::from(retry_after_ms)));
        Self { retry_after: after, ..Self::new(kind, message) }
    }

    pub(super) fn lease_lost() -> Self {
        Self::new(
            ErrorKind::LeaseLost,
            "the delivery belongs to a session or subscription that is gone; it comes again if it was not settled",
        )
    }

    pub(super) fn closed() -> Self {
        Self::new(ErrorKind::Closed, "the client was closed")
    }

    /// The same for something else that may have been done.
    pub(crate) fn unknown_outcome_of(&self, what: &str) -> Self {
        let message = format!("{}; outcome unknown: {what} had been sent, its last reply had not come", self.message);
        Self { retry: Retry::UnknownOutcome, message, ..self.clone() }
    }

    /// The same for something that may have happened: bytes had left.
    pub(super) fn unknown_outcome(&self) -> Self {
        let message = format!("{}; outcome unknown: the event had been sent, its receipt had not come", self.message);
        Self { retry: Retry::UnknownOutcome, message, ..self.clone() }
    }

    /// The same for something that is still in the offline file.
    pub(crate) fn stays_in_file(&self) -> Self {
        let message = format!(
            "{}; the event stays in the offline file, and the next client that opens it publishes it",
            self.message
        );
        Self { retry: Retry::UnknownOutcome, message, ..self.clone() }
    }
}
