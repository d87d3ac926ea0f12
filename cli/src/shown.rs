//! Groups and requests as they are shown to people.

use std::fmt::Write as _;
use std::time::Duration;

use meshwire::{Group, GroupMode, Member, TopicRequests};
use meshwire_proto::counted;

use crate::config::show_duration;
use crate::groups::millis;
use crate::short;
use crate::table::Table;

/// The age of a group's oldest unsettled event.
pub(crate) fn oldest(group: &Group) -> String {
    match group.oldest {
        Some(age) => short::age(age),
        None if group.lag > 0 => "?".to_owned(),
        None => "-".to_owned(),
    }
}

/// A group's name, and that each member of it gets every event.
pub(crate) fn name(group: &Group) -> String {
    let kind = if group.settings.mode == Some(GroupMode::Broadcast) { " (broadcast)" } else { "" };
    format!("{}{kind}", group.name)
}

/// A durable member, and whether it is there.
pub(crate) fn durable(member: &Member) -> String {
    format!("member {}, {}", member.name, if member.connected { "connected" } else { "away" })
}

/// Groups of one topic, a row each; below a broadcast group its durable members.
pub(crate) fn table(groups: &[Group]) -> String {
    let head = ["group", "members", "in flight", "lag", "delayed", "failing", "oldest", "dead letters"];
    let mut table = Table::new(head);
    for group in groups {
        table.row([
            name(group),
            group.members.to_string(),
            group.in_flight.to_string(),
            group.lag.to_string(),
            group.delayed.to_string(),
            group.failing.to_string(),
            oldest(group),
            group.dead_letters.to_string(),
        ]);
        for member in &group.durable_members {
            table.row([
                format!("  {}", durable(member)),
                String::new(),
                member.in_flight.to_string(),
                member.lag.to_string(),
                member.delayed.to_string(),
                String::new(),
                String::new(),
                member.dead_letters.to_string(),
            ]);
        }
    }
    let mut text = String::new();
    for line in table.lines(usize::MAX) {
        text += &line;
        text.push('\n');
    }
    text
}

/// One group, a line for each thing to know.
pub(crate) fn page(topic: &str, group: &Group) -> String {
    let settings = &group.settings;
    let time = |duration: Option<Duration>| show_duration(millis(duration));
    let most = |number: Option<u32>| match number {
        None | Some(0) => "no limit".to_owned(),
        Some(number) => number.to_string(),
    };
    let never = |text: String, is_zero: bool| if is_zero { "never".to_owned() } else { text };
    let max_failures = settings.max_failures.unwrap_or_default();
    let lines = [
        ("settled through", group.settled_through.to_string()),
        ("members", group.members.to_string()),
        ("in flight", group.in_flight.to_string()),
        ("lag", format!("{} ({} delayed, {} failing)", group.lag, group.delayed, group.failing)),
        ("oldest", oldest(group)),
        ("dead letters", group.dead_letters.to_string()),
        ("expired", group.expired.to_string()),
        ("ack wait", time(settings.ack_wait)),
        ("given up after", never(counted(max_failures.into(), "failure").to_string(), max_failures == 0)),
        ("or when older than", never(time(settings.max_age), settings.max_age.unwrap_or_default().is_zero())),
        ("back-off", format!("{} to {}", time(settings.backoff_min), time(settings.backoff_max))),
        (
            "key after a dead letter",
            if settings.hold_after_dead_letter == Some(true) { "waits" } else { "goes on" }.to_owned(),
        ),
        ("order", if settings.strict_order == Some(true) { "strict" } else { "by key" }.to_owned()),
        ("most in flight", most(settings.max_in_flight)),
        ("most a second", most(settings.max_rate)),
    ];
    let mut text = format!("group {} of topic {topic}\n", name(group));
    for (name, value) in lines {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {name:<23}  {value}");
    }
    for member in &group.durable_members {
        let Member { settled_through, in_flight, lag, dead_letters, .. } = member;
        let _ = writeln!(
            text,
            "  {}: settled through {settled_through}, {in_flight} in flight, {lag} waiting, {}",
            durable(member),
            counted(*dead_letters, "dead letter")
        );
    }
    text
}

/// Requests to a topic, on one line.
pub(crate) fn requests(requests: &TopicRequests) -> String {
    let TopicRequests { members, open, requests, late_replies, .. } = requests;
    let late = if *late_replies == 1 { "late reply" } else { "late replies" };
    format!("requests: {members} serve, {open} open, {requests} taken, {late_replies} {late} dropped")
}
