//! `/metrics`: what the gateway counts, and what it has, as OpenMetrics text. docs/metrics.md lists all of it.
//!
//! However many topics there are, the answer is bounded: the first [`MOST_TOPICS`] topics and [`MOST_GROUPS`] groups in
//! the order of their names have samples of their own, the others are summed up under a name that no topic can have.

mod text;

use axum::Extension;
use axum::extract::Request;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse as _, Response};
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{GroupSummary, ListTopics, Topic};

use super::admin::carry_out;
use super::query::Query;
use super::{Door, Problem};
use crate::mesh::{Lost, Mesh, Spoken};
use text::{Kind, family};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const MOST_TOPICS: usize = 1000;
const MOST_GROUPS: usize = 1000;

/// Topics of a page of the listing.
const PAGE: u32 = 1000;

/// Stands for all topics and groups that have no samples of their own.
const OTHER: &str = "(other)";

/// What is told of topics.
type OfTopic = (&'static str, Kind, &'static str, fn(&Topic) -> u64);
/// What is told of groups.
type OfGroup = (&'static str, Kind, &'static str, fn(&GroupSummary) -> u64);

const TOPICS: [OfTopic; 5] = [
    (
        "meshwire_topic_stored_events",
        Kind::Counter,
        "Events that were given a place in the topic, since it was made.",
        |t| t.next_position.saturating_sub(1),
    ),
    ("meshwire_topic_events", Kind::Gauge, "Events that can be read.", |t| {
        t.next_position.saturating_sub(t.first_position)
    }),
    ("meshwire_topic_bytes", Kind::Gauge, "Bytes of events that can be read.", |t| t.bytes),
    ("meshwire_topic_delayed_events", Kind::Gauge, "Events that wait for the time they are delivered at.", |t| {
        t.delayed
    }),
    ("meshwire_topic_overtaken_events", Kind::Counter, "Events that retention took before a group had them.", |t| {
        t.overtaken
    }),
];

const GROUPS: [OfGroup; 6] = [
    ("meshwire_group_lag_events", Kind::Gauge, "Events that are not settled, those in flight among them.", |g| g.lag),
    ("meshwire_group_unsettled_deliveries", Kind::Gauge, "Deliveries that are with members and not settled.", |g| {
        g.in_flight
    }),
    ("meshwire_group_failing_events", Kind::Gauge, "Events that have failed and are not settled.", |g| g.failing),
    ("meshwire_group_dead_letters", Kind::Gauge, "Dead letters.", |g| g.dead_letters),
    ("meshwire_group_expired_events", Kind::Counter, "Events that expired before the group was done with them.", |g| {
        g.expired
    }),
    ("meshwire_group_members", Kind::Gauge, "Members that are connected.", |g| u64::from(g.members)),
];

pub(super) async fn metrics(Extension(door): Extension<Door>, request: Request) -> Result<Response, Problem> {
    Query::read(request.uri(), &[])?;
    let listed = Listed::of(&door).await?;
    let mut text = String::new();
    work(&mut text, door.native.mesh());
    let unwritable =
        ("meshwire_unwritable_events", Kind::Counter, "Events that have no form in the format of who was to get them.");
    family(&mut text, unwritable).sample(&[], door.calls.unwritable());
    bounds(&mut text, door.native.mesh(), door.native.receiving.used());
    listed.write(&mut text);
    text.push_str("# EOF\n");
    Ok(([(CONTENT_TYPE, OPEN_METRICS)], text).into_response())
}

