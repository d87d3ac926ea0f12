//! Operations as bytes.

use bytes::{BufMut as _, BytesMut};
use meshwire_proto::{GroupKey, TopicName};

use super::{
    APPEND, AppendHead, FAILURE, GRAVES, GROUP, GROUP_GONE, LIMITS, MARK, MEMBER, Mark, RANGE, REASONS, SEEK, SETTLE,
    TOPIC, TOPIC_GONE,
};
use crate::store::{Change, Durability, GroupId, GroupSettings, Limits, Outcome, Position, TopicId};

pub(in crate::store::log) fn put_topic(
    out: &mut BytesMut,
    topic: TopicId,
    name: &TopicName,
    level: Durability,
    retention_ms: u64,
) {
    out.put_slice(&[TOPIC, 0]);
    out.put_u32_le(topic.0);
    out.put_u8(match level {
        Durability::Memory => 0,
        Durability::Written => 1,
        Durability::Synced => 2,
    });
    out.put_u64_le(retention_ms);
    put_name(out, name.as_str());
}

pub(in crate::store::log) fn put_group(
    out: &mut BytesMut,
    (topic, group): (TopicId, GroupId),
    name: &GroupKey,
    start: Position,
    settings: &GroupSettings,
) {
    out.put_slice(&[if name.member.is_some() { MEMBER } else { GROUP }, 0]);
    out.put_u32_le(topic.0);
    out.put_u32_le(group.0);
    out.put_u64_le(start);
    put_key(out, name);
    let settings = settings.encode();
    out.put_u16_le(settings.len() as u16);
    out.put_slice(&settings);
}

/// A name has at most 120 bytes.
fn put_name(out: &mut BytesMut, name: &str) {
    out.put_u8(name.len() as u8);
    out.put_slice(name.as_bytes());
}

fn put_key(out: &mut BytesMut, key: &GroupKey) {
    put_name(out, key.group.as_str());
    if let Some(member) = &key.member {
        put_name(out, member.as_str());
    }
}

/// Everything of an append but the bytes that must follow. At most 65,535 marks.
pub(in crate::store::log) fn put_append(out: &mut BytesMut, head: &AppendHead, marks: &[Mark]) {
    out.reserve(append_head_len(marks.len()));
    out.put_slice(&[APPEND, 0]);
    out.put_u16_le(marks.len() as u16);
    out.put_u32_le(head.topic.0);
    out.put_u64_le(head.first);
    out.put_i64_le(head.stored.0);
    for value in [head.count, 0, head.len, head.crc] {
        out.put_u32_le(value);
    }
    for mark in marks {
        out.put_slice(&mark.producer);
        out.put_u32_le(mark.epoch);
        out.put_u32_le(mark.count);
        out.put_u64_le(mark.first_sequence);
        out.put_u64_le(mark.answered_through);
    }
}

/// Bytes that [`put_append`] writes.
pub(in crate::store::log) const fn append_head_len(marks: usize) -> usize {
    40 + marks * MARK
}

pub(in crate::store::log) fn put_settle(
    out: &mut BytesMut,
    topic: TopicId,
    group: GroupId,
    ranges: &[(Position, u32, Outcome)],
) {
    out.reserve(14 + ranges.len() * (RANGE + FAILURE));
    out.put_slice(&[SETTLE, 0]);
    out.put_u32_le(topic.0);
    out.put_u32_le(group.0);
    out.put_u32_le(ranges.len() as u32);
    for (first, count, outcome) in ranges {
        out.put_u64_le(*first);
        out.put_u32_le(*count);
        let (number, failed) = match *outcome {
            Outcome::Acked => (0, None),
            Outcome::Failed { at, delay_ms } => (1, Some((at, delay_ms))),
            Outcome::Lost { at } => (2, Some((at, 0))),
            Outcome::Rejected { at } => (3, Some((at, 0))),
        };
        out.put_u8(number);
        if let Some((at, delay_ms)) = failed {
            out.put_i64_le(at.0);
            out.put_u32_le(delay_ms);
        }
    }
}

pub(in crate::store::log) fn put_graves(out: &mut BytesMut, topic: TopicId, changes: &[(Position, Change)]) {
    out.put_slice(&[GRAVES, 0]);
    out.put_u32_le(topic.0);
    out.put_u32_le(changes.len() as u32);
    for (position, change) in changes {
        out.put_u64_le(*position);
        match change {
            Change::Buried(grave) => {
                out.put_u8(match (grave.group.member.is_some(), grave.holds) {
                    (false, true) => 0,
                    (true, true) => 3,
                    (false, false) => 4,
                    (true, false) => 5,
                });
                out.put_u64_le(grave.key);
                put_key(out, &grave.group);
            }
            Change::Redriven => out.put_u8(1),
            Change::Gone => out.put_u8(2),
        }
    }
}

pub(in crate::store::log) fn put_reasons(
    out: &mut BytesMut,
    topic: TopicId,
    group: GroupId,
    reasons: &[(Position, String)],
) {
    out.put_slice(&[REASONS, 0]);
    out.put_u32_le(topic.0);
    out.put_u32_le(group.0);
    out.put_u32_le(reasons.len() as u32);
    for (position, said) in reasons {
        out.put_u64_le(*position);
        put_text(out, said);
    }
}

/// As much of a text as its length can say: the engine keeps less.
pub(in crate::store::log) fn put_text(out: &mut BytesMut, text: &str) {
    let text = text.get(..text.floor_char_boundary(usize::from(u16::MAX))).unwrap_or_default();
    out.put_u16_le(text.len() as u16);
    out.put_slice(text.as_bytes());
}

pub(in crate::store::log) fn put_group_gone(out: &mut BytesMut, topic: TopicId, group: GroupId) {
    out.put_slice(&[GROUP_GONE, 0]);
    out.put_u32_le(topic.0);
    out.put_u32_le(group.0);
}

pub(in crate::store::log) fn put_seek(out: &mut BytesMut, topic: TopicId, group: GroupId, to: Position) {
    out.put_slice(&[SEEK, 0]);
    out.put_u32_le(topic.0);
    out.put_u32_le(group.0);
    out.put_u64_le(to);
}

pub(in crate::store::log) fn put_topic_gone(out: &mut BytesMut, topic: TopicId) {
    out.put_slice(&[TOPIC_GONE, 0]);
    out.put_u32_le(topic.0);
}

pub(in crate::store::log) fn put_limits(out: &mut BytesMut, topic: TopicId, limits: Limits) {
    out.put_slice(&[LIMITS, 0]);
    out.put_u32_le(topic.0);
    out.put_u64_le(limits.bytes);
    out.put_u8(limits.block.into());
}
