//! Publishes without a receipt: sent in order, kept for exact replay.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use bytes::Bytes;
use meshwire_proto::frame::{Publish, PublishRun, Receipt};
use meshwire_proto::{EventRun, Moment, TopicName};

use super::runs::{RUN_BYTES, RunQueue, To, cut};

mod again;

/// Consecutive sequences of one topic that have no receipt yet, or not all.
#[derive(Debug)]
struct Run {
    to: To,
    first: u64,
    events: EventRun,
    /// Sequences without a receipt, ascending.
    open: Vec<Range<u64>>,
    /// When it is given up, if it is not on its way then.
    until: Option<Moment>,
}

#[derive(Debug)]
struct Topic {
    name: TopicName,
    /// Whether this connection knows the alias.
    bound: bool,
}

/// The most that may be on its way without a receipt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) events: u64,
    pub(super) bytes: u64,
}

/// Every publish from its sequence to its receipt.
///
/// Invariants: runs ascend by sequence without overlap; those before `unsent`
/// were sent on this connection; `events` counts what is open in all runs.
#[derive(Debug)]
pub(super) struct Publishes {
    topics: Vec<Topic>,
    aliases: BTreeMap<TopicName, u32>,
    tail: RunQueue,
    runs: VecDeque<Run>,
    unsent: usize,
    next_sequence: u64,
    /// Lowest sequence that is still in the tail or was never given.
    tail_sequence: u64,
    /// Behind the highest sequence that was ever sent.
    sent_before: u64,
    /// The gateway is told of no answers above this sequence.
    forgettable: u64,
    in_flight: Window,
    events: u64,
    bytes: u64,
}

impl Run {
    fn last(&self) -> u64 {
        self.first + u64::from(self.events.count())
    }

    fn len(&self) -> u64 {
        self.events.as_bytes().len() as u64
    }

    fn open_events(&self) -> u64 {
        self.open.iter().map(|r| r.end - r.start).sum()
    }

    /// Lets the bytes go, as all is answered; gives how many. The run keeps its
    /// place until those before it are answered.
    fn free(&mut self) -> u64 {
        let len = self.len();
        self.events = EventRun::from_parts(Bytes::new(), self.events.count());
        len
    }

    /// The first `take` events and the others.
    fn halve(&self, take: u64) -> (Self, Self) {
        let border = self.first + take;
        let open = |from: u64, to: u64| {
            let cut = self.open.iter().map(|r| r.start.max(from)..r.end.min(to));
            cut.filter(|r| !r.is_empty()).collect::<Vec<_>>()
        };
        let head = Self {
            to: self.to,
            first: self.first,
            events: cut(&self.events, 0, take),
            open: open(self.first, border),
            until: self.until,
        };
        let rest = Self {
            to: self.to,
            first: border,
            until: self.until,
            events: cut(&self.events, take, u64::from(self.events.count())),
            open: open(border, self.last()),
        };
        (head, rest)
    }

    /// Takes a range out of what is open; gives what was open of it.
    fn answer(&mut self, range: &Range<u64>) -> Vec<Range<u64>> {
        let mut answered = Vec::new();
        let mut left = Vec::with_capacity(self.open.len());
        for open in self.open.drain(..) {
            let (from, to) = (open.start.max(range.start), open.end.min(range.end));
            if from >= to {
                left.push(open);
                continue;
            }
            answered.push(from..to);
            left.extend([open.start..from, to..open.end].into_iter().filter(|r| !r.is_empty()));
        }
        self.open = left;
        answered
    }
}

impl Publishes {
    pub(super) fn new() -> Self {
        Self {
            topics: Vec::new(),
            aliases: BTreeMap::new(),
            tail: RunQueue::default(),
            runs: VecDeque::new(),
            unsent: 0,
            next_sequence: 1,
            tail_sequence: 1,
            sent_before: 1,
            forgettable: u64::MAX,
            in_flight: Window { events: 0, bytes: 0 },
            events: 0,
            bytes: 0,
        }
    }

    /// The number that stands for a topic: from 1, in order of first use.
    pub(super) fn alias(&mut self, topic: &TopicName) -> u32 {
        if let Some(alias) = self.aliases.get(topic) {
            return *alias;
        }
        self.topics.push(Topic { name: topic.clone(), bound: false });
        let alias = u32::try_from(self.topics.len()).unwrap_or(u32::MAX);
        self.aliases.insert(topic.clone(), alias);
        alias
    }

