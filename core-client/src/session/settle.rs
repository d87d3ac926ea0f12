//! Settles on their way out, and the answers to those that asked for one.

use std::collections::{BTreeMap, VecDeque};

use meshwire_proto::frame::{Settle, SettleKind, SettleRange, SettleResult, Settled};

/// Most bytes of one frame, about: every gateway takes twice that.
const FRAME_BYTES: usize = 64 * 1024;

/// Of a range without its reason. A guess: large numbers take some more.
const RANGE_BYTES: usize = 16;

/// How many of these fit a frame, one at least.
fn fitting<'a>(ranges: impl Iterator<Item = &'a SettleRange>) -> usize {
    let ends = ranges.scan(0, |bytes, range| {
        *bytes += RANGE_BYTES + range.reason.len();
        Some(*bytes)
    });
    ends.take_while(|bytes| *bytes <= FRAME_BYTES).count().max(1)
}

/// A settle whose answer is waited for; without a token only the wait counts.
#[derive(Clone, Debug)]
pub(super) struct Confirm {
    token: Option<u64>,
    range: SettleRange,
    left: u32,
    code: u32,
}

/// A settle that was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Confirmed {
    pub(super) token: u64,
    pub(super) subscription: u32,
    pub(super) kind: SettleKind,
    /// 0, or the number of an error.
    pub(super) code: u32,
    /// Of a nack: where what was on its way then ends; 0 where the gateway does not say.
    pub(super) boundary: u64,
}

/// Settles that may go in two frames: first the plain ones, then those that are
/// confirmed.
#[derive(Debug, Default)]
struct Waiting {
    plain: Vec<SettleRange>,
    confirms: Vec<Confirm>,
    /// Not all of `confirms` are acks.
    has_nacks: bool,
}

impl Waiting {
    const fn is_empty(&self) -> bool {
        self.plain.is_empty() && self.confirms.is_empty()
    }

    /// Whether a plain settle given now may go before the confirmed ones given before
    /// it. A nack takes back later events of its key, so it moves past nothing.
    fn takes(&self, kind: SettleKind) -> bool {
        kind == SettleKind::Extend || self.confirms.is_empty() || (kind == SettleKind::Ack && !self.has_nacks)
    }

    fn confirm(&mut self, confirm: Confirm) {
        self.has_nacks &= !self.confirms.is_empty();
        self.has_nacks |= confirm.range.kind != SettleKind::Ack;
        self.confirms.push(confirm);
    }
}

/// Invariant: every frame that the gateway may not have processed is in `sent`,
/// every confirmed settle without its answer in `earlier`, `last_given` or `awaiting`.
#[derive(Debug, Default)]
pub(super) struct Settles {
    sequence: u64,
    /// What was given before `last_given` and must not be overtaken by it.
    earlier: VecDeque<Waiting>,
    last_given: Waiting,
    sent: VecDeque<Settle>,
    awaiting: BTreeMap<u64, Vec<Confirm>>,
    /// Index in `sent` of the first frame to send again.
    resend: usize,
    /// The last plain settle of each subscription.
    last: BTreeMap<u32, SettleRange>,
}

/// Whether `next` goes on where `last` ends.
fn extends(last: &SettleRange, next: &SettleRange) -> bool {
    last.subscription == next.subscription
        && last.kind == next.kind
        && last.delay_ms == next.delay_ms
        && last.reason == next.reason
        && last.first_delivery.saturating_add(u64::from(last.count)) == next.first_delivery
        && last.count.checked_add(next.count).is_some()
}

fn merge_into(ranges: &mut Vec<SettleRange>, next: SettleRange) {
    match ranges.last_mut() {
        Some(last) if extends(last, &next) => last.count += next.count,
        _ => ranges.push(next),
    }
}

/// Sorts and joins, but never moves an ack past a nack: a nack takes back later
/// events of its key, so their order is part of what the consumer said.
fn merge(ranges: Vec<SettleRange>) -> Vec<SettleRange> {
    if ranges.len() < 2 {
        return ranges;
    }
    let mut merged = Vec::with_capacity(ranges.len());
    let mut rest = ranges;
    while let Some(kind) = rest.first().map(|r| r.kind) {
        let end = rest.iter().position(|r| r.kind != kind).unwrap_or(rest.len());
        let tail = rest.split_off(end);
        rest.sort_unstable_by_key(|r| (r.subscription, r.first_delivery));
        rest.drain(..).for_each(|r| merge_into(&mut merged, r));
        rest = tail;
    }
    merged
}

impl Settles {
    pub(super) fn push(&mut self, range: SettleRange) {
        if !self.last_given.takes(range.kind) {
            self.earlier.push_back(std::mem::take(&mut self.last_given));
        }
        if range.kind == SettleKind::Extend {
            return merge_into(&mut self.last_given.plain, range);
        }
        let last = range.first_delivery.saturating_add(u64::from(range.count.saturating_sub(1)));
        self.last.insert(range.subscription, SettleRange { first_delivery: last, count: 1, ..range.clone() });
        merge_into(&mut self.last_given.plain, range);
    }

    pub(super) fn push_confirmed(&mut self, range: SettleRange, token: u64) {
        self.last_given.confirm(Confirm { token: Some(token), left: range.count, code: 0, range });
    }

    /// Asks when the settles of a subscription are kept: its last one again, this
    /// time to be confirmed. What came before it is kept before it.
    pub(super) fn confirm_last(&mut self, wire: u32) {
        if let Some(range) = self.last.remove(&wire) {
            self.last_given.confirm(Confirm { token: None, left: range.count, code: 0, range });
        }
    }

