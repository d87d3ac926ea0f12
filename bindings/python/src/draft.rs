//! Events from Python's values.

use std::time::Duration;

use meshwire_embed::{Bytes, Draft, Error, ErrorKind, Event, TimedEvent};
use pyo3::exceptions::{PyTypeError, PyUnicodeEncodeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};

use crate::errors::raised;

/// `meshwire._event.to_json` and `meshwire._event.parts`.
static TO_JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PARTS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Why there is no event.
pub(crate) enum Fault {
    /// The client says so.
    Ours(Error),
    /// Python does.
    Python(PyErr),
}

pub(crate) type Drafted<T> = Result<T, Fault>;

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Ours(error)
    }
}

impl From<PyErr> for Fault {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl From<pyo3::CastError<'_, '_>> for Fault {
    fn from(error: pyo3::CastError<'_, '_>) -> Self {
        Self::Python(error.into())
    }
}

impl Fault {
    fn of_call(self, operation: &'static str) -> Self {
        match self {
            Self::Ours(error) => Self::Ours(error.of_call(operation)),
            python => python,
        }
    }

    /// It, raised.
    pub(crate) fn raised(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Ours(error) => raised(py, &error),
            Self::Python(error) => error,
        }
    }

    /// It as an error of one event among others.
    pub(crate) fn of_one(self, py: Python<'_>) -> Error {
        match self {
            Self::Ours(error) => error,
            Self::Python(error) => {
                let kind =
                    error.get_type(py).name().map_or_else(|_| "an exception".to_owned(), |name| name.to_string());
                Error::of_host(ErrorKind::Invalid, "event", format!("{kind}: {}", error.value(py)))
            }
        }
    }
}

fn invalid(name: &str, problem: &str) -> Fault {
    Error::of_host(ErrorKind::Invalid, "event", format!("{name}: {problem}")).into()
}

/// A text of Python's as text that can be sent: half of a surrogate pair has no place in UTF-8.
pub(crate) fn text<'a>(name: &str, text: &'a Bound<'_, PyString>) -> Drafted<&'a str> {
    text.to_str().map_err(|problem| {
        if problem.is_instance_of::<PyUnicodeEncodeError>(text.py()) {
            return invalid(name, "the text has half of a surrogate pair, which UTF-8 has no place for");
        }
        problem.into()
    })
}

/// The same of an argument that was handed in.
pub(crate) fn argument<'a>(name: &str, said: &'a Bound<'_, PyString>) -> PyResult<&'a str> {
    text(name, said).map_err(|fault| fault.raised(said.py()))
}

/// Why a delivery is rejected.
#[derive(Default)]
pub(crate) struct Reason(pub(crate) String);

impl<'a, 'py> FromPyObject<'a, 'py> for Reason {
    type Error = PyErr;

    fn extract(said: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        let said = said.cast::<PyString>()?;
        argument("reason", &said).map(|reason| Self(reason.to_owned()))
    }
}

fn function<'py>(py: Python<'py>, place: &'py PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<&'py Bound<'py, PyAny>> {
    let found = place.get_or_try_init(py, || py.import("meshwire._event")?.getattr(name).map(Bound::unbind))?;
    Ok(found.bind(py))
}

/// An event of data, or of an object that is an event, and of what is said beside it, which counts more.
pub(crate) fn draft(py: Python<'_>, value: &Bound<'_, PyAny>, said: Option<&Bound<'_, PyDict>>) -> Drafted<Draft> {
    let draft = of_value(py, value)?;
    match said {
        Some(said) => said_all(draft, said),
        None => Ok(draft),
    }
}

fn said_all(mut draft: Draft, said: &Bound<'_, PyDict>) -> Drafted<Draft> {
    for (name, value) in said.iter() {
        draft = said_one(draft, text("attribute", name.cast()?)?, &value)?;
    }
    Ok(draft)
}

fn of_value(py: Python<'_>, value: &Bound<'_, PyAny>) -> Drafted<Draft> {
    if is_plain(value) {
        return data(py, Draft::new(), value);
    }
    let parts = function(py, &PARTS, "parts")?.call1((value,))?;
    if parts.is_none() {
        return data(py, Draft::new(), value);
    }
    let (inside, said) = parts.extract::<(Bound<'_, PyAny>, Bound<'_, PyDict>)>()?;
    said_all(data(py, Draft::new(), &inside)?, &said)
}

fn said_one(draft: Draft, name: &str, value: &Bound<'_, PyAny>) -> Drafted<Draft> {
    if value.is_none() {
        return Ok(draft);
    }
    match name {
        "attributes" => {
            if !value.hasattr("items")? {
                let kind = value.get_type().name()?;
                let text = format!("attributes are a dict of extension attributes by their names, and not {kind}");
                return Err(PyTypeError::new_err(text).into());
            }
            let mut draft = draft;
            for pair in value.call_method0("items")?.try_iter()? {
                let (name, value) = pair?.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
                let name = text("attributes", &name)?;
                draft = match value.cast::<PyString>() {
                    Ok(value) => draft.extension_text(name, text(name, value)?)?,
                    Err(_) => attribute(draft, name, &value)?,
                };
            }
            Ok(draft)
        }
        "deliver_after" => Ok(draft.deliver_after(length(name, value)?)),
        "expires_in" => Ok(draft.expires_in(length(name, value)?)),
        "deliver_at" => Ok(draft.deliver_at(millis(name, value)?)?),
        "key" => attribute(draft, "partitionkey", value),
        "content_type" => attribute(draft, "datacontenttype", value),
        "schema" => attribute(draft, "dataschema", value),
        "id" | "source" | "type" | "subject" | "time" => attribute(draft, name, value),
        other => {
            Err(PyTypeError::new_err(format!("an event has no {other:?}; extensions are said by attributes=")).into())
        }
    }
}

