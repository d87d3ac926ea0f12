use std::future::IntoFuture;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use meshwire::{Connect, ErrorKind, MemoryListener, MemoryTransport, State};
use meshwire_proto::frame::{PREFACE, ServerFrame};
use meshwire_proto::wire::session as wire;
use tokio::time::{Instant, timeout};
use tracing::Level;

use crate::logs;
use crate::script::{Gateway, connected, resumed, welcome};

#[tokio::test(start_paused = true)]
async fn a_refused_connection_fails_at_once_and_names_what_was_tried_and_what_to_do() {
    let (transport, listener) = MemoryTransport::new();
    drop(listener);
    let started = Instant::now();
    let error = Connect::memory(transport).await.unwrap_err();
    assert_eq!((error.kind(), error.operation()), (ErrorKind::Unavailable, "connect"));
    assert!(error.message().contains("memory refused"), "{error}");
    assert!(error.message().contains("start one with: meshwire serve"), "{error}");
    assert_eq!(started.elapsed(), Duration::ZERO);
}

#[tokio::test]
async fn a_refused_tcp_port_is_named_with_its_address() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let error = meshwire::connect(&format!("mesh://{free}")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains(&format!("{free} refused the connection")), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_does_not_answer_is_given_up_after_five_seconds() {
    let (transport, _listener) = MemoryTransport::new();
    let started = Instant::now();
    let error = Connect::memory(transport).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test(start_paused = true)]
async fn with_a_wait_a_refused_connection_is_tried_until_it_succeeds() {
    let (transport, listener) = MemoryTransport::new();
    drop(listener);
    let started = Instant::now();
    let error = Connect::memory(transport).wait(Duration::from_secs(30)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(started.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_refuses_the_login_fails_the_connect_with_its_words() {
    for kind in [ErrorKind::Unauthenticated, ErrorKind::Denied, ErrorKind::Unsupported] {
        let (transport, mut listener) = MemoryTransport::new();
        let refuse = async {
            let mut gateway = Gateway::accept(&mut listener).await;
            gateway.hello().await;
            let error = wire::Error {
                code: kind.number(),
                message: "not you".to_owned(),
                fatal: true,
                ..wire::Error::default()
            };
            gateway.send(&ServerFrame::Error(error)).await;
        };
        let (connected, ()) = tokio::join!(Connect::memory(transport).into_future(), refuse);
        let error = connected.unwrap_err();
        assert_eq!((error.kind(), error.message()), (kind, "not you"));
    }
}

#[test]
fn outside_a_runtime_there_is_an_error_that_says_what_to_do() {
    let connecting = std::pin::pin!(meshwire::connect("mesh://127.0.0.1:1"));
    let Poll::Ready(result) = connecting.poll(&mut Context::from_waker(Waker::noop())) else { panic!("it waits") };
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.message().contains("#[tokio::main]"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn options_out_of_bounds_are_refused_by_name() {
    let (transport, _listener) = MemoryTransport::new();
    for (connect, option) in [
        (Connect::memory(transport.clone()).publish_window(0, 1 << 20), "publish_window_events"),
        (Connect::memory(transport).wait(Duration::from_secs(3601)), "connect_wait"),
    ] {
        let error = connect.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.message().contains(option), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_state_can_be_watched_through_a_reconnect() {
    let (mesh, gateway, mut listener) = connected().await;
    let mut state = mesh.state();
    assert_eq!(*state.borrow_and_update(), State::Connected);
    drop(gateway);
    state.changed().await.unwrap();
    assert_eq!(*state.borrow_and_update(), State::Reconnecting);
    let (_gateway, hello) = Gateway::log_in(&mut listener, resumed()).await;
    assert_eq!(&hello.resume_session[..], b"session");
    state.changed().await.unwrap();
    assert_eq!(*state.borrow_and_update(), State::Connected);
    assert_eq!((mesh.stats().reconnects, mesh.stats().resumes), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_frame_lead_to_a_new_connection() {
    let (mesh, mut gateway, mut listener) = connected().await;
    gateway.send_bytes(&[0xFF; 64]).await;
    let (mut gateway, _) = Gateway::log_in(&mut listener, welcome()).await;
    let publish = mesh.publish("orders", meshwire::Event::default());
    let (receipt, ()) = tokio::join!(publish, async {
        gateway.publish().await;
        gateway.keep(1, 1, 1).await;
    });
    receipt.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_silent_gateway_is_asked_and_then_left() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let started = Instant::now();
    assert!(matches!(gateway.next().await, Some(meshwire_proto::frame::ClientFrame::Ping(_))));
    assert_eq!(started.elapsed().as_secs(), 10);
    let (_gateway, _) = Gateway::log_in(&mut listener, welcome()).await;
    assert_eq!(started.elapsed().as_secs(), 25);
    assert_eq!(mesh.stats().silences, 1);
}

/// Accepts a connection and answers what no gateway says.
async fn answer(listener: &mut MemoryListener, bytes: &[u8]) -> Gateway {
    let mut stranger = Gateway::accept(listener).await;
    stranger.send_bytes(bytes).await;
    stranger
}

#[tokio::test(start_paused = true)]
async fn what_is_not_a_gateway_is_said_at_once_by_its_first_bytes() {
    for wait in [Duration::ZERO, Duration::from_secs(60)] {
        for (bytes, told) in [
            (
                &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
                "is not a Meshwire gateway; it answered HTTP; look at host, port and scheme of the URL",
            ),
            (
                b"<!DOCTYPE HTML>\n<html>",
                "is not a Meshwire gateway; it answered HTTP; look at host, port and scheme of the URL",
            ),
            (
                b"\x15\x03\x01\0\x02\x02\x46",
                "answers as TLS does; use the scheme with s, as meshs://, tcps://, grpcs://, wss:// or https://",
            ),
            (b"220 ready\r\n", "is not a Meshwire gateway; look at host, port and scheme of the URL"),
        ] {
            let (transport, mut listener) = MemoryTransport::new();
            let started = Instant::now();
            let connect = Connect::memory(transport).wait(wait);
            let (connected, _stranger) = tokio::join!(connect.into_future(), answer(&mut listener, bytes));
            let error = connected.unwrap_err();
            assert_eq!((error.kind(), error.message()), (ErrorKind::Unavailable, &*format!("memory {told}")));
            assert_eq!(started.elapsed(), Duration::ZERO);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_preface_may_come_byte_by_byte() {
    let (transport, mut listener) = MemoryTransport::new();
    let gateway = async {
        let mut gateway = Gateway::accept(&mut listener).await;
        for byte in PREFACE {
            gateway.send_bytes(&[byte]).await;
            tokio::task::yield_now().await;
        }
        gateway.send(&ServerFrame::Welcome(welcome())).await;
        gateway
    };
    let (connected, _gateway) = tokio::join!(Connect::memory(transport).into_future(), gateway);
    connected.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_that_is_not_answered_names_the_address() {
    let (transport, _listener) = MemoryTransport::new();
    let error = Connect::memory(transport).await.unwrap_err();
    assert!(error.message().contains("memory was connected to, and did not answer the login"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn while_the_gateway_is_gone_a_line_every_ten_seconds_says_why_and_what_waits() {
    logs::keep();
    let (mesh, gateway, mut listener) = connected().await;
    drop(gateway);
    let _waiting = mesh.publish_start("orders", meshwire::Event::default()).await.unwrap();
    let trying = async {
        loop {
            drop(Gateway::accept(&mut listener).await);
        }
    };
    assert!(timeout(Duration::from_secs(25), trying).await.is_err());
    let told = logs::take(Level::WARN);
    assert_eq!(told, ["still trying memory: the gateway closed it; 1 publishes wait"; 2]);
    let (mut gateway, _) = Gateway::log_in(&mut listener, resumed()).await;
    gateway.publish().await;
    gateway.keep(1, 1, 1).await;
    mesh.flush().await.unwrap();
    let living = async { while gateway.next().await.is_some() {} };
    assert!(timeout(Duration::from_secs(9), living).await.is_err());
    assert_eq!(logs::take(Level::WARN), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn something_else_in_the_place_of_a_lost_gateway_is_told_once_and_the_gateway_is_found_again() {
    logs::keep();
    let (mesh, gateway, mut listener) = connected().await;
    drop(gateway);
    for _ in 0..5 {
        answer(&mut listener, b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
    }
    let (_gateway, _) = Gateway::log_in(&mut listener, resumed()).await;
    mesh.state().wait_for(|s| *s == State::Connected).await.unwrap();
    let told = logs::take(Level::WARN);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("memory is not a Meshwire gateway; it answered HTTP"), "{told:?}");
}
