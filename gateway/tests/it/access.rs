//! The access log: calls over HTTP leave the same records as those of sessions, with the fields that docs/metrics.md lists.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::rig::Rig;

type Fields = BTreeMap<String, String>;

/// Keeps records and nothing else.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<Fields>>>);

struct Reading<'a>(&'a mut Fields);

impl Visit for Reading<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "meshwire::access"
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::new();
        event.record(&mut Reading(&mut fields));
        self.0.lock().unwrap().push(fields);
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[tokio::test]
async fn calls_over_http_leave_records_with_the_fields_that_are_documented() {
    let log = Log::default();
    // With one subscriber alone, what another test's thread logs first is off everywhere: that thread has none.
    let _other = tracing::Dispatch::new(Log::default());
    let _guard = tracing::subscriber::set_default(log.clone());
    let rig = Rig::start().await;
    rig.ask("PUT", "/v1/topics/orders", "").await;
    rig.ask("PUT", "/v1/topics/orders/groups/billing", "").await;
    rig.ask("GET", "/v1/topics/none/groups/billing", "").await;
    let records = log.0.lock().unwrap().clone();
    let told: Vec<[&str; 4]> = records
        .iter()
        .map(|fields| ["operation", "topic", "group", "code"].map(|name| fields[name].as_str()))
        .collect();
    let expected = [
        ["create_topic", "orders", "", "OK"],
        ["create_group", "orders", "billing", "OK"],
        ["get_group", "none", "billing", "TOPIC_NOT_FOUND"],
    ];
    assert_eq!(told, expected);
    let docs = include_str!("../../../docs/metrics.md");
    let (_, table) = docs.split_once("## Access log").unwrap();
    let named = table.lines().filter_map(|line| line.strip_prefix("| `")).filter_map(|line| line.split(" | ").next());
    let documented: Vec<String> = named.flat_map(|names| names.split(", ")).map(|name| name.replace('`', "")).collect();
    for record in &records {
        let mut fields: Vec<&str> = record.keys().map(String::as_str).filter(|name| *name != "message").collect();
        let mut documented: Vec<&str> = documented.iter().map(String::as_str).collect();
        fields.sort_unstable();
        documented.sort_unstable();
        assert_eq!(fields, documented);
    }
}
