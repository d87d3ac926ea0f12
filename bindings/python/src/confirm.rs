//! Settles that wait for the gateway's word, and the hook that is told of all of them.

use std::sync::Arc;

use meshwire_embed::{Error, ErrorKind, Operation, Queue, Result, Settle};
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

const fn operation(how: &Settle) -> &'static str {
    match how {
        Settle::Ack => "ack_confirmed",
        Settle::Nack(_) => "nack_confirmed",
        Settle::Reject(_) => "reject_confirmed",
    }
}

/// Takes its place first: a delivery is not to be lost where there is none.
fn settle(held: &Bound<'_, Held>, how: Settle, queue: &Queue, tag: u64) -> Result<Operation> {
    let operation = operation(&how);
    let place = queue.place(tag, operation)?;
    let Ok(mut message) = held.as_super().try_borrow_mut() else {
        let text = "another thread reads the delivery just now";
        return Err(Error::of_host(ErrorKind::Invalid, operation, text));
    };
    taken(&mut message, operation)?.begin_settle_confirmed_in(how, place)
}

pub(crate) fn begin(held: &Bound<'_, Held>, how: Settle) -> PyResult<Py<Pending>> {
    let (word, operation) = (word(&how), operation(&how));
    let pump = Arc::clone(&held.borrow().home.0.pump);
    let pending = pump.begin(held.py(), operation, None, |queue, tag| settle(held, how, queue, tag).map(Some))?;
    tell(held, word);
    Ok(pending)
}

pub(crate) fn wait(held: &Bound<'_, Held>, how: Settle) -> PyResult<()> {
    let (word, called) = (word(&how), operation(&how));
    let begin = |queue: &Queue| {
        let operation = settle(held, how, queue, 0)?;
        tell(held, word);
        Ok(Cancel::By(operation))
    };
    wait::call(held.py(), called, begin, |_, _| {}).map(drop)
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
    pump.begin(held.py(), "extend_confirmed", None, |queue, tag| extend(held, queue, tag).map(Some))
}

pub(crate) fn wait_extend(held: &Bound<'_, Held>) -> PyResult<()> {
    let begin = |queue: &Queue| extend(held, queue, 0).map(Cancel::By);
    wait::call(held.py(), "extend_confirmed", begin, |_, _| {}).map(drop)
}