    pub(super) fn push(&mut self, to: To, event: &[u8]) -> u64 {
        self.tail.push(to, event);
        self.events += 1;
        self.bytes += event.len() as u64;
        self.next_sequence += 1;
        self.next_sequence - 1
    }

    pub(super) fn push_run(&mut self, to: To, events: EventRun, until: Option<Moment>) -> u64 {
        self.settle_tail();
        let first = self.next_sequence;
        self.next_sequence += u64::from(events.count());
        self.tail_sequence = self.next_sequence;
        self.events += u64::from(events.count());
        self.bytes += events.as_bytes().len() as u64;
        self.append(to, first, events, until);
        first
    }

    fn append(&mut self, to: To, first: u64, events: EventRun, until: Option<Moment>) {
        if !events.is_empty() {
            let end = first + u64::from(events.count());
            let open = Vec::from([Range { start: first, end }]);
            self.runs.push_back(Run { to, first, events, open, until });
        }
    }

    /// Moves what came event by event among the runs.
    fn settle_tail(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        let mut sealed = Vec::new();
        self.tail.take(&mut sealed);
        for (to, events) in sealed {
            let first = self.tail_sequence;
            // Counted by event until now, by run with its framing from here on.
            let plain: usize = events.framed().map(|(_, event)| event.len()).sum();
            self.bytes += (events.as_bytes().len() - plain) as u64;
            self.tail_sequence += u64::from(events.count());
            self.append(to, first, events, None);
        }
    }

    pub(super) const fn unanswered(&self) -> Window {
        Window { events: self.events, bytes: self.bytes }
    }

    /// Lowest sequence without a receipt; 0 when nothing was published yet.
    pub(super) fn first_unanswered(&self) -> u64 {
        if self.next_sequence == 1 { 0 } else { self.lowest_open() }
    }

    /// Every sequence up to this one has its receipt.
    pub(super) fn answered_through(&self) -> u64 {
        self.lowest_open() - 1
    }

    fn lowest_open(&self) -> u64 {
        // As a rule the first run is open: others follow only where a replayed run was cut.
        self.runs.iter().find_map(|r| r.open.first()).map_or(self.tail_sequence, |r| r.start)
    }

    /// Everything without a receipt, and whether it was ever sent.
    pub(super) fn open_ranges(&mut self) -> Vec<(Range<u64>, bool)> {
        self.settle_tail();
        let sent = self.sent_before;
        let open = self.runs.iter().flat_map(|r| r.open.iter());
        open.flat_map(|r| [(r.start..r.end.min(sent), true), (r.start.max(sent)..r.end, false)])
            .filter(|(r, _)| !r.is_empty())
            .collect()
    }

    /// A new connection: what is open is sent again, in order, with its old
    /// sequences. Gives how many events that are.
    pub(super) fn rewind(&mut self) -> u64 {
        let sent = self.sent_before;
        self.unsent = 0;
        self.in_flight = Window { events: 0, bytes: 0 };
        for topic in &mut self.topics {
            topic.bound = false;
        }
        let open = self.runs.iter().take_while(|r| r.first < sent).flat_map(|r| r.open.iter());
        open.map(|r| r.end.min(sent).saturating_sub(r.start)).sum()
    }

    /// The gateway keeps everything up to `through`; gives what was still open.
    pub(super) fn kept_through(&mut self, through: u64) -> Vec<Range<u64>> {
        self.answer(1..through.saturating_add(1).min(self.sent_before))
    }

    /// The newly answered parts of a receipt's range.
    ///
    /// # Errors
    /// The sentence about a receipt for what was never sent.
    pub(super) fn receipt(&mut self, receipt: &Receipt) -> Result<Vec<Range<u64>>, String> {
        let end = receipt.first_sequence.saturating_add(u64::from(receipt.count));
        if receipt.first_sequence == 0 || receipt.count == 0 || end > self.sent_before {
            let (first, count, sent) = (receipt.first_sequence, receipt.count, self.sent_before - 1);
            return Err(format!("a receipt for {count} publishes from {first} on, of which {sent} were sent"));
        }
        Ok(self.answer(receipt.first_sequence..end))
    }

