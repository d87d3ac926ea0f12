//! Sessions inside plain HTTP requests: client and gateway as they are, with something between them that cuts, keeps
//! back, or lets nothing else through.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use meshwire::{Connect, ErrorKind, Event, Mesh};
use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_gateway::run::Gateway;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// Nothing here takes so long; it turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(60);

async fn gateway() -> SocketAddr {
    gateway_with(|_| {}).await
}

async fn gateway_with(change: impl FnOnce(&mut Config)) -> SocketAddr {
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.memory = true;
    change(&mut config);
    let gateway = Gateway::open_with(config, Arc::new(AllowAll)).await.unwrap();
    let address = gateway.address();
    tokio::spawn(async { gateway.serve(std::future::pending()).await.unwrap() });
    address
}

/// What becomes of a connection.
#[derive(Clone, Copy)]
enum Fate {
    /// Ended after so many bytes, both directions together.
    Cut(usize),
    /// Answers are kept back until they are whole.
    KeptBack,
    /// Answered as if the gateway knew nothing of the session.
    Unknown,
    Passed,
}

/// A port before the gateway where the n-th connection has such a fate, and how many were made.
async fn between(gateway: SocketAddr, fate: impl Fn(usize) -> Fate + Send + 'static) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let made = Arc::clone(&count);
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (number, mut client) = (made.fetch_add(1, Ordering::Relaxed), client);
            if matches!(fate(number), Fate::Unknown) {
                let _ = client.read(&mut [0; 4096]).await;
                let _ = client.write_all(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n").await;
                continue;
            }
            let server = TcpStream::connect(gateway).await.unwrap();
            tokio::spawn(pass(client, server, fate(number)));
        }
    });
    (address, count)
}

