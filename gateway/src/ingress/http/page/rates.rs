//! Events a second, each topic's from the last two looks at it that are at least a second apart, whichever page it stands on.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::wire::admin::Topic;

/// Looks that are closer together tell nothing.
const APART: Duration = Duration::from_secs(1);

/// A topic that nobody has looked at for so long is forgotten: its rate would be that of long ago.
const FORGOTTEN: Duration = Duration::from_secs(300);

/// Most topics that are remembered, about 2 MiB with the longest names: of as many as there may be by default.
const MOST: usize = 10_000;

/// When it was, and the topic's next position then.
type Look = (Moment, u64);

/// The last two looks at a topic, whoever looked.
#[derive(Debug)]
struct Looks {
    before: Option<Look>,
    last: Look,
}

impl Looks {
    fn rate(&self) -> Option<f64> {
        let (before, last) = (self.before?, self.last);
        let seconds = last.0.since(before.0).as_secs_f64().max(f64::MIN_POSITIVE);
        // Fewer than before: it was made anew.
        Some(last.1.checked_sub(before.1)? as f64 / seconds)
    }
}

/// Looks at topics.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<BTreeMap<String, Looks>>);

impl Rates {
    /// Looks at the topics of a page, and gives the rates that are known.
    pub(super) fn look(&self, now: Moment, topics: &[Topic]) -> BTreeMap<String, f64> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, looks| now.since(looks.last.0) < FORGOTTEN);
        let mut rates = BTreeMap::new();
        for topic in topics {
            let look = (now, topic.next_position);
            let known = seen.len();
            let Some(looks) = seen.get_mut(&topic.name) else {
                if known < MOST {
                    seen.insert(topic.name.clone(), Looks { before: None, last: look });
                }
                continue;
            };
            if now.since(looks.last.0) >= APART {
                looks.before = Some(std::mem::replace(&mut looks.last, look));
            }
            rates.extend(looks.rate().map(|rate| (topic.name.clone(), rate)));
        }
        rates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(next: u64) -> Vec<Topic> {
        vec![named("t", next)]
    }

    fn named(name: &str, next: u64) -> Topic {
        Topic { name: name.to_owned(), next_position: next, ..Topic::default() }
    }

    #[test]
    fn a_rate_is_known_from_the_second_look_on_and_not_of_a_topic_that_was_made_anew() {
        let rates = Rates::default();
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        assert!(rates.look(at(1), &topics(1)).is_empty());
        assert!(rates.look(Moment(1_500_000), &topics(50)).is_empty(), "too close");
        assert_eq!(rates.look(at(3), &topics(101)), BTreeMap::from([("t".to_owned(), 50.0)]));
        assert_eq!(rates.look(Moment(3_200_000), &topics(200)), BTreeMap::from([("t".to_owned(), 50.0)]));
        assert!(rates.look(at(5), &topics(1)).is_empty());
    }

    #[test]
    fn topics_of_different_pages_have_their_own_rates_and_what_nobody_looks_at_is_forgotten() {
        let rates = Rates::default();
        let at = |seconds: u64| Moment(seconds * 1_000_000);
        let (first, second) = (|next| [named("a", next)], |next| [named("b", next)]);
        rates.look(at(1), &first(1));
        rates.look(at(2), &second(1));
        assert_eq!(rates.look(at(3), &first(21)), BTreeMap::from([("a".to_owned(), 10.0)]));
        assert_eq!(rates.look(at(4), &second(5)), BTreeMap::from([("b".to_owned(), 2.0)]));
        assert!(rates.look(at(4 + FORGOTTEN.as_secs()), &second(9)).is_empty());
        assert!(rates.look(at(5 + FORGOTTEN.as_secs()), &first(30)).is_empty());
        let many: Vec<Topic> = (0..MOST + 10).map(|n| named(&n.to_string(), 1)).collect();
        rates.look(at(9 + FORGOTTEN.as_secs()), &many);
        assert_eq!(rates.0.lock().map(|seen| seen.len()).ok(), Some(MOST));
    }
}
