//! `meshwire sub`.

use std::process::{Command, Stdio};
use std::time::Duration;

use meshwire::{Event, EventView};
use meshwire_proto::EventLimits;

use crate::program::{Gateway, Program, id, meshwire};

#[test]
fn events_come_out_as_cloudevents_json_with_data_as_it_was() {
    let gateway = Gateway::start();
    let text = concat!(
        "{\"id\":\"json\",\"source\":\"/s\",\"type\":\"t\",\"time\":\"2026-01-02T03:04:05.678Z\",\"datacontenttype\":\"application/json\",\"data\":{ \"b\":1.50, \"a\":[1e3] }}\n",
        "{\"id\":\"text\",\"source\":\"/s\",\"type\":\"t\",\"datacontenttype\":\"text/plain\",\"data\":\"two\\nlines é\"}\n",
        "{\"id\":\"bytes\",\"source\":\"/s\",\"type\":\"t\",\"datacontenttype\":\"image/png\",\"data_base64\":\"/wD+\"}\n",
        "{\"id\":\"none\",\"source\":\"/s\",\"type\":\"t\",\"flag\":true,\"number\":-7,\"subject\":\"s\"}\n",
    );
    assert_eq!(gateway.run_with(&["pub", "orders", "--file", "-"], text).code, Some(0));
    // Over several lines, as a pretty-printing program writes it.
    let pretty = "{\n  \"id\": \"pretty\", \"source\": \"/s\", \"type\": \"t\",\n  \"datacontenttype\": \"application/json\",\n  \"data\": {\n    \"a\": 1\n  }\n}\n";
    assert_eq!(gateway.run_with(&["pub", "orders", "--file", "-"], pretty).code, Some(0));
    let received = gateway.run(&["sub", "orders", "--start", "earliest", "--count", "5", "--json"]);
    assert_eq!(received.code, Some(0), "{}", received.err);
    let lines = received.lines();
    assert_eq!(lines.len(), 5, "{}", received.out);
    assert!(lines[0].contains("\"time\":\"2026-01-02T03:04:05.678Z\""), "{}", lines[0]);
    for (line, part) in [
        (lines[0], "\"data\":{ \"b\":1.50, \"a\":[1e3] }}"),
        (lines[1], "\"data\":\"two\\nlines é\"}"),
        (lines[2], "\"data_base64\":\"/wD+\"}"),
        (lines[3], "\"flag\":true,\"number\":-7,\"subject\":\"s\""),
        (lines[4], "\"data\":{     \"a\": 1   }}"),
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn people_get_position_type_id_key_and_the_beginning_of_the_data() {
    let gateway = Gateway::start();
    gateway.run(&["pub", "orders", "--data", "a\u{1b}[31m b", "--type", "t", "--id", "x", "--key", "k"]);
    let received = gateway.run(&["sub", "orders", "--start", "earliest", "--count", "1"]);
    assert_eq!(received.out, "     1  t  x  key k  a\\u{1b}[31m b\n");
    assert!(received.err.contains("subscribing without a group"), "{}", received.err);
}

#[test]
fn a_group_gets_each_event_once_and_goes_on_where_it_was() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["a", "b", "c"]);
    let first = gateway.run(&["sub", "orders", "--group", "g", "--count", "2", "--json"]);
    assert_eq!(first.code, Some(0), "{}", first.err);
    assert_eq!(first.lines().iter().map(|l| id(l)).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(gateway.group_ids("orders", "g"), ["c"]);
    assert!(gateway.group_ids("orders", "g").is_empty());
    assert_eq!(gateway.group_ids("orders", "other"), ["a", "b", "c"]);
}

#[test]
fn a_reader_begins_at_the_position_that_is_asked_for() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["a", "b", "c"]);
    let received = gateway.run(&["sub", "orders", "--start", "2", "--count", "2", "--json"]);
    assert_eq!(received.lines().iter().map(|l| id(l)).collect::<Vec<_>>(), ["b", "c"]);
    let mut waiting = gateway.begin(&["sub", "orders", "--start", "latest", "--count", "1", "--json"]);
    waiting.wait_for_log("subscribing without a group");
    // The line stands before the gateway's answer: only what is published later than that counts.
    while gateway.run(&["pub", "orders", "--data", "new"]).code == Some(0)
        && waiting.stays_quiet(Duration::from_millis(50))
    {}
    assert_eq!(waiting.end().code, Some(0));
}

