//! Administration as calls: topics, groups and dead letters, one by one and in pages.

use meshwire_proto::ErrorKind;
use meshwire_proto::wire::{admin, mesh as wire};
use tonic::{Code, Status};

use super::{Stub, is, publishing, subscribing};
use crate::rig::{Rig, event};

const SERVICE: &str = "/meshwire.v1.Admin";

macro_rules! call {
    ($stub:expr, $name:ident { $($field:ident: $value:expr),* } -> $answer:ident) => {{
        #[allow(clippy::needless_update, reason = "some have no other fields")]
        let message = admin::$name { $($field: $value,)* ..Default::default() };
        let answered: Result<admin::$answer, Status> = $stub.call(&format!("{SERVICE}/{}", stringify!($name)), message).await;
        answered
    }};
}

fn t() -> String {
    "t".to_owned()
}

fn g() -> String {
    "g".to_owned()
}

/// A topic with two dead letters of group `g`, the first of them event `1`.
async fn furnished() -> (Rig, Stub) {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    for id in ["1", "2"] {
        stub.publish(publishing("t", id)).await.unwrap();
    }
    let mut stream = stub.subscribe(subscribing("t", "g")).await.unwrap();
    let mut settlements = Vec::new();
    while settlements.len() < 2 {
        let batch = stream.message().await.unwrap().unwrap().deliveries;
        let reject = |delivery: wire::Delivery| wire::Settlement {
            lease: delivery.lease,
            r#as: wire::SettleAs::Reject.into(),
            reason: "no".into(),
            ..wire::Settlement::default()
        };
        settlements.extend(batch.into_iter().map(reject));
    }
    let settle = wire::SettleRequest { topic: t(), group: g(), settlements, confirm: true };
    assert!(stub.settle(settle).await.unwrap().results.iter().all(|result| result.error.is_none()));
    (rig, stub)
}

#[tokio::test]
async fn one_topic_is_listed_by_its_name_with_its_groups_and_one_that_is_not_there_is_none() {
    let (_rig, stub) = furnished().await;
    call!(stub, CreateTopic { name: "other".into() } -> Topic).unwrap();
    call!(stub, CreateGroup { topic: t(), group: "late".into(), start: 2 } -> GroupSummary).unwrap();
    let list = call!(stub, ListTopics { topic: t() } -> TopicList).unwrap();
    let [topic] = &list.topics[..] else { panic!("{list:?}") };
    let groups: Vec<_> =
        topic.groups.iter().map(|group| (group.name.as_str(), group.lag, group.dead_letters)).collect();
    assert_eq!((topic.next_position, groups), (3, vec![("g", 0, 2), ("late", 1, 0)]));
    assert_eq!(call!(stub, ListTopics { topic: "none".into() } -> TopicList).unwrap().topics, []);
    // In pages, each goes on behind the one before.
    let first = call!(stub, ListTopics { limit: 1 } -> TopicList).unwrap();
    let second = call!(stub, ListTopics { limit: 1, cursor: first.next } -> TopicList).unwrap();
    let names = [&first.topics, &second.topics].map(|topics| topics[0].name.as_str());
    assert_eq!((names, second.next.as_str()), (["other", "t"], ""));
}

#[tokio::test]
async fn a_group_is_changed_moved_and_deleted() {
    let (_rig, stub) = furnished().await;
    let settings = Some(admin::GroupSettings { max_rate: Some(7), ..admin::GroupSettings::default() });
    let changed = call!(stub, UpdateGroup { topic: t(), group: g(), settings: settings } -> GroupSummary).unwrap();
    assert_eq!(changed.settings.unwrap().max_rate, Some(7));
    let moved = call!(stub, SeekGroup { topic: t(), group: g(), to: 1 } -> GroupSummary).unwrap();
    assert_eq!((moved.lag, moved.settled_through), (2, 0));
    assert_eq!(call!(stub, GetGroup { topic: t(), group: g() } -> GroupSummary).unwrap().lag, 2);
    let kept = call!(stub, UpdateTopic { name: t(), retention_ms: 60_000 } -> Topic).unwrap();
    assert_eq!(kept.retention_ms, 60_000);
    call!(stub, DeleteGroup { topic: t(), group: g() } -> GroupSummary).unwrap();
    let gone = call!(stub, GetGroup { topic: t(), group: g() } -> GroupSummary).unwrap_err();
    is(&gone, Code::NotFound, ErrorKind::NotFound);
}

