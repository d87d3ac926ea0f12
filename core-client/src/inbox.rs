//! One subscription's meeting point: runs come in from the driver, settles go
//! back out in ranges.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use meshwire_proto::TopicName;
use meshwire_proto::frame::{DeliverRun, SettleKind};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use crate::handed::Unsettled;
use crate::late::Late;
use crate::outbox::Outbox;
use crate::prefetched::{Claim, Look, Prefetched, Range};
use crate::session::{Failure, SubscriptionId};
use crate::settled::is_final;
pub(crate) use crate::settled::{How, Settled};
use crate::{Error, Result};

/// A run and the generation that its settles must name.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) generation: u32,
    pub(crate) run: DeliverRun,
    /// The claim on its numbers, where they have leases or a binding takes them ahead.
    pub(crate) claim: Option<Arc<Claim>>,
}

/// What came of a settle, and of a nack the boundary of [`Output::Settled`](crate::session::Output::Settled).
pub(crate) type Answer = (Result<(), Failure>, u64);

/// A settle whose answer is awaited.
pub(crate) type Confirm = (Settled, oneshot::Sender<Answer>);

/// How a stream ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// The program drains or closes.
    Quiet,
    /// The gateway ended it, or the client failed.
    Error(Error),
}

#[derive(Debug, Default)]
struct Contents {
    runs: VecDeque<Batch>,
    waker: Option<Waker>,
    end: Option<End>,
    settles: Vec<Settled>,
    confirms: Vec<Confirm>,
    settled_events: u32,
    settled_bytes: u64,
    /// Whether the driver knows that there are settles to send.
    announced: bool,
    /// The stream waits until they are collected.
    awaits_sending: bool,
    /// Deliveries that the stream took and that were neither settled nor given up.
    held: u64,
    prefetched: Prefetched,
    /// Rises with whatever the program does.
    done: u64,
    /// What waited was given back, and nothing more is sent.
    paused: bool,
    /// It takes deliveries again, and the driver is to say so.
    resumed: bool,
    /// Those that the program was handed and dropped: they fail when the subscription ends.
    dropped: VecDeque<(u32, u64)>,
    /// What was handed out and not settled, where a binding tells when the program leaves; `left`: it has.
    unsettled: Option<Unsettled>,
    left: bool,
    /// The driver collects nothing here any more.
    over: bool,
    late: Late,
}

impl Contents {
    fn is_settled(&mut self, range: Range) {
        if let Some(unsettled) = &mut self.unsettled {
            unsettled.settled(range);
        }
        self.prefetched.settled(range);
    }
}

#[derive(Debug)]
pub(crate) struct Inbox {
    pub(crate) topic: TopicName,
    pub(crate) outbox: Arc<Outbox>,
    pub(crate) id: OnceLock<SubscriptionId>,
    /// Most deliveries that the gateway may have out here.
    most: usize,
    /// Settled so much, the credit is worth returning at once.
    half: (u32, u64),
    /// Deliveries below it come again; see [`Inbox::is_stale`].
    valid_from: AtomicU32,
    stopped: AtomicBool,
    /// Of those that the stream took, the ones that no program has been handed yet.
    waiting: AtomicU64,
    /// Behind the last delivery that a binding took ahead; see [`Claim`].
    fetched: AtomicU64,
    ack_wait: watch::Sender<Duration>,
    pub(crate) warned: AtomicBool,
    contents: Mutex<Contents>,
}

