//! Publishing through the waist.

use std::task::Waker;
use std::time::Duration;

use meshwire_proto::{ErrorKind, EventRun, Moment, Timing};

use super::{Action, Caller, Mesh, Refusal, TopicRef, shard};
use crate::engine::{Engine, How, MAX_EXPIRIES, Now, Producer, Verdict, delay_of, scan};
use crate::store::{Claim, Position, ProducerMark, StoreError, Ticket};

/// What became of consecutive events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Taken; the first has this position. 0: they wait for their time, and have none yet.
    New(Position),
    /// Here already; 0 when the position is not known.
    Duplicate(Position),
    /// Refused.
    Refused(Refusal),
}

/// The answer to a run: `(count, answer)` in order of the events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// What became of each.
    pub answers: Vec<(u32, Answer)>,
    /// When all that is taken or duplicate is kept.
    pub ticket: Ticket,
}

/// When a publisher should try again: the disk may have space, the budget room.
const RETRY_FULL_MS: u32 = 1000;
const RETRY_BUSY_MS: u32 = 50;

/// Shortest wait that is named to who is over the rate.
const LEAST_WAIT: Duration = Duration::from_millis(RETRY_BUSY_MS as u64);

/// Longest that a publisher is slowed down; who would wait longer is refused. Less than a peer waits for a sign of life.
const MOST_WAIT: Duration = Duration::from_secs(5);

/// When events are delivered that need not wait for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deliver {
    AtOnce,
    /// With what others publish just now.
    SoonEnough,
}

/// What the log needs beside an event that waits, at most.
const DELAY_BYTES: u64 = 64;

/// Refuses an epoch that is older than what is known of a producer.
fn fence(found: Option<&Producer>, epoch: u32) -> Result<(), Refusal> {
    match found.filter(|p| p.epoch > epoch) {
        None => Ok(()),
        Some(newer) => {
            let text = format!("this producer was opened again with epoch {}; this one has {epoch}", newer.epoch);
            Err(Refusal::new(ErrorKind::ProducerFenced, text))
        }
    }
}

/// Refuses a producer whose sequences are in too many pieces.
fn crowded(ranges: usize) -> Refusal {
    let text = format!(
        "{ranges} separate ranges of this producer's sequences wait for earlier ones; publish again when those are answered"
    );
    Refusal::new(ErrorKind::Busy, text).after(RETRY_BUSY_MS)
}

impl Mesh {
    /// Publishes a run to a topic. The answers hold once the ticket is kept.
    ///
    /// # Errors
    /// `DENIED`, `PRODUCER_FENCED`, `TOPIC_NOT_FOUND` (it was deleted); `UNAVAILABLE`: the gateway stops. What is wrong with single
    /// events is in their answers.
    pub fn publish(
        &self,
        caller: &Caller,
        topic: TopicRef,
        name: &str,
        run: &EventRun,
        producer: Option<ProducerMark>,
    ) -> Result<Published, Refusal> {
        self.publish_timed(caller, topic, name, run, (producer, Timing::default()))
    }

    /// [`Mesh::publish_timed`] of calls: what goes to a topic in memory may be delivered a little later, with what others publish.
    ///
    /// # Errors
    /// The same.
    pub fn publish_call(
        &self,
        caller: &Caller,
        topic: TopicRef,
        name: &str,
        run: &EventRun,
        timing: Timing,
    ) -> Result<Published, Refusal> {
        self.publish_by(caller, (topic, name), run, (None, timing), Deliver::SoonEnough)
    }

    /// [`Mesh::publish`], of events that are delivered from or until some time.
    ///
    /// # Errors
    /// The same; `TOO_LARGE` when their time is further ahead than `max_delay`.
    pub fn publish_timed(
        &self,
        caller: &Caller,
        topic: TopicRef,
        name: &str,
        run: &EventRun,
        by: (Option<ProducerMark>, Timing),
    ) -> Result<Published, Refusal> {
        self.publish_by(caller, (topic, name), run, by, Deliver::AtOnce)
    }