/// The event to publish.
pub(crate) fn timed(py: Python<'_>, value: &Bound<'_, PyAny>, said: &Bound<'_, PyDict>) -> PyResult<TimedEvent> {
    let event = draft(py, value, Some(said)).and_then(|draft| Ok(draft.finish()?));
    event.map_err(|fault| fault.of_call("publish").raised(py))
}

/// The event to ask with.
pub(crate) fn at_once(py: Python<'_>, value: &Bound<'_, PyAny>, said: &Bound<'_, PyDict>) -> PyResult<Event> {
    let event = draft(py, value, Some(said)).and_then(|draft| Ok(draft.finish_now()?));
    event.map_err(|fault| fault.of_call("request").raised(py))
}

/// The event to reply with.
pub(crate) fn event(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Event> {
    let event = draft(py, value, None).and_then(|draft| Ok(draft.finish_now()?));
    event.map_err(|fault| fault.of_call("reply").raised(py))
}

/// Data of types that are never events.
fn is_plain(value: &Bound<'_, PyAny>) -> bool {
    value.is_exact_instance_of::<PyBytes>()
        || value.is_exact_instance_of::<PyString>()
        || value.is_exact_instance_of::<PyDict>()
        || value.is_none()
        || value.is_exact_instance_of::<PyList>()
        || value.is_exact_instance_of::<PyInt>()
        || value.is_exact_instance_of::<PyFloat>()
        || value.is_exact_instance_of::<PyBool>()
        || value.is_exact_instance_of::<PyTuple>()
}

fn data(py: Python<'_>, draft: Draft, value: &Bound<'_, PyAny>) -> Drafted<Draft> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(draft.bytes(Bytes::copy_from_slice(bytes.as_bytes())));
    }
    if let Ok(words) = value.cast::<PyString>() {
        return Ok(draft.words(text("data", words)?));
    }
    if value.is_none() {
        return Ok(draft);
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        let bytes = py.get_type::<PyBytes>().call1((value,))?;
        return Ok(draft.bytes(Bytes::copy_from_slice(bytes.cast::<PyBytes>()?.as_bytes())));
    }
    let json = function(py, &TO_JSON, "to_json")?.call1((value,))?;
    Ok(draft.json(text("data", json.cast()?)?))
}

fn attribute(draft: Draft, name: &str, value: &Bound<'_, PyAny>) -> Drafted<Draft> {
    if let Ok(said) = value.cast::<PyString>() {
        return Ok(draft.text(name, text(name, said)?)?);
    }
    // True is an int to Python.
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(draft.boolean(name, flag.is_true())?);
    }
    if value.is_instance_of::<PyInt>() {
        // Beyond 64 bits it is as far out of bounds as at their end.
        let number = value.extract::<i64>().unwrap_or(i64::MAX);
        return Ok(draft.integer(name, number)?);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(draft.binary(name, bytes.as_bytes())?);
    }
    if value.hasattr("timestamp")? {
        return Ok(draft.time(name, millis(name, value)?)?);
    }
    let kind = value.get_type().name()?;
    let text = format!("attribute {name} is text, a number, true or false, bytes or a time, and not {kind}");
    Err(PyTypeError::new_err(text).into())
}

/// Milliseconds since 1970 of a `datetime`.
fn millis(name: &str, value: &Bound<'_, PyAny>) -> Drafted<i64> {
    if !value.hasattr("timestamp")? {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} is a datetime, and not {kind}")).into());
    }
    let seconds: f64 = value.call_method0("timestamp")?.extract()?;
    let millis = (seconds * 1000.0).round();
    if millis.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it fits, and is whole")]
        return Ok(millis as i64);
    }
    Err(invalid(name, "is no time"))
}

/// Seconds, or a `timedelta`.
pub(crate) fn duration(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    length(name, value).map_err(|fault| fault.raised(py))
}

fn length(name: &str, value: &Bound<'_, PyAny>) -> Drafted<Duration> {
    let seconds: f64 = match value.extract() {
        Ok(seconds) => seconds,
        Err(_) if value.hasattr("total_seconds")? => value.call_method0("total_seconds")?.extract()?,
        Err(_) => {
            let kind = value.get_type().name()?;
            let text = format!("{name} is a number of seconds or a timedelta, and not {kind}");
            return Err(PyTypeError::new_err(text).into());
        }
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid(name, &format!("{seconds} s is no length of time")))
}
