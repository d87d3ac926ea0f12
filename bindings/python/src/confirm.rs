//! Settles that wait for the gateway's word, and the hook that is told of all of them.

use std::sync::Arc;

use meshwire_embed::{Delivery, Error, ErrorKind, Operation, Queue, Result, Settle};
use pyo3::prelude::*;

use crate::delivery::{Held, taken};
use crate::message::Body;
use crate::pending::Pending;
use crate::wait::{self, Cancel};

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

fn prepared(held: &Bound<'_, Held>, how: &Settle) -> PyResult<Delivery> {
    let operation = match how {
        Settle::Ack => "ack_confirmed",
        Settle::Nack(_) => "nack_confirmed",
        Settle::Reject(_) => "reject_confirmed",
    };
    taken(held.py(), &mut held.as_super().borrow_mut(), operation)
}

pub(crate) fn begin(held: &Bound<'_, Held>, how: Settle) -> PyResult<Py<Pending>> {
    let word = word(&how);
    let delivery = prepared(held, &how)?;
    let pump = Arc::clone(&held.borrow().home.0.pump);
    let pending = pump.begin(held.py(), None, |queue, tag, pending| {
        pending.cancelled_by(delivery.begin_settle_confirmed(how, queue, tag)?);
        Ok(())
    })?;
    tell(held, word);
    Ok(pending)
}

pub(crate) fn wait(held: &Bound<'_, Held>, how: Settle) -> PyResult<()> {
    let word = word(&how);
    let delivery = prepared(held, &how)?;
    tell(held, word);
    let begin = |queue: &Queue| delivery.begin_settle_confirmed(how, queue, 0).map(Cancel::By);
    wait::call(held.py(), begin, |_, _| {}).map(drop)
}

fn extend(held: &Bound<'_, Held>, queue: &Queue, tag: u64) -> Result<Operation> {
    match &held.as_super().borrow().body {
        Body::Delivery(delivery) => delivery.begin_extend_confirmed(queue, tag),
        _ => {
            let text = "it was settled before: there is no lease any more";
            Err(Error::of_host(ErrorKind::Invalid, "extend_confirmed", text))
        }
    }
}

pub(crate) fn begin_extend(held: &Bound<'_, Held>) -> PyResult<Py<Pending>> {
    let pump = Arc::clone(&held.borrow().home.0.pump);
    pump.begin(held.py(), None, |queue, tag, pending| {
        pending.cancelled_by(extend(held, queue, tag)?);
        Ok(())
    })
}

pub(crate) fn wait_extend(held: &Bound<'_, Held>) -> PyResult<()> {
    wait::call(held.py(), |queue| extend(held, queue, 0).map(Cancel::By), |_, _| {}).map(drop)
}
