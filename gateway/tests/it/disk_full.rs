//! A disk that is full: dead letters, what is owed meanwhile, and the way out.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_gateway::run::Gateway;
use meshwire_gateway::store::log::SimDisk;
use serde_json::{Value, json};

use crate::rig::{PATIENCE, Rig, memory};

/// Bytes of an event: some dead letters of that size find room on a full disk, and no event does.
const EVENT: usize = 200 << 10;

const GROUP: &str = "/v1/topics/t/groups/g";

async fn on(disk: &Arc<SimDisk>) -> Rig {
    let mut config = Config::default();
    config.listen = memory().listen;
    // What is written ahead is little.
    config.max_disk = 64 << 20;
    Rig::of(Gateway::open_on(config, Arc::new(AllowAll), disk.clone()).await.unwrap())
}

/// Publishes an event of so many bytes; the status of the answer.
async fn publish(rig: &Rig, id: usize, bytes: usize) -> u16 {
    let id = id.to_string();
    let headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", &*id),
        ("ce-source", "/s"),
        ("ce-type", "t"),
        ("content-type", "text/plain"),
    ];
    rig.http().await.call("POST", "/v1/topics/t/events", &headers, "x".repeat(bytes).as_bytes()).await.status
}

/// Publishes until nothing more fits; gives how many did.
async fn fill(rig: &Rig) -> usize {
    for id in 0..1000 {
        match publish(rig, id, EVENT).await {
            200 => {}
            507 => return id,
            status => panic!("event {id}: {status}"),
        }
    }
    panic!("it is never full");
}

async fn get(rig: &Rig, path: &str) -> Value {
    rig.get(path).await.json()
}

/// Reads until it is so: what the gateway does by itself is done soon.
async fn until(rig: &Rig, path: &str, is: impl Fn(&Value) -> bool) {
    let asked = async { while !is(&get(rig, path).await) {} };
    if tokio::time::timeout(PATIENCE, asked).await.is_err() {
        panic!("{}", get(rig, path).await)
    }
}

#[tokio::test]
async fn what_is_given_up_on_a_full_disk_becomes_a_dead_letter_now_or_with_its_reason_after_a_restart() {
    let disk = crate::room::small_disk();
    let rig = on(&disk).await;
    rig.ask("PUT", "/v1/topics/t", "{}").await;
    rig.ask("PUT", GROUP, "{}").await;
    let kept = fill(&rig).await;
    assert!(kept >= 10, "{kept}");
    let fetched = rig.post(&format!("{GROUP}/fetch"), &json!({"max_events": 8, "max_bytes": 4 << 20})).await.json();
    let settlements: Vec<Value> = fetched["deliveries"].as_array().unwrap().iter().map(|d| {
        json!({"lease": d["lease"], "kind": "reject", "reason": format!("reason of {}", d["position"].as_str().unwrap())})
    }).collect();
    let count = settlements.len();
    assert!(count >= 6, "{count}");
    let settled = rig.post(&format!("{GROUP}/settle"), &json!({"settlements": settlements})).await.json();
    assert!(settled["results"].as_array().unwrap().iter().all(|r| r["settled"] == true), "{settled}");
    let group = get(&rig, GROUP).await;
    let (letters, failing) = (group["dead_letters"].as_u64().unwrap(), group["failing"].as_u64().unwrap());
    assert!(letters >= 1 && failing >= 1 && letters + failing == count as u64, "some find room, others wait: {group}");
    rig.stop().await;

    disk.set_capacity(None);
    let rig = on(&disk).await;
    // Nobody fetches.
    let all = count as u64;
    until(&rig, GROUP, |g| g["dead_letters"] == all && g["failing"] == 0).await;
    let page = get(&rig, &format!("{GROUP}/dead-letters")).await;
    let errors: Vec<_> = page["items"].as_array().unwrap().iter().map(|l| (&l["position"], &l["error"])).collect();
    assert_eq!(errors.len(), count, "a page has what its limit allows: {errors:?}");
    for (position, error) in errors {
        assert_eq!(error, &json!(format!("reason of {}", position.as_str().unwrap())));
    }
    rig.stop().await;
}

