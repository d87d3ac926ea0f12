//! Publish frames of more than the gateway's rate allows at once: they take their turns piece by piece, in time that stands still.

use meshwire_gateway::mesh::Rates;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, Receipt, ServerFrame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Event};

use crate::access::{listen_to, said};
use crate::machine::{Line, Machine};
use crate::memory::receipts;
use crate::rates::{delivered, kept, kept_within};
use crate::rig::{earliest, event, hello, run_of};

/// Publishes that many events as one frame, of two topics in turn.
fn publish_many(line: &Line, first: u64, count: u64) {
    let run = |first_sequence: u64, events: u64| PublishRun {
        alias: 1 + u32::from(first_sequence.is_multiple_of(2)),
        topic: ["u", "t"][(first_sequence % 2) as usize].into(),
        first_sequence,
        events: run_of(&(0..events).map(|n| event(&(first_sequence + n).to_string())).collect::<Vec<_>>()),
        ..PublishRun::default()
    };
    // The first has half of them, the others one each.
    let half = count / 2;
    let others = (first + half..first + count).map(|sequence| run(sequence, 1));
    let runs = std::iter::once(run(first, half)).chain(others).collect();
    line.send(&ClientFrame::Publish(Publish { runs, answered_through: 0 }));
}

/// Publishes that many events of so many bytes as one frame of one run.
fn publish_one_run(line: &Line, count: u64, bytes: usize) {
    let large = |n: u64| Event::bytes("t", vec![7; bytes]).id(n.to_string()).source("/rig");
    let events = run_of(&(1..=count).map(large).collect::<Vec<_>>());
    let run = PublishRun { alias: 1, topic: "t".into(), first_sequence: 1, events, ..PublishRun::default() };
    line.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 }));
}

/// Receipts that come within so many milliseconds, and when.
fn receipts_within(machine: &Machine, line: &Line, millis: u32) -> Vec<(u32, Receipt)> {
    let step = |n: u32| {
        machine.pass(1);
        machine.run_disk();
        receipts(line).into_iter().map(move |receipt| (2 * n, receipt))
    };
    (0..millis / 2).flat_map(step).collect()
}

fn sequences(receipts: impl Iterator<Item = Receipt>) -> Vec<u64> {
    let of = |r: Receipt| r.first_sequence..r.first_sequence + u64::from(r.count);
    let mut sequences: Vec<u64> = receipts.flat_map(of).collect();
    sequences.sort_unstable();
    sequences
}

#[test]
fn a_frame_of_more_than_the_rate_takes_its_turns_one_by_one_and_is_one_call() {
    let (log, _other, _guard) = listen_to("meshwire::access");
    let machine = Machine::limited(|c| c.rates = Rates { publish: (5, 0), ..Rates::default() });
    let (line, other) = (machine.session(), machine.session());
    publish_many(&line, 1, 200);
    line.send(&ClientFrame::Ping(wire::Ping { nonce: 7, answer: false }));
    assert!(line.frames().iter().any(|f| matches!(f, ServerFrame::Ping(_))), "what is no publish is heard at once");
    let mut answers = receipts_within(&machine, &line, 1000);
    other.publish(1, "t");
    let others = receipts_within(&machine, &other, 500);
    assert!(matches!(&*others, [(_, Receipt { code: 0, .. })]), "another has its turn between: {others:?}");
    answers.extend(receipts_within(&machine, &line, 41_000));
    assert!(answers.iter().all(|(_, r)| r.code == 0), "slowed down and refused nothing: {answers:?}");
    assert!(!line.is_held());
    assert!(sequences(answers.into_iter().map(|(_, r)| r)).into_iter().eq(1..=200), "each once");
    let calls = said(&log, ["operation", "topic", "events", "code"]);
    let publishes = calls.into_iter().filter(|[operation, ..]| operation == "publish");
    let expected = [["t", "1", "OK"], ["t", "200", "OK"]];
    assert!(
        publishes.map(|[_, topic, events, code]| [topic, events, code]).eq(expected),
        "the shorter one is done before"
    );
}

