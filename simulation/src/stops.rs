//! A gateway that is stopped as it should be: it delivers nothing more, waits for what members hold, and loses nothing.

use std::collections::BTreeMap;

use meshwire_proto::Moment;

use crate::history::{Delivered, Disaster};
use crate::keys::is_about;
use crate::seen::{HELD_BACK, Seen, UNDER_WAY};

/// A gateway was told to stop.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stopping {
    pub(crate) at: Moment,
    pub(crate) life: u32,
}

/// Nothing is delivered from when a gateway is told to stop.
pub(crate) fn a_gateway_that_stops_delivers_nothing(seen: &Seen<'_>, broken: &mut Vec<String>) {
    for stopping in &seen.history.stopping {
        for d in seen.history.delivered.iter().filter(|d| d.life == stopping.life && d.at > stopping.at) {
            let under_way = if seen.stalled(stopping.at, d.at) { HELD_BACK } else { UNDER_WAY };
            if d.at > stopping.at + under_way {
                broken.push(format!(
                    "{}: {} came to client {} at {:?}, and its gateway was told to stop at {:?}",
                    d.topic.name(),
                    d.position,
                    d.client,
                    d.at,
                    stopping.at
                ));
            }
        }
    }
}

/// What was acked before a gateway had stopped does not come again, however shortly before that was.
pub(crate) fn what_was_acked_before_a_stop_stays_acked(seen: &Seen<'_>, broken: &mut Vec<String>) {
    let stops = seen.history.disasters.iter().filter(|ended| ended.how == Disaster::Stop);
    let stops: BTreeMap<u32, Moment> = stops.map(|ended| (ended.life, ended.at)).collect();
    for ((group, id), settled) in &seen.history.settled {
        let all = seen.deliveries(*group, *id);
        for ack in &settled.acks {
            let Some(d) = all.iter().find(|d| is_about(ack, d)) else { continue };
            let Some(end) = stops.get(&d.life).filter(|end| ack.at < **end) else { continue };
            if !seen.must_stand(*group, d, ack) || seen.may_be_given_up(*group, *id, d.topic, d.position) {
                continue;
            }
            let nacked = settled.nacks.iter().any(|nack| nack.at <= ack.at);
            // Whoever was moved begins anew.
            let Some(stretch) = seen.stretch(d) else { continue };
            let again = |next: &&&Delivered| next.life > d.life && seen.stretch(next) == Some(stretch);
            if let Some(next) = all.iter().find(again).filter(|_| !nacked) {
                broken.push(format!(
                    "group {group}: event {id} came again at {:?}: it was acked at {:?}, before the gateway had stopped at {end:?}",
                    next.at, ack.at
                ));
            }
        }
    }
}
