//! Operations as bytes. Layouts: docs/log-format.md.

use bytes::Buf;
use meshwire_proto::{GroupKey, GroupName, MemberName, TopicName, UnixMillis};

use super::format::FormatError;
use super::times::{self, DELAYS, EXPIRES};
use crate::store::{Change, Durability, Grave, GroupId, GroupSettings, Limits, Outcome, Position, Times, TopicId};

mod write;

pub(super) use write::{
    append_head_len, put_append, put_graves, put_group, put_group_gone, put_limits, put_reasons, put_seek, put_settle,
    put_text, put_topic, put_topic_gone,
};

const TOPIC: u8 = 1;
const GROUP: u8 = 2;
const APPEND: u8 = 3;
const SETTLE: u8 = 4;
const GRAVES: u8 = 5;
const GROUP_GONE: u8 = 6;
const SEEK: u8 = 7;
const MEMBER: u8 = 8;
const TOPIC_GONE: u8 = 10;
const LIMITS: u8 = 11;
/// 12 and 13 are those of [`times`].
const REASONS: u8 = 14;

const MARK: usize = 40;
/// A settled range; one that failed has [`FAILURE`] bytes more.
const RANGE: usize = 13;
const FAILURE: usize = 12;

/// Which sequences of a producer an append holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) producer: [u8; 16],
    pub(super) epoch: u32,
    pub(super) count: u32,
    pub(super) first_sequence: u64,
    pub(super) answered_through: u64,
}

/// The fields of an append but its events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct AppendHead {
    pub(super) topic: TopicId,
    pub(super) first: Position,
    pub(super) stored: UnixMillis,
    pub(super) count: u32,
    pub(super) len: u32,
    pub(super) crc: u32,
}

/// An operation read in place.
#[derive(Clone, Debug)]
pub(super) enum OpView<'a> {
    Topic { topic: TopicId, name: TopicName, durability: Durability, retention_ms: u64 },
    Group { topic: TopicId, group: GroupId, name: GroupKey, start: Position, settings: GroupSettings },
    Append { head: AppendHead, marks: Marks<'a> },
    Settle { topic: TopicId, group: GroupId, ranges: Ranges<'a> },
    Reasons { topic: TopicId, group: GroupId, reasons: Vec<(Position, &'a str)> },
    Graves { topic: TopicId, changes: Vec<(Position, Change)> },
    GroupGone { topic: TopicId, group: GroupId },
    Seek { topic: TopicId, group: GroupId, to: Position },
    Times(Times),
    TopicGone { topic: TopicId },
    Limits { topic: TopicId, limits: Limits },
}

/// Marks read one by one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks<'a>(&'a [u8]);

impl Iterator for Marks<'_> {
    type Item = Mark;

    fn next(&mut self) -> Option<Mark> {
        let mut producer = [0; 16];
        self.0.try_copy_to_slice(&mut producer).ok()?;
        Some(Mark {
            producer,
            epoch: self.0.try_get_u32_le().ok()?,
            count: self.0.try_get_u32_le().ok()?,
            first_sequence: self.0.try_get_u64_le().ok()?,
            answered_through: self.0.try_get_u64_le().ok()?,
        })
    }
}

/// Settled ranges read one by one; their outcomes were checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ranges<'a>(&'a [u8]);

impl Iterator for Ranges<'_> {
    type Item = (Position, u32, Outcome);

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.0.try_get_u64_le().ok()?;
        let count = self.0.try_get_u32_le().ok()?;
        let number = self.0.try_get_u8().ok()?;
        if number == 0 {
            return Some((first, count, Outcome::Acked));
        }
        let at = UnixMillis(self.0.try_get_i64_le().ok()?);
        let delay_ms = self.0.try_get_u32_le().ok()?;
        let outcome = match number {
            1 => Outcome::Failed { at, delay_ms },
            2 => Outcome::Lost { at },
            _ => Outcome::Rejected { at },
        };
        Some((first, count, outcome))
    }
}

const CUT: FormatError = FormatError::Damaged("an operation is cut short");

fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], FormatError> {
    let (taken, behind) = rest.split_at_checked(len).ok_or(CUT)?;
    *rest = behind;
    Ok(taken)
}

fn name<'a>(rest: &mut &'a [u8]) -> Result<&'a str, FormatError> {
    let len = rest.try_get_u8().map_err(|_| CUT)?;
    let bytes = take(rest, usize::from(len))?;
    std::str::from_utf8(bytes).map_err(|_| FormatError::Damaged("a name is not UTF-8"))
}

/// What a consumer said.
pub(super) fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, FormatError> {
    let len = rest.try_get_u16_le().map_err(|_| CUT)?;
    let bytes = take(rest, usize::from(len))?;
    std::str::from_utf8(bytes).map_err(|_| FormatError::Damaged("a reason is not UTF-8"))
}

