//! Leases of what waits for a program that takes its time.

use std::future::IntoFuture;
use std::time::Duration;

use meshwire::{Delivery, Mesh, Subscription};
use meshwire_proto::frame::{ClientFrame, SettleKind};
use tokio::time::{Instant, sleep};

use crate::script::{Gateway, connected, event};

const WAIT: Duration = Duration::from_secs(1);

/// A subscription with ten events, of an ack wait of a second.
async fn with_ten() -> (Mesh, Subscription, Gateway, impl Sized) {
    let (mesh, mut gateway, listener) = connected().await;
    let subscribe = mesh.subscribe("orders").group("g");
    let (orders, frame) = tokio::join!(subscribe.into_future(), gateway.subscribe_for(1000));
    gateway.deliver(frame.subscription, 1, (1..=10).map(|n| event(&n.to_string(), None, "x"))).await;
    (mesh, orders.unwrap(), gateway, listener)
}

#[tokio::test(start_paused = true)]
async fn what_a_slow_loop_has_not_begun_with_keeps_its_lease() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    let program = async {
        for _ in 0..10 {
            let order = orders.try_next().await.unwrap().unwrap();
            sleep(WAIT / 100 * 85).await;
            order.ack();
        }
    };
    tokio::join!(program, all_are_acked_in_time(&mut gateway));
}

