//! Work for handlers: events of a consumer, requests of a responder.

use std::sync::Arc;

use meshwire_embed::{Error, ErrorKind, Handled, guarded};
use pyo3::prelude::*;

use crate::draft::{duration, event};
use crate::errors::{Raise as _, raised};
use crate::message::{Body, Message, moment_of};
use crate::outcome::Home;
use crate::pending::Pending;
use crate::wait::{self, Cancel};

/// One event for a handler.
#[pyclass(extends = Message, module = "meshwire._native")]
pub(crate) struct Job {
    #[pyo3(get)]
    topic: String,
    #[pyo3(get)]
    position: u64,
    #[pyo3(get)]
    attempt: u32,
    #[pyo3(get)]
    gap: u64,
    #[pyo3(get)]
    number: u64,
    /// Its lease is gone: it comes again, and what its handler still says is not heard.
    #[pyo3(get)]
    lost: bool,
    stored: i64,
    expires: Option<i64>,
}

/// A request for a handler.
#[pyclass(extends = Message, module = "meshwire._native")]
pub(crate) struct Request {
    #[pyo3(get)]
    topic: String,
    #[pyo3(get)]
    wants_stream: bool,
    #[pyo3(get)]
    number: u64,
    /// Its requester waits no more, and what its handler still says is not heard.
    #[pyo3(get)]
    lost: bool,
    home: Home,
}

fn over(py: Python<'_>, operation: &'static str) -> PyErr {
    raised(py, &Error::of_host(ErrorKind::Invalid, operation, "its handler has ended before"))
}

impl Job {
    pub(crate) fn make(py: Python<'_>, job: meshwire_embed::Job) -> PyResult<Py<PyAny>> {
        let this = Self {
            topic: job.topic().to_owned(),
            position: job.position().number(),
            attempt: job.attempt(),
            gap: job.gap(),
            number: job.number(),
            lost: false,
            stored: job.stored().0,
            expires: job.expires_at().map(|at| at.0),
        };
        let message = PyClassInitializer::from(Message::new(Body::Job(job)));
        Ok(Py::new(py, message.add_subclass(this))?.into_any())
    }

    /// The handler has ended; the event can still be read.
    fn end(slf: &Bound<'_, Self>, handled: Handled) -> PyResult<()> {
        let py = slf.py();
        let mut message = slf.as_super().try_borrow_mut()?;
        match std::mem::replace(&mut message.body, Body::Gone) {
            Body::Job(job) => {
                message.body = Body::Kept(job.readable());
                guarded("consume", || job.end(handled)).raise(py)
            }
            other => {
                message.body = other;
                Err(over(py, "consume"))
            }
        }
    }
}

#[pymethods]
impl Job {
    #[getter]
    fn stored(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        moment_of(py, self.stored)
    }

    #[getter]
    fn expires_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.expires.map(|at| moment_of(py, at)).transpose()
    }

    /// Its handler begins; dropped before, it goes back unblamed.
    fn begin(slf: &Bound<'_, Self>) -> PyResult<()> {
        if let Body::Job(job) = &mut slf.as_super().try_borrow_mut()?.body {
            job.begin();
        }
        Ok(())
    }

    /// Its lease is gone.
    const fn lose(&mut self) {
        self.lost = true;
    }

    fn end_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::end(slf, Handled::Done)
    }

    fn end_failed(slf: &Bound<'_, Self>, problem: String) -> PyResult<()> {
        Self::end(slf, Handled::Failed(problem))
    }

    fn end_nack(slf: &Bound<'_, Self>, delay: &Bound<'_, PyAny>) -> PyResult<()> {
        Self::end(slf, Handled::NackAfter(duration(slf.py(), "delay", delay)?))
    }

    fn end_reject(slf: &Bound<'_, Self>, reason: String) -> PyResult<()> {
        Self::end(slf, Handled::Reject(reason))
    }
}

impl Request {
    pub(crate) fn make(py: Python<'_>, inquiry: meshwire_embed::Inquiry, home: &Home) -> PyResult<Py<PyAny>> {
        let this = Self {
            topic: inquiry.topic().to_owned(),
            wants_stream: inquiry.wants_stream(),
            number: inquiry.number(),
            lost: false,
            home: home.clone(),
        };
        let message = PyClassInitializer::from(Message::new(Body::Request(inquiry)));
        Ok(Py::new(py, message.add_subclass(this))?.into_any())
    }

    /// Takes it for its last word; the event can still be read.
    fn taken(slf: &Bound<'_, Self>) -> PyResult<meshwire_embed::Inquiry> {
        let mut message = slf.as_super().try_borrow_mut()?;
        match std::mem::replace(&mut message.body, Body::Gone) {
            Body::Request(inquiry) => {
                message.body = Body::Kept(inquiry.readable());
                Ok(inquiry)
            }
            other => {
                message.body = other;
                Err(over(slf.py(), "reply"))
            }
        }
    }
}

#[pymethods]
impl Request {
    /// Seconds until the requester waits no more.
    #[getter]
    fn remaining(slf: &Bound<'_, Self>) -> f64 {
        match &slf.as_super().borrow().body {
            Body::Request(inquiry) => inquiry.remaining().as_secs_f64(),
            _ => 0.0,
        }
    }

    /// Its requester waits no more.
    const fn lose(&mut self) {
        self.lost = true;
    }

    /// Begins to send one of several replies.
    fn begin_reply(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<Py<Pending>> {
        let py = slf.py();
        let event = event(py, value)?;
        let pump = Arc::clone(&slf.borrow().home.0.pump);
        let message = slf.as_super().borrow();
        let Body::Request(inquiry) = &message.body else { return Err(over(py, "reply")) };
        pump.begin(py, "reply", None, |queue, tag| inquiry.begin_reply(event, queue, tag).map(Some))
    }

    /// Sends one of several replies, and waits until the requester has taken it.
    fn reply(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let event = event(py, value)?;
        let begin = |queue: &meshwire_embed::Queue| match &slf.as_super().borrow().body {
            Body::Request(inquiry) => inquiry.begin_reply(event, queue, 0).map(Cancel::By),
            _ => Err(Error::of_host(ErrorKind::Invalid, "reply", "its handler has ended before")),
        };
        wait::call(py, "reply", begin, |_, _| {}).map(drop)
    }

    /// Sends the one reply, which ends it.
    fn answer(slf: &Bound<'_, Self>, value: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = slf.py();
        let event = event(py, value)?;
        let inquiry = Self::taken(slf)?;
        guarded("reply", || inquiry.answer(event)).raise(py)
    }

    /// There are no more replies.
    fn end_done(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::taken(slf)?.end().raise(slf.py())
    }

    /// The handler failed.
    fn end_failed(slf: &Bound<'_, Self>, problem: String) -> PyResult<()> {
        Self::taken(slf)?.fail(problem).raise(slf.py())
    }
}
