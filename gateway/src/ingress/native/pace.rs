//! Publishers that must be slower: what they publish waits here up to a bound, then their connection is not read from, so
//! that they wait in their clients' windows. Only who would wait for too long is refused.
//!
//! Publishes of a connection keep their order. Its settlements, credit and all else are processed meanwhile: limits of
//! publishers hold up no subscription.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::Moment;
use meshwire_proto::frame::{ClientFrame, Publish};

use super::protocol::Protocol;
use super::publish::{Offered, bind};
use super::session::Session;
use crate::ingress::access::Call;
use crate::mesh::Refusal;

/// How long a frame is held while too much waits to be kept: then it is taken or refused. A disk that is stuck must
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
    pub(super) frame: Bytes,
    since: Moment,
    /// Its share of the rate begins here.
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

/// What becomes of a Publish frame.
pub(super) enum Admission {
    Go,
    Hold(Held),
    Refuse(Refusal),
}

impl Protocol {
    /// Whether a Publish frame may be processed now. One that is held is asked for again.
    pub(super) fn admit(&self, frame: &Bytes, publish: &Publish, held: Option<Held>) -> Admission {
        let mesh = &self.native.mesh;
        if held.is_none() && mesh.publishes_freely() {
            return Admission::Go;
        }
        let now = mesh.now().mono;
        let held = match held {
            Some(held) => held,
            None => {
                let (events, bytes) = weight(publish);
                match mesh.reserve_publish((now, now), events, bytes) {
                    Ok(wait) => Held { frame: frame.clone(), since: now, until: now + wait },
                    Err(refusal) => return Admission::Refuse(refusal),
                }
            }
        };
        if self.is_not_due(&held) { Admission::Hold(held) } else { Admission::Go }
    }

    /// Whether a Publish frame waits on: its share of the rate is not there yet, or too much waits to be kept.
    fn is_not_due(&self, held: &Held) -> bool {
        let mesh = &self.native.mesh;
        let now = mesh.now().mono;
        now < held.until || (!mesh.has_publish_room() && now < held.since.max(held.until) + MOST_CROWDED)
    }

    /// The same of the one that is held, without decoding it: it is asked for whenever anything happens.
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
        loop {
            match self.held.take() {
                Some(held) => self.frame(&held.frame.clone(), Some(held)),
                None => {
                    let Some(frame) = self.behind.pop() else { break };
                    self.frame(&frame, None);
                }
            }
            if self.held.is_some() {
                break;
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
        let until = if now < held.until { held.until } else { held.until.max(held.since) + MOST_CROWDED };
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