/// The name of a group, with that of a member behind it or without.
fn key(rest: &mut &[u8], of_member: bool) -> Result<GroupKey, FormatError> {
    let group = GroupName::parse(name(rest)?).map_err(|_| FormatError::Damaged("a group name breaks the rule"))?;
    let member = of_member.then(|| name(rest)).transpose()?.map(MemberName::parse).transpose();
    Ok(GroupKey { group, member: member.map_err(|_| FormatError::Damaged("a member name breaks the rule"))? })
}

impl<'a> OpView<'a> {
    /// Reads one operation and moves `rest` behind it; behind an append's head its events follow.
    pub(super) fn decode(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let (kind, flags) = (rest.try_get_u8().map_err(|_| CUT)?, rest.try_get_u8().map_err(|_| CUT)?);
        if flags != 0 {
            return Err(FormatError::Newer(format!("flags {flags:#x} of operation kind {kind}")));
        }
        match kind {
            TOPIC => Self::read_topic(rest),
            GROUP | MEMBER => Self::read_group(rest, kind == MEMBER),
            APPEND => Self::read_append(rest),
            SETTLE => Self::read_settle(rest),
            REASONS => Self::read_reasons(rest),
            GRAVES => Self::read_graves(rest),
            GROUP_GONE => {
                let mut fixed = take(rest, 8)?;
                Ok(Self::GroupGone { topic: TopicId(fixed.get_u32_le()), group: GroupId(fixed.get_u32_le()) })
            }
            SEEK => {
                let mut fixed = take(rest, 16)?;
                let (topic, group) = (TopicId(fixed.get_u32_le()), GroupId(fixed.get_u32_le()));
                Ok(Self::Seek { topic, group, to: fixed.get_u64_le() })
            }
            TOPIC_GONE => Ok(Self::TopicGone { topic: TopicId(take(rest, 4)?.get_u32_le()) }),
            LIMITS => Self::read_limits(rest),
            DELAYS | EXPIRES => times::read(kind, rest).map(Self::Times),
            _ => Err(FormatError::Newer(format!("operation kind {kind}"))),
        }
    }

