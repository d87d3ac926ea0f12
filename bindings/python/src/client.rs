//! A client as Python's API holds it: each verb begun, or waited for.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use meshwire_embed::{Ask, Options, Queue, Result, Room, State};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::draft::{draft, duration};
use crate::errors::{Raise as _, closed};
use crate::outcome::{Home, Inner, object};
use crate::pending::Pending;
use crate::pump::{Failures, Of, Pump};
use crate::stream::{Source, Stream};
use crate::wait::{self, Cancel};

type Words = HashMap<String, String>;

/// A client.
#[pyclass(module = "meshwire._native", weakref)]
pub(crate) struct Client {
    /// `None`: it was closed.
    client: Option<meshwire_embed::Client>,
    home: Home,
    failures: Arc<Failures>,
    /// Its counts when it was closed.
    last: String,
}

fn home(pump: &Bound<'_, Pump>, sync: bool, on_settle: Option<Py<PyAny>>) -> Home {
    Home(Arc::new(Inner { pump: Arc::clone(&pump.get().0), sync, on_settle }))
}

fn words(options: Words) -> Options {
    options.into_iter().collect()
}

/// Begins to connect.
#[pyfunction]
pub(crate) fn connect(pump: &Bound<'_, Pump>, options: Words, on_settle: Option<Py<PyAny>>) -> PyResult<Py<Pending>> {
    let home = home(pump, false, on_settle);
    let core = Arc::clone(&home.0.pump);
    core.begin(pump.py(), Some(Of::Home(home)), |queue, tag, pending| {
        pending.cancelled_by(meshwire_embed::Client::begin_connect(words(options), queue, tag)?);
        Ok(())
    })
}

/// Connects, and waits for it.
#[pyfunction]
pub(crate) fn connect_sync(
    pump: &Bound<'_, Pump>,
    options: Words,
    on_settle: Option<Py<PyAny>>,
) -> PyResult<Py<PyAny>> {
    let py = pump.py();
    let begin = |queue: &Queue| meshwire_embed::Client::begin_connect(words(options), queue, 0).map(Cancel::By);
    let outcome = wait::call(py, begin, |py, late| py.detach(move || drop(late)))?;
    object(py, outcome, &home(pump, true, on_settle))
}

impl Client {
    pub(crate) fn new(client: meshwire_embed::Client, home: Home) -> Self {
        Self { client: Some(client), home, failures: Arc::default(), last: String::new() }
    }

    fn open(&self, operation: &'static str) -> Result<meshwire_embed::Client> {
        self.client.clone().ok_or_else(|| closed(operation))
    }

    /// Begins what is asked, or does it on this thread if the client waits.
    fn ask(slf: &Bound<'_, Self>, ask: Ask) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let (client, home) = {
            let this = slf.borrow();
            (this.open(ask.operation()).raise(py)?, this.home.clone())
        };
        if home.0.sync {
            let outcome = wait::call(py, |queue| client.begin(ask, queue, 0).map(Cancel::By), |_, _| {})?;
            return object(py, outcome, &home);
        }
        let core = Arc::clone(&home.0.pump);
        let pending = core.begin(py, Some(Of::Home(home)), |queue, tag, pending| {
            pending.cancelled_by(client.begin(ask, queue, tag)?);
            Ok(())
        })?;
        Ok(pending.into_any())
    }
}

#[pymethods]
impl Client {
    /// Publishes an event. `wait`: for room, if there is none, behind those that do already. `kept`: a failure is told by the next flush
    /// if nobody awaits it.
    fn publish(
        slf: &Bound<'_, Self>,
        topic: &str,
        value: &Bound<'_, PyAny>,
        wait: bool,
        kept: bool,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<Pending>> {
        let py = slf.py();
        let event = draft(py, value, Some(said))?.finish().raise(py)?;
        let this = slf.borrow();
        let Some(client) = &this.client else { return Err(closed("publish")).raise(py) };
        let room = if wait { Room::Wait } else { Room::Now };
        let of = kept.then(|| Of::Failures(Arc::clone(&this.failures)));
        this.home.0.pump.begin(py, of, |queue, tag, _| client.begin_publish(topic, event, room, queue, tag))
    }

    /// Publishes an event, and waits for its receipt on this thread.
    fn publish_sync(
        slf: &Bound<'_, Self>,
        topic: &str,
        value: &Bound<'_, PyAny>,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let event = draft(py, value, Some(said))?.finish().raise(py)?;
        let (client, home) = {
            let this = slf.borrow();
            (this.open("publish").raise(py)?, this.home.clone())
        };
        let cancel = |queue: &Queue| drop(client.cancel_publish(queue, 0));
        let begin = |queue: &Queue| {
            client.begin_publish(topic, event, Room::Wait, queue, 0)?;
            Ok(Cancel::Call(&cancel))
        };
        let outcome = wait::call(py, begin, |_, _| {})?;
        object(py, outcome, &home)
    }

    /// Calls back a publish that waits for room; `False`: it has left.
    fn cancel_publish(&self, py: Python<'_>, pending: &Bound<'_, Pending>) -> PyResult<bool> {
        let pending = pending.borrow();
        match &self.client {
            Some(client) if !pending.is_done() => {
                client.cancel_publish(&self.home.0.pump.queue, pending.tag()).raise(py)
            }
            _ => Ok(false),
        }
    }

    /// Publishes an event: comes to a pending when it was admitted, and is in the offline file if there is one.
    fn publish_start(
        slf: &Bound<'_, Self>,
        topic: String,
        value: &Bound<'_, PyAny>,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let event = Box::new(draft(py, value, Some(said))?.finish().raise(py)?);
        Self::ask(slf, Ask::PublishStart { topic, event })
    }

    /// Publishes events: comes to a receipt or an error for each.
    fn publish_batch(slf: &Bound<'_, Self>, topic: String, values: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let mut events = Vec::new();
        for value in values.try_iter()? {
            events.push(draft(py, &value?, None)?.finish());
        }
        Self::ask(slf, Ask::PublishBatch { topic, events })
    }

    fn flush(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, Ask::Flush)
    }

