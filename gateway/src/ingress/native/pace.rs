//! Publishers that must be slower: what they publish waits here up to a bound, then their connection is not read from, so
//! that they wait in their clients' windows. Only who would wait for too long is refused.
//!
//! A frame takes its share of the rate piece by piece, each when its turn comes: a large one takes no turns of others in advance.
//! Publishes of a connection keep their order. Its settlements, credit and all else are processed meanwhile: limits of
//! publishers hold up no subscription.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::Moment;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun};

use super::protocol::Protocol;
use super::publish::{Offered, bind};
use super::session::Session;
use super::sessions::lock;
use crate::ingress::access::Call;
use crate::mesh::Refusal;

/// How long a piece of a frame is held while too much waits to be kept: then it is taken or refused. A disk that is stuck must
/// not keep settlements behind the frame from being heard.
const MOST_CROWDED: Duration = Duration::from_secs(1);

/// How long a connection is not read from, in all, because more publishes wait than may: what comes later and finds no
/// place is refused, until none waits any more. Settlements are heard within that time, which is a third of the session's
/// shortest lease if that is less: nobody loses leases by publishing.
const MOST_STALLED: Duration = Duration::from_secs(5);

/// What may wait on a connection however little memory there is: about as much as it reads at once.
const LEAST_BEHIND: u64 = 64 << 10;

/// Memory of a frame that waits, beside its bytes.
const FRAME_BYTES: u64 = size_of::<(Bytes, (u64, u64))>() as u64;

/// A Publish frame that waits.
#[derive(Debug)]
pub(super) struct Held {
    /// Has taken its share of the rate, which begins at `until`.
    piece: Publish,
    /// Asks for its share when the piece has gone.
    rest: Publish,
    /// Since when the frame waits.
    since: Moment,
    until: Moment,
}

/// Publish frames behind the one that is held.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// With their events, and bytes.
    frames: VecDeque<(Bytes, (u64, u64))>,
    /// Sum of these.
    events: u64,
    bytes: u64,
    /// More of them came than may wait: until when nothing is read for that.
    stalled: Option<Moment>,
    /// A Goodbye behind them.
    goodbye: Option<Bytes>,
}

impl Behind {
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    fn push(&mut self, frame: &Bytes, publish: &Publish) {
        let (events, _) = weight(publish);
        let bytes = FRAME_BYTES + frame.len() as u64;
        self.events += events;
        self.bytes += bytes;
        // A copy: a frame holds all that was received with it.
        self.frames.push_back((Bytes::copy_from_slice(frame), (events, bytes)));
    }

    fn pop(&mut self) -> Option<Bytes> {
        let Some((frame, (events, bytes))) = self.frames.pop_front() else {
            self.stalled = None;
            return self.goodbye.take();
        };
        self.events -= events;
        self.bytes -= bytes;
        Some(frame)
    }
}

fn weight(publish: &Publish) -> (u64, u64) {
    let events = publish.runs.iter().map(|run| u64::from(run.events.count())).sum();
    (events, publish.runs.iter().map(|run| run.events.as_bytes().len() as u64).sum())
}

/// Takes runs off the front: at most so many events with at most so many bytes, but always one.
fn split_front(publish: &mut Publish, (most, bytes): (u64, u64)) -> Publish {
    let (mut left, mut bytes_left) = (most, bytes);
    let mut piece = Publish { runs: Vec::new(), answered_through: publish.answered_through };
    let mut whole = 0;
    for run in &mut publish.runs {
        let fits = |run: &PublishRun| run.events.as_bytes().len() as u64 <= bytes_left;
        if !piece.runs.is_empty() && (left == 0 || !fits(run)) {
            break;
        }
        let events = run.events.split_front(left, bytes_left);
        let (count, len) = (u64::from(events.count()), events.as_bytes().len() as u64);
        // Its topic stays with the rest, which is bound, or refused, like it.
        piece.runs.push(PublishRun { events, topic: run.topic.clone(), ..*run });
        if !run.events.is_empty() {
            run.first_sequence += count;
            break;
        }
        whole += 1;
        (left, bytes_left) = (left.saturating_sub(count), bytes_left.saturating_sub(len));
    }
    publish.runs.drain(..whole);
    piece
}

impl Protocol {
    /// Publishes what is left of a frame that waits since then, as far as its turn has come. What would have to wait for too long is
    /// refused.
    pub(super) fn publish_in_turn(&mut self, session: &mut Session, mut rest: Publish, since: Moment) {
        while !rest.runs.is_empty() {
            let mesh = &self.native.mesh;
            let now = mesh.now().mono;
            let mut piece = split_front(&mut rest, mesh.publish_piece());
            let (events, bytes) = weight(&piece);
            let wait = match mesh.reserve_publish((since, now), events, bytes) {
                Ok(wait) => wait,
                Err(refusal) => {
                    piece.runs.append(&mut rest.runs);
                    return self.refuse_publish(session, &piece, &refusal);
                }
            };
            let held = Held { piece, rest, since, until: now + wait };
            if self.is_not_due(&held) {
                self.held = Some(held);
                return;
            }
            self.publish_now(session, held.piece);
            rest = held.rest;
        }
    }

