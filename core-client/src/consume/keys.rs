//! Which events may be handled now: one of a key at a time, in order.

use std::collections::{HashMap, VecDeque};

use crate::delivery::{Delivery, Place};

#[derive(Default)]
pub(super) struct Keys {
    pub(super) ready: VecDeque<Delivery>,
    busy: HashMap<String, Key>,
}

/// No handler has begun what is left: it comes again, and has not failed.
impl Drop for Keys {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[derive(Default)]
struct Key {
    /// Those that wait for the one being handled.
    waiting: VecDeque<Delivery>,
    /// Position of an event that was nacked. The gateway took it and the later
    /// ones of its key back: those that were on their way come again.
    nacked: Option<u64>,
    /// Deliveries below this number were on their way at the nack.
    boundary: Option<u64>,
}

impl Keys {
    pub(super) fn arrive(&mut self, delivery: Delivery) {
        let Some(key) = delivery.event().key() else {
            return self.ready.push_back(delivery);
        };
        match self.busy.get_mut(key) {
            None => {
                self.busy.insert(key.to_owned(), Key::default());
                self.ready.push_back(delivery);
            }
            Some(Key { nacked: Some(position), boundary, .. }) => {
                let again = delivery.position().number() == *position;
                if again || boundary.is_some_and(|b| delivery.number() >= b) {
                    self.busy.insert(key.to_owned(), Key::default());
                    self.ready.push_back(delivery);
                } else {
                    delivery.forget();
                }
            }
            Some(busy) => busy.waiting.push_back(delivery),
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
        busy.nacked = Some(delivery.position().number());
        Some(key.to_owned())
    }

    pub(super) fn nacked(&mut self, key: &str, boundary: u64) {
        if let Some(busy) = self.busy.get_mut(key).filter(|k| k.nacked.is_some()) {
            busy.boundary = Some(boundary);
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
