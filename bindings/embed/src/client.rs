//! A client as hosts hold it.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use meshwire::{Error, ErrorKind, Mesh, Receipt, Result, State, Stats, TimedEvent};
use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::ask::{Ask, Outcome};
use crate::consumer::Consumer;
use crate::local::Local;
use crate::operation::{self, Operation, caught};
use crate::options::Options;
use crate::parting;
use crate::publisher::{Publisher, Room};
use crate::queue::{Place, Queue};
use crate::responder::Responder;
use crate::runtime::Running;
use crate::signals;

/// How long publishes without a receipt have when the last handle goes without a drain: as in Rust.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// A client of a gateway. Clones are the same client.
#[derive(Clone, Debug)]
pub struct Client(Arc<Local<Open>>);

/// A client, as long as somebody else holds it.
#[derive(Debug)]
pub(crate) struct WeakClient(Weak<Local<Open>>);

impl WeakClient {
    pub(crate) fn upgrade(&self) -> Option<Client> {
        self.0.upgrade().map(Client)
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// A client and the runtime it lives on, for as long as anything of it is held.
#[derive(Debug)]
struct Open {
    mesh: Mesh,
    publisher: Arc<Publisher>,
    attached: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
    /// Whether there is something: as a rule there is not, and every delivery looks.
    has_attached: AtomicBool,
    running: Running,
}

impl Open {
    fn new(mesh: Mesh, running: Running) -> Self {
        Self {
            mesh,
            publisher: Arc::default(),
            attached: Mutex::default(),
            has_attached: AtomicBool::new(false),
            running,
        }
    }
}

impl Open {
    /// How many publishes have no receipt.
    fn pending(&self) -> u64 {
        self.mesh.stats().pending + self.publisher.waiting() as u64
    }

    /// Gives publishes without a receipt this time, until `done` with all that were admitted. Nothing if there are none.
    fn give_time<T>(&self, time: Duration, done: impl Future<Output = T>) {
        if self.pending() > 0 && Handle::try_current().is_err() {
            give_time(self.running.handle(), &self.publisher, time, done);
        }
    }

    /// The same on a thread of its own, with [`LINGER`]: a thread of the runtime must not wait.
    fn give_time_elsewhere(&self) {
        // Without it the runtime would end under them.
        let Ok(running) = Running::begin("close") else { return };
        let (mesh, publisher) = (self.mesh.clone(), Arc::clone(&self.publisher));
        let linger = move || give_time(running.handle(), &publisher, LINGER, mesh.drain(LINGER));
        // The system has no thread: then they have no time.
        let _ = signals::apart(|| thread::Builder::new().name("meshwire-end".to_owned()).spawn(linger));
    }
}

fn give_time<T>(on: &Handle, publisher: &Publisher, time: Duration, done: impl Future<Output = T>) {
    let all = async {
        publisher.admitted().await;
        done.await
    };
    // A timer is made inside the runtime.
    let _ = on.block_on(async { timeout(time, all).await });
}

impl Drop for Open {
    fn drop(&mut self) {
        // Without it the runtime would end under them, if this is the last client.
        self.give_time(LINGER, self.mesh.drain(LINGER));
        if self.pending() > 0 && Handle::try_current().is_ok() {
            self.give_time_elsewhere();
        }
    }
}

async fn connect(running: Running, options: Options) -> Result<Outcome> {
    let mesh = options.connect()?.await?;
    Ok(Outcome::Client(Client::new(mesh, running)))
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
        let options = options.clone();
        // On a thread of ours: whoever waits here writes to no socket, which might end it by a signal.
        let connecting = caught("connect", async move { options.connect()?.await });
        let ended = |_| Error::of_host(ErrorKind::Closed, "connect", "the runtime ended while the client connected");
        let mesh = running.wait("connect", async { running.handle().spawn(connecting).await.map_err(ended)? })?;
        Ok(Self::new(mesh, running))
    }

    fn new(mesh: Mesh, running: Running) -> Self {
        let client = Self(Arc::new(Local::new(Open::new(mesh, running))));
        parting::note(client.weak());
        client
    }

    fn weak(&self) -> WeakClient {
        WeakClient(Arc::downgrade(&self.0))
    }

    /// At the end of the process: gives publishes this time to get their receipts. How many have none then.
    pub(crate) fn part(&self, time: Duration) -> u64 {
        let Ok(open) = self.0.get("close") else { return 0 };
        if open.mesh.publish_waits().1 {
            // It ends at once: what is in its file is kept.
            open.give_time(time, open.mesh.drain(time));
            return 0;
        }
        // Not a drain, at whose end there are none: they have failed.
        open.give_time(time, open.mesh.flush());
        open.pending()
    }

    /// Begins a call.
    ///
    /// # Errors
    /// `BUFFER_FULL` and `CLOSED` of the queue, `CLOSED` in a child of `fork`; then there is no completion.
    pub fn begin(&self, ask: Ask, queue: &Queue, tag: u64) -> Result<Operation> {
        let (operation, leaves) = (ask.operation(), ask.leaves());
        self.begin_call((operation, leaves), self.carry_out(ask)?, queue, tag)
    }

    /// Does a call, and waits for it.
    ///
    /// # Errors
    /// Those of the call; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn wait(&self, ask: Ask) -> Result<Outcome> {
        let operation = ask.operation();
        self.wait_call(operation, self.carry_out(ask)?)
    }

    fn carry_out(&self, ask: Ask) -> Result<impl Future<Output = Result<Outcome>> + Send + use<>> {
        let open = self.0.get(ask.operation())?;
        // Taken now: what is begun behind it is published behind it.
        let turn = ask.publishes().then(|| open.publisher.hold((&open.mesh, open.running.handle())));
        Ok(ask.carry_out(self.clone(), open.mesh.clone(), Arc::clone(&open.publisher), turn))
    }

