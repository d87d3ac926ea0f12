//! What a program says of its deliveries, and when.

use std::time::Duration;

use meshwire::session::{SettleInput, State, SubscriptionId};
use meshwire_proto::Moment;
use meshwire_proto::frame::SettleKind;

use super::boundary::{Keyed, Place};
use super::{Client, Seen, Wanted};
use crate::history::{Delivered, Given, History, Topic};
use crate::script::{FLEETING, HOLDING, IMPATIENT};

/// A delivery that its program has not settled yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Work {
    pub(crate) life: u32,
    subscription: SubscriptionId,
    generation: u32,
    number: u64,
    group: u8,
    id: u32,
    delivered: Moment,
    attempt: u32,
    kind: SettleKind,
    confirm: bool,
}

impl Client {
    /// The answer to a confirmed ack.
    pub(super) fn settled(
        &self,
        now: Moment,
        (group, id, ack): (u8, u32, Option<usize>),
        stands: bool,
        history: &mut History,
    ) {
        let mut acks = history.settled.get_mut(&(group, id)).map(|s| s.acks.iter_mut());
        match ack.and_then(|n| acks.as_mut()?.nth(n)) {
            _ if !stands => history.totals.leases_lost += 1,
            Some(given) => given.confirmed = Some(now),
            None => {
                let lost = format!("client {}: an ack of event {id} was confirmed, and its lease was gone", self.index);
                history.complaints.push(lost);
            }
        }
    }

    /// Decides what the program will do with a delivery, and when.
    #[allow(clippy::too_many_arguments, reason = "the parts of the world that a program touches")]
    pub(super) fn plan(
        &mut self,
        seen: &Seen,
        (subscription, generation, number): (SubscriptionId, u32, u64),
        d: &Delivered,
        history: &History,
        rng: &mut fastrand::Rng,
        wanted: &mut Wanted,
    ) {
        let longest = if !seen.calm && rng.u32(0..20) == 0 { 3_000_000 } else { 60_000 };
        let longest = if Topic::SCARCE.contains(&d.topic) && !seen.calm { 1_000_000 } else { longest };
        let mut at = seen.now + Duration::from_micros(rng.u64(0..longest));
        if let (Some(group), Some(key)) = (d.group, history.published.get(&d.id).and_then(|p| p.key)) {
            let busy = self.busy.entry((group, key)).or_default();
            at = at.max(*busy);
            *busy = at;
        }
        if let (Some(_), Some(key)) = (d.group, history.published.get(&d.id).and_then(|p| p.key)) {
            self.boundaries.came(Place { subscription, generation, number }, Keyed { key, id: d.id });
        }
        let (kind, confirm) = match rng.u32(0..100) {
            _ if Topic::SCARCE.contains(&d.topic) => (SettleKind::Ack, false),
            0..12 if !seen.calm && matches!(d.group, Some(FLEETING | HOLDING)) => (SettleKind::Reject, false),
            0..2 if !seen.calm && d.group == Some(IMPATIENT) => (SettleKind::Reject, rng.bool()),
            0..8 if !seen.calm => (SettleKind::Nack, number % 2 == 0),
            8..12 if !seen.calm && history.forgetful => return,
            12..22 => (SettleKind::Ack, true),
            _ => (SettleKind::Ack, false),
        };
        let work = Work {
            life: self.life,
            subscription,
            generation,
            number,
            // What becomes of an event of the others is told by its deliveries.
            group: d.group.filter(|_| Topic::ALL.contains(&d.topic)).unwrap_or(u8::MAX),
            id: d.id,
            delivered: seen.now,
            attempt: d.attempt,
            kind,
            confirm,
        };
        wanted.work.push((at, work));
    }

    /// The program settles. `whole`: its connection is not cut, whether it knows or not.
    pub(crate) fn settle(&mut self, now: Moment, whole: bool, work: Work, history: &mut History) {
        // It has left: what it held is not its to settle.
        if !self.subscriptions.contains_key(&work.subscription) {
            return;
        }
        let current = self.generations.get(&work.subscription).copied().unwrap_or(0);
        let mut ack = None;
        if work.group != u8::MAX && current == work.generation {
            let settled = history.settled.entry((work.group, work.id)).or_default();
            history.given += 1;
            let given = Given {
                at: now,
                nth: history.given,
                client: self.index,
                connected: whole && matches!(self.session.state(), State::Connected | State::Draining),
                delivered: work.delivered,
                attempt: work.attempt,
                kind: work.kind,
                confirmed: None,
            };
            if work.kind == SettleKind::Ack {
                ack = Some(settled.acks.len());
                settled.acks.push(given);
            } else {
                settled.nacks.push(given);
            }
        }
        let confirm = work.confirm.then(|| {
            self.next_token += 1;
            if work.group != u8::MAX && work.kind == SettleKind::Ack {
                self.confirms.insert(self.next_token, (work.group, work.id, ack));
            }
            let place = Place { subscription: work.subscription, generation: work.generation, number: work.number };
            match work.kind {
                SettleKind::Ack | SettleKind::Nack => {
                    self.boundaries.ask(self.next_token, place, work.kind == SettleKind::Nack);
                }
                _ => {}
            }
            self.next_token
        });
        let input = SettleInput {
            subscription: work.subscription,
            generation: work.generation,
            first: work.number,
            count: 1,
            kind: work.kind,
            delay_ms: None,
            reason: None,
            confirm,
        };
        self.session.settle(input);
    }
}
