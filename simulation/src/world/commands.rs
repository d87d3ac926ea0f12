//! What somebody who runs the gateway has it do: no misfortunes, but they come at any moment.

use std::time::Duration;

use meshwire_gateway::store::Ticket;

use super::{Event, World};
use crate::history::{Letter, Topic};
use crate::holding::Purged;
use crate::limits::Limited;
use crate::moved::Sought;
use crate::script::Mishap;
use crate::tuned::Tuned;

impl World {
    pub(super) fn redrive(&mut self) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let counts: Vec<Option<u32>> = Topic::ALL.iter().map(|topic| gateway.redrive(*topic)).collect();
        self.history.totals.redriven += u64::from(counts.iter().flatten().sum::<u32>());
        self.pump_gateway();
        if counts.contains(&None) && !self.is_calm() {
            self.after(Duration::from_millis(100), Event::Mishap(Mishap::Redrive));
        }
    }

    /// Removes some dead letters, or gives them back; all are removed once it is calm.
    pub(super) fn purge(&mut self) {
        let Some(gateway) = self.gateway.as_ref().filter(|_| self.history.has_holding()) else {
            return;
        };
        let Some((letters, _)) = gateway.letters(Topic::Held, 0) else {
            // The disk is at work. Whoever looks at rest asks again by itself.
            self.pump_gateway();
            if !self.is_calm() {
                self.after(Duration::from_millis(20), Event::Mishap(Mishap::Purge));
            }
            return;
        };
        self.history.letters_listed(self.now, self.life, &letters);
        if !self.is_calm() && self.rng.u32(0..4) == 0 {
            self.history.totals.redriven += u64::from(gateway.redrive(Topic::Held).unwrap_or(0));
            self.history.holding.redriven.push(self.now);
            return self.pump_gateway();
        }
        let all = self.is_calm() || self.rng.bool();
        let some: Vec<&Letter> = letters.iter().filter(|_| all || self.rng.bool()).collect();
        // No numbers would be all of them.
        if !some.is_empty()
            && let Some((count, ticket)) = gateway.purge(Topic::Held, some.iter().map(|l| l.number).collect())
        {
            if count as usize != some.len() {
                let complaint = format!("{count} dead letters were removed, and {} were listed", some.len());
                self.history.complaints.push(complaint);
            }
            self.history.totals.purged += u64::from(count);
            let ids = some.iter().map(|letter| letter.id()).collect();
            self.purges.push((self.history.holding.purged.len(), ticket));
            self.history.holding.purged.push(Purged { at: self.now, life: self.life, ids, kept: None });
        }
        if let Some((letters, _)) = gateway.letters(Topic::Held, 0) {
            self.history.letters_listed(self.now, self.life, &letters);
        }
        self.pump_gateway();
    }

    /// Moves the group that is moved: to either end, beyond it, or in between.
    pub(super) fn seek(&mut self) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let topic = if self.rng.u32(0..4) == 0 { Topic::Audit } else { Topic::Orders };
        let to = match self.rng.u32(0..8) {
            0 => 0,
            1 => u64::MAX,
            _ => self.rng.u64(1..=gateway.events(topic) + 2),
        };
        if let Some((to, ticket)) = gateway.seek(topic, to) {
            self.history.totals.seeks += 1;
            self.seeks.push((self.history.sought.len(), ticket));
            self.history.sought.push(Sought { at: self.now, life: self.life, topic, to, kept: None });
        }
        self.pump_gateway();
    }

    /// Changes settings of the group whose settings are changed.
    pub(super) fn tune(&mut self) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let topic = if self.rng.u32(0..4) == 0 { Topic::Audit } else { Topic::Orders };
        let settings = self.history.next_settings(topic, &mut self.rng);
        if let Some(ticket) = gateway.tune(topic, settings) {
            self.history.totals.tuned += 1;
            self.tunings.push((self.history.tuned.len(), ticket));
            self.history.tuned.push(Tuned { at: self.now, topic, settings, kept: None });
        }
        self.pump_gateway();
    }

    /// Notes which moves and changes are kept.
    pub(super) fn look_at_tickets(&mut self) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let kept = |waiting: &mut Vec<(usize, Ticket)>| -> Vec<(usize, Ticket)> {
            waiting.extract_if(.., |(_, ticket)| gateway.is_kept(*ticket)).collect()
        };
        for (seek, _) in kept(&mut self.seeks) {
            self.history.sought[seek].kept = Some(self.now);
        }
        for (purge, _) in kept(&mut self.purges) {
            self.history.holding.purged[purge].kept = Some(self.now);
        }
        for (tuning, _) in kept(&mut self.tunings) {
            self.history.tuned[tuning].kept = Some(self.now);
        }
    }

    /// Sets the rates of the gateway.
    pub(super) fn limit(&mut self, publish: u64, deliver: u64) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let limited = Limited { at: self.now, publish, deliver };
        self.history.totals.limited += u64::from(publish + deliver > 0);
        self.history.limited.push(limited);
        gateway.limit(limited);
        self.pump_gateway();
    }
}
