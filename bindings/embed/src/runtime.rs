//! The one tokio runtime of a process: there while clients are open.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire::{Error, ErrorKind, Result};
use tokio::runtime::{Builder, Handle, Runtime};

use crate::process::{PerProcess, Stamp};
use crate::signals;

/// A client needs no more: its session is one task.
const MOST_THREADS: usize = 2;

/// How long the last client waits for the runtime's threads.
const PARTING: Duration = Duration::from_secs(1);

/// The runtime, and how many clients are open.
#[derive(Debug, Default)]
struct Counted {
    runtime: Option<Runtime>,
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

fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS)
}

fn on_thread_start() {
    signals::leave_alone();
    #[cfg(feature = "planted")]
    {
        use meshwire::session::defect::{Defect, set};

        set(std::env::var("MESHWIRE_PLANTED").ok().as_deref().and_then(Defect::named));
    }
}

impl Running {
    /// Starts the runtime, unless there is one.
    ///
    /// # Errors
    /// `INTERNAL`: the system gives no threads.
    pub(crate) fn begin(operation: &'static str) -> Result<Self> {
        let mut counted = counted();
        let runtime = match counted.runtime.take() {
            Some(runtime) => runtime,
            None => Builder::new_multi_thread()
                .worker_threads(threads())
                .thread_name("meshwire")
                .on_thread_start(on_thread_start)
                .enable_all()
                .build()
                .map_err(|error| {
                    let text = format!("the system gives no threads for the client: {error}");
                    Error::of_host(ErrorKind::Internal, operation, text)
                })?,
        };
        let handle = runtime.handle().clone();
        counted.runtime = Some(runtime);
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
        let last = if counted.clients == 0 { counted.runtime.take() } else { None };
        drop(counted);
        match last {
            None => {}
            // It would wait for itself.
            Some(runtime) if Handle::try_current().is_ok() => runtime.shutdown_background(),
            Some(runtime) => runtime.shutdown_timeout(PARTING),
        }
    }
}
