//! Calls as JSON over WebSocket: subprotocol `meshwire.v1.json` on `/v1/ws`.

use futures_util::{SinkExt as _, StreamExt as _};
use meshwire_proto::frame::{ClientFrame, ServerFrame};
use meshwire_proto::wire::session as wire;
use serde_json::{Value, json};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::http_websocket::{Socket, ask, closed, next_json};
use crate::requests::serve;
use crate::rig::{PATIENCE, Rig, event};
use crate::stopping::timeless;

async fn page(rig: &Rig) -> Socket {
    ask(rig, "/v1/ws", "meshwire.v1.json").await.unwrap()
}

async fn say(socket: &mut Socket, call: Value) {
    socket.send(Message::text(call.to_string())).await.unwrap();
}

/// Sends a call and gives the next message.
async fn call(socket: &mut Socket, asked: Value) -> Value {
    say(socket, asked).await;
    next_json(socket).await
}

fn an_event(id: &str) -> Value {
    json!({"specversion":"1.0","id":id,"source":"/s","type":"t","data":id})
}

fn publish(id: impl Into<Value>, event: &str) -> Value {
    json!({"id": id.into(), "op": "publish", "topic": "t", "event": an_event(event)})
}

#[tokio::test]
async fn a_page_publishes_subscribes_settles_and_gets_no_more_than_its_credit() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    let answer = call(&mut page, publish("a", "1")).await;
    assert_eq!(answer, json!({"id": "a", "ok": {"position": "1", "duplicate": false}}));
    call(&mut page, publish(2, "2")).await;
    let subscribe = json!({"id": 3, "op": "subscribe", "topic": "t", "group": "g", "max_unsettled": 1});
    assert_eq!(call(&mut page, subscribe).await, json!({"id": 3, "ok": {}}));
    let first = next_json(&mut page).await;
    assert_eq!((&first["subscription"], &first["event"]["id"], &first["attempt"]), (&json!(3), &json!("1"), &json!(1)));
    let settlements = json!([{"lease": first["lease"], "kind": "ack"}]);
    say(&mut page, json!({"id": 4, "op": "settle", "topic": "t", "group": "g", "settlements": settlements})).await;
    let mut seen = [next_json(&mut page).await, next_json(&mut page).await];
    seen.sort_by_key(|message| message["id"].is_null());
    assert_eq!(seen[0], json!({"id": 4, "ok": {"results": [{"settled": true}]}}));
    assert_eq!(seen[1]["event"]["id"], "2");
    call(&mut page, publish(5, "3")).await;
    let credit = json!({"id": 6, "op": "credit", "subscription": 3, "max_unsettled": 2});
    assert_eq!(call(&mut page, credit).await, json!({"id": 6, "ok": {}}));
    assert_eq!(next_json(&mut page).await["event"]["id"], "3");
    assert_eq!(
        call(&mut page, json!({"id": 7, "op": "unsubscribe", "subscription": 3})).await,
        json!({"id": 7, "ok": {}})
    );
    // What it held comes to the next, here under the same id as soon as the old one is gone.
    let again = rig.post("/v1/topics/t/groups/g/fetch", &json!({"wait_ms": 20000})).await.json();
    assert_eq!(again["deliveries"][0]["event"]["id"], "2");
}

#[tokio::test]
async fn an_unnamed_subscription_and_a_request_share_the_connection() {
    let rig = Rig::start().await;
    let mut responder = rig.session().await;
    responder.subscribe(serve(1, "quote")).await;
    let mut page = page(&rig).await;
    call(&mut page, json!({"id": 1, "op": "subscribe", "topic": "t"})).await;
    say(&mut page, json!({"id": 2, "op": "request", "topic": "quote", "event": an_event("q")})).await;
    let asked = responder.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await;
    rig.offer("t", &["1"]).await;
    let delivery = next_json(&mut page).await;
    assert_eq!((&delivery["subscription"], &delivery["event"]["id"]), (&json!(1), &json!("1")));
    assert!(delivery["lease"].is_null());
    let (number, reply_to, event) = (asked.number, asked.reply_to, event("r").encode().unwrap());
    responder
        .send(ClientFrame::Reply(wire::Reply { number, reply_to, end: true, event, ..wire::Reply::default() }))
        .await;
    let answer = next_json(&mut page).await;
    assert_eq!((&answer["id"], &answer["ok"]["event"]["id"]), (&json!(2), &json!("r")));
}

