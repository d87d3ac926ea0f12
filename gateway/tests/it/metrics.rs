//! What a monitor reads: the same metrics as docs/metrics.md lists, and true.

use std::collections::BTreeMap;
use std::sync::Arc;

use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::frame::SettleKind;

use crate::rig::{Rig, earliest, event, memory, run_of};

async fn logged() -> (Rig, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let mut config = memory();
    (config.memory, config.data_dir) = (false, directory.path().to_owned());
    (Rig::with(config, Arc::new(AllowAll)).await, directory)
}

async fn samples(rig: &Rig) -> BTreeMap<String, f64> {
    let answer = rig.get("/metrics").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let lines = answer.text().lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(name, value)| (name.to_owned(), value.parse().unwrap()))
        .collect()
}

#[tokio::test]
async fn every_metric_is_in_the_documentation_with_its_type_labels_and_help_and_no_other() {
    let (rig, _directory) = logged().await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&[event("1")])).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    let text = rig.get("/metrics").await.text().to_owned();
    assert!(text.ends_with("# EOF\n"));
    let (mut exported, mut names) = (Vec::new(), BTreeMap::new());
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else { continue };
        let help = lines.next().unwrap().strip_prefix(&format!("# HELP {name} ")).unwrap();
        assert!(names.insert(name, ()).is_none(), "{name} is there twice");
        let sample = lines.peek().unwrap_or_else(|| panic!("{name} has no sample"));
        assert!(sample.starts_with(name), "{name}: {sample}");
        let labels = sample.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map_or("", |(labels, _)| labels);
        let labels: Vec<&str> =
            labels.split(',').filter_map(|label| Some(label.split_once('=')?.0)).filter(|l| *l != "le").collect();
        let suffix = if kind == "counter" { "_total" } else { "" };
        exported.push(format!("| `{name}{suffix}` | {kind} | {} | {help} |", labels.join(", ")));
    }
    let docs = include_str!("../../../docs/metrics.md");
    let listed: Vec<&str> = docs.lines().filter(|line| line.starts_with("| `meshwire_")).collect();
    assert_eq!(listed, exported, "docs/metrics.md should have:\n{}", exported.join("\n"));
}

#[tokio::test]
async fn what_was_done_is_counted() {
    let (rig, _directory) = logged().await;
    let mut peer = rig.session().await;
    let events: Vec<_> = (0..5).map(|n| event(&n.to_string())).collect();
    peer.publish("t", run_of(&events)).await;
    peer.publish("t", run_of(&events[..2])).await;
    peer.subscribe(earliest(1, "t", "g")).await;
    peer.deliveries(5).await;
    peer.settle(1, 1, 2, SettleKind::Ack).await;
    peer.settle(1, 3, 1, SettleKind::Reject).await;
    rig.get("/nothing").await;
    rig.get("/v1/topics/none").await;
    let found = samples(&rig).await;
    for (name, value) in [
        (r#"meshwire_published_events_total{result="new"}"#, 5.0),
        (r#"meshwire_published_events_total{result="duplicate"}"#, 2.0),
        ("meshwire_deliveries_total", 5.0),
        (r#"meshwire_settled_deliveries_total{how="ack"}"#, 2.0),
        (r#"meshwire_settled_deliveries_total{how="reject"}"#, 1.0),
        (r#"meshwire_errors_total{code="NOT_FOUND"}"#, 1.0),
        (r#"meshwire_errors_total{code="TOPIC_NOT_FOUND"}"#, 1.0),
        (r#"meshwire_connections{protocol="native"}"#, 1.0),
        (r#"meshwire_connections{protocol="http"}"#, 1.0),
        (r#"meshwire_connections_opened_total{protocol="http"}"#, 3.0),
        (r#"meshwire_topic_events{topic="t"}"#, 5.0),
        (r#"meshwire_topic_stored_events_total{topic="t"}"#, 5.0),
        (r#"meshwire_group_unsettled_deliveries{topic="t",group="g"}"#, 2.0),
        (r#"meshwire_group_lag_events{topic="t",group="g"}"#, 2.0),
        (r#"meshwire_group_dead_letters{topic="t",group="g"}"#, 1.0),
        (r#"meshwire_group_members{topic="t",group="g"}"#, 1.0),
        (r#"meshwire_objects{of="topics"}"#, 1.0),
        ("meshwire_tls_reload_failures_total", 0.0),
    ] {
        assert_eq!(found.get(name), Some(&value), "{name}: {found:?}");
    }
    assert!(found["meshwire_published_bytes_total"] > 0.0 && found["meshwire_delivered_bytes_total"] > 0.0);
    let syncs = found["meshwire_log_sync_seconds_count"];
    assert!(syncs >= 1.0 && found[r#"meshwire_log_sync_seconds_bucket{le="+Inf"}"#] == syncs, "{found:?}");
    drop(peer);
}

#[tokio::test]
async fn reading_without_a_group_settles_nothing_and_refused_settlements_are_lost() {
    let rig = Rig::start().await;
    rig.offer("t", &["1", "2", "3"]).await;
    let mut stream = rig.http().await;
    stream.stream("/v1/topics/t/events?start=earliest", &[]).await;
    for _ in 0..3 {
        stream.delivery().await;
    }
    // A session gives credit back in the same way.
    let mut peer = rig.session().await;
    peer.subscribe(earliest(1, "t", "")).await;
    peer.deliveries(3).await;
    assert_eq!(peer.settle(1, 1, 3, SettleKind::Ack).await, [(1, 3, 0)]);
    let settled =
        |found: &BTreeMap<String, f64>, how: &str| found[&format!("meshwire_settled_deliveries_total{{how={how:?}}}")];
    let found = samples(&rig).await;
    assert_eq!((settled(&found, "ack"), found["meshwire_deliveries_total"]), (0.0, 6.0));
    let fetched = rig.post("/v1/topics/t/groups/g/fetch", &serde_json::json!({"max_events": 1})).await.json();
    let lease = &fetched["deliveries"][0]["lease"];
    for (lease, kind) in [(lease, "ack"), (lease, "nack"), (&"none".into(), "ack")] {
        let settlements = serde_json::json!({"settlements": [{"lease": lease, "kind": kind}]});
        assert_eq!(rig.post("/v1/topics/t/groups/g/settle", &settlements).await.status, 200);
    }
    let found = samples(&rig).await;
    assert_eq!(["ack", "nack", "lost"].map(|how| settled(&found, how)), [1.0, 0.0, 2.0]);
    let told = |code: &str| found.get(&format!("meshwire_errors_total{{code={code:?}}}")).copied().unwrap_or_default();
    assert_eq!([told("LEASE_LOST"), told("INVALID")], [0.0, 0.0], "a batch was answered");
}