#[test]
fn a_position_that_no_event_has_and_a_topic_without_events_are_said_to_be_so() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["a", "b", "c"]);
    let mut waiting = gateway.begin(&["sub", "orders", "--start", "50", "--count", "1", "--json"]);
    let told = waiting.wait_for_log("no event has position 50 yet");
    assert!(told.contains("WARN") && told.contains("the next event, at 4"), "{told}");
    gateway.publish("orders", &["d"]);
    let ended = waiting.end();
    assert_eq!(id(ended.out.trim()), "d");
    assert!(ended.err.contains("start=position 50"), "{}", ended.err);

    let mut waiting = gateway.begin(&["sub", "ordres", "--group", "g", "--count", "1"]);
    let told = waiting.wait_for_log("the topic has no events yet");
    assert!(told.contains("INFO") && told.contains("ordres"), "{told}");
    gateway.publish("ordres", &["a"]);
    assert_eq!(waiting.end().code, Some(0));
    let ended = gateway.run(&["sub", "ordres", "--group", "other", "--count", "1"]);
    assert!(!ended.err.contains("no events yet"), "{}", ended.err);
}

/// A subscriber whose reader went away with event `a`, the first.
fn left_by_its_reader(gateway: &Gateway, options: &[&str]) -> std::process::Child {
    gateway.publish("orders", &["a"]);
    let mut command = meshwire(&["sub", "orders", "--json", "--server", &gateway.url]);
    command.args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut subscriber = command.spawn().unwrap();
    let mut reader = std::io::BufReader::new(subscriber.stdout.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut reader, &mut line).unwrap();
    assert_eq!(id(&line), "a");
    subscriber
}

#[test]
fn a_closed_pipe_gives_the_rest_back_and_exits_0() {
    let gateway = Gateway::start();
    let mut subscriber = left_by_its_reader(&gateway, &["--group", "g"]);
    gateway.publish("orders", &["b", "c"]);
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
    assert_eq!(gateway.group_ids("orders", "g"), ["b", "c"]);
}

#[test]
fn when_the_reader_is_gone_it_ends_though_no_event_comes() {
    let gateway = Gateway::start();
    let mut subscriber = left_by_its_reader(&gateway, &["--start", "earliest"]);
    assert_eq!(subscriber.wait().unwrap().code(), Some(0));
}

