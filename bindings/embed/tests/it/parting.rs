//! A program that ends with a client that it has not closed. This binary is that program, too: with [`URL`] set, the test of that name
//! is its main function.

use std::process::{Command, Output};

use meshwire::testing::Gateway;
use meshwire_embed::{Client, Queue};

use crate::rig::{PATIENCE, begin_publish, connected, deliveries, options, subscribed, texts};

/// Set for the program: where its gateway is, if it has none of its own.
const URL: &str = "MESHWIRE_TEST_PARTING_URL";

/// A client with so much room.
fn with_room(url: &str, window: &str) -> Client {
    Client::connect(&options(&[("url", url), ("publish_window_events", window)])).unwrap()
}

/// Begins to publish so many, for a program that ends at once.
#[expect(clippy::mem_forget, reason = "nothing is dropped in order, as in a language with a collector")]
fn leave(client: Client, count: u64) {
    let queue = Queue::new(1024).unwrap();
    for tag in 0..count {
        begin_publish(&client, "orders", &tag.to_string(), &queue, tag).unwrap();
    }
    std::mem::forget((client, queue));
}

/// Runs one test of this binary in a process of its own.
fn run(test: &str, url: &str) -> Output {
    let own = std::env::current_exe().unwrap();
    let ran = Command::new(own).args(["--exact", test, "--nocapture"]).env(URL, url).output().unwrap();
    assert!(ran.status.success(), "{ran:?}");
    ran
}

#[test]
fn what_a_program_has_published_when_it_ends_is_stored_though_it_neither_flushes_nor_closes() {
    if let Ok(url) = std::env::var(URL) {
        return leave(with_room(&url, "64"), 1_000);
    }
    let gateway = Gateway::start().unwrap();
    let ran = run(
        "parting::what_a_program_has_published_when_it_ends_is_stored_though_it_neither_flushes_nor_closes",
        &gateway.url(),
    );
    assert!(!String::from_utf8_lossy(&ran.stderr).contains("the process ends with"), "{ran:?}");
    let client = connected(&gateway);
    let orders = subscribed(&client, "orders", &[("group", "g"), ("prefetch_events", "10000")]);
    let mut seen = Vec::new();
    while seen.len() < 1_000 {
        let more = texts(&deliveries(orders.next_batch(4096, Some(PATIENCE)).unwrap()));
        assert!(!more.is_empty(), "{} were stored", seen.len());
        seen.extend(more);
    }
    assert!(seen.into_iter().eq((0..1_000).map(|tag| tag.to_string())));
}

#[test]
fn a_program_that_ends_when_its_gateway_is_gone_says_how_many_have_no_receipt() {
    if std::env::var_os(URL).is_some() {
        let gateway = Gateway::start().unwrap();
        let (wide, narrow) = (with_room(&gateway.url(), "16384"), with_room(&gateway.url(), "1"));
        gateway.kill();
        leave(wide, 3);
        // One is in the window, and two wait for room.
        return leave(narrow, 3);
    }
    let ran = run("parting::a_program_that_ends_when_its_gateway_is_gone_says_how_many_have_no_receipt", "its own");
    let said = String::from_utf8_lossy(&ran.stderr);
    assert!(said.contains("the process ends with 6 publishes that have no receipt"), "{said}");
}

#[test]
fn publishes_have_their_time_though_the_last_of_the_client_goes_on_a_thread_of_its_own() {
    const MANY: usize = 2_000;
    let gateway = Gateway::start().unwrap();
    let client = with_room(&gateway.url(), "64");
    let consumer = client.consume("others", &options(&[("group", "g")])).unwrap();
    let queue = Queue::new(4096).unwrap();
    for tag in 0..MANY {
        begin_publish(&client, "orders", &tag.to_string(), &queue, tag as u64).unwrap();
    }
    // The task of the consumer has the client, and ends on a thread of the runtime.
    drop((client, consumer));
    let client = connected(&gateway);
    let orders = subscribed(&client, "orders", &[("group", "g"), ("prefetch_events", "10000")]);
    let mut seen = Vec::new();
    while seen.len() < MANY {
        let more = texts(&deliveries(orders.next_batch(4096, Some(PATIENCE)).unwrap()));
        assert!(!more.is_empty(), "{} were stored", seen.len());
        seen.extend(more);
    }
    assert!(seen.into_iter().eq((0..MANY).map(|tag| tag.to_string())));
}
