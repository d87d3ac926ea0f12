//! Dead letters that are removed.

use meshwire_proto::wire::admin::DeathReason;

use super::{bytes, ms, passes, refused};
use crate::history::{History, Letter, Topic};
use crate::holding::{Came, Kept, Listed, Purged};
use crate::script::HOLDING;

/// Events 1 and 2 of one key; the first is a letter, which is removed after a second.
fn one_purged() -> History {
    let mut history = History::default();
    history.consumers.insert(1, HOLDING);
    let holding = &mut history.holding;
    holding.events.extend([1, 2].map(|id| (id, Kept { key: Some(1), acked: Some(ms(10)) })));
    holding.listed.push(Listed { at: ms(500), letters: vec![(1, 1)] });
    holding.purged.push(Purged { at: ms(1000), life: 1, ids: [1].into(), kept: Some(ms(1010)) });
    let came = [(100, 1), (1001, 2)];
    holding.came.extend(came.map(|(at, id)| Came { at: ms(at), life: 1, id, position: id.into() }));
    history
}

#[test]
fn what_was_purged_does_not_come_and_its_key_goes_on_with_it() {
    passes(&one_purged());
    let with = |change: fn(&mut History)| {
        let mut history = one_purged();
        change(&mut history);
        history
    };
    let again = |history: &mut History| {
        history.holding.came.push(Came { at: ms(1200), life: 2, id: 1, position: 1 });
    };
    let mut history = with(again);
    refused(&history, "the dead letter of 1 was removed at Moment(1000000), and it came at Moment(1200000)");
    // A removal that was not kept may be undone by the end of its gateway.
    history.holding.purged[0].kept = None;
    passes(&history);
    history.holding.came[2].life = 1;
    refused(&history, "the dead letter of 1 was removed");
    let early = |history: &mut History| history.holding.came[1].at = ms(700);
    refused(&with(early), "2 came at Moment(700000), and its key waits for the dead letter of 1");
    let mut history = with(early);
    history.holding.redriven.push(ms(550));
    passes(&history);
    history = with(|history| history.holding.came.truncate(1));
    refused(&history, "event 2 was kept at Moment(10000) and never came");
}

#[test]
fn what_was_purged_is_in_no_list() {
    for (kept, life, listed) in [(true, 2, true), (false, 1, true), (false, 2, false)] {
        let mut history = one_purged();
        history.holding.purged[0].kept = kept.then_some(ms(1010));
        let letter = Letter {
            number: 1,
            group: HOLDING,
            topic: Topic::Held,
            position: 1,
            reason: DeathReason::Rejected,
            failures: 1,
            bytes: bytes(1),
        };
        history.letters_listed(ms(1300), life, &[letter]);
        assert_eq!(history.complaints.len(), usize::from(listed), "kept: {kept}, life {life}");
    }
}
