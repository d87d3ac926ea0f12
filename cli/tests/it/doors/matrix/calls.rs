//! gRPC by hand, as a plain stub does it: unary Publish, the stream of Subscribe, Settle.

use bytes::{Buf as _, Bytes, BytesMut};
use h2::RecvStream;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use meshwire_proto::wire::mesh as wire;
use prost::Message;

use super::Way;
use super::seen::{Came, Sent};

/// Most bytes on their way to it: more than the largest event.
const WINDOW: u32 = 4 << 20;

/// One who makes a connection for each thing that it does.
pub(super) struct Program(pub(super) Way);

struct Stub(SendRequest<Bytes>);

/// The messages of an answer.
struct Answer {
    body: RecvStream,
    unread: BytesMut,
}

impl Program {
    pub(super) async fn publish(&self, topic: &str, set: &[Sent]) {
        let stub = Stub::open(&self.0).await;
        for event in set {
            let event = event.bytes.clone();
            let request = wire::PublishRequest { topic: topic.to_owned(), event, ..Default::default() };
            let published: wire::PublishResponse = stub.call("Publish", &request).await;
            assert!(published.position > 0 && !published.duplicate, "{published:?}");
        }
    }

    pub(super) async fn consume(&self, topic: &str, count: usize) -> Vec<Came> {
        let stub = Stub::open(&self.0).await;
        let (topic, group) = (topic.to_owned(), "g".to_owned());
        let request =
            wire::SubscribeRequest { topic: topic.clone(), group: group.clone(), ..wire::SubscribeRequest::default() };
        let mut answer = stub.ask("Subscribe", &request).await;
        let (mut came, mut settlements) = (Vec::new(), Vec::new());
        while came.len() < count {
            let some = wire::Deliveries::decode(answer.next().await.expect("more deliveries")).unwrap();
            for delivery in some.deliveries {
                came.push(Came::Protobuf(delivery.event));
                let (lease, settle_as) = (delivery.lease, wire::SettleAs::Ack.into());
                settlements.push(wire::Settlement { lease, r#as: settle_as, ..wire::Settlement::default() });
            }
        }
        let request = wire::SettleRequest { topic, group, settlements, confirm: true };
        let settled: wire::SettleResponse = stub.call("Settle", &request).await;
        assert_eq!(settled.results, vec![wire::SettleResult::default(); count]);
        came
    }
}

impl Stub {
    async fn open(way: &Way) -> Self {
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (requests, connection) = builder.handshake(way.open("h2").await).await.unwrap();
        // It ends with the last stream.
        tokio::spawn(connection);
        Self(requests)
    }

    async fn call<T: Message + Default>(&self, name: &str, request: &impl Message) -> T {
        let mut answer = self.ask(name, request).await;
        let message = T::decode(answer.next().await.unwrap_or_default()).unwrap();
        assert_eq!(answer.next().await, None, "one answer");
        message
    }

    async fn ask(&self, name: &str, request: &impl Message) -> Answer {
        let head = Request::post(format!("http://localhost/meshwire.v1.Mesh/{name}"));
        let head = head.header("content-type", "application/grpc").header("te", "trailers").body(()).unwrap();
        let mut requests = self.0.clone().ready().await.unwrap();
        let (answer, mut body) = requests.send_request(head, false).unwrap();
        let message = request.encode_to_vec();
        let length = u32::try_from(message.len()).unwrap().to_be_bytes();
        body.send_data([&[0][..], &length, &message].concat().into(), true).unwrap();
        let (head, body) = answer.await.unwrap().into_parts();
        is_ok(&head.headers);
        Answer { body, unread: BytesMut::new() }
    }
}

impl Answer {
    /// The next message; `None` at an end that is good.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(length) = self.unread.get(1..5) {
                let whole = 5 + u32::from_be_bytes(length.try_into().unwrap()) as usize;
                if self.unread.len() >= whole {
                    let mut message = self.unread.split_to(whole);
                    message.advance(5);
                    return Some(message.freeze());
                }
            }
            let Some(data) = self.body.data().await else {
                assert!(self.unread.is_empty(), "cut off");
                is_ok(&self.body.trailers().await.unwrap().unwrap_or_default());
                return None;
            };
            let data = data.unwrap();
            self.body.flow_control().release_capacity(data.len()).unwrap();
            self.unread.extend_from_slice(&data);
        }
    }
}

fn is_ok(headers: &HeaderMap) {
    if let Some(status) = headers.get("grpc-status") {
        assert_eq!(status, "0", "{headers:?}");
    }
}
