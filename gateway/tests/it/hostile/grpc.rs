//! gRPC: messages against its framing, calls that are none, and events that are none. The next call of the same connection is served.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use meshwire_gateway::ingress::BoxIo;
use meshwire_gateway::ingress::tls::{TlsConfig, TlsMode};
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::mesh as wire;
use prost::Message as _;
use tokio::time::timeout;
use tonic::Status;

use super::frames::{attribute, event, falling, field};
use crate::certificates::{Authority, handshake};
use crate::doors::Said;
use crate::rig::{PATIENCE, Rig, memory};

const PUBLISH: &str = "/meshwire.v1.Mesh/Publish";
const SESSION: &str = meshwire_proto::codec::grpc::SESSION_PATH;

/// One call: its message with the five bytes before it, and the code that it is told.
struct Call {
    name: String,
    method: http::Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Vec<u8>,
    kind: ErrorKind,
}

impl Call {
    fn new(name: impl Into<String>, path: &'static str, body: Vec<u8>, kind: ErrorKind) -> Self {
        let headers = vec![("content-type", "application/grpc")];
        Self { name: name.into(), method: http::Method::POST, path, headers, body, kind }
    }

    /// A good publish with one more header.
    fn with(name: &'static str, value: &'static str, kind: ErrorKind) -> Self {
        let mut call = Self::new(format!("{name}: {value}"), PUBLISH, good(), kind);
        call.headers.retain(|(known, _)| *known != name);
        call.headers.push((name, value));
        call
    }
}

/// A message behind its flag and length.
fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    [&[flag], &length[..], message].concat()
}

fn publish(topic: &str, event: &[u8]) -> Vec<u8> {
    let event = event.to_vec().into();
    let asked = wire::PublishRequest { topic: topic.into(), event, ..wire::PublishRequest::default() };
    framed(0, &asked.encode_to_vec())
}

fn good() -> Vec<u8> {
    publish("t", &event(&[], b""))
}

fn framing() -> Vec<Call> {
    let add = |name: &str, body: Vec<u8>, kind: ErrorKind| Call::new(name, PUBLISH, body, kind);
    let good = good();
    let mut flagged = good.clone();
    flagged[0] = 1;
    vec![
        add("no message", Vec::new(), ErrorKind::Invalid),
        add("half a prefix", vec![0, 0, 0], ErrorKind::Invalid),
        add("a prefix alone", vec![0, 0, 0, 0, 9], ErrorKind::Invalid),
        add("a message that breaks off", good[..good.len() - 1].to_vec(), ErrorKind::Invalid),
        add("a length of 4 GiB", [&[0, 0xff, 0xff, 0xff, 0xff], &good[5..]].concat(), ErrorKind::Invalid),
        add("a byte too much", [&good[..], b"x"].concat(), ErrorKind::Invalid),
        add("two messages", good.repeat(2), ErrorKind::Invalid),
        add("a compressed message", flagged, ErrorKind::Unsupported),
        add("a flag that is none", [&[0xff], &good[1..]].concat(), ErrorKind::Unsupported),
        add("a message over the limit", framed(0, &vec![0; (1 << 20) + 1]), ErrorKind::TooLarge),
        add("an empty message", framed(0, b""), ErrorKind::Invalid),
        add("a tag without a value", framed(0, b"\x0a"), ErrorKind::Invalid),
        add("a length that lies", framed(0, b"\x0a\x7f"), ErrorKind::Invalid),
        add("a topic that is not UTF-8", framed(0, &field(1, b"\xff")), ErrorKind::Invalid),
        add("groups 100,000 levels deep", framed(0, &vec![0x4b; 100_000]), ErrorKind::Invalid),
        add("a varint of 11 bytes", framed(0, &[b"\x08", &[0xff; 11][..]].concat()), ErrorKind::Invalid),
        add("no event", framed(0, &field(1, b"t")), ErrorKind::Invalid),
    ]
}

fn calls() -> Vec<Call> {
    let add = |name: &str, path: &'static str, kind: ErrorKind| Call::new(name, path, good(), kind);
    let mut calls = vec![
        add("an unknown method", "/meshwire.v1.Mesh/Nothing", ErrorKind::Unsupported),
        add("an unknown service", "/meshwire.v9.Mesh/Publish", ErrorKind::Unsupported),
        add("more behind the method", "/meshwire.v1.Mesh/Publish/x", ErrorKind::Unsupported),
        add("the path alone", "/", ErrorKind::Unsupported),
        Call::new("a session without a preface", SESSION, framed(0, b"GET / HTTP/1.1\r\n\r\n"), ErrorKind::Invalid),
        Call::new("a session that ends at once", SESSION, Vec::new(), ErrorKind::Invalid),
        Call::new("a session in compressed messages", SESSION, framed(1, b"x"), ErrorKind::Unsupported),
        Call::with("content-type", "application/json", ErrorKind::Unsupported),
        Call::with("content-type", "application/grpc-web", ErrorKind::Unsupported),
        Call::with("grpc-encoding", "gzip", ErrorKind::Unsupported),
        Call::with("grpc-timeout", "soon", ErrorKind::Invalid),
        Call::with("grpc-timeout", "-1S", ErrorKind::Invalid),
        Call::with("grpc-timeout", "123456789S", ErrorKind::Invalid),
        Call::with("authorization", "Bearer x", ErrorKind::Unauthenticated),
        Call::with("origin", "https://evil.example", ErrorKind::OriginRefused),
    ];
    calls.push(Call { method: http::Method::PUT, ..add("another verb", PUBLISH, ErrorKind::Invalid) });
    let mut many = add("300 headers", PUBLISH, ErrorKind::TooLarge);
    many.headers.extend([("x", "y"); 300]);
    calls.push(many);
    calls
}

