//! Runs the examples against a real gateway and compares what they print.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "tests fail by panicking, and say what they lack")]

use std::process::Command;

use meshwire::ErrorKind;
use meshwire::testing::Gateway;

/// A gateway, `None` where the program is not built: `cargo xtask test` builds it first.
fn gateway() -> Option<Gateway> {
    match Gateway::start() {
        Ok(gateway) => Some(gateway),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            println!("skipped: needs MESHWIRE_BIN");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn printed(program: &str, gateway: &Gateway) -> String {
    let output = Command::new(program).arg(gateway.url()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_the_publisher_publishes_the_consumer_bills() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_publisher"), &gateway),
        "order 1 is kept\norder 2 is kept\norder 3 is kept\norder 4 is kept\norder 5 is kept\n"
    );
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_consumer"), &gateway),
        "bill ada for item 1\nbill ben for item 2\nbill ada for item 3\nbill cy for item 4\nbill ben for item 5\n"
    );
}

#[test]
fn every_host_gets_every_change_and_goes_on_where_it_was() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_broadcast"), &gateway),
        "north: apples 3\n\
         south: apples 3\n\
         north: pears 4\n\
         guest: plums 5\n\
         south: pears 4\n\
         south: plums 5\n\
         north has 1 waiting\n\
         south has 0 waiting\n"
    );
}

#[test]
fn an_order_that_cannot_be_billed_is_given_up_and_given_back() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_dead_letter"), &gateway),
        "1 costs 5\n\
         2 failed, attempt 1: it has no price\n\
         3 costs 7\n\
         2 failed, attempt 2: it has no price\n\
         dead letter 1: order 2, 2 failures\n\
         given back: 1\n\
         2 is free\n\
         left: 0\n"
    );
}

#[test]
fn who_subscribes_without_a_group_gets_everything_from_then_on() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_publish_subscribe"), &gateway),
        "board: tea 1.90\nboard: coffee 2.40\nboard: cocoa 3.10\n\
         till: tea 1.90\ntill: coffee 2.40\ntill: cocoa 3.10\n"
    );
}

#[test]
fn members_of_a_group_share_its_jobs_and_keep_the_order_of_each_customer() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_consumer_group"), &gateway),
        "ada: [1, 4, 7, 10]\nben: [2, 5, 8, 11]\ncy: [3, 6, 9, 12]\n"
    );
}

#[test]
fn what_is_not_acked_comes_again() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_manual_ack"), &gateway),
        "a: delivered at attempt 1\n\
         b: nobody at home, again in 100 ms\n\
         c: lost on the way\n\
         b: delivered at attempt 2\n\
         c: delivered at attempt 2\n"
    );
}

#[test]
fn one_event_of_a_batch_fails_alone_and_the_others_are_taken_in_batches() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_batch"), &gateway),
        "one is refused: TOO_LARGE\n99 are kept\narchived 99 readings, their sum is 5008\n"
    );
}

#[test]
fn requests_are_answered_or_told_why_not() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_request_reply"), &gateway),
        "sku 1 costs 2\nsku 21 costs 42\nrefused: there is no sku 0\nnobody serves discount\n"
    );
}

#[test]
fn a_reply_stream_is_read_to_its_end_or_left_in_the_middle() {
    let Some(gateway) = gateway() else { return };
    assert_eq!(
        printed(env!("CARGO_BIN_EXE_reply_stream"), &gateway),
        "line 1\nline 2\nline 3\nall of it\nline 1\nline 2\nthat is enough\n"
    );
}

#[test]
fn without_a_gateway_an_example_says_how_to_start_one() {
    let output = Command::new(env!("CARGO_BIN_EXE_publisher")).arg("mesh://127.0.0.1:1").output().unwrap();
    assert!(!output.status.success());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("meshwire serve"), "{errors}");
}
