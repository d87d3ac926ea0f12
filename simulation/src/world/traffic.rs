//! Bytes between clients and gateway, and what each wants done with them.

use std::hash::Hasher as _;
use std::time::Duration;

use bytes::Bytes;

use super::{Event, World};
use crate::client::Wanted;
use crate::history::Disaster;
use crate::wire::{End, Wire};

impl World {
    pub(super) fn dialed(&mut self, client: usize, life: u32) {
        if self.clients[client].life != life {
            return;
        }
        match &mut self.gateway {
            None => self.clients[client].session.disconnected(self.now),
            Some(gateway) if gateway.is_stopping() => self.clients[client].session.disconnected(self.now),
            Some(gateway) => {
                let wire = self.wires.len();
                self.wires.push(Wire::new(client));
                gateway.accept(wire);
                self.clients[client].wire = Some(wire);
                self.clients[client].buffer.clear();
                self.clients[client].session.connected(self.now);
            }
        }
        self.pump_client(client);
    }

    pub(super) fn bytes(&mut self, wire: usize, to: End, bytes: &[u8]) {
        if !self.wires[wire].reaches(to) {
            return;
        }
        self.trace.write_usize(wire);
        self.trace.write(bytes);
        match to {
            End::Client => {
                let client = self.wires[wire].client;
                self.clients[client].received(self.now, bytes);
                self.pump_client(client);
            }
            End::Gateway => {
                if let Some(gateway) = &mut self.gateway {
                    gateway.received(wire, bytes);
                    self.pump_gateway();
                }
            }
        }
    }

    pub(super) fn closed(&mut self, wire: usize, to: End) {
        match to {
            End::Client if self.wires[wire].client_open => {
                self.wires[wire].client_open = false;
                let client = self.wires[wire].client;
                if self.clients[client].wire == Some(wire) {
                    let Wire { cut, ended, stalled, .. } = self.wires[wire];
                    // A gateway that hears nothing over a connection that is held back ends it without a word.
                    if cut || ended || stalled {
                        self.cut_off(client);
                    }
                    if self.wires[wire].ended {
                        self.history.breaks.entry(client).or_default().push(self.now);
                    } else {
                        self.lost(client);
                    }
                    self.clients[client].wire = None;
                    self.clients[client].session.disconnected(self.now);
                    self.pump_client(client);
                }
            }
            End::Gateway if self.wires[wire].gateway_open => {
                self.wires[wire].gateway_open = false;
                if let Some(gateway) = &mut self.gateway {
                    gateway.closed(wire);
                    self.pump_gateway();
                }
            }
            _ => {}
        }
    }

    pub(super) fn pump_client(&mut self, index: usize) {
        loop {
            let calm = self.is_calm();
            let client = &mut self.clients[index];
            let Wanted { connect, disconnect, bytes, work, join, answers } =
                client.pump(self.now, self.life, calm, &mut self.history, &mut self.rng);
            for (at, work) in work {
                self.at(at, Event::Settle { client: index, work });
            }
            let life = self.clients[index].life;
            for topic in join {
                let wait = self.some(Duration::from_millis(200));
                self.after(wait, Event::Join { client: index, life, topic });
            }
            for (at, task) in answers {
                self.at(at, Event::Answer { client: index, life, task });
            }
            if let Some(wire) = self.clients[index].wire {
                if !bytes.is_empty() {
                    self.send(wire, End::Gateway, &bytes.freeze());
                }
                if disconnect {
                    self.hang_up(index, wire);
                    continue;
                }
            }
            if connect {
                let wait = self.some(self.script.wire_delay);
                self.after(wait, Event::Dialed { client: index, life });
            }
            break;
        }
        if self.history.scarce.undated || self.history.tight.undated {
            self.history.date_gaps(self.gateway.as_ref());
        }
        let client = &mut self.clients[index];
        if let Some(deadline) = client.session.deadline()
            && client.tick.is_none_or(|t| t > deadline)
        {
            client.tick = Some(deadline);
            self.at(deadline, Event::ClientTick { client: index });
        }
    }

    /// The client drops its connection.
    fn hang_up(&mut self, client: usize, wire: usize) {
        self.lost(client);
        self.cut_off(client);
        self.clients[client].wire = None;
        self.wires[wire].client_open = false;
        let wait = self.some(self.script.wire_delay);
        let at = self.wires[wire].arrival(self.now, End::Gateway, wait);
        self.at(at, Event::Closed { wire, to: End::Gateway });
        self.clients[client].session.disconnected(self.now);
    }

    pub(super) fn send(&mut self, wire: usize, to: End, bytes: &Bytes) {
        let delay = self.some(self.script.wire_delay);
        // Streams have no frames: sometimes bytes come in two parts.
        let cut = if self.rng.u32(0..8) == 0 { self.rng.usize(0..bytes.len()) } else { 0 };
        for part in [bytes.slice(..cut), bytes.slice(cut..)] {
            if !part.is_empty() {
                let at = self.wires[wire].arrival(self.now, to, delay);
                self.at(at, Event::Bytes { wire, to, bytes: part });
            }
        }
    }

    pub(super) fn pump_gateway(&mut self) {
        let Some(gateway) = &mut self.gateway else {
            return;
        };
        let held = (0..self.wires.len()).filter(|w| self.wires[*w].is_stalled(self.now)).collect();
        let pumped = gateway.pump(&self.machine, &held);
        let life = gateway.life;
        if pumped.no_room {
            self.history.no_room.push((self.now, self.history.published.len() as u32));
        }
        self.look_at_tickets();
        if pumped.failed {
            return self.disaster(Disaster::DiskFailure);
        }
        for (wire, bytes) in pumped.bytes {
            self.send(wire, End::Client, &bytes);
        }
        for wire in pumped.closed {
            self.wires[wire].gateway_open = false;
            let wait = self.some(self.script.wire_delay);
            let at = self.wires[wire].arrival(self.now, End::Client, wait);
            self.at(at, Event::Closed { wire, to: End::Client });
        }
        for id in pumped.disk {
            let wait = self.some(self.script.disk_delay);
            self.after(wait, Event::Disk { life, id });
        }
        if let Some(at) = pumped.tick {
            self.at(at, Event::GatewayTick { life });
        }
    }
}
