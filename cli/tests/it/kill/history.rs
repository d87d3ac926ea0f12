//! What was seen from outside, and what must hold of it. Pure, so that forged
//! histories show that each rule can fail.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A plain ack may be forgotten if it was given so shortly before a kill.
const ACK_GRACE: Duration = Duration::from_millis(250);

/// What a member of the group saw or did, in its order. `life` counts the
/// gateway's processes from 0.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// An event came from the gateway of this life.
    Delivered { id: u64, life: usize },
    /// An ack was given, at this time, for a delivery of this life. Also one whose
    /// confirmation is awaited: until it is answered it is a plain one.
    Acked { id: u64, life: usize, at: Duration },
    /// The gateway's word came that the last ack of the event stands.
    Confirmed { id: u64 },
}

#[derive(Debug, Default)]
pub(super) struct History {
    /// Every event with a receipt.
    pub(super) acknowledged: BTreeSet<u64>,
    pub(super) steps: Vec<Step>,
    /// When each life ended; the last one does not.
    pub(super) kills: Vec<Duration>,
    /// Ids of the whole log, from its start to its head.
    pub(super) log: Vec<u64>,
}

/// Redeliveries of acked events that the rules allow.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The ack was given in the last moments of the life it was for.
    pub(super) just_before_a_kill: usize,
    /// That life was over: the client could not know, or was not connected.
    pub(super) for_a_dead_life: usize,
}

/// An ack that an event has had.
#[derive(Clone, Copy)]
struct Ack {
    life: usize,
    at: Duration,
    confirmed: bool,
}

impl History {
    /// Every broken promise as a sentence, and what was forgiven.
    pub(super) fn judge(&self) -> (Vec<String>, Allowed) {
        let mut broken = Vec::new();
        self.log_is_whole(&mut broken);
        let (acks, allowed) = self.acks_stand(&mut broken);
        // An event whose ack was forgotten came again and was acked again.
        let open = self.acknowledged.iter().filter(|id| !acks.contains_key(id));
        broken.extend(open.map(|id| format!("event {id} was never acked for good")));
        (broken, allowed)
    }

    fn log_is_whole(&self, broken: &mut Vec<String>) {
        let mut seen = BTreeSet::new();
        for id in &self.log {
            if !seen.insert(*id) {
                broken.push(format!("event {id} is in the log twice"));
            }
            if !self.acknowledged.contains(id) {
                broken.push(format!("event {id} is in the log and nobody published it"));
            }
        }
        let lost = self.acknowledged.difference(&seen);
        broken.extend(lost.map(|id| format!("event {id} was acknowledged and is lost")));
    }

    /// Gives the acks that hold at the end: those behind the last delivery.
    fn acks_stand(&self, broken: &mut Vec<String>) -> (BTreeMap<u64, Ack>, Allowed) {
        let (mut acks, mut allowed) = (BTreeMap::<u64, Ack>::new(), Allowed::default());
        for step in &self.steps {
            match *step {
                Step::Acked { id, life, at } => drop(acks.insert(id, Ack { life, at, confirmed: false })),
                Step::Confirmed { id } => {
                    if let Some(ack) = acks.get_mut(&id) {
                        ack.confirmed = true;
                    }
                }
                Step::Delivered { id, life } => {
                    if let Some(ack) = acks.remove(&id)
                        && let Err(why) = self.forgive(ack, life, &mut allowed)
                    {
                        broken.push(format!("event {id} came again in life {life}: {why}"));
                    }
                }
            }
        }
        (acks, allowed)
    }