#[test]
fn in_a_pipe_to_head_nothing_is_lost_between_the_members_of_a_group() {
    let gateway = Gateway::start();
    let ids: Vec<String> = (0..2000).map(|n| format!("{n:04}")).collect();
    gateway.publish("orders", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let script = format!(
        "{} sub orders --group g --json --server {} | head -n 3; exit ${{PIPESTATUS:-0}}",
        env!("CARGO_BIN_EXE_meshwire"),
        gateway.url
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    let ended = Program::spawn(shell).end();
    assert_eq!(ended.lines().len(), 3, "{}", ended.err);
    // What was written into the pipe counts as read; the rest comes to the next member, without a hole.
    let rest = gateway.group_ids("orders", "g");
    assert!(rest.len() >= 1000, "{}", rest.len());
    assert_eq!(rest, ids[ids.len() - rest.len()..]);
}

#[test]
fn idle_time_counts_only_while_there_is_a_connection() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    gateway.publish("orders", &["a"]);
    let mut subscriber = gateway.begin(&["sub", "orders", "--group", "g", "--until-idle", "3s", "--json"]);
    assert_eq!(id(&subscriber.line()), "a");
    let address = gateway.address.clone();
    gateway.program.kill();
    subscriber.wait_for_log("connection");
    assert!(subscriber.stays_quiet(Duration::from_millis(3500)), "it ended while it could hear nothing");
    let again =
        Gateway::spawn(meshwire(&["serve", "--listen", &address, "--data-dir", directory.path().to_str().unwrap()]));
    again.publish("orders", &["b"]);
    // The ack of the first may have been on its way when the gateway was killed.
    while id(&subscriber.line()) != "b" {}
    assert_eq!(subscriber.end().code, Some(0));
    assert!(again.group_ids("orders", "g").is_empty());
}

/// An event with `proto_data`, which has no form in JSON.
fn protobuf_event(event_id: &str) -> Event {
    let mut bytes = Event::new("t").id(event_id).source("/s").encode().unwrap().to_vec();
    // Field 8, length 2: an `Any` with an empty type.
    bytes.extend([0x42, 0x02, 0x0A, 0x00]);
    Event::from_view(&EventView::parse(&bytes, EventLimits::default()).unwrap())
}

#[test]
fn an_event_without_a_form_in_json_is_told_and_left_to_its_group() {
    let gateway = Gateway::start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mesh = meshwire::connect(&gateway.url).await.unwrap();
        mesh.publish("orders", protobuf_event("p")).await.unwrap();
        mesh.close().await.unwrap();
    });
    gateway.publish("orders", &["a"]);
    let ended = gateway.run(&["sub", "orders", "--group", "g", "--until-idle", "1s", "--json"]);
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert_eq!(ended.lines().iter().map(|l| id(l)).collect::<Vec<_>>(), ["a"]);
    assert!(
        ended.notes().iter().any(|n| n.starts_with("position 1: proto_data cannot be written as JSON")),
        "{}",
        ended.err
    );
    let shown = gateway.run(&["sub", "orders", "--group", "g", "--count", "1"]);
    assert!(shown.out.contains("  t  p  ") && shown.out.contains("(2 bytes of protobuf)"), "{}", shown.out);
}

#[test]
fn a_topic_that_does_not_exist_is_refused_with_exit_code_4_where_none_is_made() {
    let gateway = Gateway::with(&["--memory", "--auto-create=false"]);
    let ended = gateway.run(&["sub", "orders"]);
    assert_eq!(ended.code, Some(4));
    assert!(ended.err.contains("TOPIC_NOT_FOUND"), "{}", ended.err);
}

#[test]
fn an_output_that_cannot_be_written_is_told_and_no_advice_for_programs_is_logged() {
    let gateway = Gateway::start();
    gateway.publish("orders", &["a", "b"]);
    let mut full =
        crate::program::meshwire(&["sub", "orders", "--group", "g", "--count", "1", "--server", &gateway.url]);
    full.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
    let ended = full.output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{said}");
    assert!(said.contains("error: standard output cannot be written: ") && !said.contains("ack()"), "{said}");
    assert_eq!(gateway.group_ids("orders", "g"), ["a", "b"]);
}

#[test]
fn a_reader_of_a_topic_in_memory_that_is_too_far_behind_is_told_which_option_it_met() {
    let gateway = Gateway::with(&["--memory", "--max-lag-events", "5"]);
    gateway.publish("orders", &["first"]);
    let mut reader = gateway.begin(&["sub", "orders", "--start", "earliest"]);
    reader.line();
    reader.pause();
    // More than it has credit for.
    let ids: Vec<String> = (0..500).map(|n| n.to_string()).collect();
    gateway.publish("orders", &ids.iter().map(String::as_str).collect::<Vec<_>>());
    reader.signal(rustix::process::Signal::CONT);
    let said = reader.wait_for_log("skipped");
    assert!(said.contains("further behind than option max_lag_events"), "{said}");
}