#[test]
fn a_large_frame_at_a_low_rate_stays_as_far_as_there_is_memory_and_the_rest_is_refused_after_5_s() {
    const EVENT: usize = 16 << 10;
    let machine = Machine::limited(|c| c.rates = Rates { publish: (5, 0), ..Rates::default() });
    let line = machine.session();
    // 3.2 MB; about one may wait.
    publish_one_run(&line, 200, EVENT);
    let answers = receipts_within(&machine, &line, 60_000);
    let (kept, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|(_, r)| r.code == 0);
    let many: u32 = refused.iter().map(|(_, r)| r.count).sum();
    assert!((80..=150).contains(&many), "{refused:?}");
    for (at, r) in &refused {
        assert!((4990..=5500).contains(at) && r.code == ErrorKind::Busy.number(), "{at}: {r:?}");
        // When the others have had their turns.
        assert!((5000..=20_000).contains(&r.retry_after_ms), "{r:?}");
    }
    let kept: Vec<Receipt> = kept.into_iter().map(|(_, r)| r).collect();
    assert!(kept.is_sorted_by_key(|r| r.first_position));
    assert!(sequences(kept.into_iter()).into_iter().eq(1..=200 - u64::from(many)), "those before them, in order");
    assert!(!line.is_held());
}

#[test]
fn a_frame_waits_for_a_stuck_disk_a_second_in_all_however_many_pieces_it_has() {
    const EVENT: usize = 1 << 10;
    let machine = Machine::limited(|c| {
        c.rates = Rates { publish: (100, 0), ..Rates::default() };
        c.publish_budget_bytes = 20 * EVENT as u64;
    });
    let line = machine.session();
    publish_one_run(&line, 100, EVENT);
    let mut refused = Vec::new();
    for millis in 0..4000 {
        machine.pass(1);
        refused.extend(receipts(&line).into_iter().map(|r| (millis, r)));
    }
    let many: u32 = refused.iter().map(|(_, r)| r.count).sum();
    assert!(
        (75..=95).contains(&many) && refused.iter().all(|(_, r)| r.code == ErrorKind::Busy.number()),
        "{refused:?}"
    );
    assert!(
        refused.iter().all(|(at, _)| (900..=2000).contains(at)),
        "a second, and the turns of its pieces: {refused:?}"
    );
    machine.run_disk();
    assert_eq!((kept(&line) + many, line.is_held()), (100, false));
}

#[test]
fn what_is_behind_a_frame_that_takes_its_turns_comes_after_it() {
    let machine = Machine::limited(|c| c.rates = Rates { publish: (50, 0), ..Rates::default() });
    let line = machine.session();
    publish_many(&line, 1, 200);
    publish_many(&line, 201, 20);
    let first = kept_within(&machine, &line, 2000);
    assert!((100..=110).contains(&first), "{first}");
    assert_eq!(first + kept_within(&machine, &line, 3000), 220);
    assert!(!line.is_held());
}

#[test]
fn who_is_cut_off_in_the_middle_of_a_frame_publishes_it_anew_and_has_each_event_once() {
    let (log, _other, _guard) = listen_to("meshwire::access");
    let machine = Machine::limited(|c| c.rates = Rates { publish: (50, 0), ..Rates::default() });
    let hello = hello();
    let (line, welcome) = machine.login(hello.clone());
    publish_many(&line, 1, 100);
    let before: Vec<Receipt> = receipts_within(&machine, &line, 1000).into_iter().map(|(_, r)| r).collect();
    let first = before.iter().map(|r| r.count).sum::<u32>();
    assert!((50..=60).contains(&first), "{first}");
    line.cut();
    assert_eq!(said(&log, ["operation", "events", "code"]).pop().unwrap(), ["publish", "100", "CANCELLED"]);
    machine.pass(3000);
    assert_eq!(kept(&line), 0, "nothing goes on without its connection");
    let resume = wire::Hello { resume_session: welcome.session, resume_secret: welcome.secret, ..hello };
    let (line, again) = machine.login(resume);
    assert!(again.resumed);
    publish_many(&line, 1, 100);
    let answers: Vec<Receipt> = receipts_within(&machine, &line, 3000).into_iter().map(|(_, r)| r).collect();
    assert!(sequences(answers.iter().cloned()).into_iter().eq(1..=100), "{answers:?}");
    let known = before.iter().flat_map(|r| r.first_sequence..r.first_sequence + u64::from(r.count));
    for sequence in known {
        let has = |r: &&Receipt| (r.first_sequence..r.first_sequence + u64::from(r.count)).contains(&sequence);
        let answer = answers.iter().find(has).unwrap();
        assert!(answer.code == 0 && answer.duplicate, "{answer:?}");
    }
    let reader = machine.session();
    reader.send(&ClientFrame::Subscribe(earliest(1, "t", "")));
    reader.send(&ClientFrame::Subscribe(earliest(2, "u", "")));
    machine.run_disk();
    assert_eq!(delivered(&reader), 100, "of both topics together");
}
