//! SIGINT and SIGTERM on the clients' side.

use std::io::Write as _;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::program::Gateway;

#[test]
fn an_interrupted_publisher_says_how_many_are_acknowledged() {
    for signal in [Signal::INT, Signal::TERM] {
        let gateway = Gateway::start();
        let mut publisher = gateway.begin(&["pub", "orders", "--file", "-", "--json"]);
        let mut input = publisher.input.take().unwrap();
        for n in 0..3 {
            writeln!(input, "{{\"id\":\"{n}\"}}").unwrap();
            publisher.line();
        }
        publisher.signal(signal);
        let ended = publisher.end();
        // Open until here: it is the signal that ended it, not the source.
        drop(input);
        assert_eq!(ended.code, Some(1));
        assert_eq!(ended.notes(), ["published 3, interrupted"]);
        assert_eq!(gateway.all_ids("orders").len(), 3);
    }
}

#[test]
fn an_interrupted_publisher_waits_shortly_and_says_how_many_have_no_answer() {
    let gateway = Gateway::start();
    let mut publisher = gateway.begin(&["pub", "orders", "--file", "-", "--json"]);
    let mut input = publisher.input.take().unwrap();
    writeln!(input, "{{\"id\":\"a\"}}").unwrap();
    publisher.line();
    gateway.program.pause();
    writeln!(input, "{{\"id\":\"b\"}}\nbad").unwrap();
    // The bad line is told once the one before is on its way.
    assert!(publisher.line().contains("\"line\":3"));
    publisher.input = Some(input);
    publisher.signal(Signal::INT);
    publisher.wait_for_log("published 1, failed 1, interrupted; 1 without an answer, which may be kept or not");
    publisher.signal(Signal::INT);
    let ended = publisher.end();
    assert_eq!(ended.code, Some(1));
    let lines = ended.lines().into_iter().skip(1).map(|l| serde_json::from_str::<Value>(l).unwrap());
    let told: Vec<_> = lines.map(|line| ["event", "line", "code"].map(|name| line[name].clone())).collect();
    assert_eq!(told, [[json!(3), json!(3), json!("INVALID")], [json!(2), json!(2), json!("CANCELLED")]]);
    gateway.program.signal(Signal::CONT);
}

#[test]
fn a_stopped_subscriber_has_acked_what_it_printed_and_exits_0() {
    for signal in [Signal::INT, Signal::TERM] {
        let gateway = Gateway::start();
        gateway.publish("orders", &["a", "b"]);
        let mut subscriber = gateway.begin(&["sub", "orders", "--group", "g", "--json"]);
        subscriber.line();
        subscriber.line();
        subscriber.signal(signal);
        let ended = subscriber.end();
        assert_eq!((ended.code, ended.lines().len()), (Some(0), 2), "{}", ended.err);
        gateway.publish("orders", &["c"]);
        assert_eq!(gateway.group_ids("orders", "g"), ["c"]);
    }
}

#[test]
fn a_subscriber_whose_reader_does_not_read_is_stopped_and_gives_back_what_it_could_not_write() {
    let gateway = Gateway::start();
    // Far more than a pipe holds, so that a write is stuck.
    let text: String = (0..300).map(|n| format!("{{\"id\":\"{n}\",\"data\":\"{}\"}}\n", "x".repeat(2000))).collect();
    assert_eq!(gateway.run_with(&["pub", "orders", "--file", "-"], &text).code, Some(0));
    let mut command = crate::program::meshwire(&["sub", "orders", "--group", "g", "--json", "--server", &gateway.url]);
    command.stdin(std::process::Stdio::null()).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
    let mut subscriber = command.spawn().unwrap();
    let mut out = subscriber.stdout.take().unwrap();
    std::io::Read::read_exact(&mut out, &mut [0; 10]).unwrap();
    let id = rustix::process::Pid::from_child(&subscriber);
    rustix::process::kill_process(id, Signal::TERM).unwrap();
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
    // Held open until here: the pipe was never closed, only full.
    drop(out);
    // A first small batch may have fit into the pipe, which holds about thirty events.
    let rest = gateway.group_ids("orders", "g");
    assert!(rest.len() >= 260, "{}", rest.len());
    assert!(rest.iter().map(|id| id.parse::<usize>().unwrap()).eq(300 - rest.len()..300), "{rest:?}");
}
