//! Events as Python reads them: in place, each attribute where it is asked for.

use meshwire_embed::{AttributeValue, Data, Error, ErrorKind, EventView, Readable};
use pyo3::IntoPyObjectExt as _;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyString};

use crate::errors::{Raise as _, raised};
use crate::outcome::Home;

static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static AT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static EVENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Where an event is.
pub(crate) enum Body {
    /// In a delivery that is not settled.
    Delivery(meshwire_embed::Delivery),
    /// In one that was settled.
    Kept(Readable),
    Job(meshwire_embed::Job),
    Request(meshwire_embed::Inquiry),
    Reply(Box<meshwire_embed::Reply>),
    /// Nowhere, in the middle of a change.
    Gone,
}

/// An event that came.
#[pyclass(subclass, weakref, module = "meshwire._native")]
pub(crate) struct Message {
    pub(crate) body: Body,
    /// Of a delivery whose client has a hook for what becomes of it: what telling it takes.
    told: Option<Box<(Py<PyString>, Home)>>,
}

fn gone() -> Error {
    Error::of_host(ErrorKind::Internal, "read", "an event was read behind its end")
}

impl Message {
    pub(crate) const fn new(body: Body) -> Self {
        Self { body, told: None }
    }

    /// A delivery, of which the hook is told when it is let go of.
    pub(crate) fn delivery(
        py: Python<'_>,
        delivery: meshwire_embed::Delivery,
        topic: &Py<PyString>,
        home: &Home,
    ) -> Self {
        let told = home.0.on_settle.is_some().then(|| Box::new((topic.clone_ref(py), home.clone())));
        Self { body: Body::Delivery(delivery), told }
    }

    pub(crate) fn view(&self, py: Python<'_>) -> PyResult<EventView<'_>> {
        match &self.body {
            Body::Delivery(delivery) => delivery.event().raise(py),
            Body::Kept(readable) => Ok(readable.event()),
            Body::Job(job) => Ok(job.event()),
            Body::Request(inquiry) => Ok(inquiry.event()),
            Body::Reply(reply) => Ok(reply.event()),
            Body::Gone => Err(gone()).raise(py),
        }
    }

    fn text_attribute(&self, py: Python<'_>, name: &str) -> PyResult<Option<String>> {
        Ok(self.view(py)?.attribute(name).map(|value| value.to_string()))
    }

    fn attribute_object(py: Python<'_>, value: &AttributeValue<'_>) -> PyResult<Py<PyAny>> {
        match value {
            AttributeValue::Boolean(flag) => flag.into_py_any(py),
            AttributeValue::Integer(number) => number.into_py_any(py),
            AttributeValue::Binary(bytes) => PyBytes::new(py, bytes).into_py_any(py),
            AttributeValue::Timestamp(_) => moment(py, &value.to_string()),
            other => other.to_string().into_py_any(py),
        }
    }

    fn unreadable(py: Python<'_>, problem: String) -> PyErr {
        raised(py, &Error::of_host(ErrorKind::Invalid, "read", problem))
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        let Some(told) = self.told.take() else { return };
        if let Body::Delivery(delivery) = std::mem::replace(&mut self.body, Body::Gone) {
            let (topic, home) = *told;
            // Where the interpreter has ended nobody can be told.
            Python::try_attach(|py| crate::delivery::dropped(py, delivery, &topic, &home));
        }
    }
}

/// A `datetime` of RFC 3339.
fn moment(py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
    let at = AT.get_or_try_init(py, || py.import("meshwire._event")?.getattr("moment").map(Bound::unbind))?;
    at.call1(py, (text,))
}

/// A `datetime` of milliseconds since 1970.
pub(crate) fn moment_of(py: Python<'_>, millis: i64) -> PyResult<Py<PyAny>> {
    moment(py, &meshwire_embed::UnixMillis(millis).to_string())
}

#[pymethods]
impl Message {
    /// CloudEvents attribute `id`.
    #[getter]
    fn id<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        Ok(PyString::new(py, self.view(py)?.id()))
    }

