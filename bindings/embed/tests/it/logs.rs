//! What the client logs, fetched by the host.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{ErrorKind, Level, close_logs, keep_logs, keep_logs_from, take_logs};

use crate::rig::{PATIENCE, connected, deliveries, publish, subscribed};

#[test]
fn what_the_client_logs_waits_for_the_host_with_level_target_and_fields() {
    assert!(take_logs(Some(Duration::ZERO)).is_none(), "nothing is kept yet");
    assert_eq!(keep_logs_from(Level::Warn).unwrap_err().kind(), ErrorKind::Invalid);
    keep_logs(Level::Warn).unwrap();
    assert_eq!(keep_logs(Level::Info).unwrap_err().kind(), ErrorKind::AlreadyExists);
    let gateway = Gateway::start().unwrap();
    let client = connected(&gateway);
    let orders = subscribed(&client, "logged", &[("group", "g")]);
    publish(&client, "logged", "x").unwrap();
    drop(deliveries(orders.next_batch(1, None).unwrap()));
    let found = loop {
        let (records, dropped) = take_logs(Some(PATIENCE)).unwrap();
        assert!(!records.is_empty(), "it came in time");
        assert_eq!(dropped, 0);
        if let Some(record) = records.into_iter().find(|record| record.text.contains("topic=logged")) {
            break record;
        }
    };
    assert_eq!((found.level, found.target.as_str()), (Level::Warn, "meshwire::delivery"));
    assert!(found.text.starts_with("a delivery was dropped without ack or nack"), "{}", found.text);
    keep_logs_from(Level::Trace).unwrap();
    drop(subscribed(&client, "logged", &[]));
    let finer = std::iter::from_fn(|| take_logs(Some(PATIENCE))).take_while(|(records, _)| !records.is_empty());
    assert!(finer.flat_map(|(records, _)| records).any(|record| record.level < Level::Warn), "another level holds");
    close_logs();
    assert_eq!(keep_logs_from(Level::Warn).unwrap_err().kind(), ErrorKind::Invalid);
    while let Some((records, _)) = take_logs(None) {
        assert!(!records.is_empty());
    }
}
