//! Accepting events: each is new, a duplicate, or refused.

use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::{EventError, EventLimits, EventRun, EventView, Identity, Timing, UnixMillis};

use super::dedup::{IdHash, IdHasher, second_of};
use super::delayed::delay_of;
use super::{Engine, Now};
use crate::store::{Append, Delay, Entry, Expiries, Op, Position, ProducerMark, TopicId, key_hash};

/// One event of a run after its scan, which validates it unless this process encoded it ([`EventRun::is_encoded`]).
#[derive(Clone, Debug)]
pub struct Scanned {
    /// Offset in the run behind the framed event.
    end: u32,
    found: Result<Hashes, EventError>,
}

#[derive(Clone, Copy, Debug)]
struct Hashes {
    key: u64,
    id: IdHash,
}

/// Scans every event of a run: no lock is needed for it.
pub fn scan(run: &EventRun, limits: EventLimits, hasher: &IdHasher) -> Vec<Scanned> {
    let mut end = 0;
    let scan = |(framed, event): (&[u8], &[u8])| {
        end += framed.len() as u32;
        let identity = if run.is_encoded() {
            Identity::of_encoded(event, limits)
        } else {
            EventView::parse(event, limits).map(Identity::from)
        };
        let found = identity
            .map(|Identity { source, id, key }| Hashes { key: key.map_or(0, key_hash), id: hasher.hash(source, id) });
        Scanned { end, found }
    };
    run.framed().map(scan).collect()
}

/// The ids of several events; of one there is nothing to gain by looking ahead.
fn several_ids(scanned: &[Scanned]) -> impl Iterator<Item = IdHash> {
    let several = if scanned.len() > 1 { scanned } else { &[] };
    several.iter().filter_map(|event| Some(event.found.as_ref().ok()?.id))
}

/// What became of consecutive events of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// New; the first has this position, the others follow. 0: they wait for their time, and have none yet.
    New(Position),
    /// Here already; the position is 0 when it is not known.
    Duplicate(Position),
    /// Not acceptable.
    Refused(EventError),
    /// No space: nothing was taken.
    NoRoom,
    /// As many wait for their time, or expire each at its own, as may.
    TooManyTimes,
}

/// How a run is published.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// By which of our own clients.
    pub producer: Option<ProducerMark>,
    /// There is room for it; without, nothing new is taken.
    pub room: bool,
    /// When it is delivered.
    pub timing: Timing,
}

/// `count` events with one verdict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judged {
    /// How many.
    pub count: u32,
    /// What became of them.
    pub verdict: Verdict,
}

fn judge(judged: &mut Vec<Judged>, verdict: Verdict) {
    if let Some(last) = judged.last_mut() {
        let follows = match (&last.verdict, &verdict) {
            (Verdict::New(0), Verdict::New(0))
            | (Verdict::Duplicate(0), Verdict::Duplicate(0))
            | (Verdict::NoRoom, Verdict::NoRoom)
            | (Verdict::TooManyTimes, Verdict::TooManyTimes) => true,
            (Verdict::New(first), Verdict::New(next)) => *first != 0 && *first + u64::from(last.count) == *next,
            (Verdict::Refused(one), Verdict::Refused(other)) => one == other,
            (Verdict::Duplicate(first), Verdict::Duplicate(next)) => {
                *first != 0 && *first + u64::from(last.count) == *next
            }
            _ => false,
        };
        if follows {
            last.count += 1;
            return;
        }
    }
    judged.push(Judged { count: 1, verdict });
}

/// New events that stand side by side in their run.
struct Stretch {
    from: u32,
    first: Position,
    first_sequence: u64,
    index: Vec<Entry>,
}

/// A run while its events are judged one after the other.
struct Taking {
    events: usize,
    /// How many were judged, and where the next one begins.
    seen: u64,
    start: u32,
    judged: Vec<Judged>,
    stretches: Vec<Stretch>,
    /// The last event was taken: the next one may stand beside it.
    open: bool,
}

impl Taking {
    fn new(run: &EventRun) -> Self {
        Self {
            events: run.count() as usize,
            seen: 0,
            start: 0,
            judged: Vec::with_capacity(1),
            stretches: Vec::new(),
            open: false,
        }
    }

    /// Takes an event; its position is told as `known`.
    fn take(&mut self, (end, key): (u32, u64), (position, known): (Position, Position), sequence: u64) {
        if !self.open {
            self.stretches.push(Stretch {
                from: self.start,
                first: position,
                first_sequence: sequence,
                index: Vec::with_capacity(self.events - self.seen as usize),
            });
            self.open = true;
        }
        if let Some(stretch) = self.stretches.last_mut() {
            stretch.index.push(Entry { end: end - stretch.from, key });
        }
        self.next(end, Verdict::New(known));
    }

    fn pass(&mut self, end: u32, verdict: Verdict) {
        self.open = false;
        self.next(end, verdict);
    }

    fn next(&mut self, end: u32, verdict: Verdict) {
        self.start = end;
        self.seen += 1;
        judge(&mut self.judged, verdict);
    }

