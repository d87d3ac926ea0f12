//! A `mesh://` URL finds what gets through a network: the real client, the real gateway, and a box between them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use meshwire::{Connect, Event, Mesh};
use meshwire_gateway::config::Config;
use meshwire_gateway::run::Gateway;
use tokio::time::timeout;

use crate::middlebox::{Fate, Proxy, Speaks, filter};

/// What a connect has by default.
const DEADLINE: Duration = Duration::from_secs(5);

async fn gateway() -> SocketAddr {
    let mut config = Config::default();
    config.listen = "127.0.0.1:0".parse().unwrap();
    config.memory = true;
    config.guests.set_hosts("gateway.invalid").unwrap();
    let gateway = Gateway::open(config).await.unwrap();
    let address = gateway.address();
    tokio::spawn(async { gateway.serve(std::future::pending()).await.unwrap() });
    address
}

/// Connects with the defaults, says in which carrier, and after what time; the session is then used.
async fn connect(how: Connect) -> (Mesh, &'static str, Duration) {
    let began = Instant::now();
    let mesh = how.await.unwrap();
    let took = began.elapsed();
    let exchange = async {
        let mut orders = mesh.subscribe("orders").await.unwrap();
        mesh.publish("orders", Event::text("order", "first")).await.unwrap();
        assert_eq!(orders.try_next().await.unwrap().unwrap().text().unwrap(), "first");
    };
    timeout(DEADLINE, exchange).await.expect("the session works");
    let carrier = mesh.stats().carrier.expect("a carrier");
    (mesh, carrier, took)
}

/// Whatever blocks the others, the one carrier that gets through is found within the deadline.
async fn only(passing: Speaks) {
    let gateway = gateway().await;
    for (fate, before) in [
        // Each is known to be blocked at once, and there are at most three.
        (Fate::Reset, Duration::from_millis(1500)),
        (Fate::BadRequest, Duration::from_millis(1500)),
        // 300 ms for each that is silent.
        (Fate::Silence, Duration::from_secs(3)),
        // The gateway's preface came, so its login is waited for: a second.
        (Fate::HalfOpen(8), DEADLINE),
    ] {
        let fate = move |speaks| if speaks == passing { Fate::Passes } else { fate };
        let port = filter(gateway, fate).await;
        let (mesh, carrier, took) = connect(Connect::new(&format!("mesh://{port}"))).await;
        assert_eq!(carrier, passing.name(), "{:?}", fate(Speaks::Tcp));
        assert!(took < before, "{carrier}, the others {:?}: after {took:?}", fate(Speaks::Tcp));
        mesh.close().await.unwrap();
    }
}

#[tokio::test]
async fn where_only_grpc_gets_through_it_is_taken_within_the_deadline() {
    only(Speaks::Grpc).await;
}

#[tokio::test]
async fn where_only_websocket_gets_through_it_is_taken_within_the_deadline() {
    only(Speaks::WebSocket).await;
}

#[tokio::test]
async fn where_only_plain_http_gets_through_it_is_taken_within_the_deadline() {
    only(Speaks::Http).await;
}

#[tokio::test]
async fn where_everything_is_slow_the_first_gateway_that_answers_is_taken_within_the_deadline() {
    let port = filter(gateway().await, |_| Fate::Slow(Duration::from_millis(200))).await;
    let (mesh, carrier, took) = connect(Connect::new(&format!("mesh://{port}"))).await;
    // The preface took longer than the silence after which others are tried beside it.
    assert_eq!(carrier, "tcp");
    assert!(took >= Duration::from_millis(800) && took < DEADLINE, "{took:?}");
    mesh.close().await.unwrap();
}

#[tokio::test]
async fn where_a_proxy_is_required_every_carrier_is_tried_through_it() {
    let gateway = gateway().await;
    for passing in [Speaks::Tcp, Speaks::Grpc, Speaks::WebSocket, Speaks::Http] {
        let fate = move |speaks| if speaks == passing { Fate::Passes } else { Fate::Reset };
        let proxy = Proxy::before(filter(gateway, fate).await).await;
        let through = format!("http://user:password@{}", proxy.address);
        let (mesh, carrier, took) = connect(Connect::new("mesh://gateway.invalid").proxy(through)).await;
        assert_eq!(carrier, passing.name());
        assert!(took < DEADLINE, "{carrier}: {took:?}");
        assert!(proxy.asked().iter().all(|asked| asked == "gateway.invalid:7400 200 OK"), "{:?}", proxy.asked());
        mesh.close().await.unwrap();
    }
}
