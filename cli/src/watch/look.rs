//! What two looks at the gateway say.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire::{Group, Topic, TopicRequests};
use serde::Serialize;
use tokio::time::Instant;

use crate::short;
use crate::shown;
use crate::table::Table;

/// What there was at a moment.
pub(super) struct Look {
    pub(super) at: Instant,
    pub(super) topics: Vec<Topic>,
}

/// Columns of the table.
pub(super) const HEAD: [&str; 9] = ["topic", "events", "in/s", "out/s", "lag", "flight", "fail", "oldest", "dead"];

pub(super) type Row = [String; HEAD.len()];

/// Counts that rise, of topics and of groups in topics. What is gone and made again
/// counts from 0, and one may be moved back: then there is no rate.
#[derive(Default)]
struct Rising<'a> {
    counts: BTreeMap<(&'a str, Option<&'a str>), u64>,
    span: Duration,
}

/// How many events of a topic a group has settled. What retention took before it was told is neither that nor lag.
const fn settled(topic: &Topic, group: &Group) -> u64 {
    let lost = topic.first.number().saturating_sub(1).saturating_sub(group.settled_through.number());
    topic.next.number().saturating_sub(group.lag).saturating_sub(lost)
}

impl<'a> Rising<'a> {
    fn of(before: Option<&'a Look>, now: &Look) -> Self {
        let Some(before) = before else {
            return Self::default();
        };
        let mut counts = BTreeMap::new();
        for topic in &before.topics {
            counts.insert((topic.name.as_str(), None), published(topic));
            let groups = topic.groups.iter();
            counts
                .extend(groups.map(|group| ((topic.name.as_str(), Some(group.name.as_str())), settled(topic, group))));
        }
        Self { counts, span: now.at - before.at }
    }

    fn rate(&self, topic: &str, group: Option<&str>, now: u64) -> Option<f64> {
        let before = self.counts.get(&(topic, group))?;
        rate(*before, now, self.span)
    }
}

/// A second's part of what came in a span.
fn rate(before: u64, now: u64, span: Duration) -> Option<f64> {
    let came = now.checked_sub(before)?;
    (!span.is_zero()).then(|| came as f64 / span.as_secs_f64())
}

/// Events of a topic; of one that is only served, requests.
fn published(topic: &Topic) -> u64 {
    match &topic.requests {
        Some(requests) if topic.next.number() == 0 => requests.requests,
        _ => topic.next.number(),
    }
}

fn shown_rate(rate: Option<f64>) -> String {
    rate.map_or_else(|| "-".to_owned(), short::rate)
}

/// The rows of a table: each topic, below it who serves it and its groups.
pub(super) fn rows(before: Option<&Look>, now: &Look) -> Vec<Row> {
    let rising = Rising::of(before, now);
    let mut rows = Vec::new();
    for topic in &now.topics {
        let mut row = Row::default();
        let events = topic.next.number().saturating_sub(topic.first.number());
        let came = rising.rate(&topic.name, None, published(topic));
        let [name, total, rate, ..] = &mut row;
        (*name, *total, *rate) = (topic.name.clone(), short::count(events), shown_rate(came));
        rows.push(row);
        if let Some(requests) = &topic.requests {
            let mut row = Row::default();
            let [name, .., open, _, _, _] = &mut row;
            *name = format!("  {} serve, {} late replies", requests.members, short::count(requests.late_replies));
            *open = short::count(requests.open);
            rows.push(row);
        }
        for group in &topic.groups {
            let out = rising.rate(&topic.name, Some(&group.name), settled(topic, group));
            rows.push([
                format!("  {} ({})", shown::name(group), group.members),
                String::new(),
                String::new(),
                shown_rate(out),
                short::count(group.lag),
                short::count(group.in_flight),
                short::count(group.failing),
                shown::oldest(group),
                short::count(group.dead_letters),
            ]);
            for member in &group.durable_members {
                let mut row = Row::default();
                let [name, _, _, _, lag, flight, _, _, dead] = &mut row;
                *name = format!("    {}", shown::durable(member));
                (*lag, *flight) = (short::count(member.lag), short::count(member.in_flight));
                *dead = short::count(member.dead_letters);
                rows.push(row);
            }
        }
    }
    rows
}

pub(super) fn table(rows: &[Row]) -> Table<{ HEAD.len() }> {
    let mut table = Table::new(HEAD);
    rows.iter().for_each(|row| table.row(row.clone()));
    table
}

/// A look as it is printed with `--json`.
#[derive(Serialize)]
pub(super) struct LookLine<'a> {
    topics: Vec<TopicLine<'a>>,
}

#[derive(Serialize)]
struct TopicLine<'a> {
    name: &'a str,
    events: u64,
    /// `null` at the first look.
    published_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<TopicRequests>,
    groups: Vec<GroupLine<'a>>,
}

#[derive(Serialize)]
struct GroupLine<'a> {
    name: &'a str,
    members: u32,
    settled_per_second: Option<f64>,
    lag: u64,
    in_flight: u64,
    delayed: u64,
    failing: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    oldest_ms: Option<u64>,
    dead_letters: u64,
}

pub(super) fn json<'a>(before: Option<&Look>, now: &'a Look) -> LookLine<'a> {
    let rising = Rising::of(before, now);
    let group = |topic: &'a Topic, group: &'a Group| GroupLine {
        name: &group.name,
        members: group.members,
        settled_per_second: rising.rate(&topic.name, Some(&group.name), settled(topic, group)),
        lag: group.lag,
        in_flight: group.in_flight,
        delayed: group.delayed,
        failing: group.failing,
        oldest_ms: group.oldest.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX)),
        dead_letters: group.dead_letters,
    };
    let topic = |topic: &'a Topic| TopicLine {
        name: &topic.name,
        events: topic.next.number().saturating_sub(topic.first.number()),
        published_per_second: rising.rate(&topic.name, None, published(topic)),
        requests: topic.requests,
        groups: topic.groups.iter().map(|g| group(topic, g)).collect(),
    };
    LookLine { topics: now.topics.iter().map(topic).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_what_came_in_a_second_and_there_is_none_of_what_went_back() {
        let second = Duration::from_secs(1);
        assert_eq!(rate(10, 30, second * 2), Some(10.0));
        assert_eq!(rate(10, 10, second), Some(0.0));
        assert_eq!(rate(30, 10, second), None);
        assert_eq!(rate(10, 30, Duration::ZERO), None);
    }
}
