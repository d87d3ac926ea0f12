//! A link that is cut while a program publishes.

use std::net::SocketAddr;

use meshwire::{Connect, Offline, Start};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::*;
use crate::program::Gateway;

/// How long there is no link. Ten minutes of it pass in virtual time (`core-client/tests/it/offline.rs`).
const AWAY: Duration = Duration::from_secs(30);

/// Carries connections to the gateway as long as the link is there, and ends them with it.
async fn carry(listener: TcpListener, to: SocketAddr, link: watch::Receiver<bool>) {
    loop {
        let (mut near, _) = listener.accept().await.unwrap();
        let mut link = link.clone();
        tokio::spawn(async move {
            if *link.borrow_and_update() {
                let Ok(mut far) = TcpStream::connect(to).await else { return };
                tokio::select! {
                    _ = copy_bidirectional(&mut near, &mut far) => {}
                    _ = link.changed() => {}
                }
            }
        });
    }
}

/// Publishes two hundred events a second for so long, also without a link.
async fn publish_steadily(mesh: &Mesh, next: &mut u64, span: Duration) {
    let mut ticks = tokio::time::interval(Duration::from_millis(5));
    let began = Instant::now();
    while began.elapsed() < span {
        ticks.tick().await;
        *next += 1;
        drop(mesh.publish_start(TOPIC, numbered(*next)).await.unwrap());
    }
}

#[test]
fn s52_while_the_link_is_cut_publishes_wait_and_then_all_arrive_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let gateways = (Gateway::start(), Gateway::start());
    let offline = Offline::new().file(directory.path().join("buffer"));
    runtime().block_on(async { tokio::join!(cut(&gateways.0, Offline::new()), cut(&gateways.1, offline)) });
}

async fn cut(gateway: &Gateway, offline: Offline) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("mesh://{}", listener.local_addr().unwrap());
    let (link, there) = watch::channel(true);
    let carrier = tokio::spawn(carry(listener, gateway.address.parse().unwrap(), there));
    let mesh = Connect::new(&url).offline(offline).await.unwrap();
    let consumer = connect(&gateway.url).await;
    let mut reader = consumer.subscribe(TOPIC).start(Start::Latest).await.unwrap();
    let mut last = 0;
    publish_steadily(&mesh, &mut last, Duration::from_secs(1)).await;
    link.send_replace(false);
    publish_steadily(&mesh, &mut last, AWAY).await;
    assert!(mesh.stats().buffered > AWAY.as_secs() * 100, "{:?}", mesh.stats());
    link.send_replace(true);
    publish_steadily(&mesh, &mut last, Duration::from_secs(1)).await;
    timeout(PATIENCE, mesh.flush()).await.expect("receipts come").unwrap();
    for n in 1..=last {
        let delivery = next(&mut reader).await;
        assert_eq!(delivery.event().id(), n.to_string());
        delivery.ack();
    }
    assert!(mesh.stats().reconnects > 0);
    carrier.abort();
}