    fn publish_by(
        &self,
        caller: &Caller,
        (topic, name): (TopicRef, &str),
        run: &EventRun,
        (producer, timing): (Option<ProducerMark>, Timing),
        deliver: Deliver,
    ) -> Result<Published, Refusal> {
        self.check_serving()?;
        self.authorize(caller, Action::Publish, name)?;
        let inner = &*self.inner;
        let scanned = scan(run, inner.config.limits, &inner.hasher);
        let Some(mutex) = inner.shards.get(topic.shard) else {
            return Err(Refusal::new(ErrorKind::Internal, "a topic without a shard"));
        };
        let mut shard = shard::lock(mutex);
        if !shard.engine.has_topic(topic.id) {
            return Err(Refusal::new(ErrorKind::TopicNotFound, format!("topic {name} was deleted")));
        }
        let now = self.now();
        let delayed = self.is_delayed(timing, now)?;
        if let Some(mark) = &producer {
            fence(shard.engine.producer(&mark.producer), mark.epoch)?;
        }
        let crowded = producer.as_ref().and_then(|mark| shard.engine.crowded(mark)).map(crowded);
        let beside = if delayed { u64::from(run.count()) * DELAY_BYTES } else { 0 };
        let admitted = crowded.map_or_else(|| self.admit(topic, &shard.engine, now), Err);
        let claim = admitted.and_then(|()| self.claim(topic, run.as_bytes().len() as u64 + beside));
        let most_expire = self.most_expire(topic, &mut shard.engine, timing);
        let how = How { producer, room: claim.is_ok(), timing };
        let judged = shard.engine.publish(now, topic.id, (run, scanned), how);
        inner.commit(&mut shard, now, false);
        // The log has what was claimed.
        let no_room = claim.err();
        let ticket = shard.engine.ticket(topic.id);
        let may_be_left = deliver == Deliver::SoonEnough && topic.id.is_memory() && !delayed;
        if !(may_be_left && inner.late.leave(&mut shard, run.as_bytes().len() as u64)) {
            inner.deliver(&mut shard, now, None);
        }
        let swept = shard.engine.producers_swept();
        let early = shard.engine.dedup_ended_early(topic.id);
        drop(shard);
        if let Some(early) = early {
            self.tell_early(name, early);
        }
        if let Some(stored) = swept {
            inner.shards.iter().for_each(|s| shard::lock(s).engine.forget_idle_producers(stored));
        }
        let answers: Vec<(u32, Answer)> =
            judged.into_iter().map(|j| (j.count, self.answer(j.verdict, &no_room, most_expire))).collect();
        inner.counts.published(&answers, run.as_bytes().len() as u64);
        Ok(Published { answers, ticket })
    }

    /// What is told of a verdict; `most_expire`: no more is taken that expires.
    fn answer(&self, verdict: Verdict, no_room: &Option<Refusal>, most_expire: bool) -> Answer {
        match verdict {
            Verdict::New(position) => Answer::New(position),
            Verdict::Duplicate(position) => Answer::Duplicate(position),
            Verdict::Refused(error) => Answer::Refused(Refusal::new(error.kind(), error.to_string())),
            Verdict::NoRoom => {
                let full = || Refusal::new(ErrorKind::Busy, "the gateway is out of room");
                Answer::Refused(no_room.clone().unwrap_or_else(full))
            }
            Verdict::TooManyTimes => Answer::Refused(self.too_many_times(!most_expire)),
        }
    }

    /// Refuses a topic that blocks and whose groups need what would have to go.
    fn admit(&self, topic: TopicRef, engine: &Engine, now: Now) -> Result<(), Refusal> {
        let Some((settings, _)) = engine.topic(topic.id).filter(|(settings, _)| settings.limits.block) else {
            return Ok(());
        };
        let admitted = self.inner.stores.of(topic.id).admit(topic.id, &|| engine.needed(topic.id), now.wall);
        admitted.map_err(|e| Refusal::new(e.kind(), format!("topic {}: {e}", settings.name)).after(RETRY_FULL_MS))
    }

    /// Whether publishers need not be slowed down at all.
    #[must_use]
    pub fn publishes_freely(&self) -> bool {
        self.inner.publishes.is_off() && self.inner.budget.is_free()
    }

    /// Events and bytes that the publish rate allows in a tenth of a second: who has more publishes them in pieces, of which each takes its
    /// share of the rate when its turn comes.
    #[must_use]
    pub fn publish_piece(&self) -> (u64, u64) {
        self.inner.publishes.at_once()
    }

