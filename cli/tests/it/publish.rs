//! `meshwire pub`.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::program::{Gateway, id};

#[test]
fn the_events_of_a_file_are_published_in_their_order() {
    let gateway = Gateway::start();
    let ids: Vec<String> = (0..500).map(|n| format!("e{n}")).collect();
    let text: String = ids.iter().map(|id| format!("{{\"id\":\"{id}\",\"source\":\"/s\",\"type\":\"t\"}}\n")).collect();
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    let ended = gateway.run(&["pub", "orders", "--file", file.path().to_str().unwrap()]);
    assert_eq!((ended.code, &*ended.out, &*ended.err), (Some(0), "published 500\n", ""));
    assert_eq!(gateway.all_ids("orders"), ids);
}

#[test]
fn a_bad_line_is_named_and_the_others_are_published() {
    let gateway = Gateway::start();
    let text = "{\"id\":\"a\"}\n\nnonsense\n{\"id\":\"b\"}\n{\"id\":\"c\",\"Upper\":1}\n{\"id\":\"d\",\"specversion\":\"0.3\"}\n{\"id\":\"e\",\"id\":\"f\"}\n{\"id\":\"g\",\"time\":\"noon\"}\n{\"item\":42}\n{\"id\":\"h\"}\n";
    let ended = gateway.run_with(&["pub", "orders", "--file", "-"], text);
    assert_eq!((ended.code, &*ended.out), (Some(1), "published 3, failed 6\n"));
    let told = ended.notes();
    assert_eq!(told.len(), 6, "{told:?}");
    for (note, start, part) in [
        (told[0], "line 3: ", "not a CloudEvent in JSON"),
        (told[1], "line 5: ", "\"Upper\" is not an attribute name"),
        (told[2], "line 6: ", "only \"1.0\" is supported"),
        (told[3], "line 7: ", "\"id\" occurs twice"),
        (told[4], "line 8: ", "not an RFC 3339 time"),
        (told[5], "line 9: ", "none of specversion, id, source, type and data is there"),
    ] {
        assert!(note.starts_with(start) && note.contains(part) && note.ends_with(" (INVALID)"), "{note}");
    }
    assert_eq!(gateway.all_ids("orders"), ["a", "b", "h"]);
}

#[test]
fn in_an_array_each_bad_item_has_its_index_and_reason_and_the_good_ones_are_kept() {
    let gateway = Gateway::with(&["--memory", "--max-event-bytes", "1024", "--max-frame-bytes", "131072"]);
    let large = "x".repeat(2000);
    let text = format!(
        "[{{\"id\":\"a\"}},\n 7,\n {{\"id\":\"b\",\"data\":\"{large}\"}},\n {{\"id\":\"c\",\"no-name\":1}},\n {{\"id\":\"d\"}}]"
    );
    let ended = gateway.run_with(&["pub", "orders", "--file", "-", "--json"], &text);
    assert_eq!(ended.code, Some(1));
    let lines = ended.lines().into_iter().map(|l| serde_json::from_str::<Value>(l).unwrap());
    let (mut failures, receipts): (Vec<Value>, Vec<Value>) = lines.partition(|line| line.get("code").is_some());
    failures.sort_by_key(|line| line["event"].as_u64());
    let expected = [
        json!({ "event": 1, "line": 1, "position": "1", "duplicate": false }),
        json!({ "event": 5, "line": 5, "position": "2", "duplicate": false }),
    ];
    assert_eq!(receipts, expected);
    for (failure, event, line, code, part) in [
        (&failures[0], 2, 2, "INVALID", "an object is accepted, and this is a number"),
        (&failures[1], 3, 3, "TOO_LARGE", "over the limit of 1024"),
        (&failures[2], 4, 4, "INVALID", "is not an attribute name"),
    ] {
        assert_eq!(
            (&failure["event"], &failure["line"], &failure["code"]),
            (&json!(event), &json!(line), &json!(code))
        );
        assert!(failure["message"].as_str().unwrap().contains(part), "{failure}");
    }
    assert_eq!(ended.notes(), ["published 2, failed 3"], "what is a line of the output is not told once more");
    let ended = gateway.run_with(&["pub", "others", "--file", "-"], &text);
    let mut told = ended.notes();
    told.sort_unstable();
    for (note, start, part) in [
        (told[0], "event 2 (line 2): ", "an object is accepted, and this is a number"),
        (
            told[1],
            "event 3 (line 3): ",
            "the event has 2002 bytes of data, over the limit of 1024 (option max_event_bytes)",
        ),
        (told[2], "event 4 (line 4): ", "is not an attribute name"),
    ] {
        assert!(note.starts_with(start) && note.contains(part), "{note}");
    }
    assert_eq!((told.len(), &*ended.out), (3, "published 2, failed 3\n"));
    assert_eq!(gateway.all_ids("orders"), ["a", "d"]);
}

