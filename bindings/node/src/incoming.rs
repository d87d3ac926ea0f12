//! What calls came to, for JavaScript: a record of four words each in a buffer of the other half, and beside them what is larger.

use std::time::Duration;

use meshwire_embed::{Completion, Error, Job, Outcome, Receipt, Result, State, Work};
use napi::bindgen_prelude::{ToNapiValue, check_status, sys};
use serde_json::{Value, json};

use crate::batch::Writer;
use crate::bridge::Bridge;
use crate::guard::shown;
use crate::held::Held;

/// Words of a record: the tag, what it is, and two more.
const RECORD: usize = 16;
/// Bytes before the first: how many there are, and whether more wait.
const HEAD: usize = 16;

const DONE: u32 = 0;
const RECEIPT: u32 = 1;
const FAILED: u32 = 2;
const HANDLE: u32 = 3;
const BATCH: u32 = 4;
const ENDED: u32 = 5;
const TEXT: u32 = 6;
const STATE: u32 = 7;

const DUPLICATE: u32 = 1 << 8;
const NO_POSITION: u32 = 1 << 9;

/// Something that does not fit into words.
#[derive(Debug)]
pub enum Large {
    Text(String),
    Bytes(Vec<u8>),
}

impl ToNapiValue for Large {
    #[allow(unsafe_code, reason = "the only way to an array buffer of JavaScript's own memory")]
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        let bytes = match value {
            // SAFETY: the environment is that of the call.
            Self::Text(text) => return unsafe { String::to_napi_value(env, text) },
            Self::Bytes(bytes) => bytes,
        };
        let (mut data, mut made) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: as above; both places are ours.
        check_status!(unsafe { sys::napi_create_arraybuffer(env, bytes.len(), &raw mut data, &raw mut made) })?;
        if !data.is_null() {
            // SAFETY: it was just made, with so many bytes, and nobody else knows it yet.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast(), bytes.len()) };
        }
        Ok(made)
    }
}

/// Records on their way into the buffer.
struct Records<'a> {
    into: std::slice::ChunksExactMut<'a, u8>,
    count: u32,
    large: Vec<Large>,
}

impl Records<'_> {
    fn put(&mut self, words: [u32; 4]) {
        if let Some(place) = self.into.next() {
            for (place, word) in place.chunks_exact_mut(4).zip(words) {
                place.copy_from_slice(&word.to_ne_bytes());
            }
            self.count += 1;
        }
    }

    fn large(&mut self, large: Large) -> u32 {
        self.large.push(large);
        u32::try_from(self.large.len() - 1).unwrap_or(u32::MAX)
    }

    fn failed(&mut self, tag: u32, error: &Error) {
        let at = self.large(Large::Text(shown(error)));
        self.put([tag, FAILED, at, 0]);
    }
}

fn receipt(receipt: &Receipt) -> Value {
    json!({"position": receipt.position.map(|position| position.to_string()), "duplicate": receipt.duplicate})
}

fn state(state: State) -> u32 {
    match state {
        State::Disconnected => 0,
        State::Connecting => 1,
        State::Connected => 2,
        State::Reconnecting => 3,
        State::Draining => 4,
        _ => 5,
    }
}

impl Bridge {
    /// Moves what waits into the buffer.
    pub(crate) fn take_into(&mut self, into: &mut [u8]) -> Result<Vec<Large>> {
        let Some((head, rest)) = into.split_at_mut_checked(HEAD) else { return Ok(Vec::new()) };
        let most = rest.len() / RECORD;
        let mut records = Records { into: rest.chunks_exact_mut(RECORD), count: 0, large: Vec::new() };
        let failed = self.failed.len().min(most);
        for (tag, error) in self.failed.drain(..failed) {
            records.failed(tag, &error);
        }
        let mut taken = std::mem::take(&mut self.taken);
        self.queue.take(most - failed, Some(Duration::ZERO), &mut taken)?;
        let more = taken.len() + failed == most;
        for completion in taken.drain(..) {
            self.record_of(completion, &mut records);
        }
        self.taken = taken;
        head.fill(0);
        let words = [records.count, u32::from(more)];
        for (place, word) in head.chunks_exact_mut(4).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(records.large)
    }