async fn pass(mut client: TcpStream, mut server: TcpStream, fate: Fate) {
    let mut left = if let Fate::Cut(after) = fate { after } else { usize::MAX };
    let (mut up, mut down) = (vec![0; 4096], vec![0; 4096]);
    let mut kept = Vec::new();
    loop {
        tokio::select! {
            count = client.read(&mut up) => match count {
                Ok(count @ 1..) => {
                    let part = count.min(left);
                    left -= part;
                    if server.write_all(&up[..part]).await.is_err() {
                        break;
                    }
                }
                _ => break,
            },
            count = server.read(&mut down) => match count {
                Ok(count @ 1..) if matches!(fate, Fate::KeptBack) => {
                    kept.extend_from_slice(&down[..count]);
                    // The end of an answer in chunks, or one that has none.
                    let whole = kept.ends_with(b"\r\n0\r\n\r\n") || !contains(&kept, b"chunked");
                    if whole && client.write_all(&std::mem::take(&mut kept)).await.is_err() {
                        break;
                    }
                }
                Ok(count @ 1..) => {
                    let part = count.min(left);
                    left -= part;
                    if client.write_all(&down[..part]).await.is_err() {
                        break;
                    }
                }
                _ => break,
            },
        }
        if left == 0 {
            break;
        }
    }
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

async fn connect(url: String) -> Mesh {
    let connect = Connect::new(&url).name("test").wait(PATIENCE);
    connect.reconnect(Duration::from_millis(1), Duration::from_millis(20)).await.unwrap()
}

/// Publishes so many events while it consumes them; each must be kept once, and none may come again once it is acked.
async fn exchange(mesh: &Mesh, topic: &str, count: usize) {
    let mut members = mesh.subscribe(topic).group("g").await.unwrap();
    let publishing = async {
        for n in 0..count {
            let event = Event::text("t", format!("data {n}")).id(n.to_string()).source("/test");
            mesh.publish(topic, event).await.unwrap();
        }
    };
    let consuming = async {
        let mut acked: BTreeMap<String, usize> = BTreeMap::new();
        while acked.len() < count {
            let delivery = members.try_next().await.unwrap().unwrap();
            let id = delivery.id().to_owned();
            assert_eq!(delivery.text().unwrap(), format!("data {id}"));
            if delivery.ack_confirmed().await.is_ok() {
                *acked.entry(id).or_default() += 1;
            }
        }
        assert!(acked.values().all(|times| *times == 1), "{acked:?}");
    };
    timeout(PATIENCE, async { tokio::join!(publishing, consuming) }).await.expect("an end");
    let topics = mesh.topics().list().await.unwrap();
    let listed = topics.iter().find(|t| t.name == topic).unwrap();
    assert_eq!(listed.next.to_string(), (count + 1).to_string(), "each event is kept once");
    let group = &listed.groups[0];
    assert_eq!(group.lag, 0, "{group:?}");
}

#[tokio::test]
async fn over_plain_http_events_are_published_consumed_and_acked() {
    let address = gateway().await;
    let mesh = connect(format!("http://{address}")).await;
    exchange(&mesh, "orders", 50).await;
    assert_eq!(mesh.stats().reconnects, 0);
    mesh.close().await.unwrap();
}

#[tokio::test]
async fn over_plain_http_an_event_of_a_mebibyte_arrives_as_it_was() {
    let address = gateway().await;
    let mesh = connect(format!("http://{address}")).await;
    let mut large = mesh.subscribe("large").group("g").await.unwrap();
    let data: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let text: String = data.iter().map(|b| char::from(b % 64 + 32)).collect();
    let consuming = async {
        for n in 0..4 {
            let delivery = timeout(PATIENCE, large.try_next()).await.unwrap().unwrap().unwrap();
            assert_eq!((delivery.id(), delivery.text().unwrap() == text), (n.to_string().as_str(), true));
            delivery.ack_confirmed().await.unwrap();
        }
    };
    let publishing = async {
        for n in 0..4 {
            let event = Event::text("t", text.clone()).id(n.to_string()).source("/test");
            mesh.publish("large", event).await.unwrap();
        }
    };
    tokio::join!(publishing, consuming);
    mesh.close().await.unwrap();
}

#[tokio::test]
async fn cut_after_any_number_of_bytes_nothing_is_lost_and_nothing_applied_twice() {
    let address = gateway().await;
    // Steps that meet every part of heads and bodies; later connections are cut at other places.
    for after in (1..1400).step_by(37) {
        let cut = move |number: usize| match number {
            0..12 => Fate::Cut(after + number * 53),
            _ => Fate::Passed,
        };
        let (port, made) = between(address, cut).await;
        let mesh = connect(format!("http://{port}")).await;
        exchange(&mesh, &format!("cut-{after}"), 10).await;
        assert!(made.load(Ordering::Relaxed) > 3, "it was cut");
        mesh.close().await.unwrap();
    }
}

#[tokio::test]
async fn cut_again_and_again_at_places_from_a_seed_nothing_is_lost_and_nothing_applied_twice() {
    let address = gateway().await;
    for seed in 1..9_u64 {
        let cut = move |number: usize| {
            let mixed = (seed << 32 | number as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            Fate::Cut(300 + (mixed >> 40) as usize % 2500)
        };
        let (port, made) = between(address, cut).await;
        let mesh = connect(format!("http://{port}")).await;
        exchange(&mesh, &format!("seed-{seed}"), 60).await;
        assert!(made.load(Ordering::Relaxed) > 10, "it was cut");
        mesh.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_session_that_loses_its_carrier_is_resumed_over_another_one() {
    let address = gateway().await;
    let fate = |number| match number {
        0 | 1 => Fate::Cut(3000),
        2 => Fate::Unknown,
        _ => Fate::Passed,
    };
    let (port, _) = between(address, fate).await;
    let mesh = connect(format!("http://{port}")).await;
    exchange(&mesh, "resumed", 40).await;
    assert!(mesh.stats().resumes >= 1, "{:?}", mesh.stats());
    mesh.close().await.unwrap();
}

#[tokio::test]
async fn where_long_answers_are_kept_back_short_ones_are_asked_for() {
    let address = gateway().await;
    let (port, _) = between(address, |_| Fate::KeptBack).await;
    let mesh = connect(format!("http://{port}")).await;
    exchange(&mesh, "kept-back", 5).await;
    assert_eq!(mesh.stats().reconnects, 0);
    mesh.close().await.unwrap();
}

#[tokio::test]
async fn inside_tls_every_carrier_does_the_same() {
    let made = meshwire_certificates::SelfSigned::of("localhost");
    let meshwire_certificates::Files { certificate, key } = (*made).clone();
    let set = |config: &mut Config| (config.tls.certificate, config.tls.key) = (certificate.clone(), key);
    let port = gateway_with(set).await.port();
    for scheme in ["meshs", "tcps", "grpcs", "wss", "https"] {
        let mesh = Connect::new(&format!("{scheme}://localhost:{port}")).tls_roots(&certificate).await.unwrap();
        exchange(&mesh, scheme, 5).await;
        mesh.close().await.unwrap();
    }
    for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
        let error = Connect::new(&format!("{scheme}://localhost:{port}")).await.unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::TlsRequired | ErrorKind::Unavailable), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn a_token_that_the_gateway_cannot_verify_is_unauthenticated_on_every_carrier() {
    let address = gateway().await;
    for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
        let error = Connect::new(&format!("{scheme}://{address}")).token("secret-token").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{scheme}: {error}");
        assert!(!format!("{error:?}").contains("secret-token"), "{error:?}");
    }
}

#[tokio::test]
async fn where_only_http_gets_through_a_mesh_url_finds_it() {
    let address = gateway().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = vec![0; 4096];
                let count = client.read(&mut head).await.unwrap();
                if head[..count].starts_with(b"POST ") || head[..count].starts_with(b"GET /v1/session") {
                    let mut server = TcpStream::connect(address).await.unwrap();
                    server.write_all(&head[..count]).await.unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                } else {
                    let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
                }
            });
        }
    });
    let mesh = timeout(Duration::from_secs(5), connect(format!("mesh://{port}"))).await.unwrap();
    exchange(&mesh, "found", 5).await;
    mesh.close().await.unwrap();
}
