//! `meshwire watch`, on a terminal and elsewhere.

use serde_json::Value;

use crate::program::Gateway;
use crate::terminal::Terminal;

fn gateway() -> Gateway {
    let gateway = Gateway::start();
    gateway.publish("orders", &["1", "2", "3"]);
    gateway.run(&["groups", "create", "orders", "billing"]);
    gateway
}

#[test]
fn one_look_is_a_table_or_an_object_and_has_no_rates() {
    let gateway = gateway();
    let once = gateway.run(&["watch", "--once"]);
    let expected = "\
topic          events  in/s  out/s  lag  flight  fail  oldest  dead
orders              3     -
  billing (0)                    -    3       0     0      AGE     0
";
    let age = once.out.split_whitespace().rev().nth(1).unwrap();
    assert!(age.ends_with('s'), "{once:?}");
    assert_eq!((once.code, once.out.replace(&format!("{age}     0"), "AGE     0").as_str()), (Some(0), expected));
    let object = gateway.run(&["watch", "--once", "--json"]);
    let look: Value = serde_json::from_str(&object.out).unwrap();
    let topic = &look["topics"][0];
    assert_eq!(
        (&topic["name"], &topic["events"], &topic["published_per_second"]),
        (&"orders".into(), &3.into(), &Value::Null)
    );
    assert_eq!(topic["groups"][0]["lag"], 3);
    assert!(topic["groups"][0]["oldest_ms"].as_u64().is_some(), "{topic}");
    let other = gateway.run(&["watch", "ordesr", "orders", "--once", "--json"]);
    assert_eq!((other.code, other.out.as_str()), (Some(4), ""), "{other:?}");
    assert!(
        other.err.contains("topic ordesr does not exist") && other.err.contains("did you mean orders?"),
        "{other:?}"
    );
}

#[test]
fn elsewhere_than_on_a_terminal_each_look_is_printed_with_rates_from_the_second_on() {
    let gateway = gateway();
    let mut watch = gateway.begin(&["watch", "--every", "200ms", "--json"]);
    let first: Value = serde_json::from_str(&watch.line()).unwrap();
    assert_eq!(first["topics"][0]["published_per_second"], Value::Null);
    gateway.publish("orders", &["4", "5"]);
    let rate = |look: &Value| look["topics"][0]["published_per_second"].as_f64().unwrap();
    let seen = (0..100).any(|_| rate(&serde_json::from_str(&watch.line()).unwrap()) > 0.0);
    assert!(seen, "two events were published meanwhile");
    watch.signal(rustix::process::Signal::INT);
    assert_eq!(watch.end().code, Some(0));
}

#[test]
fn what_retention_takes_from_a_group_that_nobody_reads_is_neither_lag_nor_settled() {
    let gateway = Gateway::start();
    assert_eq!(gateway.run(&["topics", "create", "small", "--retention-bytes", "64KiB"]).code, Some(0));
    gateway.run(&["groups", "create", "small", "billing"]);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let data = "x".repeat(1000);
    let events: String = (0..1000).map(|n| format!("{{\"id\":\"f{n}\",\"data\":\"{data}\"}}\n")).collect();
    std::fs::write(&file, &events).unwrap();
    let mut watch = gateway.begin(&["watch", "--every", "200ms", "--json"]);
    watch.line();
    assert_eq!(gateway.run(&["pub", "small", "--file", file.to_str().unwrap()]).code, Some(0));
    let taken = (0..100).any(|_| {
        let look: Value = serde_json::from_str(&watch.line()).unwrap();
        let topic = &look["topics"][0];
        assert_eq!(topic["groups"][0]["lag"], topic["events"], "{topic}");
        assert!(topic["groups"][0]["settled_per_second"].as_f64().is_none_or(|rate| rate == 0.0), "{topic}");
        (1..1000).contains(&topic["events"].as_u64().unwrap())
    });
    assert!(taken, "64 KiB and what may stay beside them are less than 1000 events");
    watch.signal(rustix::process::Signal::INT);
    watch.end();
    let listed: Value = serde_json::from_str(&gateway.run(&["topics", "list", "--json"]).out).unwrap();
    let (events, overtaken) = (listed["events"].as_u64().unwrap(), listed["overtaken"].as_u64().unwrap());
    assert_eq!((events + overtaken, listed["groups"][0]["lag"].as_u64()), (1000, Some(events)), "{listed}");
}

