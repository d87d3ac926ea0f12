//! What goes wrong.

use std::time::Duration;

use meshwire::session::State;

use super::{Event, World};
use crate::client::Client;
use crate::history::{Disaster, Ended, Topic};
use crate::script::{Mishap, Role};
use crate::wire::{End, MAX_STALL};

/// Longest time between two rounds of a member that comes and goes.
const AWAY: Duration = Duration::from_millis(100);

/// The gateway knows of a killed client so late at most.
const LATE: Duration = Duration::from_millis(50);

impl World {
    pub(super) fn mishap(&mut self, mishap: Mishap) {
        self.history.disk_was_unwell |= matches!(mishap, Mishap::DiskFull | Mishap::Disaster(Disaster::DiskFailure));
        match mishap {
            Mishap::Disaster(Disaster::DiskFailure) => self.machine.fail_soon(self.rng.u64(0..4)),
            Mishap::Disaster(disaster) => self.disaster(disaster),
            Mishap::Cut => {
                if let Some(wire) = self.some_wire() {
                    self.history.totals.cuts += 1;
                    self.lost(self.wires[wire].client);
                    self.wires[wire].cut = true;
                    for to in [End::Client, End::Gateway] {
                        let wait = self.some(Duration::from_secs(1));
                        self.after(wait, Event::Closed { wire, to });
                    }
                }
            }
            Mishap::Stall => {
                // Twice at once would hold back longer than anybody reckons with.
                if let Some(wire) = self.some_wire().filter(|wire| !self.wires[*wire].is_stalled(self.now)) {
                    let until = self.now + self.some(MAX_STALL);
                    self.history.stalls.push(self.now);
                    self.wires[wire].stall(until);
                    self.at(until, Event::Thaw);
                }
            }
            Mishap::ClientKill => {
                let index = self.rng.usize(..self.clients.len());
                self.kill_client(index);
            }
            Mishap::Close => {
                let index = self.rng.usize(..self.clients.len());
                self.close_client(index);
            }
            Mishap::Leave(rounds) => {
                let members: Vec<usize> = self.history.consumers.keys().copied().collect();
                let index = members[self.rng.usize(..members.len())];
                self.leave(index, rounds);
            }
            Mishap::Redrive => self.redrive(),
            Mishap::Stop => self.stop(),
            Mishap::Seek => self.seek(),
            Mishap::Tune => self.tune(),
            Mishap::Purge => self.purge(),
            Mishap::DeleteTopic => self.delete_topic(),
            Mishap::Remake => self.remake(),
            Mishap::DeleteGroup(topic, tries) => self.delete_group(topic, tries),
            Mishap::Limits { publish, deliver } => self.limit(publish, deliver),
            Mishap::ClockSet(ms) => {
                self.history.totals.clocks_set += 1;
                self.history.clock_set.push((self.now, ms));
                self.clock.jump(ms);
            }
            Mishap::DiskFull => self.fill_disk(),
        }
    }

    fn fill_disk(&mut self) {
        self.history.totals.disk_full += 1;
        self.machine.set_capacity(Some(self.rng.u64(0..64 << 10)));
        let wait = self.some(Duration::from_secs(2));
        self.history.full.push((self.now, self.now + wait));
        self.after(wait, Event::DiskHasSpace);
    }

    fn some_wire(&mut self) -> Option<usize> {
        let open: Vec<usize> =
            (0..self.wires.len()).filter(|w| self.wires[*w].client_open && !self.wires[*w].cut).collect();
        (!open.is_empty()).then(|| open[self.rng.usize(..open.len())])
    }

    /// The gateway may lose this client.
    pub(super) fn lost(&mut self, client: usize) {
        self.history.lost.entry(client).or_default().push(self.now);
        self.history.breaks.entry(client).or_default().push(self.now);
    }

    /// There is a reason why the connection of this client ends.
    pub(super) fn cut_off(&mut self, client: usize) {
        self.history.cut_off.entry(client).or_default().push(self.now);
    }