    fn answer(&mut self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut answered: Vec<Range<u64>> = Vec::new();
        let from = self.runs.partition_point(|r| r.last() <= range.start);
        for (index, run) in self.runs.iter_mut().enumerate().skip(from) {
            if run.first >= range.end {
                break;
            }
            let parts = run.answer(&range);
            let count: u64 = parts.iter().map(|r| r.end - r.start).sum();
            self.events -= count;
            if index < self.unsent {
                self.in_flight.events = self.in_flight.events.saturating_sub(count);
            }
            if run.open.is_empty() {
                let len = run.free();
                self.bytes = self.bytes.saturating_sub(len);
                if index < self.unsent {
                    self.in_flight.bytes = self.in_flight.bytes.saturating_sub(len);
                }
            }
            for part in parts {
                match answered.last_mut() {
                    Some(last) if last.end == part.start => last.end = part.end,
                    _ => answered.push(part),
                }
            }
        }
        while self.runs.front().is_some_and(|r| r.open.is_empty()) {
            self.runs.pop_front();
            self.unsent = self.unsent.saturating_sub(1);
        }
        answered
    }

    /// The next frame's worth of runs that fit into the window.
    pub(super) fn next_frame(&mut self, window: Window) -> Option<Publish> {
        self.settle_tail();
        let mut publish = Publish::default();
        let mut size = 0;
        while let Some(run) = self.runs.get(self.unsent) {
            if run.open.is_empty() {
                self.unsent += 1;
                continue;
            }
            let len = run.events.as_bytes().len();
            if size > 0 && size + len > RUN_BYTES {
                break;
            }
            if !self.fits(window) && !self.split(window) {
                break;
            }
            size += len;
            self.send(&mut publish.runs);
        }
        publish.answered_through = self.answered_through().min(self.forgettable);
        (!publish.runs.is_empty()).then_some(publish)
    }

    fn fits(&self, window: Window) -> bool {
        self.runs.get(self.unsent).is_some_and(|run| {
            let bytes = self.in_flight.bytes + run.len();
            self.in_flight.events + run.open_events() <= window.events
                && (bytes <= window.bytes || self.in_flight.events == 0)
        })
    }

    /// Cuts the next run so that a part of it fits; not worth it while little room is left.
    fn split(&mut self, window: Window) -> bool {
        let room = window.events.saturating_sub(self.in_flight.events);
        let bytes_fit = self.in_flight.events == 0 || self.in_flight.bytes < window.bytes;
        if room == 0 || self.in_flight.events > window.events / 2 || !bytes_fit {
            return false;
        }
        let Some(run) = self.runs.get_mut(self.unsent) else {
            return false;
        };
        let count = u64::from(run.events.count());
        let take = room.min(count / 2).max(1);
        if take >= count {
            return false;
        }
        let (mut head, mut rest) = run.halve(take);
        for half in [&mut head, &mut rest].into_iter().filter(|h| h.open.is_empty()) {
            self.bytes = self.bytes.saturating_sub(half.free());
        }
        *run = head;
        self.runs.insert(self.unsent + 1, rest);
        // Half may still be too much; of a run that is replayed it may hold nothing open.
        self.fits(window) || self.split(window)
    }

    fn send(&mut self, into: &mut Vec<PublishRun>) {
        let Some(run) = self.runs.get(self.unsent) else {
            return;
        };
        let (alias, timing) = run.to;
        for open in &run.open {
            let topic = usize::try_from(alias).ok().and_then(|a| self.topics.get_mut(a.checked_sub(1)?));
            let unbound = topic.and_then(|t| (!std::mem::replace(&mut t.bound, true)).then_some(&t.name));
            into.push(PublishRun {
                alias,
                topic: unbound.map(ToString::to_string).unwrap_or_default(),
                first_sequence: open.start,
                deliver_at_ms: timing.deliver_at.0,
                expires_in_ms: timing.expires_in_ms,
                events: cut(&run.events, open.start - run.first, open.end - open.start),
                ..PublishRun::default()
            });
        }
        self.in_flight.events += run.open_events();
        self.in_flight.bytes += run.len();
        self.sent_before = self.sent_before.max(run.last());
        self.unsent += 1;
    }
}
