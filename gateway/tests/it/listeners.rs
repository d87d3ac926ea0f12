//! Listeners beside the one port: each serves what it is for, over the same topics and sessions.

use std::net::SocketAddr;
use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::ingress::tls::TlsConfig;
use meshwire_gateway::ingress::{Also, Scheme};
use meshwire_gateway::mesh::AllowAll;
use meshwire_gateway::run::{Gateway, RunError};
use meshwire_proto::frame::{PREFACE, ServerFrame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::certificates::{Authority, handshake};
use crate::rig::{PATIENCE, Peer, Rig, earliest, event, hello, memory, run_of};

fn with(schemes: &[&str]) -> Config {
    let also = |name: &&str| Also { scheme: Scheme::parse(name).unwrap(), address: ([127, 0, 0, 1], 0).into() };
    let mut config = memory();
    config.listen_also = schemes.iter().map(also).collect();
    config
}

async fn started(config: Config) -> (Rig, Vec<SocketAddr>) {
    let gateway = Gateway::open_with(config, Arc::new(AllowAll)).await.unwrap();
    let addresses = gateway.also().iter().map(|also| also.address).collect();
    (Rig::of(gateway), addresses)
}

/// What comes for these bytes, to the end.
async fn told(address: SocketAddr, sent: &[u8]) -> String {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(sent).await.unwrap();
    let mut came = Vec::new();
    let _ = timeout(PATIENCE, socket.read_to_end(&mut came)).await.expect("an end");
    came.escape_ascii().to_string()
}

const HEALTH: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";

#[tokio::test]
async fn a_listener_for_one_protocol_serves_that_and_knows_no_other() {
    let (rig, addresses) = started(with(&["http", "tcp", "mesh"])).await;
    let [http, tcp, mesh] = addresses[..] else { panic!("{addresses:?}") };
    assert!(told(http, HEALTH).await.starts_with("HTTP/1.1 200 "));
    assert!(told(http, &PREFACE).await.contains("no protocol that is served here"));
    assert!(told(tcp, HEALTH).await.contains("no protocol that is served here"));
    assert!(told(mesh, HEALTH).await.starts_with("HTTP/1.1 200 "));

    // One mesh behind all of them.
    let mut peer = Peer::over(Box::new(TcpStream::connect(tcp).await.unwrap())).await;
    peer.login(hello()).await;
    peer.publish("t", run_of(&[event("1")])).await;
    let mut other = rig.session().await;
    other.subscribe(earliest(1, "t", "g")).await;
    other.find(|f| matches!(f, ServerFrame::Deliver(_)).then_some(())).await;
    rig.stop().await;
    assert!(
        TcpStream::connect(tcp).await.is_err() && TcpStream::connect(http).await.is_err(),
        "they end with the gateway"
    );
}

#[tokio::test]
async fn plain_on_loopback_may_stand_beside_tls_and_tls_beside_both() {
    let authority = Authority::new();
    let files = authority.gateway();
    let mut config = with(&["http", "https"]);
    config.tls = TlsConfig {
        mode: None,
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        ..TlsConfig::default()
    };
    let (mut rig, addresses) = started(config).await;
    assert!(told(rig.address, HEALTH).await.contains("TLS_REQUIRED"), "the first one has TLS only");
    assert!(told(addresses[0], HEALTH).await.starts_with("HTTP/1.1 200 "));
    assert!(told(addresses[1], HEALTH).await.contains("TLS_REQUIRED"));
    rig.address = addresses[1];
    let mut inside = handshake(&rig, &authority.root(), None, &[]).await.unwrap();
    inside.write_all(HEALTH).await.unwrap();
    let mut came = Vec::new();
    let _ = timeout(PATIENCE, inside.read_to_end(&mut came)).await.expect("an end");
    assert!(came.starts_with(b"HTTP/1.1 200 "), "{}", came.escape_ascii());
    rig.stop().await;
}

#[tokio::test]
async fn a_listener_that_cannot_be_is_refused_by_name_before_anything_is_served() {
    let refused = |config| async { Gateway::open_with(config, Arc::new(AllowAll)).await.err().expect("it is refused") };
    let error = refused(with(&["https"])).await;
    assert!(matches!(error, RunError::NoCertificate { scheme: "https", .. }), "{error}");
    let mut config = with(&["http"]);
    config.listen_also[0].address = ([0, 0, 0, 0], 0).into();
    let error = refused(config).await;
    assert!(
        matches!(error, RunError::Open { option: "listen_also", address } if address.ip().is_unspecified()),
        "{error}"
    );
    let (rig, addresses) = started(with(&["http"])).await;
    let mut config = with(&["http"]);
    config.listen_also[0].address = addresses[0];
    let error = refused(config).await;
    assert!(error.to_string().contains(&addresses[0].to_string()), "{error}");
    rig.stop().await;
}