#[test]
fn on_a_terminal_it_fits_is_drawn_anew_at_another_size_and_leaves_it_as_it_was_on_q() {
    let gateway = gateway();
    for n in 0..30 {
        gateway.run(&["topics", "create", &format!("a-topic-with-quite-a-long-name-of-its-own-{n:02}")]);
    }
    let args = ["watch", "--every", "200ms", "--server", &gateway.url];
    let Some(mut terminal) = Terminal::start(&args, (80, 24)) else { return };
    let lines = terminal.picture(|lines| lines.len() == 24);
    assert!(lines[1].starts_with("topic ") && lines[1].ends_with("dead"), "{lines:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
    assert!(lines[23].starts_with("0 rows above, 11 below"), "{lines:?}");
    assert!(terminal.is_raw());
    terminal.type_in(b"jjj\x1b[A");
    terminal.picture(|lines| lines.last().is_some_and(|line| line.starts_with("2 rows above, 9 below")));
    terminal.resize(50, 10);
    let lines = terminal.picture(|lines| lines.len() == 10);
    assert!(lines.iter().all(|line| line.chars().count() <= 50), "{lines:?}");
    terminal.resize(200, 60);
    let lines = terminal.picture(|lines| lines.iter().any(|line| line.starts_with("  billing (0)")));
    assert_eq!(lines.len(), 34, "head, columns, 31 topics, a group: {lines:?}");
    terminal.type_in(b"q");
    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.seen.ends_with("\x1b[?25h\x1b[?1049l"), "the first screen is back");
    assert!(!terminal.is_raw());
}

#[test]
fn ctrl_c_ends_it_with_0_and_leaves_the_terminal_as_it_was() {
    let gateway = gateway();
    let args = ["watch", "--server", &gateway.url];
    let Some(mut terminal) = Terminal::start(&args, (80, 24)) else { return };
    terminal.picture(|lines| lines.iter().any(|line| line.starts_with("  billing (0)")));
    terminal.type_in(b"\x03");
    assert_eq!(terminal.end(), Some(0));
    assert!(terminal.seen.ends_with("\x1b[?25h\x1b[?1049l"), "{:?}", terminal.seen);
    assert!(!terminal.is_raw());
}

#[test]
fn publishing_tells_how_far_it_is_on_a_terminal_unless_it_is_to_be_quiet() {
    let gateway = gateway();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("events.ndjson");
    let events: String = (0..2000).map(|n| format!("{{\"id\":\"f{n}\"}}\n")).collect();
    std::fs::write(&file, &events).unwrap();
    let args = ["pub", "bulk", "--file", file.to_str().unwrap(), "--server", &gateway.url];
    let Some(mut terminal) = Terminal::start(&args, (80, 24)) else { return };
    assert_eq!(terminal.end(), Some(0));
    let seen = &terminal.seen;
    assert!(seen.contains("%  published ") && seen.contains(" unanswered\x1b[K"), "{seen:?}");
    assert!(seen.ends_with("\r\x1b[Kpublished 2000\r\n"), "the line is gone at the end: {seen:?}");

    std::fs::write(&file, events.replace("f", "g")).unwrap();
    let args = [&args[..], &["--quiet"]].concat();
    let Some(mut terminal) = Terminal::start(&args, (80, 24)) else { return };
    assert_eq!(terminal.end(), Some(0));
    assert_eq!(terminal.seen, "published 2000\r\n");
}
