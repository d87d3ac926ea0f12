//! Which events may be handled now: one of a key at a time, in order.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::delivery::{Delivery, Place};

#[derive(Default)]
pub(super) struct Keys {
    ready: VecDeque<Delivery>,
    busy: HashMap<String, Key>,
    /// Keys with nothing to do that wait for what was on its way, by where that ends.
    settling: BTreeMap<At, Vec<String>>,
    /// Everything before has come.
    come: At,
}

/// A delivery's generation and its number in it: in this order they come.
type At = (u32, u64);

fn at(delivery: &Delivery) -> At {
    let place = delivery.place();
    (place.generation, place.number)
}

/// No handler has begun what is left: it comes again, and has not failed.
impl Drop for Keys {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[derive(Default)]
struct Key {
    /// Those that wait for the one being handled. Behind a nack: those of which it is not known yet whether they were
    /// taken back with it.
    waiting: VecDeque<Delivery>,
    nacked: Option<Nacked>,
}

/// An event that was nacked. The gateway takes it and the later ones of its key back, or did when its lease ended: those
/// that were on their way come again.
struct Nacked {
    /// Its delivery.
    of: At,
    position: u64,
    /// The first delivery that was made behind that, once it is known.
    boundary: Option<At>,
}

impl Key {
    /// The next of those that wait, without those that come again.
    fn next(&mut self) -> Option<Delivery> {
        while let Some(stale) = self.waiting.pop_front_if(|delivery| delivery.is_stale()) {
            stale.forget();
        }
        self.waiting.pop_front()
    }
}

impl Keys {
    pub(super) fn arrive(&mut self, delivery: Delivery) {
        self.come = self.come.max((delivery.place().generation, delivery.number().saturating_add(1)));
        if let Some(key) = delivery.event().key().map(str::to_owned) {
            self.arrive_of(&key, delivery);
        } else {
            self.ready.push_back(delivery);
        }
        while let Some(entry) = self.settling.first_entry().filter(|entry| *entry.key() <= self.come) {
            let boundary = *entry.key();
            for key in entry.remove() {
                let waits = |busy: &Key| busy.nacked.as_ref().is_some_and(|n| n.boundary == Some(boundary));
                if self.busy.get(&key).is_some_and(waits) {
                    self.busy.remove(&key);
                }
            }
        }
    }

    fn arrive_of(&mut self, key: &str, delivery: Delivery) {
        let Some(busy) = self.busy.get_mut(key) else {
            self.busy.insert(key.to_owned(), Key::default());
            return self.ready.push_back(delivery);
        };
        match &busy.nacked {
            None => busy.waiting.push_back(delivery),
            Some(nacked) if delivery.position().number() == nacked.position => {
                if let Some(settling) = nacked.boundary.and_then(|boundary| self.settling.get_mut(&boundary)) {
                    settling.retain(|other| other != key);
                }
                busy.waiting.drain(..).for_each(Delivery::forget);
                busy.nacked = None;
                self.ready.push_back(delivery);
            }
            Some(Nacked { boundary: None, .. }) => busy.waiting.push_back(delivery),
            Some(Nacked { boundary: Some(boundary), .. }) if at(&delivery) < *boundary => delivery.forget(),
            Some(_) => {
                busy.nacked = None;
                self.ready.push_back(delivery);
            }
        }
    }

    /// An event was handled: the next of its key may be.
    pub(super) fn release(&mut self, delivery: &Delivery) {
        let Some(key) = delivery.event().key() else {
            return;
        };
        let Some(busy) = self.busy.get_mut(key) else {
            return;
        };
        match busy.next() {
            Some(next) => self.ready.push_back(next),
            None => drop(self.busy.remove(key)),
        }
    }

    /// What is to be handled next.
    pub(super) fn next(&mut self) -> Option<Delivery> {
        loop {
            let next = self.ready.pop_front()?;
            if !next.is_stale() {
                return Some(next);
            }
            self.release(&next);
            next.forget();
        }
    }

    /// An event is to be nacked: nothing of its key is handled before it is known what waits behind it was taken back.
    pub(super) fn fail(&mut self, delivery: &Delivery) -> Option<String> {
        let key = delivery.event().key()?;
        let busy = self.busy.get_mut(key)?;
        busy.nacked = Some(Nacked { of: at(delivery), position: delivery.position().number(), boundary: None });
        Some(key.to_owned())
    }

    /// The nack of a delivery was answered: those of its session before `boundary` were taken back. What came behind it is
    /// what goes on: the event waits for its time, or is a dead letter and does not come again.
    pub(super) fn nacked(&mut self, key: String, of: Place, boundary: u64) {
        let (of, boundary) = ((of.generation, of.number), (of.generation, boundary));
        let Some(busy) = self.busy.get_mut(&key) else {
            return;
        };
        // An event that came again meanwhile and failed again has an answer of its own to come.
        if busy.nacked.as_ref().is_none_or(|nacked| nacked.of != of) {
            return;
        }
        while let Some(void) = busy.waiting.pop_front_if(|delivery| at(delivery) < boundary) {
            void.forget();
        }
        if let Some(next) = busy.next() {
            busy.nacked = None;
            self.ready.push_back(next);
        } else if boundary <= self.come {
            self.busy.remove(&key);
        } else {
            busy.nacked.iter_mut().for_each(|nacked| nacked.boundary = Some(boundary));
            self.settling.entry(boundary).or_default().push(key);
        }
    }

    /// What no handler has begun.
    pub(super) fn places(&self) -> impl Iterator<Item = Place> {
        let waiting = self.busy.values().flat_map(|key| &key.waiting);
        self.ready.iter().chain(waiting).map(Delivery::place)
    }

    pub(super) fn give_up(&mut self) {
        let waiting = self.busy.drain().flat_map(|(_, key)| key.waiting);
        self.ready.drain(..).chain(waiting).for_each(Delivery::forget);
    }
}
