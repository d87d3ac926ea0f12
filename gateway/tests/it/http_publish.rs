//! `POST /v1/topics/{topic}/events`: positions, times, deadlines.

use std::sync::Arc;

use meshwire_gateway::mesh::AllowAll;
use serde_json::json;

use crate::rig::{Rig, memory};

const HEADERS: [(&str, &str); 5] =
    [("ce-specversion", "1.0"), ("ce-id", "1"), ("ce-source", "/s"), ("ce-type", "t"), ("content-type", "text/plain")];

#[tokio::test]
async fn an_event_is_answered_with_its_position_as_text_and_the_same_again_is_a_duplicate() {
    let rig = Rig::start().await;
    let mut http = rig.http().await;
    let first = http.call("POST", "/v1/topics/t/events", &HEADERS, b"hello").await;
    assert_eq!((first.status, first.json()), (200, json!({"position": "1", "duplicate": false})));
    let again = http.call("POST", "/v1/topics/t/events", &HEADERS, b"hello").await;
    assert_eq!(again.json(), json!({"position": "1", "duplicate": true}));
}

#[tokio::test]
async fn an_event_in_headers_without_one_that_it_must_have_is_told_as_one_in_json_is() {
    let rig = Rig::start().await;
    for missing in ["specversion", "id", "source", "type"] {
        let left: Vec<_> = HEADERS.into_iter().filter(|(name, _)| name.strip_prefix("ce-") != Some(missing)).collect();
        let told = rig.http().await.call("POST", "/v1/topics/t/events", &left, b"hello").await;
        let mut event = json!({"specversion": "1.0", "id": "1", "source": "/s", "type": "t"});
        event.as_object_mut().unwrap().remove(missing);
        let headers = [("content-type", "application/cloudevents+json")];
        let json = rig.http().await.call("POST", "/v1/topics/t/events", &headers, event.to_string().as_bytes()).await;
        assert_eq!(told.detail(), json.detail());
        assert!(told.detail().contains(&format!("has no {missing}")), "{}", told.detail());
    }
}

#[tokio::test]
async fn a_path_with_an_escape_takes_another_way_through_the_gateway_and_is_answered_the_same() {
    const TEXT: (&str, &str) = ("content-type", "text/plain");
    let (plain, escaped) = (Rig::start().await, Rig::start().await);
    let requests: [(&str, &[(&str, &str)]); 9] = [
        ("", &HEADERS),
        ("", &HEADERS),
        ("?timeout_ms=20000", &HEADERS),
        ("?timeout_ms=x", &HEADERS),
        ("?zz=1", &HEADERS),
        ("?deliver_at=2001-01-01T00:00:00Z", &HEADERS),
        ("", &[TEXT]),
        ("", &[HEADERS[0], HEADERS[1], TEXT, ("authorization", "Bearer x")]),
        ("", &[HEADERS[0], HEADERS[1], TEXT, ("origin", "https://elsewhere.example")]),
    ];
    for (query, headers) in requests {
        let mut answers = Vec::new();
        for (rig, topic) in [(&plain, "orders"), (&escaped, "o%72ders")] {
            let path = format!("/v1/topics/{topic}/events{query}");
            let answer = rig.http().await.call("POST", &path, headers, b"hello").await;
            answers.push((answer.status, answer.header("content-type").map(str::to_owned), answer.json()));
        }
        assert_eq!(answers[0], answers[1], "{query} {headers:?}");
    }
}

