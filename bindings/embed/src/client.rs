//! A client as hosts hold it.

use std::sync::Arc;
use std::time::Duration;

use meshwire::{Mesh, Result, Stats};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::ask::{Ask, Outcome};
use crate::local::Local;
use crate::operation::{self, Operation, guarded};
use crate::options::Options;
use crate::queue::Queue;
use crate::runtime::Running;

/// How long publishes without a receipt have when the last handle goes without a drain: as in Rust.
const LINGER: Duration = Duration::from_secs(2);

/// A client of a gateway. Clones are the same client.
#[derive(Clone, Debug)]
pub struct Client(Arc<Local<Open>>);

/// A client and the runtime it lives on, for as long as anything of it is held.
#[derive(Debug)]
struct Open {
    mesh: Mesh,
    running: Running,
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without it the runtime would end under them, if this is the last client.
        if self.mesh.stats().pending > 0 && Handle::try_current().is_err() {
            // A timer is made inside the runtime.
            let _ = self.running.handle().block_on(async { timeout(LINGER, self.mesh.drain(LINGER)).await });
        }
    }
}

async fn connect(running: Running, options: Options) -> Result<Outcome> {
    let mesh = options.connect()?.await?;
    Ok(Outcome::Client(Client(Arc::new(Local::new(Open { mesh, running })))))
}

impl Client {
    /// Begins to connect, with [`Options`] of a client: comes to an [`Outcome::Client`].
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `INTERNAL` without threads; then there is no completion.
    pub fn begin_connect(options: Options, queue: &Queue, tag: u64) -> Result<Operation> {
        let ticket = queue.begin(tag, "connect")?;
        let running = match Running::begin("connect") {
            Ok(running) => running,
            Err(error) => {
                ticket.withdraw();
                return Err(error);
            }
        };
        let handle = running.handle().clone();
        Ok(operation::begin(&handle, ticket, false, connect(running, options)))
    }

    /// Connects, and waits for it.
    ///
    /// # Errors
    /// As [`meshwire::connect`]; `INVALID` on a thread of an asynchronous runtime.
    pub fn connect(options: &Options) -> Result<Self> {
        let running = Running::begin("connect")?;
        let mesh = running.wait("connect", guarded("connect", async { options.connect()?.await }))?;
        Ok(Self(Arc::new(Local::new(Open { mesh, running }))))
    }

    /// Begins a call.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion.
    pub fn begin(&self, ask: Ask, queue: &Queue, tag: u64) -> Result<Operation> {
        let (operation, leaves) = (ask.operation(), ask.leaves());
        let mesh = self.0.get(operation)?.mesh.clone();
        self.begin_call((operation, leaves), ask.carry_out(self.clone(), mesh), queue, tag)
    }

    /// Does a call, and waits for it.
    ///
    /// # Errors
    /// Those of the call; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn wait(&self, ask: Ask) -> Result<Outcome> {
        let operation = ask.operation();
        let mesh = self.0.get(operation)?.mesh.clone();
        self.wait_call(operation, ask.carry_out(self.clone(), mesh))
    }

    /// Counts, as of now.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.0.get("stats")?.mesh.stats())
    }

    /// Begins a call of that name; whether bytes may have left when it is cancelled.
    pub(crate) fn begin_call(
        &self,
        (operation, leaves): (&'static str, bool),
        call: impl Future<Output = Result<Outcome>> + Send + 'static,
        queue: &Queue,
        tag: u64,
    ) -> Result<Operation> {
        let open = self.0.get(operation)?;
        let ticket = queue.begin(tag, operation)?;
        Ok(operation::begin(open.running.handle(), ticket, leaves, call))
    }

    /// Does a call of that name on this thread.
    pub(crate) fn wait_call(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<Outcome>>,
    ) -> Result<Outcome> {
        self.0.get(operation)?.running.wait(operation, guarded(operation, call))
    }
}
