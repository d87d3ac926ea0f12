//! S26: publishing and pushing have limits of their own, which change while the gateway runs.

use meshwire::GatewayLimits;

use super::*;
use crate::program::Gateway;

/// Deliveries a second while pushing is limited.
const SLOW: u64 = 100;
const BACKLOG: u64 = 1500;

/// How long receipts take, the slowest of a hundred left out.
async fn p99(mesh: &Mesh, topic: &str) -> Duration {
    let mut took = Vec::new();
    for n in 0..200 {
        let since = Instant::now();
        mesh.publish(topic, Event::text("probe", "x").id(format!("{since:?}-{n}")).source("/on-time")).await.unwrap();
        took.push(since.elapsed());
    }
    took.sort_unstable();
    took[took.len() * 99 / 100]
}

/// How many come within this time.
async fn come(work: &mut Subscription, span: Duration) -> u64 {
    let (until, mut came) = (tokio::time::Instant::now() + span, 0);
    while let Ok(next) = tokio::time::timeout_at(until, work.try_next()).await {
        next.unwrap().unwrap().ack();
        came += 1;
    }
    came
}

fn push_is_saturated(gateway: &Gateway) {
    runtime().block_on(async {
        let (mesh, publisher) = (connect(&gateway.url).await, connect(&gateway.url).await);
        let before = p99(&publisher, "probes").await;
        mesh.limits().set(GatewayLimits::new().with_deliver_rate(SLOW)).await.unwrap();
        let mut work = join(&mesh, GroupSettings::new()).await;
        publish(&publisher, BACKLOG).await;
        // It waits to be pushed, as much as there is, while events are published to its topic and to others.
        let (same, other, slow) =
            tokio::join!(p99(&publisher, TOPIC), p99(&publisher, "probes"), come(&mut work, Duration::from_secs(3)));
        let most = before * 3 + Duration::from_millis(10);
        assert!(same <= most && other <= most, "receipts take {same:?} and {other:?}, before it {before:?}");
        // A tenth of a second may come at once, here and at the start.
        assert!((SLOW..=SLOW * 4).contains(&slow), "{slow} in 3 s at {SLOW}/s");
        let lag = mesh.groups(TOPIC).get(GROUP).await.unwrap().lag;
        assert!(lag >= BACKLOG - slow, "{lag} wait");
        mesh.limits().set(GatewayLimits::new().with_deliver_rate(0)).await.unwrap();
        let fast = come(&mut work, Duration::from_secs(3)).await;
        assert_eq!(
            slow + fast,
            BACKLOG + 200,
            "without the limit all the rest comes, which took more than ten seconds"
        );
    });
}

#[test]
fn s26_receipts_take_no_longer_while_pushing_is_saturated_and_its_limit_changes_at_run_time() {
    let directory = tempfile::tempdir().unwrap();
    push_is_saturated(&Gateway::on(directory.path()));
}

#[test]
fn s26_receipts_take_no_longer_while_pushing_is_saturated_and_its_limit_changes_at_run_time_in_memory() {
    push_is_saturated(&Gateway::start());
}