#[tokio::test]
async fn an_event_for_later_has_no_position_yet_and_one_that_expired_is_delivered_to_nobody() {
    let rig = Rig::start().await;
    let mut http = rig.http().await;
    let later = http.call("POST", "/v1/topics/t/events?deliver_at=2100-01-01T00:00:00Z", &HEADERS, b"x").await;
    // A hundred years are over max_delay.
    assert_eq!(later.problem(), (413, "TOO_LARGE".into()));
    let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() + 3_600_000;
    let time = meshwire_proto::UnixMillis(i64::try_from(time).unwrap());
    let later = http.call("POST", &format!("/v1/topics/t/events?deliver_at={time}"), &HEADERS, b"x").await;
    assert_eq!(later.json(), json!({"duplicate": false}));
    let headers = [HEADERS[0], ("ce-id", "2"), HEADERS[2], HEADERS[3], HEADERS[4]];
    let soon = http.call("POST", "/v1/topics/t/events?expires_in_ms=1", &headers, b"x").await;
    assert_eq!(soon.json(), json!({"position": "1", "duplicate": false}));
    let headers = [HEADERS[0], ("ce-id", "3"), HEADERS[2], HEADERS[3], HEADERS[4]];
    http.call("POST", "/v1/topics/t/events?timeout_ms=20000", &headers, b"x").await;
    // Events that expire within a millisecond are over by the time of the fetch, or of the one behind it.
    let mut seen = Vec::new();
    while !seen.contains(&"3".to_owned()) {
        let fetched = http.post("/v1/topics/t/groups/g/fetch", &json!({"wait_ms": 1000})).await.json();
        let ids = fetched["deliveries"].as_array().unwrap().iter();
        seen.extend(ids.map(|d| d["event"]["id"].as_str().unwrap().to_owned()));
    }
    assert!(!seen.contains(&"1".to_owned()), "{seen:?}");
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_event_in_its_place() {
    let rig = Rig::start().await;
    let batch = json!([
        {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"},
        {"id": "2", "source": "/s", "type": "t"},
        {"specversion": "1.0", "id": "3", "source": "/s", "type": "t", "Bad": 1},
        {"specversion": "1.0", "id": "4", "source": "/s", "type": "t"},
    ]);
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let answer =
        rig.http().await.call("POST", "/v1/topics/t/events", &headers, batch.to_string().as_bytes()).await.json();
    assert_eq!(answer["results"][0]["position"], "1");
    assert_eq!(answer["results"][1]["code"], "INVALID");
    assert!(answer["results"][1]["detail"].as_str().unwrap().contains("specversion"));
    assert_eq!(answer["results"][2]["code"], "INVALID");
    assert_eq!(answer["results"][3]["position"], "2");
}

#[tokio::test]
async fn a_large_batch_is_taken_in_parts_and_answered_in_order() {
    let rig = Rig::start().await;
    let data = "x".repeat(100_000);
    let event = |n: u32| json!({"specversion":"1.0","id":n.to_string(),"source":"/s","type":"t","data":data});
    let batch: Vec<_> = (0..40).map(event).collect();
    let headers = [("content-type", "application/cloudevents-batch+json")];
    let body = serde_json::Value::from(batch).to_string();
    let answer = rig.http().await.call("POST", "/v1/topics/t/events", &headers, body.as_bytes()).await.json();
    let positions = answer["results"].as_array().unwrap().iter().map(|r| r["position"].as_str().unwrap().to_owned());
    assert_eq!(positions.collect::<Vec<_>>(), (1..=40).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_stands_behind_an_event_that_is_refused_for_now_is_not_taken_before_it() {
    let mut config = memory();
    config.delayed = (100, 64 << 10);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let at = meshwire_proto::UnixMillis(i64::try_from(now).unwrap() + 3_600_000);
    let path = format!("/v1/topics/t/events?deliver_at={at}");
    let event = |id: &str, length: usize| json!({"specversion":"1.0","id":id,"source":"/s","type":"t","data":"x".repeat(length)});
    // A part of a batch ends behind the event with which it is a MiB. For that one there is no room, for the others there is.
    for (batch, codes) in [
        (vec![event("1", 1), event("2", 1 << 20), event("3", 1), event("4", 1)], vec!["", "BUSY", "BUSY", "BUSY"]),
        (vec![event("3", 1), event("4", 1)], vec!["", ""]),
    ] {
        let headers = [("content-type", "application/cloudevents-batch+json")];
        let body = serde_json::Value::from(batch).to_string();
        let answer = rig.http().await.call("POST", &path, &headers, body.as_bytes()).await.json();
        let told = answer["results"].as_array().unwrap().iter().map(|r| r["code"].as_str().unwrap_or_default());
        assert_eq!(told.collect::<Vec<_>>(), codes);
    }
}

#[tokio::test]
async fn a_batch_has_at_most_10_000_events_whatever_they_are() {
    let rig = Rig::start().await;
    let headers = [("content-type", "application/cloudevents-batch+json")];
    for (item, count) in
        [("1", 10_000), ("1", 10_001), (r#"{"specversion":"1.0","id":"1","source":"/s","type":"t"}"#, 10_001)]
    {
        let body = format!("[{}]", vec![item; count].join(","));
        let path = format!("/v1/topics/of-{count}/events");
        let answer = rig.http().await.call("POST", &path, &headers, body.as_bytes()).await;
        if count == 10_000 {
            assert_eq!((answer.status, answer.json()["results"].as_array().unwrap().len()), (200, count));
            continue;
        }
        assert_eq!(answer.problem(), (413, "TOO_LARGE".into()));
        assert_eq!(answer.detail(), "10001 events in one call; at most 10000 are taken: publish them in several calls");
    }
    assert_eq!(
        rig.get("/v1/topics/of-10001").await.problem(),
        (404, "TOPIC_NOT_FOUND".into()),
        "nothing of them was taken"
    );
}

#[tokio::test]
async fn attributes_over_32_kib_are_refused_in_headers_and_taken_in_structured_mode() {
    let rig = Rig::start().await;
    let long = "x".repeat(33 * 1024);
    let headers = [&HEADERS[..], &[("ce-long", &long)]].concat();
    let refused = rig.http().await.call("POST", "/v1/topics/t/events", &headers, b"x").await;
    assert_eq!(refused.problem(), (431, "TOO_LARGE".into()));
    assert!(refused.text().contains("application/cloudevents+json"));
    rig.offer_events("t", &json!([{"specversion":"1.0","id":"1","source":"/s","type":"t","long":long}])).await;
}

#[tokio::test]
async fn a_body_over_a_limit_is_told_the_limit_and_its_option() {
    for (frame, of_structured) in [
        (128 << 10, "143360 bytes (twice option max_event_bytes)"),
        (256 << 10, "262144 bytes (option max_frame_bytes)"),
    ] {
        let mut config = memory();
        config.max_frame_bytes = frame;
        config.limits.max_event_bytes = 70 << 10;
        config.limits.max_attribute_bytes = 16 << 10;
        let rig = Rig::with(config, Arc::new(AllowAll)).await;
        let of_batch = format!("{frame} bytes (option max_frame_bytes)");
        for (kind, body, says) in [
            ("text/plain", " ".repeat(72 << 10), "71680 bytes (option max_event_bytes)"),
            ("application/cloudevents+json", " ".repeat(300 << 10), of_structured),
            ("application/cloudevents-batch+json", " ".repeat(300 << 10), &of_batch),
            (
                "application/cloudevents+json",
                structured("data", 72 << 10),
                "of data, over the limit of 71680 (option max_event_bytes)",
            ),
            (
                "application/cloudevents+json",
                structured("long", 17 << 10),
                "of attributes, over the limit of 16384 (option max_attribute_bytes)",
            ),
        ] {
            let headers = if kind == "text/plain" { HEADERS.to_vec() } else { vec![("content-type", kind)] };
            let answer = rig.http().await.call("POST", "/v1/topics/t/events", &headers, body.as_bytes()).await;
            assert_eq!(answer.problem(), (413, "TOO_LARGE".into()), "{kind}: {}", answer.text());
            assert!(answer.text().contains(says), "{kind}: {says}: {}", answer.text());
        }
    }
}

fn structured(member: &str, length: usize) -> String {
    let text = "x".repeat(length);
    format!(r#"{{"specversion":"1.0","id":"1","source":"/s","type":"t","{member}":"{text}"}}"#)
}