#[test]
fn an_event_of_an_id_that_is_there_already_is_told_to_be_a_duplicate() {
    let gateway = Gateway::start();
    let event = "{\"id\":\"a\",\"source\":\"/s\",\"type\":\"t\"}\n";
    gateway.run_with(&["pub", "orders", "--file", "-"], event);
    let ended = gateway.run_with(&["pub", "orders", "--file", "-", "--json"], event);
    assert_eq!(ended.out, "{\"event\":1,\"line\":1,\"position\":\"1\",\"duplicate\":true}\n");
    assert_eq!((ended.code, ended.notes()), (Some(0), vec!["published 1 (1 was there already)"]));
    assert_eq!(gateway.all_ids("orders"), ["a"]);
}

#[test]
fn receipts_come_while_the_source_is_still_open() {
    let gateway = Gateway::start();
    let mut publisher = gateway.begin(&["pub", "orders", "--file", "-", "--json"]);
    for n in 1..=3 {
        let mut input = publisher.input.take().unwrap();
        writeln!(input, "{{\"id\":\"{n}\"}}").unwrap();
        publisher.input = Some(input);
        let receipt: Value = serde_json::from_str(&publisher.line()).unwrap();
        assert_eq!(receipt["event"], n);
    }
    assert_eq!(publisher.end().code, Some(0));
}

#[test]
fn one_event_is_made_from_flags() {
    let gateway = Gateway::start();
    let ended = gateway.run(&[
        "pub",
        "orders",
        "--data",
        "{\"n\": [1, 2]}",
        "--type",
        "order.created",
        "--key",
        "c-7",
        "--id",
        "x",
    ]);
    assert_eq!((ended.code, &*ended.out), (Some(0), "published 1\n"));
    assert_eq!(ended.err, "");
    let ended = gateway.run(&["pub", "orders", "--data", "{plain text", "--id", "y"]);
    assert_eq!((ended.code, &*ended.out), (Some(0), "published 1\n"));
    let warning = "warning: --data begins like JSON and is published as text: the name of a field is not in double quotes at line 1 column 2";
    assert_eq!(ended.notes(), [warning]);
    let received = gateway.run(&["sub", "orders", "--start", "earliest", "--count", "2", "--json"]);
    let events: Vec<Value> = received.lines().iter().map(|l| serde_json::from_str(l).unwrap()).collect();
    let part = |event: &Value, names: [&str; 5]| names.map(|n| event[n].clone());
    let names = ["id", "type", "partitionkey", "datacontenttype", "data"];
    assert_eq!(
        part(&events[0], names),
        [json!("x"), json!("order.created"), json!("c-7"), json!("application/json"), json!({ "n": [1, 2] })]
    );
    assert!(received.lines()[0].contains("\"data\":{\"n\": [1, 2]}"), "the exact text: {}", received.out);
    assert_eq!(
        part(&events[1], names),
        [json!("y"), json!("orders"), Value::Null, json!("text/plain"), json!("{plain text")]
    );
    for event in &events {
        assert!(event["source"].as_str().unwrap().starts_with("//"), "{event}");
        assert!(event["time"].is_string(), "{event}");
    }
}

#[test]
fn a_whole_cloudevent_as_data_is_a_warning_that_says_how_it_is_published_as_it_is() {
    let gateway = Gateway::start();
    let event = "{\"specversion\":\"1.0\",\"id\":\"a\",\"source\":\"/s\",\"type\":\"t\"}";
    let ended = gateway.run(&["pub", "orders", "--data", event]);
    assert_eq!((ended.code, &*ended.out), (Some(0), "published 1\n"));
    let told = ended.notes();
    assert!(told.len() == 1 && told[0].starts_with("warning: --data is a whole CloudEvent"), "{told:?}");
    assert!(told[0].ends_with("use --file"), "{told:?}");
    for data in ["{\"data\":{\"specversion\":1}}", "[1]", "specversion"] {
        assert_eq!(gateway.run(&["pub", "orders", "--data", data]).err, "", "{data}");
    }
}