#[tokio::test]
async fn a_fetch_and_a_page_have_all_that_their_bounds_allow_though_it_must_be_read_from_the_disk() {
    let disk = Arc::new(SimDisk::new());
    let rig = on(&disk).await;
    for id in 0..5 {
        assert_eq!(publish(&rig, id, 700 << 10).await, 200);
    }
    rig.ask("PUT", GROUP, "{}").await;
    rig.stop().await;

    let rig = on(&disk).await;
    let asked = json!({"max_events": 50, "max_bytes": 16 << 20, "wait_ms": 20_000});
    let fetched = rig.post(&format!("{GROUP}/fetch"), &asked).await.json();
    let deliveries = fetched["deliveries"].as_array().unwrap();
    assert_eq!(deliveries.len(), 5);
    let reject = |d: &Value| json!({"lease": d["lease"], "kind": "reject", "reason": "no"});
    let settlements: Vec<Value> = deliveries.iter().map(reject).collect();
    rig.post(&format!("{GROUP}/settle"), &json!({"settlements": settlements})).await;
    rig.stop().await;

    let rig = on(&disk).await;
    let page = get(&rig, &format!("{GROUP}/dead-letters")).await;
    assert_eq!((page["items"].as_array().unwrap().len(), page.get("next")), (5, None), "{page}");
    rig.stop().await;

    let rig = on(&disk).await;
    let redriven = rig.post(&format!("{GROUP}/dead-letters/redrive"), &json!({"all": true})).await.json();
    assert_eq!(redriven, json!({"left": {}, "redriven": 5}), "all of them");
    rig.stop().await;
}

#[tokio::test]
async fn reasons_of_dead_letters_that_wait_take_no_room_that_settlements_need() {
    const SMALL: usize = 300;
    let disk = crate::room::small_disk();
    let rig = on(&disk).await;
    rig.ask("PUT", "/v1/topics/t", "{}").await;
    let batch: Vec<Value> = (0..SMALL)
        .map(|n| {
            json!({
                "specversion": "1.0", "id": format!("small-{n}"), "source": "/s", "type": "t", "data": "x".repeat(2000)
            })
        })
        .collect();
    rig.offer_events("t", &json!(batch)).await;
    let groups = ["g1", "g2", "g3", "h"].map(|group| format!("/v1/topics/t/groups/{group}"));
    let settle = async |rig: &Rig, group: &str, how: Value| {
        let asked = json!({"max_events": SMALL, "max_bytes": 4 << 20});
        let fetched = rig.post(&format!("{group}/fetch"), &asked).await.json();
        let deliveries = fetched["deliveries"].as_array().unwrap();
        assert_eq!(deliveries.len(), SMALL);
        let one = |delivery: &Value| {
            let mut one = how.clone();
            one["lease"] = delivery["lease"].clone();
            one
        };
        let settlements: Vec<Value> = deliveries.iter().map(one).collect();
        let (path, asked) = (format!("{group}/settle"), json!({"settlements": settlements}));
        let settled = tokio::time::timeout(PATIENCE, rig.post(&path, &asked)).await.expect("an answer").json();
        assert!(settled["results"].as_array().unwrap().iter().all(|r| r["settled"] == true), "{settled}");
    };
    for group in &groups {
        rig.ask("PUT", group, "{}").await;
    }
    fill(&rig).await;
    for group in &groups[..3] {
        settle(&rig, group, json!({"kind": "reject", "reason": "y".repeat(1024)})).await;
    }
    settle(&rig, &groups[3], json!({"kind": "ack"})).await;
    rig.stop().await;

    let rig = on(&disk).await;
    let group = get(&rig, &groups[3]).await;
    assert_eq!(group["settled_through"], SMALL.to_string(), "{group}");
    rig.stop().await;
}

