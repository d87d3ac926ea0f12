//! The fold as a file. Layout: docs/log-format.md.

use std::collections::BTreeMap;

use bytes::{Buf, BufMut as _, Bytes, BytesMut};
use meshwire_proto::{GroupKey, GroupName, MemberName, TopicName, UnixMillis};

use super::fold::{Fold, GroupState, TopicState};
use super::format::{FILE_HEADER, FormatError, seal, unseal};
use super::ops::{put_text, text};
use super::producers::{ProducerState, Producers};
use super::ranges::RangeSet;
use super::segment::{Sealed, Span};
use super::times::TimesFold;
use crate::store::{Durability, Failure, Grave, GroupId, GroupSettings, Limits, TopicId};

const MAGIC: &[u8; 8] = b"MESHWCKP";
/// The file's header, and the length of what follows.
const HEADER: usize = FILE_HEADER + 8;

/// What follows the segments is in sections: u8 what, u32 length, bytes. Checkpoints without them are older.
const IDS: u8 = 1;
const LIMITS: u8 = 2;
const REASONS: u8 = 3;

/// What a checkpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) epoch: u64,
    pub(super) fold: Fold,
    /// Number of the first segment that was not sealed.
    pub(super) open_segment: u64,
    /// The batch it begins with.
    pub(super) open_batch: u64,
    pub(super) sealed: BTreeMap<u64, Sealed>,
}

impl Checkpoint {
    /// What holds where there is none.
    pub(super) fn none() -> Self {
        Self { epoch: 0, fold: Fold::default(), open_segment: 0, open_batch: 1, sealed: BTreeMap::new() }
    }
}

/// `open` is the segment that is not sealed, and the batch it begins with.
pub(super) fn encode(fold: &Fold, epoch: u64, open: (u64, u64), sealed: &BTreeMap<u64, Sealed>) -> Bytes {
    let mut out = BytesMut::with_capacity(1024);
    // Header and length are set when the payload is there.
    out.put_bytes(0, HEADER);
    for value in [fold.batch, epoch, open.0, open.1] {
        out.put_u64_le(value);
    }
    put_fold(&mut out, fold);
    out.put_u32_le(sealed.len() as u32);
    for segment in sealed.values() {
        put_sealed(&mut out, segment);
    }
    put_section(&mut out, IDS, |out| {
        out.put_u32_le(fold.next.0);
        out.put_u32_le(fold.next.1);
    });
    put_section(&mut out, LIMITS, |out| {
        for (id, topic) in fold.topics.iter().filter(|(_, topic)| topic.limits != Limits::default()) {
            out.put_u32_le(id.0);
            out.put_u64_le(topic.limits.bytes);
            out.put_u8(topic.limits.block.into());
        }
    });
    put_reasons(&mut out, fold);
    let payload = out.split_off(HEADER);
    out.truncate(FILE_HEADER);
    out.put_u64_le(payload.len() as u64);
    out.unsplit(payload);
    seal(out, MAGIC)
}

/// Only if there are some: older programs read a checkpoint without.
fn put_reasons(out: &mut BytesMut, fold: &Fold) {
    let failures = fold.groups.iter().flat_map(|(id, group)| group.failures.iter().map(move |failure| (id, failure)));
    let mut reasons = failures.filter(|(_, (_, failure))| !failure.said.is_empty()).peekable();
    if reasons.peek().is_some() {
        put_section(out, REASONS, |out| {
            for (id, (position, failure)) in reasons {
                out.put_u32_le(id.0);
                out.put_u64_le(*position);
                put_text(out, &failure.said);
            }
        });
    }
}

fn put_section(out: &mut BytesMut, what: u8, put: impl FnOnce(&mut BytesMut)) {
    let mut section = BytesMut::new();
    put(&mut section);
    out.put_u8(what);
    out.put_u32_le(section.len() as u32);
    out.put_slice(&section);
}

