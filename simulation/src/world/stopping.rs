//! A gateway that is told to stop: it tells its peers, waits for what they hold, and ends.

use std::time::Duration;

use meshwire::session::State;
use meshwire_proto::Moment;

use super::{Event, World};
use crate::history::Disaster;
use crate::seen::UNDER_WAY;
use crate::stops::Stopping;
use crate::wire::End;

/// It waits so long at most: programs settle within that, or never.
const STOP_TIMEOUT: Duration = Duration::from_secs(4);

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_millis(20);

impl World {
    pub(super) fn stop(&mut self) {
        let Some(gateway) = self.gateway.as_mut().filter(|gateway| !gateway.is_stopping()) else {
            return;
        };
        gateway.stop();
        let life = gateway.life;
        self.history.stopping.push(Stopping { at: self.now, life });
        let connected = self.clients.iter().filter(|client| client.session.state() == State::Connected);
        self.to_tell = connected.filter_map(|client| Some((client.index, client.wire?))).collect();
        self.pump_gateway();
        self.after(LOOK_EVERY, Event::Stopping { life, until: self.now + STOP_TIMEOUT });
    }

    pub(super) fn stopping(&mut self, life: u32, until: Moment) {
        let Some(gateway) = self.gateway.as_mut().filter(|gateway| gateway.life == life) else {
            return;
        };
        let done = gateway.is_done();
        if !done && self.now < until {
            return self.after(LOOK_EVERY, Event::Stopping { life, until });
        }
        gateway.finish(&self.machine);
        self.look_at_the_told(until);
        // What has no room on the disk, or is still held, may be lost as with a process that is killed.
        let how = if done && !self.history.disk_was_unwell { Disaster::Stop } else { Disaster::Kill };
        let peers: Vec<usize> = (0..self.wires.len()).filter(|wire| self.wires[*wire].gateway_open).collect();
        for wire in peers {
            if self.wires[wire].client_open && !self.wires[wire].cut {
                let wait = self.some(self.script.wire_delay);
                let at = self.wires[wire].arrival(self.now, End::Client, wait);
                self.at(at, Event::Closed { wire, to: End::Client });
            }
            self.wires[wire].gateway_open = false;
            self.wires[wire].ended = true;
        }
        self.disaster(how);
    }

    /// Everybody who was connected and still is has been told.
    fn look_at_the_told(&mut self, until: Moment) {
        let long_enough = self.now + STOP_TIMEOUT > until + UNDER_WAY;
        for (client, wire) in std::mem::take(&mut self.to_tell) {
            let (at, state) = (&self.wires[wire], self.clients[client].session.state());
            let same = self.clients[client].wire == Some(wire) && !at.cut && !at.stalled && at.gateway_open;
            self.history.totals.told += u64::from(same && state == State::Draining);
            if same && long_enough && state == State::Connected {
                self.history.complaints.push(format!("client {client} was not told that its gateway stops"));
            }
        }
    }
}
