//! Delivering: runs of stored events, each a header and a stored block.

use bytes::{Bytes, BytesMut};

use super::varint::{bytes_len, narrow, number_len, put_head, put_number};
use super::{Fields, FrameError, Value};
use crate::event::EventRun;

/// `meshwire.session.v1.Deliver`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deliver {
    /// Runs in order of delivery.
    pub runs: Vec<DeliverRun>,
}

/// Consecutive deliveries of consecutive positions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliverRun {
    /// Which subscription of this session.
    pub subscription: u32,
    /// Number of the first delivery.
    pub first_delivery: u64,
    /// Failures of before the last start of the gateway, and deliveries since, this one too: 1 for a first one.
    pub attempt: u32,
    /// Position of the first event.
    pub first_position: u64,
    /// Events lost to retention just before these.
    pub gap: u64,
    /// When the first was stored.
    pub stored_unix_ms: i64,
    /// From when on nobody gets them any more; 0: never.
    pub expires_unix_ms: i64,
    /// The events, as stored.
    pub events: EventRun,
}

const DELIVER: &str = "Deliver";
const FRAME: u32 = 5;
/// Number of the field that only runs of events that expire have.
const EXPIRES: u32 = 30;

impl Deliver {
    pub(super) fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut deliver = Self::default();
        let mut fields = Fields::new(DELIVER, body);
        while let Some(field) = fields.next()? {
            if let (1, Value::Bytes(run)) = field {
                deliver.runs.push(DeliverRun::decode(run)?);
            }
        }
        Ok(deliver)
    }

    pub(super) fn encode(&self, out: &mut BytesMut) {
        put_head(out, FRAME, self.runs.iter().map(|r| bytes_len(1, r.encoded_len())).sum());
        for run in &self.runs {
            put_head(out, 1, run.encoded_len());
            run.encode_header(out);
            out.extend_from_slice(run.events.as_bytes());
        }
    }
}

impl DeliverRun {
    fn decode(body: Bytes) -> Result<Self, FrameError> {
        let mut run = Self::default();
        let (mut count, mut found) = (0, false);
        let mut fields = Fields::new(DELIVER, body);
        loop {
            if fields.peek() == Some(EventRun::FIELD) {
                if std::mem::replace(&mut found, true) {
                    return Err(FrameError::malformed(
                        DELIVER,
                        "more events than the run says, or not all in one place",
                    ));
                }
                // We write them last; who writes fields in the order of their numbers has the expiry behind them.
                run.events = EventRun::split_from_wire(fields.rest_mut(), count)
                    .map_err(|problem| FrameError::malformed(DELIVER, problem))?;
                continue;
            }
            match fields.next()? {
                None => break,
                Some((1, Value::Varint(v))) => run.subscription = narrow(DELIVER, v)?,
                Some((2, Value::Varint(v))) => run.first_delivery = v,
                Some((3, Value::Varint(v))) => run.attempt = narrow(DELIVER, v)?,
                Some((4, Value::Varint(v))) => run.first_position = v,
                Some((5, Value::Varint(v))) => count = narrow(DELIVER, v)?,
                Some((6, Value::Varint(v))) => run.gap = v,
                Some((7, Value::Varint(v))) => run.stored_unix_ms = v as i64,
                Some((EXPIRES, Value::Varint(v))) => run.expires_unix_ms = v as i64,
                Some(_) => {}
            }
        }
        if run.events.count() != count {
            return Err(FrameError::malformed(
                DELIVER,
                format!("a run that says {count} events and holds {}", run.events.count()),
            ));
        }
        Ok(run)
    }

    fn header_len(&self) -> usize {
        number_len(1, u64::from(self.subscription))
            + number_len(2, self.first_delivery)
            + number_len(3, u64::from(self.attempt))
            + number_len(4, self.first_position)
            + number_len(5, u64::from(self.events.count()))
            + number_len(6, self.gap)
            + number_len(7, self.stored_unix_ms as u64)
            + number_len(EXPIRES, self.expires_unix_ms as u64)
    }

    fn encoded_len(&self) -> usize {
        self.header_len() + self.events.as_bytes().len()
    }

    fn encode_header(&self, out: &mut BytesMut) {
        put_number(out, 1, u64::from(self.subscription));
        put_number(out, 2, self.first_delivery);
        put_number(out, 3, u64::from(self.attempt));
        put_number(out, 4, self.first_position);
        put_number(out, 5, u64::from(self.events.count()));
        put_number(out, 6, self.gap);
        put_number(out, 7, self.stored_unix_ms as u64);
        put_number(out, EXPIRES, self.expires_unix_ms as u64);
    }

    /// Appends a whole Deliver frame of this one run but for its events, which
    /// the caller sends unchanged right behind: a stored block is never copied.
    pub fn encode_frame_head(&self, out: &mut BytesMut) {
        let run = self.encoded_len();
        put_head(out, FRAME, bytes_len(1, run));
        put_head(out, 1, run);
        self.encode_header(out);
    }
}