fn put_name(out: &mut BytesMut, name: &str) {
    out.put_u8(name.len() as u8);
    out.put_slice(name.as_bytes());
}

/// A group's name, and that of its member: empty for the group itself.
fn put_key(out: &mut BytesMut, key: &GroupKey) {
    put_name(out, key.group.as_str());
    put_name(out, key.member.as_ref().map_or("", MemberName::as_str));
}

fn put_ranges(out: &mut BytesMut, ranges: &RangeSet) {
    out.put_u32_le(ranges.len() as u32);
    for (first, next) in ranges.iter() {
        out.put_u64_le(first);
        out.put_u64_le(next);
    }
}

fn put_fold(out: &mut BytesMut, fold: &Fold) {
    out.put_u32_le(fold.topics.len() as u32);
    for (id, topic) in &fold.topics {
        out.put_u32_le(id.0);
        out.put_u8(topic.durability as u8);
        for value in [topic.retention_ms, topic.first, topic.next, topic.stored.0 as u64] {
            out.put_u64_le(value);
        }
        put_name(out, topic.name.as_str());
        out.put_u32_le(topic.graves.len() as u32);
        for (position, grave) in &topic.graves {
            out.put_u64_le(*position);
            out.put_u64_le(grave.key);
            out.put_u8(u8::from(grave.redriven) | u8::from(!grave.holds) << 1);
            put_key(out, &grave.group);
        }
    }
    out.put_u32_le(fold.groups.len() as u32);
    for (id, group) in &fold.groups {
        out.put_u32_le(id.0);
        out.put_u32_le(group.topic.0);
        out.put_u64_le(group.floor);
        put_key(out, &group.name);
        let settings = group.settings.encode();
        out.put_u16_le(settings.len() as u16);
        out.put_slice(&settings);
        put_ranges(out, &group.acked);
        out.put_u32_le(group.failures.len() as u32);
        for (position, failure) in &group.failures {
            out.put_u64_le(*position);
            put_failure(out, failure);
        }
    }
    out.put_i64_le(fold.producers.next_sweep.0);
    out.put_u32_le(fold.producers.known.len() as u32);
    for (id, producer) in &fold.producers.known {
        out.put_slice(id);
        out.put_u32_le(producer.epoch);
        out.put_u64_le(producer.answered_through);
        out.put_i64_le(producer.seen.0);
        put_ranges(out, &producer.kept);
    }
    fold.times.put(out);
}

fn put_failure(out: &mut BytesMut, failure: &Failure) {
    for value in [failure.count, failure.lost, failure.delay_ms] {
        out.put_u32_le(value);
    }
    out.put_i64_le(failure.first.0);
    out.put_i64_le(failure.last.0);
    out.put_u8(failure.rejected.into());
}

fn put_sealed(out: &mut BytesMut, s: &Sealed) {
    for value in [s.number, s.generation, s.first_batch, s.next_batch, s.len, s.used, s.events] {
        out.put_u64_le(value);
    }
    out.put_u32_le(s.spans.len() as u32);
    for span in &s.spans {
        out.put_u32_le(span.topic.0);
        for value in [span.first, span.next, span.stored.0 as u64, span.bytes] {
            out.put_u64_le(value);
        }
    }
}

/// Reads fields; what is missing is damage.
struct Fields<'a>(&'a [u8]);

const CUT: FormatError = FormatError::Damaged("checkpoint is cut short");

impl<'a> Fields<'a> {
    fn u8(&mut self) -> Result<u8, FormatError> {
        self.0.try_get_u8().map_err(|_| CUT)
    }

    fn u32(&mut self) -> Result<u32, FormatError> {
        self.0.try_get_u32_le().map_err(|_| CUT)
    }

    fn u64(&mut self) -> Result<u64, FormatError> {
        self.0.try_get_u64_le().map_err(|_| CUT)
    }

    fn time(&mut self) -> Result<UnixMillis, FormatError> {
        self.0.try_get_i64_le().map(UnixMillis).map_err(|_| CUT)
    }

