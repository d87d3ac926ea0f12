//! What is settled for ever when its lease is gone: the event comes again all the same, and the log says so.

use std::time::Duration;

use meshwire_proto::TopicName;
use tokio::time::Instant;

/// How often it is said at most that something was settled after it had been given back.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Late {
    /// The highest position that was acked or rejected since a session was lost, in time for the next one.
    decided: u64,
    /// It was said of the last session that was lost that something was acked too late for it.
    is_told: bool,
    /// When it was said last that something was settled after it had been given back.
    told: Option<Instant>,
}

/// What is to be said when no lock is held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Warning {
    /// The session of the delivery is lost.
    SessionLost,
    /// So many were given back, because the program did nothing for an ack wait.
    GivenBack(u64),
    /// So many were given back as their subscription or the client ended.
    Left(u64),
}

impl Late {
    /// Something is settled for ever: in time, or for a session that is lost, or `lost` of it was given back.
    pub(crate) fn settled(&mut self, position: u64, is_stale: bool, lost: u64) -> Option<Warning> {
        if is_stale {
            return (!std::mem::replace(&mut self.is_told, true)).then_some(Warning::SessionLost);
        }
        self.decided = self.decided.max(position);
        (lost > 0 && self.may_tell()).then_some(Warning::GivenBack(lost))
    }

    /// Something is settled for ever when its subscription has ended.
    pub(crate) fn left(&mut self, count: u64) -> Option<Warning> {
        self.may_tell().then_some(Warning::Left(count))
    }

    fn may_tell(&mut self) -> bool {
        let may = self.told.is_none_or(|told| told.elapsed() >= PAUSE);
        self.told = if may { Some(Instant::now()) } else { self.told };
        may
    }

    /// A session is lost, and so many settles were on their way: gives the last position among them.
    pub(crate) fn session_lost(&mut self, count: u64) -> u64 {
        self.is_told = count > 0;
        std::mem::take(&mut self.decided)
    }
}

impl Warning {
    pub(crate) fn tell(self, topic: &TopicName, position: u64) {
        let topic = topic.as_str();
        match self {
            Self::SessionLost => tracing::warn!(
                topic,
                position,
                "acked too late: its lease was lost with the session, so the event comes again, or did already (logged once for each \
                 session that is lost)"
            ),
            Self::GivenBack(count) => tracing::warn!(
                topic,
                position,
                count,
                "acked too late: the program had settled and extended nothing for a whole ack wait, so what it had in hand was given back \
                 and comes again, or did already; take smaller batches, call extend() while you work, or set a longer ack_wait (logged \
                 once a minute; counted as leases_lost)"
            ),
            Self::Left(count) => tracing::warn!(
                topic,
                position,
                count,
                "acked too late: the subscription was left or the client closed, so what was in hand was given back and comes again, or did \
                 already; settle before that (logged once a minute; counted as leases_lost)"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_was_given_back_is_told_once_a_minute_and_a_lost_session_once() {
        let mut late = Late::default();
        assert_eq!(late.settled(3, false, 0), None);
        assert_eq!(late.settled(4, false, 2), Some(Warning::GivenBack(2)));
        assert_eq!(late.settled(5, false, 1), None);
        tokio::time::sleep(PAUSE).await;
        assert_eq!(late.settled(6, false, 1), Some(Warning::GivenBack(1)));
        assert_eq!(late.left(1), None);
        tokio::time::sleep(PAUSE).await;
        assert_eq!(late.left(2), Some(Warning::Left(2)));
        assert_eq!(late.session_lost(0), 6);
        assert_eq!(late.settled(7, true, 0), Some(Warning::SessionLost));
        assert_eq!(late.settled(8, true, 0), None);
        assert_eq!(late.session_lost(1), 0, "nothing was in time");
        assert_eq!(late.settled(9, true, 0), None, "it was told when that session was lost");
    }
}