    /// A member ends one of its subscriptions, and begins it anew at once or a little later.
    fn leave(&mut self, index: usize, rounds: u32) {
        let client = &mut self.clients[index];
        if let Some(topic) = client.leave(&mut self.rng) {
            let life = client.life;
            self.history.totals.leaves += 1;
            self.history.left.entry(index).or_default().push(self.now);
            let wait = if self.rng.bool() { Duration::ZERO } else { self.some(AWAY) };
            self.after(wait, Event::Join { client: index, life, topic });
            self.pump_client(index);
        }
        if rounds > 1 {
            let wait = self.some(AWAY);
            self.after(wait, Event::Mishap(Mishap::Leave(rounds - 1)));
        }
    }

    pub(super) fn join(&mut self, index: usize, life: u32, topic: Topic) {
        let client = &mut self.clients[index];
        if let (true, Role::Consumer(group)) = (client.life == life, client.role) {
            client.subscribe(topic, group, &mut self.rng);
            self.pump_client(index);
        }
    }

    /// A program ends and says so, if there is somebody to say it to.
    fn close_client(&mut self, index: usize) {
        let wire = self.clients[index].wire.filter(|wire| !self.wires[*wire].cut);
        let connected = self.clients[index].session.state() == State::Connected;
        let Some(wire) = wire.filter(|_| connected) else {
            return self.kill_client(index);
        };
        self.history.totals.closes += 1;
        self.history.left.entry(index).or_default().push(self.now);
        let goodbye = self.clients[index].close();
        self.send(wire, End::Gateway, &goodbye);
        let at = self.wires[wire].arrival(self.now, End::Gateway, Duration::ZERO);
        self.wires[wire].client_open = false;
        self.at(at, Event::Closed { wire, to: End::Gateway });
        self.replace_client(index);
    }

    fn kill_client(&mut self, index: usize) {
        self.lost(index);
        if let Some(wire) = self.clients[index].wire {
            self.wires[wire].client_open = false;
            // Its machine may go with it: then the gateway hears of it later than of the next program.
            let wait = self.some(self.script.wire_delay.max(LATE));
            self.after(wait, Event::Closed { wire, to: End::Gateway });
        }
        self.replace_client(index);
    }

    /// The next process of a client begins.
    fn replace_client(&mut self, index: usize) {
        let old = &self.clients[index];
        let (role, life, tick) = (old.role, old.life + 1, old.tick);
        self.note(index);
        let abandoned = self.history.questions.values_mut().filter(|q| q.by.0 == index && q.ended.is_empty());
        abandoned.for_each(|q| q.abandoned = true);
        self.clients[index] = Client::new(index, role, life, &mut self.rng);
        self.clients[index].tick = tick;
        self.pump_client(index);
    }

    pub(super) fn disaster(&mut self, disaster: Disaster) {
        let Some(gateway) = self.gateway.take() else {
            return;
        };
        self.seeks.clear();
        self.purges.clear();
        self.deletions.clear();
        self.tunings.clear();
        // The next one may begin a little before: what has been told stays told.
        self.history.date_gaps(Some(&gateway));
        self.history.disasters.push(Ended { at: self.now, life: self.life, how: disaster });
        let totals = &mut self.history.totals;
        match disaster {
            Disaster::Kill => totals.kills += 1,
            Disaster::PowerLoss => totals.power_losses += 1,
            Disaster::DiskFailure => totals.disk_failures += 1,
            Disaster::Stop => totals.stops += 1,
        }
        let seed = self.rng.u64(..);
        self.history.totals.torn_writes += self.machine.crash(disaster, seed);
        for wire in 0..self.wires.len() {
            // Peers of one that has stopped are told in order.
            let told = disaster == Disaster::Stop || self.wires[wire].ended;
            self.wires[wire].gateway_open = false;
            self.wires[wire].ended = true;
            if self.wires[wire].client_open && !told {
                self.wires[wire].cut = true;
                let wait = self.some(Duration::from_millis(200));
                self.after(wait, Event::Closed { wire, to: End::Client });
            }
        }
        let wait = Duration::from_millis(1) + self.some(Duration::from_millis(500));
        self.after(wait, Event::Restart);
    }
}