#[tokio::test]
async fn a_settlement_that_there_is_no_room_for_holds_and_is_never_said_to_be_kept_before_it_is() {
    const SMALL: usize = 300;
    let disk = crate::room::small_disk();
    let rig = on(&disk).await;
    rig.ask("PUT", "/v1/topics/t", "{}").await;
    rig.ask("PUT", "/v1/topics/in-memory", r#"{"durability":"memory"}"#).await;
    rig.ask("PUT", GROUP, &json!({"max_failures": 0}).to_string()).await;
    let event = |n: usize| json!({"specversion": "1.0", "id": format!("small-{n}"), "source": "/s", "type": "t", "data": "x".repeat(2000)});
    rig.offer_events("t", &json!((0..SMALL).map(event).collect::<Vec<_>>())).await;
    let others = [1, 2, 3].map(|n| format!("/v1/topics/t/groups/other{n}"));
    for other in &others {
        rig.ask("PUT", other, "{}").await;
    }
    fill(&rig).await;
    let fetch_of = async |rig: &Rig, group: &str, count: usize| {
        let asked = json!({"max_events": count, "max_bytes": 4 << 20, "wait_ms": 10_000});
        rig.post(&format!("{group}/fetch"), &asked).await.json()["deliveries"].as_array().unwrap().clone()
    };
    let fetch = async |rig: &Rig, count: usize| fetch_of(rig, GROUP, count).await;
    // Most of the room is for dead letters.
    for other in &others {
        let reject =
            |delivery: &Value| json!({"lease": delivery["lease"], "kind": "reject", "reason": "y".repeat(1024)});
        let settlements: Vec<Value> = fetch_of(&rig, other, SMALL).await.iter().map(reject).collect();
        rig.post(&format!("{other}/settle"), &json!({"settlements": settlements})).await;
    }
    // Neighbours that are settled alike take little room: each has a delay of its own.
    let settle = async |rig: &Rig, deliveries: &[Value], kind: &str| {
        let one = |(n, delivery): (usize, &Value)| match kind {
            "nack" => json!({"lease": delivery["lease"], "kind": kind, "delay_ms": n % 60}),
            _ => json!({"lease": delivery["lease"], "kind": kind}),
        };
        let asked = json!({"settlements": deliveries.iter().enumerate().map(one).collect::<Vec<_>>()});
        let settled = tokio::time::timeout(PATIENCE, rig.post(&format!("{GROUP}/settle"), &asked)).await;
        settled.expect("an answer").json()["results"].as_array().unwrap().clone()
    };
    let is_full = |result: &Value| result["code"] == "DISK_FULL";
    let mut rounds = 0;
    let (deliveries, results) = loop {
        let deliveries = fetch(&rig, SMALL).await;
        let results = settle(&rig, &deliveries, "nack").await;
        rounds += 1;
        assert!(rounds < 1000, "{results:?}");
        if results.iter().any(is_full) {
            break (deliveries, results);
        }
    };
    let full: Vec<&Value> = results.iter().filter(|result| is_full(result)).collect();
    let detail = full[0]["detail"].as_str().unwrap();
    assert!(detail.contains("this settlement holds"), "{detail}");
    // Those of them that were not kept. The subscription of the fetch has gone by now.
    let unkept: Vec<Value> =
        deliveries.iter().zip(&results).filter(|(_, r)| is_full(r)).map(|(d, _)| d.clone()).collect();
    let again = settle(&rig, &unkept, "nack").await;
    assert!(again.iter().all(is_full), "said again it is not kept either: {again:?}");
    let leased = fetch(&rig, 1).await;
    let extended = settle(&rig, &leased, "extend").await;
    assert_eq!(extended[0]["settled"], true, "a lease needs no room");
    let acked = settle(&rig, &leased, "ack").await;
    assert!(is_full(&acked[0]), "{acked:?}");
    let id = |delivery: &Value| delivery["event"]["id"].clone();
    let come = fetch(&rig, SMALL).await;
    assert!(come.iter().all(|d| id(d) != id(&leased[0])), "it holds all the same");
    for round in 0..3 {
        settle(&rig, &come, "nack").await;
        // What goes to no disk carries nothing to it.
        let id = round.to_string();
        let event = json!([{"specversion": "1.0", "id": id, "source": "/s", "type": "t", "data": 1}]);
        rig.offer_events("in-memory", &event).await;
    }

    // What gives space back finds room all the same.
    let limited = tokio::time::timeout(PATIENCE, rig.ask("PATCH", "/v1/topics/t", r#"{"retention_bytes":4194304}"#));
    assert_eq!(limited.await.expect("an answer").status, 200);
    rig.stop().await;
    let rig = on(&disk).await;
    let topic = get(&rig, "/v1/topics/t").await;
    assert!(topic["retention_bytes"].to_string().contains("4194304"), "{topic}");
    let come = fetch(&rig, SMALL).await;
    assert!(come.iter().any(|d| id(d) == id(&leased[0])), "it was not kept, as was said");
    let deleted = tokio::time::timeout(PATIENCE, rig.ask("DELETE", "/v1/topics/t?force=true", ""));
    assert_eq!(deleted.await.expect("an answer").status, 200);
    rig.stop().await;

    let rig = on(&disk).await;
    assert_eq!(rig.get("/v1/topics/t").await.status, 404, "that was kept");
    rig.stop().await;
}
