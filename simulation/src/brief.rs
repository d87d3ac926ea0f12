//! Events that expire: published to a topic of their own, read by one group.

use std::time::Duration;

use meshwire::session::Session;
use meshwire_proto::frame::DeliverRun;
use meshwire_proto::{Event, Moment, Timing, TopicName, UnixMillis};

use crate::history::{History, Topic};
use crate::seen::{HELD_BACK, UNDER_WAY};

/// Ids from here on are of events that expire.
const FIRST: u32 = 1_000_000;

/// Half of them expire while the simulation runs, the others never do.
pub(crate) const NEVER: Duration = Duration::from_secs(3600);

/// Milliseconds that one commit gathers events at most, on a disk that is full for a while too.
const COMMIT: i64 = 3000;

/// An event that expires.
#[derive(Clone, Debug)]
pub(crate) struct Brief {
    pub(crate) expires_in: Duration,
    /// When it was answered as kept.
    pub(crate) acked: Option<Moment>,
    /// When it came to a program.
    pub(crate) delivered: Vec<Moment>,
}

/// Publishes one; gives its sequence and its id.
pub(crate) fn publish(session: &mut Session, history: &mut History, rng: &mut fastrand::Rng) -> Option<(u64, u32)> {
    let id = FIRST + history.brief.len() as u32;
    let expires_in = if rng.bool() { Duration::from_millis(rng.u64(20..4000)) } else { NEVER };
    let timing = Timing { deliver_at: UnixMillis(0), expires_in_ms: expires_in.as_millis() as u64 };
    let event = Event::text("sim", "brief").id(id.to_string()).source("/brief").encode().ok()?;
    let sequence = session.publish_timed(&TopicName::parse(Topic::Brief.name()).ok()?, &event, timing);
    history.brief.insert(id, Brief { expires_in, acked: None, delivered: Vec::new() });
    history.totals.expiring += 1;
    Some((sequence, id))
}

/// An event came, in a run that says when its events expire; `false` if it is none of these.
pub(crate) fn came(history: &mut History, (now, client): (Moment, usize), id: u32, run: &DeliverRun) -> bool {
    // A clock that is set ahead may be so while a commit gathers events.
    let ahead: i64 = history.clock_set.iter().map(|(_, ms)| *ms.max(&0)).sum();
    let event = history.brief.get_mut(&id);
    let problem = wrong_expiry(event.as_ref().map(|event| event.expires_in), run, COMMIT + ahead);
    let is_brief = event.map(|event| event.delivered.push(now)).is_some();
    history.complaints.extend(problem.map(|problem| format!("client {client}: event {id} {problem}")));
    is_brief
}

/// What is wrong with what a run says of when its events expire. They do at most a thousandth early; and what is stored in one
/// commit shares a time, that of its last.
fn wrong_expiry(expires_in: Option<Duration>, run: &DeliverRun, commit: i64) -> Option<String> {
    let said = run.expires_unix_ms;
    let Some(expires_in) = expires_in else {
        return (said != 0).then(|| format!("does not expire, and was said to at {said}"));
    };
    let long = i64::try_from(expires_in.as_millis()).unwrap_or(i64::MAX);
    let left = said - run.stored_unix_ms;
    let right = long - (long >> 10) - commit..=long;
    (!right.contains(&left)).then(|| format!("expires {long} ms after it was stored, and was said to after {left}"))
}

/// No event comes after it expired, and one that did not comes.
pub(crate) fn expired_events_are_not_delivered_and_others_are(history: &History, broken: &mut Vec<String>) {
    let under_way = if history.stalls.is_empty() { UNDER_WAY } else { HELD_BACK };
    // A clock that is set back stands still for the topic.
    let back: u64 = history.clock_set.iter().map(|(_, ms)| ms.min(&0).unsigned_abs()).sum();
    for (id, event) in &history.brief {
        let Some(acked) = event.acked else {
            continue;
        };
        let expired = acked + event.expires_in + Duration::from_millis(back);
        if let Some(late) = event.delivered.iter().find(|at| **at > expired + under_way) {
            broken.push(format!("event {id} came at {late:?}, and it had expired by {expired:?}"));
        }
        if event.expires_in == NEVER && event.delivered.is_empty() {
            broken.push(format!("event {id} was kept at {acked:?}, expires after all, and never came"));
        }
    }
}
