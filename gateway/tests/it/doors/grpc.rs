//! Calls of gRPC.

use bytes::Bytes;
use meshwire_proto::wire::{admin, mesh as wire};
use prost::Message;
use tonic::{Request, Status};

use super::{Ask, Said, sent};
use crate::grpc::Stub;
use crate::rig::Rig;

/// A request with metadata.
fn with<T>(message: T, headers: &[(&'static str, &str)]) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in headers {
        request.metadata_mut().insert(*name, value.parse().unwrap());
    }
    request
}

async fn call<A, B>(stub: &Stub, path: &str, request: Request<A>) -> Said
where
    A: Message + Send + Sync + 'static,
    B: Message + Default + Send + Sync + 'static,
{
    let answered: Result<B, Status> = stub.ask(path, request).await;
    answered.map_or_else(|status| Said::status(&status), |_| Said::Fine)
}

pub(super) async fn ask(rig: &Rig, headers: &[(&'static str, &str)], ask: &Ask<'_>) -> Option<Said> {
    let stub = &Stub::of(rig).await;
    Some(match *ask {
        Ask::Publish { topic, ref event } => {
            let event = event.protobuf.clone();
            let asked = wire::PublishRequest { topic: topic.into(), event, ..wire::PublishRequest::default() };
            call::<_, wire::PublishResponse>(stub, "/meshwire.v1.Mesh/Publish", with(asked, headers)).await
        }
        Ask::Request { topic, timeout_ms } => {
            let asked = wire::RequestRequest { topic: topic.into(), event: sent("1", 1).protobuf, timeout_ms };
            call::<_, wire::RequestResponse>(stub, "/meshwire.v1.Mesh/Request", with(asked, headers)).await
        }
        Ask::Join { topic, group, member } => {
            let mode = Some(admin::GroupMode::Broadcast.into());
            let asked = wire::SubscribeRequest {
                topic: topic.into(),
                group: group.into(),
                member: member.into(),
                settings: Some(admin::GroupSettings { mode, ..admin::GroupSettings::default() }),
                ..wire::SubscribeRequest::default()
            };
            let joined = stub.subscribe(asked).await;
            joined.map_or_else(|status| Said::status(&status), |_| Said::Fine)
        }
        Ask::SettleTwice { topic } => settle_twice(stub, topic).await,
        Ask::Create { topic, durability, retention_ms } => {
            let durability = durability.into();
            let asked =
                admin::CreateTopic { name: topic.into(), durability, retention_ms, ..admin::CreateTopic::default() };
            call::<_, admin::Topic>(stub, "/meshwire.v1.Admin/CreateTopic", with(asked, headers)).await
        }
        Ask::GetGroup { topic, group } => {
            let asked = admin::GetGroup { topic: topic.into(), group: group.into() };
            call::<_, admin::GroupSummary>(stub, "/meshwire.v1.Admin/GetGroup", with(asked, headers)).await
        }
    })
}

/// What is told of an event in a batch.
pub(crate) async fn batch(rig: &Rig, topic: &str, event: Bytes) -> Said {
    let events = vec![event];
    let asked = wire::PublishBatchRequest { topic: topic.into(), events, ..wire::PublishBatchRequest::default() };
    let answered = Stub::of(rig).await.call("/meshwire.v1.Mesh/PublishBatch", asked).await;
    let answer: wire::PublishBatchResponse = match answered {
        Ok(answer) => answer,
        Err(status) => return Said::status(&status),
    };
    let error = answer.results.into_iter().next().unwrap().error;
    error.map_or(Said::Fine, |problem| Said::Item { status: None, code: problem.code })
}

async fn settle_twice(stub: &Stub, topic: &str) -> Said {
    let event = sent("grpc", 1).protobuf;
    let asked = wire::PublishRequest { topic: topic.into(), event, ..wire::PublishRequest::default() };
    stub.publish(asked).await.unwrap();
    let asked =
        wire::SubscribeRequest { topic: topic.into(), group: "grpc".into(), ..wire::SubscribeRequest::default() };
    let mut stream = stub.subscribe(asked).await.unwrap();
    let lease = stream.message().await.unwrap().unwrap().deliveries.remove(0).lease;
    let settle = async |kind: wire::SettleAs| {
        let settlement = wire::Settlement { lease: lease.clone(), r#as: kind.into(), ..wire::Settlement::default() };
        let (topic, group, settlements) = (topic.into(), "grpc".into(), vec![settlement]);
        let answer = stub.settle(wire::SettleRequest { topic, group, settlements, confirm: true }).await.unwrap();
        let error = answer.results.into_iter().next().unwrap().error;
        error.map_or(Said::Fine, |problem| Said::Item { status: None, code: problem.code })
    };
    assert_eq!(settle(wire::SettleAs::Ack).await, Said::Fine);
    settle(wire::SettleAs::Reject).await
}
