//! What handles and driver share: publishes on their way in, receipts on their
//! way out, commands, and which subscriptions have settles to send.
//!
//! A handle encodes outside the lock, then holds it for one copy; the driver
//! takes everything in one go and is woken once for it.

mod answers;
mod filing;
mod room;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use bytes::Bytes;
use meshwire_proto::{ErrorKind, EventRun, Timing, TopicName, UnixMillis};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::hooks::Hooks;
use crate::identity;
use crate::inbox::Inbox;
use crate::receipts::Receipts;
use crate::replies::ReplyBox;
use crate::serve::ServeInbox;
use crate::session::{Failure, RequestSpec, RunQueue, ServeSpec, State, Stats, SubscribeSpec, TaskId, TaskReply, To};
use crate::transport::Account;
use crate::{Error, Result};
use filing::Filing;
pub(crate) use filing::Passed;

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning {
    /// The next event that was never delivered.
    pub(crate) next_position: u64,
    /// Where the topic's next event will be; 1: it never had one, 0: not told.
    pub(crate) topic_next: u64,
    /// Whether the group came into being with it.
    pub(crate) new_group: bool,
}

/// Something for the driver to do, with where to answer.
#[derive(Debug)]
pub(crate) enum Command {
    Subscribe {
        spec: SubscribeSpec,
        inbox: Arc<Inbox>,
        reply: oneshot::Sender<Result<Beginning>>,
    },
    Unsubscribe(Arc<Inbox>),
    Admin {
        command: Bytes,
        reply: oneshot::Sender<Result<Bytes, Failure>>,
    },
    Request {
        spec: RequestSpec,
        replies: Arc<ReplyBox>,
    },
    /// Nobody waits for the replies any more.
    CancelRequest(Arc<ReplyBox>),
    /// So many replies of a stream were taken.
    Grant(Arc<ReplyBox>, u32),
    Serve {
        spec: ServeSpec,
        inbox: Arc<ServeInbox>,
        reply: oneshot::Sender<Result<()>>,
    },
    ServeNoMore(Arc<ServeInbox>),
    Reply(TaskId, TaskReply),
    /// Finish what is in flight, at the latest at `until`, then close.
    Drain {
        until: Instant,
        reply: Option<oneshot::Sender<Result<()>>>,
    },
}

/// The client's window of unanswered publishes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// Everything behind the one lock.
#[derive(Debug)]
pub(crate) struct Pending {
    names: Vec<TopicName>,
    aliases: HashMap<TopicName, u32>,
    /// Topics that the session does not know yet are those behind this index.
    told_topics: usize,
    runs: RunQueue,
    queued: Limits,
    in_session: Limits,
    pub(crate) receipts: Receipts,
    commands: Vec<Command>,
    settling: Vec<Arc<Inbox>>,
    settle_now: bool,
    /// Something was left for the driver since it last took everything.
    filled: bool,
    /// The driver, when it waits.
    driver: Option<Waker>,
    waiting: usize,
    /// Requests without their last reply.
    requests: Limits,
    /// Nobody drives any more.
    gone: bool,
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    answered_through: u64,
    /// The first that was given here; those below were left by an earlier life.
    first_sequence: u64,
    last_sequence: u64,
    /// How many an earlier life left.
    restored: u64,
    /// Of those, kept by the gateway, and failed.
    restored_answered: (u64, u64),
    /// What is on its way into the offline file, if there is one.
    filing: Option<Filing>,
    closed: Option<Error>,
    pub(crate) stats: Stats,
    pub(crate) carrier: Option<&'static str>,
    /// Events and bytes that the session has and that are not on their way.
    buffered: (u64, u64),
    /// Why the last connection could not be made.
    pub(crate) last_attempt: Option<Account>,
    /// What a gateway refused it for that is busy or stops, if that was it.
    pub(crate) refused: Option<ErrorKind>,
}

