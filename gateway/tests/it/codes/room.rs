//! What there is no room for, and a log that has failed.

use std::sync::Arc;

use bytes::Bytes;
use meshwire_gateway::config::{Config, OnStoreFailure};
use meshwire_gateway::ingress::calls::{MAX_BATCH, MAX_SETTLEMENTS};
use meshwire_gateway::mesh::AllowAll;
use meshwire_gateway::run::Gateway;
use meshwire_gateway::store::log::SimDisk;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, Settle, SettleRange};
use meshwire_proto::wire::mesh;
use serde_json::json;

use super::row::Row;
use crate::doors::session::{answer, log_in};
use crate::doors::{Ask, Door, Said, Visit, http, sent};
use crate::grpc::Stub;
use crate::rig::{Rig, memory};

pub(super) async fn too_large() -> Row {
    let mut config = memory();
    config.limits.max_event_bytes = 64 << 10;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    Row::asked(ErrorKind::TooLarge, &rig, &Ask::Publish { topic: "t", event: sent("1", 65 << 10) }).await
}

/// What is said of more events in one call than are taken, and of more settlements; `None`: this door takes one at a time.
pub(super) async fn too_many(door: Door, rig: &Rig) -> Option<[Said; 2]> {
    Some(match door {
        Door::Http => {
            let batch = [("content-type", "application/cloudevents-batch+json")];
            let events = format!("[{}]", vec!["1"; MAX_BATCH + 1].join(","));
            let published = rig.http().await.call("POST", "/v1/topics/t/events", &batch, events.as_bytes()).await;
            let settlements = vec![json!({"lease": "x", "kind": "ack"}); MAX_SETTLEMENTS + 1];
            let settled = rig.post("/v1/topics/t/groups/g/settle", &json!({ "settlements": settlements })).await;
            [http::said(&published), http::said(&settled)]
        }
        Door::Grpc => {
            let (stub, topic) = (Stub::of(rig).await, || "t".to_owned());
            let events = vec![Default::default(); MAX_BATCH + 1];
            let events = mesh::PublishBatchRequest { topic: topic(), events, ..Default::default() };
            let published = stub.call::<_, mesh::PublishBatchResponse>("/meshwire.v1.Mesh/PublishBatch", events).await;
            let settlements = vec![mesh::Settlement::default(); MAX_SETTLEMENTS + 1];
            let settled = mesh::SettleRequest { topic: topic(), group: "g".into(), settlements, ..Default::default() };
            [published.unwrap_err(), stub.settle(settled).await.unwrap_err()].map(|status| Said::status(&status))
        }
        Door::Page | Door::Events => return None,
        _ => {
            let events = std::iter::repeat_n(Bytes::from_static(&[0xff]), 16_385).collect();
            let run = PublishRun { alias: 1, topic: "t".into(), first_sequence: 1, events, ..PublishRun::default() };
            let ranges = vec![SettleRange { subscription: 1, count: 1, ..SettleRange::default() }; 16_385];
            let mut said = Vec::new();
            for frame in [
                ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }),
                ClientFrame::Settle(Settle { sequence: 1, ranges, confirm: true }),
            ] {
                let mut peer = log_in(door, rig, &Visit::default()).await.unwrap();
                peer.send(frame).await;
                said.push(answer(&mut peer).await);
            }
            said.try_into().unwrap()
        }
    })
}

/// Publishes until there is no room for more of them.
async fn fill(rig: &Rig, kind: ErrorKind, length: usize) {
    for id in 0..1000 {
        let event = sent(&format!("fill {id}"), length);
        let said = Door::Http.ask(rig, &Ask::Publish { topic: "t", event }).await.unwrap();
        if said.is(kind) {
            return;
        }
        assert_eq!(said, Said::Fine, "{id}");
    }
    panic!("it is never full");
}

pub(super) async fn topic_full() -> Row {
    let rig = Rig::start().await;
    rig.ask("PUT", "/v1/topics/t", r#"{"retention_bytes":65536,"lagging":"block"}"#).await;
    rig.ask("PUT", "/v1/topics/t/groups/g", "{}").await;
    fill(&rig, ErrorKind::TopicFull, 8192).await;
    let ask = Ask::Publish { topic: "t", event: sent("more", 8192) };
    Row::asked(ErrorKind::TopicFull, &rig, &ask).await.with_a_time()
}

async fn on(disk: &Arc<SimDisk>) -> Rig {
    let mut config = Config::default();
    config.listen = memory().listen;
    // What is written ahead is little.
    config.max_disk = 64 << 20;
    config.on_store_failure = OnStoreFailure::Stay;
    Rig::of(Gateway::open_on(config, Arc::new(AllowAll), disk.clone()).await.unwrap())
}

pub(super) async fn disk_full() -> Row {
    const EVENT: usize = 256 << 10;
    let disk = crate::room::small_disk();
    let rig = on(&disk).await;
    fill(&rig, ErrorKind::DiskFull, EVENT).await;
    let ask = Ask::Publish { topic: "t", event: sent("more", EVENT) };
    let row = Row::asked(ErrorKind::DiskFull, &rig, &ask).await.with_a_time();
    rig.stop().await;
    row
}

pub(super) async fn store_failed() -> Row {
    let disk = Arc::new(SimDisk::new());
    let rig = on(&disk).await;
    let publish = |id: &str| Ask::Publish { topic: "t", event: sent(id, 1) };
    assert_eq!(Door::Http.ask(&rig, &publish("kept")).await, Some(Said::Fine));
    // Not by the number of an operation: what the log does beside it counts too.
    disk.turn_off();
    let row = Row::asked(ErrorKind::StoreFailed, &rig, &publish("lost")).await;
    rig.stop().await;
    row
}
