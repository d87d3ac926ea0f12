//! CloudEvents over HTTP as any client sends them: one in binary mode, or a batch as JSON, and the next when that is answered.

use std::net::SocketAddr;

use base64_simd::STANDARD;
use bytes::Bytes;

use crate::ours::TOPIC;
use crate::payload::Payloads;

mod one;
mod two;

pub(crate) use one::Connection;
pub(crate) use two::{Dialed, Shared, dial};

/// The attributes that a client fills in beside the id.
pub(crate) const SOURCE: &str = "//load-generator/meshwire-bench";
const TIME: &str = "2026-11-28T12:00:00.123Z";
/// Longest head of an answer, and longest answer.
const MAX_ANSWER: usize = 256 * 1024;

/// How a request is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

/// Something that sends one request and waits for the answer.
pub(crate) trait OneByOne: Send + 'static {
    /// Publishes the next event of a publisher.
    fn publish(&mut self, publisher: u32, payloads: &mut Payloads) -> impl Future<Output = anyhow::Result<()>> + Send;

    /// Publishes its next `count` in one request.
    fn publish_batch(
        &mut self,
        publisher: u32,
        payloads: &mut Payloads,
        count: u64,
    ) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// Where events are published.
fn path() -> String {
    format!("/v1/topics/{TOPIC}/events")
}

/// A CloudEvent's id, as long as those that clients draw.
pub(crate) fn id(publisher: u32, sequence: u64) -> String {
    let mut id = *b"00000000-000000000000000000000000000";
    let (of_publisher, of_sequence) = id.split_at_mut(8);
    for (digits, mut number) in [(of_publisher, u64::from(publisher)), (of_sequence, sequence)] {
        // A formatter with a width would cost a batch more than its base64.
        for digit in digits.iter_mut().rev().take_while(|digit| **digit != b'-') {
            if number == 0 {
                break;
            }
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
    }
    String::from_utf8(id.into()).unwrap_or_default()
}

/// The next `count` events of a publisher as a JSON batch.
fn batch(publisher: u32, payloads: &mut Payloads, count: u64) -> Bytes {
    let mut body = String::with_capacity(640 * count as usize);
    let behind_id = format!(
        r#"","source":"{SOURCE}","type":"{TOPIC}","time":"{TIME}","datacontenttype":"application/octet-stream","data_base64":""#
    );
    for _ in 0..count {
        body.push(if body.is_empty() { '[' } else { ',' });
        body.push_str(r#"{"specversion":"1.0","id":""#);
        body.push_str(&id(publisher, payloads.made()));
        body.push_str(&behind_id);
        STANDARD.encode_append(payloads.make(), &mut body);
        body.push_str("\"}");
    }
    body.push(']');
    body.into()
}

/// The value of the header `host`.
fn host(address: SocketAddr) -> String {
    address.to_string()
}
