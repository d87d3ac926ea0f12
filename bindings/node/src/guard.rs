//! What goes wrong, as JavaScript is told it: JSON of which the other half makes its error.

use meshwire_embed::{Error, ErrorKind, Result, Retry};
use serde_json::{Map, json};

/// An error as JSON.
pub(crate) fn shown(error: &Error) -> String {
    let context: Map<_, _> =
        error.context().iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
    let after = error.retry_after().map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    json!({
        "code": error.kind().code(),
        "number": error.kind().number(),
        "retry": match error.retry() {
            Retry::Never => "never",
            Retry::Now => "now",
            Retry::After => "after",
            Retry::UnknownOutcome => "unknown_outcome",
        },
        "retryable": error.retryable(),
        "retryAfterMs": after,
        "operation": error.operation(),
        "message": error.message(),
        "text": error.to_string(),
        "context": context,
        "cause": std::error::Error::source(error).map(ToString::to_string),
    })
    .to_string()
}

pub(crate) fn invalid(operation: &'static str, problem: impl Into<String>) -> Error {
    Error::of_host(ErrorKind::Invalid, operation, problem)
}

/// Does a call for JavaScript, which is thrown what goes wrong in it.
pub(crate) fn guarded<T>(operation: &'static str, call: impl FnOnce() -> Result<T>) -> napi::Result<T> {
    meshwire_embed::guarded(operation, call).map_err(|error| napi::Error::from_reason(shown(&error.of_call(operation))))
}
