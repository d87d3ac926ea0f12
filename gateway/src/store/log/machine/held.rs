//! Why there is no room, in the words of the refusal: what is full, and what holds the oldest segment when there is no space for another.

use meshwire_proto::UnixMillis;

use super::space::More;
use super::{LogMachine, Space};
use crate::store::StoreError;
use crate::store::log::disk::DiskFault;
use crate::store::log::fold::Fold;
use crate::store::log::segment::Span;

/// So many topics are named: those with the most bytes in the segment.
const MOST_NAMED: usize = 3;

const MAKE_ROOM: &str = "make room on the file system of the data directory";

impl LogMachine {
    /// Why there is no room. Thousands a second may ask: as long as nothing changes it is put into words once.
    pub(super) fn no_room(&mut self) -> StoreError {
        if let Some(cause) = &self.failed {
            return StoreError::Failed(cause.clone());
        }
        let words = self.full_words.take().or_else(|| match (&self.full, &self.space.more) {
            (Some((_, cause)), _) => Some(self.full_cause(false, cause)),
            (None, More::Refused { limit, cause, .. }) => Some(self.full_cause(*limit, cause)),
            _ => None,
        });
        let Some(words) = words else {
            return StoreError::Busy("the log is allocating its next segment; try again".to_owned());
        };
        self.full_words = Some(words.clone());
        StoreError::Full(words)
    }

    /// What is full, what holds it, and what to do; `limit`: it is no more than is allowed.
    fn full_cause(&self, limit: bool, cause: &str) -> String {
        let soon = || format!("{cause}; space is being given back: publish again in a few seconds");
        match self.jobs.checkpoint_failed() {
            _ if self.jobs.is_freeing() => return soon(),
            Some(error) if self.space.wants_checkpoint() => {
                let more = if error.fault == DiskFault::NoSpace { MAKE_ROOM } else { "it is tried again" };
                return format!(
                    "{cause}; space is given back once a checkpoint is written, and that failed ({error}); {more}"
                );
            }
            _ if self.space.gives_back() => return soon(),
            _ => {}
        }
        if let Some(waits) = self.space.waits_for_window(self.wall) {
            return format!("{cause}; {waits}");
        }
        let more = if limit { "raise max_disk" } else { MAKE_ROOM };
        match self.space.held_by(&self.fold) {
            Some(holders) => format!("{cause}; {holders}; delete what is not needed, set less retention, or {more}"),
            // With the next look at retention the oldest of them goes.
            None if !self.space.sealed.is_empty() => soon(),
            None => format!("{cause}; {more}"),
        }
    }
}

/// Whether an event of a span can still be read, or waits for its time.
pub(super) fn is_held(span: &Span, fold: &Fold) -> bool {
    match fold.topics.get(&span.topic) {
        Some(_) if span.topic.is_delayed() => fold.times.waits(span.topic, span.first, span.next),
        topic => topic.is_some_and(|t| span.next > t.first),
    }
}

impl Space {
    /// That there will be space by itself: some segments hold nothing but the window of de-duplication.
    pub(super) fn waits_for_window(&self, wall: UnixMillis) -> Option<String> {
        let (segments, until) = self.windowed.filter(|(_, until)| *until > wall)?;
        let seconds = until.0.saturating_sub(wall.0) / 1000 + 1;
        Some(format!(
            "{} only events that are gone, by whose ids duplicates are still told: their space comes back in about \
             {seconds} s (option dedup_window)",
            if segments == 1 { "a segment holds".to_owned() } else { format!("{segments} segments hold") }
        ))
    }

    /// The topics that hold the oldest segment; `None` if no topic does.
    pub(super) fn held_by(&self, fold: &Fold) -> Option<String> {
        let oldest = self.sealed.values().next()?;
        let mut spans: Vec<_> = oldest.spans.iter().filter(|span| is_held(span, fold)).collect();
        spans.sort_by_key(|span| std::cmp::Reverse(span.bytes));
        let mut named: Vec<_> = spans.iter().take(MOST_NAMED).filter_map(|span| what_is_held(span, fold)).collect();
        if named.is_empty() {
            return None;
        }
        if let Some(more @ 1..) = spans.len().checked_sub(named.len()) {
            named.push(format!("{more} more topics"));
        }
        Some(format!(
            "the oldest segment of the log is given back when nothing in it is needed, and is held by {}",
            named.join(", ")
        ))
    }
}

fn what_is_held(span: &Span, fold: &Fold) -> Option<String> {
    // What waits is named by the topic that it is for.
    let topic = fold.topics.get(&span.topic.target()).or_else(|| fold.topics.get(&span.topic))?;
    Some(if span.topic.is_delayed() {
        format!("events of topic {} that wait for their time", topic.name)
    } else if span.topic.is_dead_letters() {
        format!("dead letters of topic {}", topic.name)
    } else {
        let seconds = topic.retention_ms / 1000;
        format!("events of topic {} (retention {seconds} s)", topic.name)
    })
}
