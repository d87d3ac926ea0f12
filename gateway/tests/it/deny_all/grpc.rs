//! Methods of gRPC.

use std::collections::BTreeSet;

use bytes::Bytes;
use meshwire_proto::wire::mesh as wire;
use prost::Message as _;
use tonic::{Request, Streaming};

use super::{Cells, cell, commands, schema};
use crate::doors::{Door, Said, sent};
use crate::grpc::{Raw, Stub};
use crate::rig::Rig;

/// Logging in is asked of in what it carries: the rows of sessions have it.
const SESSION: &str = "meshwire.session.v1.Session/Open";

/// A lease of group `grpc` of topic `held`, and the stream that holds it.
pub(super) async fn lease(rig: &Rig) -> (String, Streaming<wire::Deliveries>) {
    let asked = wire::SubscribeRequest {
        topic: "held".into(),
        group: "grpc".into(),
        max_unsettled: 1,
        ..wire::SubscribeRequest::default()
    };
    let mut stream = Stub::of(rig).await.subscribe(asked).await.unwrap();
    let lease = stream.message().await.unwrap().unwrap().deliveries.remove(0).lease;
    (lease, stream)
}

fn rows(lease: &str) -> Vec<(String, Vec<u8>)> {
    let event = sent("new", 1).protobuf;
    let publish = wire::PublishRequest { topic: "t".into(), event: event.clone(), ..Default::default() };
    let batch = wire::PublishBatchRequest { topic: "t".into(), events: vec![event.clone()], ..Default::default() };
    let request = wire::RequestRequest { topic: "t".into(), event, timeout_ms: 50 };
    let subscribe =
        |group: &str| wire::SubscribeRequest { topic: "t".into(), group: group.into(), ..Default::default() };
    let settlement = wire::Settlement { lease: lease.into(), r#as: wire::SettleAs::Ack.into(), ..Default::default() };
    let (topic, group, settlements) = ("held".into(), "grpc".into(), vec![settlement]);
    let settle = wire::SettleRequest { topic, group, settlements, confirm: true };
    let mesh = |name: &str, bytes| (format!("meshwire.v1.Mesh/{name}"), bytes);
    let mut rows = vec![
        mesh("Publish", publish.encode_to_vec()),
        mesh("PublishBatch", batch.encode_to_vec()),
        mesh("Request", request.encode_to_vec()),
        mesh("Subscribe", subscribe("other").encode_to_vec()),
        mesh("Subscribe", subscribe("").encode_to_vec()),
        mesh("Settle", settle.encode_to_vec()),
    ];
    rows.extend(commands::all().into_iter().map(|asked| (format!("meshwire.v1.Admin/{}", asked.name), asked.bytes)));
    rows
}

pub(super) async fn tried(rig: &Rig, lease: &str) -> Cells {
    let (stub, mut cells) = (Stub::of(rig).await, Cells::new());
    let mut names = BTreeSet::from([SESSION.to_owned()]);
    for (method, message) in rows(lease) {
        let path = format!("/{method}").parse().unwrap();
        let answered = stub.grpc().await.server_streaming(Request::new(Bytes::from(message)), path, Raw).await;
        let said = answered.map_or_else(|status| Said::status(&status), |_| Said::Fine);
        cells.push(cell(Door::Grpc, method.clone(), said));
        names.insert(method);
    }
    assert_eq!(schema::methods(), names, "each method has a row");
    cells
}
