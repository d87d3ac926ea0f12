//! A client as Python's API holds it: each verb begun, or waited for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire_embed::{Ask, Draft, Options, Queue, Result, Room, State, guarded};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use crate::draft::{argument, at_once, draft, duration, timed};
use crate::errors::{Raise as _, closed};
use crate::outcome::{Home, Inner, object};
use crate::pending::Pending;
use crate::pump::{Failures, Of, Pump};
use crate::stream::{Source, Stream};
use crate::wait::{self, Cancel};

type Words = HashMap<String, String>;

/// A client. Many threads may call it, also while one of them closes it.
#[pyclass(frozen, module = "meshwire._native", weakref)]
pub(crate) struct Client {
    /// Never held where something waits, or where Python may run.
    client: Mutex<Held>,
    home: Home,
    failures: Arc<Failures>,
}

enum Held {
    Open(meshwire_embed::Client),
    /// Its counts when it was closed.
    Closed(String),
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
    core.begin(pump.py(), "connect", Some(Of::Home(home)), |queue, tag| {
        meshwire_embed::Client::begin_connect(words(options), queue, tag).map(Some)
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
    let outcome = wait::call(py, "connect", begin, |py, late| py.detach(move || drop(late)))?;
    object(py, outcome, &home(pump, true, on_settle))
}

impl Client {
    pub(crate) fn new(client: meshwire_embed::Client, home: Home) -> Self {
        Self { client: Mutex::new(Held::Open(client)), home, failures: Arc::default() }
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.client.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, operation: &'static str) -> Result<meshwire_embed::Client> {
        match &*self.held() {
            Held::Open(client) => Ok(client.clone()),
            Held::Closed(_) => Err(closed(operation)),
        }
    }

    /// Takes the client out, for whoever ends it; `None`: another has.
    fn taken(&self) -> Option<meshwire_embed::Client> {
        let mut held = self.held();
        let Held::Open(client) = &*held else { return None };
        let last = client.stats_json().unwrap_or_default();
        match std::mem::replace(&mut *held, Held::Closed(last)) {
            Held::Open(client) => Some(client),
            Held::Closed(_) => None,
        }
    }

    /// Begins what is asked, or does it on this thread if the client waits.
    fn ask(slf: &Bound<'_, Self>, ask: Ask) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let this = slf.get();
        let operation = ask.operation();
        let (client, home) = (this.open(operation).raise(py)?, this.home.clone());
        if home.0.sync {
            let outcome = wait::call(py, operation, |queue| client.begin(ask, queue, 0).map(Cancel::By), |_, _| {})?;
            return object(py, outcome, &home);
        }
        let core = Arc::clone(&home.0.pump);
        let begin = |queue: &Queue, tag| client.begin(ask, queue, tag).map(Some);
        let pending = core.begin(py, operation, Some(Of::Home(home)), begin)?;
        Ok(pending.into_any())
    }
}

#[pymethods]
impl Client {
    /// Publishes an event. `wait`: for room, if there is none, behind those that do already. `kept`: a failure is told by the next flush
    /// if nobody awaits it.
    fn publish(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        wait: bool,
        kept: bool,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<Pending>> {
        let py = slf.py();
        let (topic, event) = (argument("topic", topic)?, timed(py, value, said)?);
        let this = slf.get();
        let (client, pump) = (this.open("publish").raise(py)?, &this.home.0.pump);
        let of = kept.then(|| Of::Failures(Arc::clone(&this.failures)));
        let room = if wait { Room::Wait } else { Room::Now };
        pump.begin(py, "publish", of, |queue, tag| client.begin_publish(topic, event, room, queue, tag).map(|()| None))
    }

    /// Publishes an event, and waits for its receipt on this thread.
    fn publish_sync(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let (topic, event) = (argument("topic", topic)?, timed(py, value, said)?);
        let this = slf.get();
        let client = this.open("publish").raise(py)?;
        let cancel = |queue: &Queue| drop(client.cancel_publish(queue, 0));
        let begin = |queue: &Queue| {
            client.begin_publish(topic, event, Room::Wait, queue, 0)?;
            Ok(Cancel::Call(&cancel))
        };
        let outcome = wait::call(py, "publish", begin, |_, _| {})?;
        object(py, outcome, &this.home)
    }

    /// Calls back a publish that waits for room; `False`: it has left.
    fn cancel_publish(&self, py: Python<'_>, pending: &Bound<'_, Pending>) -> PyResult<bool> {
        let pending = pending.borrow();
        let cancelled = match &*self.held() {
            Held::Open(client) if !pending.is_done() => client.cancel_publish(&self.home.0.pump.queue, pending.tag()),
            _ => Ok(false),
        };
        cancelled.raise(py)
    }

    /// Publishes an event: comes to a pending when it was admitted, and is in the offline file if there is one.
    fn publish_start(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let topic = argument("topic", topic)?.to_owned();
        let event = Box::new(timed(py, value, said)?);
        Self::ask(slf, Ask::PublishStart { topic, event })
    }

    /// Publishes events: comes to a receipt or an error for each.
    fn publish_batch(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyString>,
        values: &Bound<'_, PyAny>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let topic = argument("topic", topic)?.to_owned();
        let mut events = Vec::new();
        for value in values.try_iter()? {
            let event = draft(py, &value?, None).map_err(|fault| fault.of_one(py));
            events.push(event.and_then(Draft::finish).map_err(|error| error.of_call("publish")));
        }
        Self::ask(slf, Ask::PublishBatch { topic, events })
    }

    fn flush(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        Self::ask(slf, Ask::Flush)
    }

    /// Pendings that failed since the last time, and that nobody has seen, and how many more failed.
    fn failures<'py>(&self, py: Python<'py>) -> PyResult<(Bound<'py, PyList>, usize)> {
        let (failures, untold) = self.failures.take();
        let unseen = failures.into_iter().filter(|pending| !pending.borrow(py).is_seen());
        Ok((PyList::new(py, unseen.collect::<Vec<_>>())?, untold))
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

    fn subscribe(slf: &Bound<'_, Self>, topic: &Bound<'_, PyString>, options: Words) -> PyResult<Py<PyAny>> {
        let topic = argument("topic", topic)?.to_owned();
        Self::ask(slf, Ask::Subscribe { topic, options: words(options) })
    }

    fn request(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        options: Words,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let topic = argument("topic", topic)?.to_owned();
        let event = Box::new(at_once(py, value, said)?);
        Self::ask(slf, Ask::Request { topic, event, options: words(options) })
    }

    fn request_stream(
        slf: &Bound<'_, Self>,
        topic: &Bound<'_, PyString>,
        value: &Bound<'_, PyAny>,
        options: Words,
        said: &Bound<'_, PyDict>,
    ) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        let topic = argument("topic", topic)?.to_owned();
        let event = Box::new(at_once(py, value, said)?);
        Self::ask(slf, Ask::RequestStream { topic, event, options: words(options) })
    }

    /// Begins to consume: a stream of jobs, and how many handlers may run at once.
    fn consume(&self, topic: &Bound<'_, PyString>, options: Words) -> PyResult<(Py<PyAny>, u64)> {
        let (py, topic) = (topic.py(), argument("topic", topic)?);
        let begin = || self.open("consume")?.consume(topic, &words(options));
        let consumer = guarded("consume", begin).raise(py)?;
        let concurrency = consumer.concurrency().raise(py)?;
        Ok((Stream::make(py, Source::Consumer(consumer), self.home.clone())?, concurrency))
    }

    /// Begins to serve: a stream of requests, and how many handlers may run at once.
    fn serve(&self, topic: &Bound<'_, PyString>, options: Words) -> PyResult<(Py<PyAny>, u64)> {
        let (py, topic) = (topic.py(), argument("topic", topic)?);
        let begin = || self.open("serve")?.serve(topic, &words(options));
        let responder = guarded("serve", begin).raise(py)?;
        let concurrency = responder.concurrency().raise(py)?;
        Ok((Stream::make(py, Source::Responder(responder), self.home.clone())?, concurrency))
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
        let state = match &*self.held() {
            Held::Open(client) => client.state(),
            Held::Closed(_) => Ok(State::Closed),
        };
        state.map(State::name).raise(py)
    }

    /// Counts, as a JSON object.
    fn stats(&self, py: Python<'_>) -> PyResult<String> {
        let stats = match &*self.held() {
            Held::Open(client) => client.stats_json(),
            Held::Closed(last) => Ok(last.clone()),
        };
        stats.raise(py)
    }

    /// Publishes without a receipt; 0 in a child of fork.
    fn unanswered(&self) -> u64 {
        match &*self.held() {
            Held::Open(client) => client.stats().map_or(0, |stats| stats.pending),
            Held::Closed(_) => 0,
        }
    }

    /// Ends it on this thread, for the end of the process.
    fn finish(&self, py: Python<'_>, seconds: f64) {
        let Some(client) = self.taken() else { return };
        let deadline = Some(Duration::from_secs_f64(seconds.clamp(0.0, 60.0)));
        // What is left then is logged.
        py.detach(move || drop(client.wait(Ask::Drain { deadline })));
    }

    /// Lets go of it, which may wait for publishes that are on their way.
    fn release(&self, py: Python<'_>) {
        if let Some(client) = self.taken() {
            py.detach(move || drop(client));
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let held = std::mem::replace(&mut *self.held(), Held::Closed(String::new()));
        if let Held::Open(client) = held {
            // It may wait, and the pump must be able to go on meanwhile.
            Python::attach(|py| py.detach(move || drop(client)));
        }
    }
}