    fn name(&mut self) -> Result<&'a str, FormatError> {
        let len = usize::from(self.u8()?);
        let (name, rest) = self.0.split_at_checked(len).ok_or(CUT)?;
        self.0 = rest;
        std::str::from_utf8(name).map_err(|_| FormatError::Damaged("a name in the checkpoint is not UTF-8"))
    }

    fn ranges(&mut self) -> Result<RangeSet, FormatError> {
        let mut set = RangeSet::default();
        for _ in 0..self.u32()? {
            set.insert(self.u64()?, self.u64()?);
        }
        Ok(set)
    }

    fn topic(&mut self) -> Result<(TopicId, TopicState), FormatError> {
        let id = TopicId(self.u32()?);
        let durability = match self.u8()? {
            0 => Durability::Memory,
            1 => Durability::Written,
            2 => Durability::Synced,
            other => return Err(FormatError::Newer(format!("durability {other}"))),
        };
        let (retention_ms, first, next, stored) = (self.u64()?, self.u64()?, self.u64()?, self.time()?);
        let name =
            TopicName::parse(self.name()?).map_err(|_| FormatError::Damaged("a topic name in the checkpoint"))?;
        let mut graves = BTreeMap::new();
        for _ in 0..self.u32()? {
            graves.insert(self.u64()?, self.grave()?);
        }
        Ok((id, TopicState { name, durability, retention_ms, limits: Limits::default(), first, next, stored, graves }))
    }

    fn grave(&mut self) -> Result<Grave, FormatError> {
        let (key, is) = (self.u64()?, self.u8()?);
        Ok(Grave { group: self.key()?, key, holds: is & 2 == 0, redriven: is & 1 != 0 })
    }

    fn key(&mut self) -> Result<GroupKey, FormatError> {
        let group =
            GroupName::parse(self.name()?).map_err(|_| FormatError::Damaged("a group name in the checkpoint"))?;
        let member = Some(self.name()?).filter(|name| !name.is_empty()).map(MemberName::parse).transpose();
        Ok(GroupKey { group, member: member.map_err(|_| FormatError::Damaged("a member name in the checkpoint"))? })
    }

    fn group(&mut self) -> Result<(GroupId, GroupState), FormatError> {
        let (id, topic, floor) = (GroupId(self.u32()?), TopicId(self.u32()?), self.u64()?);
        let name = self.key()?;
        let len = self.0.try_get_u16_le().map_err(|_| CUT)?;
        let (settings, rest) = self.0.split_at_checked(usize::from(len)).ok_or(CUT)?;
        self.0 = rest;
        let settings = GroupSettings::decode(settings)
            .ok_or_else(|| FormatError::Newer(format!("settings of group {name} in the checkpoint")))?;
        let acked = self.ranges()?;
        let mut failures = BTreeMap::new();
        for _ in 0..self.u32()? {
            failures.insert(self.u64()?, self.failure()?);
        }
        Ok((id, GroupState { topic, name, settings, floor, acked, failures }))
    }

    fn failure(&mut self) -> Result<Failure, FormatError> {
        Ok(Failure {
            count: self.u32()?,
            lost: self.u32()?,
            delay_ms: self.u32()?,
            first: self.time()?,
            last: self.time()?,
            rejected: self.u8()? != 0,
            said: String::new(),
        })
    }

    fn producers(&mut self) -> Result<Producers, FormatError> {
        let mut producers = Producers { next_sweep: self.time()?, ..Producers::default() };
        for _ in 0..self.u32()? {
            let mut id = [0; 16];
            self.0.try_copy_to_slice(&mut id).map_err(|_| CUT)?;
            let (epoch, answered_through, seen) = (self.u32()?, self.u64()?, self.time()?);
            producers.known.insert(id, ProducerState { epoch, answered_through, seen, kept: self.ranges()? });
        }
        Ok(producers)
    }

    fn fold(&mut self, batch: u64) -> Result<Fold, FormatError> {
        let mut fold = Fold { batch, ..Fold::default() };
        for _ in 0..self.u32()? {
            fold.topics.extend([self.topic()?]);
        }
        for _ in 0..self.u32()? {
            let (id, group) = self.group()?;
            fold.names.insert((group.topic.number(), group.name.clone()), id);
            fold.groups.insert(id, group);
        }
        fold.producers = self.producers()?;
        fold.times = TimesFold::read(&mut self.0).ok_or(CUT)?;
        Ok(fold)
    }

    fn sealed(&mut self) -> Result<Sealed, FormatError> {
        let mut segment = Sealed {
            number: self.u64()?,
            generation: self.u64()?,
            first_batch: self.u64()?,
            next_batch: self.u64()?,
            len: self.u64()?,
            used: self.u64()?,
            events: self.u64()?,
            spans: Vec::new(),
        };
        for _ in 0..self.u32()? {
            segment.spans.push(Span {
                topic: TopicId(self.u32()?),
                first: self.u64()?,
                next: self.u64()?,
                stored: self.time()?,
                bytes: self.u64()?,
            });
        }
        Ok(segment)
    }
}

