//! The one tokio runtime of a process: there while clients are open.

use std::sync::{Mutex, MutexGuard, PoisonError};

use meshwire::{Error, ErrorKind, Result};
use tokio::runtime::Handle;

use crate::process::{PerProcess, Stamp};
use crate::tasks::Tasks;

/// The runtime, and how many clients are open.
#[derive(Debug, Default)]
struct Counted {
    tasks: Option<Tasks>,
    clients: usize,
}

/// An open client's share of the runtime.
#[derive(Debug)]
pub(crate) struct Running {
    stamp: Stamp,
    handle: Handle,
}

fn counted() -> MutexGuard<'static, Counted> {
    static COUNTED: PerProcess<Mutex<Counted>> = PerProcess::new();
    COUNTED.here(|_| Mutex::default()).lock().unwrap_or_else(PoisonError::into_inner)
}

impl Running {
    /// Starts the runtime, unless there is one.
    ///
    /// # Errors
    /// `INTERNAL`: the system gives no threads.
    pub(crate) fn begin(operation: &'static str) -> Result<Self> {
        let mut counted = counted();
        let tasks = match counted.tasks.take() {
            Some(tasks) => tasks,
            None => Tasks::begin().map_err(|error| {
                let text = format!("the system gives no threads for the client: {error}");
                Error::of_host(ErrorKind::Internal, operation, text)
            })?,
        };
        let handle = tasks.handle().clone();
        counted.tasks = Some(tasks);
        counted.clients += 1;
        Ok(Self { stamp: Stamp::here(), handle })
    }

    pub(crate) const fn handle(&self) -> &Handle {
        &self.handle
    }

    /// Runs a future on this thread of the host.
    ///
    /// # Errors
    /// `INVALID`: it is a thread of a runtime, which must not wait.
    pub(crate) fn wait<T>(&self, operation: &'static str, future: impl Future<Output = Result<T>>) -> Result<T> {
        if Handle::try_current().is_ok() {
            let text = "this thread belongs to an asynchronous runtime and must not wait: begin the call instead";
            return Err(Error::of_host(ErrorKind::Invalid, operation, text));
        }
        self.handle.block_on(future)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.stamp.is_here() {
            return;
        }
        let mut counted = counted();
        counted.clients -= 1;
        let last = if counted.clients == 0 { counted.tasks.take() } else { None };
        drop(counted);
        match last {
            None => {}
            // It would wait for itself.
            Some(tasks) if Handle::try_current().is_ok() => tasks.let_go(),
            Some(tasks) => tasks.end(),
        }
    }
}
