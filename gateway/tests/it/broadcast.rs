//! Broadcast groups over the wire, on both stores.

use std::path::Path;
use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, DeliverRun, ServerFrame, SettleKind};
use meshwire_proto::wire::session as wire;

use crate::machine::Machine;
use crate::rig::{Peer, Rig, earliest, event, hello, memory, run_of};

fn logged(folder: &Path) -> Config {
    let mut config = memory();
    (config.memory, config.data_dir) = (false, folder.to_owned());
    config
}

async fn rig(config: Config) -> Rig {
    Rig::with(config, Arc::new(AllowAll)).await
}

fn broadcast(subscription: u32, member: &str) -> wire::Subscribe {
    wire::Subscribe {
        subscription,
        topic: "t".into(),
        group: "g".into(),
        mode: wire::GroupMode::Broadcast.into(),
        member: member.into(),
        max_events: 1000,
        max_bytes: 1 << 20,
        ..wire::Subscribe::default()
    }
}

async fn publish(peer: &mut Peer, ids: std::ops::Range<u32>) {
    let events: Vec<_> = ids.map(|id| event(&id.to_string())).collect();
    peer.publish("t", run_of(&events)).await;
}

fn positions(runs: &[DeliverRun]) -> Vec<u64> {
    runs.iter().flat_map(|r| r.first_position..r.first_position + u64::from(r.events.count())).collect()
}

async fn refused(peer: &mut Peer, frame: wire::Subscribe) -> (ErrorKind, String) {
    peer.send(ClientFrame::Subscribe(frame)).await;
    let error = peer.error().await;
    (ErrorKind::from_number(error.code), error.message)
}

async fn four_members_each_get_all(config: Config) {
    let rig = rig(config).await;
    let mut members = Vec::new();
    for (n, member) in ["a", "b", "", ""].into_iter().enumerate() {
        let mut peer = rig.session().await;
        let subscribed = peer.subscribe(broadcast(1, member)).await;
        assert!(subscribed.new_group, "member {n} begins with this subscription");
        members.push(peer);
    }
    publish(&mut rig.session().await, 0..1000).await;
    for mut member in members {
        let runs = member.deliveries(1000).await;
        assert!(runs.iter().all(|run| run.attempt == 1));
        let got = positions(&runs);
        assert_eq!(got, (1..=1000).collect::<Vec<_>>(), "all, once, in log order");
        assert_eq!(member.settle(1, 1, 1000, SettleKind::Ack).await, [(1, 1000, 0)]);
    }
}

#[tokio::test]
async fn four_members_of_a_memory_topic_each_get_all() {
    four_members_each_get_all(memory()).await;
}

#[tokio::test]
async fn four_members_of_a_logged_topic_each_get_all() {
    let folder = tempfile::tempdir().unwrap();
    four_members_each_get_all(logged(folder.path())).await;
}

#[tokio::test]
async fn a_durable_member_goes_on_after_a_restart_of_the_gateway() {
    let folder = tempfile::tempdir().unwrap();
    let before = rig(logged(folder.path())).await;
    let mut peer = before.session().await;
    for (subscription, member) in [(1, "a"), (2, "b")] {
        peer.subscribe(broadcast(subscription, member)).await;
    }
    // Of another connection: what waits for receipts passes over deliveries.
    publish(&mut before.session().await, 0..5).await;
    peer.deliveries(10).await;
    peer.settle(1, 1, 3, SettleKind::Ack).await;
    peer.settle(2, 2, 1, SettleKind::Ack).await;
    peer.settle(2, 1, 1, SettleKind::Nack).await;
    drop(peer);
    before.stop().await;

    let after = rig(logged(folder.path())).await;
    let mut peer = after.session().await;
    let again = peer.subscribe(broadcast(1, "a")).await;
    assert_eq!((again.next_position, again.new_group), (4, false));
    let first = peer.deliveries(2).await;
    assert_eq!(positions(&first), [4, 5]);
    peer.subscribe(broadcast(2, "b")).await;
    let second = peer.deliveries(4).await;
    assert_eq!(positions(&second), [1, 3, 4, 5]);
    assert_eq!(second[0].attempt, 2, "its failure was kept");
}

#[tokio::test]
async fn a_durable_member_is_for_one_connection_until_that_is_lost() {
    let rig = rig(memory()).await;
    let (mut first, mut second) = (rig.session().await, rig.session().await);
    first.subscribe(broadcast(1, "a")).await;
    publish(&mut first, 0..1).await;
    first.deliveries(1).await;
    let (kind, text) = refused(&mut second, broadcast(1, "a")).await;
    assert_eq!(kind, ErrorKind::GroupConflict);
    assert!(text.contains("member a of group g is connected already"), "{text}");
    drop(first);
    let mut third = rig.session().await;
    loop {
        third.send(ClientFrame::Subscribe(broadcast(1, "a"))).await;
        // The gateway may not have seen yet that the first one is gone.
        let answer = third.next().await.expect("an answer");
        match answer {
            ServerFrame::Subscribed(_) => break,
            ServerFrame::Error(error) => assert!(error.message.contains("connected already")),
            other => panic!("{other:?}"),
        }
    }
    let again = third.deliveries(1).await;
    assert_eq!((positions(&again), again[0].attempt), (vec![1], 2), "at once, not after the resume window");
}

