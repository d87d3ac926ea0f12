//! What a connection costs before it has logged in: 200 of each kind, each as far in its login as it can get.

use meshwire_certificates::{SelfSigned, connector};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::{PATIENCE, serving};
use crate::program::{Gateway, resident};

const CONNECTIONS: u64 = 200;

/// What one may cost.
pub(super) const BOUND: u64 = 256 * 1024;

const HEAD: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n";

pub(super) fn h2_frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags, 0, 0, 0, stream], payload].concat()
}

/// A header of HPACK that is kept in the table of the connection.
fn h2_header(size: usize) -> Vec<u8> {
    let length = size - 127;
    let mut block = vec![0x40, 1, b'x', 127, length as u8 | 0x80, (length >> 7) as u8];
    block.extend(vec![b'y'; size]);
    block
}

/// A call of gRPC without its body.
pub(super) fn grpc_head() -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/meshwire.session.v1.Session/Open"),
        (":authority", "localhost"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.as_bytes());
        }
    }
    block
}

/// A session in a gRPC stream, of which this much comes.
fn grpc(sent: &[u8]) -> Vec<u8> {
    let length = u32::try_from(sent.len()).unwrap().to_be_bytes();
    let message = [&[0][..], &length, sent].concat();
    let data: Vec<u8> = message.chunks(16 << 10).flat_map(|chunk| h2_frame(0, 0, 1, chunk)).collect();
    [&h2()[..], &h2_frame(1, 4, 1, &grpc_head()), &data].concat()
}

/// The beginning of HTTP/2.
pub(super) fn h2() -> Vec<u8> {
    [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &h2_frame(4, 0, 0, b"")].concat()
}

/// Frames of a client of which the last one is cut off before its last byte.
fn messages(sizes: &[usize]) -> Vec<u8> {
    let mut sent = b"GET /v1/ws HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        sec-websocket-protocol: meshwire.v1\r\n\r\n"
        .to_vec();
    for (n, size) in sizes.iter().enumerate() {
        sent.push(if n == 0 { 2 } else { 0 });
        sent.extend([&[0x80 | 127][..], &(*size as u64).to_be_bytes(), &[0; 4]].concat());
        sent.extend(vec![1; *size]);
    }
    sent.pop();
    sent
}

/// Beginnings of logins, as long as they may be.
fn beginnings() -> Vec<(&'static str, Vec<u8>)> {
    let h2 = h2();
    let block = h2_header(3900).repeat(4);
    let parts = [h2_frame(1, 1, 1, &block[..15_000]), h2_frame(9, 0, 1, &block[..100]).repeat(2)];
    let hello = [&[0xf3, b'm', b'e', b's', b'h', b'w', 0, 1][..], &65_536_u32.to_le_bytes(), &[0x0a; 65_535]].concat();
    vec![
        ("nothing", Vec::new()),
        (
            "half a head",
            [HEAD, &b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(190), b"z: ", &[b'z'; 56_000]].concat(),
        ),
        ("HTTP/2 without a request", h2.clone()),
        ("HTTP/2 with half a request", [&h2[..], &parts.concat()].concat()),
        // As much as the window of one stream takes.
        ("half a Hello by gRPC", grpc(&hello[..65_000])),
        ("half a Hello", hello),
        ("half a message", messages(&[64 << 10])),
        ("a message in parts", messages(&[60 << 10, 64 << 10])),
    ]
}

/// Opens connections of a kind, all of which is taken, and tells by how much each made the process grow.
pub(super) async fn grown(gateway: &Gateway, connector: Option<&TlsConnector>, sent: &[u8]) -> u64 {
    grown_by(gateway, connector, sent, |written| written.expect("it is not refused")).await
}

/// The same of connections that `wrote` judges.
pub(super) async fn grown_by(
    gateway: &Gateway,
    connector: Option<&TlsConnector>,
    sent: &[u8],
    wrote: impl Fn(std::io::Result<()>),
) -> u64 {
    let before = resident(&gateway.program);
    let mut held: Vec<Box<dyn Held>> = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut plain = TcpStream::connect(&gateway.address).await.unwrap();
        plain.set_nodelay(true).unwrap();
        if let Some(connector) = connector {
            let name = ServerName::try_from("localhost").unwrap();
            let mut inside = timeout(PATIENCE, connector.connect(name, plain)).await.unwrap().unwrap();
            wrote(timeout(PATIENCE, inside.write_all(sent)).await.expect("all is taken"));
            wrote(inside.flush().await);
            held.push(Box::new(inside));
        } else {
            wrote(timeout(PATIENCE, plain.write_all(sent)).await.expect("all is taken"));
            held.push(Box::new(plain));
        }
    }
    let port: u16 = gateway.address.rsplit_once(':').unwrap().1.parse().unwrap();
    let mut most = before;
    let taken = async {
        while !has_taken_all(port) {
            most = most.max(resident(&gateway.program));
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, taken).await.expect("the gateway reads all that was sent");
    // Who comes after them is served after them.
    gateway.publish("after", &["1"]);
    most = most.max(resident(&gateway.program));
    drop(held);
    (most - before) / CONNECTIONS
}

/// Whether nothing that was sent to this port waits in the kernel to be read.
fn has_taken_all(port: u16) -> bool {
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let ours = sockets.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_to = |field: usize| fields[field].ends_with(&format!(":{port:04X}"));
        let (sent, unread) = fields[4].split_once(':')?;
        // What a client has not sent yet, and what the gateway has not read yet. A listener's count is another one.
        let is_listener = fields[3] == "0A";
        (!is_listener).then_some((is_to(2) && sent != "00000000") || (is_to(1) && unread != "00000000"))
    });
    !ours.into_iter().any(|waits| waits)
}

/// A connection that is held open.
trait Held: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Held for T {}

#[tokio::test]
async fn a_connection_costs_at_most_256_kib_before_login_whatever_it_speaks() {
    let files = SelfSigned::of("localhost");
    let inside = connector(&files.certificate, None, &[]);
    // Handshake records that hold one message of nearly 64 KiB.
    let record = [&[0x16, 3, 1, 0x40, 0][..], &[0; 16 << 10]].concat();
    let handshake = [&[0x16, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff][..], &[0; (16 << 10) - 4], &record, &record].concat();
    let plain = beginnings().into_iter().map(|(name, sent)| (format!("{name}, plain"), None, sent));
    let secure = beginnings().into_iter().map(|(name, sent)| (format!("{name}, in TLS"), Some(&inside), sent));
    let half = [("half a handshake".to_owned(), None, handshake)];
    let mut over = Vec::new();
    for (name, connector, sent) in plain.chain(secure).chain(half) {
        // A process of its own for each: one that has grown before would seem to cost nothing.
        let gateway = serving(&files, "both", &["--memory", "--login-timeout", "60s"]);
        let grown = grown(&gateway, connector, &sent).await;
        println!("before login: {name}: {} KiB a connection", grown / 1024);
        if grown > BOUND {
            over.push(format!("{name}: {grown} bytes"));
        }
    }
    assert!(over.is_empty(), "over {BOUND}: {over:?}");
}
