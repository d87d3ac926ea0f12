//! SIGTERM on the gateway's side: what consumers hold is settled first.

use std::time::{Duration, Instant};

use meshwire::{Delivery, Event, Mesh, Request, State, Subscription};
use rustix::process::Signal;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::program::{Gateway, run};

const PATIENCE: Duration = Duration::from_secs(20);
/// Less than the wait after a refusal, let alone than what a gateway waits that stops.
const SOON: Duration = Duration::from_millis(900);

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// A member that holds three events of the group.
async fn holding(gateway: &Gateway) -> (Mesh, Subscription, Vec<Delivery>) {
    let mesh = meshwire::connect(&gateway.url).await.unwrap();
    let mut work = mesh.subscribe("work").group("g").prefetch(3, 1 << 20).await.unwrap();
    let mut held = Vec::new();
    while held.len() < 3 {
        held.push(timeout(PATIENCE, work.try_next()).await.unwrap().unwrap().unwrap());
    }
    (mesh, work, held)
}

#[test]
fn a_gateway_that_is_stopped_waits_for_what_consumers_hold_and_delivers_nothing_more() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("work", &["1", "2", "3", "4"]);
    runtime().block_on(async {
        let (mesh, mut work, held) = holding(&gateway).await;
        gateway.program.signal(Signal::TERM);
        timeout(PATIENCE, mesh.state().wait_for(|s| *s == State::Draining)).await.unwrap().unwrap();
        for delivery in held {
            // Nobody answers it, and with the last one the gateway may end.
            delivery.ack();
        }
        assert_eq!(gateway.program.end().code, Some(0));
        assert!(work.next_now().unwrap().is_none(), "4 waits for the next start");
        drop(work);
        drop(mesh);
    });
    let gateway = Gateway::on(directory.path());
    assert_eq!(gateway.group_ids("work", "g"), ["4"], "nothing comes twice");
}

#[test]
fn a_client_passes_by_a_gateway_that_waits_for_what_others_hold() {
    let (stopping, other) = (Gateway::with(&["--memory", "--stop-timeout", "60s"]), Gateway::start());
    stopping.publish("work", &["1", "2", "3"]);
    runtime().block_on(async {
        let (mesh, _work, held) = holding(&stopping).await;
        stopping.program.signal(Signal::TERM);
        timeout(PATIENCE, mesh.state().wait_for(|s| *s == State::Draining)).await.unwrap().unwrap();
        let (first, second) = (&stopping.address, &other.address);
        for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
            let url = format!("{scheme}://{first},{second}");
            let began = Instant::now();
            let elsewhere = meshwire::connect(&url).await.unwrap_or_else(|e| panic!("{scheme}: {e}"));
            assert!(began.elapsed() < SOON, "{scheme}: {:?}", began.elapsed());
            elsewhere.publish("work", Event::text("t", "x")).await.unwrap();
        }
        // Each tries for as long as a connect may take.
        let mut alone = JoinSet::new();
        for scheme in ["mesh", "tcp", "grpc", "ws", "http"] {
            let url = format!("{scheme}://{first}");
            alone.spawn(async move { (scheme, meshwire::connect(&url).await.unwrap_err().to_string()) });
        }
        // A command begins a session, and is told so.
        let url = stopping.url.clone();
        alone.spawn_blocking(move || ("topics list", run(&["topics", "list", "--server", &url]).err));
        while let Some(told) = alone.join_next().await {
            let (scheme, told) = told.unwrap();
            assert!(told.contains("the gateway is stopping"), "{scheme}: {told}");
        }
        held.into_iter().for_each(Delivery::ack);
        let ended = stopping.program.end();
        assert_eq!(ended.code, Some(0));
        assert!(!ended.err.contains("refused"), "nobody needs to read of each: {}", ended.err);
    });
}

#[test]
fn what_is_not_settled_at_the_deadline_comes_again_and_that_is_no_failure() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let gateway = Gateway::with(&["--data-dir", data, "--stop-timeout", "200ms"]);
    gateway.publish("work", &["1", "2", "3"]);
    runtime().block_on(async {
        let (_mesh, _work, _held) = holding(&gateway).await;
        gateway.program.signal(Signal::TERM);
        let ended = gateway.program.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("stop_timeout") && ended.err.contains("in_flight=3"), "{ended:?}");
    });
    let gateway = Gateway::on(directory.path());
    runtime().block_on(async {
        let (_mesh, _work, held) = holding(&gateway).await;
        assert_eq!(held.iter().map(Delivery::attempt).collect::<Vec<_>>(), [1, 1, 1]);
    });
}

#[test]
fn a_gateway_that_is_stopped_waits_for_requests_that_are_not_answered() {
    let gateway = Gateway::start();
    runtime().block_on(async {
        let responder = meshwire::connect(&gateway.url).await.unwrap();
        let requester = meshwire::connect(&gateway.url).await.unwrap();
        let (asked, go_on) = (Notify::new(), Notify::new());
        let serve = responder.serve("quote").run(async |_: &Request| {
            asked.notify_one();
            go_on.notified().await;
            Ok::<_, String>(Event::text("quote.given", "42"))
        });
        let requesting = async {
            // Until somebody serves it.
            loop {
                match requester.request("quote", Event::text("quote.asked", "?")).await {
                    Ok(reply) => return reply.text().unwrap().to_owned(),
                    Err(error) => assert_eq!(error.kind(), meshwire::ErrorKind::NoResponders),
                }
            }
        };
        let stopping = async {
            asked.notified().await;
            gateway.program.signal(Signal::TERM);
            let mut state = requester.state();
            timeout(PATIENCE, state.wait_for(|s| *s == State::Draining)).await.unwrap().unwrap();
            go_on.notify_one();
        };
        tokio::select! {
            served = serve => panic!("it served no more: {served:?}"),
            (reply, ()) = async { tokio::join!(requesting, stopping) } => assert_eq!(reply, "42"),
        }
        let ended = gateway.program.end();
        assert!(ended.code == Some(0) && !ended.err.contains("stop_timeout"), "{ended:?}");
    });
}

#[test]
fn requests_that_are_not_answered_at_the_deadline_end_with_the_gateway_and_are_counted() {
    let gateway = Gateway::with(&["--memory", "--stop-timeout", "200ms"]);
    runtime().block_on(async {
        let responder = meshwire::connect(&gateway.url).await.unwrap();
        let requester = meshwire::connect(&gateway.url).await.unwrap();
        let asked = Notify::new();
        let serve = responder.serve("quote").run(async |_: &Request| {
            asked.notify_one();
            std::future::pending::<Result<Event, String>>().await
        });
        let requesting = async {
            while let Err(error) = requester.request("quote", Event::text("quote.asked", "?")).await {
                if error.kind() != meshwire::ErrorKind::NoResponders {
                    return;
                }
            }
        };
        let stopping = async {
            asked.notified().await;
            gateway.program.signal(Signal::TERM);
            gateway.program.end()
        };
        let ended = tokio::select! {
            _ = async { tokio::join!(serve, requesting) } => panic!("they end after the gateway"),
            ended = stopping => ended,
        };
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(ended.err.contains("in_flight=0 requests=1"), "{ended:?}");
    });
}
