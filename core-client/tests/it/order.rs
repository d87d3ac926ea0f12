//! Events of a key, whatever becomes of a nack and of its connection.

use std::cell::RefCell;
use std::time::Duration;

use meshwire::{Delivery, Mesh};
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::session as wire;
use tokio::time::sleep;

use crate::script::{Gateway, connected, event, resumed, subscribed, welcome};

fn keyed<const N: usize>(ids: [&str; N]) -> [bytes::Bytes; N] {
    ids.map(|id| event(id, Some("k"), "x"))
}

/// Handles events for 5 s; `a` fails the first time that it comes, after this time. Gives what was handled.
async fn handle(mesh: &Mesh, time: Duration) -> Vec<(String, u32)> {
    let seen = RefCell::new(Vec::new());
    let handler = async |order: &Delivery| {
        seen.borrow_mut().push((order.id().to_owned(), order.attempt()));
        if order.id() == "a" && order.attempt() == 1 {
            sleep(time).await;
            return Err("not yet");
        }
        Ok(())
    };
    mesh.consume("orders").group("g").concurrency(2).until(sleep(Duration::from_secs(5))).run(handler).await.unwrap();
    seen.into_inner()
}

fn of<const N: usize>(seen: [(&str, u32); N]) -> Vec<(String, u32)> {
    seen.map(|(id, attempt)| (id.to_owned(), attempt)).into()
}

#[tokio::test(start_paused = true)]
async fn a_nack_that_is_lost_with_its_session_lets_no_later_event_of_its_key_pass() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let (seen, ()) = tokio::join!(handle(&mesh, Duration::ZERO), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver_at(number, 1, 10, keyed(["a", "b", "c"])).await;
        assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Nack)]);
        drop(gateway);
        let (mut gateway, _) = Gateway::log_in(&mut listener, welcome()).await;
        let number = gateway.subscribe().await.subscription;
        sleep(Duration::from_millis(100)).await;
        gateway.deliver_again(number, (1, 10), 2, keyed(["a", "b", "c"])).await;
        assert_eq!(gateway.ranges().await, [(1, 3, SettleKind::Ack)]);
    });
    assert_eq!(seen, of([("a", 1), ("a", 2), ("b", 2), ("c", 2)]));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_after_its_lease_keeps_what_was_leased_again() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (seen, ()) = tokio::join!(handle(&mesh, Duration::from_secs(1)), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver_at(number, 1, 10, keyed(["a", "b"])).await;
        gateway.deliver_again(number, (3, 10), 2, keyed(["a", "b"])).await;
        let nack = gateway.settle().await;
        gateway.answer_with(&nack, ErrorKind::LeaseLost.number(), 3).await;
        assert_eq!(gateway.ranges().await, [(3, 2, SettleKind::Ack)]);
    });
    assert_eq!(seen, of([("a", 1), ("a", 2), ("b", 2)]));
}

#[tokio::test(start_paused = true)]
async fn numbers_that_a_resume_uses_again_are_not_taken_for_what_was_on_its_way_at_a_nack() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let (seen, ()) = tokio::join!(handle(&mesh, Duration::ZERO), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver_at(number, 1, 10, keyed(["a", "b"])).await;
        // c and d are on their way, and never arrive. The event is a dead letter: b goes on.
        assert_eq!(gateway.confirm_before(5).await, [(1, SettleKind::Nack)]);
        sleep(Duration::from_millis(100)).await;
        drop(gateway);
        let (mut gateway, hello) =
            Gateway::log_in(&mut listener, wire::Welcome { settled_through: 1, ..resumed() }).await;
        assert_eq!(hello.held[0].next_delivery, 3);
        gateway.deliver_again(number, (3, 11), 2, keyed(["b", "c"])).await;
        assert_eq!(gateway.ranges().await, [(3, 2, SettleKind::Ack)]);
    });
    assert_eq!(seen, of([("a", 1), ("b", 2), ("c", 2)]));
}

#[tokio::test(start_paused = true)]
async fn without_a_group_the_next_event_of_a_key_is_handled_after_a_failure() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (seen, ()) = tokio::join!(handle(&mesh, Duration::ZERO), async {
        // There are no leases: nothing comes again.
        let none = wire::Subscribed { ack_wait_ms: 0, ..subscribed(1, false) };
        let number = gateway.answer_subscribe(none).await.subscription;
        gateway.deliver_at(number, 1, 10, keyed(["a", "b"])).await;
        assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Nack), (2, 1, SettleKind::Ack)]);
    });
    assert_eq!(seen, of([("a", 1), ("b", 1)]));
}
