//! What must hold of events that are delivered at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire_proto::Moment;

use crate::history::{History, Published, Topic};
use crate::verdict::Log;

/// The wall clock has whole milliseconds.
const GRAIN: Duration = Duration::from_millis(1);

/// When an event is due if nobody sets the clock.
fn due(event: &Published) -> Moment {
    event.at + Duration::from_millis(event.delay_ms.unsigned_abs())
}

/// Nobody sees a delayed event before its time. A clock that is set forward before the gateway
/// has the event, or before a restart, takes as much off its delay.
pub(crate) fn delayed_events_never_come_early(history: &History, broken: &mut Vec<String>) {
    let delayed = |id| history.published.get(id).filter(|p| p.delay_ms > 0);
    for (d, event) in history.delivered.iter().filter_map(|d| Some((d, delayed(&d.id)?))) {
        let set = history.clock_set.iter().filter(|(at, _)| *at >= event.at && *at <= d.at);
        let forward = Duration::from_millis(set.map(|(_, ms)| ms.max(&0).unsigned_abs()).sum());
        if d.at + forward + GRAIN < due(event) {
            broken.push(format!("event {} came at {:?}, and it was due at {:?}", d.id, d.at, due(event)));
        }
    }
}

/// Events that wait at the same time stand in the log in the order in which they were due.
pub(crate) fn delayed_events_come_in_the_order_of_their_times(
    history: &History,
    logs: &BTreeMap<Topic, Log>,
    broken: &mut Vec<String>,
) {
    if !history.clock_set.is_empty() {
        return;
    }
    for (topic, log) in logs.iter().filter(|(topic, _)| !history.may_be_rewritten(**topic)) {
        let waited = history.published.values().filter(|p| p.topic == *topic && p.delay_ms > 0);
        let waited = waited.filter(|p| p.acked.is_some_and(|acked| acked + GRAIN < due(p)));
        let placed = waited.filter_map(|p| Some((p.timing.deliver_at.0, *log.position.get(&p.id)?, p.id)));
        let mut placed: Vec<(i64, u64, u32)> = placed.collect();
        placed.sort_unstable();
        for pair in placed.windows(2) {
            if let [(at, position, id), (later, behind, other)] = pair
                && at < later
                && position > behind
            {
                broken.push(format!("event {id} due at {at} stands at {position}, behind {other} due at {later}"));
            }
        }
    }
}