    /// Begins to publish an event, on this thread if there is room for it: comes to an [`Outcome::Receipt`]. Those of one thread are
    /// published in order. It cannot be called back once it has left; see [`Client::cancel_publish`]. Option `publish_timeout` holds with
    /// [`Room::Wait`]; then, with an offline file, and behind others that wait, what is wrong with topic or event is told in the completion.
    ///
    /// # Errors
    /// What is wrong with topic or event; `BUFFER_FULL` with [`Room::Now`], and of the queue; `UNSUPPORTED` for [`Room::Now`] with an
    /// offline file; `CLOSED` of client or queue, and in a child of `fork`. Then there is no completion.
    pub fn begin_publish(
        &self,
        topic: &str,
        event: impl Into<TimedEvent>,
        room: Room,
        queue: &Queue,
        tag: u64,
    ) -> Result<()> {
        let open = self.0.get("publish")?;
        let place = queue.place(tag, "publish")?;
        open.publisher.begin((&open.mesh, open.running.handle()), (topic, event.into()), room, place)
    }

    /// Calls back a publish that still waits for room: it ends with `CANCELLED`, and nothing was published. `false`: it has left, and
    /// comes to what it comes to.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn cancel_publish(&self, queue: &Queue, tag: u64) -> Result<bool> {
        Ok(self.0.get("publish")?.publisher.cancel(queue, tag))
    }

    /// How many publishes wait for room in the client's window: who begins more should wait first.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn waiting_publishes(&self) -> Result<usize> {
        Ok(self.0.get("publish")?.publisher.waiting())
    }

    /// Publishes an event, and waits for its receipt.
    ///
    /// # Errors
    /// As [`Mesh::publish`]; `CLOSED` in a child of `fork`, `INVALID` on a thread of an asynchronous runtime.
    pub fn publish(&self, topic: &str, event: impl Into<TimedEvent>) -> Result<Receipt> {
        let open = self.0.get("publish")?;
        let publish = async {
            // What waits for room was begun before.
            open.publisher.admitted().await;
            open.mesh.publish(topic, event).await
        };
        open.running.wait("publish", caught("publish", publish))
    }

    /// Begins to consume a topic with handlers of the host. How that went, the gateway's refusal too, is told where work is asked for.
    ///
    /// # Errors
    /// `INVALID`: the options; `CLOSED` in a child of `fork`.
    pub fn consume(&self, topic: &str, options: &Options) -> Result<Consumer> {
        let open = self.0.get("consume")?;
        Consumer::begin(self.clone(), (&open.mesh, open.running.handle()), topic, options)
    }

    /// Begins to serve a topic with handlers of the host. How that went, the gateway's refusal too, is told where work is asked for.
    ///
    /// # Errors
    /// As [`Client::consume`].
    pub fn serve(&self, topic: &str, options: &Options) -> Result<Responder> {
        let open = self.0.get("serve")?;
        Responder::begin(self.clone(), (&open.mesh, open.running.handle()), topic, options)
    }

    /// Has something of the host's go with the client, such as its hooks, once.
    ///
    /// # Errors
    /// `ALREADY_EXISTS`: something does; `CLOSED` in a child of `fork`.
    pub fn attach(&self, value: Arc<dyn Any + Send + Sync>) -> Result<()> {
        let open = self.0.get("connect")?;
        let mut attached = open.attached.lock().unwrap_or_else(PoisonError::into_inner);
        if attached.is_some() {
            let text = "something was attached to the client before: say it once";
            return Err(Error::of_host(ErrorKind::AlreadyExists, "connect", text));
        }
        *attached = Some(value);
        open.has_attached.store(true, Ordering::Release);
        Ok(())
    }

    /// Lets go of it, on this thread unless another is looking at it.
    pub fn detach(&self) {
        if let Ok(open) = self.0.get("connect") {
            open.has_attached.store(false, Ordering::Release);
            let attached = open.attached.lock().unwrap_or_else(PoisonError::into_inner).take();
            drop(attached);
        }
    }

    /// What goes with the client, if it is of this type.
    #[must_use]
    pub fn attached<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        let open = self.0.get("connect").ok()?;
        if !open.has_attached.load(Ordering::Acquire) {
            return None;
        }
        let attached = open.attached.lock().unwrap_or_else(PoisonError::into_inner).clone();
        attached?.downcast().ok()
    }

    /// Counts, as of now.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn stats(&self) -> Result<Stats> {
        Ok(self.0.get("stats")?.mesh.stats())
    }

    /// The same as one JSON object, with the names of [`Stats`].
    ///
    /// # Errors
    /// As [`Client::stats`].
    pub fn stats_json(&self) -> Result<String> {
        let json = serde_json::to_string(&self.stats()?);
        json.map_err(|error| Error::of_host(ErrorKind::Internal, "stats", error.to_string()))
    }

    /// The client's state, as of now.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn state(&self) -> Result<State> {
        Ok(*self.0.get("state")?.mesh.state().borrow())
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

    /// Begins a call in a place that was taken before.
    pub(crate) fn begin_in(
        &self,
        place: Place,
        leaves: bool,
        call: impl Future<Output = Result<Outcome>> + Send + 'static,
    ) -> Result<Operation> {
        let open = self.0.get(place.operation())?;
        Ok(operation::begin(open.running.handle(), place.into_ticket(), leaves, call))
    }

    /// Does a call of that name on this thread.
    pub(crate) fn wait_call(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<Outcome>>,
    ) -> Result<Outcome> {
        self.wait_for(operation, call)
    }

    /// Waits for something on this thread.
    pub(crate) fn wait_for<T>(&self, operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
        self.0.get(operation)?.running.wait(operation, caught(operation, call))
    }
}
