//! What calls come to, as Python's values.

use std::sync::Arc;

use meshwire_embed::{Outcome, Queue, Result};
use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::client::Client;
use crate::errors::{Raise as _, exception};
use crate::message::Reply;
use crate::pump::{self, Core};
use crate::stream::{Source, Stream};

/// What everything that comes of a client knows of it. Clones are the same.
#[derive(Clone)]
pub(crate) struct Home(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) pump: Arc<Core>,
    /// Whether calls wait on their thread.
    pub(crate) sync: bool,
    pub(crate) on_settle: Option<Py<PyAny>>,
}

/// What a pending holds.
pub(crate) enum Value {
    Nothing,
    Receipt(meshwire_embed::Receipt),
    Object(Py<PyAny>),
    /// Of asking for more: whether the question was taken back.
    TakenBack(bool),
}

impl Value {
    pub(crate) fn copy(&self, py: Python<'_>) -> Self {
        match self {
            Self::Nothing => Self::Nothing,
            Self::Receipt(receipt) => Self::Receipt(receipt.clone()),
            Self::Object(object) => Self::Object(object.clone_ref(py)),
            Self::TakenBack(is_taken_back) => Self::TakenBack(*is_taken_back),
        }
    }

    pub(crate) fn get(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self {
            Self::Nothing => Ok(py.None()),
            Self::Receipt(receipt) => Ok(Py::new(py, Receipt::new(receipt))?.into_any()),
            Self::Object(object) => Ok(object.clone_ref(py)),
            Self::TakenBack(is_taken_back) => is_taken_back.into_py_any(py),
        }
    }
}

/// The gateway's word that an event is kept to its topic's level.
#[pyclass(frozen, eq, hash, module = "meshwire._native")]
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Receipt {
    /// Where the event is in its topic.
    #[pyo3(get)]
    position: Option<u64>,
    /// The topic had an event of the same source and id.
    #[pyo3(get)]
    duplicate: bool,
}

impl Receipt {
    pub(crate) fn new(receipt: &meshwire_embed::Receipt) -> Self {
        Self { position: receipt.position.map(meshwire_embed::Position::number), duplicate: receipt.duplicate }
    }
}

#[pymethods]
impl Receipt {
    #[new]
    #[pyo3(signature = (position, duplicate=false))]
    const fn make(position: Option<u64>, duplicate: bool) -> Self {
        Self { position, duplicate }
    }

    const fn __getnewargs__(&self) -> (Option<u64>, bool) {
        (self.position, self.duplicate)
    }

    fn __repr__(&self) -> String {
        let position = self.position.map_or_else(|| "None".to_owned(), |position| position.to_string());
        let duplicate = if self.duplicate { "True" } else { "False" };
        format!("Receipt(position={position}, duplicate={duplicate})")
    }
}

/// An outcome as a pending holds it.
pub(crate) fn value(py: Python<'_>, outcome: Outcome, home: &Home) -> PyResult<Value> {
    Ok(match outcome {
        Outcome::Done | Outcome::Ended => Value::Nothing,
        Outcome::Receipt(receipt) => Value::Receipt(receipt),
        other => Value::Object(object(py, other, home)?),
    })
}

/// An outcome as Python has it.
pub(crate) fn object(py: Python<'_>, outcome: Outcome, home: &Home) -> PyResult<Py<PyAny>> {
    match outcome {
        Outcome::Done | Outcome::Ended => Ok(py.None()),
        Outcome::Client(client) => Ok(Py::new(py, Client::new(client, home.clone()))?.into_any()),
        Outcome::State(state) => state.name().into_py_any(py),
        Outcome::Receipt(receipt) => Ok(Py::new(py, Receipt::new(&receipt))?.into_any()),
        Outcome::Started(started) => {
            let begin = |queue: &Queue, tag| started.begin_receipt(queue, tag).map(|()| None);
            let pending = home.0.pump.begin(py, "publish", None, begin)?;
            Ok(pending.into_any())
        }
        Outcome::Receipts(receipts) => results(py, receipts),
        Outcome::Subscription(subscription) => Stream::make(py, Source::Subscription(subscription), home.clone()),
        Outcome::Answers(replies) => Stream::make(py, Source::Replies(replies), home.clone()),
        Outcome::Reply(reply) => Reply::make(py, reply),
        Outcome::Text(text) => text.into_py_any(py),
        _ => Err(pump::lost("call")).raise(py),
    }
}

/// A receipt or an exception for each, in order.
fn results(py: Python<'_>, receipts: Vec<Result<meshwire_embed::Receipt>>) -> PyResult<Py<PyAny>> {
    let list = PyList::empty(py);
    for receipt in receipts {
        match receipt {
            Ok(receipt) => list.append(Receipt::new(&receipt))?,
            Err(error) => list.append(exception(py, &error)?)?,
        }
    }
    list.into_py_any(py)
}
