//! A call on its way, as Python holds it.

use meshwire_embed::{Operation, Result};
use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

use crate::errors::{Raise as _, exception};
use crate::outcome::Value;

/// `meshwire._waiting.wait`.
static WAIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// An event loop, and a future of it.
pub(crate) type Waiter = (Py<PyAny>, Py<PyAny>);

/// What a call comes to: await it, any number of times, or ask whether it is there. Nothing of it costs more than this object until
/// somebody has to wait.
#[pyclass(module = "meshwire._native", weakref)]
pub(crate) struct Pending {
    tag: u64,
    result: Option<Result<Value>>,
    waiters: Vec<Waiter>,
    operation: Option<Operation>,
    /// Somebody has seen what it came to.
    seen: bool,
}

impl Pending {
    pub(crate) const fn new(tag: u64) -> Self {
        Self { tag, result: None, waiters: Vec::new(), operation: None, seen: false }
    }

    /// By what it is cancelled.
    pub(crate) fn cancelled_by(&mut self, operation: Operation) {
        self.operation = Some(operation);
    }

    pub(crate) fn resolve(&mut self, result: Result<Value>) -> Vec<Waiter> {
        self.result = Some(result);
        self.operation = None;
        std::mem::take(&mut self.waiters)
    }

    pub(crate) const fn tag(&self) -> u64 {
        self.tag
    }

    pub(crate) const fn is_seen(&self) -> bool {
        self.seen
    }

    pub(crate) const fn is_done(&self) -> bool {
        self.result.is_some()
    }
}

#[pymethods]
impl Pending {
    /// Whether it has come to something.
    #[getter]
    fn done(&self) -> bool {
        self.result.is_some()
    }

    /// Whether somebody has seen what it came to.
    #[getter]
    fn seen(&self) -> bool {
        self.seen
    }

    /// Whether it failed.
    #[getter]
    fn failed(&self) -> bool {
        matches!(self.result, Some(Err(_)))
    }

    /// What it came to.
    fn result(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(result) = &self.result else {
            return Err(PyRuntimeError::new_err("it has not come to anything yet: await it"));
        };
        self.seen = true;
        match result {
            Ok(value) => value.get(py),
            Err(error) => Err(error.clone()).raise(py),
        }
    }

    /// The error it came to, if it did, as an exception that is not raised. Looking is not seeing.
    fn error(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match &self.result {
            Some(Err(error)) => exception(py, error).map(Some),
            _ => Ok(None),
        }
    }

    /// Has a future told when it comes to something; `False`: it has.
    fn watch(&mut self, event_loop: Py<PyAny>, future: Py<PyAny>) -> bool {
        if self.result.is_some() {
            return false;
        }
        self.waiters.push((event_loop, future));
        true
    }

    /// That future wants to be told no more; whether others do.
    fn forget(&mut self, future: &Bound<'_, PyAny>) -> bool {
        self.waiters.retain(|(_, waiting)| !waiting.is(future));
        !self.waiters.is_empty()
    }

    /// Ends the call, unless it has come to something.
    fn cancel(&mut self) {
        if let Some(operation) = self.operation.take() {
            operation.cancel();
        }
    }

    #[classmethod]
    fn __class_getitem__(cls: &Bound<'_, PyType>, _of: &Bound<'_, PyAny>) -> Py<PyType> {
        cls.clone().unbind()
    }

    fn __await__(slf: Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        if slf.borrow().result.is_some() {
            return Ok(Py::new(py, Ready(Some(slf.unbind())))?.into_any());
        }
        let wait = WAIT.get_or_try_init(py, || py.import("meshwire._waiting")?.getattr("wait").map(Bound::unbind))?;
        wait.call1(py, (slf,))
    }
}

/// Awaits what is there.
#[pyclass(module = "meshwire._native")]
struct Ready(Option<Py<Pending>>);

#[pymethods]
impl Ready {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let Some(pending) = self.0.take() else { return Err(PyStopIteration::new_err(())) };
        let value = pending.borrow_mut(py).result(py)?;
        Err(PyStopIteration::new_err((value,)))
    }
}
