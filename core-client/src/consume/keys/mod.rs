//! Which events may be handled now: one of a key at a time, in order.

use std::collections::{BTreeSet, HashMap, VecDeque};

use crate::delivery::{Delivery, Place};

/// Session and number of a delivery: they come in this order.
type Number = (u32, u64);

#[derive(Default)]
pub(super) struct Keys {
    pub(super) ready: VecDeque<Delivery>,
    busy: HashMap<String, Key>,
    /// Nacked keys that wait for what was on its way, by their boundary.
    nacked: BTreeSet<(Number, String)>,
    /// The first delivery that has not been here yet.
    next: Number,
}

#[derive(Default)]
struct Key {
    /// Those that wait for the one being handled.
    waiting: VecDeque<Delivery>,
    nack: Option<Nack>,
}

/// The gateway took the nacked event and the later ones of its key back: those
/// that were on their way come again.
struct Nack {
    of: Number,
    position: u64,
    /// Deliveries below it were on their way at the nack.
    boundary: Option<Number>,
}

const fn number(place: Place) -> Number {
    (place.generation, place.number)
}

impl Keys {
    pub(super) fn arrive(&mut self, delivery: Delivery) {
        self.read_to(number(delivery.place()));
        let Some(key) = delivery.event().key() else {
            return self.ready.push_back(delivery);
        };
        match self.busy.get_mut(key) {
            None => {
                self.busy.insert(key.to_owned(), Key::default());
                self.ready.push_back(delivery);
            }
            Some(Key { nack: Some(nack), .. }) => {
                if delivery.position().number() == nack.position {
                    if let Some(boundary) = nack.boundary {
                        self.nacked.remove(&(boundary, key.to_owned()));
                    }
                    self.busy.insert(key.to_owned(), Key::default());
                    self.ready.push_back(delivery);
                } else {
                    delivery.forget();
                }
            }
            Some(busy) => busy.waiting.push_back(delivery),
        }
    }

    /// All before this delivery have been here: keys whose boundary that is are as if they had never been nacked.
    fn read_to(&mut self, place: Number) {
        while self.nacked.first().is_some_and(|(boundary, _)| *boundary <= place) {
            if let Some((_, key)) = self.nacked.pop_first() {
                self.busy.remove(&key);
            }
        }
        self.next = (place.0, place.1.saturating_add(1));
    }

    /// An event was handled: the next of its key may be.
    pub(super) fn release(&mut self, delivery: &Delivery) {
        let Some(key) = delivery.event().key() else {
            return;
        };
        let Some(busy) = self.busy.get_mut(key) else {
            return;
        };
        match busy.waiting.pop_front() {
            Some(next) => self.ready.push_back(next),
            None => drop(self.busy.remove(key)),
        }
    }

    /// An event is to be nacked: what waits behind it comes again after it.
    pub(super) fn fail(&mut self, delivery: &Delivery) -> Option<String> {
        let key = delivery.event().key()?;
        let busy = self.busy.get_mut(key)?;
        busy.waiting.drain(..).for_each(Delivery::forget);
        let place = delivery.place();
        busy.nack = Some(Nack { of: number(place), position: place.position, boundary: None });
        Some(key.to_owned())
    }

    /// The nack of this delivery was answered: those below the boundary, a number of its session, were on their way.
    pub(super) fn nacked(&mut self, key: &str, of: Place, boundary: u64) {
        let boundary = (of.generation, boundary);
        let nack = self.busy.get_mut(key).and_then(|busy| busy.nack.as_mut());
        let Some(nack) = nack.filter(|nack| nack.of == number(of)) else {
            // It has come again already.
            return;
        };
        if boundary <= self.next {
            self.busy.remove(key);
        } else {
            nack.boundary = Some(boundary);
            self.nacked.insert((boundary, key.to_owned()));
        }
    }

    /// What no handler has begun.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let waiting = self.busy.values().flat_map(|key| &key.waiting);
        self.ready.iter().chain(waiting).map(Delivery::place)
    }

    pub(super) fn give_up(&mut self) {
        self.nacked.clear();
        let waiting = self.busy.drain().flat_map(|(_, key)| key.waiting);
        self.ready.drain(..).chain(waiting).for_each(Delivery::forget);
    }
}

#[cfg(test)]
mod tests;
