//! The one queue of a process, and who waits for what comes out of it.

use std::sync::{Arc, Mutex, PoisonError};

use meshwire_embed::{Error, Operation, Outcome, Queue, Result, guarded};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::errors::Raise as _;
use crate::outcome::{Home, Value, value};
use crate::pending::Pending;
use crate::stream::Stream;

/// Most completions that are taken at once: as many as are in flight by default.
const BATCH: usize = 16_384;

/// As many calls as an embedded queue may be made for; what is in flight is bounded by the client's windows.
const CALLS: usize = 1 << 20;

/// Who waits for a completion.
struct Waiting {
    pending: Py<Pending>,
    /// Where what comes belongs to; `None`: a receipt, which belongs to nobody.
    of: Option<Of>,
}

pub(crate) enum Of {
    Home(Home),
    Stream(Py<Stream>),
    /// Where a failure is kept that nobody awaits.
    Failures(Arc<Failures>),
}

/// Publishes that failed, until a flush tells of them.
#[derive(Default)]
pub(crate) struct Failures(Mutex<Failed>);

#[derive(Default)]
struct Failed {
    kept: Vec<Py<Pending>>,
    /// How many there were no room for.
    untold: usize,
}

/// Most that are kept: as many as are in flight by default.
const FAILURES: usize = 16_384;

/// Whenever so many had no room, it is looked whether somebody has seen some of those that are kept.
const LOOK: usize = 1024;

impl Failures {
    fn add(&self, py: Python<'_>, pending: Py<Pending>) {
        let mut failed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if failed.kept.len() >= FAILURES && failed.untold.is_multiple_of(LOOK) {
            failed.kept.retain(|pending| !pending.borrow(py).is_seen());
        }
        if failed.kept.len() < FAILURES {
            failed.kept.push(pending);
        } else {
            failed.untold += 1;
        }
    }

    /// All of them, and how many more there were.
    pub(crate) fn take(&self) -> (Vec<Py<Pending>>, usize) {
        let failed = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        (failed.kept, failed.untold)
    }
}

#[derive(Default)]
struct Slots {
    slots: Vec<Option<Waiting>>,
    free: Vec<usize>,
}

pub(crate) struct Core {
    pub(crate) queue: Queue,
    /// Touched under the interpreter's lock only, and never for long.
    slots: Mutex<Slots>,
}

/// Takes completions and resolves who waits for them. Clones are the same.
#[pyclass(frozen, module = "meshwire._native")]
pub(crate) struct Pump(pub(crate) Arc<Core>);

impl Core {
    fn slots(&self) -> std::sync::MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a call under a tag of its own.
    pub(crate) fn begin(
        &self,
        py: Python<'_>,
        operation: &'static str,
        of: Option<Of>,
        call: impl FnOnce(&Queue, u64) -> Result<Option<Operation>>,
    ) -> PyResult<Py<Pending>> {
        let at = {
            let mut slots = self.slots();
            slots.free.pop().unwrap_or_else(|| {
                slots.slots.push(None);
                slots.slots.len() - 1
            })
        };
        let tag = at as u64;
        // Who waits is there before the call begins: whenever something of Python's is made, the pump may run.
        let pending = match Py::new(py, Pending::new(tag)) {
            Ok(pending) => pending,
            Err(problem) => {
                self.slots().free.push(at);
                return Err(problem);
            }
        };
        let waiting = Waiting { pending: pending.clone_ref(py), of };
        if let Some(slot) = self.slots().slots.get_mut(at) {
            *slot = Some(waiting);
        }
        match guarded(operation, || call(&self.queue, tag)) {
            Ok(Some(operation)) => pending.borrow_mut(py).cancelled_by(operation),
            Ok(None) => {}
            Err(error) => {
                drop(self.take_slot(tag));
                return Err(error).raise(py);
            }
        }
        Ok(pending)
    }

    fn take_slot(&self, tag: u64) -> Option<Waiting> {
        let at = usize::try_from(tag).ok()?;
        let mut slots = self.slots();
        let waiting = slots.slots.get_mut(at)?.take();
        slots.free.push(at);
        waiting
    }

    fn resolve(
        self: &Arc<Self>,
        py: Python<'_>,
        waiting: Waiting,
        result: Result<Outcome>,
        woken: &Woken<'_>,
    ) -> PyResult<()> {
        let Waiting { pending, of } = waiting;
        let result = match (result, of) {
            (Ok(Outcome::Receipt(receipt)), _) => Ok(Value::Receipt(receipt)),
            (result, Some(Of::Stream(stream))) => {
                let filled = stream.borrow_mut(py).filled(result);
                filled.map(Value::TakenBack)
            }
            (Ok(outcome), Some(Of::Home(home))) => value(py, outcome, &home).map_err(|problem| {
                // Whoever waits is told so, whatever it is.
                problem.write_unraisable(py, None);
                lost("call")
            }),
            (Ok(_), None | Some(Of::Failures(_))) => Ok(Value::Nothing),
            (Err(error), Some(Of::Failures(failures))) => {
                failures.add(py, pending.clone_ref(py));
                Err(error)
            }
            (Err(error), _) => Err(error),
        };
        let waiters = pending.borrow_mut(py).resolve(result);
        for (event_loop, future) in waiters {
            woken.add(event_loop.bind(py), future)?;
        }
        Ok(())
    }
}

/// Futures to be told, by their loop.
struct Woken<'py>(Bound<'py, PyDict>);

impl Woken<'_> {
    fn add(&self, event_loop: &Bound<'_, PyAny>, future: Py<PyAny>) -> PyResult<()> {
        match self.0.get_item(event_loop)? {
            Some(list) => list.cast::<PyList>()?.append(future),
            None => self.0.set_item(event_loop, vec![future]),
        }
    }
}

#[pymethods]
impl Pump {
    #[new]
    fn new(py: Python<'_>) -> PyResult<Self> {
        let queue = Queue::new(CALLS).raise(py)?;
        Ok(Self(Arc::new(Core { queue, slots: Mutex::default() })))
    }

    /// Waits for completions, resolves who waits for them, and gives the futures to be told, by their loop; `None`: it was closed.
    fn take<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyDict>>> {
        let mut taken = Vec::new();
        let open = py.detach(|| self.0.queue.take(BATCH, None, &mut taken)).raise(py)?;
        if !open {
            return Ok(None);
        }
        let woken = Woken(PyDict::new(py));
        for completion in taken {
            let Some(waiting) = self.0.take_slot(completion.tag) else { continue };
            if let Err(problem) = self.0.resolve(py, waiting, completion.result, &woken) {
                // One that cannot be made Python's must not take the others with it.
                problem.write_unraisable(py, None);
            }
        }
        Ok(Some(woken.0))
    }

    /// Calls that were begun and have not come to anything.
    fn begun(&self) -> usize {
        self.0.queue.begun()
    }

    /// Ends it, for the end of the process.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.queue.close());
    }
}

/// An error of a call that nobody began.
pub(crate) fn lost(operation: &'static str) -> Error {
    Error::of_host(meshwire_embed::ErrorKind::Internal, operation, "a call came to something that it cannot come to")
}
