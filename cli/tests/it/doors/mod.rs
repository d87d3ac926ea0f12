//! One port, every protocol: what is published by one is consumed by any other, plain and inside TLS.

mod before_login;
mod certificate;
mod fidelity;
mod floods;
mod half_messages;

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire::{Connect, ErrorKind, Event, Mesh, Start};
use rustix::process::Signal;
use tokio::time::timeout;

use crate::program::Gateway;
use certificate::Files;

/// Nothing here takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// How a client comes in.
const SCHEMES: [&str; 8] = ["tcp", "grpc", "ws", "http", "tcps", "grpcs", "wss", "https"];

fn serving(files: &Files, mode: &str, more: &[&str]) -> Gateway {
    let (certificate, key) = (files.certificate.to_str().unwrap(), files.key.to_str().unwrap());
    let args = ["--tls", mode, "--tls-certificate", certificate, "--tls-key", key];
    Gateway::with(&[&args[..], more].concat())
}

async fn client(gateway: &Gateway, files: &Files, scheme: &str) -> Mesh {
    let url = format!("{scheme}://{}", gateway.address);
    let connect = Connect::new(&url).tls_roots(&files.certificate).tls_server_name("localhost");
    connect.await.unwrap_or_else(|e| panic!("{scheme}: {e}"))
}

/// What came, by topic: all events of the set, in order.
async fn consumed(mesh: &Mesh, topic: &str, count: usize) -> Vec<Event> {
    let mut subscription = mesh.subscribe(topic).group("g").start(Start::Earliest).await.unwrap();
    let mut events = Vec::new();
    while events.len() < count {
        let next = timeout(PATIENCE, subscription.next()).await;
        let delivery = next.unwrap_or_else(|_| panic!("only {} of {topic} came", events.len())).unwrap().unwrap();
        events.push(Event::from_view(&delivery.event()));
        delivery.ack_confirmed().await.unwrap();
    }
    events
}

#[tokio::test]
async fn an_event_of_any_protocol_is_the_same_in_any_other() {
    let files = Files::new();
    // More than the rings of topics in memory hold.
    let folder = tempfile::tempdir().unwrap();
    let gateway = serving(&files, "both", &["--data-dir", folder.path().to_str().unwrap()]);
    let set = fidelity::set();
    for publisher in SCHEMES {
        let mesh = client(&gateway, &files, publisher).await;
        for consumer in SCHEMES {
            let topic = format!("{publisher}-{consumer}");
            for receipt in mesh.publish_batch(&topic, set.clone()).await {
                receipt.unwrap();
            }
        }
        mesh.close().await.unwrap();
    }
    let mut cells = BTreeMap::new();
    for consumer in SCHEMES {
        let mesh = client(&gateway, &files, consumer).await;
        for publisher in SCHEMES {
            let topic = format!("{publisher}-{consumer}");
            let came = consumed(&mesh, &topic, set.len()).await;
            for (sent, came) in set.iter().zip(&came) {
                assert_eq!(came.encode().unwrap(), sent.encode().unwrap(), "{topic}: {came:?}");
            }
            cells.insert(topic, came.len());
        }
        mesh.close().await.unwrap();
    }
    assert_eq!(cells.len(), SCHEMES.len() * SCHEMES.len());
}

#[tokio::test]
async fn a_client_without_tls_is_told_that_it_is_needed_and_one_that_does_not_trust_the_certificate_ends() {
    let files = Files::new();
    let gateway = serving(&files, "required", &["--memory"]);
    for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
        let error = Connect::new(&format!("{scheme}://{}", gateway.address)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TlsRequired, "{scheme}: {error}");
        assert!(error.to_string().contains("meshs://"), "{scheme}: {error}");
    }
    for scheme in ["tcps", "wss", "grpcs", "https"] {
        let url = format!("{scheme}://{}", gateway.address);
        let stranger = Files::new();
        for connect in [
            Connect::new(&url).tls_roots(&stranger.certificate).tls_server_name("localhost"),
            Connect::new(&url).tls_roots(&files.certificate).tls_server_name("elsewhere"),
        ] {
            let error = connect.await.unwrap_err().to_string();
            assert!(error.contains("certificate"), "{scheme}: {error}");
        }
    }
}

#[tokio::test]
async fn sighup_reads_the_certificate_again_and_connections_go_on() {
    let files = Files::new();
    let mut gateway = serving(&files, "required", &["--memory"]);
    let before = client(&gateway, &files, "tcps").await;
    files.renew();
    gateway.program.signal(Signal::HUP);
    gateway.program.wait_for_log("the certificate was read again");
    let after = client(&gateway, &files, "tcps").await;
    for mesh in [before, after] {
        mesh.publish("t", Event::text("t", "x")).await.unwrap();
    }
    std::fs::write(&files.key, "no key").unwrap();
    gateway.program.signal(Signal::HUP);
    gateway.program.wait_for_log("the one of before is kept");
    client(&gateway, &files, "wss").await.publish("t", Event::text("t", "x")).await.unwrap();
}
