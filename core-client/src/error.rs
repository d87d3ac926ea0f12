//! The one error type of the client.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::{ErrorKind, EventError, NameError, Retry};

use crate::session::Failure;

type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// What went wrong, where, and what may be done about it. Cheap to clone.
///
/// Code that tries again reads [`Error::retry`] and nothing else.
#[derive(Clone)]
pub struct Error(Arc<Parts>);

#[derive(Clone)]
struct Parts {
    kind: ErrorKind,
    retry: Retry,
    retry_after: Option<Duration>,
    operation: &'static str,
    message: String,
    context: Vec<(&'static str, String)>,
    source: Option<Cause>,
}

/// The result of a call of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn new(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self(Arc::new(Parts {
            kind,
            retry: kind.retry(),
            retry_after: None,
            operation,
            message: message.into(),
            context: Vec::new(),
            source: None,
        }))
    }

    /// For bindings: what goes wrong between a host and this crate.
    #[doc(hidden)]
    #[must_use]
    pub fn of_host(kind: ErrorKind, operation: &'static str, message: impl Into<String>) -> Self {
        Self::new(kind, operation, message)
    }

    /// For bindings, likewise: what may be done about it.
    #[doc(hidden)]
    #[must_use]
    pub fn with_retry_class(self, retry: Retry) -> Self {
        self.with_retry(retry, None)
    }

    pub(crate) fn with(mut self, key: &'static str, value: impl Into<String>) -> Self {
        Arc::make_mut(&mut self.0).context.push((key, value.into()));
        self
    }

    pub(crate) fn with_retry(mut self, retry: Retry, after: Option<Duration>) -> Self {
        let parts = Arc::make_mut(&mut self.0);
        (parts.retry, parts.retry_after) = (retry, after);
        self
    }

    pub(crate) fn with_source(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Arc::make_mut(&mut self.0).source = Some(Arc::new(source));
        self
    }

    pub(crate) fn with_cause(mut self, cause: Box<dyn std::error::Error + Send + Sync>) -> Self {
        Arc::make_mut(&mut self.0).source = Some(cause.into());
        self
    }

    pub(crate) fn during(mut self, operation: &'static str) -> Self {
        Arc::make_mut(&mut self.0).operation = operation;
        self
    }

    /// What is wrong with an event, as the fault of the call that it was made for. For bindings, which make it in the call.
    #[doc(hidden)]
    #[must_use]
    pub fn of_call(self, operation: &'static str) -> Self {
        if self.operation() == EVENT { self.during(operation) } else { self }
    }

    pub(crate) fn from_failure(operation: &'static str, failure: &Failure) -> Self {
        Self::new(failure.kind, operation, failure.message.clone()).with_retry(failure.retry, failure.retry_after)
    }

    pub(crate) fn closed(operation: &'static str) -> Self {
        Self::new(ErrorKind::Closed, operation, "the client was closed; connect a new one")
    }

    pub(crate) fn name(operation: &'static str, cause: &NameError) -> Self {
        Self::new(ErrorKind::Invalid, operation, cause.to_string())
    }

    pub(crate) fn event(operation: &'static str, cause: &EventError) -> Self {
        Self::new(cause.kind(), operation, cause.to_string())
    }

    /// What went wrong, as a stable name and number.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What the caller may do about it. As a rule the retry class of the kind;
    /// [`Retry::UnknownOutcome`] whenever bytes may have left.
    #[must_use]
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// Whether the same call may succeed later without risk of happening twice.
    #[must_use]
    pub fn retryable(&self) -> bool {
        matches!(self.0.retry, Retry::Now | Retry::After)
    }

    /// How long the gateway asks to wait before the same call, where it said so.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The call that failed, such as `publish`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// What happened, without operation and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What it was about: topic, subscription, address and the like.
    #[must_use]
    pub fn context(&self) -> &[(&'static str, String)] {
        &self.0.context
    }
}

/// What was asked for when an event was made for no call yet.
const EVENT: &str = "event";

/// For `?` on what makes an event, such as [`Event::json`](meshwire_proto::Event::json).
impl From<EventError> for Error {
    fn from(cause: EventError) -> Self {
        Self::event(EVENT, &cause).with_source(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}", self.0.operation, self.0.message, self.0.kind)?;
        for (key, value) in &self.0.context {
            write!(f, ", {key} {value}")?;
        }
        f.write_str(")")
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}; retry: {:?}", self.0.retry)?;
        if let Some(after) = self.0.retry_after {
            write!(f, " after {after:?}")?;
        }
        match &self.0.source {
            Some(source) => write!(f, "; cause: {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|s| s as _)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn an_error_is_one_line_with_operation_code_and_context() {
        let error = Error::new(ErrorKind::Busy, "publish", "the gateway is out of budget")
            .with("topic", "orders")
            .with_retry(Retry::After, Some(Duration::from_millis(20)));
        assert_eq!(error.to_string(), "publish: the gateway is out of budget (BUSY, topic orders)");
        assert!(error.retryable() && error.retry_after() == Some(Duration::from_millis(20)));
    }

    #[test]
    fn an_event_that_cannot_be_made_is_an_error_of_this_crate_by_the_question_mark() {
        fn order() -> Result<meshwire_proto::Event> {
            Ok(meshwire_proto::Event::json("order.created", &std::collections::BTreeMap::from([((1, 2), 3)]))?)
        }
        let error = order().unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Invalid, "event"));
        assert!(std::error::Error::source(&error).is_some(), "{error:?}");
    }
}