    fn read_topic(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 13)?;
        let topic = TopicId(fixed.get_u32_le());
        let durability = match fixed.get_u8() {
            0 => Durability::Memory,
            1 => Durability::Written,
            2 => Durability::Synced,
            other => return Err(FormatError::Newer(format!("durability {other}"))),
        };
        let retention_ms = fixed.get_u64_le();
        let name = TopicName::parse(name(rest)?).map_err(|_| FormatError::Damaged("a topic name breaks the rule"))?;
        Ok(Self::Topic { topic, name, durability, retention_ms })
    }

    fn read_limits(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 13)?;
        let (topic, bytes) = (TopicId(fixed.get_u32_le()), fixed.get_u64_le());
        match fixed.get_u8() {
            lagging @ (0 | 1) => Ok(Self::Limits { topic, limits: Limits { bytes, block: lagging == 1 } }),
            other => Err(FormatError::Newer(format!("lagging {other} of a topic"))),
        }
    }

    fn read_group(rest: &mut &'a [u8], of_member: bool) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 16)?;
        let (topic, group) = (TopicId(fixed.get_u32_le()), GroupId(fixed.get_u32_le()));
        let start = fixed.get_u64_le();
        let name = key(rest, of_member)?;
        let len = rest.try_get_u16_le().map_err(|_| CUT)?;
        let settings = GroupSettings::decode(take(rest, usize::from(len))?)
            .ok_or_else(|| FormatError::Newer(format!("settings of group {name}")))?;
        Ok(Self::Group { topic, group, name, start, settings })
    }

    fn read_append(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 38)?;
        let marks = usize::from(fixed.get_u16_le());
        let (topic, first) = (TopicId(fixed.get_u32_le()), fixed.get_u64_le());
        let (stored, count) = (UnixMillis(fixed.get_i64_le()), fixed.get_u32_le());
        let meta = fixed.get_u32_le();
        if meta != 0 {
            return Err(FormatError::Newer("meta of an append".to_owned()));
        }
        let head = AppendHead { topic, first, stored, count, len: fixed.get_u32_le(), crc: fixed.get_u32_le() };
        if first.checked_add(u64::from(count)).is_none() {
            return Err(FormatError::Damaged("a position is out of range"));
        }
        Ok(Self::Append { head, marks: Marks(take(rest, marks * MARK)?) })
    }

    fn read_settle(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 12)?;
        let (topic, group) = (TopicId(fixed.get_u32_le()), GroupId(fixed.get_u32_le()));
        let ranges = fixed.get_u32_le();
        let (before, mut bytes) = (*rest, 0);
        for _ in 0..ranges {
            let range = take(rest, RANGE)?;
            bytes += RANGE;
            match range.last() {
                Some(0) => {}
                Some(1..=3) => {
                    take(rest, FAILURE)?;
                    bytes += FAILURE;
                }
                other => {
                    return Err(FormatError::Newer(format!("outcome {other:?} of a settlement")));
                }
            }
        }
        Ok(Self::Settle { topic, group, ranges: Ranges(before.get(..bytes).ok_or(CUT)?) })
    }

    fn read_reasons(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 12)?;
        let (topic, group) = (TopicId(fixed.get_u32_le()), GroupId(fixed.get_u32_le()));
        let mut reasons = Vec::new();
        for _ in 0..fixed.get_u32_le() {
            reasons.push((rest.try_get_u64_le().map_err(|_| CUT)?, text(rest)?));
        }
        Ok(Self::Reasons { topic, group, reasons })
    }

    fn read_graves(rest: &mut &'a [u8]) -> Result<Self, FormatError> {
        let mut fixed = take(rest, 8)?;
        let (topic, count) = (TopicId(fixed.get_u32_le()), fixed.get_u32_le());
        let mut changes = Vec::new();
        for _ in 0..count {
            let mut change = take(rest, 9)?;
            let position = change.get_u64_le();
            let change = match change.get_u8() {
                what @ (0 | 3 | 4 | 5) => {
                    let hash = rest.try_get_u64_le().map_err(|_| CUT)?;
                    let group = key(rest, matches!(what, 3 | 5))?;
                    Change::Buried(Grave { group, key: hash, holds: matches!(what, 0 | 3), redriven: false })
                }
                1 => Change::Redriven,
                2 => Change::Gone,
                other => return Err(FormatError::Newer(format!("change {other} of a dead letter"))),
            };
            changes.push((position, change));
        }
        Ok(Self::Graves { topic, changes })
    }

    /// The topic it is about.
    pub(super) const fn topic(&self) -> TopicId {
        match self {
            Self::Topic { topic, .. }
            | Self::TopicGone { topic }
            | Self::Limits { topic, .. }
            | Self::Group { topic, .. }
            | Self::Settle { topic, .. }
            | Self::Reasons { topic, .. }
            | Self::GroupGone { topic, .. }
            | Self::Seek { topic, .. }
            | Self::Graves { topic, .. } => *topic,
            Self::Append { head, .. } => head.topic,
            Self::Times(times) => times.topic(),
        }
    }

    /// Bytes of events that follow it.
    pub(super) const fn events_len(&self) -> usize {
        match self {
            Self::Append { head, .. } => head.len as usize,
            _ => 0,
        }
    }
}

/// The operations of a body in order, each with the offset of the events behind it.
pub(super) struct Ops<'a> {
    body_len: usize,
    rest: &'a [u8],
}

impl<'a> Ops<'a> {
    pub(super) const fn of(body: &'a [u8]) -> Self {
        Self { body_len: body.len(), rest: body }
    }

    fn one(&mut self) -> Result<(OpView<'a>, usize), FormatError> {
        let op = OpView::decode(&mut self.rest)?;
        let at = self.body_len - self.rest.len();
        take(&mut self.rest, op.events_len())?;
        Ok((op, at))
    }
}