    /// CloudEvents attribute `source`.
    #[getter]
    fn source<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        Ok(PyString::new(py, self.view(py)?.source()))
    }

    /// CloudEvents attribute `type`.
    #[getter]
    fn r#type<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        Ok(PyString::new(py, self.view(py)?.kind()))
    }

    /// CloudEvents attribute `partitionkey`: events of one key stay in order.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyString>>> {
        Ok(self.view(py)?.key().map(|key| PyString::new(py, key)))
    }

    /// CloudEvents attribute `subject`.
    #[getter]
    fn subject(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.text_attribute(py, "subject")
    }

    /// CloudEvents attribute `datacontenttype`.
    #[getter]
    fn content_type(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.text_attribute(py, "datacontenttype")
    }

    /// CloudEvents attribute `dataschema`.
    #[getter]
    fn schema(&self, py: Python<'_>) -> PyResult<Option<String>> {
        self.text_attribute(py, "dataschema")
    }

    /// CloudEvents attribute `time`.
    #[getter]
    fn time(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        match self.view(py)?.attribute("time") {
            Some(time) => moment(py, &time.to_string()).map(Some),
            None => Ok(None),
        }
    }

    /// All attributes but `id`, `source`, `type` and `specversion`, by their names in CloudEvents, with their types.
    #[getter]
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let attributes = PyDict::new(py);
        for (name, value) in self.view(py)?.attributes() {
            attributes.set_item(name, Self::attribute_object(py, &value)?)?;
        }
        Ok(attributes)
    }

    /// The same, each as its canonical string.
    fn attribute_texts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let attributes = PyDict::new(py);
        for (name, value) in self.view(py)?.attributes() {
            attributes.set_item(name, value.to_string())?;
        }
        Ok(attributes)
    }

    /// The data as bytes; empty if there is none.
    #[getter]
    fn data<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        Ok(PyBytes::new(py, self.view(py)?.data().bytes()))
    }

    /// What the data is stored as.
    #[getter]
    fn data_kind(&self, py: Python<'_>) -> PyResult<&'static str> {
        Ok(match self.view(py)?.data() {
            Data::Absent => "absent",
            Data::Text(_) => "text",
            Data::Binary(_) => "bytes",
            Data::Proto(_) => "protobuf",
        })
    }

    /// The data as text.
    fn text<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyString>> {
        let view = self.view(py)?;
        match std::str::from_utf8(view.data().bytes()) {
            Ok(text) => Ok(PyString::new(py, text)),
            Err(problem) => Err(Self::unreadable(py, format!("the data is not UTF-8 text: {problem}"))),
        }
    }

    /// The data as JSON.
    fn json(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let loads = LOADS.get_or_try_init(py, || py.import("json")?.getattr("loads").map(Bound::unbind))?;
        let bytes = self.data(py)?;
        loads.call1(py, (bytes,)).map_err(|problem| {
            let raised = Self::unreadable(py, format!("the data is not JSON: {}", problem.value(py)));
            raised.set_cause(py, Some(problem));
            raised
        })
    }

    /// The event, as it can be published again.
    fn event(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let make =
            EVENT.get_or_try_init(py, || py.import("meshwire._event")?.getattr("of_message").map(Bound::unbind))?;
        make.call1(py, (slf,))
    }

    fn __repr__(slf: &Bound<'_, Self>) -> PyResult<String> {
        let py = slf.py();
        let kind = slf.get_type().name()?;
        let this = slf.borrow();
        let view = this.view(py)?;
        let id: String = view.id().chars().take(60).collect();
        let of: String = view.kind().chars().take(60).collect();
        Ok(format!("<{kind} id={id:?} type={of:?} bytes={}>", view.data().bytes().len()))
    }
}

/// A reply to a request.
#[pyclass(extends = Message, module = "meshwire._native")]
pub(crate) struct Reply;

impl Reply {
    pub(crate) fn make(py: Python<'_>, reply: meshwire_embed::Reply) -> PyResult<Py<PyAny>> {
        let message = Message::new(Body::Reply(Box::new(reply)));
        let made = PyClassInitializer::from(message).add_subclass(Self);
        Ok(Py::new(py, made)?.into_any())
    }
}