    fn record_of(&mut self, Completion { tag, result }: Completion, records: &mut Records<'_>) {
        // Tags are words of the other half.
        let tag = u32::try_from(tag).unwrap_or(u32::MAX);
        if !matches!(result, Ok(Outcome::Receipt(_))) {
            self.operations.remove(&tag);
        }
        let (what, at, beside) = match result {
            Err(error) => return records.failed(tag, &error),
            Ok(Outcome::Receipt(Receipt { position, duplicate, .. })) => {
                let flags = if duplicate { DUPLICATE } else { 0 } | if position.is_none() { NO_POSITION } else { 0 };
                let number = position.map_or(0, |position| position.number());
                let [low, high] = [number, number >> 32].map(|n| u32::try_from(n & 0xFFFF_FFFF).unwrap_or(0));
                return records.put([tag, RECEIPT | flags, low, high]);
            }
            Ok(outcome) => match self.outcome(outcome, records) {
                Ok(words) => words,
                Err(error) => return records.failed(tag, &error),
            },
        };
        records.put([tag, what, at, beside]);
    }

    fn outcome(&mut self, outcome: Outcome, records: &mut Records<'_>) -> Result<(u32, u32, u32)> {
        Ok(match outcome {
            Outcome::Client(client) => (HANDLE, self.clients.keep(client), 0),
            Outcome::Subscription(subscription) => (HANDLE, self.subscriptions.keep(subscription), 0),
            Outcome::Answers(replies) => (HANDLE, self.replies.keep(replies), 0),
            Outcome::Started(started) => (HANDLE, self.started.keep(started), 0),
            Outcome::State(now) => (STATE, state(now), 0),
            Outcome::Receipts(receipts) => {
                let shown = receipts.iter().map(|one| match one {
                    Ok(kept) => receipt(kept),
                    Err(error) => Value::String(shown(error)),
                });
                let shown = Value::from_iter(shown).to_string();
                (TEXT, records.large(Large::Text(shown)), 0)
            }
            Outcome::Deliveries(deliveries) => {
                let deliveries = deliveries.ahead()?;
                let mut writer = Writer::new(deliveries.len());
                deliveries.iter().try_for_each(|delivery| writer.delivery(delivery))?;
                let held = deliveries.into_iter().map(|delivery| Some(Held::Delivery(delivery))).collect();
                (BATCH, records.large(Large::Bytes(writer.finish())), self.batches.keep(held))
            }
            Outcome::Jobs(jobs) => {
                let mut writer = Writer::new(jobs.len());
                jobs.iter().for_each(|job| writer.job(job));
                let held = |work: Work<Job>| match work {
                    // Its handler is called with this batch.
                    Work::Begin(mut job) => {
                        job.begin();
                        Some(Held::Job(job))
                    }
                    Work::Lost(_) => None,
                };
                let held = jobs.into_iter().map(held).collect();
                (BATCH, records.large(Large::Bytes(writer.finish())), self.batches.keep(held))
            }
            Outcome::Inquiries(inquiries) => {
                let mut writer = Writer::new(inquiries.len());
                inquiries.iter().for_each(|inquiry| writer.inquiry(inquiry));
                let held = |work| match work {
                    Work::Begin(inquiry) => Some(Held::Inquiry(inquiry)),
                    Work::Lost(_) => None,
                };
                let held = inquiries.into_iter().map(held).collect();
                (BATCH, records.large(Large::Bytes(writer.finish())), self.batches.keep(held))
            }
            Outcome::Reply(reply) => (BATCH, records.large(replies(&[reply])), 0),
            Outcome::Replies(all) => (BATCH, records.large(replies(&all)), 0),
            Outcome::Text(text) => (TEXT, records.large(Large::Text(text)), 0),
            Outcome::Ended => (ENDED, 0, 0),
            _ => (DONE, 0, 0),
        })
    }
}

fn replies(all: &[meshwire_embed::Reply]) -> Large {
    let mut writer = Writer::new(all.len());
    all.iter().for_each(|reply| writer.reply(reply));
    Large::Bytes(writer.finish())
}

/// States as their numbers are said.
pub(crate) fn state_number(now: State) -> u32 {
    state(now)
}