fn events() -> Vec<Call> {
    let add = |name: &str, topic: &str, event: &[u8], kind: ErrorKind| {
        Call::new(format!("event: {name}"), PUBLISH, publish(topic, event), kind)
    };
    let (good, long) = (event(&[], b""), vec![b'x'; 66 << 10]);
    let invalid = ErrorKind::Invalid;
    vec![
        add("none", "t", b"", invalid),
        add("garbage", "t", b"\xff\xff", invalid),
        add("no id", "t", &event(&[(1, b"")], b""), invalid),
        add("an id that is not UTF-8", "t", &event(&[(1, b"\xff")], b""), invalid),
        add("an attribute twice", "t", &event(&[], &attribute("a", b"1").repeat(2)), invalid),
        add("a NUL in an attribute", "t", &event(&[], &attribute("a", b"\0")), invalid),
        add("attributes over the limit", "t", &event(&[], &attribute("a", &long)), ErrorKind::TooLarge),
        add("40,000 attributes in falling order", "t", &event(&[], &falling(40_000)), ErrorKind::TooLarge),
        add("a slash in the topic", "a/b", &good, invalid),
        add("no topic", "", &good, invalid),
        add("the gateway's topic", "$x", &good, invalid),
        add("a topic of 121 bytes", &"t".repeat(121), &good, invalid),
    ]
}

/// More events and settlements than are taken, of which the smallest cost two bytes.
fn many() -> Vec<Call> {
    let message = |before: &[u8], number: u8, item: &[u8], count: usize| {
        framed(0, &[before, &field(number, item).repeat(count)].concat())
    };
    let (batch, settle) = ("/meshwire.v1.Mesh/PublishBatch", "/meshwire.v1.Mesh/Settle");
    let (topic, group) = (field(1, b"t"), [field(1, b"t"), field(2, b"g")].concat());
    let add = |name: &str, path: &'static str, body: Vec<u8>| Call::new(name, path, body, ErrorKind::TooLarge);
    let event = event(&[], b"");
    vec![
        add("a batch of 10,001 events", batch, message(&topic, 2, &event, 10_001)),
        add("a batch of 10,001 events of nothing", batch, message(&topic, 2, b"", 10_001)),
        add("a batch of 500,000 events of nothing", batch, message(&topic, 2, b"", 500_000)),
        add("10,001 settlements of nothing", settle, message(&group, 3, b"", 10_001)),
        add("500,000 settlements of nothing", settle, message(&group, 3, b"", 500_000)),
        add("a publish of 500,000 numbers", PUBLISH, framed(0, &b"\x18\x01".repeat(500_000))),
    ]
}

/// What a call is told: `None` if it is served.
async fn play(client: &SendRequest<Bytes>, call: &Call) -> Option<Said> {
    let mut request = http::Request::builder().method(&call.method).uri(format!("http://localhost{}", call.path));
    for (name, value) in &call.headers {
        request = request.header(*name, *value);
    }
    let (answer, mut body) =
        client.clone().ready().await.unwrap().send_request(request.body(()).unwrap(), false).unwrap();
    // The gateway may have answered without all of it.
    let _ = body.send_data(call.body.clone().into(), true);
    let (head, mut body) = answer.await.unwrap().into_parts();
    let mut bytes = Vec::new();
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend(piece);
    }
    if !head.headers["content-type"].to_str().unwrap().starts_with("application/grpc") {
        let after = head.headers.get("retry-after").map(|value| value.to_str().unwrap());
        return Some(Said::problem(head.status.as_u16(), after, &bytes));
    }
    let behind = body.trailers().await.ok().flatten().unwrap_or_default();
    let status = Status::from_header_map(&head.headers).or_else(|| Status::from_header_map(&behind));
    let status = status.expect("a status");
    (status.code() != tonic::Code::Ok).then(|| Said::status(&status))
}

/// Whether it is that code; what is no gRPC is told so by the status of HTTP that says it.
fn is_told(said: &Said, kind: ErrorKind) -> bool {
    let Said::Problem { status, code, .. } = said else { return said.is(kind) };
    [405, 415].contains(status) && code == kind.code()
}

/// Plays all over one connection; what was wrong.
async fn play_all(stream: BoxIo, at: &str, cases: &[Call]) -> Vec<String> {
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    let connection = tokio::spawn(connection);
    let (next, mut wrong) = (Call::new("the next", PUBLISH, good(), ErrorKind::Internal), Vec::new());
    for case in cases {
        match timeout(PATIENCE, play(&client, case)).await {
            Ok(Some(said)) if is_told(&said, case.kind) => {}
            other => wrong.push(format!("{} ({at}): {other:?}, not {}", case.name, case.kind)),
        }
        let served = timeout(PATIENCE, play(&client, &next)).await;
        assert_eq!(served.ok(), Some(None), "after {} ({at})", case.name);
    }
    connection.abort();
    wrong
}

#[tokio::test]
async fn every_bad_call_of_grpc_is_told_its_code_and_the_next_of_its_connection_is_served() {
    let authority = Authority::new();
    let files = authority.gateway();
    let mut config = memory();
    config.max_frame_bytes = 1 << 20;
    let mode = Some(TlsMode::Both);
    config.tls = TlsConfig { mode, certificate: files.certificate, key: files.key, client_roots: PathBuf::new() };
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let cases: Vec<Call> = [framing(), calls(), events(), many()].into_iter().flatten().collect();
    let mut wrong = play_all(Box::new(rig.socket().await), "plain", &cases).await;
    let inside = handshake(&rig, &authority.root(), None, &["h2"]).await.unwrap();
    wrong.extend(play_all(Box::new(inside), "TLS", &cases).await);
    println!("gRPC: {} cases, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