#[tokio::test]
async fn dead_letters_are_listed_given_back_and_removed() {
    let (_rig, stub) = furnished().await;
    let page = call!(stub, ListDeadLetters { topic: t(), group: g(), limit: 1 } -> DeadLetterList).unwrap();
    let [letter] = &page.letters[..] else { panic!("{page:?}") };
    let told = (letter.position, letter.reason(), letter.error.as_str(), letter.event.len());
    assert_eq!(told, (1, admin::DeathReason::Rejected, "no", 0));
    let rest = call!(stub, ListDeadLetters { topic: t(), after: page.next } -> DeadLetterList).unwrap();
    assert_eq!((rest.letters.len(), rest.letters[0].position, rest.next), (1, 2, 0));
    // One of them, with its event.
    let numbers = || vec![letter.number];
    let one = call!(stub, ListDeadLetters { topic: t(), numbers: numbers(), events: true } -> DeadLetterList).unwrap();
    assert_eq!(one.letters[0].event, event("1").encode().unwrap());

    let back = call!(stub, RedriveDeadLetters { topic: t(), group: g(), numbers: numbers() } -> DeadLettersChanged);
    assert_eq!(back.unwrap().count, 1);
    let mut stream = stub.subscribe(subscribing("t", "g")).await.unwrap();
    let again = stream.message().await.unwrap().unwrap().deliveries.remove(0);
    assert_eq!((again.position, again.event), (1, event("1").encode().unwrap()));
    let ack = wire::Settlement { lease: again.lease, r#as: wire::SettleAs::Ack.into(), ..wire::Settlement::default() };
    let settle = wire::SettleRequest { topic: t(), group: g(), settlements: vec![ack], confirm: true };
    assert_eq!(stub.settle(settle).await.unwrap().results[0].error, None);

    let left = call!(stub, PurgeDeadLetters { topic: t(), group: g() } -> DeadLettersChanged).unwrap();
    assert_eq!((left.count, left.next), (1, 0), "the other one was acked and is gone");
    let list = call!(stub, ListDeadLetters { topic: t() } -> DeadLetterList).unwrap();
    assert_eq!((list.letters, list.next), (vec![], 0));
}

#[tokio::test]
async fn what_is_not_there_is_told_by_each_call() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let none = || "none".to_owned();
    for status in [
        call!(stub, ListDeadLetters { topic: none() } -> DeadLetterList).unwrap_err(),
        call!(stub, RedriveDeadLetters { topic: none() } -> DeadLettersChanged).unwrap_err(),
        call!(stub, PurgeDeadLetters { topic: none() } -> DeadLettersChanged).unwrap_err(),
        call!(stub, GetGroup { topic: none(), group: g() } -> GroupSummary).unwrap_err(),
        call!(stub, UpdateTopic { name: none(), retention_ms: 1000 } -> Topic).unwrap_err(),
        call!(stub, DeleteTopic { name: none() } -> Topic).unwrap_err(),
    ] {
        is(&status, Code::NotFound, ErrorKind::TopicNotFound);
    }
}

#[tokio::test]
async fn limits_are_read_and_set() {
    let rig = Rig::start().await;
    let stub = Stub::of(&rig).await;
    let limits = Some(admin::Limits { deliver_rate: Some(1234), ..admin::Limits::default() });
    call!(stub, SetLimits { limits: limits } -> LimitsInForce).unwrap();
    let now = call!(stub, GetLimits {} -> LimitsInForce).unwrap();
    assert_eq!(now.limits.unwrap().deliver_rate, Some(1234));
}
