//! A good history, small enough to be read, that the forged ones bend.
//!
//! Six events: 1, 3 and 5 of key `a`, 2 and 4 of key `b`, 6 without a key. A reader
//! gets them all. In group `work` Alice has key `a` and Bob the rest: 3 fails once
//! and takes 5 back, 6 is rejected. In group `audit` Carol acks all of them, and the
//! gateway is killed before her last acks are in the log: 5 and 6 come again.

use std::time::Duration;

use meshwire_history::{
    Answer, DeadLetter, Death, Delivery, Event, Forgive, Group, History, Published, Settle, SettleKind, Stored,
};

pub(crate) const KILLED: u64 = 1000;

pub(crate) const fn ms(at: u64) -> Duration {
    Duration::from_millis(at)
}

pub(crate) fn event(id: u64) -> Event {
    let key = match id {
        1 | 3 | 5 => Some("a"),
        2 | 4 => Some("b"),
        _ => None,
    };
    Event::new(id, key, format!("event {id}").as_bytes())
}

/// `event(id)` of life 0, at the position of its number, as first attempt.
pub(crate) fn came(at: u64, group: Option<&str>, member: &str, id: u64) -> Delivery {
    Delivery {
        at: ms(at),
        life: 0,
        group: group.map(Into::into),
        member: member.into(),
        subscription: 0,
        position: id,
        attempt: 1,
        event: event(id),
        excused: false,
    }
}

/// Of life 0.
pub(crate) fn settle(at: u64, group: &str, id: u64, kind: SettleKind) -> Settle {
    Settle { at: ms(at), life: 0, group: group.into(), event: id, kind, confirmed: None, excused: false }
}

pub(crate) fn published(id: u64, answer: Answer) -> Published {
    Published { event: event(id), at: ms(id), answer }
}

pub(crate) fn stored(position: u64, id: u64) -> Stored {
    Stored { position, event: event(id) }
}

pub(crate) fn letter(group: &str, id: u64) -> DeadLetter {
    DeadLetter { group: group.into(), position: id, event: event(id) }
}

pub(crate) const fn death(life: u64, at: u64) -> Death {
    Death { at: ms(at), life, power_lost: false }
}

pub(crate) fn good() -> History {
    let mut seen = History::new("orders");
    seen.forgive = Forgive { settle_before_death: ms(250), under_way: ms(50) };
    for (name, max_failures) in [("work", Some(3)), ("audit", None)] {
        seen.groups.push(Group { name: name.into(), ack_wait: ms(10_000), max_failures, finished: true });
    }
    for id in 1..=6 {
        seen.published.push(published(id, Answer::Acknowledged(ms(10 + id))));
        seen.log.push(stored(id, id));
        seen.deliveries.push(came(100 + id, None, "reader", id));
    }
    work(&mut seen);
    audit(&mut seen);
    seen
}

fn work(seen: &mut History) {
    for (id, member) in [(1, "alice"), (2, "bob"), (3, "alice"), (4, "bob"), (5, "alice"), (6, "bob")] {
        seen.deliveries.push(came(200 + id, Some("work"), member, id));
    }
    for (id, kind) in [(1, SettleKind::Ack), (2, SettleKind::Ack), (3, SettleKind::Nack), (4, SettleKind::Ack)] {
        seen.settles.push(settle(210 + id, "work", id, kind));
    }
    seen.settles.push(settle(216, "work", 6, SettleKind::Reject));
    seen.settles[1].confirmed = Some(ms(220));
    seen.letters.push(letter("work", 6));
    for id in [3, 5] {
        seen.deliveries.push(Delivery { attempt: 2, ..came(230 + id, Some("work"), "alice", id) });
        seen.settles.push(settle(240 + id, "work", id, SettleKind::Ack));
    }
}

fn audit(seen: &mut History) {
    for id in 1..=6 {
        seen.deliveries.push(came(300 + id, Some("audit"), "carol", id));
        let at = if id < 5 { 310 } else { KILLED - 250 };
        seen.settles.push(settle(at + id, "audit", id, SettleKind::Ack));
    }
    seen.deaths.push(death(0, KILLED));
    for id in [5, 6] {
        seen.deliveries.push(Delivery { life: 1, ..came(1500 + id, Some("audit"), "carol", id) });
        seen.settles.push(Settle { life: 1, ..settle(1510 + id, "audit", id, SettleKind::Ack) });
    }
}

/// The nth delivery of an event to a group.
pub(crate) fn delivery<'a>(seen: &'a mut History, group: Option<&str>, id: u64, n: usize) -> &'a mut Delivery {
    let mut all = seen.deliveries.iter_mut().filter(|d| d.group.as_deref() == group && d.event.id == id);
    all.nth(n).unwrap()
}

/// The last settle of an event in a group.
pub(crate) fn settled<'a>(seen: &'a mut History, group: &str, id: u64) -> &'a mut Settle {
    seen.settles.iter_mut().rfind(|s| &*s.group == group && s.event == id).unwrap()
}

/// A copy of the last delivery of an event to `work` comes at a time, as the next attempt.
pub(crate) fn again<'a>(seen: &'a mut History, at: u64, member: &str, id: u64) -> &'a mut Delivery {
    let last = seen.deliveries.iter().rfind(|d| d.group.as_deref() == Some("work") && d.event.id == id).unwrap();
    let next = Delivery { at: ms(at), member: member.into(), attempt: last.attempt + 1, ..last.clone() };
    seen.deliveries.push(next);
    seen.deliveries.last_mut().unwrap()
}