#[tokio::test]
async fn pipelined_publishes_keep_their_order() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    for n in 0..200 {
        page.feed(Message::text(publish(n, &n.to_string()).to_string())).await.unwrap();
    }
    page.flush().await.unwrap();
    for _ in 0..200 {
        let answer = next_json(&mut page).await;
        let position: u64 = answer["ok"]["position"].as_str().unwrap().parse().unwrap();
        assert_eq!(position, answer["id"].as_u64().unwrap() + 1);
    }
}

#[tokio::test]
async fn what_is_wrong_is_answered_under_its_id_and_the_connection_goes_on() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    let topic = |op: &str| json!({"id": 1, "op": op, "topic": "t"});
    let with = |mut call: Value, name: &str, value: Value| {
        call[name] = value;
        call
    };
    for (asked, id, code, says) in [
        (json!([]), Value::Null, "INVALID", "the message is an array; an object is accepted"),
        (json!({"op": "publish"}), Value::Null, "INVALID", "id"),
        (json!({"id": {}, "op": "publish"}), Value::Null, "INVALID", "id must be"),
        (json!({"id": "x".repeat(200), "op": "publish"}), Value::Null, "INVALID", "128"),
        (json!({"id": 1}), json!(1), "INVALID", "field op is missing"),
        (json!({"id": 1, "op": 7}), json!(1), "INVALID", "field op is 7; a string is accepted"),
        (json!({"id": 1, "op": "delete"}), json!(1), "INVALID", "unsubscribe"),
        (topic("publish"), json!(1), "INVALID", "event"),
        (with(publish(1, "1"), "when", json!(1)), json!(1), "INVALID", "deliver_at"),
        (with(publish(1, "1"), "start", Value::Null), json!(1), "INVALID", "there is no field \"start\" here"),
        (with(publish(1, "1"), "deliver_at", json!("soon")), json!(1), "INVALID", "deliver_at"),
        (with(publish(1, "1"), "topic", json!("a b")), json!(1), "INVALID", "a b"),
        (with(topic("publish"), "event", json!({"id": "1"})), json!(1), "INVALID", "specversion"),
        (with(topic("request"), "event", an_event("1")), json!(1), "NO_RESPONDERS", "t"),
        (
            with(with(topic("request"), "event", an_event("1")), "timeout_ms", json!(0)),
            json!(1),
            "INVALID",
            "field timeout_ms is 0; a whole number from 1",
        ),
        (with(topic("subscribe"), "start", json!("soon")), json!(1), "INVALID", "earliest"),
        (with(topic("subscribe"), "member", json!("m")), json!(1), "INVALID", "group"),
        (with(topic("subscribe"), "max_unsettled", json!(65537)), json!(1), "INVALID", "65536"),
        (with(topic("subscribe"), "group", json!(">")), json!(1), "INVALID", ">"),
        (with(topic("settle"), "settlements", json!([])), json!(1), "INVALID", "group"),
        (json!({"id": 1, "op": "credit", "subscription": 9, "max_unsettled": 1}), json!(1), "NOT_FOUND", "9"),
        (json!({"id": 1, "op": "unsubscribe", "subscription": 9}), json!(1), "NOT_FOUND", "9"),
    ] {
        let answer = call(&mut page, asked.clone()).await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!(code)), "{asked}: {answer}");
        assert!(answer["error"]["detail"].as_str().unwrap().contains(says), "{asked}: {answer}");
    }
    call(&mut page, topic("subscribe")).await;
    assert_eq!(call(&mut page, topic("subscribe")).await["error"]["code"], "INVALID");
    page.send(Message::binary(&b"x"[..])).await.unwrap();
    assert_eq!(closed(&mut page).await.0, 1003);
}

