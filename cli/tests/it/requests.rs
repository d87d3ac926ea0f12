//! Requests and replies between real programs.

use crate::program::{Ended, Gateway, Program};

/// A responder that is ready.
fn reply(gateway: &Gateway, args: &[&str]) -> Program {
    let mut program = gateway.begin(&[&["reply"], args].concat());
    program.wait_for_log("serving requests");
    program
}

fn outcome(ended: &Ended) -> (Option<i32>, &str) {
    (ended.code, ended.out.as_str())
}

#[test]
fn a_request_is_answered_with_fixed_data_and_without_a_responder_refused_at_once() {
    let gateway = Gateway::start();
    let alone = gateway.run(&["request", "ping", "--data", "x"]);
    assert_eq!(alone.code, Some(4));
    assert!(alone.err.contains("nobody serves requests of topic ping (NO_RESPONDERS"), "{}", alone.err);
    let responder = reply(&gateway, &["ping", "--data", "pong", "--count", "1"]);
    assert_eq!(outcome(&gateway.run(&["request", "ping", "--data", "x"])), (Some(0), "pong\n"));
    assert_eq!(responder.end().code, Some(0));
}
