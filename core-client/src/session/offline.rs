//! Publishes that wait out a gateway that is away or busy: how many, for how long, and
//! what is sent again. What is kept on disk meanwhile is the owner's (`offline/`).

use std::time::Duration;

use meshwire_proto::{ErrorKind, EventRun, Moment, Retry, Timing, options};

use super::{Answer, Failure, Output, Session};

/// What may wait in the offline buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfflinePolicy {
    /// Most bytes of events without a receipt.
    pub max_bytes: u64,
    /// How long an event waits before it is given up.
    pub max_age: Duration,
}

impl Default for OfflinePolicy {
    fn default() -> Self {
        Self { max_bytes: options::OFFLINE_MAX_BYTES.default, max_age: options::OFFLINE_MAX_AGE.default_duration() }
    }
}

/// Bytes that an event takes at least: so many events fit that none of them is forgotten in the count.
const LEAST_BYTES: u64 = 64;

impl OfflinePolicy {
    /// Most events.
    #[must_use]
    pub const fn max_events(&self) -> u64 {
        self.max_bytes / LEAST_BYTES
    }

    fn gave_up(&self) -> Failure {
        let message = format!(
            "the event waited for {} s in the offline buffer and was given up (option offline_max_age)",
            self.max_age.as_secs_f64()
        );
        // Nothing of it ever left: the same call may be made again.
        Failure { retry: Retry::Now, ..Failure::new(ErrorKind::Timeout, message) }
    }
}

/// An answer that changes nothing for good, and how long until the events are sent again.
const PAUSE: Duration = Duration::from_millis(100);

impl Session {
    /// [`Session::publish_run`] under a sequence that the caller gave, at or above all that were given. `age` is how long
    /// the events have waited already.
    pub fn publish_filed(&mut self, now: Moment, age: Duration, first: u64, to: (u32, Timing), events: EventRun) {
        self.publishes.skip_to(first);
        self.publish_aged(now, age, to, events);
    }

    /// [`Session::publish_run`], of events that wait no longer than the policy says.
    pub fn publish_aged(&mut self, now: Moment, age: Duration, to: (u32, Timing), events: EventRun) -> u64 {
        let until = self.config.offline.map(|policy| now + policy.max_age.saturating_sub(age));
        self.publishes.push_run(to, events, until)
    }

    /// Events that an earlier life of this producer left: they may have been sent. Whose sequences are not
    /// in `open` has its answer. Before anything is published, in order.
    pub fn restore(
        &mut self,
        now: Moment,
        age: Duration,
        (first, open): (u64, Vec<std::ops::Range<u64>>),
        to: (u32, Timing),
        events: EventRun,
    ) {
        let until = self.config.offline.map(|policy| now + policy.max_age.saturating_sub(age));
        self.publishes.restore(to, first, (events, open), until);
    }

    /// Sequences below this one are never given: what was refused before the session saw it counts as answered.
    pub fn skip_to(&mut self, sequence: u64) {
        self.publishes.skip_to(sequence);
    }

    /// The gateway may forget what this client will never ask about again: no sequence above this one.
    /// Who keeps its publishes on disk says here up to where their answers are kept there too.
    pub const fn set_forgettable(&mut self, through: u64) {
        self.publishes.set_forgettable(through);
    }

    /// Publishes that are not on their way over the connection of now: events and bytes.
    #[must_use]
    pub fn buffered(&self) -> (u64, u64) {
        let (open, away) = (self.publishes.unanswered(), self.publishes.in_flight());
        if self.is_up() {
            (open.events.saturating_sub(away.events), open.bytes.saturating_sub(away.bytes))
        } else {
            (open.events, open.bytes)
        }
    }

    /// When the first of what waits is given up, or is sent again.
    pub(super) fn offline_deadline(&self) -> Option<Moment> {
        self.config.offline?;
        self.publishes.gives_up_at(self.is_up()).into_iter().chain(self.publish_again_at).min()
    }

    /// Gives up what has waited too long.
    pub(super) fn tick_offline(&mut self, now: Moment) {
        let Some(policy) = self.config.offline else {
            return;
        };
        self.publish_again_at = self.publish_again_at.filter(|at| *at > now);
        for (sequences, sent) in self.publishes.give_up(now, self.is_up()) {
            let failure = policy.gave_up();
            let failure = if sent { failure.unknown_outcome() } else { failure };
            self.stats.given_up += sequences.end - sequences.start;
            self.output.push_back(Output::Answered(Answer { sequences, result: Err(failure) }));
        }
    }

    /// Whether publishes were refused in a way that passes: then they are sent again, under their old sequences and in
    /// order, and the gateway knows those it has.
    pub(super) fn is_published_again(&mut self, now: Moment, first: u64, failure: &Failure) -> bool {
        if self.config.offline.is_none() || failure.kind.retry() == Retry::Never {
            return false;
        }
        self.publishes.send_again(first);
        let at = now + self.backoff.beyond(failure.retry_after.unwrap_or(PAUSE));
        self.publish_again_at = Some(self.publish_again_at.map_or(at, |known| known.max(at)));
        true
    }

    /// What no frame of this gateway can hold is answered: it would end every connection. It may have had room in a frame
    /// of an earlier one.
    pub(super) fn refuse_too_large(&mut self) {
        let limit = self.max_frame_bytes;
        let message = format!("the event does not fit a frame of {limit} bytes, the gateway's option max_frame_bytes");
        for (sequences, sent) in self.publishes.larger_than(u64::from(limit)) {
            let failure = Failure::new(ErrorKind::TooLarge, message.clone());
            let failure = if sent { failure.unknown_outcome() } else { failure };
            self.output.push_back(Output::Answered(Answer { sequences, result: Err(failure) }));
        }
    }
}