/// Each of ten is acked before its lease ends.
async fn all_are_acked_in_time(gateway: &mut Gateway) {
    let began = Instant::now();
    let (mut leases, mut acked) = ([began + WAIT; 11], 0);
    while acked < 10 {
        for (first, count, kind) in gateway.ranges().await {
            for number in first..first + u64::from(count) {
                assert!(Instant::now() <= leases[number as usize], "the lease of {number} has ended");
                match kind {
                    SettleKind::Extend => leases[number as usize] = Instant::now() + WAIT,
                    SettleKind::Ack => acked += 1,
                    other => panic!("{other:?} of {number}"),
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_waits_for_a_loop_that_is_stuck_is_given_back_and_comes_when_it_goes_on() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    let program = async {
        let stuck = orders.try_next().await.unwrap().unwrap();
        sleep(WAIT * 5).await;
        stuck.ack();
        assert_eq!(orders.try_next().await.unwrap().unwrap().id(), "again", "what was given back is others'");
    };
    let script = async {
        let mut credits = Vec::new();
        let mut released = None;
        let began = Instant::now();
        loop {
            match gateway.next().await {
                Some(ClientFrame::Credit(credit)) => {
                    credits.push((credit.max_events, began.elapsed()));
                    if credit.max_events > 0 {
                        gateway.deliver(credit.subscription, 11, [event("again", None, "x")]).await;
                        break;
                    }
                }
                Some(ClientFrame::Settle(settle)) => {
                    for range in settle.ranges.iter().filter(|r| r.kind == SettleKind::Release) {
                        assert_eq!(released.replace(began.elapsed()), None);
                        assert_eq!((range.first_delivery, range.count), (2, 9));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        let [(0, paused), (256, resumed)] = credits[..] else { panic!("{credits:?}") };
        assert!(paused >= WAIT && paused < WAIT * 3 / 2 && released < Some(WAIT * 3 / 2), "{paused:?} {released:?}");
        assert!(resumed >= WAIT * 5);
    };
    tokio::join!(program, script);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_extends_what_it_has_in_hand_is_not_stuck() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    let program = async {
        let order = orders.try_next().await.unwrap().unwrap();
        for _ in 0..8 {
            sleep(WAIT / 2).await;
            order.extend();
        }
        order.ack();
    };
    let script = async {
        loop {
            match gateway.next().await {
                Some(ClientFrame::Settle(settle)) => {
                    assert!(settle.ranges.iter().all(|r| r.kind != SettleKind::Release));
                    if settle.ranges.iter().any(|r| r.kind == SettleKind::Ack) {
                        return;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    };
    tokio::join!(program, script);
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_took_ahead_keeps_its_lease_until_its_slow_program_is_handed_it() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    orders.take_ahead();
    let program = async {
        let mut ahead = Vec::new();
        while ahead.len() < 10 {
            ahead.push(orders.try_next().await.unwrap().unwrap());
        }
        for mut order in ahead {
            assert!(order.claim(), "{}", order.id());
            sleep(WAIT / 100 * 85).await;
            order.ack();
        }
    };
    tokio::join!(program, all_are_acked_in_time(&mut gateway));
}

#[tokio::test(start_paused = true)]
async fn what_a_binding_took_ahead_of_a_program_that_is_stuck_is_given_back_and_not_handed_any_more() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    orders.take_ahead();
    let program = async {
        let mut ahead = Vec::new();
        while ahead.len() < 10 {
            ahead.push(orders.try_next().await.unwrap().unwrap());
        }
        let mut all = ahead.into_iter();
        let mut stuck = all.next().unwrap();
        assert!(stuck.claim());
        sleep(WAIT * 5).await;
        for mut order in all {
            assert!(!order.claim(), "{}: they are others'", order.id());
            order.forget();
        }
        stuck.ack();
        assert_eq!(orders.try_next().await.unwrap().unwrap().id(), "again");
    };
    let ((), released) = tokio::join!(program, what_is_released(&mut gateway));
    assert_eq!(released, [(2, 9)]);
}

/// What is given back until the program goes on, and then one comes.
async fn what_is_released(gateway: &mut Gateway) -> Vec<(u64, u32)> {
    let mut released = Vec::new();
    loop {
        match gateway.next().await {
            Some(ClientFrame::Credit(credit)) if credit.max_events > 0 => {
                gateway.deliver(credit.subscription, 11, [event("again", None, "x")]).await;
                return released;
            }
            Some(ClientFrame::Credit(_)) => {}
            Some(ClientFrame::Settle(settle)) => {
                let ranges = settle.ranges.iter().filter(|r| r.kind == SettleKind::Release);
                released.extend(ranges.map(|r| (r.first_delivery, r.count)));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// All ten, at once.
async fn at_once(orders: &mut Subscription) -> Vec<Delivery> {
    let mut batch = vec![orders.try_next().await.unwrap().unwrap()];
    while let Some(order) = orders.next_now().unwrap() {
        batch.push(order);
    }
    assert_eq!(batch.len(), 10);
    batch
}

#[tokio::test(start_paused = true)]
async fn what_is_taken_at_once_keeps_its_lease_while_the_program_works_on_one_after_the_other() {
    let (mesh, mut orders, mut gateway, _listener) = with_ten().await;
    let program = async {
        for order in at_once(&mut orders).await {
            sleep(WAIT / 100 * 85).await;
            order.ack();
        }
    };
    tokio::join!(program, all_are_acked_in_time(&mut gateway));
    assert_eq!(mesh.stats().leases_lost, 0);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_a_binding_hands_over_keeps_its_leases_while_something_of_it_is_extended() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    orders.take_ahead();
    let program = async {
        let mut batch = at_once(&mut orders).await;
        assert!(batch.iter_mut().enumerate().all(|(at, order)| order.hand(at == 0)));
        for (at, order) in batch.into_iter().enumerate() {
            for _ in 0..4_usize.saturating_sub(3 * at) {
                sleep(WAIT / 100 * 85).await;
                order.extend();
            }
            sleep(WAIT / 4).await;
            order.ack();
        }
    };
    tokio::join!(program, all_are_acked_in_time(&mut gateway));
}

#[tokio::test(start_paused = true)]
async fn what_a_stuck_program_has_in_hand_is_given_back_but_for_the_first_and_its_late_acks_are_counted() {
    let (mesh, mut orders, mut gateway, _listener) = with_ten().await;
    let program = async {
        let batch = at_once(&mut orders).await;
        sleep(WAIT * 5).await;
        let mut batch = batch.into_iter();
        batch.next().unwrap().ack();
        assert_eq!(mesh.stats().leases_lost, 0, "only the gateway knows of that one");
        batch.next().unwrap().nack();
        batch.for_each(Delivery::ack);
        assert_eq!(mesh.stats().leases_lost, 8, "a nack wants nothing that it does not get");
        assert_eq!(orders.try_next().await.unwrap().unwrap().id(), "again");
    };
    let ((), released) = tokio::join!(program, what_is_released(&mut gateway));
    assert_eq!(released, [(2, 9)]);
}

#[tokio::test(start_paused = true)]
async fn a_program_that_waits_for_more_while_its_batch_is_given_back_gets_more() {
    let (_mesh, mut orders, mut gateway, _listener) = with_ten().await;
    let program = async {
        let batch = at_once(&mut orders).await;
        assert_eq!(orders.try_next().await.unwrap().unwrap().id(), "again", "others of its tasks have the batch");
        drop(batch);
    };
    let ((), released) = tokio::join!(program, what_is_released(&mut gateway));
    assert_eq!(released, [(2, 9)]);
}
