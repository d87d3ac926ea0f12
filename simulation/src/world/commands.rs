//! What somebody who runs the gateway has it do: no misfortunes, but they come at any moment.

use std::time::Duration;

use meshwire_gateway::mesh::SoFar;
use meshwire_gateway::store::Ticket;

use super::{Event, World};
use crate::fleeting::Deleted;
use crate::history::{Letter, Topic};
use crate::holding::Purged;
use crate::limits::Limited;
use crate::moved::Sought;
use crate::script::{MOVED, Mishap, REMADE, Role};
use crate::tuned::Tuned;

impl World {
    pub(super) fn redrive(&mut self) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let redriving = &mut self.redriving;
        let mut redrive = |topic: &Topic| gateway.redrive(*topic, redriving.entry(*topic).or_default());
        let counts: Vec<Option<u32>> = Topic::ALL.iter().map(&mut redrive).collect();
        self.history.totals.redriven += u64::from(counts.iter().flatten().sum::<u32>());
        self.pump_gateway();
        if counts.contains(&None) && !self.is_calm() {
            self.after(Duration::from_millis(100), Event::Mishap(Mishap::Redrive));
        }
    }

    /// All members of a group leave it, and come again a little later; meanwhile somebody deletes it, or tries to.
    pub(super) fn remake(&mut self) {
        let topic = if self.rng.u32(0..4) == 0 { Topic::Audit } else { Topic::Orders };
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.role == Role::Consumer(Some(REMADE)) && client.leave_topic(topic) {
                let life = client.life;
                self.history.totals.leaves += 1;
                self.history.left.entry(index).or_default().push(self.now);
                let wait = self.some(Duration::from_millis(400));
                self.after(wait, Event::Join { client: index, life, topic });
                self.pump_client(index);
            }
        }
        let wait = self.some(self.script.wire_delay);
        self.after(wait, Event::Mishap(Mishap::DeleteGroup(topic, 10)));
    }

    /// Deletes the group that is made anew, while it has no members; sometimes somebody makes it at once.
    pub(super) fn delete_group(&mut self, topic: Topic, tries: u32) {
        let Some(gateway) = &self.gateway else {
            return;
        };
        let (members, deleted) = (gateway.members(topic), gateway.delete_group(topic));
        // One that stops changes nothing more.
        if deleted.is_some() != (members == Some(0) && !gateway.is_stopping()) {
            let complaint = format!("{}: a group with {members:?} members was deleted: {deleted:?}", topic.name());
            self.history.complaints.push(complaint);
        }
        let Some(ticket) = deleted else {
            self.history.totals.groups_in_use += u64::from(members.is_some());
            if tries > 0 {
                let wait = self.some(Duration::from_millis(30));
                self.after(wait, Event::Mishap(Mishap::DeleteGroup(topic, tries - 1)));
            }
            return;
        };
        self.history.totals.groups_deleted += 1;
        // Its members make it anew from the first event on.
        let mut anew = vec![(1, ticket)];
        if self.rng.bool() {
            anew.extend(gateway.create_group(topic, self.rng.u64(1..=gateway.events(topic) + 2)));
        }
        for (to, ticket) in anew {
            self.seeks.push((self.history.sought.len(), ticket));
            let life = self.life;
            self.history.sought.push(Sought { at: self.now, life, group: REMADE, topic, to, kept: None });
        }
        self.pump_gateway();
    }

    /// Deletes a topic, mostly under its readers.
    pub(super) fn delete_topic(&mut self) {
        let force = self.rng.u32(0..4) > 0;
        if let Some((ticket, left)) = self.gateway.as_ref().and_then(|gateway| gateway.delete_topic(force)) {
            if left > 0 {
                self.history.complaints.push(format!("a topic that was deleted is listed at {:?}", self.now));
            }
            self.history.totals.topics_deleted += 1;
            self.deletions.push((self.history.fleeting.deleted.len(), ticket));
            self.history.fleeting.deleted.push(Deleted { at: self.now, life: self.life, kept: None });
        }
        self.pump_gateway();
        self.look_at_fleeting();
    }

    /// Its dead letters, if they are there to be read.
    pub(super) fn look_at_fleeting(&mut self) {
        let gateway = self.gateway.as_ref().filter(|_| self.history.has_fleeting());
        if let Some((letters, _)) =
            gateway.and_then(|gateway| gateway.letters((Topic::Fleeting, 0), &mut SoFar::default()))
        {
            self.history.fleeting_listed(self.now, self.life, &letters);
        }
    }

    /// Removes some dead letters, or gives them back; all are removed once it is calm.
    pub(super) fn purge(&mut self) {
        let Some(gateway) = self.gateway.as_ref().filter(|_| self.history.has_holding()) else {
            return;
        };
        let Some((letters, _)) = gateway.letters((Topic::Held, 0), &mut SoFar::default()) else {
            // The disk is at work. Whoever looks at rest asks again by itself.
            self.pump_gateway();
            if !self.is_calm() {
                self.after(Duration::from_millis(20), Event::Mishap(Mishap::Purge));
            }
            return;
        };
        self.history.letters_listed(self.now, self.life, &letters);
        if !self.is_calm() && self.rng.u32(0..4) == 0 {
            self.history.totals.redriven += u64::from(gateway.redrive(Topic::Held, &mut SoFar::default()).unwrap_or(0));
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
        if let Some((letters, _)) = gateway.letters((Topic::Held, 0), &mut SoFar::default()) {
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
            let life = self.life;
            self.history.sought.push(Sought { at: self.now, life, group: MOVED, topic, to, kept: None });
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
        for (deletion, _) in kept(&mut self.deletions) {
            self.history.fleeting.deleted[deletion].kept = Some(self.now);
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
