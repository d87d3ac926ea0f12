//! A Publish frame piece by piece.

use meshwire_proto::frame::{Publish, PublishRun};

/// Memory of a run, beside its events.
const RUN_BYTES: u64 = size_of::<PublishRun>() as u64;

/// Events of a frame and their bytes.
pub(super) fn weight(publish: &Publish) -> (u64, u64) {
    let events = publish.runs.iter().map(|run| u64::from(run.events.count())).sum();
    (events, publish.runs.iter().map(|run| run.events.as_bytes().len() as u64).sum())
}

/// Memory of a frame, if nothing else was received with it.
pub(super) fn memory(publish: &Publish) -> u64 {
    let (_, bytes) = weight(publish);
    bytes + RUN_BYTES * publish.runs.len() as u64
}

/// Takes runs off the front: at most so many events with at most so many bytes, but always one.
pub(super) fn split_front(publish: &mut Publish, (most, bytes): (u64, u64)) -> Publish {
    split(publish, (most, bytes), 0)
}

/// Keeps at most so many bytes of a frame in memory of their own, since a frame holds all that was received with it; gives what is behind
/// them.
pub(super) fn keep_front(publish: &mut Publish, most: u64) -> Publish {
    let mut kept = split(publish, (u64::MAX, most), RUN_BYTES);
    kept.runs.iter_mut().for_each(|run| run.events = run.events.copied());
    std::mem::replace(publish, kept)
}

/// Each run counts as so many bytes more than its events have.
fn split(publish: &mut Publish, (most, bytes): (u64, u64), head: u64) -> Publish {
    let (mut left, mut bytes_left) = (most, bytes);
    let mut piece = Publish { runs: Vec::new(), answered_through: publish.answered_through };
    let mut whole = 0;
    for run in &mut publish.runs {
        let fits = |run: &PublishRun| run.events.as_bytes().len() as u64 + head <= bytes_left;
        if !piece.runs.is_empty() && (left == 0 || !fits(run)) {
            break;
        }
        let events = run.events.split_front(left, bytes_left.saturating_sub(head));
        let (count, len) = (u64::from(events.count()), events.as_bytes().len() as u64);
        // Its topic stays with the rest, which is bound, or refused, like it.
        piece.runs.push(PublishRun { events, topic: run.topic.clone(), ..*run });
        if !run.events.is_empty() {
            run.first_sequence += count;
            break;
        }
        whole += 1;
        (left, bytes_left) = (left.saturating_sub(count), bytes_left.saturating_sub(len + head));
    }
    publish.runs.drain(..whole);
    piece
}
