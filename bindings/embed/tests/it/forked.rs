//! A child of `fork`: what the parent made is an error there, and never a hang.
#![allow(unsafe_code, reason = "there is no safe fork")]

use meshwire::testing::Gateway;
use meshwire_embed::{
    Ask, Client, Consumer, Delivery, ErrorKind, Handled, Job, Outcome, Queue, Settle, State, Subscription, Work,
};

use crate::rig::{PATIENCE, begin_publish, connected, deliveries, options, publish, subscribed, taken, texts};

/// Runs `inside` in a child; whether it said yes in time.
fn child(inside: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child only runs `inside` and leaves by `_exit`; it touches no lock of another thread, which is what is tested.
    let pid = unsafe { libc::fork() };
    assert!(pid >= 0, "no fork");
    if pid == 0 {
        let said = std::panic::catch_unwind(std::panic::AssertUnwindSafe(inside)).unwrap_or(false);
        // SAFETY: it ends the child, and nothing of the parent's is run.
        unsafe { libc::_exit(i32::from(!said)) };
    }
    let (told, ended) = std::sync::mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut status = 0;
        // SAFETY: the child is ours, and the place for its status is here.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        told.send(waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0)
    });
    ended.recv_timeout(PATIENCE).unwrap_or_else(|_| {
        // SAFETY: it hangs, and nobody has waited for it: the number is still its own.
        unsafe { libc::kill(pid, libc::SIGKILL) };
        false
    })
}

#[test]
fn in_a_child_what_the_parent_made_is_closed_and_a_new_client_works_and_the_parent_goes_on() {
    let gateway = Gateway::start().unwrap();
    let url = gateway.url();
    let client = connected(&gateway);
    let queue = Queue::new(4).unwrap();
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    publish(&client, "orders", "before").unwrap();
    let mut held = deliveries(orders.next_batch(1, None).unwrap());
    let delivery = held.remove(0);
    let said = child(|| {
        let closed = |kind: Option<ErrorKind>| kind == Some(ErrorKind::Closed);
        let begun = begin_publish(&client, "orders", "x", &queue, 1).err();
        let all = closed(publish(&client, "orders", "x").err().map(|error| error.kind()))
            && begun.as_ref().is_some_and(|error| error.to_string().contains("fork"))
            && closed(orders.next_batch(1, None).err().map(|error| error.kind()))
            && closed(orders.close().err().map(|error| error.kind()))
            && closed(delivery.get().err().map(|error| error.kind()))
            && closed(queue.take(1, None, &mut Vec::new()).err().map(|error| error.kind()));
        drop((client.clone(), orders.clone()));
        let own = Client::connect(&options(&[("url", &url)])).unwrap();
        let receipt = publish(&own, "orders", "of the child");
        drop(own);
        all && receipt.is_ok()
    });
    assert!(said);
    delivery.settle(Settle::Ack).unwrap();
    let next = deliveries(orders.next_batch(1, None).unwrap());
    assert_eq!(texts(&next), ["of the child"]);
}

/// All that a parent may have; nothing else holds any of it.
struct All {
    client: Client,
    orders: Subscription,
    delivery: Delivery,
    consumer: Consumer,
    job: Job,
    queue: Queue,
}

fn all(gateway: &Gateway) -> All {
    let narrow = [("url", &*gateway.url()), ("publish_window_events", "1")];
    let client = Client::connect(&options(&narrow)).unwrap();
    for topic in ["orders", "jobs"] {
        publish(&client, topic, "x").unwrap();
    }
    let orders = subscribed(&client, "orders", &[("group", "g")]);
    let delivery = deliveries(orders.next_batch(1, Some(PATIENCE)).unwrap()).remove(0);
    // Of another client: what consumes holds its own.
    let consumer = connected(gateway).consume("jobs", &options(&[("group", "g")])).unwrap();
    let Outcome::Jobs(mut jobs) = consumer.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    let Some(Work::Begin(job)) = jobs.pop() else { panic!("lost") };
    let queue = Queue::new(1024).unwrap();
    drop(client.begin(Ask::StateAfter(State::Connected), &queue, 1_000).unwrap());
    for tag in 0..500 {
        begin_publish(&client, "late", "x", &queue, tag).unwrap();
    }
    All { client, orders, delivery, consumer, job, queue }
}

#[test]
fn a_child_may_drop_all_that_its_parent_has_and_the_parent_does_not_notice() {
    let gateway = Gateway::start().unwrap();
    let mut all = Some(all(&gateway));
    assert!(child(|| {
        let Some(All { client, orders, delivery, consumer, job, queue }) = all.take() else { return false };
        let closed = job.end(Handled::Failed("in a child".to_owned())).is_err() && delivery.give_back().is_err();
        queue.close();
        drop((consumer, orders, queue, client));
        closed
    }));
    let All { client, orders, delivery, consumer, job, queue } = all.unwrap();
    assert!(taken(&queue, 500).into_iter().all(|done| matches!(done.result, Ok(Outcome::Receipt(_)))));
    delivery.settle_confirmed(Settle::Ack).unwrap();
    job.end(Handled::Done).unwrap();
    consumer.stop().unwrap();
    assert!(matches!(consumer.next_batch(1, Some(PATIENCE)), Ok(Outcome::Ended)));
    publish(&client, "orders", "y").unwrap();
    assert_eq!(texts(&deliveries(orders.next_batch(1, Some(PATIENCE)).unwrap())), ["y"]);
}
