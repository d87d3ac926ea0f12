//! Settling: ranges of delivery numbers one way, confirmations back.

use bytes::{Bytes, BytesMut};

use super::varint::{bytes_len, narrow, number_len, present_len, put_bytes, put_head, put_number, put_present, text};
use super::{Fields, FrameError, Value};

/// `meshwire.session.v1.Settle`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settle {
    /// Counts the Settle frames of a session from 1.
    pub sequence: u64,
    /// What is settled.
    pub ranges: Vec<SettleRange>,
    /// Asks for a [`SettleResult`] per range.
    pub confirm: bool,
}

/// What a consumer says of a delivery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SettleKind {
    /// Done.
    #[default]
    Ack,
    /// Again later.
    Nack,
    /// Never again.
    Reject,
    /// Still working.
    Extend,
    /// Given back unbegun.
    Release,
}

/// The same settlement for consecutive delivery numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettleRange {
    /// Which subscription of this session.
    pub subscription: u32,
    /// First delivery number.
    pub first_delivery: u64,
    /// How many.
    pub count: u32,
    /// What happens to them.
    pub kind: SettleKind,
    /// For a nack: when to deliver again; `None` for when the group's back-off says.
    pub delay_ms: Option<u32>,
    /// For a nack and a reject: why.
    pub reason: String,
}

/// `meshwire.session.v1.Settled`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// The last Settle frame that was processed.
    pub through: u64,
    /// Answers to frames that asked for them.
    pub results: Vec<SettleResult>,
}

/// The answer to one range, or to a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SettleResult {
    /// Of the Settle frame.
    pub sequence: u64,
    /// Which subscription of this session.
    pub subscription: u32,
    /// First delivery number answered.
    pub first_delivery: u64,
    /// How many.
    pub count: u32,
    /// 0: settled. Else the number of an [`ErrorKind`](crate::ErrorKind).
    pub code: u32,
    /// The number that the subscription's next delivery had when this was processed; 0: not said.
    pub next_delivery: u64,
}

const SETTLE: &str = "Settle";
const SETTLED: &str = "Settled";

impl SettleKind {
    const fn number(self) -> u64 {
        match self {
            Self::Ack => 1,
            Self::Nack => 2,
            Self::Reject => 3,
            Self::Extend => 4,
            Self::Release => 5,
        }
    }

    fn from_number(number: u64) -> Result<Self, FrameError> {
        Ok(match number {
            1 => Self::Ack,
            2 => Self::Nack,
            3 => Self::Reject,
            4 => Self::Extend,
            5 => Self::Release,
            other => return Err(FrameError::malformed(SETTLE, format!("settlement {other}"))),
        })
    }
}

impl Settle {
    pub(super) fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut settle = Self::default();
        let mut fields = Fields::new(SETTLE, body);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(v)) => settle.sequence = v,
                (2, Value::Bytes(range)) => settle.ranges.push(SettleRange::decode(range)?),
                (3, Value::Varint(v)) => settle.confirm = v != 0,
                _ => {}
            }
        }
        Ok(settle)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let ranges: usize = self.ranges.iter().map(|r| bytes_len(2, r.encoded_len())).sum();
        put_head(out, 6, number_len(1, self.sequence) + ranges + number_len(3, u64::from(self.confirm)));
        put_number(out, 1, self.sequence);
        for range in &self.ranges {
            put_head(out, 2, range.encoded_len());
            range.encode(out);
        }
        put_number(out, 3, u64::from(self.confirm));
    }
}

impl SettleRange {
    fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut range = Self::default();
        let mut kind = 0;
        let mut fields = Fields::new(SETTLE, body);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(v)) => range.subscription = narrow(SETTLE, v)?,
                (2, Value::Varint(v)) => range.first_delivery = v,
                (3, Value::Varint(v)) => range.count = narrow(SETTLE, v)?,
                (4, Value::Varint(v)) => kind = v,
                (5, Value::Varint(v)) => range.delay_ms = Some(narrow(SETTLE, v)?),
                (6, Value::Bytes(v)) => range.reason = text(SETTLE, &v)?,
                _ => {}
            }
        }
        range.kind = SettleKind::from_number(kind)?;
        Ok(range)
    }

    fn encoded_len(&self) -> usize {
        let reason = if self.reason.is_empty() { 0 } else { bytes_len(6, self.reason.len()) };
        number_len(1, u64::from(self.subscription))
            + number_len(2, self.first_delivery)
            + number_len(3, u64::from(self.count))
            + number_len(4, self.kind.number())
            + self.delay_ms.map_or(0, |ms| present_len(5, u64::from(ms)))
            + reason
    }

    fn encode(&self, out: &mut BytesMut) {
        put_number(out, 1, u64::from(self.subscription));
        put_number(out, 2, self.first_delivery);
        put_number(out, 3, u64::from(self.count));
        put_number(out, 4, self.kind.number());
        if let Some(delay_ms) = self.delay_ms {
            put_present(out, 5, u64::from(delay_ms));
        }
        put_bytes(out, 6, self.reason.as_bytes());
    }
}

impl Settled {
    pub(super) fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut settled = Self::default();
        let mut fields = Fields::new(SETTLED, body);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(v)) => settled.through = v,
                (2, Value::Bytes(result)) => settled.results.push(SettleResult::decode(result)?),
                _ => {}
            }
        }
        Ok(settled)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let results: usize = self.results.iter().map(|r| bytes_len(2, r.encoded_len())).sum();
        put_head(out, 6, number_len(1, self.through) + results);
        put_number(out, 1, self.through);
        for result in &self.results {
            put_head(out, 2, result.encoded_len());
            result.encode(out);
        }
    }
}

impl SettleResult {
    fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut result = Self::default();
        let mut fields = Fields::new(SETTLED, body);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(v)) => result.sequence = v,
                (2, Value::Varint(v)) => result.subscription = narrow(SETTLED, v)?,
                (3, Value::Varint(v)) => result.first_delivery = v,
                (4, Value::Varint(v)) => result.count = narrow(SETTLED, v)?,
                (5, Value::Varint(v)) => result.code = narrow(SETTLED, v)?,
                (6, Value::Varint(v)) => result.next_delivery = v,
                _ => {}
            }
        }
        Ok(result)
    }

    fn encoded_len(&self) -> usize {
        number_len(1, self.sequence)
            + number_len(2, u64::from(self.subscription))
            + number_len(3, self.first_delivery)
            + number_len(4, u64::from(self.count))
            + number_len(5, u64::from(self.code))
            + number_len(6, self.next_delivery)
    }

    fn encode(&self, out: &mut BytesMut) {
        put_number(out, 1, self.sequence);
        put_number(out, 2, u64::from(self.subscription));
        put_number(out, 3, self.first_delivery);
        put_number(out, 4, u64::from(self.count));
        put_number(out, 5, u64::from(self.code));
        put_number(out, 6, self.next_delivery);
    }
}
