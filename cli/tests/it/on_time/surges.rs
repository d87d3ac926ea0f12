//! A target that is away, a burst, a surge: what publishers and consumers feel of it.

use std::collections::BTreeSet;

use super::*;
use crate::program::{Gateway, Program, id, resident};

/// The middle of these times.
fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Publishes fifty events a second for so long; gives how long their receipts took.
async fn publish_evenly(mesh: &Mesh, next: &mut u64, span: Duration) -> Vec<Duration> {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let (began, mut took) = (Instant::now(), Vec::new());
    while began.elapsed() < span {
        ticks.tick().await;
        *next += 1;
        let since = Instant::now();
        mesh.publish(TOPIC, numbered(*next)).await.unwrap();
        took.push(since.elapsed());
    }
    took
}

#[test]
fn s10_a_target_that_is_away_is_not_felt_by_the_publisher_and_catches_up() {
    let away = Duration::from_secs(if is_full() { 600 } else { 4 });
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let target = || gateway.begin(&["sub", TOPIC, "--group", GROUP, "--json"]);
    let (mut last, mut got) = (0, BTreeSet::new());
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        let first = target();
        let there = median(publish_evenly(&mesh, &mut last, Duration::from_secs(2)).await);
        got.extend(first.kill().iter().map(|line| id(line)));
        let gone = publish_evenly(&mesh, &mut last, away).await;
        let (count, gone) = (gone.len(), median(gone));
        // An error would have ended the test.
        assert!(gone <= there * 2 + Duration::from_millis(2), "{gone:?} while it is away, else {there:?}");
        assert!(count as u64 >= away.as_secs() * 40, "the pace is kept: {count}");
        let lag = mesh.groups(TOPIC).list().await.unwrap()[0].lag;
        assert!(lag >= count as u64, "{lag} wait for it");
    });
    let began = Instant::now();
    let mut second = target();
    catch_up(&mut second, &mut got, last);
    assert!(began.elapsed() < Duration::from_secs(20) + away / 10, "it caught up after {:?}", began.elapsed());
}

/// Reads lines until all events from 1 on are there.
fn catch_up(program: &mut Program, got: &mut BTreeSet<String>, last: u64) {
    while (got.len() as u64) < last {
        let Some(line) = program.line_within(PATIENCE) else {
            panic!("only {} of {last} events came", got.len());
        };
        got.insert(id(&line));
    }
    assert_eq!(*got, (1..=last).map(|n| n.to_string()).collect());
}

/// A consumer that the machine held back gets late what was sent in time; nothing comes
/// ahead of the rate but a tenth of a second's worth.
fn assert_paced(began: Instant, came: &[Instant], rate: u64) {
    for (n, at) in (0_u64..).zip(came) {
        let earliest = Duration::from_secs_f64(n.saturating_sub(rate / 10 + 1) as f64 / rate as f64);
        let after = at.duration_since(began);
        assert!(after >= earliest, "delivery {n} came after {after:?}, at the rate not before {earliest:?}");
    }
}

#[test]
fn s59_a_burst_of_ten_times_the_rate_comes_at_the_rate_and_the_backlog_is_shown() {
    let (rate, burst) = if is_full() { (100_u64, 60) } else { (400, 1) };
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        let mut work = join(&mesh, GroupSettings::new().max_rate(u32::try_from(rate).unwrap())).await;
        let publisher = mesh.clone();
        let all = rate * 10 * burst;
        let publish = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(100));
            for n in 1..=all {
                drop(publisher.publish_start(TOPIC, numbered(n)).await.unwrap());
                if n % rate == 0 {
                    ticks.tick().await;
                }
            }
            publisher.flush().await.unwrap();
            publisher.groups(TOPIC).list().await.unwrap()[0].lag
        };
        let consume = async {
            let (mut came, mut ids) = (Vec::new(), BTreeSet::new());
            while (came.len() as u64) < all {
                let delivery = next(&mut work).await;
                came.push(Instant::now());
                assert!(ids.insert(delivery.id().to_owned()), "{} came twice", delivery.id());
                delivery.ack();
            }
            came
        };
        let began = Instant::now();
        let (lag, came) = tokio::join!(publish, consume);
        let left = all - rate * (burst + 1);
        assert!(lag >= left / 2 && lag <= all, "{lag} wait at the end of the burst");
        assert_paced(began, &came, rate);
        let span = came[came.len() - 1].duration_since(came[0]);
        let least = Duration::from_secs(all / rate - 1);
        assert!(span <= least + least / 3 + Duration::from_secs(2), "and not much slower than the rate: {span:?}");
    });
}

#[test]
fn s53_a_surge_is_buffered_and_drained_without_loss_in_the_same_process_and_little_memory() {
    let directory = tempfile::tempdir().unwrap();
    let load = if is_full() { (500, 60) } else { (200, 2) };
    surge(Gateway::on(directory.path()), load);
}

/// A ring holds so many bytes: the full surge is more than that.
#[test]
fn s53_a_surge_that_fits_into_its_ring_is_buffered_and_drained_in_memory() {
    surge(Gateway::start(), (200, 2));
}

/// The usual rate, and for how many seconds ten times that.
fn surge(mut gateway: Gateway, (usual, hold): (u64, u64)) {
    const CAP: u64 = 96 << 20;
    let before = resident(&gateway.program);
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        // It takes four times the usual rate, and never more.
        let mut work = join(&mesh, GroupSettings::new().max_rate(u32::try_from(usual * 4).unwrap())).await;
        let publisher = mesh.clone();
        let publish = async {
            let (began, mut n) = (Instant::now(), 0);
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            // Up to ten times the rate in five seconds, and on for a while.
            while began.elapsed() < Duration::from_secs(5 + hold) {
                ticks.tick().await;
                let rise = (began.elapsed().as_secs_f64() / 5.0).min(1.0);
                let rate = usual as f64 * (1.0 + 9.0 * rise);
                for _ in 0..(rate / 20.0) as u64 {
                    n += 1;
                    drop(publisher.publish_start(TOPIC, numbered(n)).await.unwrap());
                }
            }
            publisher.flush().await.unwrap();
            n
        };
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let consume = async {
            let (mut ids, mut all, mut receiver, mut most) = (BTreeSet::new(), None, receiver, 0);
            while all.is_none_or(|all| (ids.len() as u64) < all) {
                let delivery = tokio::select! {
                    published = &mut receiver, if all.is_none() => {
                        all = published.ok();
                        continue;
                    }
                    delivery = next(&mut work) => delivery,
                };
                assert!(ids.insert(delivery.id().to_owned()), "{} came twice", delivery.id());
                delivery.ack();
                if ids.len() % 500 == 0 {
                    most = most.max(resident(&gateway.program));
                }
            }
            most
        };
        let (most, ()) = tokio::join!(consume, async { sender.send(publish.await).unwrap() });
        assert!(most.saturating_sub(before) <= CAP, "{} MiB more than idle", most.saturating_sub(before) >> 20);
        assert_eq!(mesh.groups(TOPIC).list().await.unwrap()[0].dead_letters, 0);
        assert_eq!(mesh.stats().reconnects, 0, "the gateway was there all the time");
    });
    assert!(gateway.program.line_within(Duration::ZERO).is_none());
}
