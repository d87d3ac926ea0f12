//! What a program was handed and let go of without a word.

use std::future::IntoFuture;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use meshwire::{Delivery, Mesh, Subscription};
use meshwire_proto::frame::{ClientFrame, Settle, SettleKind};
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::script::{Gateway, connected, event};

const DROPPED: &str = "dropped without being settled";

async fn handed(events: u32) -> (Mesh, Subscription, Gateway, impl Sized) {
    let (mesh, mut gateway, listener) = connected().await;
    let subscribe = mesh.subscribe("orders").group("g");
    let (orders, frame) = tokio::join!(subscribe.into_future(), gateway.subscribe());
    gateway.deliver(frame.subscription, 1, (1..=events).map(|n| event(&n.to_string(), None, "x"))).await;
    (mesh, orders.unwrap(), gateway, listener)
}

fn said(settle: &Settle) -> Vec<(u64, u32, SettleKind, &str)> {
    settle.ranges.iter().map(|r| (r.first_delivery, r.count, r.kind, r.reason.as_str())).collect()
}

async fn unsubscribes(gateway: &mut Gateway) {
    loop {
        match gateway.next().await {
            Some(ClientFrame::Unsubscribe(_)) => return,
            Some(ClientFrame::Settle(settle)) if settle.confirm => {}
            other => panic!("{other:?} instead of Unsubscribe"),
        }
    }
}

