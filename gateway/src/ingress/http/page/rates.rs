//! Events a second, from two looks at the topics that are at least a second apart.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use meshwire_proto::Moment;
use meshwire_proto::wire::admin::Topic;

/// Looks that are closer together tell nothing.
const APART: Duration = Duration::from_secs(1);

/// A look: of no more topics than a page has.
#[derive(Debug, Default)]
struct Look {
    at: Moment,
    next: BTreeMap<String, u64>,
}

/// The last two looks, whoever looked.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<(Option<Look>, Option<Look>)>);

impl Rates {
    /// Looks, and gives the rates that are known.
    pub(super) fn look(&self, now: Moment, topics: &[Topic]) -> BTreeMap<String, f64> {
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.1.as_ref().is_none_or(|last| now.since(last.at) >= APART) {
            let next = topics.iter().map(|topic| (topic.name.clone(), topic.next_position)).collect();
            looks.0 = looks.1.replace(Look { at: now, next });
        }
        let (Some(before), Some(last)) = &*looks else { return BTreeMap::new() };
        let seconds = last.at.since(before.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let rate = |(topic, next): (&String, &u64)| {
            // Fewer than before: it was made anew.
            let stored = next.checked_sub(*before.next.get(topic)?)?;
            Some((topic.clone(), stored as f64 / seconds))
        };
        last.next.iter().filter_map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topics(next: u64) -> Vec<Topic> {
        vec![Topic { name: "t".to_owned(), next_position: next, ..Topic::default() }]
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
}
