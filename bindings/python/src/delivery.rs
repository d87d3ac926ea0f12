//! Deliveries: read, and settled without waiting.

use meshwire_embed::{Error, ErrorKind, Settle, guarded};
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::confirm;
use crate::draft::{Reason, duration};
use crate::errors::{Raise as _, raised};
use crate::message::{Body, Message, moment_of};
use crate::outcome::Home;
use crate::pending::Pending;

/// What a delivery is beside its event.
pub(crate) struct Facts {
    topic: Py<PyString>,
    position: u64,
    gap: u64,
    stored: i64,
    expires: Option<i64>,
    attempt: u32,
}

/// One event in the hands of a consumer, which says what becomes of it.
#[pyclass(extends = Message, subclass, module = "meshwire._native")]
pub(crate) struct Held {
    facts: Facts,
    pub(crate) home: Home,
}

/// The same, where confirmed settles are awaited.
#[pyclass(extends = Held, module = "meshwire._native")]
pub(crate) struct Delivery;

/// The same, where they wait.
#[pyclass(extends = Held, module = "meshwire._native")]
pub(crate) struct SyncDelivery;

impl Facts {
    fn of(py: Python<'_>, delivery: &meshwire_embed::Delivery, topic: &Py<PyString>) -> PyResult<Self> {
        let read = delivery.get().raise(py)?;
        Ok(Self {
            topic: topic.clone_ref(py),
            position: read.position().number(),
            gap: read.gap(),
            stored: read.stored().0,
            expires: read.expires_at().map(|at| at.0),
            attempt: read.attempt(),
        })
    }
}

/// A delivery as Python holds it.
pub(crate) fn make(
    py: Python<'_>,
    delivery: meshwire_embed::Delivery,
    topic: &Py<PyString>,
    home: &Home,
) -> PyResult<Py<PyAny>> {
    let facts = Facts::of(py, &delivery, topic)?;
    whole(py, facts, Message::delivery(py, delivery, topic, home), home)
}

fn whole(py: Python<'_>, facts: Facts, message: Message, home: &Home) -> PyResult<Py<PyAny>> {
    let held = PyClassInitializer::from(message).add_subclass(Held { facts, home: home.clone() });
    if home.0.sync {
        Ok(Py::new(py, held.add_subclass(SyncDelivery))?.into_any())
    } else {
        Ok(Py::new(py, held.add_subclass(Delivery))?.into_any())
    }
}

/// Tells the hook of one that the program let go of without a word, by a twin that is settled: the object itself is gone.
pub(crate) fn dropped(py: Python<'_>, delivery: meshwire_embed::Delivery, topic: &Py<PyString>, home: &Home) {
    // It may be an error that lets go of it.
    let raised = PyErr::take(py);
    // None in a child of fork, where it is the parent's.
    let twin = twin(py, &delivery, topic, home);
    drop(delivery);
    if let Ok(twin) = twin
        && let Ok(held) = twin.bind(py).cast::<Held>()
    {
        confirm::tell(held, "dropped");
    }
    if let Some(raised) = raised {
        raised.restore(py);
    }
}

fn twin(py: Python<'_>, delivery: &meshwire_embed::Delivery, topic: &Py<PyString>, home: &Home) -> PyResult<Py<PyAny>> {
    let facts = Facts::of(py, delivery, topic)?;
    let readable = delivery.readable().raise(py)?;
    whole(py, facts, Message::new(Body::Kept(readable)), home)
}

/// Takes what is to be settled; its event can still be read.
pub(crate) fn taken(
    message: &mut Message,
    operation: &'static str,
) -> meshwire_embed::Result<meshwire_embed::Delivery> {
    let refused = |body, text: &str| (body, Some(Error::of_host(ErrorKind::Invalid, operation, text)));
    let mut delivery = None;
    let (body, problem) = match std::mem::replace(&mut message.body, Body::Gone) {
        Body::Delivery(whole) => match whole.readable() {
            Ok(readable) => {
                delivery = Some(whole);
                (Body::Kept(readable), None)
            }
            Err(error) => (Body::Delivery(whole), Some(error)),
        },
        other => refused(other, "it was settled before: a delivery is settled once"),
    };
    message.body = body;
    match (delivery, problem) {
        (Some(delivery), None) => Ok(delivery),
        (_, problem) => Err(problem.unwrap_or_else(|| crate::pump::lost(operation))),
    }
}

impl Held {
    /// Settles it, and tells the hook.
    fn settle(slf: &Bound<'_, Self>, operation: &'static str, how: Settle) -> PyResult<()> {
        let py = slf.py();
        let delivery = {
            let taken = taken(&mut *slf.as_super().try_borrow_mut()?, operation);
            taken.raise(py)?
        };
        let word = confirm::word(&how);
        guarded(operation, || delivery.settle(how)).raise(py)?;
        confirm::tell(slf, word);
        Ok(())
    }
}

