//! Each row is the good history with one thing bent, and all that the checks say of it.

use meshwire_history::Check::{
    AckLost, Changed, DeadTwice, Doubled, LeasedTwice, LeftOpen, Lost, Misplaced, Phantom, Reordered,
};
use meshwire_history::{Answer, Check, Delivery, Event, History, Level, Settle, SettleKind, judge};

use crate::good::{again, came, death, delivery, event, good, letter, ms, published, settle, settled, stored};

const WORK: Option<&str> = Some("work");
const AUDIT: Option<&str> = Some("audit");

struct Forged {
    name: &'static str,
    bend: fn(&mut History),
    /// The check that speaks, and a sentence of it.
    says: (Check, &'static str),
    /// Sentences in all, of this check and of others that the same thing breaks.
    sentences: usize,
}

const fn forged(name: &'static str, bend: fn(&mut History), check: Check, sentence: &'static str) -> Forged {
    Forged { name, bend, says: (check, sentence), sentences: 1 }
}

impl Forged {
    const fn of(self, sentences: usize) -> Self {
        Self { sentences, ..self }
    }
}

fn of_the_log() -> Vec<Forged> {
    vec![
        forged(
            "the last event that was acknowledged is not there",
            |h| h.published.push(published(7, Answer::Acknowledged(ms(20)))),
            Lost,
            "event 7 was acknowledged at 20ms and is not in the log",
        ),
        forged(
            "an event in the middle is gone that all have seen",
            |h| drop(h.log.remove(3)),
            Lost,
            "event 4 was acknowledged at 14ms and is not in the log",
        )
        .of(4),
        forged(
            "a kill took an event of a written topic",
            |h| {
                h.level = Level::Written;
                h.published.push(published(7, Answer::Acknowledged(ms(20))));
            },
            Lost,
            "event 7 was acknowledged at 20ms and is not in the log",
        ),
        forged(
            "an event was acknowledged after the power was lost, and is gone",
            |h| {
                h.level = Level::Written;
                h.deaths[0].power_lost = true;
                h.published.push(published(7, Answer::Acknowledged(ms(1100))));
            },
            Lost,
            "event 7 was acknowledged at 1.1s and is not in the log",
        ),
        forged(
            "the log has an event of nobody",
            |h| h.log.push(stored(7, 9)),
            Phantom,
            "event 9 is at 7 of the log, and nobody published it",
        )
        .of(3),
        forged(
            "a reader got an event of nobody",
            |h| h.deliveries.push(Delivery { position: 7, ..came(120, None, "reader", 9) }),
            Phantom,
            "event 9 came to reader at 120ms as position 7, and nobody published it",
        ),
        forged(
            "a dead letter is of nobody",
            |h| h.letters.push(letter("work", 9)),
            Phantom,
            "event 9 is a dead letter of group work with position 9, and nobody published it",
        ),
        forged(
            "an event was refused and is in the log",
            |h| h.published[5].answer = Answer::Refused(ms(16)),
            Phantom,
            "event 6 is at 6 of the log, and it was refused at 16ms",
        )
        .of(6),
        forged(
            "the log has other bytes",
            |h| h.log[3].event = Event::new(4, Some("b"), b"event 5"),
            Changed,
            "event 4 is at 4 of the log, and its bytes changed",
        ),
        forged(
            "an event is in the log twice",
            |h| h.log.extend([stored(7, 2)]),
            Doubled,
            "event 2 is in the log twice, at 2 and at 7",
        ),
        forged(
            "two events are at one place",
            |h| h.log[5].position = 5,
            Misplaced,
            "events 5 and 6 are both at 5 of the log",
        )
        .of(6),
    ]
}

fn of_what_came() -> Vec<Forged> {
    vec![
        forged(
            "an event came before it was published",
            |h| h.published[5].at = ms(107),
            Phantom,
            "event 6 came to reader at 106ms as position 6, and it was published at 107ms",
        ),
        forged(
            "an event came with other bytes",
            |h| delivery(h, WORK, 4, 0).event = Event::new(4, Some("b"), b"event"),
            Changed,
            "event 4 came to bob of group work at 204ms as position 4, and its bytes changed",
        ),
        forged(
            "an event came with another key",
            |h| delivery(h, AUDIT, 2, 0).event.key = Some("a".into()),
            Changed,
            "event 2 came to carol of group audit at 302ms as position 2, and its key changed",
        ),
        forged(
            "a dead letter has other bytes",
            |h| h.letters[0].event = Event::new(6, None, b"event"),
            Changed,
            "event 6 is a dead letter of group work with position 6, and its bytes changed",
        ),
        forged(
            "an event came from the place of another",
            |h| delivery(h, WORK, 6, 0).position = 5,
            Misplaced,
            "event 6 came to bob of group work at 206ms as position 5, and is at 6 of the log",
        ),
        forged(
            "an event came that was never kept",
            |h| {
                h.published.push(published(7, Answer::Open));
                h.deliveries.push(came(120, None, "reader", 7));
            },
            Misplaced,
            "event 7 came to reader at 120ms as position 7, and is not in the log",
        ),
        forged(
            "a member got a key's second event first",
            |h| {
                let (first, second) = (delivery(h, WORK, 1, 0).clone(), delivery(h, WORK, 3, 0).clone());
                *delivery(h, WORK, 3, 0) = Delivery { at: second.at, ..first };
                *delivery(h, WORK, 1, 0) = Delivery { at: ms(201), ..second };
            },
            Reordered,
            "event 3 at 3 of key a came to alice of group work at 201ms before event 1 at 1",
        ),
        forged(
            "a key's first event was with another member when its second came",
            |h| delivery(h, WORK, 1, 0).member = "bob".into(),
            Reordered,
            "event 3 at 3 of key a came to alice of group work at 203ms before event 1 at 1",
        )
        .of(2),
        forged(
            "a new subscription went on in the middle of a key",
            |h| {
                delivery(h, WORK, 3, 1).subscription = 1;
                delivery(h, WORK, 5, 1).subscription = 1;
                settled(h, "work", 3).at = ms(300);
                delivery(h, WORK, 3, 1).at = ms(236);
                h.deliveries.sort_by_key(|d| d.at);
            },
            Reordered,
            "event 5 at 5 of key a came to alice of group work at 235ms before event 3 at 3",
        ),
        forged(
            "what follows a nacked event in its key came again before it",
            |h| {
                delivery(h, WORK, 3, 1).at = ms(236);
                settled(h, "work", 3).at = ms(243);
                h.deliveries.sort_by_key(|d| d.at);
            },
            Reordered,
            "event 5 at 5 of key a came to alice of group work at 235ms, before event 3 at 3, which was nacked at 213ms, came again",
        ),
        forged(
            "a rejected event was still with another member when the next of its key came",
            |h| {
                delivery(h, WORK, 2, 0).member = "alice".into();
                h.settles.retain(|s| &*s.group != "work" || s.event != 2);
                h.settles.push(settle(250, "work", 2, SettleKind::Reject));
                h.letters.push(letter("work", 2));
            },
            Reordered,
            "event 4 at 4 of key b came to bob of group work at 204ms before event 2 at 2",
        ),
        forged(
            "a reader missed an event",
            |h| h.deliveries.retain(|d| d.group.is_some() || d.event.id != 4),
            Reordered,
            "event 5 at 5 came to reader at 105ms right after position 3",
        ),
        forged(
            "a reader went back",
            |h| h.deliveries.push(came(120, None, "reader", 3)),
            Reordered,
            "event 3 at 3 came to reader at 120ms right after position 6",
        ),
    ]
}

fn of_settles() -> Vec<Forged> {
    vec![
        forged(
            "an event came again behind a kill after its ack was confirmed",
            |h| {
                settled(h, "audit", 5).life = 1;
                let ack = h.settles.iter_mut().find(|s| &*s.group == "audit" && s.event == 5).unwrap();
                ack.confirmed = Some(ms(760));
            },
            AckLost,
            "event 5 came again to carol of group audit at 1.505s in life 1: its ack was confirmed at 760ms",
        ),
        forged(
            "an event came again behind a kill, long after its ack",
            |h| h.deaths[0].at = ms(1006),
            AckLost,
            "event 5 came again to carol of group audit at 1.505s in life 1: \
             it was acked at 755ms in life 0, which ended 251ms later",
        ),
        forged(
            "an event came again in the life of its ack",
            |h| {
                again(h, 400, "bob", 4);
                h.settles.push(settle(410, "work", 4, SettleKind::Ack));
            },
            AckLost,
            "event 4 came again to bob of group work at 400ms in life 0: it was acked at 214ms in life 0, which went on",
        ),
        forged(
            "a kill took the ack that the life before it does not forgive",
            |h| {
                h.deaths.push(death(1, 9000));
                let last = Delivery { life: 2, ..came(9500, AUDIT, "carol", 6) };
                h.deliveries.push(last);
                h.settles.push(Settle { life: 2, ..settle(9600, "audit", 6, SettleKind::Ack) });
            },
            AckLost,
            "event 6 came again to carol of group audit at 9.5s in life 2: \
             it was acked at 1.516s in life 1, which ended 7.484s later",
        ),
        forged(
            "a dead letter has a confirmed ack",
            |h| {
                h.letters.push(letter("work", 4));
                settled(h, "work", 4).confirmed = Some(ms(230));
            },
            AckLost,
            "event 4 is a dead letter of group work, and its ack was confirmed at 230ms",
        ),
        forged(
            "a dead letter was acked in time",
            |h| h.letters.push(letter("work", 4)),
            AckLost,
            "event 4 is a dead letter of group work, and was acked at 214ms, in time",
        ),
        forged(
            "an event came to a second member while the first had it",
            |h| again(h, 213, "alice", 4).excused = false,
            LeasedTwice,
            "event 4 came to alice of group work at 213ms, and bob had it since 204ms",
        ),
        forged(
            "an event came to a second member as the same attempt",
            |h| again(h, 213, "alice", 4).attempt = 1,
            LeasedTwice,
            "event 4 came twice as attempt 1 in group work, to bob at 204ms and to alice at 213ms",
        ),
        forged(
            "an event came again before its lease was over",
            |h| {
                h.settles.retain(|s| &*s.group != "work" || s.event != 4);
                again(h, 204 + 9_949, "alice", 4).attempt = 2;
                h.settles.push(settle(11_000, "work", 4, SettleKind::Ack));
            },
            LeasedTwice,
            "event 4 came to alice of group work at 10.153s, and bob had it since 204ms",
        ),
        forged(
            "a failed event took back one of another key",
            |h| {
                again(h, 213, "bob", 4);
                h.settles.retain(|s| &*s.group != "work" || s.event != 2);
                let failed = Settle { confirmed: None, ..settle(212, "work", 2, SettleKind::Ack) };
                h.settles.push(failed);
            },
            LeasedTwice,
            "event 4 came to bob of group work at 213ms, and bob had it since 204ms",
        ),
    ]
}

fn of_the_end() -> Vec<Forged> {
    vec![
        forged(
            "an event was never acked",
            |h| h.settles.retain(|s| &*s.group != "work" || s.event != 4),
            LeftOpen,
            "event 4 at 4 came last to bob at 204ms, without an ack, in group work, and is no dead letter of it",
        ),
        forged(
            "an event never came to a group",
            |h| {
                h.deliveries.retain(|d| d.group.as_deref() != AUDIT || d.event.id != 6);
                h.settles.retain(|s| &*s.group != "audit" || s.event != 6);
            },
            LeftOpen,
            "event 6 at 6 never came to group audit, and is no dead letter of it",
        ),
        forged(
            "an event came again at last and was not acked again",
            |h| drop(h.settles.pop()),
            LeftOpen,
            "event 6 at 6 came last to carol at 1.506s, without an ack, in group audit, and is no dead letter of it",
        ),
        forged(
            "a rejected event is no dead letter",
            |h| h.letters.clear(),
            LeftOpen,
            "event 6 at 6 came last to bob at 206ms, without an ack, in group work, and is no dead letter of it",
        ),
        forged(
            "an event is two dead letters",
            |h| h.letters.push(letter("work", 6)),
            DeadTwice,
            "event 6 is 2 dead letters of group work",
        ),
        forged(
            "a group that gives nothing up has a dead letter",
            |h| h.letters.push(letter("audit", 1)),
            DeadTwice,
            "event 1 is a dead letter of group audit, which gives nothing up, and was not rejected",
        )
        .of(2),
    ]
}

fn all() -> Vec<Forged> {
    [of_the_log(), of_what_came(), of_settles(), of_the_end()].into_iter().flatten().collect()
}

#[test]
fn a_good_history_passes() {
    let verdict = judge(&good());
    assert!(verdict.broken.is_empty(), "{:?}", verdict.broken);
    assert_eq!((verdict.forgiven.just_before_a_death, verdict.forgiven.for_a_dead_life), (2, 0));
}

#[test]
fn each_forged_history_is_refused_with_a_sentence_that_names_what_is_bent() {
    let mut wrong = Vec::new();
    for Forged { name, bend, says: (check, sentence), sentences } in all() {
        let mut seen = good();
        bend(&mut seen);
        let broken = judge(&seen).broken;
        let said = broken.iter().any(|b| (b.check, &*b.sentence) == (check, &*format!("orders: {sentence}")));
        if !said || broken.len() != sentences {
            let said: Vec<String> = broken.iter().map(ToString::to_string).collect();
            wrong.push(format!("{name}: {} sentences:\n  {}", said.len(), said.join("\n  ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn there_are_forged_histories_enough_and_some_for_every_check() {
    let all = all();
    assert!(all.len() >= 20, "{}", all.len());
    for check in Check::ALL {
        assert!(all.iter().any(|forged| forged.says.0 == check), "{check:?}");
    }
    assert_eq!(event(1), good().log[0].event);
}
