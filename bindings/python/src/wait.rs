//! Calls that wait on their thread, in slices: between them Python's signals are heard, so that Ctrl-C works.

use std::cell::RefCell;
use std::time::Duration;

use meshwire_embed::{Completion, Operation, Outcome, Queue, Result, guarded};
use pyo3::prelude::*;

use crate::errors::Raise as _;

/// How late a signal may be heard.
const SLICE: Duration = Duration::from_millis(50);

/// How long a call that was interrupted is waited for: it ends as soon as it is cancelled.
const PARTING: Duration = Duration::from_secs(1);

thread_local! {
    /// This thread's queue, while no call of it waits; of the process with that number.
    static QUEUE: RefCell<Option<(u32, Queue)>> = const { RefCell::new(None) };
}

/// How a call that was interrupted is ended.
pub(crate) enum Cancel<'a> {
    By(Operation),
    Call(&'a dyn Fn(&Queue)),
}

fn own_queue() -> Result<Queue> {
    let kept = QUEUE.with_borrow_mut(Option::take);
    match kept {
        Some((process, queue)) if process == std::process::id() => Ok(queue),
        // A signal handler calls while a call waits, or this is a child of `fork`.
        _ => Queue::new(1),
    }
}

/// Begins a call and waits for it.
///
/// # Errors
/// Those of the call; what a signal handler raised, `KeyboardInterrupt` as a rule. Then the call was cancelled, and `late` gets what it
/// came to all the same.
pub(crate) fn call<'a>(
    py: Python<'_>,
    operation: &'static str,
    begin: impl FnOnce(&Queue) -> Result<Cancel<'a>>,
    late: impl FnOnce(Python<'_>, Outcome),
) -> PyResult<Outcome> {
    let queue = own_queue().raise(py)?;
    let cancel = guarded(operation, || begin(&queue)).raise(py)?;
    let mut taken: Vec<Completion> = Vec::new();
    loop {
        py.detach(|| queue.take(1, Some(SLICE), &mut taken)).raise(py)?;
        if let Some(completion) = taken.pop() {
            QUEUE.set(Some((std::process::id(), queue)));
            return completion.result.raise(py);
        }
        if let Err(raised) = py.check_signals() {
            match cancel {
                Cancel::By(operation) => operation.cancel(),
                Cancel::Call(cancel) => cancel(&queue),
            }
            // What it came to in the meantime is not lost.
            let _ = py.detach(|| queue.take(1, Some(PARTING), &mut taken));
            if let Some(outcome) = taken.pop().and_then(|completion| completion.result.ok()) {
                late(py, outcome);
            }
            return Err(raised);
        }
    }
}