    /// Goes on with the frame that was held.
    fn publish_further(&mut self, held: Held) {
        self.tell_stop();
        let Some(session) = self.session() else {
            return;
        };
        let mut session = lock(&session);
        if session.owner != self.number {
            return self.lost_session();
        }
        self.publish_now(&mut session, held.piece);
        self.publish_in_turn(&mut session, held.rest, held.since);
    }

    /// Whether a piece waits on: its share of the rate is not there yet, or too much waits to be kept.
    fn is_not_due(&self, held: &Held) -> bool {
        let mesh = &self.native.mesh;
        let now = mesh.now().mono;
        now < held.until || (!mesh.has_publish_room() && now < held.until + MOST_CROWDED)
    }

    /// The same of the one that is held: it is asked for whenever anything happens.
    fn holds_on(&self) -> bool {
        self.held.as_ref().is_some_and(|held| self.is_not_due(held)) && self.has_its_session()
    }

    /// Answers every event of a frame alike, but for a run whose topic cannot be bound.
    pub(super) fn refuse_publish(&mut self, session: &mut Session, publish: &Publish, refusal: &Refusal) {
        let call = Call::begin(&self.native.mesh);
        for run in &publish.runs {
            let bound = bind(session, run);
            self.answer(run, Err(bound.err().unwrap_or_else(|| refusal.clone())));
        }
        if call.is_recorded() {
            self.record_publish(session, call, Offered::of(publish), Some(refusal.kind));
        }
    }

    /// Goes on with publishes that wait; `false` when nothing could be done.
    pub(super) fn publish_held(&mut self) -> bool {
        if self.holds_on() {
            return false;
        }
        let mut done = false;
        while self.held.is_none() || !done {
            match self.held.take() {
                Some(held) => self.publish_further(held),
                None => {
                    let Some(frame) = self.behind.pop() else { break };
                    self.frame(&frame);
                }
            }
            done = true;
        }
        done
    }

    /// Whether a frame has to wait behind the Publish frame that is held; if so, it is taken care of.
    pub(super) fn waits_behind(&mut self, session: &mut Session, frame: &Bytes, decoded: &ClientFrame) -> bool {
        if self.held.is_none() {
            return false;
        }
        match decoded {
            ClientFrame::Publish(publish) if self.has_stalled() && self.is_full_behind() => {
                let (events, bytes) = (self.behind.events, self.behind.bytes);
                let refusal = self.native.mesh.refuse_behind((events, bytes));
                self.refuse_publish(session, publish, &refusal);
            }
            ClientFrame::Publish(publish) => {
                self.behind.push(frame, publish);
                if self.is_full_behind() {
                    let most = session.shortest_ack_wait().map_or(MOST_STALLED, |wait| MOST_STALLED.min(wait / 3));
                    self.behind.stalled.get_or_insert(self.native.mesh.now().mono + most);
                }
            }
            // Whoever says it has published all that is before it.
            ClientFrame::Goodbye(_) => self.behind.goodbye = Some(frame.clone()),
            _ => return false,
        }
        true
    }

    /// Whether more publishes wait than may, and nothing more is to be read for now.
    pub(super) fn is_stalled(&self) -> bool {
        self.held.is_some() && (self.behind.goodbye.is_some() || (self.is_full_behind() && !self.has_stalled()))
    }

    fn is_full_behind(&self) -> bool {
        self.behind.bytes > LEAST_BEHIND.max(self.native.mesh.answers().allowance())
    }

    fn has_stalled(&self) -> bool {
        self.behind.stalled.is_some_and(|until| self.native.mesh.now().mono >= until)
    }

    /// When publishes that wait are to be looked at again though nothing happens.
    pub(super) fn held_until(&self) -> Option<Moment> {
        let held = self.held.as_ref()?;
        let now = self.native.mesh.now().mono;
        let until = if now < held.until { held.until } else { held.until + MOST_CROWDED };
        let reads = self.behind.stalled.filter(|at| *at > now);
        Some(reads.map_or(until, |at| at.min(until)))
    }

    /// Wakes `waker` when a frame that is held may go on; `false` when it may now.
    pub(super) fn wake_when_free(&self, waker: &Waker) -> bool {
        match &self.held {
            Some(held) if self.native.mesh.now().mono >= held.until => {
                self.native.mesh.wake_when_publish_room(self.number, waker)
            }
            _ => true,
        }
    }
}