/// Reads the sections at the end into a fold.
fn sections(fields: &mut Fields<'_>, fold: &mut Fold) -> Result<(), FormatError> {
    while !fields.0.is_empty() {
        let (what, len) = (fields.u8()?, fields.u32()?);
        let (section, rest) = fields.0.split_at_checked(len as usize).ok_or(CUT)?;
        fields.0 = rest;
        let mut section = Fields(section);
        match what {
            IDS => fold.next = (section.u32()?, section.u32()?),
            LIMITS => {
                while !section.0.is_empty() {
                    let (id, bytes, block) = (TopicId(section.u32()?), section.u64()?, section.u8()? != 0);
                    if let Some(topic) = fold.topics.get_mut(&id) {
                        topic.limits = Limits { bytes, block };
                    }
                }
            }
            REASONS => {
                while !section.0.is_empty() {
                    let (group, position) = (GroupId(section.u32()?), section.u64()?);
                    fold.give_reasons(group, std::iter::once((position, text(&mut section.0)?)));
                }
            }
            _ => return Err(FormatError::Newer(format!("section {what} of the checkpoint"))),
        }
        if !section.0.is_empty() {
            return Err(FormatError::Newer(format!(
                "{} more bytes in section {what} of the checkpoint",
                section.0.len()
            )));
        }
    }
    Ok(())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, FormatError> {
    let mut fields = Fields(unseal(bytes, MAGIC, "checkpoint")?);
    if fields.u64()? != fields.0.len() as u64 {
        return Err(CUT);
    }
    let (batch, epoch, open_segment, open_batch) = (fields.u64()?, fields.u64()?, fields.u64()?, fields.u64()?.max(1));
    let mut fold = fields.fold(batch)?;
    let mut sealed = BTreeMap::new();
    for _ in 0..fields.u32()? {
        let segment = fields.sealed()?;
        sealed.insert(segment.number, segment);
    }
    sections(&mut fields, &mut fold)?;
    Ok(Checkpoint { epoch, fold, open_segment, open_batch, sealed })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;
    use crate::store::log::ops::Mark;
    use crate::store::{Delay, DelayChange, Times};

    fn checkpoint() -> Checkpoint {
        let mut fold = Fold { batch: 77, next: (9, 4), ..Fold::default() };
        let name = TopicName::parse("orders").unwrap();
        let topic = TopicState {
            name,
            durability: Durability::Synced,
            retention_ms: 5,
            limits: Limits { bytes: 99, block: true },
            first: 3,
            next: 10,
            stored: UnixMillis(99),
            graves: BTreeMap::from([(
                4,
                Grave { group: GroupKey::parse("g/m").unwrap(), key: 3, holds: false, redriven: true },
            )]),
        };
        fold.topics.insert(TopicId(2), topic);
        let mut acked = RangeSet::default();
        acked.insert(6, 8);
        let name = GroupKey::parse("billing/m1").unwrap();
        let failure = Failure { count: 3, lost: 1, first: UnixMillis(5), last: UnixMillis(9), ..Failure::default() };
        let failures = BTreeMap::from([(5, Failure { delay_ms: 70, rejected: true, ..failure })]);
        let settings = GroupSettings { max_failures: 9, ..GroupSettings::default() };
        fold.names.insert((2, name.clone()), GroupId(1));
        fold.groups.insert(GroupId(1), GroupState { topic: TopicId(2), name, settings, floor: 4, acked, failures });
        let mark = Mark { producer: [7; 16], epoch: 1, count: 2, first_sequence: 5, answered_through: 2 };
        fold.producers.add(&mark, UnixMillis(99));
        let delay = Delay { due: UnixMillis(500), delay_ms: 400, expires_in_ms: 3, len: 90 };
        let changes = vec![(8, DelayChange::Waits(delay))];
        fold.times.apply(&Times::Delays { topic: TopicId(2).delayed(), changes }, UnixMillis(99));
        let expires = Times::Expires { topic: TopicId(2), first: 5, count: 3, at: UnixMillis(700) };
        fold.times.apply(&expires, UnixMillis(99));
        let span = Span { topic: TopicId(2), first: 3, next: 10, stored: UnixMillis(99), bytes: 700 };
        let sealed = Sealed {
            number: 1,
            generation: 8,
            first_batch: 1,
            next_batch: 70,
            len: 4096,
            used: 4000,
            events: 7,
            spans: vec![span],
        };
        Checkpoint { epoch: 3, fold, open_segment: 2, open_batch: 70, sealed: BTreeMap::from([(1, sealed)]) }
    }

    #[test]
    fn a_checkpoint_is_read_as_it_was_written() {
        let c = checkpoint();
        assert_eq!(decode(&encode(&c.fold, c.epoch, (c.open_segment, c.open_batch), &c.sealed)), Ok(c));
    }

    /// The payload of a checkpoint, changed and sealed again.
    fn changed(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Bytes {
        let mut payload = bytes[HEADER..].to_vec();
        change(&mut payload);
        let mut out = BytesMut::new();
        out.put_bytes(0, FILE_HEADER);
        out.put_u64_le(payload.len() as u64);
        out.put_slice(&payload);
        seal(out, MAGIC)
    }

    #[test]
    fn one_without_sections_is_older_and_unknown_sections_are_newer() {
        let c = checkpoint();
        let bytes = encode(&c.fold, c.epoch, (c.open_segment, c.open_batch), &c.sealed);
        let older = decode(&changed(&bytes, |payload| payload.truncate(payload.len() - 13 - 18))).unwrap();
        let limits = older.fold.topics.values().next().unwrap().limits;
        assert_eq!((older.fold.next, limits), ((0, 0), Limits::default()));
        assert_eq!(older.fold.next_ids(), (TopicId(3), GroupId(2)));
        let newer = changed(&bytes, |payload| payload.extend([99, 0, 0, 0, 0]));
        assert_eq!(decode(&newer), Err(FormatError::Newer("section 99 of the checkpoint".to_owned())));
        let longer = changed(&bytes, |payload| {
            // Of the first one, whose length is behind its number.
            let at = payload.len() - 13 - 18;
            payload[at + 1] += 1;
            payload.insert(at + 13, 0);
        });
        assert!(matches!(decode(&longer), Err(FormatError::Newer(_))));
    }

    #[test]
    fn no_cut_and_no_flipped_bit_of_a_checkpoint_passes() {
        let c = checkpoint();
        let bytes = encode(&c.fold, c.epoch, (c.open_segment, c.open_batch), &c.sealed);
        for len in 0..bytes.len() {
            assert!(decode(&bytes[..len]).is_err(), "cut at {len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&bytes).is_err(), "bit {bit}");
        }
    }
}
