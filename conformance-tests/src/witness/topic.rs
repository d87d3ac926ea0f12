//! What was seen of one topic, and the history that it makes.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire_history::{
    Answer, DeadLetter, Delivery, Event, Group, History, Level, Name, Published, Settle, SettleKind, Stored,
};

use super::content::{Content, Shown};

/// An event that was handed to a client.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) event: Shown,
    pub(super) at: Duration,
    pub(super) answer: Answer,
    /// Where the receipt says it is.
    pub(super) position: Option<u64>,
}

/// A message.
#[derive(Debug)]
pub(super) struct Came {
    pub(super) at: Duration,
    pub(super) life: u64,
    pub(super) lane: String,
    pub(super) group: Option<String>,
    pub(super) subscription: u64,
    pub(super) attempt: u32,
    pub(super) position: u64,
    pub(super) event: Shown,
    /// A fault of the road may be why it came again.
    pub(super) excused: bool,
}

/// What was said of a message, by its place among those that came.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) at: Duration,
    pub(super) of: usize,
    pub(super) kind: SettleKind,
    pub(super) confirmed: Option<Duration>,
    pub(super) excused: bool,
}

/// What a group is known to be.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) ack_wait: Duration,
    pub(super) max_failures: Option<u32>,
    /// It began with the log, and nobody moved it.
    pub(super) from_start: bool,
}

#[derive(Debug)]
pub(super) struct Topic {
    pub(super) level: Level,
    pub(super) made: Vec<Made>,
    pub(super) came: Vec<Came>,
    pub(super) said: Vec<Said>,
    pub(super) groups: BTreeMap<String, Known>,
    pub(super) redriven: bool,
    pub(super) purged: bool,
    /// What was done to it is nothing that histories know.
    pub(super) strange: bool,
}

/// What a topic is at the end, as a client reads it.
#[derive(Debug, Default)]
pub(crate) struct End {
    /// Messages of the whole log, in their order.
    pub(crate) log: Vec<serde_json::Value>,
    /// `dead_letters`.
    pub(crate) letters: Vec<serde_json::Value>,
    /// Groups that have nothing left to do.
    pub(crate) finished: Vec<String>,
}

/// The lease and the failures of a group that was told nothing else.
const ACK_WAIT: Duration = Duration::from_secs(30);
const MAX_FAILURES: u32 = 5;

impl Default for Known {
    fn default() -> Self {
        Self { ack_wait: ACK_WAIT, max_failures: Some(MAX_FAILURES), from_start: true }
    }
}

impl Topic {
    pub(super) const fn new(level: Level) -> Self {
        Self {
            level,
            made: Vec::new(),
            came: Vec::new(),
            said: Vec::new(),
            groups: BTreeMap::new(),
            redriven: false,
            purged: false,
            strange: false,
        }
    }

    /// The history of it. `about` has what all topics share.
    pub(super) fn history(&self, about: History, end: &End) -> History {
        let mut numbers = Numbers::new(self, &end.log);
        let mut history = History { level: self.level, ..about };
        history.published = numbers.published(self);
        for message in &end.log {
            let position = message["position"].as_u64().unwrap_or_default();
            history.log.push(Stored { position, event: numbers.event(&Shown::seen(message), Some(position)) });
        }
        let mut ids = Vec::with_capacity(self.came.len());
        for (nth, came) in self.came.iter().enumerate() {
            let event = numbers.event(&came.event, Some(came.position));
            ids.push(event.id);
            history.deliveries.push(self.delivery(nth as u64, came, event));
        }
        for said in &self.said {
            let Some((came, id)) = self.came.get(said.of).zip(ids.get(said.of)) else { continue };
            let Some(group) = came.group.as_deref().filter(|group| self.is_ordered(group)) else { continue };
            let Said { at, kind, confirmed, excused, .. } = *said;
            let settle = Settle { at, life: came.life, group: group.into(), event: *id, kind, confirmed, excused };
            history.settles.push(settle);
        }
        for letter in &end.letters {
            let group = letter["group"].as_str().unwrap_or_default();
            // What its members said is not in the history either.
            if self.groups.get(group).is_some_and(|known| !known.from_start) {
                continue;
            }
            let group: Name = group.into();
            let position = letter["position"].as_u64().unwrap_or_default();
            let event = numbers.event(&Shown::seen(&letter["event"]), Some(position));
            history.letters.push(DeadLetter { group, position, event });
        }
        for (name, known) in self.groups.iter().filter(|(name, _)| self.is_ordered(name)) {
            let Known { ack_wait, max_failures, .. } = *known;
            let finished = end.finished.contains(name) && !self.purged;
            history.groups.push(Group { name: name.as_str().into(), ack_wait, max_failures, finished });
        }
        if self.redriven {
            let all = |name: &String| (0..numbers.next).map(|id| (Name::from(name.as_str()), id)).collect::<Vec<_>>();
            history.given_back = self.groups.keys().flat_map(all).collect();
        }
        history
    }

    fn is_ordered(&self, group: &str) -> bool {
        self.groups.get(group).is_some_and(|known| known.from_start)
    }