/// What the driver takes in one go. Its buffers are reused.
#[derive(Debug, Default)]
pub(crate) struct Taken {
    pub(crate) topics: Vec<TopicName>,
    pub(crate) runs: Vec<(To, EventRun)>,
    /// The same, by way of the offline file.
    pub(crate) filed: Vec<Passed>,
    /// What the gateway may forget, where there is a file.
    pub(crate) forgettable: Option<u64>,
    pub(crate) commands: Vec<Command>,
    pub(crate) settling: Vec<Arc<Inbox>>,
    pub(crate) settle_now: bool,
}

#[derive(Debug)]
pub(crate) struct Outbox {
    pending: Mutex<Pending>,
    pub(crate) hooks: Hooks,
    limits: Limits,
    /// Publishes wait for a gateway, in the offline buffer.
    is_offline: bool,
    request_limits: Limits,
    max_frame_bytes: AtomicU32,
    /// How far the gateway's wall clock is ahead of this machine's, in milliseconds.
    clock_ahead: AtomicI64,
    /// Plain settles for ever of what had been given back.
    pub(crate) leases_lost: AtomicU64,
    /// Wakes publishers when there is room again.
    pub(crate) room: Notify,
    pub(crate) state: watch::Sender<State>,
    /// Publishes go through the offline file.
    has_file: AtomicBool,
    /// Wakes the thread of the offline file.
    filer: Condvar,
    /// Every sequence up to this one has been through the file.
    filed: watch::Sender<u64>,
}

/// Whether an event was taken.
pub(crate) enum Admission {
    Admitted {
        alias: u32,
        sequence: u64,
    },
    /// The window is full.
    Full,
}

impl Pending {
    fn alias(&mut self, topic: &str) -> Result<u32> {
        if let Some(alias) = self.aliases.get(topic) {
            return Ok(*alias);
        }
        let name = TopicName::parse(topic).map_err(|e| Error::name("publish", &e))?;
        self.names.push(name.clone());
        let alias = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
        self.aliases.insert(name, alias);
        Ok(alias)
    }

    const fn unanswered(&self) -> Limits {
        let (events, bytes) = match &self.filing {
            Some(filing) => (filing.waiting.events, filing.waiting.bytes),
            None => (0, 0),
        };
        Limits {
            events: self.queued.events + self.in_session.events + events,
            bytes: self.queued.bytes + self.in_session.bytes + bytes,
        }
    }

    fn has_room(&self, limits: Limits, bytes: u64) -> bool {
        let open = self.unanswered();
        open.events < limits.events && (open.events == 0 || open.bytes + bytes <= limits.bytes)
    }

    fn admit(&mut self, topic: &str, (event, timing): (&[u8], Timing), limits: Limits) -> Result<Admission> {
        if let Some(closed) = &self.closed {
            return Err(closed.clone().during("publish").with("topic", topic));
        }
        let alias = self.alias(topic)?;
        let bytes = event.len() as u64;
        if !self.has_room(limits, bytes) {
            return Ok(Admission::Full);
        }
        if let Some(filing) = &mut self.filing {
            filing.push((alias, timing), event);
        } else {
            self.runs.push((alias, timing), event);
            self.queued.events += 1;
            self.queued.bytes += bytes;
        }
        self.last_sequence = self.receipts.push();
        Ok(Admission::Admitted { alias, sequence: self.last_sequence })
    }
}

