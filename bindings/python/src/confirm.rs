//! Settles that wait for the gateway's word, and the hook that is told of all of them.

use std::sync::Arc;

use meshwire_embed::{Delivery, Error, ErrorKind, Operation, Queue, Result, Settle};
use pyo3::prelude::*;

use crate::delivery::{Held, taken};
use crate::errors::raised;
use crate::message::{Body, Message};
use crate::pending::Pending;
use crate::wait::{self, Cancel};

pub(crate) enum How {
    Settle(Settle),
    Extend,
}

/// What is to be begun.
enum Begun {
    Settle(Delivery, Settle),
    Extend(Arc<Delivery>),
}

impl Begun {
    fn begin(self, queue: &Queue, tag: u64) -> Result<Operation> {
        match self {
            Self::Settle(delivery, how) => delivery.begin_settle_confirmed(how, queue, tag),
            Self::Extend(delivery) => Delivery::begin_extend_confirmed(delivery, queue, tag),
        }
    }
}

/// What became of a delivery, in the hook's word.
pub(crate) const fn word(how: &Settle) -> &'static str {
    match how {
        Settle::Ack => "ack",
        Settle::Nack(_) => "nack",
        Settle::Reject(_) => "reject",
    }
}

/// Tells the hook, if there is one. What was said of the delivery holds, whatever it raises.
pub(crate) fn tell(held: &Bound<'_, Held>, word: &'static str) {
    let py = held.py();
    let hook = held.borrow().home.0.on_settle.as_ref().map(|hook| hook.clone_ref(py));
    if let Some(hook) = hook
        && let Err(problem) = hook.call1(py, (held, word))
    {
        problem.write_unraisable(py, Some(hook.bind(py)));
    }
}

fn shared(py: Python<'_>, message: &mut Message) -> PyResult<Arc<Delivery>> {
    let delivery = match std::mem::replace(&mut message.body, Body::Gone) {
        Body::Delivery(delivery) => Arc::new(delivery),
        Body::Shared(delivery) => delivery,
        other => {
            message.body = other;
            let text = "it was settled before: there is no lease any more";
            return Err(raised(py, &Error::of_host(ErrorKind::Invalid, "extend_confirmed", text)));
        }
    };
    message.body = Body::Shared(Arc::clone(&delivery));
    Ok(delivery)
}

fn prepare(held: &Bound<'_, Held>, how: How) -> PyResult<(Begun, Option<&'static str>)> {
    let py = held.py();
    let mut message = held.as_super().borrow_mut();
    Ok(match how {
        How::Extend => (Begun::Extend(shared(py, &mut message)?), None),
        How::Settle(how) => {
            let word = word(&how);
            let operation = match how {
                Settle::Ack => "ack_confirmed",
                Settle::Nack(_) => "nack_confirmed",
                Settle::Reject(_) => "reject_confirmed",
            };
            (Begun::Settle(taken(py, &mut message, operation)?, how), Some(word))
        }
    })
}

pub(crate) fn begin(held: &Bound<'_, Held>, how: How) -> PyResult<Py<Pending>> {
    let (begun, word) = prepare(held, how)?;
    let pump = Arc::clone(&held.borrow().home.0.pump);
    let pending = pump.begin(held.py(), None, |queue, tag, pending| {
        pending.cancelled_by(begun.begin(queue, tag)?);
        Ok(())
    })?;
    if let Some(word) = word {
        tell(held, word);
    }
    Ok(pending)
}

pub(crate) fn wait(held: &Bound<'_, Held>, how: How) -> PyResult<()> {
    let (begun, word) = prepare(held, how)?;
    if let Some(word) = word {
        tell(held, word);
    }
    wait::call(held.py(), |queue| begun.begin(queue, 0).map(Cancel::By), |_, _| {}).map(drop)
}