    fn end(self) -> (Vec<Judged>, Vec<Stretch>) {
        (self.judged, self.stretches)
    }
}

impl Engine {
    /// When idle producers were forgotten, if they were since the last call: other
    /// shards know them too, and nothing may be published there for long.
    pub fn producers_swept(&mut self) -> Option<UnixMillis> {
        self.producers.take_swept()
    }

    /// Forgets producers that are idle as of a stored time.
    pub fn forget_idle_producers(&mut self, stored: UnixMillis) {
        self.producers.forget_idle(stored);
    }

    /// How many separate ranges of sequences a producer has here, if it is too
    /// many to take another.
    pub fn crowded(&mut self, producer: &ProducerMark) -> Option<usize> {
        self.producers.crowded(producer)
    }

    /// How long identities are remembered as of a topic's last append, if that is
    /// less than the window and was not told for a while.
    pub fn dedup_ended_early(&mut self, topic: TopicId) -> Option<Duration> {
        let stored = self.topics.get(&topic)?.stored;
        self.dedup.ended_early(second_of(stored)).map(Duration::from_secs)
    }

    /// Accepts a run, given with its scan. What is new becomes an append that the next
    /// [`Engine::take_ops`] gives; the caller commits it before it lets go of the
    /// engine, then calls [`Engine::committed`].
    pub fn publish(
        &mut self,
        now: Now,
        topic: TopicId,
        (run, scanned): (&EventRun, Vec<Scanned>),
        how: How,
    ) -> Vec<Judged> {
        let How { producer, room, timing } = how;
        let mut taking = Taking::new(run);
        let delay = delay_of(timing, now);
        let waits = delay.map(|_| self.open_delayed(topic));
        let Some(state) = self.topics.get_mut(&topic) else {
            return taking.judged;
        };
        state.stored = state.stored.max(now.wall);
        let (stored, second) = (state.stored, second_of(state.stored));
        let crowded = timing.expires_in_ms > 0 && state.has_most_expiries();
        let remembered = self.dedup.len(topic);
        let replay = producer.filter(|p| self.producers.may_have(p));
        self.dedup.look_ahead(topic, several_ids(&scanned));
        let mut next = waits.unwrap_or(state.next);
        // Where an event will be is not known while it waits.
        let known = |position| if waits.is_some() { 0 } else { position };
        for (n, Scanned { end, found }) in (0..).zip(scanned) {
            let sequence = producer.map_or(0, |p| p.first_sequence + n);
            match found {
                Err(error) => taking.pass(end, Verdict::Refused(error)),
                Ok(_) if replay.is_some_and(|p| self.producers.has(&p, sequence)) => {
                    taking.pass(end, Verdict::Duplicate(0));
                }
                #[cfg(feature = "testing")]
                Ok(event) if room && super::planted::is(super::planted::Defect::DuplicateTaken) => {
                    taking.take((end, event.key), (next, known(next)), sequence);
                    next += 1;
                }
                Ok(event) => match self.dedup.find(topic, event.id, second) {
                    Some(first) => taking.pass(end, Verdict::Duplicate(first)),
                    None if !room => taking.pass(end, Verdict::NoRoom),
                    None if crowded || waits.is_some() && !self.delays.has_room(end - taking.start) => {
                        taking.pass(end, Verdict::TooManyTimes);
                    }
                    None => {
                        self.dedup.insert(topic, event.id, known(next), second);
                        taking.take((end, event.key), (next, known(next)), sequence);
                        next += 1;
                    }
                },
            }
        }
        if waits.is_none() {
            state.next = next;
        }
        self.dedup.trim(topic, remembered, second);
        let (judged, stretches) = taking.end();
        for stretch in stretches {
            let append = self.append(topic, stored, run.as_bytes(), stretch, producer);
            self.take(now, append, delay, timing.expires_in_ms);
        }
        judged
    }

    /// New events go into their topic, or wait for their time.
    fn take(&mut self, now: Now, append: Append, delay: Option<Delay>, expires_in_ms: u64) {
        if let Some(delay) = delay {
            return self.delay(now, append, delay);
        }
        let Append { topic, first, stored, .. } = append;
        let count = append.index.len() as u32;
        self.ops.push(Op::Append(append));
        if expires_in_ms > 0 {
            self.expire(topic, (first, count), Expiries::end(stored, expires_in_ms));
        }
    }

    fn append(
        &mut self,
        topic: TopicId,
        stored: UnixMillis,
        run: &Bytes,
        stretch: Stretch,
        producer: Option<ProducerMark>,
    ) -> Append {
        let len = stretch.index.last().map_or(0, |e| e.end);
        let producer = producer.map(|p| ProducerMark { first_sequence: stretch.first_sequence, ..p });
        if let Some(mark) = &producer {
            let next = mark.first_sequence + stretch.index.len() as u64;
            self.producers.add(mark, mark.first_sequence, next, stored);
        }
        let bytes = run.slice(stretch.from as usize..(stretch.from + len) as usize);
        #[cfg(feature = "testing")]
        let bytes = super::planted::stored(bytes);
        Append { topic, first: stretch.first, stored, bytes, index: stretch.index, producer }
    }
}