#[pymethods]
impl Held {
    /// The topic it came from.
    #[getter]
    fn topic(&self, py: Python<'_>) -> Py<PyString> {
        self.facts.topic.clone_ref(py)
    }

    /// Where the event is in its topic.
    #[getter]
    const fn position(&self) -> u64 {
        self.facts.position
    }

    /// Events that retention removed just before this one.
    #[getter]
    const fn gap(&self) -> u64 {
        self.facts.gap
    }

    /// How often the event was delivered to the group.
    #[getter]
    const fn attempt(&self) -> u32 {
        self.facts.attempt
    }

    /// When the gateway stored the event.
    #[getter]
    fn stored(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        moment_of(py, self.facts.stored)
    }

    /// From when on nobody gets the event any more.
    #[getter]
    fn expires_at(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.facts.expires.map(|at| moment_of(py, at)).transpose()
    }

    /// Whether something was said of it.
    #[getter]
    fn settled(slf: &Bound<'_, Self>) -> bool {
        matches!(slf.as_super().borrow().body, Body::Kept(_))
    }

    /// Done.
    fn ack(slf: &Bound<'_, Self>) -> PyResult<()> {
        Self::settle(slf, "ack", Settle::Ack)
    }

    /// Not done: it comes again.
    #[pyo3(signature = (delay=None))]
    fn nack(slf: &Bound<'_, Self>, delay: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let delay = delay.map(|delay| duration(slf.py(), "delay", delay)).transpose()?;
        Self::settle(slf, "nack", Settle::Nack(delay))
    }

    /// Never again: a dead letter.
    #[pyo3(signature = (reason=Reason::default()), text_signature = "($self, reason='')")]
    fn reject(slf: &Bound<'_, Self>, reason: Reason) -> PyResult<()> {
        Self::settle(slf, "reject", Settle::Reject(reason.0))
    }

    /// Still working: its lease begins anew.
    fn extend(slf: &Bound<'_, Self>) -> PyResult<()> {
        let py = slf.py();
        match &slf.as_super().borrow().body {
            Body::Delivery(delivery) => delivery.extend().raise(py),
            _ => Err(raised(py, &Error::of_host(ErrorKind::Invalid, "extend", "it was settled before"))),
        }
    }
}

#[pymethods]
impl Delivery {
    /// As `ack`, and waits for the gateway's word.
    fn ack_confirmed(slf: &Bound<'_, Self>) -> PyResult<Py<Pending>> {
        confirm::begin(slf.as_super(), Settle::Ack)
    }

    /// As `nack`, likewise.
    #[pyo3(signature = (delay=None))]
    fn nack_confirmed(slf: &Bound<'_, Self>, delay: Option<&Bound<'_, PyAny>>) -> PyResult<Py<Pending>> {
        let delay = delay.map(|delay| duration(slf.py(), "delay", delay)).transpose()?;
        confirm::begin(slf.as_super(), Settle::Nack(delay))
    }

    /// As `reject`, likewise.
    #[pyo3(signature = (reason=Reason::default()), text_signature = "($self, reason='')")]
    fn reject_confirmed(slf: &Bound<'_, Self>, reason: Reason) -> PyResult<Py<Pending>> {
        confirm::begin(slf.as_super(), Settle::Reject(reason.0))
    }

    /// As `extend`, likewise.
    fn extend_confirmed(slf: &Bound<'_, Self>) -> PyResult<Py<Pending>> {
        confirm::begin_extend(slf.as_super())
    }
}

#[pymethods]
impl SyncDelivery {
    /// As `ack`, and waits for the gateway's word.
    fn ack_confirmed(slf: &Bound<'_, Self>) -> PyResult<()> {
        confirm::wait(slf.as_super(), Settle::Ack)
    }

    /// As `nack`, likewise.
    #[pyo3(signature = (delay=None))]
    fn nack_confirmed(slf: &Bound<'_, Self>, delay: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let delay = delay.map(|delay| duration(slf.py(), "delay", delay)).transpose()?;
        confirm::wait(slf.as_super(), Settle::Nack(delay))
    }

    /// As `reject`, likewise.
    #[pyo3(signature = (reason=Reason::default()), text_signature = "($self, reason='')")]
    fn reject_confirmed(slf: &Bound<'_, Self>, reason: Reason) -> PyResult<()> {
        confirm::wait(slf.as_super(), Settle::Reject(reason.0))
    }

    /// As `extend`, likewise.
    fn extend_confirmed(slf: &Bound<'_, Self>) -> PyResult<()> {
        confirm::wait_extend(slf.as_super())
    }
}
