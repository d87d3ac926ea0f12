//! Bad input, and who shows what becomes of it. Each line of the table names a test, or a
//! case of a table; one that is gone fails here.

use std::path::Path;
use std::time::Duration;

use meshwire::{Delivery, ErrorKind, Event, GroupSettings, Mesh, TopicSettings};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::program::Gateway;

const TABLE: &str = "simulation/src/acceptance/redelivery.rs";
const SETTLES: &str = "gateway/tests/it/subscribe.rs";
const RETRIES: &str = "gateway/src/engine/tests/retry.rs";
const HANDLERS: &str = "core-client/tests/it/consume.rs";
const REQUESTS: &str = "gateway/tests/it/requests.rs";
const HERE: &str = "cli/tests/it/bad_input.rs";

/// What is done, the file, and the name of the test or case in it.
#[rustfmt::skip]
const SHOWN: &[(&str, &str, &str)] = &[
    ("settling what was never leased", SETTLES, "settling_what_was_never_leased_or_twice_in_two_ways_answers_lease_lost"),
    ("settling twice", TABLE, "the first settlement wins, and the same again is good"),
    ("settling from another caller", SETTLES, "a_settle_from_another_caller_is_lost_and_changes_nothing"),
    ("extending for ever", RETRIES, "extending_for_ever_ends_after_twelve_hours"),
    ("a handler that panics", HANDLERS, "a_handlers_return_acks_and_its_error_or_panic_nacks"),
    ("a handler that hangs", HANDLERS, "a_handler_that_hangs_keeps_its_event_for_ten_waits_and_is_then_dropped_and_the_next_one_begins"),
    ("an answer after the lease", TABLE, "an ack after somebody else got the event is lost"),
    ("a group that changes its settings", HERE, "a_group_that_changes_its_settings_does_so_by_command_alone"),
    ("a member that joins and leaves", TABLE, "who joins and leaves at once disturbs nobody"),
    ("10,000 groups on a topic", HERE, "ten_thousand_groups_on_a_topic_are_made_listed_and_served"),
    ("a poison event among 255 good ones", TABLE, "a poison event does not take its neighbours with it"),
    ("the same, handled by a client", "conformance-tests/cases/settle/poison-among-good.toml",
        "an event that always fails holds up none of the others"),
    ("a dead letter topic that has no room", TABLE, "a full disk keeps a dead letter waiting, and it is made once there is room"),
    ("a dead letter that fails itself", TABLE, "a dead letter that is given back has all its attempts again, and is one letter when it fails again"),
    ("a request nobody serves", REQUESTS, "without_a_responder_the_answer_comes_at_once_and_no_topic_is_made"),
    ("a responder that dies in the middle of a stream", REQUESTS,
        "a_responder_that_dies_in_the_middle_of_a_stream_is_told_and_nobody_else_is_asked"),
    ("a seek beyond the end", TABLE, "a seek beyond the end passes over what is there and holds nobody up"),
    ("a seek before the start", TABLE, "a seek before the start begins with the first event"),
    ("a clock that jumps forward", TABLE, "a wall clock that jumps forward changes no wait and ends no lease"),
    ("a clock that jumps back", TABLE, "a wall clock that jumps back changes no wait and ends no lease"),
    ("a clock that jumps over a restart", TABLE, "over a restart with a clock set back a wait is not longer than it was"),
];

#[test]
fn every_bad_input_of_the_list_is_shown_by_a_test() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for (what, file, words) in SHOWN {
        let text = std::fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{what}: {file}: {e}"));
        assert!(has(file, &text, words), "{what}: nothing in {file} is called {words}");
    }
}

/// Whether a file has a test or case of exactly this name: a test stands as a function behind its attribute, a case of
/// a table in Rust as a line of its own, and one of the conformance suite as the name of its file.
fn has(file: &str, text: &str, name: &str) -> bool {
    let line = |wanted: &str| text.lines().any(|line| line.trim() == wanted);
    if file.ends_with(".toml") {
        return line(&format!("name = \"{name}\""));
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let is_test = |pair: &[&str]| {
        let function = pair[1].strip_prefix("async ").unwrap_or(pair[1]);
        (pair[0] == "#[test]" || pair[0].starts_with("#[tokio::test"))
            && function
                .strip_prefix("fn ")
                .and_then(|rest| rest.split_once('('))
                .is_some_and(|(found, _)| found == name)
    };
    lines.windows(2).any(is_test) || (file == TABLE && line(&format!("\"{name}\",")))
}

#[test]
fn a_word_of_a_case_or_a_test_that_is_none_is_not_taken_for_one() {
    assert!(has("a.toml", "name = \"one of many\"\n", "one of many"));
    assert!(!has("a.toml", "name = \"one of many\"\n", "many"));
    assert!(has("a.rs", "#[test]\nfn it_holds() {", "it_holds"));
    assert!(!has("a.rs", "fn it_holds() {", "it_holds"), "a helper shows nothing");
    assert!(!has("a.rs", "    \"it holds\",\n", "it holds"), "only the table has cases");
    assert!(has(TABLE, "    \"it holds\",\n", "it holds"));
}

async fn connect(gateway: &Gateway) -> Mesh {
    meshwire::connect(&gateway.url).await.unwrap()
}

#[tokio::test]
async fn a_group_that_changes_its_settings_does_so_by_command_alone() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Gateway::on(directory.path());
    let mesh = connect(&gateway).await;
    let waits = |seconds| GroupSettings::new().ack_wait(Duration::from_secs(seconds));
    let mut first = mesh.subscribe("work").group("g").settings(waits(20)).await.unwrap();
    mesh.publish("work", Event::text("work", "1").id("1").source("/s")).await.unwrap();
    let held: Delivery = first.try_next().await.unwrap().unwrap();
    let error = mesh.subscribe("work").group("g").settings(waits(40)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GroupConflict);
    assert!(error.message().contains("ack_wait"), "{error}");
    mesh.groups("work").update("g", waits(40)).await.unwrap();
    let error = mesh.subscribe("work").group("g").settings(waits(20)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::GroupConflict, "what it was is another one now");
    let second = mesh.subscribe("work").group("g").settings(waits(40)).await.unwrap();
    held.ack_confirmed().await.unwrap();
    assert_eq!(mesh.groups("work").list().await.unwrap()[0].members, 2);
    drop(second);
}

