//! Publishes that nobody waits for one by one: admitted by the host's own thread while there is room, in order by one task when there is
//! none, and told of in the queue.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use meshwire::{Admitted, Bytes, Error, ErrorKind, Mesh, PendingReceipt, Result, Retry, TimedEvent};
use meshwire_proto::Timing;
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout_at;

use crate::ask::Outcome;
use crate::operation::caught;
use crate::queue::{Place, Queue, Ticket};

/// What a publish does when the client's window is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It waits for room, behind those that do already.
    Wait,
    /// It fails with `BUFFER_FULL`.
    Now,
    /// It waits for room, and its receipt is waited for as long as it takes: for programs that do not wait themselves, and look at
    /// [`Client::waiting_publishes`](crate::Client::waiting_publishes).
    Soon,
}

/// An event that waits for its turn.
#[derive(Debug)]
struct Late {
    topic: String,
    event: What,
    ticket: Ticket,
    since: Instant,
    /// Option `publish_timeout` holds.
    timed: bool,
}

/// What waits in the backlog.
#[derive(Debug)]
enum Turn {
    Publish(Late),
    /// Somebody waits until what is before it was admitted.
    Mark(oneshot::Sender<()>),
    /// So does this one, and what is behind it waits until it is dropped.
    Held(oneshot::Sender<()>, oneshot::Receiver<()>),
}

