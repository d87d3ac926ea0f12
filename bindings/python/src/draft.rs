//! Events from Python's values.

use std::time::Duration;

use meshwire_embed::{Bytes, Draft, Error, ErrorKind, Event};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyList, PyMemoryView, PyString, PyTuple};

use crate::errors::{Raise as _, raised};

/// `meshwire._event.to_json` and `meshwire._event.parts`.
static TO_JSON: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
static PARTS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn invalid(py: Python<'_>, name: &str, problem: &str) -> PyErr {
    raised(py, &Error::of_host(ErrorKind::Invalid, "event", format!("{name}: {problem}")))
}

fn function<'py>(py: Python<'py>, place: &'py PyOnceLock<Py<PyAny>>, name: &str) -> PyResult<&'py Bound<'py, PyAny>> {
    let found = place.get_or_try_init(py, || py.import("meshwire._event")?.getattr(name).map(Bound::unbind))?;
    Ok(found.bind(py))
}

/// An event of data, or of an object that is an event, and of what is said beside it, which counts more.
pub(crate) fn draft(py: Python<'_>, value: &Bound<'_, PyAny>, said: Option<&Bound<'_, PyDict>>) -> PyResult<Draft> {
    let draft = of_value(py, value)?;
    match said {
        Some(said) => said_all(py, draft, said),
        None => Ok(draft),
    }
}

fn said_all(py: Python<'_>, mut draft: Draft, said: &Bound<'_, PyDict>) -> PyResult<Draft> {
    for (name, value) in said.iter() {
        draft = said_one(py, draft, name.cast::<PyString>()?.to_str()?, &value)?;
    }
    Ok(draft)
}

fn of_value(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Draft> {
    if is_plain(value) {
        return data(py, Draft::new(), value);
    }
    let parts = function(py, &PARTS, "parts")?.call1((value,))?;
    if parts.is_none() {
        return data(py, Draft::new(), value);
    }
    let (inside, said) = parts.extract::<(Bound<'_, PyAny>, Bound<'_, PyDict>)>()?;
    said_all(py, data(py, Draft::new(), &inside)?, &said)
}

fn said_one(py: Python<'_>, draft: Draft, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Draft> {
    if value.is_none() {
        return Ok(draft);
    }
    match name {
        "attributes" => {
            let mut draft = draft;
            for pair in value.call_method0("items")?.try_iter()? {
                let (name, value) = pair?.extract::<(Bound<'_, PyString>, Bound<'_, PyAny>)>()?;
                draft = match value.cast::<PyString>() {
                    Ok(text) => draft.extension_text(name.to_str()?, text.to_str()?).raise(py)?,
                    Err(_) => attribute(py, draft, name.to_str()?, &value)?,
                };
            }
            Ok(draft)
        }
        "deliver_after" => Ok(draft.deliver_after(duration(py, name, value)?)),
        "expires_in" => Ok(draft.expires_in(duration(py, name, value)?)),
        "deliver_at" => draft.deliver_at(millis(py, name, value)?).raise(py),
        "key" => attribute(py, draft, "partitionkey", value),
        "content_type" => attribute(py, draft, "datacontenttype", value),
        "schema" => attribute(py, draft, "dataschema", value),
        "id" | "source" | "type" | "subject" | "time" => attribute(py, draft, name, value),
        other => Err(PyTypeError::new_err(format!("an event has no {other:?}; extensions are said by attributes="))),
    }
}

/// The event to send at once.
pub(crate) fn event(py: Python<'_>, value: &Bound<'_, PyAny>) -> PyResult<Event> {
    draft(py, value, None)?.finish_now().raise(py)
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

fn data(py: Python<'_>, draft: Draft, value: &Bound<'_, PyAny>) -> PyResult<Draft> {
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return Ok(draft.bytes(Bytes::copy_from_slice(bytes.as_bytes())));
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(draft.words(text.to_str()?));
    }
    if value.is_none() {
        return Ok(draft);
    }
    if value.is_instance_of::<PyByteArray>() || value.is_instance_of::<PyMemoryView>() {
        let bytes = py.get_type::<PyBytes>().call1((value,))?;
        return Ok(draft.bytes(Bytes::copy_from_slice(bytes.cast::<PyBytes>()?.as_bytes())));
    }
    let json = function(py, &TO_JSON, "to_json")?.call1((value,))?;
    Ok(draft.json(json.cast::<PyString>()?.to_str()?))
}

fn attribute(py: Python<'_>, draft: Draft, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Draft> {
    if let Ok(text) = value.cast::<PyString>() {
        return draft.text(name, text.to_str()?).raise(py);
    }
    // True is an int to Python.
    if let Ok(flag) = value.cast::<PyBool>() {
        return draft.boolean(name, flag.is_true()).raise(py);
    }
    if value.is_instance_of::<PyInt>() {
        // Beyond 64 bits it is as far out of bounds as at their end.
        let number = value.extract::<i64>().unwrap_or(i64::MAX);
        return draft.integer(name, number).raise(py);
    }
    if let Ok(bytes) = value.cast::<PyBytes>() {
        return draft.binary(name, bytes.as_bytes()).raise(py);
    }
    if value.hasattr("timestamp")? {
        return draft.time(name, millis(py, name, value)?).raise(py);
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!(
        "attribute {name} is text, a number, true or false, bytes or a time, and not {kind}"
    )))
}

/// Milliseconds since 1970 of a `datetime`.
fn millis(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<i64> {
    if !value.hasattr("timestamp")? {
        let kind = value.get_type().name()?;
        return Err(PyTypeError::new_err(format!("{name} is a datetime, and not {kind}")));
    }
    let seconds: f64 = value.call_method0("timestamp")?.extract()?;
    let millis = (seconds * 1000.0).round();
    if millis.abs() < 9e15 {
        #[expect(clippy::cast_possible_truncation, reason = "it fits, and is whole")]
        return Ok(millis as i64);
    }
    Err(invalid(py, name, "is no time"))
}

/// Seconds, or a `timedelta`.
pub(crate) fn duration(py: Python<'_>, name: &str, value: &Bound<'_, PyAny>) -> PyResult<Duration> {
    let seconds: f64 = match value.extract() {
        Ok(seconds) => seconds,
        Err(_) if value.hasattr("total_seconds")? => value.call_method0("total_seconds")?.extract()?,
        Err(_) => {
            let kind = value.get_type().name()?;
            let text = format!("{name} is a number of seconds or a timedelta, and not {kind}");
            return Err(PyTypeError::new_err(text));
        }
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| invalid(py, name, &format!("{seconds} s is no length of time")))
}