    /// Of a group that was moved, or did not begin with the log, nothing is said of order:
    /// each of its deliveries is a reader of its own.
    fn delivery(&self, nth: u64, came: &Came, event: Event) -> Delivery {
        let group = came.group.as_deref().filter(|group| self.is_ordered(group)).map(Name::from);
        let alone = came.group.is_some() && group.is_none();
        Delivery {
            at: came.at,
            life: came.life,
            group,
            member: came.lane.as_str().into(),
            subscription: if alone { u64::MAX - nth } else { came.subscription },
            position: came.position,
            attempt: came.attempt,
            event,
            excused: came.excused,
        }
    }
}

/// Events by the numbers that the history gives them.
struct Numbers<'a> {
    topic: &'a Topic,
    by_name: BTreeMap<(String, String), u64>,
    /// Events whose id the client made up, by where their receipt says that they are.
    by_position: BTreeMap<u64, u64>,
    /// What an event looked like when it was first seen.
    first: BTreeMap<u64, (Option<String>, Content)>,
    /// Numbers of events without an id or a receipt: any event that nobody knows may be one of them.
    unnamed: Vec<u64>,
    next: u64,
}

impl<'a> Numbers<'a> {
    fn new(topic: &'a Topic, log: &[serde_json::Value]) -> Self {
        let mut numbers = Self {
            topic,
            by_name: BTreeMap::new(),
            by_position: BTreeMap::new(),
            first: BTreeMap::new(),
            unnamed: Vec::new(),
            next: topic.made.len() as u64,
        };
        for (number, made) in (0..).zip(&topic.made) {
            match (&made.event.source, &made.event.id, made.position) {
                (Some(source), Some(id), _) => {
                    numbers.by_name.entry((source.clone(), id.clone())).or_insert(number);
                }
                (_, _, Some(position)) => {
                    numbers.by_position.insert(position, number);
                }
                _ if made.answer == Answer::Open => numbers.unnamed.push(number),
                _ => {}
            }
        }
        numbers.unnamed.reverse();
        // In log order, so that the oldest unknown event is the oldest unnamed one.
        for message in log {
            numbers.number(&Shown::seen(message), message["position"].as_u64());
        }
        numbers
    }

    fn number(&mut self, event: &Shown, position: Option<u64>) -> u64 {
        let name = (event.source.clone().unwrap_or_default(), event.id.clone().unwrap_or_default());
        if let Some(number) = self.by_name.get(&name) {
            return *number;
        }
        let number = position.and_then(|p| self.by_position.get(&p).copied()).or_else(|| self.unnamed.pop());
        let number = number.unwrap_or_else(|| {
            self.next += 1;
            self.next - 1
        });
        self.by_name.insert(name, number);
        number
    }

    /// An event that was seen. Where it differs from what its publisher said, or from how it
    /// was seen before, its digest does.
    fn event(&mut self, event: &Shown, position: Option<u64>) -> Event {
        let number = self.number(event, position);
        let said = self.said(number);
        let whole = (event.key.clone(), event.content.clone());
        let is_same = *self.first.entry(number).or_insert_with(|| whole.clone()) == whole;
        let shown = said.map(|said| event.within(said)).unwrap_or_default();
        let bytes = if is_same { format!("{shown:?}") } else { format!("{shown:?} once, now {:?}", event.content) };
        Event::new(number, event.key.as_deref(), bytes.as_bytes())
    }

    /// What was said of an event by who published it, and was not refused.
    fn said(&self, number: u64) -> Option<&'a Content> {
        let made = usize::try_from(number).ok().and_then(|n| self.topic.made.get(n))?;
        let refused = |made: &Made| matches!(made.answer, Answer::Refused(_));
        if made.event.id.is_none() || !refused(made) {
            return Some(&made.event.content);
        }
        let same = |other: &&Made| (&other.event.source, &other.event.id) == (&made.event.source, &made.event.id);
        let taken = self.topic.made.iter().filter(same).find(|made| !refused(made));
        Some(&taken.unwrap_or(made).event.content)
    }

    /// Each event once, with the best answer that any of its publishes got.
    fn published(&self, topic: &Topic) -> Vec<Published> {
        let mut published: BTreeMap<u64, Published> = BTreeMap::new();
        for (number, made) in (0..).zip(&topic.made) {
            let first = match (&made.event.source, &made.event.id) {
                (Some(source), Some(id)) => self.by_name.get(&(source.clone(), id.clone())).copied().unwrap_or(number),
                _ => number,
            };
            let bytes = format!("{:?}", made.event.content);
            let event = Event::new(first, made.event.key.as_deref(), bytes.as_bytes());
            let one = Published { event, at: made.at, answer: made.answer };
            let known = published.entry(first).or_insert_with(|| one.clone());
            if matches!((known.answer, made.answer), (Answer::Refused(_), Answer::Open | Answer::Acknowledged(_))) {
                // What was refused may look like anything: it is this one that may be in the log.
                *known = Published { at: known.at, ..one };
            }
            known.answer = match (known.answer, made.answer) {
                (Answer::Acknowledged(at), _) | (_, Answer::Acknowledged(at)) => Answer::Acknowledged(at),
                (Answer::Refused(_), Answer::Refused(at)) => Answer::Refused(at),
                _ => Answer::Open,
            };
        }
        published.into_values().collect()
    }
}
