//! The stream of deliveries, and settling by leases.

use std::sync::Arc;

use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::{admin, mesh as wire};
use tokio::time::timeout;
use tonic::{Code, Request, Streaming};

use super::{Stub, is, publishing, subscribing};
use crate::rig::{PATIENCE, Rig, event, memory, run_of};

async fn batch(stream: &mut Streaming<wire::Deliveries>) -> Vec<wire::Delivery> {
    let message = timeout(PATIENCE, stream.message()).await.expect("a message in time");
    message.unwrap().expect("a batch").deliveries
}

async fn deliveries(stream: &mut Streaming<wire::Deliveries>, count: usize) -> Vec<wire::Delivery> {
    let mut found = Vec::new();
    while found.len() < count {
        found.extend(batch(stream).await);
    }
    found
}

fn settlement(lease: &str, how: wire::SettleAs) -> wire::Settlement {
    let delay_ms = (how == wire::SettleAs::Nack).then_some(0);
    wire::Settlement { lease: lease.into(), r#as: how.into(), delay_ms, ..wire::Settlement::default() }
}

fn settling(settlements: Vec<wire::Settlement>) -> wire::SettleRequest {
    wire::SettleRequest { topic: "t".into(), group: "g".into(), settlements, confirm: true }
}

async fn codes(stub: &Stub, settlements: Vec<wire::Settlement>) -> Vec<String> {
    let results = stub.settle(settling(settlements)).await.unwrap().results;
    results.into_iter().map(|result| result.error.map_or_else(|| "OK".to_owned(), |problem| problem.code)).collect()
}

#[tokio::test]
async fn deliveries_are_settled_by_their_leases_over_any_connection() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    for id in ["1", "2", "3"] {
        stub.publish(publishing("t", id)).await.unwrap();
    }
    let mut stream = stub.subscribe(subscribing("t", "g")).await.unwrap();
    let got = deliveries(&mut stream, 3).await;
    assert_eq!(got.iter().map(|d| (d.position, d.attempt)).collect::<Vec<_>>(), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(got[0].event, event("1").encode().unwrap());

    let other = Stub::of(&rig).await;
    let [first, second, third] = [0, 1, 2].map(|n: usize| got[n].lease.as_str());
    let asked = vec![
        settlement(first, wire::SettleAs::Ack),
        settlement(second, wire::SettleAs::Nack),
        settlement("none", wire::SettleAs::Ack),
        settlement(third, wire::SettleAs::Reject),
    ];
    assert_eq!(codes(&other, asked).await, ["OK", "OK", "INVALID", "OK"]);
    let again = vec![settlement(first, wire::SettleAs::Ack), settlement(first, wire::SettleAs::Reject)];
    assert_eq!(codes(&other, again).await, ["OK", "LEASE_LOST"], "the first settle wins");
    let again = deliveries(&mut stream, 1).await;
    assert_eq!((again[0].position, again[0].attempt), (2, 2));
    let list = admin::ListDeadLetters { topic: "t".into(), ..admin::ListDeadLetters::default() };
    let letters: admin::DeadLetterList = stub.call("/meshwire.v1.Admin/ListDeadLetters", list).await.unwrap();
    assert_eq!(letters.letters.iter().map(|l| l.position).collect::<Vec<_>>(), [3]);

    let unknown = vec![settlement(first, wire::SettleAs::Unspecified), settlement(first, wire::SettleAs::Ack)];
    assert_eq!(codes(&other, unknown).await, ["INVALID", "OK"], "one that is wrong is alone so");
}

#[tokio::test]
async fn the_end_of_the_stream_gives_back_what_is_not_settled() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    stub.publish(publishing("t", "1")).await.unwrap();
    let mut first = stub.subscribe(subscribing("t", "g")).await.unwrap();
    let held = deliveries(&mut first, 1).await;
    let mut second = stub.subscribe(subscribing("t", "g")).await.unwrap();
    drop(first);
    let again = deliveries(&mut second, 1).await;
    assert_eq!((again[0].position, again[0].attempt), (1, 2));
    assert_eq!(codes(&stub, vec![settlement(&held[0].lease, wire::SettleAs::Ack)]).await, ["LEASE_LOST"]);
}

#[tokio::test]
async fn no_more_than_max_unsettled_comes_and_each_settle_makes_room() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    for id in 0..5 {
        stub.publish(publishing("t", &id.to_string())).await.unwrap();
    }
    let asked = wire::SubscribeRequest { max_unsettled: 2, ..subscribing("t", "g") };
    let mut stream = stub.subscribe(asked).await.unwrap();
    let mut came = 0;
    while came < 5 {
        let got = batch(&mut stream).await;
        assert!(got.len() <= 2, "{}", got.len());
        came += got.len();
        let acks = got.iter().map(|d| settlement(&d.lease, wire::SettleAs::Ack)).collect();
        assert!(codes(&stub, acks).await.iter().all(|code| code == "OK"));
    }
    let asked = wire::SubscribeRequest { max_unsettled: 1 << 20, ..subscribing("t", "g") };
    is(&stub.subscribe(asked).await.unwrap_err(), Code::InvalidArgument, ErrorKind::Invalid);
}

#[tokio::test]
async fn a_subscription_ends_at_its_deadline_with_its_topic_and_with_the_gateway() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let mut asked = Request::new(subscribing("t", ""));
    asked.metadata_mut().insert("grpc-timeout", "1S".parse().unwrap());
    let mut stream: Streaming<wire::Deliveries> = stub.stream("/meshwire.v1.Mesh/Subscribe", asked).await.unwrap();
    is(&stream.message().await.unwrap_err(), Code::DeadlineExceeded, ErrorKind::Timeout);

    let mut stream = stub.subscribe(subscribing("t", "")).await.unwrap();
    let delete = admin::DeleteTopic { name: "t".into(), force: true };
    stub.call::<_, admin::Topic>("/meshwire.v1.Admin/DeleteTopic", delete).await.unwrap();
    is(&stream.message().await.unwrap_err(), Code::NotFound, ErrorKind::TopicNotFound);

    let mut stream = stub.subscribe(subscribing("t", "")).await.unwrap();
    let stopping = tokio::spawn(rig.stop());
    is(&stream.message().await.unwrap_err(), Code::Unavailable, ErrorKind::Unavailable);
    stopping.await.unwrap();
}

#[tokio::test]
async fn a_reader_that_stalls_before_thousands_of_small_events_keeps_its_connection() {
    const EVENTS: usize = 6000;
    let rig = Rig::with(memory(), Arc::new(AllowAll)).await;
    // A client of this size gives up a connection with some thousand small frames unread.
    let window = |endpoint: tonic::transport::Endpoint| {
        endpoint.initial_connection_window_size(1 << 20).initial_stream_window_size(1 << 20)
    };
    let stub = Stub::with(&rig, window).await;
    let mut stream = stub.subscribe(subscribing("t", "")).await.unwrap();
    let mut publisher = rig.session().await;
    for id in 0..EVENTS {
        publisher.publish("t", run_of(&[event(&id.to_string())])).await;
    }
    // Nothing of what waited is lost, and the connection serves other calls again.
    let got = deliveries(&mut stream, EVENTS).await;
    assert!(got.iter().map(|d| d.position).eq(1..=EVENTS as u64));
    stub.publish(publishing("other", "1")).await.unwrap();
}
