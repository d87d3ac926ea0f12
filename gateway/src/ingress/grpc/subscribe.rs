//! The stream of `meshwire.v1.Mesh/Subscribe`: deliveries in batches.

use std::pin::Pin;

use futures_util::{Stream, stream};
use meshwire_proto::wire::mesh as wire;
use meshwire_proto::{ErrorKind, UnixMillis, options};
use prost::Message as _;
use tonic::Status;

use super::call::Deadline;
use crate::ingress::calls::{Consumer, ConsumerRequest, Delivered, Start, group_key};
use crate::ingress::web::status::status;
use crate::mesh::{self, Credit, Refusal};

/// A batch ends with the event that makes it so long.
const BATCH_BYTES: usize = 64 * 1024;

/// Most deliveries of a batch.
const BATCH_EVENTS: usize = 1024;

/// Shorter messages are filled up: receivers of HTTP/2 give up a connection in which very many small frames wait to be read.
const LEAST: usize = 256;

/// What a subscriber gets that says nothing.
const DEFAULT_UNSETTLED: u32 = 256;

/// Batches of deliveries.
pub(super) type Batches = Pin<Box<dyn Stream<Item = Result<wire::Deliveries, Status>> + Send>>;

/// What a request asks of the mesh.
///
/// # Errors
/// `INVALID`, naming the field.
pub(super) fn asked(request: &wire::SubscribeRequest) -> Result<ConsumerRequest, Refusal> {
    let invalid = |text: String| Refusal::new(ErrorKind::Invalid, text);
    let group = match (request.group.as_str(), request.member.as_str()) {
        ("", "") => None,
        ("", _) => return Err(invalid("member is set and group is not: a member is one of a group".to_owned())),
        (group, member) => Some(group_key(group, member)?),
    };
    let start = match request.start.and_then(|start| start.at) {
        None => Start::Default,
        Some(wire::start::At::Earliest(true)) => Start::Earliest,
        Some(wire::start::At::Latest(true)) => Start::Latest,
        Some(wire::start::At::Position(position)) => Start::Position(position),
        Some(wire::start::At::TimeUnixMs(time)) => Start::Time(UnixMillis(time)),
        Some(wire::start::At::Earliest(false) | wire::start::At::Latest(false)) => {
            return Err(invalid("start.earliest and start.latest are true where they are set".to_owned()));
        }
    };
    let most = options::PREFETCH_EVENTS.max;
    let events = if request.max_unsettled == 0 { DEFAULT_UNSETTLED } else { request.max_unsettled };
    if u64::from(events) > most {
        return Err(invalid(format!("max_unsettled is {events}; at most {most} are taken")));
    }
    let credit = Credit { events, bytes: u64::MAX };
    Ok(ConsumerRequest { group, start, settings: request.settings.unwrap_or_default(), credit })
}

/// The stream of a subscription; dropped, it gives back what is not settled.
pub(super) fn batches(consumer: Consumer, deadline: Deadline) -> Batches {
    Box::pin(stream::unfold(Some((consumer, deadline, None)), |state| async {
        let (mut consumer, deadline, failed) = state?;
        let found = match failed {
            Some(refusal) => Err(refusal),
            None => batch(&mut consumer, deadline).await,
        };
        match found {
            Ok((batch, failed)) => Some((Ok(batch), Some((consumer, deadline, failed)))),
            Err(refusal) => Some((Err(status(refusal)), None)),
        }
    }))
}

/// What is here now, at least one; and why nothing follows, if that shows already.
async fn batch(consumer: &mut Consumer, deadline: Deadline) -> Result<(wire::Deliveries, Option<Refusal>), Refusal> {
    let first = deadline.within(consumer.next_or_over()).await??;
    let mut batch = wire::Deliveries::default();
    let (mut bytes, mut next) = (0, Some(first.ok_or_else(mesh::stopping)?));
    let mut failed = None;
    while let Some(delivered) = next.take() {
        bytes += delivered.event.len();
        batch.deliveries.push(delivery(delivered));
        if bytes < BATCH_BYTES && batch.deliveries.len() < BATCH_EVENTS {
            match consumer.ready() {
                Ok(found) => next = found,
                Err(refusal) => failed = Some(refusal),
            }
        }
    }
    let length = batch.encoded_len();
    batch.padding = vec![0; LEAST.saturating_sub(length)].into();
    Ok((batch, failed))
}

fn delivery(delivered: Delivered) -> wire::Delivery {
    wire::Delivery {
        lease: delivered.lease.unwrap_or_default(),
        attempt: delivered.attempt,
        position: delivered.position,
        gap: delivered.gap,
        stored_unix_ms: delivered.stored.0,
        expires_unix_ms: delivered.expires.map_or(0, |time| time.0),
        event: delivered.event,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::time::Duration;

    use futures_util::StreamExt as _;
    use tokio::time::Instant;

    use super::*;
    use crate::ingress::calls::testing::{calls, publish};
    use crate::mesh::Caller;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_at_its_deadline_however_much_there_is_to_deliver() {
        let (calls, time) = (calls(), Duration::from_secs(16));
        let asked = asked(&wire::SubscribeRequest::default()).unwrap();
        let consumer = calls.consume(&Caller::anonymous("test", None), "t", asked).await.unwrap();
        let mut batches = batches(consumer, Deadline(Some(Instant::now() + time)));
        publish(&calls, 0..1).await;
        assert_eq!(batches.next().await.unwrap().unwrap().deliveries.len(), 1);
        publish(&calls, 1..2).await;
        tokio::time::sleep(time).await;
        let late = batches.next().await.unwrap().unwrap_err();
        assert_eq!(crate::ingress::web::status::kind(&late), Some(ErrorKind::Timeout), "{late:?}");
        assert!(batches.next().await.is_none());
    }
}
