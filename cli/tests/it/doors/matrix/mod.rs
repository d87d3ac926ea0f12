//! Whoever publishes, whoever consumes: our client over each transport, and programs that know nothing of us over HTTP
//! and gRPC, each plain and inside TLS. Every event is the same at its other end.
//!
//! - [`seen`]: what two events are compared by;
//! - [`requests`]: published with POST, received as lines of JSON, server-sent events and by fetch; [`formats`]: how it writes them;
//! - [`calls`]: unary gRPC, and its stream.

mod calls;
mod formats;
mod requests;
mod seen;

use std::path::{Path, PathBuf};

use meshwire::{Event, Mesh, Start};
use meshwire_certificates::{Files, SelfSigned, connector};
use meshwire_foreign::plain;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, client, serving};
use crate::program::Gateway;
use seen::{Came, Sent};

/// How our client comes in.
const OURS: [&str; 8] = ["tcp", "grpc", "ws", "http", "tcps", "grpcs", "wss", "https"];

/// How others do: the protocol, and whether inside TLS.
const OTHERS: [(&str, bool); 4] = [("requests", false), ("calls", false), ("requests", true), ("calls", true)];

trait Both: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Both for T {}

/// To the gateway at `localhost`.
struct Way {
    address: String,
    /// Whom to trust, inside TLS.
    tls: Option<PathBuf>,
}

impl Way {
    async fn open(&self, alpn: &str) -> Box<dyn Both> {
        let plain = TcpStream::connect(&self.address).await.unwrap();
        plain.set_nodelay(true).unwrap();
        match &self.tls {
            None => Box::new(plain),
            Some(root) => {
                Box::new(connector(root, None, &[alpn]).connect("localhost".try_into().unwrap(), plain).await.unwrap())
            }
        }
    }
}

/// One who publishes or consumes.
enum Door {
    Ours(Mesh),
    Requests(requests::Program),
    Calls(calls::Program),
}

impl Door {
    /// All of them, with names.
    async fn all(gateway: &Gateway, files: &Files) -> Vec<(String, Self)> {
        let mut doors = Vec::new();
        for scheme in OURS {
            doors.push((scheme.to_owned(), Self::Ours(client(gateway, files, scheme).await)));
        }
        for (protocol, tls) in OTHERS {
            let way = Way { address: gateway.address.clone(), tls: tls.then(|| files.certificate.clone()) };
            let door = match protocol {
                "calls" => Self::Calls(calls::Program(way)),
                _ => Self::Requests(requests::Program(way)),
            };
            doors.push((format!("{protocol}{}", if tls { ".tls" } else { "" }), door));
        }
        doors
    }

    /// A door with several modes takes the one whose turn it is.
    async fn publish(&self, topic: &str, set: &[Sent], turn: usize) {
        match self {
            Self::Ours(mesh) => {
                let events = set.iter().map(|sent| sent.event.clone()).collect();
                for receipt in mesh.publish_batch::<Event>(topic, events).await {
                    receipt.unwrap();
                }
            }
            Self::Requests(program) => program.publish(topic, set, turn).await,
            Self::Calls(program) => program.publish(topic, set).await,
        }
    }

    /// So many events, settled.
    async fn consume(&self, topic: &str, count: usize, turn: usize) -> Vec<Came> {
        match self {
            Self::Ours(mesh) => consumed(mesh, topic, count).await,
            Self::Requests(program) => program.consume(topic, count, turn).await,
            Self::Calls(program) => program.consume(topic, count).await,
        }
    }

    /// What has come from it is what was sent, byte for byte: nothing between is of another format.
    const fn is_protobuf(&self) -> bool {
        !matches!(self, Self::Requests(_))
    }
}

async fn consumed(mesh: &Mesh, topic: &str, count: usize) -> Vec<Came> {
    let mut subscription = mesh.subscribe(topic).group("g").start(Start::Earliest).await.unwrap();
    let mut events = Vec::new();
    while events.len() < count {
        let delivery = subscription.next().await.unwrap().unwrap();
        events.push(Came::Protobuf(Event::from_view(&delivery.event()).encode().unwrap()));
        if events.len() == count { delivery.ack_confirmed().await.unwrap() } else { delivery.ack() }
    }
    events
}

#[tokio::test]
async fn an_event_of_any_protocol_is_the_same_in_any_other() {
    let files = SelfSigned::of("localhost");
    // More than the rings of topics in memory hold.
    let folder = tempfile::tempdir().unwrap();
    let gateway = serving(&files, "both", &["--data-dir", folder.path().to_str().unwrap()]);
    let set = plain::read_set(Path::new(plain::SET)).unwrap();
    let set: Vec<Sent> = set.iter().map(|event| Sent::from(event.event().unwrap())).collect();
    assert_eq!(set.len(), 14);
    let doors = Door::all(&gateway, &files).await;
    let names: Vec<(String, bool)> = doors.iter().map(|(name, door)| (name.clone(), door.is_protobuf())).collect();
    for (publisher, door) in &doors {
        for (turn, (consumer, _)) in names.iter().enumerate() {
            door.publish(&format!("{publisher}-{consumer}"), &set, turn).await;
        }
    }
    let mut cells = 0;
    for (consumer, door) in &doors {
        for (turn, (publisher, exact)) in names.iter().enumerate() {
            let topic = format!("{publisher}-{consumer}");
            let consuming = timeout(PATIENCE, door.consume(&topic, set.len(), turn));
            let came = consuming.await.unwrap_or_else(|_| panic!("not all of {topic} came"));
            assert_eq!(came.len(), set.len(), "{topic}");
            for (sent, came) in set.iter().zip(&came) {
                came.must_be(sent, *exact, &topic);
            }
            cells += 1;
        }
    }
    assert_eq!(cells, 144);
}