#[tokio::test]
async fn the_mode_of_the_group_says_where_a_subscription_without_a_start_begins() {
    let rig = rig(memory()).await;
    let mut peer = rig.session().await;
    peer.subscribe(broadcast(1, "a")).await;
    publish(&mut peer, 0..3).await;
    let latest = wire::Start { at: Some(wire::start::At::Latest(true)) };
    let first = wire::Start { at: Some(wire::start::At::Earliest(true)) };
    // Without a mode, an unnamed member of a group that is there is what that group is.
    for (number, (group, member, start, begins)) in [
        ("g", "", None, 4),
        ("g", "", Some(first), 1),
        ("g", "b", None, 1),
        ("g", "c", Some(latest), 4),
        ("cluster", "", None, 1),
        ("behind", "", Some(latest), 4),
        ("", "", None, 4),
    ]
    .into_iter()
    .enumerate()
    {
        let mode = wire::GroupMode::Unspecified.into();
        let frame = wire::Subscribe { group: group.into(), start, mode, ..broadcast(2 + number as u32, member) };
        assert_eq!(peer.subscribe(frame).await.next_position, begins, "{group}/{member} {start:?}");
    }
}

#[test]
fn a_session_whose_member_was_taken_over_hears_of_it_and_keeps_its_other_subscriptions() {
    let machine = Machine::start();
    let who = hello();
    let (line, welcome) = machine.login(who.clone());
    line.send(&ClientFrame::Subscribe(broadcast(1, "a")));
    line.send(&ClientFrame::Subscribe(earliest(2, "other", "g")));
    machine.run_disk();
    line.frames();
    line.publish_as(1, "other", 1);
    machine.run_disk();
    line.cut();
    let second = machine.session();
    second.send(&ClientFrame::Subscribe(broadcast(1, "a")));
    machine.run_disk();
    assert!(second.frames().iter().any(|f| matches!(f, ServerFrame::Subscribed(_))));
    let held =
        [(1, 1), (2, 1)].map(|(subscription, next_delivery)| wire::HeldSubscription { subscription, next_delivery });
    let resume = wire::Hello {
        resume_session: welcome.session.clone(),
        resume_secret: welcome.secret.clone(),
        held: held.to_vec(),
        ..who
    };
    for _ in 0..2 {
        let (line, said) = machine.hello(resume.clone());
        assert!(matches!(&said[0], ServerFrame::Welcome(welcome) if welcome.resumed), "{said:?}");
        let of = |f: &ServerFrame| match f {
            ServerFrame::Unsubscribed(u) => Some((u.subscription, ErrorKind::from_number(u.code))),
            _ => None,
        };
        assert_eq!(said.iter().filter_map(of).collect::<Vec<_>>(), [(1, ErrorKind::GroupConflict)]);
        let runs = said.into_iter().filter_map(|f| if let ServerFrame::Deliver(d) = f { Some(d.runs) } else { None });
        let attempts: Vec<_> = runs.flatten().map(|run| (run.subscription, run.attempt)).collect();
        assert_eq!(attempts, [(2, 1)], "no failure of the other one");
        // It never read that, and comes again.
        line.cut();
    }
    second.publish_as(1, "t", 1);
    machine.run_disk();
    assert!(second.frames().iter().any(|f| matches!(f, ServerFrame::Deliver(_))), "who took it over has it");
}

#[tokio::test]
async fn the_mode_and_the_names_of_a_group_are_checked() {
    let rig = rig(memory()).await;
    let mut peer = rig.session().await;
    peer.subscribe(broadcast(1, "a")).await;
    let cluster = wire::Subscribe { mode: wire::GroupMode::Cluster.into(), ..broadcast(2, "") };
    let (kind, text) = refused(&mut peer, cluster).await;
    assert_eq!(kind, ErrorKind::GroupConflict);
    assert!(text.contains("mode broadcast, not cluster"), "{text}");
    let named = wire::Subscribe { mode: wire::GroupMode::Cluster.into(), group: "c".into(), ..broadcast(2, "a") };
    let (kind, text) = refused(&mut peer, named).await;
    assert_eq!(kind, ErrorKind::Unsupported);
    assert!(text.contains("cluster group"), "{text}");
    let (kind, text) = refused(&mut peer, wire::Subscribe { group: String::new(), ..broadcast(2, "a") }).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("has no group"), "{text}");
    let (kind, text) = refused(&mut peer, broadcast(2, "a/b")).await;
    assert_eq!(kind, ErrorKind::Invalid);
    assert!(text.contains("member name"), "{text}");
    let subscribed = peer.subscribe(wire::Subscribe { mode: 0, ..broadcast(2, "b") }).await;
    assert!(subscribed.new_group, "without a mode it is the group's");
}
