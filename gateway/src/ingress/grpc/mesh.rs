//! `meshwire.v1.Mesh`: publish, request and settle, one answer each.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::mesh as wire;
use meshwire_proto::{ErrorKind, Timing, UnixMillis};
use tonic::{Request, Response, Status};

use super::services::mesh_server::Mesh;
use super::subscribe::{self, Batches};
use super::{caller, deadline};
use crate::ingress::calls::{Calls, MAX_BATCH, MAX_SETTLEMENTS, Offer, RequestCall, Settlement, Taken, group_key};
use crate::ingress::receiving::Held;
use crate::ingress::web::status::status;
use crate::mesh::{Caller, Refusal};

/// The calls.
pub(super) struct Service(pub(super) Arc<Calls>);

fn invalid(text: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, text)
}

fn problem(refusal: Refusal) -> wire::Problem {
    let Refusal { kind, message, retry_after_ms } = refusal;
    wire::Problem { code: kind.code().to_owned(), detail: message, retry_after_ms }
}

fn result(taken: Taken) -> wire::PublishResult {
    match taken {
        Ok(stored) => wire::PublishResult {
            position: stored.position.unwrap_or_default(),
            duplicate: stored.duplicate,
            error: None,
        },
        Err(refusal) => wire::PublishResult { error: Some(problem(refusal)), ..wire::PublishResult::default() },
    }
}

impl Service {
    async fn offer(
        &self,
        caller: &Caller,
        topic: &str,
        events: impl IntoIterator<Item = Bytes, IntoIter: ExactSizeIterator>,
        timing: Timing,
    ) -> Result<Vec<Taken>, Refusal> {
        let events = events.into_iter();
        if events.len() > MAX_BATCH {
            return Err(self.0.too_many_events(caller, topic, events.len()));
        }
        let mut offer = Offer::default();
        // They are copied, and nothing is left of the message while they are being kept.
        events.for_each(|event| offer.raw(&event));
        self.0.publish(caller, topic, offer, timing).await
    }

    async fn settle_all(&self, caller: &Caller, asked: &wire::SettleRequest) -> Result<wire::SettleResponse, Refusal> {
        let group = group_key(&asked.group, "")?;
        if asked.settlements.len() > MAX_SETTLEMENTS {
            return Err(self.0.too_many_settlements(caller, (&asked.topic, &group), asked.settlements.len()));
        }
        let settlements = asked.settlements.iter().enumerate().map(|(n, settlement)| {
            let kind = kind(settlement.r#as()).ok_or_else(|| {
                invalid(format!(
                    "settlements[{n}].as is none that this gateway knows: it is ACK, NACK, REJECT, EXTEND or RELEASE"
                ))
            });
            let delay = settlement.delay_ms.map(|ms| Duration::from_millis(ms.into()));
            kind.map(|kind| Settlement { lease: &settlement.lease, kind, delay, reason: &settlement.reason })
        });
        let settlements: Vec<_> = settlements.collect();
        let settled = self.0.settle_each(caller, (&asked.topic, &group), &settlements, asked.confirm).await?;
        let result = |result: Result<(), Refusal>| wire::SettleResult { error: result.err().map(problem) };
        Ok(wire::SettleResponse { results: settled.into_iter().map(result).collect() })
    }

    async fn ask(
        &self,
        caller: &Caller,
        asked: wire::RequestRequest,
        (deadline, held): (Option<Duration>, Option<Arc<Held>>),
    ) -> Result<Bytes, Refusal> {
        let own = (asked.timeout_ms != 0).then(|| Duration::from_millis(asked.timeout_ms.into()));
        let timeout = [own, deadline].into_iter().flatten().min();
        let call = RequestCall { topic: &asked.topic, event: asked.event, timeout, stream: false, retry: false };
        let mut replies = self.0.request(caller, call)?;
        // The mesh has a copy of its own, which it counts.
        drop(held);
        Ok(replies.next().await?.unwrap_or_default())
    }
}

const fn kind(kind: wire::SettleAs) -> Option<SettleKind> {
    match kind {
        wire::SettleAs::Unspecified => None,
        wire::SettleAs::Ack => Some(SettleKind::Ack),
        wire::SettleAs::Nack => Some(SettleKind::Nack),
        wire::SettleAs::Reject => Some(SettleKind::Reject),
        wire::SettleAs::Extend => Some(SettleKind::Extend),
        wire::SettleAs::Release => Some(SettleKind::Release),
    }
}

fn timing(deliver_at: i64, expires_in_ms: u64) -> Timing {
    Timing { deliver_at: UnixMillis(deliver_at), expires_in_ms }
}

#[tonic::async_trait]
impl Mesh for Service {
    async fn publish(&self, request: Request<wire::PublishRequest>) -> Result<Response<wire::PublishResponse>, Status> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let timing = timing(asked.deliver_at_unix_ms, asked.expires_in_ms);
        let taken = self.offer(&caller, &asked.topic, [asked.event], timing).await;
        let lost = || Err(Refusal::new(ErrorKind::Internal, "no answer for the event"));
        let stored = taken.and_then(|taken| taken.into_iter().next().unwrap_or_else(lost)).map_err(status)?;
        let position = stored.position.unwrap_or_default();
        Ok(Response::new(wire::PublishResponse { position, duplicate: stored.duplicate }))
    }

    async fn publish_batch(
        &self,
        request: Request<wire::PublishBatchRequest>,
    ) -> Result<Response<wire::PublishBatchResponse>, Status> {
        let caller = caller(&request)?;
        let asked = request.into_inner();
        let timing = timing(asked.deliver_at_unix_ms, asked.expires_in_ms);
        let taken = self.offer(&caller, &asked.topic, asked.events, timing).await.map_err(status)?;
        let results = taken.into_iter().map(result).collect();
        Ok(Response::new(wire::PublishBatchResponse { results }))
    }

    async fn request(&self, request: Request<wire::RequestRequest>) -> Result<Response<wire::RequestResponse>, Status> {
        let (caller, left) = (caller(&request)?, deadline(&request).left());
        let held = request.extensions().get::<Arc<Held>>().cloned();
        let event = self.ask(&caller, request.into_inner(), (left, held)).await.map_err(status)?;
        Ok(Response::new(wire::RequestResponse { event }))
    }

    type SubscribeStream = Batches;

    async fn subscribe(
        &self,
        request: Request<wire::SubscribeRequest>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        let (caller, deadline) = (caller(&request)?, deadline(&request));
        let asked = subscribe::asked(request.get_ref()).map_err(status)?;
        let consumer = self.0.consume(&caller, &request.get_ref().topic, asked).await.map_err(status)?;
        Ok(Response::new(subscribe::batches(consumer, deadline)))
    }

    async fn settle(&self, request: Request<wire::SettleRequest>) -> Result<Response<wire::SettleResponse>, Status> {
        let caller = caller(&request)?;
        let settled = self.settle_all(&caller, request.get_ref()).await;
        settled.map(Response::new).map_err(status)
    }
}
