//! Errors as exceptions: made by Python, by their code.

use meshwire_embed::{Error, ErrorKind, Retry};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

/// `meshwire._errors.make`.
static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception object of an error.
pub(crate) fn exception(py: Python<'_>, error: &Error) -> PyResult<Py<PyAny>> {
    let make = MAKE.get_or_try_init(py, || py.import("meshwire._errors")?.getattr("make").map(Bound::unbind))?;
    let context = PyDict::new(py);
    for (key, value) in error.context() {
        context.set_item(key, value)?;
    }
    let retry = match error.retry() {
        Retry::Never => "never",
        Retry::Now => "now",
        Retry::After => "after",
        Retry::UnknownOutcome => "unknown_outcome",
    };
    let after = error.retry_after().map(|after| after.as_secs_f64());
    make.call1(py, (error.kind().code(), error.message(), error.operation(), retry, after, context))
}

/// The error, raised.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    match exception(py, error) {
        Ok(exception) => PyErr::from_value(exception.into_bound(py)),
        Err(problem) => problem,
    }
}

/// For `?` on what the client says.
pub(crate) trait Raise<T> {
    fn raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> Raise<T> for meshwire_embed::Result<T> {
    fn raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raised(py, &error))
    }
}

/// What the client says of calls behind its end.
pub(crate) fn closed(operation: &'static str) -> Error {
    Error::of_host(ErrorKind::Closed, operation, "the client was closed; connect a new one")
}
