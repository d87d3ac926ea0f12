//! Administration over HTTP: the commands of sessions, as paths and JSON.

use std::sync::Arc;

use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::SettleKind;
use serde_json::{Value, json};

use crate::rig::{Rig, earliest, event, memory, run_of};

async fn ok(rig: &Rig, method: &str, path: &str, body: &str) -> Value {
    let answer = rig.ask(method, path, body).await;
    assert_eq!(answer.status, 200, "{method} {path} {body}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

async fn refused(rig: &Rig, method: &str, path: &str, body: &str) -> (u16, String, String) {
    let answer = rig.ask(method, path, body).await;
    (answer.status, answer.code(), answer.detail())
}

#[tokio::test]
async fn a_topic_is_made_set_changed_listed_and_deleted() {
    let rig = Rig::start().await;
    let made = ok(&rig, "PUT", "/v1/topics/orders", r#"{"durability":"memory","retention_ms":3600000}"#).await;
    assert_eq!(
        (&made["name"], &made["durability"], &made["retention_ms"]),
        (&json!("orders"), &json!("memory"), &json!(3_600_000))
    );
    assert_eq!((&made["first"], &made["next"], &made["events"]), (&json!("1"), &json!("1"), &json!(0)));
    let again = ok(&rig, "PUT", "/v1/topics/orders", "").await;
    assert_eq!(again["retention_ms"], 3_600_000, "what is not said stays");
    let set = ok(&rig, "PUT", "/v1/topics/orders", r#"{"retention_ms":7200000,"lagging":"block"}"#).await;
    assert_eq!((&set["retention_ms"], &set["lagging"]), (&json!(7_200_000), &json!("block")));
    let changed = ok(&rig, "PATCH", "/v1/topics/orders", r#"{"lagging":"drop","retention_bytes":1048576}"#).await;
    assert_eq!((&changed["retention_ms"], &changed["lagging"]), (&json!(7_200_000), &json!("drop")));
    assert_eq!(ok(&rig, "GET", "/v1/topics/orders", "").await, changed);

    let page = ok(&rig, "GET", "/v1/topics", "").await;
    assert_eq!(page, json!({ "items": [changed] }));
    assert_eq!(ok(&rig, "DELETE", "/v1/topics/orders", "").await["name"], "orders");
    assert_eq!(refused(&rig, "GET", "/v1/topics/orders", "").await.1, "TOPIC_NOT_FOUND");
    assert_eq!(refused(&rig, "DELETE", "/v1/topics/orders", "").await.0, 404);
}

#[tokio::test]
async fn a_topic_of_another_durability_is_refused_and_left_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let mut config = memory();
    (config.memory, config.data_dir) = (false, directory.path().to_owned());
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let made = ok(&rig, "PUT", "/v1/topics/t", r#"{"durability":"written"}"#).await;
    let (status, code, detail) =
        refused(&rig, "PUT", "/v1/topics/t", r#"{"durability":"synced","retention_ms":1000000}"#).await;
    assert_eq!((status, code.as_str()), (409, "ALREADY_EXISTS"), "{detail}");
    assert_eq!(ok(&rig, "GET", "/v1/topics/t", "").await["retention_ms"], made["retention_ms"]);
}

#[tokio::test]
async fn lists_are_cut_into_pages_that_a_cursor_joins() {
    let rig = Rig::start().await;
    for n in 0..7 {
        ok(&rig, "PUT", &format!("/v1/topics/t{n}"), "").await;
        ok(&rig, "PUT", &format!("/v1/topics/t0/groups/g{n}"), "").await;
    }
    for (path, first) in [("/v1/topics", "t"), ("/v1/topics/t0/groups", "g")] {
        let (mut names, mut cursor) = (Vec::new(), String::new());
        for size in [3, 3, 1] {
            let page = ok(&rig, "GET", &format!("{path}?limit=3{cursor}"), "").await;
            let items = page["items"].as_array().unwrap();
            assert_eq!(items.len(), size, "{path}");
            names.extend(items.iter().map(|item| item["name"].as_str().unwrap().to_owned()));
            cursor =
                page["next"].as_str().map(|next| format!("&cursor={}", next.replace('/', "%2F"))).unwrap_or_default();
        }
        assert_eq!(cursor, "", "the last page has no next");
        assert_eq!(names, (0..7).map(|n| format!("{first}{n}")).collect::<Vec<_>>());
    }
    assert!(refused(&rig, "GET", "/v1/topics/t0/groups?cursor=t1%2Fg", "").await.2.contains("not of this list"));
    assert!(refused(&rig, "GET", "/v1/topics?cursor=t%2F%21", "").await.2.contains("cursor"));
}

#[tokio::test]
async fn a_group_is_made_set_changed_moved_and_deleted() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&(0..5).map(|n| event(&n.to_string())).collect::<Vec<_>>())).await;
    let path = "/v1/topics/t/groups/g";
    let made = ok(&rig, "PUT", path, r#"{"start":"3","ack_wait_ms":5000,"hold_after_dead_letter":true}"#).await;
    assert_eq!((&made["settled_through"], &made["lag"]), (&json!("2"), &json!(3)));
    assert_eq!(
        (&made["ack_wait_ms"], &made["hold_after_dead_letter"], &made["mode"]),
        (&json!(5000), &json!(true), &json!("cluster"))
    );
    let set = ok(&rig, "PUT", path, r#"{"max_failures":7,"start":"latest"}"#).await;
    assert_eq!(
        (&set["max_failures"], &set["ack_wait_ms"], &set["lag"]),
        (&json!(7), &json!(5000), &json!(3)),
        "its place stays"
    );
    assert_eq!(ok(&rig, "PATCH", path, r#"{"max_rate":9}"#).await["max_rate"], 9);
    assert_eq!(ok(&rig, "GET", path, "").await["max_rate"], 9);
    for (to, lag) in [
        (r#"{"to":"earliest"}"#, 5),
        (r#"{"to":"latest"}"#, 0),
        (r#"{"to":"4"}"#, 2),
        (r#"{"to":"99999999999999999999"}"#, -1),
        (r#"{"time":"2001-01-01T00:00:00Z"}"#, 5),
        (r#"{"time":"2999-01-01T00:00:00Z"}"#, 0),
        (r#"{"time":"1970-01-01T00:00:00Z"}"#, 5),
    ] {
        let answer = rig.ask("POST", &format!("{path}/seek"), to).await;
        if lag < 0 {
            assert_eq!(answer.code(), "INVALID")
        } else {
            assert_eq!(answer.json()["lag"], lag, "{to}: {answer:?}")
        }
    }
    assert_eq!(ok(&rig, "DELETE", path, "").await["name"], "g");
    assert_eq!(refused(&rig, "GET", path, "").await.1, "NOT_FOUND");
    let (status, code, _) = refused(&rig, "PUT", "/v1/topics/none/groups/g", "").await;
    assert_eq!((status, code.as_str()), (404, "TOPIC_NOT_FOUND"));
}

#[tokio::test]
async fn a_durable_member_is_named_behind_an_escaped_slash() {
    let rig = Rig::start().await;
    ok(&rig, "PUT", "/v1/topics/t", "").await;
    ok(&rig, "PUT", "/v1/topics/t/groups/b", r#"{"mode":"broadcast"}"#).await;
    ok(&rig, "PUT", "/v1/topics/t/groups/b%2Fhost1", "").await;
    let group = ok(&rig, "GET", "/v1/topics/t/groups/b", "").await;
    assert_eq!((&group["mode"], &group["durable_members"][0]["name"]), (&json!("broadcast"), &json!("host1")));
    assert_eq!(ok(&rig, "DELETE", "/v1/topics/t/groups/b%2Fhost1", "").await["name"], "b/host1");
    let (status, code, detail) = refused(&rig, "PUT", "/v1/topics/t/groups/b", r#"{"mode":"cluster"}"#).await;
    assert_eq!((status, code.as_str()), (409, "GROUP_CONFLICT"), "{detail}");
    assert!(detail.contains("group b has mode broadcast, not cluster"), "{detail}");
    assert_eq!(
        ok(&rig, "PUT", "/v1/topics/t/groups/b", r#"{"mode":"broadcast","max_failures":2}"#).await["max_failures"],
        2
    );
}

#[tokio::test]
async fn a_name_with_percent_signs_is_unescaped_once() {
    let rig = Rig::start().await;
    for (path, name) in
        [("50%25", "50%"), ("a%252Fb", "a%2Fb"), ("%2525", "%25"), ("%25C3%25BC", "%C3%BC"), ("%61", "a")]
    {
        let topic = format!("/v1/topics/{path}");
        assert_eq!(ok(&rig, "PUT", &topic, "").await["name"], name);
        assert_eq!(ok(&rig, "GET", &topic, "").await["name"], name);
        assert_eq!(ok(&rig, "PUT", &format!("{topic}/groups/{path}"), "").await["name"], name);
    }
    let (status, _, detail) = refused(&rig, "PUT", "/v1/topics/%C3%BC", "").await;
    assert_eq!(status, 400, "what is wrong once unescaped stays wrong: {detail}");
}

#[tokio::test]
async fn what_is_in_use_is_not_deleted_and_the_conflict_says_by_how_many() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "g")).await;
    for (path, says) in [
        ("/v1/topics/t", "topic t was not deleted: it has 1 subscription; end them first"),
        ("/v1/topics/t/groups/g", "group g has 1 member; end their subscriptions first"),
    ] {
        let (status, code, detail) = refused(&rig, "DELETE", path, "").await;
        assert_eq!((status, code.as_str()), (409, "GROUP_CONFLICT"), "{detail}");
        assert!(detail.contains(says), "{detail}");
    }
}

#[tokio::test]
async fn dead_letters_are_listed_shown_given_back_and_removed() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    let exact = r#"{"amount": 12345678901234567890.5,  "a":1}"#;
    let mut events: Vec<_> = (0..3).map(|n| event(&n.to_string())).collect();
    events.push(
        meshwire_proto::codec::json::parse(&format!(
            r#"{{"specversion":"1.0","id":"x","source":"/s","type":"t","data":{exact}}}"#
        ))
        .unwrap(),
    );
    peer.publish("t", run_of(&events)).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(4).await;
    peer.settle(1, 1, 4, SettleKind::Reject).await;

    let path = "/v1/topics/t/groups/g/dead-letters";
    let page = ok(&rig, "GET", &format!("{path}?limit=3"), "").await;
    assert_eq!(page["items"].as_array().unwrap().len(), 3);
    let letter = &page["items"][0];
    assert_eq!(
        (&letter["number"], &letter["group"], &letter["position"], &letter["reason"]),
        (&json!(1), &json!("g"), &json!("1"), &json!("rejected"))
    );
    assert!(letter.get("event").is_none() && letter["stored"].as_str().unwrap().ends_with('Z'));
    let rest = ok(&rig, "GET", &format!("{path}?cursor={}&events=true", page["next"].as_str().unwrap()), "").await;
    assert_eq!((&rest["items"][0]["number"], rest.get("next")), (&json!(4), None));
    let shown = rig.get(&format!("{path}/4")).await;
    assert_eq!(shown.json()["event"]["id"], "x");
    assert!(shown.text().contains(exact), "JSON data keeps its text: {}", shown.text());

    assert_eq!(
        ok(&rig, "POST", &format!("{path}/redrive"), r#"{"numbers":[1,2,9]}"#).await,
        json!({ "redriven": 2, "not_there": 1, "left": {} })
    );
    assert_eq!(
        ok(&rig, "POST", &format!("{path}/redrive"), r#"{"numbers":[9,9]}"#).await,
        json!({ "redriven": 0, "not_there": 1, "left": {} })
    );
    assert_eq!(
        ok(&rig, "POST", &format!("{path}/purge"), r#"{"numbers":[9]}"#).await,
        json!({ "purged": 0, "not_there": 1 })
    );
    assert_eq!(ok(&rig, "POST", &format!("{path}/purge"), r#"{"numbers":[3]}"#).await, json!({ "purged": 1 }));
    assert_eq!(ok(&rig, "POST", &format!("{path}/purge"), r#"{"all":true}"#).await, json!({ "purged": 3 }));
    assert_eq!(ok(&rig, "GET", path, "").await, json!({ "items": [] }));
    for absent in ["/1", "/0", "/18446744073709551615"] {
        assert_eq!(refused(&rig, "GET", &format!("{path}{absent}"), "").await.1, "NOT_FOUND");
    }
    for bad in [
        "",
        "{}",
        r#"{"numbers":[]}"#,
        r#"{"numbers":[1],"all":true}"#,
        r#"{"numbers":["1"]}"#,
        r#"{"all":true,"cursor":"x"}"#,
        r#"{"numbers":[1],"cursor":"1"}"#,
    ] {
        assert_eq!(refused(&rig, "POST", &format!("{path}/purge"), bad).await.1, "INVALID", "{bad}");
    }
}

#[tokio::test]
async fn limits_are_shown_and_changed() {
    let rig = Rig::start().await;
    assert_eq!(ok(&rig, "GET", "/v1/limits", "").await["publish_rate"], 0);
    assert_eq!(ok(&rig, "PATCH", "/v1/limits", r#"{"publish_rate":77}"#).await["publish_rate"], 77);
    assert_eq!(ok(&rig, "GET", "/v1/limits", "").await["publish_rate"], 77);
    for wrong in ["99999999999", "-5"] {
        let told = refused(&rig, "PATCH", "/v1/limits", &format!(r#"{{"publish_rate":{wrong}}}"#)).await;
        let says = format!("field publish_rate is {wrong}; a whole number from 0 to 1000000000 is accepted");
        assert_eq!(told, (400, "INVALID".into(), says));
    }
}

#[tokio::test]
async fn what_is_said_wrongly_is_named_with_what_would_do() {
    let rig = Rig::start().await;
    ok(&rig, "PUT", "/v1/topics/t", "").await;
    for (method, path, body, says) in [
        ("GET", "/v1/topics?page=2", "", "no parameter \"page\" here; there is limit, cursor"),
        ("GET", "/v1/topics/t?x", "", "no parameter \"x\" here; there is timeout_ms"),
        ("GET", "/v1/topics?limit=0", "", "1 to 1000 are accepted"),
        ("GET", "/v1/topics?limit=1&limit=2", "", "limit occurs twice"),
        ("GET", "/v1/topics?cursor=%zz", "", "percent-encoded"),
        ("DELETE", "/v1/topics/t?force=yes", "", "true and false are accepted"),
        ("PUT", "/v1/topics/a%20b", "", "topic name \"a b\" holds ' '"),
        ("PUT", "/v1/topics/%ff", "", "the topic in path /v1/topics/%ff is not percent-encoded UTF-8"),
        (
            "PUT",
            "/v1/topics/t",
            r#"{"retention_ms":"#,
            "the body is no JSON: it ends where a value must be at line 1 column 16",
        ),
        (
            "POST",
            "/v1/topics/t/groups/g/dead-letters/purge",
            r#"{"all":false}"#,
            "no dead letter is named: say either numbers",
        ),
        ("POST", "/v1/topics/t/groups/g/dead-letters/redrive", "{}", "no dead letter is named: say either numbers"),
        (
            "POST",
            "/v1/topics/t/groups/g/fetch",
            r#"{"max_events":0}"#,
            "max_events is 0; a whole number from 1 to 1024 is",
        ),
        (
            "POST",
            "/v1/topics/t/groups/g/fetch",
            r#"{"wait_ms":30001}"#,
            "wait_ms is 30001; a whole number from 0 to 30000 is",
        ),
        ("GET", "/v1/topics/%20", "", "topic name"),
        ("PUT", "/v1/topics/t", r#"{"retention":1}"#, "no field \"retention\" here; there is durability, retention_ms"),
        ("PUT", "/v1/topics/t", r#"{"retention_ms":1,"retention_ms":2}"#, "\"retention_ms\" is there more than once"),
        ("PUT", "/v1/topics/t", r#"{"retention_ms":"1h"}"#, "field retention_ms is \"1h\"; a whole number"),
        (
            "PUT",
            "/v1/topics/t",
            r#"{"retention_ms":0}"#,
            "field retention_ms is 0; a whole number from 1000 to 315360000000 is accepted",
        ),
        ("PUT", "/v1/topics/t", r#"{"durability":"best"}"#, "one of \"memory\", \"written\", \"synced\""),
        ("PUT", "/v1/topics/t", "[]", "the body is an array; an object is accepted"),
        ("PUT", "/v1/topics/t", "{", "the body is no JSON"),
        ("PUT", "/v1/topics/t/groups/g", r#"{"start":"1","start_time":"2001-01-01T00:00:00Z"}"#, "exclude each other"),
        ("PUT", "/v1/topics/t/groups/g", r#"{"start":1}"#, "field start is 1; a string"),
        ("PUT", "/v1/topics/t/groups/g", r#"{"start":"+1"}"#, "earliest, latest or a position"),
        ("PUT", "/v1/topics/t/groups/g", r#"{"start_time":"yesterday"}"#, "2026-11-28T06:30:00Z"),
        ("PUT", "/v1/topics/t/groups/g", r#"{"ack_wait_ms":1}"#, "field ack_wait_ms is 1; a whole number from 1000"),
        ("POST", "/v1/topics/t/groups/g/seek", "{}", "say where to"),
        ("GET", "/v1/topics/t/groups/g/dead-letters/first", "", "the number of a dead letter"),
    ] {
        let (status, code, detail) = refused(&rig, method, path, body).await;
        assert_eq!((status, code.as_str()), (400, "INVALID"), "{method} {path} {body}: {detail}");
        assert!(detail.contains(says), "{method} {path} {body}: {detail}");
    }
    let deep = format!("{{\"retention_ms\":{}}}", "[".repeat(30_000));
    assert_eq!(refused(&rig, "PUT", "/v1/topics/t", &deep).await.1, "INVALID");
    let large = format!("{{\"retention_ms\":{}}}", "1".repeat(70_000));
    assert_eq!(refused(&rig, "PUT", "/v1/topics/t", &large).await.0, 413);
}

#[tokio::test]
async fn a_body_that_is_not_said_to_be_json_is_not_taken() {
    let rig = Rig::start().await;
    for media in ["", "content-type: text/plain\r\n", "content-type: application/x-www-form-urlencoded\r\n"] {
        let answer = rig.with_headers("PUT", "/v1/topics/t", media, "{}").await;
        assert_eq!((answer.status, answer.code().as_str()), (415, "UNSUPPORTED"), "{media}");
    }
    let media = "content-type: Application/JSON; charset=utf-8\r\n";
    assert_eq!(rig.with_headers("PUT", "/v1/topics/t", media, "{}").await.status, 200);
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let rig = Rig::start().await;
    for (path, allowed) in [
        ("/v1/topics", "GET,HEAD"),
        ("/v1/topics/t", "GET,HEAD,PUT,PATCH,DELETE"),
        ("/v1/topics/t/groups/g/seek", "POST"),
        ("/meshwire.v1.Mesh/Publish", "POST"),
    ] {
        let answer = rig.ask("TRACE", path, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "INVALID"), "{path}");
        let mut found: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
        let mut allowed: Vec<&str> = allowed.split(',').collect();
        found.sort_unstable();
        allowed.sort_unstable();
        assert_eq!(found, allowed, "{path}");
        let said =
            format!("{path} does not take TRACE; it takes {}", answer.header("allow").unwrap().replace(',', ", "));
        assert_eq!(answer.detail(), said);
    }
}
