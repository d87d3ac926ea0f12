//! Publishing: runs of events one way, ranges of receipts back.

use bytes::{Bytes, BytesMut};

use super::varint::{bytes_len, narrow, number_len, put_bytes, put_head, put_number, text};
use super::{Fields, FrameError, Value};
use crate::event::EventRun;

/// `meshwire.session.v1.Publish`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Publish {
    /// Runs in order of their sequences.
    pub runs: Vec<PublishRun>,
    /// Every sequence up to this one has been answered and is never replayed.
    pub answered_through: u64,
}

/// Consecutive sequences of one topic: the n-th event has sequence
/// `first_sequence + n`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishRun {
    /// Stands for the topic in this session.
    pub alias: u32,
    /// The topic, the first time the alias is used; else empty.
    pub topic: String,
    /// Sequence of the first event; from 1.
    pub first_sequence: u64,
    /// Unix milliseconds, 0 for none.
    pub deliver_at_ms: i64,
    /// 0 for none.
    pub expires_in_ms: u64,
    /// Position the first event must get.
    pub expected_position: Option<u64>,
    /// The events.
    pub events: EventRun,
}

/// `meshwire.session.v1.Receipts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipts {
    /// Ranges in any order.
    pub receipts: Vec<Receipt>,
}

/// The same answer for consecutive sequences.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Receipt {
    /// First sequence answered.
    pub first_sequence: u64,
    /// How many are.
    pub count: u32,
    /// 0: kept. Else the number of an [`ErrorKind`](crate::ErrorKind).
    pub code: u32,
    /// Position of the first; 0 when not known.
    pub first_position: u64,
    /// The event was there already.
    pub duplicate: bool,
    /// What an error says.
    pub message: String,
    /// When to try again, for a code that says so.
    pub retry_after_ms: u32,
}

const PUBLISH: &str = "Publish";
const RECEIPTS: &str = "Receipts";

impl Publish {
    pub(super) fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut publish = Self::default();
        let mut fields = Fields::new(PUBLISH, body);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Bytes(run)) => publish.runs.push(PublishRun::decode(run)?),
                (2, Value::Varint(v)) => publish.answered_through = v,
                _ => {}
            }
        }
        Ok(publish)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        let runs: usize = self.runs.iter().map(|r| bytes_len(1, r.encoded_len())).sum();
        put_head(out, 2, runs + number_len(2, self.answered_through));
        for run in &self.runs {
            put_head(out, 1, run.encoded_len());
            run.encode(out);
        }
        put_number(out, 2, self.answered_through);
    }
}

impl PublishRun {
    fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut run = Self::default();
        let mut count = 0;
        let mut fields = Fields::new(PUBLISH, body);
        loop {
            if fields.peek() == Some(EventRun::FIELD) {
                run.events = EventRun::from_wire(fields.rest().clone(), count)
                    .map_err(|problem| FrameError::malformed(PUBLISH, problem))?;
                break;
            }
            match fields.next()? {
                None => break,
                Some((1, Value::Varint(v))) => run.alias = narrow(PUBLISH, v)?,
                Some((2, Value::Bytes(v))) => run.topic = text(PUBLISH, &v)?,
                Some((3, Value::Varint(v))) => run.first_sequence = v,
                Some((4, Value::Varint(v))) => count = narrow(PUBLISH, v)?,
                Some((5, Value::Varint(v))) => run.deliver_at_ms = v as i64,
                Some((6, Value::Varint(v))) => run.expires_in_ms = v,
                Some((7, Value::Varint(v))) => run.expected_position = Some(v),
                Some(_) => {}
            }
        }
        if run.events.count() != count {
            return Err(FrameError::malformed(
                PUBLISH,
                format!("a run that says {count} events and holds {}", run.events.count()),
            ));
        }
        Ok(run)
    }

    fn encoded_len(&self) -> usize {
        let topic = if self.topic.is_empty() { 0 } else { bytes_len(2, self.topic.len()) };
        number_len(1, u64::from(self.alias))
            + topic
            + number_len(3, self.first_sequence)
            + number_len(4, u64::from(self.events.count()))
            + number_len(5, self.deliver_at_ms as u64)
            + number_len(6, self.expires_in_ms)
            + self.expected_position.map_or(0, |v| 1 + super::varint::varint_len(v))
            + self.events.as_bytes().len()
    }

    fn encode(&self, out: &mut BytesMut) {
        put_number(out, 1, u64::from(self.alias));
        put_bytes(out, 2, self.topic.as_bytes());
        put_number(out, 3, self.first_sequence);
        put_number(out, 4, u64::from(self.events.count()));
        put_number(out, 5, self.deliver_at_ms as u64);
        put_number(out, 6, self.expires_in_ms);
        if let Some(position) = self.expected_position {
            super::varint::put_varint(out, 7 << 3);
            super::varint::put_varint(out, position);
        }
        out.extend_from_slice(self.events.as_bytes());
    }
}

impl Receipts {
    pub(super) fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut receipts = Self::default();
        let mut fields = Fields::new(RECEIPTS, body);
        while let Some(field) = fields.next()? {
            if let (1, Value::Bytes(receipt)) = field {
                receipts.receipts.push(Receipt::decode(receipt)?);
            }
        }
        Ok(receipts)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_head(out, 2, self.receipts.iter().map(|r| bytes_len(1, r.encoded_len())).sum());
        for receipt in &self.receipts {
            put_head(out, 1, receipt.encoded_len());
            receipt.encode(out);
        }
    }
}

impl Receipt {
    fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut receipt = Self::default();
        let mut fields = Fields::new(RECEIPTS, body);
        while let Some(field) = fields.next()? {
            match field {
                (1, Value::Varint(v)) => receipt.first_sequence = v,
                (2, Value::Varint(v)) => receipt.count = narrow(RECEIPTS, v)?,
                (3, Value::Varint(v)) => receipt.code = narrow(RECEIPTS, v)?,
                (4, Value::Varint(v)) => receipt.first_position = v,
                (5, Value::Varint(v)) => receipt.duplicate = v != 0,
                (6, Value::Bytes(v)) => receipt.message = text(RECEIPTS, &v)?,
                (7, Value::Varint(v)) => receipt.retry_after_ms = narrow(RECEIPTS, v)?,
                _ => {}
            }
        }
        Ok(receipt)
    }

    fn encoded_len(&self) -> usize {
        let message = if self.message.is_empty() { 0 } else { bytes_len(6, self.message.len()) };
        number_len(1, self.first_sequence)
            + number_len(2, u64::from(self.count))
            + number_len(3, u64::from(self.code))
            + number_len(4, self.first_position)
            + number_len(5, u64::from(self.duplicate))
            + message
            + number_len(7, u64::from(self.retry_after_ms))
    }

    fn encode(&self, out: &mut BytesMut) {
        put_number(out, 1, self.first_sequence);
        put_number(out, 2, u64::from(self.count));
        put_number(out, 3, u64::from(self.code));
        put_number(out, 4, self.first_position);
        put_number(out, 5, u64::from(self.duplicate));
        put_bytes(out, 6, self.message.as_bytes());
        put_number(out, 7, u64::from(self.retry_after_ms));
    }
}