#[tokio::test]
async fn ten_thousand_groups_on_a_topic_are_made_listed_and_served() {
    const GROUPS: usize = 10_000;
    let gateway = Gateway::with(&["--memory", "--max-groups", "20000", "--max-topic-groups", "10000"]);
    let mesh = connect(&gateway).await;
    mesh.publish("work", Event::text("work", "1").id("1").source("/s")).await.unwrap();
    let groups = mesh.groups("work");
    for first in (0..GROUPS).step_by(200) {
        let mut some = JoinSet::new();
        for n in first..first + 200 {
            let mesh = mesh.clone();
            some.spawn(async move { mesh.groups("work").create(&longest(n), GroupSettings::new(), None).await });
        }
        assert!(some.join_all().await.iter().all(Result::is_ok));
    }
    let one_more = groups.create("one-more", GroupSettings::new(), None).await.unwrap_err();
    assert_eq!(one_more.kind(), ErrorKind::TooLarge);
    assert!(one_more.message().contains("max_topic_groups"), "{one_more}");
    mesh.publish("work", Event::text("work", "2").id("2").source("/s")).await.unwrap();
    let mut work = mesh.subscribe("work").group(longest(9999)).await.unwrap();
    for id in ["1", "2"] {
        let next = timeout(Duration::from_secs(20), work.try_next()).await.expect("its event comes");
        let delivery = next.unwrap().unwrap();
        assert_eq!(delivery.id(), id);
        delivery.ack_confirmed().await.unwrap();
    }
    let listed = groups.list().await.unwrap();
    assert_eq!(listed.len(), GROUPS);
    let lags = |lag| listed.iter().filter(|group| group.lag == lag).count();
    assert_eq!((lags(0), lags(2)), (1, GROUPS - 1));
    // So are they where they are named beside it, and by the command line.
    let updated = mesh.topics().update("work", TopicSettings::new()).await.unwrap();
    assert_eq!(
        updated.groups.iter().map(|g| &g.name).collect::<Vec<_>>(),
        listed.iter().map(|g| &g.name).collect::<Vec<_>>()
    );
    assert_eq!(gateway.run(&["groups", "list", "work", "--json"]).lines().len(), GROUPS);
    assert_eq!(mesh.topics().list().await.unwrap()[0].groups.len(), GROUPS);
}

/// The longest name that there may be.
fn longest(n: usize) -> String {
    format!("{:-<120}", format!("g{n}"))
}

#[tokio::test]
async fn a_broadcast_group_with_more_members_than_an_answer_holds_is_whole() {
    const MEMBERS: usize = 3000;
    let gateway = Gateway::with(&["--memory", "--max-topic-groups", "10000"]);
    let mesh = connect(&gateway).await;
    mesh.publish("work", Event::text("work", "1").id("1").source("/s")).await.unwrap();
    let groups = mesh.groups("work");
    for first in (0..MEMBERS).step_by(200) {
        let mut some = JoinSet::new();
        for n in first..first + 200 {
            let (mesh, name) = (mesh.clone(), format!("all/{}", longest(n)));
            let settings = GroupSettings::new().broadcast();
            some.spawn(async move { mesh.groups("work").create(&name, settings, None).await });
        }
        assert!(some.join_all().await.iter().all(Result::is_ok));
    }
    groups.create("behind", GroupSettings::new(), None).await.unwrap();
    let group = groups.get("all").await.unwrap();
    assert_eq!(group.durable_members.len(), MEMBERS);
    let listed = groups.list().await.unwrap();
    assert_eq!(
        listed.iter().map(|g| (&*g.name, g.durable_members.len())).collect::<Vec<_>>(),
        [("all", MEMBERS), ("behind", 0)]
    );
    assert_eq!(listed[0].durable_members, group.durable_members);
}