    /// How many frames and confirmations are not through.
    pub(super) fn unfinished(&self) -> usize {
        let awaiting: usize = self.awaiting.values().map(Vec::len).sum();
        let waiting = self.earlier.iter().chain([&self.last_given]).map(|w| w.plain.len() + w.confirms.len());
        waiting.sum::<usize>() + self.sent.len() + awaiting
    }

    /// The next frame to send.
    pub(super) fn next_frame(&mut self) -> Option<Settle> {
        if let Some(frame) = self.sent.get(self.resend) {
            self.resend += 1;
            return Some(frame.clone());
        }
        while self.earlier.front().is_some_and(Waiting::is_empty) {
            self.earlier.pop_front();
        }
        let next = self.earlier.front_mut().unwrap_or(&mut self.last_given);
        let (ranges, confirm) = if next.plain.is_empty() {
            let count = fitting(next.confirms.iter().map(|c| &c.range)).min(next.confirms.len());
            let mut confirms: Vec<Confirm> = next.confirms.drain(..count).collect();
            let mut ranges = Vec::with_capacity(confirms.len());
            confirms.iter().for_each(|c| merge_into(&mut ranges, c.range.clone()));
            confirms.sort_by_key(|c| (c.range.subscription, c.range.first_delivery));
            if !confirms.is_empty() {
                self.awaiting.insert(self.sequence + 1, confirms);
            }
            (ranges, true)
        } else {
            let mut ranges = merge(std::mem::take(&mut next.plain));
            let count = fitting(ranges.iter());
            if ranges.len() > count {
                next.plain = ranges.split_off(count);
            }
            (ranges, false)
        };
        if ranges.is_empty() {
            return None;
        }
        self.sequence += 1;
        let frame = Settle { sequence: self.sequence, ranges, confirm };
        self.sent.push_back(frame.clone());
        self.resend = self.sent.len();
        Some(frame)
    }

    fn processed(&mut self, through: u64) {
        while self.sent.front().is_some_and(|f| f.sequence <= through) {
            self.sent.pop_front();
            self.resend = self.resend.saturating_sub(1);
        }
    }

    /// Takes the gateway's word.
    ///
    /// # Errors
    /// The sentence about a frame that was never sent.
    pub(super) fn settled(&mut self, settled: &Settled) -> Result<Vec<Confirmed>, String> {
        if settled.through > self.sequence {
            return Err(format!(
                "settle frame {} is confirmed, the last one sent is {}",
                settled.through, self.sequence
            ));
        }
        self.processed(settled.through);
        let mut done = Vec::new();
        for result in &settled.results {
            self.result(result, &mut done);
        }
        Ok(done)
    }

    fn result(&mut self, result: &SettleResult, done: &mut Vec<Confirmed>) {
        let Some(confirms) = self.awaiting.get_mut(&result.sequence) else {
            return;
        };
        let (from, to) = (result.first_delivery, result.first_delivery.saturating_add(u64::from(result.count)));
        confirms.retain_mut(|confirm| {
            let range = &confirm.range;
            let (first, end) = (range.first_delivery, range.first_delivery.saturating_add(u64::from(range.count)));
            if range.subscription != result.subscription || end <= from || first >= to {
                return true;
            }
            let answered = u32::try_from(end.min(to) - first.max(from)).unwrap_or(u32::MAX);
            confirm.left = confirm.left.saturating_sub(answered);
            if result.code != 0 {
                confirm.code = result.code;
            }
            if confirm.left > 0 {
                return true;
            }
            let (subscription, kind) = (range.subscription, range.kind);
            let (code, boundary) = (confirm.code, result.next_delivery);
            done.extend(confirm.token.map(|token| Confirmed { token, subscription, kind, code, boundary }));
            false
        });
        if confirms.is_empty() {
            self.awaiting.remove(&result.sequence);
        }
    }

    /// The session goes on and has processed the frames up to `through`: the
    /// others are sent again unchanged. An answer that was lost on the way is
    /// asked for anew; the same settle again is answered as the first was.
    pub(super) fn resumed(&mut self, through: u64) {
        self.processed(through);
        self.resend = 0;
        let lost = self.awaiting.range(..=through).map(|(s, _)| *s).collect::<Vec<_>>();
        for sequence in lost {
            for mut confirm in self.awaiting.remove(&sequence).unwrap_or_default() {
                confirm.left = confirm.range.count;
                self.last_given.confirm(confirm);
            }
        }
    }

    /// Plain acks and rejects of each subscription that the gateway may not have processed.
    pub(super) fn unheard(&self) -> BTreeMap<u32, u64> {
        let given = self.earlier.iter().chain([&self.last_given]).flat_map(|waiting| &waiting.plain);
        let sent = self.sent.iter().filter(|frame| !frame.confirm).flat_map(|frame| &frame.ranges);
        let mut unheard = BTreeMap::new();
        for range in sent.chain(given).filter(|range| matches!(range.kind, SettleKind::Ack | SettleKind::Reject)) {
            *unheard.entry(range.subscription).or_default() += u64::from(range.count);
        }
        unheard
    }

    /// The session is gone: gives the tokens nobody will answer and how many
    /// plain settles were dropped.
    pub(super) fn lost(&mut self) -> (Vec<u64>, u64) {
        let gone = std::mem::take(self);
        let (plain, confirms): (Vec<_>, Vec<_>) =
            gone.earlier.into_iter().chain([gone.last_given]).map(|w| (w.plain, w.confirms)).unzip();
        let unsent = plain.iter().flatten();
        let unsent = unsent.chain(gone.sent.iter().filter(|f| !f.confirm).flat_map(|f| &f.ranges));
        let dropped = unsent.map(|r| u64::from(r.count)).sum();
        let confirms = confirms.into_iter().flatten().chain(gone.awaiting.into_values().flatten());
        (confirms.filter_map(|c| c.token).collect(), dropped)
    }
}
