//! Events that wait for long are written again from time to time, so that the log
//! need not keep old segments for them until they are due.

use std::time::Duration;

use meshwire_proto::{Moment, UnixMillis};

use super::delayed::{BESIDE, Delayed, Due, Found, Slot, Waiting, find};
use super::no_room::NO_ROOM;
use super::{Engine, Now, Source};
use crate::store::{Delay, DelayChange, Op, Times, TopicId};

/// They are not written again more often.
const LEAST: Duration = Duration::from_secs(3600);

/// How old an event that waits may become where it is: a segment with it is then gone before
/// retention takes those behind it.
pub(super) fn longest_stay(id: TopicId, retention_ms: u64) -> Duration {
    // Those of a memory topic are nowhere but here.
    if id.is_memory() { Duration::MAX } else { Duration::from_millis(retention_ms / 2).max(LEAST) }
}

impl Delayed {
    /// An event waits; unless it is due before, it is written again when `stay` has passed.
    pub(super) fn insert(&mut self, slot: Slot, waiting: Waiting, (now, stay): (Moment, Duration)) {
        let at = now + stay;
        if at < slot.0 {
            self.carried.insert((at, slot));
        }
        self.waiting.insert(slot, waiting);
    }
}

/// What a delay leaves of the stay that began with it.
pub(super) fn left_of_stay(stay: Duration, delay: &Delay, wall: UnixMillis) -> Duration {
    let began = delay.due.0.saturating_sub(i64::try_from(delay.delay_ms).unwrap_or(i64::MAX));
    stay.saturating_sub(Duration::from_millis(wall.0.saturating_sub(began).max(0).unsigned_abs()))
}

impl Engine {
    /// Writes what has been where it is for long; `true` if there was something.
    pub(super) fn carry(&mut self, now: Now, id: TopicId, source: &mut dyn Source) -> bool {
        let Some(topic) = self.topics.get_mut(&id) else {
            return false;
        };
        let (stored, stay) = (topic.stored.max(now.wall), longest_stay(id, topic.settings.retention_ms));
        let Some(delayed) = topic.delayed.as_mut() else {
            return false;
        };
        let (first, mut events) = (delayed.next, Due::default());
        while let Some((_, slot)) =
            delayed.carried.first().copied().filter(|(at, _)| *at <= now.mono && !events.is_long())
        {
            delayed.carried.pop_first();
            let Some(waiting) = delayed.waiting.get(&slot) else {
                continue;
            };
            let (due, wall, position) = slot;
            match find(source, id.delayed(), position) {
                Found::Event(event) if source.claim(id.delayed(), event.bytes.len() as u64 + BESIDE).is_ok() => {
                    let Waiting { expires_in_ms, len, .. } = *waiting;
                    let delay_ms = due.since(now.mono).as_micros().div_ceil(1000);
                    let delay_ms = u64::try_from(delay_ms).unwrap_or(u64::MAX);
                    let again = Delay { due: wall, delay_ms, expires_in_ms, len };
                    events.changes.push((position, DelayChange::Released));
                    events.changes.push((delayed.next, DelayChange::Waits(again)));
                    delayed.waiting.remove(&slot);
                    let waiting = Waiting { expires_in_ms, len, held: None };
                    delayed.insert((due, wall, delayed.next), waiting, (now.mono, stay));
                    delayed.next += 1;
                    events.push(event);
                }
                // What is gone is found when it is due.
                Found::Gone => {}
                Found::Event(_) | Found::Later => drop(delayed.carried.insert((now.mono + NO_ROOM, slot))),
            }
        }
        if events.changes.is_empty() {
            return false;
        }
        let changes = std::mem::take(&mut events.changes);
        self.ops.extend(events.appends(id.delayed(), first, stored));
        self.ops.push(Op::Times(Times::Delays { topic: id.delayed(), changes }));
        true
    }
}
