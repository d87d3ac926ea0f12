//! Which events may be handled now: one of a key at a time, in order.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};

use crate::delivery::{Delivery, Place};

#[derive(Default)]
pub(super) struct Keys {
    pub(super) ready: VecDeque<Delivery>,
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
    /// Those that wait for the one being handled. Behind a nack: those of which it is not known yet whether they were on
    /// their way.
    waiting: VecDeque<Delivery>,
    nacked: Option<Nacked>,
}

/// An event that was nacked. The gateway takes it and the later ones of its key back: those that were on their way come
/// again.
struct Nacked {
    /// Its delivery.
    of: At,
    position: u64,
    /// The first delivery that was made behind the nack, once that is known.
    boundary: Option<At>,
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
        busy.nacked = Some(Nacked { of: at(delivery), position: delivery.position().number(), boundary: None });
        Some(key.to_owned())
    }

    /// The nack of a delivery was answered: those of its session before `boundary` were on their way. What came behind it is what goes on: the event
    /// waits for its time, or is a dead letter and does not come again.
    pub(super) fn nacked(&mut self, key: String, of: Place, boundary: u64) {
        let (of, boundary) = ((of.generation, of.number), (of.generation, boundary));
        let Some(busy) = self.busy.get_mut(&key) else {
            return;
        };
        // An event that came again meanwhile and failed again has an answer of its own to come.
        let Some(nacked) = busy.nacked.as_mut().filter(|nacked| nacked.of == of) else {
            return;
        };
        while let Some(void) = busy.waiting.pop_front_if(|delivery| at(delivery) < boundary) {
            void.forget();
        }
        if let Some(next) = busy.waiting.pop_front() {
            busy.nacked = None;
            self.ready.push_back(next);
        } else if boundary <= self.come {
            self.busy.remove(&key);
        } else {
            nacked.boundary = Some(boundary);
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
