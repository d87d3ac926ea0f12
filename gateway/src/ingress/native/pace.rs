//! Publishers that must be slower: what they publish waits here up to a bound, then their connection is not read from, so
//! that they wait in their clients' windows. Only what finds no place is refused, and who others leave no turn.
//!
//! A frame takes its share of the rate piece by piece, each when its turn comes: a large one takes no turns of others in advance,
//! and waits no longer than the same events in small ones.
//! Publishes of a connection keep their order. Its settlements, credit and all else are processed meanwhile: limits of
//! publishers hold up no subscription.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::{ClientFrame, Publish};
use meshwire_proto::{ErrorKind, Moment};

use super::pieces::{keep_front, memory, split_front, weight};
use super::protocol::Protocol;
use super::session::Session;
use super::sessions::lock;
use crate::ingress::access::{Call, Kept};

/// How long a frame is held without a break while too much waits to be kept: then it is taken or refused. A disk that is stuck must
/// not keep its publisher without an answer.
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
    until: Moment,
    turns: Turns,
}

/// What is left of a Publish frame.
#[derive(Debug)]
struct Turns {
    /// Asks for its share when the piece has gone.
    rest: Publish,
    /// Memory of the rest, from when it has its own.
    own: Option<u64>,
    /// Since when the frame waits.
    since: Moment,
    /// Since when too much waits to be kept.
    crowded: Option<Moment>,
    record: Kept,
    /// Why the first of its events that was not taken was refused.
    refused: Option<ErrorKind>,
}

impl Turns {
    fn end(mut self) {
        self.record.answered(self.refused.map_or(Ok(()), Err));
    }

    /// Whether there is no room, and has been none for less than the frame waits for some.
    fn waits_for_room(&mut self, now: Moment, has_room: bool) -> bool {
        if has_room {
            self.crowded = None;
            return false;
        }
        now < *self.crowded.get_or_insert(now) + MOST_CROWDED
    }
}

impl Held {
    /// Memory that it has for itself.
    pub(super) fn bytes(&self) -> u64 {
        self.turns.own.unwrap_or_default()
    }
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

impl Protocol {
    /// Publishes a frame as far as its turn has come.
    pub(super) fn publish_in_turn(&mut self, session: &mut Session, frame: Publish, call: Call) {
        let record = self.keep_publish(session, call, &frame);
        let since = self.native.mesh.now().mono;
        let turns = Turns { rest: frame, own: None, since, crowded: None, record, refused: None };
        self.take_turns(session, turns);
    }

    /// Each piece waits for its own turn only: a publisher is slowed down, not refused for how much it has at once. What others leave no turn
    /// for too long is refused.
    fn take_turns(&mut self, session: &mut Session, mut turns: Turns) {
        self.bound_rest(session, &mut turns);
        while !turns.rest.runs.is_empty() {
            let mesh = &self.native.mesh;
            let now = mesh.now().mono;
            let mut piece = split_front(&mut turns.rest, mesh.publish_piece());
            turns.own = turns.own.map(|_| memory(&turns.rest));
            let (events, bytes) = weight(&piece);
            let wait = match mesh.reserve_publish((now, now), events, bytes) {
                Ok(wait) => wait,
                Err(refusal) => {
                    piece.runs.append(&mut turns.rest.runs);
                    self.refuse_runs(session, &piece, &refusal);
                    turns.refused = turns.refused.or(Some(refusal.kind));
                    break;
                }
            };
            let mut held = Held { piece, until: now + wait, turns };
            if self.is_not_due(&mut held) {
                self.held = Some(held);
                return;
            }
            turns = held.turns;
            let refused = self.publish_runs(session, held.piece);
            turns.refused = turns.refused.or(refused);
        }
        turns.end();
    }

    /// What has waited for a while stays as far as there is memory for it, like what is behind it.
    fn bound_rest(&mut self, session: &mut Session, turns: &mut Turns) {
        let now = self.native.mesh.now().mono;
        if turns.own.is_some() || now < turns.since + MOST_STALLED {
            return;
        }
        let others = keep_front(&mut turns.rest, self.most_behind());
        turns.own = Some(memory(&turns.rest));
        if others.runs.is_empty() {
            return;
        }
        let refusal = self.native.mesh.refuse_behind(weight(&turns.rest));
        self.refuse_runs(session, &others, &refusal);
        turns.refused = turns.refused.or(Some(refusal.kind));
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
        let Held { piece, mut turns, .. } = held;
        let refused = self.publish_runs(&mut session, piece);
        turns.refused = turns.refused.or(refused);
        self.take_turns(&mut session, turns);
    }

    /// Whether a piece waits on: its share of the rate is not there yet, or too much waits to be kept.
    fn is_not_due(&self, held: &mut Held) -> bool {
        let mesh = &self.native.mesh;
        let now = mesh.now().mono;
        let waits_for_room = held.turns.waits_for_room(now, mesh.has_publish_room());
        now < held.until || waits_for_room
    }

    /// The same of the one that is held: it is asked for whenever anything happens.
    fn holds_on(&mut self) -> bool {
        let Some(mut held) = self.held.take() else { return false };
        let not_due = self.is_not_due(&mut held);
        self.held = Some(held);
        not_due && self.has_its_session()
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
                let call = Call::begin(&self.native.mesh);
                let refusal = self.native.mesh.refuse_behind((self.behind.events, self.behind.bytes));
                self.refuse_publish(session, call, publish, &refusal);
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
        self.behind.bytes > self.most_behind()
    }

    fn most_behind(&self) -> u64 {
        LEAST_BEHIND.max(self.native.mesh.answers().allowance())
    }

    fn has_stalled(&self) -> bool {
        self.behind.stalled.is_some_and(|until| self.native.mesh.now().mono >= until)
    }

    /// When publishes that wait are to be looked at again though nothing happens.
    pub(super) fn held_until(&self) -> Option<Moment> {
        let held = self.held.as_ref()?;
        let now = self.native.mesh.now().mono;
        let crowded = held.turns.crowded.map_or(now, |since| since + MOST_CROWDED);
        let until = if now < held.until { held.until } else { crowded };
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
