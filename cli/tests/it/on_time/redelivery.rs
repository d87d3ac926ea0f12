//! First redeliveries, dead letters and a drain, on the real clock.

use std::collections::BTreeSet;

use meshwire::Start;
use rustix::process::Signal;

use super::*;
use crate::program::Gateway;

const WAIT: Duration = Duration::from_secs(2);

#[test]
fn a_nacked_event_comes_when_its_delay_is_over() {
    let gateway = Gateway::start();
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        let mut work = join(&mesh, GroupSettings::new()).await;
        publish(&mesh, 1).await;
        let delivery = next(&mut work).await;
        let since = Instant::now();
        delivery.nack_after(WAIT);
        let again = next(&mut work).await;
        assert_due("a nack", since, WAIT);
        assert_eq!(again.attempt(), 2);
        again.ack_confirmed().await.unwrap();
    });
}

#[test]
fn an_event_that_is_not_settled_comes_when_its_lease_is_over() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        let mut work = join(&mesh, GroupSettings::new().ack_wait(WAIT)).await;
        // The lease begins at the gateway, before the delivery is here: what is published then is a bound.
        let before = Instant::now();
        publish(&mesh, 1).await;
        let held = next(&mut work).await;
        let since = Instant::now();
        let again = next(&mut work).await;
        assert!(before.elapsed() >= WAIT, "early: after {:?}", before.elapsed());
        assert!(since.elapsed() <= WAIT + WAIT / 10, "late: after {:?}", since.elapsed());
        assert_eq!((held.attempt(), again.attempt()), (1, 2));
        again.ack_confirmed().await.unwrap();
        held.ack_confirmed().await.unwrap_err();
    });
}

#[test]
fn what_a_killed_consumer_held_comes_when_its_session_is_over() {
    let gateway = Gateway::with(&["--memory", "--resume-window", "2s"]);
    let mut consumer = gateway.begin(&["sub", TOPIC, "--group", GROUP, "--json", "--until-idle", "5m"]);
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        publish(&mesh, 1).await;
        consumer.line();
        let holds = async |count: u64| {
            let holds = async || mesh.groups(TOPIC).list().await.unwrap()[0].in_flight;
            timeout(PATIENCE, async { while holds().await != count {} }).await.expect("it has them");
        };
        holds(0).await;
        // From here on it gets events and settles none.
        consumer.pause();
        for n in [2, 3] {
            mesh.publish(TOPIC, numbered(n)).await.unwrap();
        }
        holds(2).await;
        let mut work = join(&mesh, GroupSettings::new()).await;
        let since = Instant::now();
        consumer.kill();
        let first = next(&mut work).await;
        assert_due("a lost member", since, WAIT);
        let second = next(&mut work).await;
        let ids = BTreeSet::from([first.id().to_owned(), second.id().to_owned()]);
        assert_eq!(ids, BTreeSet::from(["2".to_owned(), "3".to_owned()]));
        assert_eq!((first.attempt(), second.attempt()), (2, 2));
    });
}

#[test]
fn waits_double_and_end_in_one_dead_letter_and_go_on_over_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let settings = || GroupSettings::new().max_failures(3).backoff(WAIT / 2, WAIT);
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        let mut work = join(&mesh, settings()).await;
        publish(&mesh, 1).await;
        let first = next(&mut work).await;
        let since = Instant::now();
        first.nack_confirmed().await.unwrap();
        let second = next(&mut work).await;
        let took = since.elapsed();
        assert!(took >= WAIT / 2 && took <= WAIT / 2 + WAIT / 10 + WAIT / 20, "with jitter: {took:?}");
        let since = Instant::now();
        second.nack_confirmed().await.unwrap();
        let address = gateway.address.clone();
        gateway.program.kill();
        let data = directory.path().to_str().unwrap();
        let serve = ["serve", "--listen", &address, "--data-dir", data];
        let _gateway = Gateway::spawn(crate::program::meshwire(&serve));
        let third = next(&mut work).await;
        let took = since.elapsed();
        assert!(took >= WAIT && took <= WAIT + WAIT * 3 / 10, "with jitter: {took:?}");
        // Two failures, and the first delivery since the gateway came up.
        assert_eq!(third.attempt(), 3);
        third.nack_confirmed().await.unwrap();
        let letters = mesh.dead_letters(TOPIC).pages(false).next().await.unwrap().unwrap();
        assert_eq!(letters.iter().map(|l| l.failures).collect::<Vec<_>>(), [3]);
        let quiet = timeout(WAIT, work.try_next()).await;
        assert!(quiet.is_err(), "it comes no more: {quiet:?}");
    });
}

