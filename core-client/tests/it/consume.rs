use std::cell::{Cell, RefCell};
use std::time::Duration;

use meshwire::{Delivery, Error, ErrorKind, Event, Mesh, Request, Settlement};
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::session as wire;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tracing::Level;

use crate::logs;
use crate::script::{Gateway, connected, event, welcome};

async fn consume_until_idle<F>(mesh: &Mesh, concurrency: u64, handler: F)
where
    F: AsyncFn(&Delivery) -> Result<(), String>,
{
    let consume = mesh.consume("orders").group("g").concurrency(concurrency);
    consume.until(sleep(Duration::from_secs(5))).run(handler).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_handlers_return_acks_and_its_error_or_panic_nacks() {
    let (mesh, mut gateway, _listener) = connected().await;
    let handler = async |delivery: &Delivery| match delivery.id() {
        "1" => Ok(()),
        "2" => Err("no".to_owned()),
        _ => panic!("boom"),
    };
    let ((), ()) = tokio::join!(consume_until_idle(&mesh, 1, handler), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver(number, 1, ["1", "2", "3"].map(|id| event(id, None, "x"))).await;
        let ranges = gateway.ranges().await;
        assert_eq!(ranges, [(1, 1, SettleKind::Ack), (2, 1, SettleKind::Nack), (3, 1, SettleKind::Nack)]);
    });
}

