//! What the client logs, fetched by the host.

use std::time::Duration;

use meshwire::testing::Gateway;
use meshwire_embed::{ErrorKind, Handled, Level, Outcome, Work, close_logs, keep_logs, keep_logs_from, take_logs};

use crate::rig::{PATIENCE, connected, deliveries, options, publish, subscribed};

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
    assert!(found.text.starts_with(found.sentence()) && !found.sentence().contains('='), "{}", found.sentence());
    assert!(found.fields.contains(&("topic", "logged".to_owned())), "{:?}", found.fields);
    keep_logs_from(Level::Trace).unwrap();
    drop(subscribed(&client, "logged", &[]));
    let finer = std::iter::from_fn(|| take_logs(Some(PATIENCE))).take_while(|(records, _)| !records.is_empty());
    assert!(finer.flat_map(|(records, _)| records).any(|record| record.level < Level::Warn), "another level holds");
    // A value that has blanks is told from what stands behind it.
    let consumer = client.consume("refused", &options(&[("group", "g"), ("backoff_min", "1h")])).unwrap();
    publish(&client, "refused", "x").unwrap();
    let Outcome::Jobs(mut jobs) = consumer.next_batch(1, Some(PATIENCE)).unwrap() else { panic!("ended") };
    let Some(Work::Begin(job)) = jobs.pop() else { panic!("lost") };
    job.end(Handled::Failed("no such item".to_owned())).unwrap();
    let mut refused = std::iter::from_fn(|| take_logs(Some(PATIENCE))).take_while(|(records, _)| !records.is_empty());
    assert!(
        refused.any(|(records, _)| records.iter().any(|record| record.text.contains(r#" problem="no such item""#)))
    );
    close_logs();
    assert_eq!(keep_logs_from(Level::Warn).unwrap_err().kind(), ErrorKind::Invalid);
    while let Some((records, _)) = take_logs(None) {
        assert!(!records.is_empty());
    }
}