#[test]
fn a_drain_under_load_loses_nothing_and_repeats_nothing_that_was_acked() {
    const EVENTS: u64 = 20_000;
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        publish(&mesh, EVENTS).await;
        let mut work = mesh.subscribe(TOPIC).group(GROUP).prefetch(1000, 8 << 20).await.unwrap();
        let mut acked = BTreeSet::new();
        let began = Instant::now();
        let mut stopping = false;
        // A handler's pace: what is in flight when the gateway is told to stop is acked after that.
        let mut take = async |work: &mut Subscription, quiet: Duration| {
            let Ok(Ok(Some(delivery))) = timeout(quiet, work.try_next()).await else {
                return false;
            };
            let number: u64 = delivery.id().parse().unwrap();
            assert!(acked.insert(number), "{number} came again");
            delivery.ack();
            true
        };
        for n in 0..EVENTS / 2 {
            assert!(take(&mut work, PATIENCE).await, "event {n}");
        }
        gateway.program.signal(Signal::TERM);
        while take(&mut work, Duration::from_millis(500)).await {
            stopping = true;
        }
        assert!(stopping, "something was in flight");
        let ended = gateway.program.end();
        assert_eq!(ended.code, Some(0), "{ended:?}");
        assert!(began.elapsed() < Duration::from_secs(10), "inside the stop timeout");
        drop(work);
        let gateway = Gateway::on(directory.path());
        let mesh = connect(&gateway.url).await;
        let mut rest = mesh.subscribe(TOPIC).group(GROUP).start(Start::Earliest).await.unwrap();
        while (acked.len() as u64) < EVENTS {
            let delivery = next(&mut rest).await;
            let number: u64 = delivery.id().parse().unwrap();
            assert!(acked.insert(number), "{number} came again");
            delivery.ack();
        }
        mesh.close().await.unwrap();
        assert_eq!(acked, (1..=EVENTS).collect());
    });
}

#[test]
fn a_handler_that_succeeds_makes_no_dead_letter_after_a_change_to_a_shorter_ack_wait() {
    let gateway = Gateway::with(&["--memory"]);
    runtime().block_on(async {
        let mesh = connect(&gateway.url).await;
        // It extends every two seconds.
        let settings = GroupSettings::new().ack_wait(WAIT * 3).max_failures(1);
        let (told, mut begun) = tokio::sync::mpsc::channel(8);
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let handler = async move |delivery: &Delivery| {
            told.send((delivery.id().to_owned(), delivery.attempt())).await.unwrap();
            if delivery.id() == "2" {
                // Work that takes longer than the new wait.
                timeout(WAIT + WAIT / 2, std::future::pending::<()>()).await.unwrap_err();
            }
            Ok::<(), meshwire::Error>(())
        };
        let consume = mesh.consume(TOPIC).group(GROUP).settings(settings).until(async { drop(stopped.await) });
        let consuming = tokio::spawn(consume.run(handler));
        publish(&mesh, 1).await;
        let group = async || mesh.groups(TOPIC).get(GROUP).await.unwrap();
        timeout(PATIENCE, async { while group().await.settled_through.number() < 1 {} }).await.expect("1 is acked");
        let shorter = GroupSettings::new().ack_wait(WAIT / 2);
        mesh.groups(TOPIC).update(GROUP, shorter).await.unwrap();
        mesh.publish(TOPIC, numbered(2)).await.unwrap();
        timeout(PATIENCE, async { while group().await.settled_through.number() < 2 {} }).await.expect("2 ends");
        stop.send(()).unwrap();
        consuming.await.unwrap().unwrap();
        assert_eq!((begun.recv().await, begun.recv().await), (Some(("1".into(), 1)), Some(("2".into(), 1))));
        assert_eq!((begun.recv().await, group().await.dead_letters), (None, 0));
    });
}