#[tokio::test(start_paused = true)]
async fn what_begins_while_there_is_no_gateway_ends_when_it_is_told() {
    let (mesh, gateway, _listener) = connected().await;
    drop(gateway);
    let soon = || sleep(Duration::from_secs(5));
    let began = Instant::now();
    consume_until_idle(&mesh, 1, async |_| Ok(())).await;
    mesh.serve("quote").until(soon()).run(async |_: &Request| Ok::<_, Error>(Event::default())).await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_outlives_the_patience_of_close_is_dropped_when_the_client_has_closed() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (began, begun) = (Instant::now(), Notify::new());
    let consume = mesh.consume("orders").group("g").run(async |_: &Delivery| {
        begun.notify_one();
        std::future::pending::<Result<(), Error>>().await
    });
    let closing = async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver(number, 1, [event("1", None, "x")]).await;
        begun.notified().await;
        let closed = mesh.drain(Duration::from_secs(3));
        let (closed, ()) = tokio::join!(closed, async { while gateway.next().await.is_some() {} });
        assert_eq!(closed.unwrap_err().kind(), ErrorKind::Timeout);
    };
    let (ended, ()) = tokio::join!(consume, closing);
    ended.unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_a_group_it_is_not_said_that_what_failed_comes_again() {
    logs::keep();
    let (mesh, mut gateway, _listener) = connected().await;
    let consume = mesh.consume("orders").until(sleep(Duration::from_secs(5)));
    let (ended, ()) = tokio::join!(consume.run(async |_: &Delivery| Err::<(), _>("no")), async {
        let number = gateway.subscribe_for(0).await.subscription;
        gateway.deliver(number, 1, [event("1", None, "x")]).await;
    });
    ended.unwrap();
    let told = logs::take(Level::WARN);
    assert!(matches!(&*told, [one] if one.contains("does not come again")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn handlers_run_up_to_the_concurrency_and_never_two_of_one_key() {
    let (mesh, mut gateway, _listener) = connected().await;
    let (running, most) = (Cell::new(0), Cell::new(0));
    let order = RefCell::new(Vec::new());
    let busy = RefCell::new(Vec::new());
    let handler = async |delivery: &Delivery| {
        let key = delivery.event().key().unwrap().to_owned();
        assert!(!busy.borrow().contains(&key), "two events of {key} at once");
        busy.borrow_mut().push(key.clone());
        running.set(running.get() + 1);
        most.set(most.get().max(running.get()));
        order.borrow_mut().push((key.clone(), delivery.id().parse::<u32>().unwrap()));
        sleep(Duration::from_millis(10)).await;
        running.set(running.get() - 1);
        busy.borrow_mut().retain(|k| *k != key);
        Ok(())
    };
    let ((), ()) = tokio::join!(consume_until_idle(&mesh, 4, handler), async {
        let number = gateway.subscribe().await.subscription;
        let events = (0..60_u32).map(|n| event(&n.to_string(), Some(["a", "b", "c"][n as usize % 3]), "x"));
        gateway.deliver(number, 1, events).await;
        let mut acked = 0;
        while acked < 60 {
            acked += gateway.settle().await.ranges.iter().map(|r| r.count).sum::<u32>();
        }
    });
    assert_eq!(most.get(), 3, "one of each key");
    for key in ["a", "b", "c"] {
        let order = order.borrow();
        let of_key: Vec<u32> = order.iter().filter(|(k, _)| k == key).map(|(_, n)| *n).collect();
        assert_eq!(of_key.len(), 20);
        assert!(of_key.is_sorted(), "{key}: {of_key:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_nack_a_key_begins_again_at_the_nacked_event() {
    let (mesh, mut gateway, _listener) = connected().await;
    let seen = RefCell::new(Vec::new());
    let handler = async |delivery: &Delivery| {
        seen.borrow_mut().push(delivery.id().to_owned());
        if delivery.attempt() == 1 && seen.borrow().len() == 1 { Err("not yet".to_owned()) } else { Ok(()) }
    };
    let keyed = |id: &str| event(id, Some("k"), "x");
    let ((), ()) = tokio::join!(consume_until_idle(&mesh, 1, handler), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver_at(number, 1, 10, ["a", "b", "c"].map(keyed)).await;
        assert_eq!(gateway.confirm_before(4).await, [(1, SettleKind::Nack)]);
        gateway.deliver_at(number, 4, 10, ["a", "b", "c"].map(keyed)).await;
        assert_eq!(gateway.ranges().await, [(4, 3, SettleKind::Ack)]);
    });
    assert_eq!(seen.into_inner(), ["a", "a", "b", "c"]);
}

#[tokio::test(start_paused = true)]
async fn after_a_nack_a_key_that_went_elsewhere_goes_on_with_what_comes_next() {
    let (mesh, mut gateway, _listener) = connected().await;
    let seen = RefCell::new(Vec::new());
    let handler = async |delivery: &Delivery| {
        seen.borrow_mut().push(delivery.id().to_owned());
        if delivery.id() == "a" { Err("not here".to_owned()) } else { Ok(()) }
    };
    let keyed = |id: &str| event(id, Some("k"), "x");
    let ((), ()) = tokio::join!(consume_until_idle(&mesh, 1, handler), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver_at(number, 1, 10, ["a", "b"].map(keyed)).await;
        gateway.confirm_before(3).await;
        gateway.deliver_at(number, 3, 12, [keyed("c")]).await;
        assert_eq!(gateway.ranges().await, [(3, 1, SettleKind::Ack)]);
    });
    assert_eq!(seen.into_inner(), ["a", "c"], "b was taken back and handled elsewhere");
}

#[tokio::test(start_paused = true)]
async fn behind_an_event_that_does_not_come_again_its_key_goes_on_at_once() {
    let (mesh, mut gateway, _listener) = connected().await;
    let seen = RefCell::new(Vec::new());
    let handler = async |delivery: &Delivery| {
        seen.borrow_mut().push((delivery.id().to_owned(), delivery.attempt()));
        if delivery.id() == "a" { Err("never".to_owned()) } else { Ok(()) }
    };
    let keyed = |id: &str| event(id, Some("k"), "x");
    let ((), ()) = tokio::join!(consume_until_idle(&mesh, 1, handler), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver_at(number, 1, 10, ["a", "b", "c"].map(keyed)).await;
        let settle = gateway.settle().await;
        // It is a dead letter: what it held up comes again, before the answer, which waits for the disk.
        gateway.deliver_again(number, (4, 11), 2, ["b", "c"].map(keyed)).await;
        gateway.answer(&settle, 4).await;
        assert_eq!(gateway.ranges().await, [(4, 2, SettleKind::Ack)]);
    });
    assert_eq!(seen.into_inner(), [("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_handler_can_reject_and_say_when_its_event_comes_again() {
    let (mesh, mut gateway, _listener) = connected().await;
    let handler = async |order: &Delivery| match order.id() {
        "1" => Ok(Settlement::Ack),
        "2" => Ok(Settlement::reject("no such customer")),
        "3" => Ok(Settlement::NackAfter(Duration::from_secs(7))),
        _ => Err("not yet"),
    };
    let consume = mesh.consume("orders").group("g").until(sleep(Duration::from_secs(5))).run(handler);
    let (consumed, ()) = tokio::join!(consume, async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver(number, 1, ["1", "2", "3", "4"].map(|id| event(id, None, "x"))).await;
        let ranges = gateway.settle().await.ranges;
        let said: Vec<_> = ranges.iter().map(|r| (r.kind, r.delay_ms, r.reason.as_str())).collect();
        assert_eq!(
            said,
            [
                (SettleKind::Ack, None, ""),
                (SettleKind::Reject, None, "no such customer"),
                (SettleKind::Nack, Some(7000), ""),
                (SettleKind::Nack, None, "not yet"),
            ]
        );
    });
    consumed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn after_a_reject_a_key_goes_on_with_what_waited_behind_it() {
    let (mesh, mut gateway, _listener) = connected().await;
    let handler = async |order: &Delivery| {
        Ok::<_, String>(if order.id() == "2" { Settlement::reject("no") } else { Settlement::Ack })
    };
    let consume = mesh.consume("orders").group("g").until(sleep(Duration::from_secs(5))).run(handler);
    let (consumed, ()) = tokio::join!(consume, async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver(number, 1, ["1", "2", "3", "4"].map(|id| event(id, Some("k"), "x"))).await;
        let ranges = gateway.ranges().await;
        assert_eq!(ranges, [(1, 1, SettleKind::Ack), (2, 1, SettleKind::Reject), (3, 2, SettleKind::Ack)]);
    });
    consumed.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_told_to_stop_running_handlers_finish_and_the_rest_is_given_back() {
    let (mesh, mut gateway, _listener) = connected().await;
    let handled = Cell::new(0);
    let handler = async |_: &Delivery| {
        sleep(Duration::from_secs(3)).await;
        handled.set(handled.get() + 1);
        Ok::<(), String>(())
    };
    let consume = mesh.consume("orders").group("g").concurrency(2).until(sleep(Duration::from_secs(1)));
    let (ended, ()) = tokio::join!(consume.run(handler), async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver(number, 1, (0..10).map(|n| event(&n.to_string(), None, "x"))).await;
        assert_eq!(gateway.ranges().await, [(1, 2, SettleKind::Ack)]);
        assert_eq!(gateway.confirm().await, [(2, SettleKind::Ack)]);
        assert!(matches!(gateway.next().await, Some(meshwire_proto::frame::ClientFrame::Unsubscribe(_))));
    });
    ended.unwrap();
    assert_eq!(handled.get(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_can_run_in_a_task_of_its_own() {
    let (mesh, mut gateway, _listener) = connected().await;
    let consuming = tokio::spawn(async move {
        let handler = async |delivery: &Delivery| {
            sleep(Duration::from_millis(1)).await;
            delivery.text().map(drop)
        };
        mesh.consume("orders").concurrency(8).run(handler).await
    });
    let number = gateway.subscribe().await.subscription;
    gateway.deliver(number, 1, [event("1", None, "x")]).await;
    assert_eq!(gateway.ranges().await, [(1, 1, SettleKind::Ack)]);
    consuming.abort();
}

#[tokio::test(start_paused = true)]
async fn a_concurrency_out_of_bounds_is_refused() {
    let (mesh, _gateway, _listener) = connected().await;
    let run = mesh.consume("orders").concurrency(0).run(async |_: &Delivery| Ok::<(), String>(()));
    assert!(run.await.unwrap_err().message().contains("handler_concurrency"));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_hangs_keeps_its_event_for_ten_waits_and_is_then_dropped_and_the_next_one_begins() {
    let (mesh, mut gateway, _listener) = connected().await;
    // Those of the script: 30 s.
    let wait = Duration::from_secs(30);
    let began = Instant::now();
    let consume = mesh.consume("orders").group("g").until(sleep(wait * 14)).run(async |order: &Delivery| {
        if order.id() == "1" {
            sleep(wait * 13).await;
        }
        Ok::<(), String>(())
    });
    let script = async {
        let number = gateway.subscribe().await.subscription;
        gateway.deliver(number, 1, [event("1", None, "x"), event("2", None, "x")]).await;
        let (mut last, mut count) = (Duration::ZERO, 0);
        loop {
            match gateway.next().await {
                Some(ClientFrame::Settle(settle)) if settle.ranges[0].kind == SettleKind::Extend => {
                    let of_first = settle.ranges.iter().any(|r| r.first_delivery == 1);
                    (last, count) = (began.elapsed(), count + u32::from(of_first));
                }
                Some(ClientFrame::Settle(settle)) => {
                    let said: Vec<_> = settle.ranges.iter().map(|r| (r.kind, r.first_delivery)).collect();
                    assert_eq!(said, [(SettleKind::Nack, 1), (SettleKind::Ack, 2)]);
                    assert!(settle.ranges[0].reason.contains("did not end within 300s"), "{}", settle.ranges[0].reason);
                    return (last, count);
                }
                Some(ClientFrame::Ping(ping)) => {
                    gateway.send(&ServerFrame::Ping(wire::Ping { nonce: ping.nonce, answer: true })).await;
                }
                Some(_) => {}
                None => panic!("the client hung up"),
            }
        }
    };
    let (consumed, (last, count)) = tokio::join!(consume, script);
    consumed.unwrap();
    assert!(last > wait * 9 && last <= wait * 10, "extended until {last:?}");
    assert!((27..=30).contains(&count), "three times in a wait, not {count}");
}

#[tokio::test(start_paused = true)]
async fn after_a_session_is_lost_leases_are_extended_by_the_ack_wait_that_the_next_one_tells() {
    let (mesh, mut gateway, mut listener) = connected().await;
    let handler = async |_: &Delivery| {
        sleep(Duration::from_millis(5500)).await;
        Ok::<(), String>(())
    };
    let consume = mesh.consume("orders").group("g").until(sleep(Duration::from_secs(20))).run(handler);
    let script = async {
        // 30 s.
        gateway.subscribe().await;
        drop(gateway);
        let (mut gateway, _) = Gateway::log_in(&mut listener, welcome()).await;
        let number = gateway.subscribe_for(3000).await.subscription;
        gateway.deliver(number, 1, [event("1", None, "x")]).await;
        let mut extended = 0;
        loop {
            let ranges = gateway.ranges().await;
            match ranges[..] {
                [(1, 1, SettleKind::Extend)] => extended += 1,
                [(1, 1, SettleKind::Ack)] => return extended,
                _ => panic!("{ranges:?}"),
            }
        }
    };
    let (consumed, extended) = tokio::join!(consume, script);
    consumed.unwrap();
    assert!(extended >= 5, "once a second, not {extended} times in 5.5 s");
}