    /// Takes a share of the publish rate, of a call that began at `since`; gives how long to wait until it begins.
    ///
    /// # Errors
    /// `BUSY` with the time to wait, if it would begin later than 5 s after `since`.
    pub fn reserve_publish(
        &self,
        (since, now): (Moment, Moment),
        events: u64,
        bytes: u64,
    ) -> Result<Duration, Refusal> {
        let most = MOST_WAIT.saturating_sub(now.since(since));
        self.inner.publishes.reserve(now, (events, bytes), most).map_err(|wait| {
            let ((events, bytes), wait) = (self.inner.publishes.rates(), wait.max(LEAST_WAIT));
            let text = format!(
                "the publish rate of this gateway is used up (max_publish_rate {events}, max_publish_bytes_rate {bytes}; \
                 0 is no limit); publish again in {:.1} s",
                wait.as_secs_f64()
            );
            Refusal::new(ErrorKind::Busy, text).after(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
        })
    }

    /// What a publisher is told, behind so much of whose own nothing more may wait.
    #[must_use]
    pub fn refuse_behind(&self, waiting: (u64, u64)) -> Refusal {
        let wait = self.inner.publishes.wait_behind(self.now().mono, waiting);
        let wait = wait.max(LEAST_WAIT);
        let text = format!(
            "{} events of this connection wait for their turn already, as max_publish_rate, max_publish_bytes_rate or \
             publish_budget_bytes of this gateway allow no more; publish again when they are answered, in about {:.1} s",
            waiting.0,
            wait.as_secs_f64()
        );
        Refusal::new(ErrorKind::Busy, text).after(u32::try_from(wait.as_millis()).unwrap_or(u32::MAX))
    }

    /// Whether what waits to be kept is less than half of its budget.
    #[must_use]
    pub fn has_publish_room(&self) -> bool {
        self.inner.budget.is_free()
    }

    /// Whether all of that budget is used up: publishes are refused.
    #[must_use]
    pub fn refuses_publishes(&self) -> bool {
        !self.inner.budget.has_room()
    }

    /// Wakes `waker` when [`Mesh::has_publish_room`] may be so; `false` when it is already.
    #[must_use]
    pub fn wake_when_publish_room(&self, connection: u64, waker: &Waker) -> bool {
        self.inner.budget.wake_when_free(connection, waker)
    }

    fn tell_early(&self, topic: &str, early: Duration) {
        let (seconds, dedup_ids) = (early.as_secs(), self.inner.config.dedup_ids);
        tracing::info!(
            topic,
            seconds,
            dedup_ids,
            "so many events come that their ids are remembered for less than dedup_window; raise dedup_ids if duplicates may come later than that (told once an hour)"
        );
    }

    /// Whether events are to wait; refused if it is for too long.
    fn is_delayed(&self, timing: Timing, now: Now) -> Result<bool, Refusal> {
        let Some(delay) = delay_of(timing, now) else {
            return Ok(false);
        };
        let most = self.inner.config.max_delay_ms;
        if delay.delay_ms > most {
            let text = format!(
                "deliver_at is {} ms ahead of the gateway's clock; at most {most} ms are accepted (option max_delay)",
                delay.delay_ms
            );
            return Err(Refusal::new(ErrorKind::TooLarge, text));
        }
        Ok(true)
    }

    /// Whether no more is taken that expires. What retention took is forgotten before that is said.
    fn most_expire(&self, topic: TopicRef, engine: &mut Engine, timing: Timing) -> bool {
        if timing.expires_in_ms > 0 && engine.wants_first(topic.id) {
            engine.forget_expiries(topic.id, self.first_position(topic));
        }
        timing.expires_in_ms > 0 && engine.has_most_expiries(topic.id)
    }

    fn too_many_times(&self, delayed: bool) -> Refusal {
        let text = if delayed {
            let (events, bytes) = self.inner.config.delayed;
            format!(
                "as many events wait for their time as may (options delayed_events: {events}, delayed_bytes: {bytes})"
            )
        } else {
            format!(
                "the events of this topic that expire are in {MAX_EXPIRIES} separate ranges already, as many as may; \
                 ranges go when retention takes their events: give the topic less retention, or publish events that \
                 expire to a topic of their own, where those that have expired are one range"
            )
        };
        Refusal::new(ErrorKind::Busy, text).after(RETRY_FULL_MS)
    }

    /// Claims room for `bytes` of a topic, or says why there is none.
    fn claim(&self, topic: TopicRef, bytes: u64) -> Result<Claim<'_>, Refusal> {
        let Some(log) = self.inner.stores.log.as_ref().filter(|_| !topic.id.is_memory()) else {
            return Ok(Claim::unbounded());
        };
        if !self.inner.budget.has_room() {
            let text = "too many accepted bytes wait to be kept (option publish_budget_bytes)";
            return Err(Refusal::new(ErrorKind::Busy, text).after(RETRY_BUSY_MS));
        }
        log.reserve(bytes).map_err(|e| {
            let refusal = Refusal::new(e.kind(), e.to_string());
            match e {
                StoreError::Busy(_) => refusal.after(RETRY_BUSY_MS),
                StoreError::Full(_) => refusal.after(RETRY_FULL_MS),
                _ => refusal,
            }
        })
    }

    /// The last sequence, from `first` on without gaps, that is kept for a
    /// producer; `first - 1` when none is. Also whether the producer is known.
    ///
    /// # Errors
    /// `PRODUCER_FENCED`: it was opened again with a higher epoch.
    pub fn kept_through(&self, producer: &[u8; 16], epoch: u32, first: u64) -> Result<(u64, bool), Refusal> {
        let watermark = self.watermark();
        let (mut ranges, mut known) = (Vec::new(), false);
        for mutex in &self.inner.shards {
            let shard = shard::lock(mutex);
            let Some(found) = shard.engine.producer(producer) else {
                continue;
            };
            fence(Some(found), epoch)?;
            known |= found.epoch == epoch;
            if found.epoch == epoch && found.ticket.is_none_or(|t| watermark.covers(t)) {
                ranges.extend(found.ranges.iter().copied());
            }
        }
        ranges.sort_unstable();
        let mut next = first;
        for (from, to) in ranges {
            if from <= next {
                next = next.max(to);
            }
        }
        Ok((next.saturating_sub(1), known))
    }
}