/// What was done since the start.
fn work(text: &mut String, mesh: &Mesh) {
    let counts = mesh.counts();
    let build = ("meshwire_build", Kind::Gauge, "1, with the version of the gateway.");
    family(text, build).sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks() as u64;
    family(text, ("meshwire_tasks", Kind::Gauge, "Tasks that run: a few, and one or more a connection."))
        .sample(&[], tasks);
    let mut open = family(text, ("meshwire_connections", Kind::Gauge, "Connections that are open."));
    for spoken in Spoken::ALL {
        open.sample(&[("protocol", spoken.name())], counts.connections(spoken).0);
    }
    let mut begun =
        family(text, ("meshwire_connections_opened", Kind::Counter, "Connections whose protocol was known."));
    for spoken in Spoken::ALL {
        begun.sample(&[("protocol", spoken.name())], counts.connections(spoken).1);
    }
    let lost = ("meshwire_connections_lost", Kind::Counter, "Connections that ended before they were of use, by why.");
    let mut lost = family(text, lost);
    for why in Lost::ALL {
        lost.sample(&[("why", why.name())], counts.losses(why));
    }
    let ([new, duplicate, refused], bytes) = counts.publishes();
    family(text, ("meshwire_published_events", Kind::Counter, "Events that were published, by what became of them."))
        .sample(&[("result", "new")], new)
        .sample(&[("result", "duplicate")], duplicate)
        .sample(&[("result", "refused")], refused);
    family(
        text,
        ("meshwire_published_bytes", Kind::Counter, "Bytes of events that were published, whatever became of them."),
    )
    .sample(&[], bytes);
    let (events, bytes) = counts.deliveries();
    family(text, ("meshwire_deliveries", Kind::Counter, "Events handed to subscriptions.")).sample(&[], events);
    family(text, ("meshwire_delivered_bytes", Kind::Counter, "Their bytes.")).sample(&[], bytes);
    let settles = (
        "meshwire_settled_deliveries",
        Kind::Counter,
        "Deliveries of groups that consumers settled, by how; lost: refused, as when the lease was gone.",
    );
    let mut settled = family(text, settles);
    for (how, count) in counts.settles() {
        settled.sample(&[("how", how)], count);
    }
    let mut errors = family(text, ("meshwire_errors", Kind::Counter, "Errors that clients were told, by code."));
    for kind in ErrorKind::ALL {
        errors.sample(&[("code", kind.code())], counts.errors(*kind));
    }
    let failures = (
        "meshwire_tls_reload_failures",
        Kind::Counter,
        "Times that files of TLS were read again and could not be used.",
    );
    family(text, failures).sample(&[], counts.tls_failures());
    syncs(text, mesh);
}

fn syncs(text: &mut String, mesh: &Mesh) {
    let Some(times) = mesh.sync_times() else { return };
    let seconds = |micros: u64| std::time::Duration::from_micros(micros).as_secs_f64();
    let mut syncs = family(text, ("meshwire_log_sync_seconds", Kind::Histogram, "How long syncs of the log took."));
    for (most, count) in times.within {
        syncs.line("_bucket", &[("le", &format!("{:?}", seconds(most)))], count);
    }
    syncs.line("_bucket", &[("le", "+Inf")], times.count).line("_count", &[], times.count);
    syncs.line("_sum", &[], seconds(times.micros));
}

/// What is bounded, and how full it is.
fn bounds(text: &mut String, mesh: &Mesh, receiving: (u64, u64)) {
    let budgets = mesh.budgets();
    let used = (
        "meshwire_memory_used_bytes",
        Kind::Gauge,
        "Bytes that wait: to be kept, to be taken as deliveries, or as answers, or for the rest of their frame or body.",
    );
    let mut used = family(text, used);
    for budget in &budgets {
        used.sample(&[("of", budget.of)], budget.used);
    }
    used.sample(&[("of", "receiving")], receiving.0);
    let mut most = family(text, ("meshwire_memory_limit_bytes", Kind::Gauge, "How many bytes may wait so."));
    for budget in &budgets {
        most.sample(&[("of", budget.of)], budget.most);
    }
    most.sample(&[("of", "receiving")], receiving.1);
    let population = mesh.population();
    let mut there = family(text, ("meshwire_objects", Kind::Gauge, "Topics and groups that there are."));
    for of in &population {
        there.sample(&[("of", of.of)], of.used);
    }
    let mut may = family(text, ("meshwire_objects_limit", Kind::Gauge, "How many there may be."));
    for of in &population {
        may.sample(&[("of", of.of)], of.most);
    }
}

