//! S28: every call of a client leaves a structured record, with its typed status.

use rustix::process::Signal;

use crate::program::Gateway;

/// The next record of this operation has these fields, and a time in microseconds.
fn is_recorded(gateway: &mut Gateway, operation: &str, fields: &[&str]) {
    let line = gateway.program.wait_for_log(&format!("operation=\"{operation}\""));
    for field in [fields, &["DEBUG", "principal=\"anonymous\"", "peer=127.0.0.1:"]].concat() {
        assert!(line.contains(field), "{operation}: no {field} in {line}");
    }
    let micros = line.rsplit_once("micros=").and_then(|(_, micros)| micros.trim().parse::<u64>().ok());
    assert!(micros.is_some_and(|micros| micros < 30_000_000), "{line}");
}

fn calls_are_recorded(mut gateway: Gateway) {
    gateway.publish("orders", &["1", "2", "3"]);
    is_recorded(&mut gateway, "login", &["topic=\"\"", "code=\"OK\""]);
    is_recorded(&mut gateway, "publish", &["topic=\"orders\"", "events=", "code=\"OK\""]);
    assert_eq!(gateway.ids(&["sub", "orders", "--group", "billing", "--count", "3", "--json"]), ["1", "2", "3"]);
    is_recorded(&mut gateway, "subscribe", &["topic=\"orders\"", "group=\"billing\"", "code=\"OK\""]);
    gateway.ids(&["sub", "orders", "--start", "-10m", "--count", "3", "--json"]);
    is_recorded(&mut gateway, "subscribe", &["topic=\"orders\"", "group=\"\"", "code=\"OK\""]);
    assert_eq!(gateway.run(&["request", "nobody", "--data", "x"]).code, Some(4));
    is_recorded(&mut gateway, "request", &["topic=\"nobody\"", "code=\"NO_RESPONDERS\""]);
    assert_eq!(gateway.run(&["groups", "delete", "orders", "none"]).code, Some(4));
    is_recorded(&mut gateway, "delete_group", &["topic=\"orders\"", "group=\"none\"", "code=\"NOT_FOUND\""]);
    let mut responder = gateway.begin(&["reply", "asked", "--data", "x"]);
    responder.wait_for_log("serving requests");
    is_recorded(&mut gateway, "serve", &["topic=\"asked\"", "code=\"OK\""]);
    gateway.run(&["limits", "set", "--publish-rate", "500"]);
    is_recorded(&mut gateway, "set_limits", &["code=\"OK\""]);
}

#[test]
fn s28_every_call_leaves_an_access_record_with_its_code() {
    let directory = tempfile::tempdir().unwrap();
    calls_are_recorded(Gateway::with(&["--data-dir", directory.path().to_str().unwrap(), "--access-log"]));
}

#[test]
fn s28_every_call_leaves_an_access_record_with_its_code_in_memory() {
    calls_are_recorded(Gateway::with(&["--memory", "--access-log", "--log-level", "error"]));
    calls_are_recorded(Gateway::with(&["--memory", "--log-level", "debug"]));
}

#[test]
fn without_the_switch_calls_leave_no_record() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["1"]);
    gateway.program.signal(Signal::TERM);
    let ended = gateway.program.end();
    assert!(ended.err.contains("stopped") && !ended.err.contains("operation="), "{}", ended.err);
}