#[test]
fn what_is_absent_is_filled_in_with_a_new_id_each() {
    let gateway = Gateway::start();
    gateway.run_with(&["pub", "orders", "--file", "-"], "{}\n{}\n{}\n");
    let mut ids = gateway.all_ids("orders");
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

#[test]
fn failures_that_are_alike_are_one_line_and_after_twenty_lines_the_others_are_counted() {
    let gateway = Gateway::start();
    let good = "{\"id\":\"good\"}\n";
    let text = format!("{}{good}{good}{}", "bad\n".repeat(30), "bad\n{\"Upper\":1}\n".repeat(15));
    let ended = gateway.run_with(&["pub", "orders", "--file", "-"], &text);
    assert_eq!((ended.code, &*ended.out), (Some(1), "published 2 (1 was there already), failed 60\n"));
    let told = ended.notes();
    assert!(told[0].starts_with("lines 1 to 30: ") && told[1].starts_with("line 33: "), "{told:?}");
    assert_eq!((told.len(), told.last()), (21, Some(&"and 11 more failures")));
}

#[test]
fn a_thousand_failures_of_one_cause_are_one_line() {
    let gateway = Gateway::with(&["--memory", "--auto-create=false"]);
    for (line, code) in [("bad\n", "(INVALID)"), ("{}\n", "(TOPIC_NOT_FOUND)")] {
        let ended = gateway.run_with(&["pub", "orders", "--file", "-"], &line.repeat(1000));
        assert_eq!(ended.out, "published 0, failed 1000\n");
        let told: Vec<_> = ended.notes().into_iter().filter(|note| note.contains(code)).collect();
        assert!(matches!(&*told, [one] if one.starts_with("lines 1 to 1000: ")), "{told:?}");
    }
}

#[test]
fn when_the_gateway_refuses_every_event_the_exit_code_is_4() {
    let gateway = Gateway::with(&["--memory", "--auto-create=false"]);
    let ended = gateway.run(&["pub", "orders", "--data", "x"]);
    assert_eq!((ended.code, &*ended.out), (Some(4), "published 0, failed 1\n"));
    assert!(
        ended.err.contains("TOPIC_NOT_FOUND") && ended.err.contains("meshwire topics create orders"),
        "{}",
        ended.err
    );
    gateway.run(&["topics", "create", "orders"]);
    assert_eq!(gateway.run(&["pub", "orders", "--data", "x"]).code, Some(0));
}

#[test]
fn when_all_input_is_wrong_the_exit_code_is_2_and_nothing_was_sent() {
    let gateway = Gateway::start();
    let ended = gateway.run(&["pub", "orders", "--data", "x", "--type", "a\u{1}b"]);
    assert_eq!((ended.code, &*ended.out), (Some(2), "published 0, failed 1\n"));
    assert_eq!(ended.notes(), ["event: attribute type holds the control character 0x01 (INVALID)"]);
    let ended = gateway.run_with(&["pub", "orders", "--file", "-"], "nonsense\n{\"Upper\":1}\n");
    assert_eq!((ended.code, &*ended.out), (Some(2), "published 0, failed 2\n"), "{}", ended.err);
    assert_eq!(gateway.run(&["topics", "list"]).out, "no topics\n");
}

#[test]
fn a_reader_of_receipts_that_ends_first_does_not_stop_the_publishing() {
    let gateway = Gateway::start();
    let url = gateway.url.clone();
    let script = format!(
        "seq 20000 | sed 's/.*/{{\"id\":\"&\"}}/' | {} pub orders --file - --json --server {url} | head -n 1",
        env!("CARGO_BIN_EXE_meshwire")
    );
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]);
    let ended = crate::program::Program::spawn(shell).end();
    assert_eq!(ended.lines().len(), 1, "{}", ended.err);
    let last = gateway.run(&["sub", "orders", "--start", "20000", "--count", "1", "--json"]);
    assert_eq!(id(last.out.trim()), "20000");
}

#[test]
fn what_is_over_the_publish_rate_is_told_when_to_come_again_and_published_then() {
    let gateway = Gateway::start();
    gateway.run(&["limits", "set", "--publish-bytes-rate", "1000"]);
    // It is taken, and uses up 10 s of the rate.
    let large = "x".repeat(10_000);
    assert_eq!(gateway.run(&["pub", "orders", "--data", &large]).code, Some(0));
    let mut patient = gateway.begin(&["pub", "orders", "--file", "-"]);
    patient.input.take().unwrap().write_all(b"{\"id\":\"1\"}\n{\"id\":\"2\"}\n").unwrap();
    patient.wait_for_log("it is published again when the gateway says: the publish rate of this gateway is used up ");
    let impatient = gateway.run(&["pub", "orders", "--data", "late", "--wait", "1s"]);
    assert_eq!((impatient.code, impatient.out.as_str()), (Some(4), "published 0, failed 1\n"), "{impatient:?}");
    let said = impatient.notes()[0].to_owned();
    assert!(said.contains("max_publish_bytes_rate 1000") && said.contains("; publish again in "), "{said}");
    assert!(
        said.contains("; it would have to wait ") && said.ends_with(", over the 1 s that pub waits (--wait) (BUSY)"),
        "{said}"
    );
    let patient = patient.end();
    assert_eq!(
        (patient.code, patient.out.as_str(), patient.notes().len()),
        (Some(0), "published 2\n", 1),
        "{patient:?}"
    );
    assert_eq!(gateway.all_ids("orders")[1..], ["1", "2"]);
}
