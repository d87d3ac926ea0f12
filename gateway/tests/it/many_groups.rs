//! Ten thousand groups of one topic.

use std::sync::Arc;

use meshwire_gateway::config::Config;
use meshwire_gateway::mesh::AllowAll;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{ClientFrame, ServerFrame, SettleKind};
use meshwire_proto::wire::admin::{self, answer, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use crate::rig::{Peer, Rig, earliest, event, memory, run_of};

const GROUPS: u64 = 10_000;

/// Commands that are sent without waiting for their answers.
const TOGETHER: u64 = 500;

async fn send(peer: &mut Peer, number: u64, command: command::Command) {
    let command = admin::Command { command: Some(command) }.encode_to_vec().into();
    peer.send(ClientFrame::Admin(wire::Admin { number, command })).await;
}

async fn answered(peer: &mut Peer) -> Option<answer::Answer> {
    let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(answer.code, 0, "{}", answer.message);
    admin::Answer::decode(answer.answer).unwrap().answer
}

/// The longest that a name may be.
fn name(n: u64) -> String {
    format!("{:-<120}", format!("g{n}"))
}

async fn create_all(peer: &mut Peer) {
    for first in (1..=GROUPS).step_by(TOGETHER as usize) {
        for n in first..first + TOGETHER {
            let create = admin::CreateGroup { topic: "t".into(), group: name(n), ..admin::CreateGroup::default() };
            send(peer, n, command::Command::CreateGroup(create)).await;
        }
        for _ in 0..TOGETHER {
            assert!(matches!(answered(peer).await, Some(answer::Answer::Group(_))));
        }
    }
}

/// The groups of the topic, page by page; each page fits a frame that any client takes.
async fn pages(peer: &mut Peer) -> Vec<Vec<admin::GroupSummary>> {
    let (mut pages, mut cursor) = (Vec::new(), String::new());
    loop {
        let list = admin::ListTopics { cursor, topic: "t".into(), ..admin::ListTopics::default() };
        send(peer, GROUPS + 1, command::Command::ListTopics(list)).await;
        let Some(answer::Answer::Topics(list)) = answered(peer).await else { panic!("a list") };
        assert!(list.encoded_len() <= 256 << 10, "a page of {} bytes", list.encoded_len());
        let topic = list.topics.into_iter().next().expect("every page has the topic");
        assert_eq!(topic.groups_next, list.next);
        assert!(!topic.groups.is_empty() && pages.len() < 100);
        pages.push(topic.groups);
        cursor = list.next;
        if cursor.is_empty() {
            return pages;
        }
    }
}

/// One group is answered alone.
async fn one_is_asked_for(peer: &mut Peer) {
    let get = |group: &str| command::Command::GetGroup(admin::GetGroup { topic: "t".into(), group: group.into() });
    send(peer, GROUPS + 2, get(&name(GROUPS))).await;
    let Some(answer::Answer::Group(group)) = answered(peer).await else { panic!("a group") };
    assert_eq!((group.name.as_str(), group.settled_through, group.lag), (&*name(GROUPS), 2, 1));
    send(peer, GROUPS + 3, get("h")).await;
    let refused = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
    assert_eq!(refused.code, ErrorKind::NotFound.number(), "{}", refused.message);
}

async fn each_goes_its_own_way(mut config: Config) {
    config.max_topic_groups = GROUPS as usize;
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&["1", "2", "3"].map(event))).await;
    create_all(&mut peer).await;
    for (subscription, group) in [(1, 1), (2, GROUPS)] {
        peer.subscribe(earliest(subscription, "t", &name(group))).await;
        assert_eq!(peer.deliveries(3).await.iter().map(|r| r.events.count()).sum::<u32>(), 3);
    }
    assert_eq!(peer.settle(2, 1, 2, SettleKind::Ack).await, [(1, 2, 0)]);
    let groups = pages(&mut peer).await.concat();
    assert_eq!(groups.len() as u64, GROUPS);
    let lag = |n: u64| groups.iter().find(|g| g.name == name(n)).map(|g| g.lag);
    assert_eq!([lag(1), lag(5000), lag(GROUPS)], [Some(3), Some(3), Some(1)]);
    one_is_asked_for(&mut peer).await;
}