    /// Whether the gateway of `life` may have forgotten an ack.
    fn forgive(&self, ack: Ack, life: usize, allowed: &mut Allowed) -> Result<(), String> {
        if ack.confirmed {
            return Err("its ack was confirmed".to_owned());
        }
        let killed = self.kills.get(ack.life).filter(|_| life > ack.life);
        let killed = killed.ok_or_else(|| format!("it was acked in life {}, which went on", ack.life))?;
        if ack.at >= *killed {
            allowed.for_a_dead_life += 1;
        } else if ack.at + ACK_GRACE >= *killed {
            allowed.just_before_a_kill += 1;
        } else {
            return Err(format!("it was acked {:?} before life {} was killed", *killed - ack.at, ack.life));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Allowed, History, Step};
    use std::time::Duration;

    const KILL: u64 = 1000;

    fn came(life: usize) -> Step {
        Step::Delivered { id: 7, life }
    }

    fn acked(life: usize, at: u64) -> Step {
        Step::Acked { id: 7, life, at: Duration::from_millis(at) }
    }

    /// Event 7 alone, and a kill after a second.
    fn with(steps: &[Step], log: &[u64]) -> History {
        let acknowledged = [7].into();
        History { acknowledged, steps: steps.to_vec(), kills: vec![Duration::from_millis(KILL)], log: log.to_vec() }
    }

    fn refused(steps: &[Step], log: &[u64]) -> String {
        let (broken, _) = with(steps, log).judge();
        broken.join("; ")
    }

    fn allowed(steps: &[Step]) -> Allowed {
        let (broken, allowed) = with(steps, &[7]).judge();
        assert!(broken.is_empty(), "{broken:?}");
        allowed
    }

    #[test]
    fn an_event_that_came_once_and_was_acked_is_as_it_must_be() {
        assert_eq!(allowed(&[came(0), acked(0, 10)]), Allowed::default());
    }

    #[test]
    fn an_ack_just_before_a_kill_or_behind_it_may_be_forgotten() {
        let just_before = allowed(&[came(0), acked(0, KILL - 250), came(1), acked(1, KILL + 500)]);
        assert_eq!(just_before, Allowed { just_before_a_kill: 1, for_a_dead_life: 0 });
        let behind = allowed(&[came(0), acked(0, KILL + 400), came(1), acked(1, KILL + 500)]);
        assert_eq!(behind, Allowed { just_before_a_kill: 0, for_a_dead_life: 1 });
    }

    #[test]
    fn a_redelivery_after_a_confirmed_ack_is_refused() {
        let steps = [came(0), acked(0, KILL - 1), Step::Confirmed { id: 7 }, came(1), acked(1, KILL + 500)];
        assert_eq!(refused(&steps, &[7]), "event 7 came again in life 1: its ack was confirmed");
    }

    #[test]
    fn a_redelivery_after_a_plain_ack_300_ms_before_the_kill_is_refused() {
        let steps = [came(0), acked(0, KILL - 300), came(1), acked(1, KILL + 500)];
        assert_eq!(refused(&steps, &[7]), "event 7 came again in life 1: it was acked 300ms before life 0 was killed");
    }

    #[test]
    fn a_redelivery_in_the_life_of_its_ack_is_refused_however_near_a_kill_is() {
        let steps = [came(1), acked(1, KILL + 10), came(1), acked(1, KILL + 20)];
        assert_eq!(refused(&steps, &[7]), "event 7 came again in life 1: it was acked in life 1, which went on");
        let steps = [came(0), acked(0, KILL - 10), came(0), acked(0, KILL - 5)];
        assert_eq!(refused(&steps, &[7]), "event 7 came again in life 0: it was acked in life 0, which went on");
    }

    #[test]
    fn an_ack_of_the_next_life_is_not_forgiven_by_the_kill_of_the_one_before() {
        let mut history = with(&[came(0), came(1), acked(1, KILL + 100), came(2), acked(2, 9000)], &[7]);
        history.kills.push(Duration::from_millis(KILL + 4000));
        let (broken, _) = history.judge();
        assert_eq!(broken, ["event 7 came again in life 2: it was acked 3.9s before life 1 was killed"]);
    }

    #[test]
    fn a_lost_event_is_refused() {
        assert_eq!(refused(&[came(0), acked(0, 10)], &[]), "event 7 was acknowledged and is lost");
    }

    #[test]
    fn a_doubled_event_and_one_of_nobody_are_refused() {
        let steps = [came(0), acked(0, 10)];
        assert_eq!(refused(&steps, &[7, 7]), "event 7 is in the log twice");
        assert_eq!(refused(&steps, &[7, 8]), "event 8 is in the log and nobody published it");
    }

    #[test]
    fn an_event_that_never_came_or_came_last_without_an_ack_is_refused() {
        assert_eq!(refused(&[], &[7]), "event 7 was never acked for good");
        assert_eq!(refused(&[came(0), acked(0, KILL), came(1)], &[7]), "event 7 was never acked for good");
    }
}