/// The loop of the README.
async fn bill_all(
    mut orders: Subscription,
    bill: impl Fn(&Delivery) -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    while let Some(order) = orders.try_next().await.map_err(|_| "the gateway")? {
        bill(&order)?;
        order.ack();
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn what_a_loop_that_ends_by_an_error_had_in_hand_is_nacked_and_the_rest_only_given_back() {
    let (_mesh, orders, mut gateway, _listener) = handed(5).await;
    let ended = bill_all(orders, |order| if order.id() == "3" { Err("poison") } else { Ok(()) }).await;
    assert_eq!(ended, Err("poison"));
    let settle = gateway.settle().await;
    assert_eq!(said(&settle), [(1, 2, SettleKind::Ack, ""), (3, 1, SettleKind::Nack, DROPPED)]);
    assert_eq!(settle.ranges[1].delay_ms, None, "the group's back-off says when");
    unsubscribes(&mut gateway).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_panic_drops_is_nacked_at_once() {
    let (_mesh, mut orders, mut gateway, _listener) = handed(3).await;
    let order = orders.try_next().await.unwrap().unwrap();
    let program = || {
        let _order = order;
        panic!("a defect of the program");
    };
    catch_unwind(AssertUnwindSafe(program)).unwrap_err();
    // The subscription goes on.
    assert_eq!(said(&gateway.settle().await), [(1, 1, SettleKind::Nack, "the program panicked")]);
    assert_eq!(orders.try_next().await.unwrap().unwrap().id(), "2");
}

#[tokio::test(start_paused = true)]
async fn leaving_the_loop_with_nothing_in_hand_fails_nothing() {
    let (_mesh, mut orders, mut gateway, _listener) = handed(5).await;
    orders.try_next().await.unwrap().unwrap().ack();
    drop(orders);
    assert_eq!(said(&gateway.settle().await), [(1, 1, SettleKind::Ack, "")]);
    unsubscribes(&mut gateway).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_while_the_subscription_goes_on_is_not_settled_until_it_ends() {
    let (mesh, mut orders, mut gateway, _listener) = handed(4).await;
    let kept = orders.try_next().await.unwrap().unwrap();
    drop(orders.try_next().await.unwrap());
    orders.try_next().await.unwrap().unwrap().ack();
    assert_eq!(said(&gateway.settle().await), [(3, 1, SettleKind::Ack, "")]);
    drop(kept);
    // The program ends its client, and keeps the subscription.
    let (ended, ()) = tokio::join!(mesh.close(), async {
        assert!(matches!(gateway.next().await, Some(ClientFrame::Credit(_))));
        let settle = gateway.settle().await;
        assert_eq!(said(&settle), [(1, 2, SettleKind::Nack, DROPPED)]);
        gateway.settled(settle.sequence).await;
        gateway.confirm().await;
        assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
        while gateway.next().await.is_some() {}
    });
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_in_hand_when_its_subscription_goes_has_not_failed() {
    let (_mesh, mut orders, mut gateway, _listener) = handed(3).await;
    let held = orders.try_next().await.unwrap().unwrap();
    drop(orders);
    assert!(matches!(gateway.next().await, Some(ClientFrame::Unsubscribe(_))));
    held.ack();
    assert_eq!(said(&gateway.settle().await), [(1, 1, SettleKind::Ack, "")]);
}

/// Leaves its loop at the second event: by `break`, or by `return`.
async fn leave(mut orders: Subscription, by_return: bool) {
    while let Some(order) = orders.try_next().await.unwrap() {
        match order.id() {
            "2" if by_return => return,
            "2" => break,
            _ => order.ack(),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_loop_had_in_hand_that_is_left_by_break_or_return_has_failed() {
    for by_return in [false, true] {
        let (_mesh, orders, mut gateway, _listener) = handed(3).await;
        leave(orders, by_return).await;
        assert_eq!(said(&gateway.settle().await), [(1, 1, SettleKind::Ack, ""), (2, 1, SettleKind::Nack, DROPPED)]);
        unsubscribes(&mut gateway).await;
    }
}

#[tokio::test(start_paused = true)]
async fn who_leaves_its_loop_and_keeps_what_it_has_in_hand_until_its_subscription_is_dropped_fails_nothing() {
    let (mesh, mut orders, mut gateway, _listener) = handed(3).await;
    let mut in_hand = None;
    while let Some(order) = orders.try_next().await.unwrap() {
        if order.id() == "1" {
            in_hand = Some(order);
            break;
        }
    }
    drop(orders);
    drop(in_hand);
    unsubscribes(&mut gateway).await;
    // Nor when its client ends.
    let (_closed, last) = tokio::join!(mesh.close(), gateway.next());
    assert!(matches!(last, Some(ClientFrame::Goodbye(_))), "{last:?}");
}

#[tokio::test(start_paused = true)]
async fn who_nacks_what_it_has_in_hand_before_it_leaves_its_loop_says_when_it_comes_again() {
    let (_mesh, mut orders, mut gateway, _listener) = handed(3).await;
    while let Some(order) = orders.try_next().await.unwrap() {
        if order.id() == "2" {
            order.nack_after(Duration::ZERO);
            break;
        }
        order.ack();
    }
    drop(orders);
    let settle = gateway.settle().await;
    assert_eq!(said(&settle), [(1, 1, SettleKind::Ack, ""), (2, 1, SettleKind::Nack, "")]);
    assert_eq!(settle.ranges[1].delay_ms, Some(0));
    unsubscribes(&mut gateway).await;
}

#[tokio::test(start_paused = true)]
async fn handlers_that_are_cancelled_fail_what_they_had_begun_and_nothing_else() {
    let (mesh, mut gateway, _listener) = connected().await;
    let begun = Notify::new();
    let handler = async |order: &Delivery| {
        if order.id() == "2" {
            begun.notify_one();
        }
        sleep(Duration::from_secs(60)).await;
        Ok::<(), String>(())
    };
    let consuming = mesh.consume("orders").group("g").concurrency(2).run(handler);
    let script = async {
        let number = gateway.subscribe().await.subscription;
        // 3 waits for 2, which has its key.
        let events = [("1", None), ("2", Some("k")), ("3", Some("k")), ("4", None)];
        gateway.deliver(number, 1, events.map(|(id, key)| event(id, key, "x"))).await;
        begun.notified().await;
    };
    tokio::select! {
        ended = consuming => panic!("{ended:?}"),
        () = script => {}
    }
    let mut failed = gateway.settle().await.ranges;
    failed.sort_by_key(|r| r.first_delivery);
    let failed: Vec<_> = failed.iter().map(|r| (r.first_delivery, r.count, r.kind)).collect();
    assert_eq!(failed, [(1, 2, SettleKind::Nack)]);
    unsubscribes(&mut gateway).await;
}

#[test]
fn a_main_that_returns_right_after_its_loop_still_says_what_failed() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let (ended, mut gateway, _listener) = first.block_on(async {
        let (mesh, orders, gateway, listener) = handed(2).await;
        let ended = bill_all(orders, |_| Err("poison")).await;
        drop(mesh);
        (ended, gateway, listener)
    });
    drop(first);
    assert_eq!(ended, Err("poison"));
    runtime().block_on(async {
        assert_eq!(said(&gateway.settle().await), [(1, 1, SettleKind::Nack, DROPPED)]);
        unsubscribes(&mut gateway).await;
        assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))));
    });
}

#[tokio::test(start_paused = true)]
async fn before_an_event_comes_for_the_third_time_what_was_settled_before_it_is_sent() {
    let (mesh, mut gateway, _listener) = connected().await;
    let subscribe = mesh.subscribe("orders").group("g");
    let (orders, frame) = tokio::join!(subscribe.into_future(), gateway.subscribe());
    let (mut orders, began) = (orders.unwrap(), tokio::time::Instant::now());
    let events = (1..=3).map(|n| event(&n.to_string(), None, "x"));
    gateway.deliver_again(frame.subscription, (1, 1), 3, events).await;
    orders.try_next().await.unwrap().unwrap().ack();
    // The next one may be what the program dies of.
    let (next, settled) = tokio::join!(orders.next(), gateway.ranges());
    assert_eq!((next.unwrap().unwrap().id(), settled), ("2", vec![(1, 1, SettleKind::Ack)]));
    assert!(began.elapsed() < Duration::from_millis(10), "nothing waits for time to pass");
}

#[tokio::test(start_paused = true)]
async fn of_what_a_binding_took_ahead_fails_what_its_program_was_handed_and_has_not_settled_when_it_leaves() {
    let (_mesh, mut orders, mut gateway, _listener) = handed(6).await;
    let left = orders.take_ahead();
    let mut ahead = Vec::new();
    while ahead.len() < 6 {
        ahead.push(orders.try_next().await.unwrap().unwrap());
    }
    let mut all = ahead.into_iter();
    let mut claimed: Vec<_> = all.by_ref().take(4).collect();
    assert!(claimed.iter_mut().all(Delivery::claim));
    claimed.remove(1).ack();
    let forgotten = claimed.pop();
    drop(forgotten);
    left.fail();
    // The program has one for good, one it lets go of too late, and two it never saw.
    drop(claimed.pop());
    drop(orders);
    drop(all);
    let settle = gateway.settle().await;
    let (acked, released) = ((2, 1, SettleKind::Ack, ""), (5, 2, SettleKind::Release, ""));
    let failed = [(1, 1, SettleKind::Nack, DROPPED), (3, 2, SettleKind::Nack, DROPPED)];
    assert_eq!(said(&settle), [acked, failed[0], failed[1], released]);
    unsubscribes(&mut gateway).await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_drains_waits_for_nothing_that_its_program_was_not_handed() {
    let (mesh, mut orders, mut gateway, _listener) = handed(3).await;
    let left = orders.take_ahead();
    let mut ahead = Vec::new();
    while ahead.len() < 3 {
        ahead.push(orders.try_next().await.unwrap().unwrap());
    }
    let mut in_hand = ahead.remove(0);
    assert!(in_hand.claim());
    let (ended, ()) = tokio::join!(mesh.close(), async {
        assert!(matches!(gateway.next().await, Some(ClientFrame::Credit(_))));
        let mut next = ahead.remove(0);
        assert!(!next.claim(), "nothing more is handed out");
        next.forget();
        // Its loop is over, and what it has in hand goes on.
        left.fail();
        in_hand.ack();
        let settle = gateway.settle().await;
        assert_eq!(said(&settle), [(1, 1, SettleKind::Ack, "")]);
        gateway.settled(settle.sequence).await;
        gateway.confirm().await;
        assert!(matches!(gateway.next().await, Some(ClientFrame::Goodbye(_))), "the third one is waited for by nobody");
        while gateway.next().await.is_some() {}
    });
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_out_of_a_batch_has_failed_whether_it_had_its_turn_or_not() {
    let (_mesh, mut orders, mut gateway, _listener) = handed(4).await;
    let mut batch = vec![orders.try_next().await.unwrap().unwrap()];
    while batch.len() < 3 {
        batch.push(orders.next_now().unwrap().unwrap());
    }
    batch.remove(0).ack();
    drop(batch);
    drop(orders);
    assert_eq!(said(&gateway.settle().await), [(1, 1, SettleKind::Ack, ""), (2, 2, SettleKind::Nack, DROPPED)]);
    unsubscribes(&mut gateway).await;
}
