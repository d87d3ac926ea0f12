//! Delays and expiries as bytes, in operations and in the checkpoint.
//! Layouts: docs/log-format.md.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut as _, BytesMut};
use meshwire_proto::UnixMillis;

use super::format::FormatError;
use crate::store::{Delay, DelayChange, Expiries, Position, Times, TopicId};

pub(super) const DELAYS: u8 = 12;
pub(super) const EXPIRES: u8 = 13;

/// Bytes of a change at most.
pub(super) const CHANGE: usize = 9 + DELAY;
const DELAY: usize = 28;

const CUT: FormatError = FormatError::Damaged("delays are cut short");

/// What the log knows of times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimesFold {
    /// Events that wait, by the topic they wait in.
    pub delays: BTreeMap<TopicId, BTreeMap<Position, Delay>>,
    /// Events that expire, by topic.
    pub expiries: BTreeMap<TopicId, Expiries>,
}

impl TimesFold {
    /// Adds one operation; `now` is its topic's time.
    pub(super) fn apply(&mut self, times: &Times, now: UnixMillis) {
        match times {
            Times::Delays { topic, changes } => {
                let delays = self.delays.entry(*topic).or_default();
                for (position, change) in changes {
                    match change {
                        DelayChange::Waits(delay) => drop(delays.insert(*position, *delay)),
                        DelayChange::Released => drop(delays.remove(position)),
                    }
                }
                if delays.is_empty() {
                    self.delays.remove(topic);
                }
            }
            Times::Expires { topic, first, count, at } => {
                self.expiries.entry(*topic).or_default().add(*first, *count, *at, now);
            }
        }
    }

    /// A topic is no more.
    pub(super) fn forget(&mut self, topic: TopicId) {
        self.delays.remove(&topic);
        self.expiries.remove(&topic);
    }

    /// The first of the events that wait in a topic.
    pub(super) fn first_waiting(&self, topic: TopicId) -> Option<Position> {
        self.delays.get(&topic)?.first_key_value().map(|(position, _)| *position)
    }

    /// Retention has taken everything of a topic below `first`.
    pub(super) fn retain_from(&mut self, topic: TopicId, first: Position) {
        if let Some(expiries) = self.expiries.get_mut(&topic) {
            expiries.forget_below(first);
            if expiries.is_empty() {
                self.expiries.remove(&topic);
            }
        }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        out.put_u32_le(self.delays.len() as u32);
        for (topic, delays) in &self.delays {
            out.put_u32_le(topic.0);
            out.put_u32_le(delays.len() as u32);
            for (position, delay) in delays {
                out.put_u64_le(*position);
                put_delay(out, delay);
            }
        }
        out.put_u32_le(self.expiries.len() as u32);
        for (topic, expiries) in &self.expiries {
            out.put_u32_le(topic.0);
            out.put_u32_le(expiries.len() as u32);
            for (first, count, at) in expiries.iter() {
                out.put_u64_le(first);
                out.put_u64_le(count);
                out.put_i64_le(at.0);
            }
        }
    }

    /// Reads what [`TimesFold::put`] wrote; `None` when it is cut short.
    pub(super) fn read(rest: &mut &[u8]) -> Option<Self> {
        let mut times = Self::default();
        for _ in 0..rest.try_get_u32_le().ok()? {
            let delays = times.delays.entry(TopicId(rest.try_get_u32_le().ok()?)).or_default();
            for _ in 0..rest.try_get_u32_le().ok()? {
                delays.insert(rest.try_get_u64_le().ok()?, read_delay(rest)?);
            }
        }
        for _ in 0..rest.try_get_u32_le().ok()? {
            let expiries = times.expiries.entry(TopicId(rest.try_get_u32_le().ok()?)).or_default();
            for _ in 0..rest.try_get_u32_le().ok()? {
                let (first, count) = (rest.try_get_u64_le().ok()?, rest.try_get_u64_le().ok()?);
                expiries.restore(first, count, UnixMillis(rest.try_get_i64_le().ok()?));
            }
        }
        Some(times)
    }
}

fn put_delay(out: &mut BytesMut, delay: &Delay) {
    out.put_i64_le(delay.due.0);
    out.put_u64_le(delay.delay_ms);
    out.put_u64_le(delay.expires_in_ms);
    out.put_u32_le(delay.len);
}

fn read_delay(rest: &mut &[u8]) -> Option<Delay> {
    Some(Delay {
        due: UnixMillis(rest.try_get_i64_le().ok()?),
        delay_ms: rest.try_get_u64_le().ok()?,
        expires_in_ms: rest.try_get_u64_le().ok()?,
        len: rest.try_get_u32_le().ok()?,
    })
}