impl Inbox {
    pub(crate) fn new(topic: TopicName, outbox: Arc<Outbox>, max_events: u32, max_bytes: u64) -> Self {
        Self {
            topic,
            outbox,
            id: OnceLock::new(),
            most: usize::try_from(max_events).unwrap_or(usize::MAX),
            half: ((max_events / 2).max(1), (max_bytes / 2).max(1)),
            valid_from: AtomicU32::new(0),
            stopped: AtomicBool::new(false),
            waiting: AtomicU64::new(0),
            fetched: AtomicU64::new(0),
            ack_wait: watch::Sender::new(Duration::ZERO),
            warned: AtomicBool::new(false),
            contents: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Contents> {
        self.contents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether deliveries of this generation will come again, so that handling
    /// them now would be once too often.
    pub(crate) fn is_stale(&self, generation: u32) -> bool {
        generation < self.valid_from.load(Ordering::Relaxed)
    }

    /// Whether the program drains: nothing more is handed out.
    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    pub(crate) fn waiting(&self) -> u64 {
        self.waiting.load(Ordering::Relaxed)
    }

    /// So many of what the stream took are not handed out. Told before it is looked whether the program drains:
    /// either the stream sees that it does, or the drain sees that this one is out.
    pub(crate) fn set_waiting(&self, count: u64) {
        self.waiting.store(count, Ordering::SeqCst);
    }

    /// All before this one a binding has taken; as [`Inbox::set_waiting`].
    pub(crate) fn set_fetched(&self, end: u64) {
        self.fetched.store(end, Ordering::SeqCst);
    }

    /// The driver brings events. Gives when to [look after](Self::look_after_leases) their leases.
    pub(crate) fn deliver(&self, generation: u32, run: DeliverRun) -> Option<Instant> {
        let ack_wait = *self.ack_wait.borrow();
        let mut contents = self.lock();
        let range = (generation, run.first_delivery, run.events.count());
        if let Some(unsettled) = &mut contents.unsettled {
            unsettled.arrived(generation, run.first_delivery);
        }
        if !contents.prefetched.is_of(generation) {
            self.set_fetched(0);
        }
        let has_leases = !ack_wait.is_zero();
        let is_claimed = has_leases || contents.unsettled.is_some();
        let (claim, look) = is_claimed.then(|| contents.prefetched.arrived(range, ack_wait)).unzip();
        let look = look.filter(|_| has_leases);
        contents.runs.push_back(Batch { generation, run, claim });
        let waker = contents.waker.take();
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
        look
    }

    /// Leases of what no program has been handed: extended, or given back when the program is stuck. Gives when to look
    /// again, and whether something was given back.
    pub(crate) fn look_after_leases(&self) -> (Option<Instant>, bool) {
        let ack_wait = *self.ack_wait.borrow();
        let mut contents = self.lock();
        let done = contents.done;
        let Look { extend, release, again } = contents.prefetched.look(ack_wait, done);
        let stuck = !release.is_empty();
        if stuck {
            // What the stream took already it finds given back itself.
            contents.runs.clear();
            contents.paused = true;
        }
        // Whoever has a batch in hand may be waiting for more: it says so again, and gets more.
        let waker = contents.waker.take_if(|_| stuck);
        release.iter().for_each(|range| contents.is_settled(*range));
        for (ranges, kind) in [(extend, SettleKind::Extend), (release, SettleKind::Release)] {
            let how = How::from(kind);
            let of = |(generation, first, count)| Settled { generation, first, count, how: how.clone() };
            contents.settles.extend(ranges.into_iter().map(of));
        }
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
        (again, stuck)
    }

    /// Whether the program takes deliveries again, since this was asked last.
    pub(crate) fn take_resumed(&self) -> bool {
        std::mem::take(&mut self.lock().resumed)
    }

    /// The gateway has taken back what was out here.
    pub(crate) fn forget_dropped(&self) {
        self.lock().dropped.clear();
    }

    /// Leases of earlier generations are gone and their events come again. Of what was acked or rejected so many were on their way
    /// to the gateway.
    pub(crate) fn reset(&self, generation: u32, unheard: u64) {
        let mut contents = self.lock();
        self.valid_from.store(generation, Ordering::Relaxed);
        contents.runs.retain(|batch| batch.generation >= generation);
        contents.prefetched.reset(generation);
        let here = contents.settles.iter().filter(|settled| is_final(&settled.how));
        let count = unheard + here.map(|settled| u64::from(settled.count)).sum::<u64>();
        let position = contents.late.session_lost(count);
        drop(contents);
        if count > 0 {
            tracing::warn!(
                topic = self.topic.as_str(),
                position,
                count,
                "the session was lost before the gateway had confirmed what was acked last, up to this position: those events may come again"
            );
        }
    }

    /// No more events come. The first end counts.
    pub(crate) fn end(&self, end: End) {
        let mut contents = self.lock();
        if matches!(end, End::Quiet) {
            self.stopped.store(true, Ordering::SeqCst);
            contents.runs.clear();
        }
        contents.end.get_or_insert(end);
        let waker = contents.waker.take();
        drop(contents);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Why it has ended, if that is an error.
    pub(crate) fn why_over(&self) -> Result<()> {
        match &self.lock().end {
            Some(End::Error(error)) => Err(error.clone()),
            Some(End::Quiet) | None => Ok(()),
        }
    }

    /// The stream takes all runs at once; `Ready(None)` at the end.
    pub(crate) fn poll_take(self: &Arc<Self>, into: &mut VecDeque<Batch>, cx: &Context<'_>) -> Poll<Option<End>> {
        let mut contents = self.lock();
        if !contents.runs.is_empty() {
            std::mem::swap(&mut contents.runs, into);
            let taken = into.iter().map(|b| u64::from(b.run.events.count())).sum::<u64>();
            contents.held += taken;
            self.set_waiting(taken);
            return Poll::Ready(None);
        }
        if let Some(end) = &contents.end {
            return Poll::Ready(Some(end.clone()));
        }
        if !contents.waker.as_ref().is_some_and(|w| w.will_wake(cx.waker())) {
            contents.waker = Some(cx.waker().clone());
        }
        // Nothing to read: the consumer may be waiting for the credit it gave back.
        let resumed = std::mem::take(&mut contents.paused);
        contents.resumed |= resumed;
        let flush = (contents.announced && contents.settled_events > 0) || resumed;
        contents.settled_events = 0;
        let first = resumed && !std::mem::replace(&mut contents.announced, true);
        drop(contents);
        if flush {
            self.outbox.settling(first.then_some(self), true);
        }
        Poll::Pending
    }

    /// The consumer settles deliveries in a row, of so many bytes, the last with this position.
    pub(crate) fn settle(self: &Arc<Self>, settled: Settled, bytes: usize, position: u64) {
        let mut contents = self.lock();
        let mut warning = None;
        if is_final(&settled.how) {
            // Without a group nothing comes again.
            let over = contents.over && !self.ack_wait.borrow().is_zero();
            let lost = if over { settled.count.into() } else { contents.prefetched.lost(settled.range()) };
            warning = match over {
                true => contents.late.left(lost),
                false => contents.late.settled(position, self.is_stale(settled.generation), lost),
            };
            if lost > 0 {
                self.outbox.leases_lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
        contents.held = contents.held.saturating_sub(settled.count.into());
        contents.is_settled(settled.range());
        contents.done += 1;
        contents.settled_events = contents.settled_events.saturating_add(settled.count);
        contents.settled_bytes += bytes as u64;
        match contents.settles.last_mut() {
            Some(last)
                if last.how == settled.how
                    && last.generation == settled.generation
                    && last.first.saturating_add(u64::from(last.count)) == settled.first =>
            {
                last.count += settled.count;
            }
            _ => contents.settles.push(settled),
        }
        let half = contents.settled_events >= self.half.0 || contents.settled_bytes >= self.half.1;
        let first = !std::mem::replace(&mut contents.announced, true);
        if half {
            (contents.settled_events, contents.settled_bytes) = (0, 0);
        }
        drop(contents);
        if first || half {
            self.outbox.settling(first.then_some(self), half);
        }
        if let Some(warning) = warning {
            warning.tell(&self.topic, position);
        }
    }

    /// The consumer is still working on deliveries: nothing is settled.
    pub(crate) fn extend(self: &Arc<Self>, extended: impl IntoIterator<Item = (u32, u64, u32)>) {
        let mut contents = self.lock();
        contents.done += 1;
        let how = How::from(SettleKind::Extend);
        let of = |(generation, first, count)| Settled { generation, first, count, how: how.clone() };
        contents.settles.extend(extended.into_iter().map(of));
        if contents.settles.is_empty() {
            return;
        }
        let first = !std::mem::replace(&mut contents.announced, true);
        drop(contents);
        if first {
            self.outbox.settling(Some(self), false);
        }
    }

    /// The gateway's word on the ack wait; 0 without a group.
    pub(crate) fn set_ack_wait(&self, millis: u32) {
        self.ack_wait.send_replace(Duration::from_millis(millis.into()));
    }

    pub(crate) fn ack_wait(&self) -> watch::Receiver<Duration> {
        self.ack_wait.subscribe()
    }

    /// The consumer settles one delivery and waits for the answer.
    pub(crate) fn settle_confirmed(self: &Arc<Self>, settled: Settled) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        let mut contents = self.lock();
        contents.done += 1;
        if settled.how.kind != SettleKind::Extend {
            contents.is_settled(settled.range());
            contents.held = contents.held.saturating_sub(1);
        }
        contents.confirms.push((settled, sender));
        let first = !std::mem::replace(&mut contents.announced, true);
        drop(contents);
        if !self.outbox.settling(first.then_some(self), true) {
            self.leave_unconfirmed();
        }
        receiver
    }

    /// The client has ended: nobody is told what the gateway says any more.
    pub(crate) fn leave_unconfirmed(&self) {
        let confirms = std::mem::take(&mut self.lock().confirms);
        drop(confirms);
    }

    /// Deliveries will not be settled: their stream or handle is gone.
    pub(crate) fn give_up(&self, count: u64) {
        let mut contents = self.lock();
        contents.held = contents.held.saturating_sub(count);
        drop(contents);
        if self.is_stopped() {
            // A drain may have waited for just this.
            self.outbox.look_again();
        }
    }

    /// One comes again, and nothing was said of it.
    pub(crate) fn forget(&self, settled: &Settled) {
        self.lock().is_settled(settled.range());
        self.give_up(settled.count.into());
    }

    /// The program dropped a delivery that it was handed. The gateway has no more out here than the credit, and these
    /// leases are not extended: one that dropped behind as many later ones has ended.
    pub(crate) fn dropped(&self, generation: u32, number: u64) {
        let mut contents = self.lock();
        contents.prefetched.settled((generation, number, 1));
        if !contents.left {
            if contents.dropped.len() >= self.most {
                contents.dropped.pop_front();
            }
            contents.dropped.push_back((generation, number));
        }
        drop(contents);
        self.give_up(1);
    }

    /// The subscription ends: what the program was handed and dropped has failed. It is for the caller to have the
    /// driver collect it.
    pub(crate) fn fail_dropped(&self, reason: &str) {
        let mut contents = self.lock();
        let how = How { kind: SettleKind::Nack, delay_ms: None, reason: Some(reason.into()) };
        let of = |(generation, first)| Settled { generation, first, count: 1, how: how.clone() };
        let failed: Vec<Settled> = contents.dropped.drain(..).map(of).collect();
        contents.settles.extend(failed);
    }

    /// From here on it is counted what the program was handed and has not settled.
    pub(crate) fn count_unsettled(&self) {
        let mut contents = self.lock();
        let mut unsettled = Unsettled::new(self.most);
        for batch in &mut contents.runs {
            let (generation, first) = (batch.generation, batch.run.first_delivery);
            unsettled.arrived(generation, first);
        }
        contents.unsettled = Some(unsettled);
    }

    /// The program leaves, and the subscription ends: what it was handed and has not settled has failed. As
    /// [`Inbox::fail_dropped`].
    pub(crate) fn fail_unsettled(&self, reason: &str) {
        if self.is_stopped() {
            // Its loop ends because the client drains: what is in hand has its time.
            return;
        }
        let mut contents = self.lock();
        let handed = if self.ack_wait.borrow().is_zero() { 0 } else { contents.prefetched.handed() };
        let left = contents.unsettled.as_mut().map(|unsettled| unsettled.take(handed)).unwrap_or_default();
        let how = How { kind: SettleKind::Nack, delay_ms: None, reason: Some(reason.into()) };
        let of = |(generation, first, count)| Settled { generation, first, count, how: how.clone() };
        contents.settles.extend(left.into_iter().map(of));
        contents.left = true;
        // They are among those.
        contents.dropped.clear();
    }

    /// Its subscription has ended, and what is in hand was given back: what is settled from here on comes too late.
    pub(crate) fn set_over(&self) {
        self.lock().over = true;
    }

    /// Whether something was settled that the driver has not collected; then it does at once, and wakes who asks.
    pub(crate) fn has_unsent(&self, cx: &Context<'_>) -> bool {
        let mut contents = self.lock();
        if !contents.announced || contents.end.is_some() {
            return false;
        }
        contents.waker = Some(cx.waker().clone());
        contents.awaits_sending = true;
        drop(contents);
        self.outbox.settling(None, true);
        true
    }

    /// The driver collects what was settled.
    pub(crate) fn collect(&self, settles: &mut Vec<Settled>, confirms: &mut Vec<Confirm>) {
        let mut contents = self.lock();
        contents.announced = false;
        if std::mem::take(&mut contents.awaits_sending)
            && let Some(waker) = contents.waker.take()
        {
            waker.wake();
        }
        (contents.settled_events, contents.settled_bytes) = (0, 0);
        settles.append(&mut contents.settles);
        confirms.append(&mut contents.confirms);
    }

    /// Whether every delivery that was handed out is settled, and that sent. Once the program drains.
    pub(crate) fn is_done(&self) -> bool {
        let contents = self.lock();
        let ahead = match contents.unsettled {
            Some(_) => self.fetched.load(Ordering::SeqCst).saturating_sub(contents.prefetched.handed()),
            None => 0,
        };
        contents.held <= self.waiting.load(Ordering::SeqCst) + ahead && !contents.announced
    }
}