/// Topics and groups with samples of their own, and the sums of the others.
#[derive(Default)]
struct Listed {
    topics: Vec<(String, [u64; TOPICS.len()])>,
    groups: Vec<(String, String, [u64; GROUPS.len()])>,
    other_topics: Option<[u64; TOPICS.len()]>,
    other_groups: Option<[u64; GROUPS.len()]>,
    /// What was added last: a page that ended within it is followed by one that begins with it.
    last: (String, String),
}

fn add<const N: usize>(sum: &mut Option<[u64; N]>, values: [u64; N]) {
    let sum = sum.get_or_insert([0; N]);
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum = sum.saturating_add(value));
}

impl Listed {
    async fn of(door: &Door) -> Result<Self, Problem> {
        let (mut listed, mut cursor) = (Self::default(), String::new());
        loop {
            let list = ListTopics { cursor, limit: PAGE, topic: String::new() };
            let Answer::Topics(page) = carry_out(door, Command::ListTopics(list)).await? else {
                return Err(Problem::new(ErrorKind::Internal, "another answer than a list"));
            };
            page.topics.iter().for_each(|topic| listed.add(topic));
            cursor = page.next;
            if cursor.is_empty() {
                return Ok(listed);
            }
            // However many topics there are, others have their turn.
            tokio::task::yield_now().await;
        }
    }

    fn add(&mut self, topic: &Topic) {
        if self.last.0 != topic.name {
            self.last = (topic.name.clone(), String::new());
            let values = TOPICS.map(|(_, _, _, value)| value(topic));
            if self.topics.len() < MOST_TOPICS {
                self.topics.push((topic.name.clone(), values));
            } else {
                add(&mut self.other_topics, values);
            }
        }
        for group in &topic.groups {
            if self.last.1 == group.name {
                continue;
            }
            self.last.1.clone_from(&group.name);
            let values = GROUPS.map(|(_, _, _, value)| value(group));
            if self.groups.len() < MOST_GROUPS {
                self.groups.push((topic.name.clone(), group.name.clone(), values));
            } else {
                add(&mut self.other_groups, values);
            }
        }
    }

    fn write(&self, text: &mut String) {
        for (place, (name, kind, help, _)) in TOPICS.into_iter().enumerate() {
            let mut family = family(text, (name, kind, help));
            let other = self.other_topics.iter().map(|values| (OTHER, values));
            for (topic, values) in self.topics.iter().map(|(topic, values)| (&**topic, values)).chain(other) {
                family.sample(&[("topic", topic)], values.get(place).copied().unwrap_or_default());
            }
        }
        for (place, (name, kind, help, _)) in GROUPS.into_iter().enumerate() {
            let mut family = family(text, (name, kind, help));
            let other = self.other_groups.iter().map(|values| (OTHER, OTHER, values));
            let own = self.groups.iter().map(|(topic, group, values)| (&**topic, &**group, values));
            for (topic, group, values) in own.chain(other) {
                let labels = [("topic", topic), ("group", group)];
                family.sample(&labels, values.get(place).copied().unwrap_or_default());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_topics_and_groups_there_are_the_samples_are_bounded_and_the_rest_is_summed_up() {
        let mut listed = Listed::default();
        for n in 0..MOST_TOPICS + 10 {
            let group = GroupSummary { name: "g".to_owned(), lag: 3, ..GroupSummary::default() };
            let topic = Topic {
                name: format!("t{n:05}"),
                next_position: 5,
                first_position: 1,
                groups: vec![group],
                ..Topic::default()
            };
            listed.add(&topic);
            // The next page of the same.
            listed.add(&topic);
        }
        let mut text = String::new();
        listed.write(&mut text);
        let samples = |name: &str| text.lines().filter(|line| line.starts_with(name)).count();
        assert_eq!(samples("meshwire_topic_events{"), MOST_TOPICS + 1);
        assert_eq!(samples("meshwire_group_lag_events{"), MOST_GROUPS + 1);
        assert!(text.contains("meshwire_topic_events{topic=\"(other)\"} 40\n"));
        assert!(text.contains("meshwire_group_lag_events{topic=\"(other)\",group=\"(other)\"} 30\n"), "{text}");
    }
}