impl Outbox {
    pub(crate) fn new(limits: Limits, is_offline: bool, request_limits: Limits, hooks: Hooks) -> Self {
        let nothing = Limits { events: 0, bytes: 0 };
        let ring = usize::try_from(limits.events).unwrap_or(usize::MAX).saturating_add(1024);
        let pending = Pending {
            names: Vec::new(),
            aliases: HashMap::new(),
            told_topics: 0,
            runs: RunQueue::default(),
            queued: nothing,
            in_session: nothing,
            receipts: Receipts::new(ring),
            commands: Vec::new(),
            settling: Vec::new(),
            settle_now: false,
            filled: false,
            driver: None,
            waiting: 0,
            requests: nothing,
            gone: false,
            flushes: Vec::new(),
            answered_through: 0,
            first_sequence: 1,
            last_sequence: 0,
            restored: 0,
            restored_answered: (0, 0),
            filing: None,
            closed: None,
            stats: Stats::default(),
            carrier: None,
            buffered: (0, 0),
            last_attempt: None,
            refused: None,
        };
        Self {
            pending: Mutex::new(pending),
            hooks,
            limits,
            is_offline,
            request_limits,
            max_frame_bytes: AtomicU32::new(u32::MAX),
            clock_ahead: AtomicI64::new(0),
            leases_lost: AtomicU64::new(0),
            room: Notify::new(),
            state: watch::Sender::new(State::Disconnected),
            has_file: AtomicBool::new(false),
            filer: Condvar::new(),
            filed: watch::Sender::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Pending> {
        // A panic under the lock leaves counters at worst; the data stays whole.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes `waker`, once, when something is left for the driver; `false` when
    /// that is so already. `buffered`: what the session has and that is not on its way.
    pub(crate) fn wake_when_filled(&self, waker: &Waker, buffered: (u64, u64)) -> bool {
        let mut pending = self.lock();
        pending.buffered = buffered;
        if pending.filled {
            return false;
        }
        match &mut pending.driver {
            Some(known) => known.clone_from(waker),
            none => *none = Some(waker.clone()),
        }
        true
    }

    /// Makes the driver look at everything once more.
    pub(crate) fn look_again(&self) {
        fill(self.lock());
    }

    /// Whether an event is small enough for the gateway.
    pub(crate) fn fits_frame(&self, operation: &'static str, topic: &str, event: &[u8]) -> Result<()> {
        let limit = self.max_frame_bytes.load(Ordering::Relaxed);
        // The frame's own head takes less than 512 bytes.
        if event.len() as u64 + 512 <= u64::from(limit) {
            return Ok(());
        }
        let message = format!(
            "the event has {} bytes, over what fits a frame of {limit} (option max_frame_bytes of the gateway)",
            event.len()
        );
        Err(Error::new(ErrorKind::TooLarge, operation, message).with("topic", topic))
    }

    /// Takes one encoded event if there is room.
    pub(crate) fn admit(&self, topic: &str, event: &[u8], timing: Timing) -> Result<Admission> {
        self.fits_frame("publish", topic, event)?;
        let mut pending = self.lock();
        let admission = pending.admit(topic, (event, timing), self.limits)?;
        if matches!(admission, Admission::Admitted { .. }) {
            if pending.filing.is_some() {
                drop(pending);
                self.filer.notify_one();
            } else {
                fill(pending);
            }
        }
        Ok(admission)
    }

    pub(crate) fn command(&self, command: Command) -> Result<()> {
        let mut pending = self.lock();
        if let Some(closed) = &pending.closed {
            return Err(closed.clone());
        }
        pending.commands.push(command);
        fill(pending);
        Ok(())
    }

    /// [`Outbox::command`] for what ends something that was begun: also while the client
    /// drains, and never refused.
    pub(crate) fn push(&self, command: Command) {
        let mut pending = self.lock();
        if !pending.gone {
            pending.commands.push(command);
            fill(pending);
        }
    }

    /// [`Outbox::command`] for the end of the client: publishes and subscribes are
    /// refused from here on.
    pub(crate) fn drain(&self, command: Command) -> Result<()> {
        self.command(command)?;
        self.lock().closed.get_or_insert(Error::closed("run"));
        self.room.notify_waiters();
        Ok(())
    }

    /// A subscription has settles to send: soon, or at once. `false`: the driver is gone, and nobody takes them.
    pub(crate) fn settling(&self, inbox: Option<&Arc<Inbox>>, now: bool) -> bool {
        let mut pending = self.lock();
        if pending.gone {
            // Kept here it would keep itself: an inbox holds its outbox.
            return false;
        }
        pending.settling.extend(inbox.cloned());
        pending.settle_now |= now;
        fill(pending);
        true
    }

    /// The driver's turn: takes everything.
    pub(crate) fn take(&self, taken: &mut Taken, stats: Stats) {
        let mut pending = self.lock();
        let pending = &mut *pending;
        pending.filled = false;
        pending.stats = stats;
        taken.topics.clear();
        taken.topics.extend(pending.names.iter().skip(pending.told_topics).cloned());
        pending.told_topics = pending.names.len();
        pending.runs.take(&mut taken.runs);
        if let Some(filing) = &mut pending.filing {
            taken.filed.append(&mut filing.filed);
            taken.forgettable = Some(filing.forgettable);
        }
        pending.in_session.events += pending.queued.events;
        pending.in_session.bytes += pending.queued.bytes;
        pending.queued = Limits { events: 0, bytes: 0 };
        taken.commands.append(&mut pending.commands);
        taken.settling.append(&mut pending.settling);
        taken.settle_now |= std::mem::take(&mut pending.settle_now);
    }

    /// From now on every call fails with `error`; gives what was not taken yet.
    pub(crate) fn close(&self, error: Error) -> (Vec<Command>, Vec<Arc<Inbox>>) {
        let mut pending = self.lock();
        pending.closed.get_or_insert(error);
        pending.gone = true;
        let left = (std::mem::take(&mut pending.commands), std::mem::take(&mut pending.settling));
        drop(pending);
        self.room.notify_waiters();
        left
    }

    /// Tells all who look, and those who wait for room: without a gateway there may be none for long.
    pub(crate) fn state_is(&self, state: State) {
        self.state.send_replace(state);
        if self.is_offline {
            self.room.notify_waiters();
        }
    }

    /// Why the client ended, if it did.
    pub(crate) fn end(&self) -> Option<Error> {
        self.lock().closed.clone()
    }

    /// Publishes without a receipt.
    pub(crate) fn unanswered(&self) -> Limits {
        self.lock().unanswered()
    }

    pub(crate) fn stats(&self) -> crate::Stats {
        let pending = self.lock();
        let (open, session) = (pending.unanswered(), pending.stats);
        crate::Stats {
            pending: open.events,
            pending_bytes: open.bytes,
            buffered: pending.queued.events + pending.buffered.0,
            buffered_bytes: pending.queued.bytes + pending.buffered.1,
            given_up: session.given_up,
            restored: pending.restored,
            restored_published: pending.restored_answered.0,
            restored_failed: pending.restored_answered.1,
            published: pending.last_sequence - (pending.first_sequence - 1),
            carrier: pending.carrier,
            reconnects: session.reconnects,
            resumes: session.resumes,
            replays: session.replays,
            replays_by_id: session.replays_by_id,
            protocol_errors: session.protocol_errors,
            silences: session.silences,
            settles_dropped: session.settles_dropped,
            leases_lost: session.leases_lost + self.leases_lost.load(Ordering::Relaxed),
            requests: pending.requests.events,
            replies_dropped: session.replies_dropped,
            replies_late: session.replies_late,
        }
    }

    pub(crate) fn topic(&self, alias: u32) -> String {
        let pending = self.lock();
        let name = usize::try_from(alias).ok().and_then(|a| pending.names.get(a.checked_sub(1)?));
        name.map(ToString::to_string).unwrap_or_default()
    }

    pub(crate) fn set_max_frame_bytes(&self, bytes: u32) {
        self.max_frame_bytes.store(bytes, Ordering::Relaxed);
    }

    pub(crate) fn set_clock_ahead(&self, ms: i64) {
        self.clock_ahead.store(ms, Ordering::Relaxed);
    }

    /// Now, by the gateway's wall clock.
    pub(crate) fn gateway_now(&self) -> UnixMillis {
        UnixMillis(identity::now().0.saturating_add(self.clock_ahead.load(Ordering::Relaxed)))
    }
}

/// Wakes the driver, if it waits.
fn fill(mut pending: MutexGuard<'_, Pending>) {
    pending.filled = true;
    let driver = pending.driver.take();
    drop(pending);
    if let Some(driver) = driver {
        driver.wake();
    }
}