    /// Pendings that failed since the last time, and that nobody has seen.
    fn failures<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let failures = self.failures.take();
        let unseen = failures.into_iter().filter(|pending| !pending.borrow(py).is_seen());
        PyList::new(py, unseen.collect::<Vec<_>>())
    }

    fn connected(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, Ask::Connected)
    }

    /// Comes to the state that is the next after this one.
    fn state_after(slf: &Bound<'_, Self>, before: &str) -> PyResult<Py<PyAny>> {
        let states = [
            State::Disconnected,
            State::Connecting,
            State::Connected,
            State::Reconnecting,
            State::Draining,
            State::Closed,
        ];
        let Some(before) = states.into_iter().find(|state| state.name() == before) else {
            return Err(pyo3::exceptions::PyValueError::new_err(format!("{before:?} is no state")));
        };
        Self::ask(slf, Ask::StateAfter(before))
    }

    fn subscribe(slf: &Bound<'_, Self>, topic: String, options: Words) -> PyResult<Py<PyAny>> {
        Self::ask(slf, Ask::Subscribe { topic, options: words(options) })
    }

    fn request(
        slf: &Bound<'_, Self>,
        topic: String,
        value: &Bound<'_, PyAny>,
        options: Words,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let event = Box::new(draft(py, value, Some(said))?.finish_now().raise(py)?);
        Self::ask(slf, Ask::Request { topic, event, options: words(options) })
    }

    fn request_stream(
        slf: &Bound<'_, Self>,
        topic: String,
        value: &Bound<'_, PyAny>,
        options: Words,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let event = Box::new(draft(py, value, Some(said))?.finish_now().raise(py)?);
        Self::ask(slf, Ask::RequestStream { topic, event, options: words(options) })
    }

    /// Begins to consume: a stream of jobs.
    fn consume(&self, py: Python<'_>, topic: &str, options: Words) -> PyResult<Py<PyAny>> {
        let consumer = self.open("consume").and_then(|client| client.consume(topic, &words(options))).raise(py)?;
        Stream::make(py, Source::Consumer(consumer), self.home.clone())
    }

    /// Begins to serve: a stream of requests.
    fn serve(&self, py: Python<'_>, topic: &str, options: Words) -> PyResult<Py<PyAny>> {
        let responder = self.open("serve").and_then(|client| client.serve(topic, &words(options))).raise(py)?;
        Stream::make(py, Source::Responder(responder), self.home.clone())
    }

    /// Administration: comes to the answer as JSON.
    fn administer(slf: &Bound<'_, Self>, command: String, arguments: String) -> PyResult<Py<PyAny>> {
        Self::ask(slf, Ask::Administer { command, arguments })
    }

    #[pyo3(signature = (deadline=None))]
    fn drain(slf: &Bound<'_, Self>, deadline: Option<&Bound<'_, PyAny>>) -> PyResult<Py<PyAny>> {
        let deadline = deadline.map(|deadline| duration(slf.py(), "deadline", deadline)).transpose()?;
        Self::ask(slf, Ask::Drain { deadline })
    }

    #[getter]
    fn state(&self, py: Python<'_>) -> PyResult<&'static str> {
        match &self.client {
            Some(client) => client.state().map(State::name).raise(py),
            None => Ok(State::Closed.name()),
        }
    }

    /// Counts, as a JSON object.
    fn stats(&self, py: Python<'_>) -> PyResult<String> {
        match &self.client {
            Some(client) => client.stats_json().raise(py),
            None => Ok(self.last.clone()),
        }
    }

    /// Publishes without a receipt; 0 in a child of fork.
    fn unanswered(&self) -> u64 {
        self.client.as_ref().and_then(|client| client.stats().ok()).map_or(0, |stats| stats.pending)
    }

    /// Ends it on this thread, for the end of the process.
    fn finish(&mut self, py: Python<'_>, seconds: f64) {
        let Some(client) = self.client.take() else { return };
        let deadline = Some(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)));
        // What is left then is logged.
        py.detach(move || drop(client.wait(Ask::Drain { deadline })));
    }

    /// Lets go of it, which may wait for publishes that are on their way.
    fn release(&mut self, py: Python<'_>) {
        if let Some(client) = self.client.take() {
            self.last = client.stats_json().unwrap_or_default();
            py.detach(move || drop(client));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(client) = self.client.take() {
            // It may wait, and the pump must be able to go on meanwhile.
            Python::attach(|py| py.detach(move || drop(client)));
        }
    }
}