/// The turn of a publish of another form, from when it was begun. Dropped, the next one has its turn.
#[derive(Debug)]
pub(crate) struct Held {
    reached: oneshot::Receiver<()>,
    _release: oneshot::Sender<()>,
    of: Arc<Publisher>,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Here, and not where the task goes on: whoever hears of the call finds room at once.
        self.of.late.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Held {
    /// Waits for it.
    pub(crate) async fn reached(&mut self) {
        // An error means that the runtime ends.
        let _ = (&mut self.reached).await;
    }
}

#[derive(Debug)]
enum What {
    Whole(Box<TimedEvent>),
    Encoded(Bytes, Timing),
}

#[derive(Debug, Default)]
struct Backlog {
    waiting: VecDeque<Turn>,
    /// A task takes from it.
    tended: bool,
}

/// The publishes of one client.
#[derive(Debug, Default)]
pub(crate) struct Publisher {
    backlog: Mutex<Backlog>,
    /// Those in the backlog, and the one that its task is about; of turns that are held, those that are not over.
    late: AtomicUsize,
}

impl Publisher {
    fn backlog(&self) -> MutexGuard<'_, Backlog> {
        self.backlog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes, and has the queue of the place told of the receipt.
    ///
    /// # Errors
    /// What is wrong with topic or event; `BUFFER_FULL` if it is not to wait; `UNSUPPORTED` for that with an offline file. Then there is no
    /// completion.
    pub(crate) fn begin(
        self: &Arc<Self>,
        (mesh, on): (&Mesh, &Handle),
        (topic, event): (&str, TimedEvent),
        room: Room,
        place: Place,
    ) -> Result<()> {
        let (patience, _) = mesh.publish_waits();
        let in_turn = self.is_idle();
        let begun = match room {
            Room::Now if !in_turn => Err(Error::of_host(ErrorKind::BufferFull, "publish", FULL)),
            Room::Now => mesh.try_publish(topic, event).map(Ok),
            Room::Wait | Room::Soon if in_turn && (patience.is_none() || room == Room::Soon) => {
                mesh.publish_now(topic, event).map(|admitted| match admitted {
                    Admitted::Now(pending) => Ok(pending),
                    Admitted::Full(encoded, timing) => Err(What::Encoded(encoded, timing)),
                })
            }
            Room::Wait | Room::Soon => Ok(Err(What::Whole(Box::new(event)))),
        };
        match begun {
            Ok(Ok(pending)) => place.into_ticket().told(pending),
            Ok(Err(event)) => {
                let (topic, ticket, since) = (topic.to_owned(), place.into_ticket(), Instant::now());
                let late = Late { topic, event, ticket, since, timed: room == Room::Wait };
                self.queue_up((mesh, on), Turn::Publish(late));
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// A turn behind all that was begun.
    pub(crate) fn hold(self: &Arc<Self>, of: (&Mesh, &Handle)) -> Held {
        let ((reach, reached), (release, released)) = (oneshot::channel(), oneshot::channel());
        self.queue_up(of, Turn::Held(reach, released));
        Held { reached, _release: release, of: Arc::clone(self) }
    }

    fn queue_up(self: &Arc<Self>, (mesh, on): (&Mesh, &Handle), turn: Turn) {
        let mut backlog = self.backlog();
        self.late.fetch_add(1, Ordering::AcqRel);
        backlog.waiting.push_back(turn);
        if !backlog.tended {
            backlog.tended = true;
            on.spawn(Arc::clone(self).tend(mesh.clone()));
        }
    }

    /// Publishes what waits, in order, until nothing does.
    async fn tend(self: Arc<Self>, mesh: Mesh) {
        loop {
            let next = {
                let mut backlog = self.backlog();
                let next = backlog.waiting.pop_front();
                backlog.tended = next.is_some();
                next
            };
            match next {
                None => return,
                // An error means that nobody waits any more.
                Some(Turn::Mark(reached)) => drop(reached.send(())),
                Some(Turn::Publish(late)) => {
                    publish(&mesh, late).await;
                    self.late.fetch_sub(1, Ordering::AcqRel);
                }
                Some(Turn::Held(reach, released)) => {
                    // Errors mean that its call is over, or that it has been admitted: either is what is waited for.
                    let _ = reach.send(());
                    let _ = released.await;
                }
            }
        }
    }

    /// Whether all that was begun was admitted.
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting() == 0
    }

    /// How many were begun and not admitted.
    pub(crate) fn waiting(&self) -> usize {
        self.late.load(Ordering::Acquire)
    }

    /// Waits until what was begun so far was admitted, or refused.
    pub(crate) async fn admitted(&self) {
        let reached = {
            let mut backlog = self.backlog();
            if !backlog.tended {
                return;
            }
            let (reach, reached) = oneshot::channel();
            backlog.waiting.push_back(Turn::Mark(reach));
            reached
        };
        // An error means that the runtime ends, and they are over.
        let _ = reached.await;
    }

    /// Takes a publish back that still waits for its turn.
    pub(crate) fn cancel(&self, queue: &Queue, tag: u64) -> bool {
        let mut backlog = self.backlog();
        let is_it = |turn: &Turn| matches!(turn, Turn::Publish(late) if late.ticket.is(queue, tag));
        let Some(at) = backlog.waiting.iter().position(is_it) else { return false };
        let turn = backlog.waiting.remove(at);
        self.late.fetch_sub(1, Ordering::AcqRel);
        drop(backlog);
        if let Some(Turn::Publish(late)) = turn {
            let text = "the publish was cancelled before there was room for it: nothing was published";
            let error = Error::of_host(ErrorKind::Cancelled, "publish", text).with_retry_class(Retry::Now);
            late.ticket.end(Err(error));
        }
        true
    }
}

const FULL: &str = "others wait for room in the window of unanswered publishes (options publish_window_events and publish_window_bytes): take receipts first";

/// Admits one when there is room, and has its queue told.
async fn publish(mesh: &Mesh, late: Late) {
    let Late { topic, event, ticket, since, timed } = late;
    let admitted = caught("publish", async {
        match event {
            What::Whole(event) => mesh.stage(&topic, *event).await,
            What::Encoded(encoded, timing) => mesh.publish_encoded(&topic, &encoded, timing).await,
        }
    });
    let Some(patience) = mesh.publish_waits().0.filter(|_| timed) else {
        return match admitted.await {
            Ok(pending) => ticket.told(pending),
            Err(error) => ticket.end(Err(error)),
        };
    };
    let until = (since + patience).into();
    match timeout_at(until, admitted).await {
        Ok(Ok(pending)) => drop(tokio::spawn(wait_for_receipt(pending, until, ticket, topic, patience))),
        Ok(Err(error)) => ticket.end(Err(error)),
        Err(_) => ticket.end(Err(Mesh::no_receipt(&topic, patience))),
    }
}

async fn wait_for_receipt(
    pending: PendingReceipt,
    until: tokio::time::Instant,
    ticket: Ticket,
    topic: String,
    patience: std::time::Duration,
) {
    let receipt = timeout_at(until, pending).await;
    ticket.end(receipt.unwrap_or_else(|_| Err(Mesh::no_receipt(&topic, patience))).map(Outcome::Receipt));
}