#[tokio::test]
async fn ten_thousand_groups_of_a_memory_topic_each_go_their_own_way() {
    each_goes_its_own_way(memory()).await;
}

#[tokio::test]
async fn ten_thousand_groups_of_a_logged_topic_each_go_their_own_way() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = memory();
    (config.memory, config.data_dir) = (false, folder.path().to_owned());
    each_goes_its_own_way(config).await;
}

/// A broadcast group of ten thousand durable members does not fit an answer either.
#[tokio::test]
async fn durable_members_are_listed_page_by_page_and_every_answer_with_them_is_bounded() {
    let mut config = memory();
    (config.max_groups, config.max_topic_groups) = (GROUPS as usize + 1, GROUPS as usize + 1);
    let rig = Rig::with(config, Arc::new(AllowAll)).await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&["1", "2", "3"].map(event))).await;
    let settings = admin::GroupSettings { mode: Some(admin::GroupMode::Broadcast.into()), ..Default::default() };
    let mut last = admin::GroupSummary::default();
    for first in (1..=GROUPS).step_by(TOGETHER as usize) {
        for n in first..first + TOGETHER {
            let (topic, group) = ("t".into(), format!("all/{}", name(n)));
            let create = admin::CreateGroup { topic, group, settings: Some(settings), ..admin::CreateGroup::default() };
            send(&mut peer, n, command::Command::CreateGroup(create)).await;
        }
        for _ in 0..TOGETHER {
            assert!(matches!(answered(&mut peer).await, Some(answer::Answer::Group(_))));
        }
    }
    let get = admin::GetGroup { topic: "t".into(), group: "all".into() };
    send(&mut peer, GROUPS + 1, command::Command::GetGroup(get)).await;
    if let Some(answer::Answer::Group(group)) = answered(&mut peer).await {
        assert!(group.encoded_len() <= 256 << 10 && !group.members_next.is_empty());
        last = group;
    }
    let mut members = Vec::new();
    for page in pages(&mut peer).await {
        assert_eq!(page.len(), 1, "it is one group on every page");
        let group = &page[0];
        assert_eq!((group.lag, group.settled_through), (last.lag, last.settled_through));
        members.extend(group.durable_members.iter().map(|member| member.name.clone()));
    }
    let mut all: Vec<String> = (1..=GROUPS).map(name).collect();
    all.sort();
    assert_eq!(members, all);
    // A page can begin behind a member, and then with other groups.
    assert_eq!(members[..last.durable_members.len()].last(), last.durable_members.last().map(|m| &m.name));
}

/// What is asked for with a made-up cursor is refused or answered, and nothing breaks.
#[tokio::test]
async fn a_cursor_that_is_none_is_refused_and_one_behind_all_ends_the_list() {
    let rig = Rig::start().await;
    let mut peer = rig.session().await;
    peer.publish("t", run_of(&[event("1")])).await;
    for (cursor, topic, code, count) in [
        ("t/", "", ErrorKind::Invalid.number(), 0),
        ("t/g/m/x", "", ErrorKind::Invalid.number(), 0),
        ("t/g/m", "", 0, 1),
        ("t/zzz", "", 0, 1),
        ("t", "", 0, 0),
        ("a/g", "", 0, 1),
        ("", "t", 0, 1),
        ("", "none", 0, 0),
        ("", "not a name", 0, 0),
    ] {
        let list = admin::ListTopics { cursor: cursor.into(), topic: topic.into(), ..admin::ListTopics::default() };
        send(&mut peer, 1, command::Command::ListTopics(list)).await;
        let answer = peer.find(|f| if let ServerFrame::Admin(a) = f { Some(a) } else { None }).await;
        assert_eq!(answer.code, code, "{cursor:?}: {}", answer.message);
        if code == 0 {
            let Some(answer::Answer::Topics(list)) = admin::Answer::decode(answer.answer).unwrap().answer else {
                panic!("a list")
            };
            assert_eq!((list.topics.len(), list.next.as_str()), (count, ""), "{cursor:?} {topic:?}");
        }
    }
}
