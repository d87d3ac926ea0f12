//! Publishers that must be slower: their connection is not read from, so that they wait in their clients' windows and
//! nothing piles up here. Only who would wait for too long is refused.

use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::Moment;
use meshwire_proto::frame::Publish;

use super::access::Call;
use super::protocol::Protocol;
use super::publish::Offered;
use super::session::Session;
use crate::mesh::Refusal;

/// How long a frame is held while too much waits to be kept: then it is taken or refused. A disk that is stuck must
/// not keep settlements behind the frame from being heard.
const MOST_CROWDED: Duration = Duration::from_secs(1);

/// A Publish frame that waits, and everything behind it.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) frame: Bytes,
    since: Moment,
    /// Its share of the rate begins here.
    until: Moment,
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
                let events = publish.runs.iter().map(|run| u64::from(run.events.count())).sum();
                let bytes = publish.runs.iter().map(|run| run.events.as_bytes().len() as u64).sum();
                match mesh.reserve_publish(now, events, bytes) {
                    Ok(wait) => Held { frame: frame.clone(), since: now, until: now + wait },
                    Err(refusal) => return Admission::Refuse(refusal),
                }
            }
        };
        let crowded = !mesh.has_publish_room() && now < held.since.max(held.until) + MOST_CROWDED;
        if now < held.until || crowded { Admission::Hold(held) } else { Admission::Go }
    }

    /// Answers every event of a frame alike.
    pub(super) fn refuse_publish(&mut self, session: &Session, publish: &Publish, refusal: &Refusal) {
        let call = Call::begin(&self.native.mesh);
        for run in &publish.runs {
            self.answer(run, Err(refusal.clone()));
        }
        if call.is_recorded() {
            self.record_publish(session, call, Offered::of(publish), Some(refusal.kind));
        }
    }

    /// When a frame that is held is to be looked at again though nothing happens.
    pub(super) fn held_until(&self) -> Option<Moment> {
        let held = self.held.as_ref()?;
        let now = self.native.mesh.now().mono;
        Some(if now < held.until { held.until } else { held.until.max(held.since) + MOST_CROWDED })
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