#[tokio::test]
async fn a_message_that_is_broken_is_answered_under_its_id_if_one_can_be_read() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    for (text, id, says) in [
        (r#"{"id":2,"op":"publish","topic":"a","topic":"b"}"#, json!(2), "field \"topic\" is there more than once"),
        (r#"{"id":"a","op":"publish","topic":"t","event":{"#, json!("a"), "the message is no JSON"),
        (r#"{"op":"publish" "id":3}"#, Value::Null, "the message is no JSON"),
        (r#"{"id":4,"id":5,"op":"publish"}"#, Value::Null, "field \"id\" is there more than once"),
        (
            r#"{"id":5,"op":"publish","timeout_ms":null,"timeout_ms":5}"#,
            json!(5),
            "\"timeout_ms\" is there more than once",
        ),
        (r#"{"id":6,"op":"subscribe","topic":["#, json!(6), "the message is no JSON"),
        (r#"{"id":7,"op":"settle","topic":"t","group":"g"}"#, json!(7), "field settlements is missing"),
        (
            r#"{"id":8,"op":"subscribe","topic":"t","max_unsettled":"1"}"#,
            json!(8),
            "field max_unsettled is \"1\"; a whole",
        ),
        ("", Value::Null, "the message is no JSON"),
    ] {
        page.send(Message::text(text)).await.unwrap();
        let answer = next_json(&mut page).await;
        assert_eq!((&answer["id"], &answer["error"]["code"]), (&id, &json!("INVALID")), "{text}: {answer}");
        assert!(answer["error"]["detail"].as_str().unwrap().contains(says), "{text}: {answer}");
    }
}

#[tokio::test]
async fn a_connection_has_no_more_subscriptions_than_it_may_and_refused_ones_do_not_count() {
    let mut config = crate::rig::memory();
    config.max_subscriptions = 1;
    let rig = Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    let mut page = page(&rig).await;
    let subscribe = |id: u32, topic: &str| json!({"id": id, "op": "subscribe", "topic": topic});
    assert_eq!(call(&mut page, subscribe(1, "a b")).await["error"]["code"], "INVALID");
    assert_eq!(call(&mut page, subscribe(2, "t")).await["ok"], json!({}));
    assert_eq!(call(&mut page, subscribe(3, "t")).await["error"]["code"], "TOO_LARGE");
}

#[tokio::test]
async fn a_gateway_that_stops_tells_its_pages() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    call(&mut page, json!({"id": 1, "op": "subscribe", "topic": "t"})).await;
    let stopping = tokio::spawn(rig.stop());
    assert_eq!(timeless(&next_json(&mut page).await.to_string()), r#"{"stopping":{"deadline_ms":N}}"#);
    assert_eq!(closed(&mut page).await, (1001, "the gateway is stopping".into()));
    drop(page);
    stopping.await.unwrap();
}

#[tokio::test]
async fn every_call_takes_a_deadline_and_refuses_one_that_is_none_under_its_id() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    let calls = [
        publish(1, "1"),
        json!({"id": 1, "op": "request", "topic": "t", "event": an_event("1")}),
        json!({"id": 1, "op": "subscribe", "topic": "t"}),
        json!({"id": 1, "op": "settle", "topic": "t", "group": "g", "settlements": []}),
        json!({"id": 1, "op": "credit", "subscription": 1, "max_unsettled": 1}),
        json!({"id": 1, "op": "unsubscribe", "subscription": 1}),
    ];
    for asked in calls {
        for none in [json!(0), json!(43_200_001), json!("1s"), json!(-1)] {
            let mut asked = asked.clone();
            asked["timeout_ms"] = none;
            let answer = call(&mut page, asked.clone()).await;
            assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(1), &json!("INVALID")), "{asked}: {answer}");
        }
        let mut asked = asked;
        asked["timeout_ms"] = json!(43_200_000);
        let answer = call(&mut page, asked.clone()).await;
        let fine = !answer["ok"].is_null() || answer["error"]["code"] == "NO_RESPONDERS";
        assert!(fine, "{asked}: {answer}");
    }
}

#[tokio::test]
async fn a_call_that_waits_is_answered_at_its_deadline_and_the_connection_goes_on() {
    let rig = Rig::start().await;
    rig.ask("PATCH", "/v1/limits", r#"{"publish_rate":1}"#).await;
    let mut page = page(&rig).await;
    // The first comes in on credit; what comes behind it waits for its turn.
    call(&mut page, publish(1, "1")).await;
    call(&mut page, publish(2, "2")).await;
    let mut late = publish(3, "3");
    late["timeout_ms"] = json!(20);
    let answer = call(&mut page, late).await;
    assert_eq!((&answer["id"], &answer["error"]["code"]), (&json!(3), &json!("TIMEOUT")), "{answer}");
    assert_eq!(call(&mut page, json!({"id": 4, "op": "subscribe", "topic": "t"})).await["ok"], json!({}));
}

#[tokio::test]
async fn a_page_whose_requests_have_no_reply_is_still_read_and_one_more_is_busy() {
    const MOST: usize = 64;
    let rig = Rig::start().await;
    let mut responder = rig.session().await;
    responder.subscribe(wire::Subscribe { max_events: 1024, ..serve(1, "quote") }).await;
    let mut page = page(&rig).await;
    for n in 0..=MOST {
        let request =
            json!({"id": n, "op": "request", "topic": "quote", "event": an_event("q"), "timeout_ms": 600_000});
        page.feed(Message::text(request.to_string())).await.unwrap();
    }
    page.flush().await.unwrap();
    let busy = next_json(&mut page).await;
    assert_eq!((&busy["id"], &busy["error"]["code"]), (&json!(MOST), &json!("BUSY")), "{busy}");
    rig.offer("t", &["1"]).await;
    let subscribe = json!({"id": "s", "op": "subscribe", "topic": "t", "group": "g"});
    assert_eq!(call(&mut page, subscribe).await["ok"], json!({}));
    let lease = next_json(&mut page).await["lease"].clone();
    let settlements = json!([{"lease": lease, "kind": "ack"}]);
    let settle = json!({"id": "a", "op": "settle", "topic": "t", "group": "g", "settlements": settlements});
    assert_eq!(call(&mut page, settle).await["ok"]["results"], json!([{"settled": true}]));
    page.send(Message::Ping("x".into())).await.unwrap();
    let pong = timeout(PATIENCE, page.next()).await.expect("a pong").unwrap().unwrap();
    assert_eq!(pong, Message::Pong("x".into()));
    // What is answered makes room.
    let asked = responder.find(|f| if let ServerFrame::Request(r) = f { Some(r) } else { None }).await;
    let (number, reply_to, event) = (asked.number, asked.reply_to, event("r").encode().unwrap());
    responder
        .send(ClientFrame::Reply(wire::Reply { number, reply_to, end: true, event, ..wire::Reply::default() }))
        .await;
    assert_eq!(next_json(&mut page).await["ok"]["event"]["id"], "r");
    let asked = json!({"id": "q", "op": "request", "topic": "quote", "event": an_event("q"), "timeout_ms": 1});
    assert_eq!(call(&mut page, asked).await["error"]["code"], "TIMEOUT", "it was begun");
}

#[tokio::test]
async fn the_id_of_a_subscription_is_free_once_its_end_is_answered_and_the_next_one_keeps_it() {
    let rig = Rig::start().await;
    let mut page = page(&rig).await;
    let subscribe = json!({"id": 1, "op": "subscribe", "topic": "t"});
    let unsubscribe = json!({"id": 2, "op": "unsubscribe", "subscription": 1});
    assert_eq!(call(&mut page, subscribe.clone()).await["ok"], json!({}));
    for _ in 0..50 {
        page.feed(Message::text(unsubscribe.to_string())).await.unwrap();
        page.feed(Message::text(subscribe.to_string())).await.unwrap();
        page.flush().await.unwrap();
        for id in [2, 1] {
            assert_eq!(next_json(&mut page).await, json!({"id": id, "ok": {}}));
        }
    }
    rig.offer("t", &["1"]).await;
    let delivery = next_json(&mut page).await;
    assert_eq!((&delivery["subscription"], &delivery["event"]["id"]), (&json!(1), &json!("1")));
    assert_eq!(call(&mut page, unsubscribe.clone()).await["ok"], json!({}), "it stands, and nothing came twice");
    assert_eq!(call(&mut page, unsubscribe).await["error"]["code"], "NOT_FOUND");
}

#[tokio::test]
async fn what_a_page_publishes_counts_as_a_body_until_it_is_answered_and_one_large_event_passes() {
    let mut config = crate::rig::memory();
    config.memory_budget = 8 << 20;
    let rig = Rig::with(config, std::sync::Arc::new(meshwire_gateway::mesh::AllowAll)).await;
    let mut page = page(&rig).await;
    let large = |id: u32, bytes: usize| {
        let mut asked = publish(id, &id.to_string());
        asked["event"]["data"] = json!("x".repeat(bytes));
        asked
    };
    assert_eq!(call(&mut page, large(0, 900_000)).await["ok"]["position"], "1");
    // All but the first ones wait for their turn.
    rig.ask("PATCH", "/v1/limits", r#"{"publish_rate":10}"#).await;
    for id in 1..=40 {
        page.feed(Message::text(large(id, 60_000).to_string())).await.unwrap();
    }
    page.flush().await.unwrap();
    let refused = loop {
        let answer = next_json(&mut page).await;
        if answer["error"]["code"] == "BUSY" {
            break answer;
        }
    };
    assert!(refused["error"]["detail"].as_str().unwrap().contains("memory_budget"), "{refused}");
}
