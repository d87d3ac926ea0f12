//! What confirmed nacks say was on its way: of a key, what came before that and behind the nacked delivery was taken back
//! with it, so no later ack of it stands; the event itself comes again behind it.

use std::collections::BTreeMap;

use meshwire::session::SubscriptionId;

/// A delivery in its session.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) subscription: SubscriptionId,
    pub(super) generation: u32,
    pub(super) number: u64,
}

/// An event with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Keyed {
    pub(super) key: u8,
    pub(super) id: u32,
}

/// A settle, in the order in which they were given.
#[derive(Clone, Copy, Debug)]
struct Asked {
    token: u64,
    place: Place,
    event: Keyed,
    nack: bool,
}

/// Of one life of a client.
#[derive(Debug, Default)]
pub(super) struct Boundaries {
    came: BTreeMap<(SubscriptionId, u32), BTreeMap<u64, Keyed>>,
    asked: BTreeMap<u64, Asked>,
    /// Nacks that were answered, and with which boundary.
    nacks: Vec<(Asked, u64)>,
    /// Acks that stand.
    acks: Vec<Asked>,
}

/// Whether a nack took back what an ack that was given after it is about.
fn took((nack, boundary): &(Asked, u64), ack: &Asked) -> bool {
    let (of, other) = (&nack.place, &ack.place);
    let session = (of.subscription, of.generation) == (other.subscription, other.generation);
    session
        && nack.event.key == ack.event.key
        && nack.token < ack.token
        && (of.number + 1..*boundary).contains(&other.number)
}

impl Boundaries {
    pub(super) fn came(&mut self, place: Place, event: Keyed) {
        self.came.entry((place.subscription, place.generation)).or_default().insert(place.number, event);
    }

    /// A confirmed settle is given.
    pub(super) fn ask(&mut self, token: u64, place: Place, nack: bool) {
        let event =
            self.came.get(&(place.subscription, place.generation)).and_then(|of| of.get(&place.number)).copied();
        if let Some(event) = event {
            self.asked.insert(token, Asked { token, place, event, nack });
        }
    }

    /// It is answered. Gives what is wrong with that, and whether a boundary was told.
    pub(super) fn answered(&mut self, token: u64, stands: bool, boundary: u64) -> (Option<String>, bool) {
        match self.asked.remove(&token) {
            Some(ack @ Asked { nack: false, .. }) if stands => {
                self.acks.push(ack);
                let void = self.nacks.iter().find(|nack| took(nack, &ack));
                (void.map(|nack| format!("an ack stands of {ack:?}, which {nack:?} took back")), false)
            }
            // All of a session that is lost.
            Some(nack @ Asked { nack: true, .. }) if boundary < u64::MAX => (self.nacked((nack, boundary)), true),
            _ => (None, false),
        }
    }

    fn nacked(&mut self, nack: (Asked, u64)) -> Option<String> {
        let Place { subscription, generation, number } = nack.0.place;
        let came = self.came.get(&(subscription, generation))?;
        let mut behind = came.range(number + 1..);
        let again = behind.find(|(_, event)| **event == nack.0.event).filter(|(again, _)| **again < nack.1);
        let void = self.acks.iter().find(|ack| took(&nack, ack));
        let text = match (again, void) {
            (Some((again, _)), _) => Some(format!("its event came again as {again}")),
            (_, Some(ack)) => Some(format!("an ack stands of {ack:?}")),
            _ => None,
        };
        let text = text.map(|text| format!("a nack says what it took back, {nack:?}; {text}"));
        self.nacks.push(nack);
        text
    }

    /// Nacks that were never answered.
    pub(super) fn open(&self) -> usize {
        self.asked.values().filter(|asked| asked.nack).count()
    }
}
