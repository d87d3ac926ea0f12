//! A child of `fork`: what the parent made is an error there, and never a hang.
#![allow(unsafe_code, reason = "there is no safe fork")]

use meshwire::testing::Gateway;
use meshwire_embed::{Client, ErrorKind, Queue};

use crate::rig::{PATIENCE, begin_publish, connected, deliveries, options, publish, subscribed};

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
    delivery.settle(meshwire_embed::Settle::Ack).unwrap();
    let next = deliveries(orders.next_batch(1, None).unwrap());
    assert_eq!(crate::rig::texts(&next), ["of the child"]);
}
