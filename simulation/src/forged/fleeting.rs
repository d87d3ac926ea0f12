//! A topic that is deleted.

use super::{broken, bytes, ms, passes, refused};
use crate::fleeting::{Came, Deleted, Passing};
use crate::history::{History, Letter, Topic};
use crate::script::FLEETING;

/// Event 1 was kept and came, its topic was deleted after a second, and event 2 was kept and came.
fn one_deleted() -> History {
    let mut history = History::default();
    history.consumers.insert(1, FLEETING);
    history.ended = ms(20_000);
    let fleeting = &mut history.fleeting;
    let event = |at| Passing { at: ms(at), acked: Some(ms(at + 10)) };
    fleeting.events.extend([(1, event(0)), (2, event(1500))]);
    fleeting.deleted.push(Deleted { at: ms(1000), life: 1, kept: Some(ms(1010)) });
    fleeting.came.extend([came(100, 1, 1), came(1600, 1, 2)]);
    history
}

fn came(at: u64, life: u32, id: u32) -> Came {
    Came { at: ms(at), life, group: Some(FLEETING), position: 1, id }
}

#[test]
fn nothing_of_a_topic_that_was_deleted_comes_and_all_of_the_new_one_does() {
    passes(&one_deleted());
    let mut history = one_deleted();
    history.fleeting.came.push(came(1700, 2, 1));
    assert!(
        broken(&history)[0].contains("event 1 came at Moment(1700000), and its topic was deleted at Moment(1000000)")
    );
    // One that was not kept may be undone by the end of its gateway.
    history.fleeting.deleted[0].kept = None;
    passes(&history);
    history.fleeting.came[2].life = 1;
    refused(&history, "event 1 came at Moment(1700000)");
    let mut history = one_deleted();
    history.fleeting.came.pop();
    refused(&history, "event 2 was kept at Moment(1510000), and never came");
    let mut history = one_deleted();
    history.fleeting.came[1].position = 3;
    refused(&history, "event 2 came at 3, and 2 were published in all");
}

#[test]
fn dead_letters_go_with_their_topic() {
    for (kept, life, listed) in [(true, 2, true), (false, 1, true), (false, 2, false)] {
        let mut history = one_deleted();
        history.fleeting.deleted[0].kept = kept.then_some(ms(1010));
        let letter = Letter {
            number: 1,
            group: FLEETING,
            topic: Topic::Fleeting,
            position: 1,
            reason: meshwire_proto::wire::admin::DeathReason::Rejected,
            failures: 1,
            bytes: bytes(1),
        };
        history.fleeting_listed(ms(1300), life, &[letter]);
        assert_eq!(history.complaints.len(), usize::from(listed), "kept: {kept}, life {life}");
    }
}