impl<'a> Iterator for Ops<'a> {
    type Item = Result<(OpView<'a>, usize), FormatError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let one = self.one();
        if one.is_err() {
            self.rest = &[];
        }
        Some(one)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use std::time::Duration;

    use bytes::{BufMut as _, BytesMut};

    use super::*;

    const SETTINGS: GroupSettings = GroupSettings {
        broadcast: false,
        ack_wait: Duration::from_secs(30),
        max_failures: 3,
        max_age: Duration::ZERO,
        backoff_min: Duration::from_millis(5),
        backoff_max: Duration::from_secs(7),
        hold_key: true,
        strict_order: false,
        max_in_flight: 8,
        max_rate: 0,
    };

    const OUTCOMES: [(Position, u32, Outcome); 4] = [
        (10, 1, Outcome::Acked),
        (11, 1, Outcome::Failed { at: UnixMillis(5), delay_ms: 1000 }),
        (12, 2, Outcome::Lost { at: UnixMillis(6) }),
        (14, 1, Outcome::Rejected { at: UnixMillis(-7) }),
    ];

    fn graves() -> [(Position, Change); 6] {
        let buried =
            |of, holds| Change::Buried(Grave { group: GroupKey::parse(of).unwrap(), key: 7, holds, redriven: false });
        [
            (1, buried("billing", true)),
            (1, Change::Redriven),
            (2, Change::Gone),
            (3, buried("audit/m1", true)),
            (4, buried("billing", false)),
            (5, buried("audit/m1", false)),
        ]
    }

    fn reasons() -> [(Position, String); 2] {
        [(11, "no such customer \u{1f600}".to_owned()), (14, "x".repeat(1024))]
    }

    fn body() -> BytesMut {
        let mut out = BytesMut::new();
        let name = TopicName::parse("orders").unwrap();
        put_topic(&mut out, TopicId(4), &name, Durability::Written, 60_000);
        put_group(&mut out, (TopicId(4), GroupId(2)), &GroupKey::parse("billing").unwrap(), 1, &SETTINGS);
        let head = AppendHead { topic: TopicId(4), first: 10, stored: UnixMillis(-5), count: 2, len: 6, crc: 99 };
        let mark = Mark { producer: [9; 16], epoch: 1, count: 2, first_sequence: 7, answered_through: 3 };
        put_append(&mut out, &head, &[mark, mark]);
        out.put_slice(b"events");
        put_settle(&mut out, TopicId(4), GroupId(2), &OUTCOMES);
        put_reasons(&mut out, TopicId(4), GroupId(2), &reasons());
        put_graves(&mut out, TopicId(4).dead_letters(true), &graves());
        put_group_gone(&mut out, TopicId(4), GroupId(2));
        put_seek(&mut out, TopicId(4), GroupId(2), 99);
        put_group(&mut out, (TopicId(4), GroupId(3)), &GroupKey::parse("audit/m1").unwrap(), 7, &SETTINGS);
        put_topic_gone(&mut out, TopicId(4));
        put_limits(&mut out, TopicId(4), Limits { bytes: 77, block: true });
        out
    }

    #[test]
    fn operations_are_read_as_they_were_written() {
        let body = body();
        let ops: Vec<_> = Ops::of(&body).map(Result::unwrap).collect();
        assert_eq!(ops.len(), 11);
        let OpView::Topic { topic, name, durability, retention_ms } = &ops[0].0 else { panic!() };
        assert_eq!((topic.0, name.as_str(), *durability, *retention_ms), (4, "orders", Durability::Written, 60_000));
        let OpView::Group { group, name, start, settings, .. } = &ops[1].0 else { panic!() };
        assert_eq!((group.0, name.to_string().as_str(), *start, *settings), (2, "billing", 1, SETTINGS));
        let OpView::Append { head, marks } = &ops[2].0 else { panic!() };
        assert_eq!((head.first, head.stored.0, head.count, head.len, head.crc), (10, -5, 2, 6, 99));
        assert_eq!((*marks).map(|m| (m.first_sequence, m.answered_through)).collect::<Vec<_>>(), [(7, 3); 2]);
        assert_eq!(&body[ops[2].1..ops[2].1 + 6], b"events");
        let OpView::Settle { ranges, .. } = &ops[3].0 else { panic!() };
        assert_eq!((*ranges).collect::<Vec<_>>(), OUTCOMES);
        let OpView::Reasons { reasons: read, .. } = &ops[4].0 else { panic!() };
        assert_eq!(read.iter().map(|(at, said)| (*at, (*said).to_owned())).collect::<Vec<_>>(), reasons());
        let OpView::Graves { topic, changes } = &ops[5].0 else { panic!() };
        assert_eq!((*topic, &changes[..]), (TopicId(4).dead_letters(true), &graves()[..]));
        assert!(matches!(ops[6].0, OpView::GroupGone { group: GroupId(2), .. }));
        assert!(matches!(ops[7].0, OpView::Seek { group: GroupId(2), to: 99, .. }));
        assert!(matches!(&ops[8].0, OpView::Group { name, start: 7, .. } if name.to_string() == "audit/m1"));
        assert!(matches!(ops[9].0, OpView::TopicGone { topic: TopicId(4) }));
        assert!(matches!(ops[10].0, OpView::Limits { limits: Limits { bytes: 77, block: true }, .. }));
    }

    #[test]
    fn any_cut_or_flip_ends_in_an_error_or_in_other_values_never_in_a_panic() {
        let body = body();
        for len in 0..body.len() {
            Ops::of(&body[..len]).for_each(drop);
        }
        for bit in 0..body.len() * 8 {
            let mut bytes = body.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            Ops::of(&bytes).for_each(drop);
        }
    }

    #[test]
    fn what_this_version_does_not_know_is_refused_by_name() {
        for (bytes, what) in [(&[9, 0][..], "operation kind 9"), (&[1, 4][..], "flags 0x4 of operation kind 1")] {
            let error = OpView::decode(&mut &bytes[..]).unwrap_err();
            assert_eq!(error, FormatError::Newer(what.to_owned()));
        }
    }
}