pub(super) fn put(out: &mut BytesMut, times: &Times) {
    match times {
        Times::Delays { topic, changes } => {
            out.put_slice(&[DELAYS, 0]);
            out.put_u32_le(topic.0);
            out.put_u32_le(changes.len() as u32);
            for (position, change) in changes {
                out.put_u64_le(*position);
                match change {
                    DelayChange::Waits(delay) => {
                        out.put_u8(0);
                        put_delay(out, delay);
                    }
                    DelayChange::Released => out.put_u8(1),
                }
            }
        }
        Times::Expires { topic, first, count, at } => {
            out.put_slice(&[EXPIRES, 0]);
            out.put_u32_le(topic.0);
            out.put_u64_le(*first);
            out.put_u32_le(*count);
            out.put_i64_le(at.0);
        }
    }
}

/// Reads the fields behind kind and flags.
pub(super) fn read(kind: u8, rest: &mut &[u8]) -> Result<Times, FormatError> {
    let topic = TopicId(rest.try_get_u32_le().map_err(|_| CUT)?);
    if kind == DELAYS {
        return read_changes(topic, rest);
    }
    let expires = |rest: &mut &[u8]| {
        let (first, count) = (rest.try_get_u64_le().ok()?, rest.try_get_u32_le().ok()?);
        Some((first, count, UnixMillis(rest.try_get_i64_le().ok()?)))
    };
    let (first, count, at) = expires(rest).ok_or(CUT)?;
    if first.checked_add(u64::from(count)).is_none() {
        return Err(FormatError::Damaged("a position is out of range"));
    }
    Ok(Times::Expires { topic, first, count, at })
}

fn read_changes(topic: TopicId, rest: &mut &[u8]) -> Result<Times, FormatError> {
    let mut changes = Vec::new();
    for _ in 0..rest.try_get_u32_le().map_err(|_| CUT)? {
        let position = rest.try_get_u64_le().map_err(|_| CUT)?;
        let change = match rest.try_get_u8().map_err(|_| CUT)? {
            0 => DelayChange::Waits(read_delay(rest).ok_or(CUT)?),
            1 => DelayChange::Released,
            other => return Err(FormatError::Newer(format!("change {other} of a delayed event"))),
        };
        changes.push((position, change));
    }
    Ok(Times::Delays { topic, changes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    const DELAY: Delay = Delay { due: UnixMillis(70), delay_ms: 9, expires_in_ms: 5, len: 100 };

    fn all() -> [Times; 3] {
        let topic = TopicId(4).delayed();
        let waits = |position| (position, DelayChange::Waits(DELAY));
        [
            Times::Delays { topic, changes: vec![waits(1), waits(2), waits(3)] },
            Times::Delays { topic, changes: vec![(2, DelayChange::Released)] },
            Times::Expires { topic: TopicId(4), first: 7, count: 3, at: UnixMillis(-9) },
        ]
    }

    #[test]
    fn times_are_read_as_they_were_written_and_any_cut_is_an_error() {
        for times in all() {
            let mut out = BytesMut::new();
            put(&mut out, &times);
            assert_eq!(read(out[0], &mut &out[2..]).unwrap(), times);
            assert!(out.len() <= 10 + 3 * CHANGE);
            for len in 2..out.len() {
                read(out[0], &mut &out[2..len]).unwrap_err();
            }
            for bit in 16..out.len() * 8 {
                let mut bytes = out.clone();
                bytes[bit / 8] ^= 1 << (bit % 8);
                let _ = read(bytes[0], &mut &bytes[2..]);
            }
        }
    }

    #[test]
    fn the_fold_of_times_is_read_as_it_was_written_and_forgets_what_is_over() {
        let mut fold = TimesFold::default();
        all().iter().for_each(|times| fold.apply(times, UnixMillis(0)));
        let delayed = TopicId(4).delayed();
        assert_eq!(fold.first_waiting(delayed), Some(1));
        let mut out = BytesMut::new();
        fold.put(&mut out);
        assert_eq!(TimesFold::read(&mut &out[..]).as_ref(), Some(&fold));
        for len in 0..out.len() {
            assert_eq!(TimesFold::read(&mut &out[..len]), None);
        }
        fold.retain_from(TopicId(4), 10);
        let changes = vec![(1, DelayChange::Released), (3, DelayChange::Released)];
        fold.apply(&Times::Delays { topic: delayed, changes }, UnixMillis(0));
        assert_eq!(fold, TimesFold::default());
    }
}
