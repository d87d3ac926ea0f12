//! Publishing: events in, one result each.

use meshwire_proto::{ErrorKind, EventError, EventParts, EventRun, EventRunBuilder, Moment, Retry, Timing};

use super::Calls;
use crate::ingress::access::{Record, Waiting};
use crate::ingress::waiting;
use crate::mesh::{Action, Answer, Caller, Published, Refusal, TopicRef};

/// A run ends with the event that reaches this size: what is claimed of the log at once.
const RUN_BYTES: usize = 1 << 20;

/// Most events of one call. What becomes of an event is told in some hundred bytes, and one that is none can be said in two: without a
/// bound the answer would be many times as large as what was sent. As [`MAX_SETTLEMENTS`](super::MAX_SETTLEMENTS); of events as they
/// are used, a body of 8 MiB (option `max_frame_bytes`) is full before.
pub const MAX_BATCH: usize = 10_000;

/// An event that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where; `None`: it waits for its time, or it is a duplicate whose position is not known.
    pub position: Option<u64>,
    /// It was there already.
    pub duplicate: bool,
}

/// What became of one event.
pub type Taken = Result<Stored, Refusal>;

/// Events of one call, in their order.
#[derive(Debug, Default)]
pub struct Offer {
    builder: EventRunBuilder,
    runs: Vec<EventRun>,
    count: usize,
    /// Those that are none, by their place, and why. The others are in the runs.
    refused: Vec<(usize, Refusal)>,
}

impl Offer {
    /// With room for about so many bytes of events.
    #[must_use]
    pub fn about(bytes: usize) -> Self {
        let mut offer = Self::default();
        offer.builder.reserve(bytes.min(RUN_BYTES), 0);
        offer
    }

    /// Adds an event, or what is wrong with one: that becomes its result.
    pub fn event<'e>(&mut self, event: Result<impl Into<EventParts<'e>>, EventError>) {
        match event {
            Ok(event) => self.parts(Ok(&event.into())),
            Err(error) => self.parts(Err(error)),
        }
    }

    /// The same, of an event that its reader keeps.
    pub fn parts(&mut self, event: Result<&EventParts<'_>, EventError>) {
        match event.and_then(|event| self.builder.encode(event)) {
            Ok(()) => self.end_run(),
            Err(error) => self.refused.push((self.count, Refusal::new(error.kind(), error.to_string()))),
        }
        self.count += 1;
    }

    /// Adds the protobuf bytes of an event; what is wrong with them becomes its result.
    pub fn raw(&mut self, event: &[u8]) {
        self.builder.push(event);
        self.count += 1;
        self.end_run();
    }

    fn end_run(&mut self) {
        if self.builder.len() >= RUN_BYTES {
            self.runs.push(self.builder.take());
        }
    }

    /// The events in runs, and why which of them are in none. What they were made with is gone.
    fn end(mut self) -> (Vec<EventRun>, Vec<(usize, Refusal)>) {
        if !self.builder.is_empty() {
            self.runs.push(self.builder.take());
        }
        (self.runs, self.refused)
    }

    /// How many events.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

fn too_many(count: usize) -> Refusal {
    let text = format!("{count} events in one call; at most {MAX_BATCH} are taken: publish them in several calls");
    Refusal::new(ErrorKind::TooLarge, text)
}

impl Calls {
    /// What a call of more events than are taken is told, where they were only counted.
    pub fn too_many_events(&self, caller: &Caller, topic: &str, count: usize) -> Refusal {
        let record = Record { operation: "publish", topic, events: count as u64, ..Record::default() };
        let refusal = too_many(count);
        Waiting::begin(&self.mesh, caller, record).end(Some(refusal.kind));
        refusal
    }

    /// Publishes what is offered and waits until it is kept to its topic's level. The results are in order of the events.
    ///
    /// # Errors
    /// Of the whole call, before anything was taken: `INVALID` (the topic's name), `DENIED`, `TOPIC_NOT_FOUND`, `TOO_LARGE` (over
    /// [`MAX_BATCH`], too many topics, or a time too far ahead), `BUSY`; `UNAVAILABLE`: the gateway stops. And `STORE_FAILED`: nothing is known of what was offered.
    pub async fn publish(
        &self,
        caller: &Caller,
        topic: &str,
        offer: Offer,
        timing: Timing,
    ) -> Result<Vec<Taken>, Refusal> {
        let record = Record { operation: "publish", topic, events: offer.len() as u64, ..Record::default() };
        let call = Waiting::begin(&self.mesh, caller, record);
        let result = self.offer(caller, topic, offer, timing).await;
        call.end(refused(&result));
        result
    }

    async fn offer(&self, caller: &Caller, topic: &str, offer: Offer, timing: Timing) -> Result<Vec<Taken>, Refusal> {
        if offer.len() > MAX_BATCH {
            return Err(too_many(offer.len()));
        }
        let handle = self.mesh.open_topic(caller, topic, Action::Publish)?;
        let count = offer.len();
        let (runs, refused) = offer.end();
        let mut taken = Vec::with_capacity(count);
        let (mut runs, since) = (runs.into_iter(), self.mesh.now().mono);
        while let Some(mut run) = runs.next() {
            // At a rate each piece waits for its turn: a large batch takes no turns of others in advance.
            let (most, bytes) = self.mesh.publish_piece();
            while !run.is_empty() {
                let piece = run.split_front(most, bytes);
                let (refusal, untold) = match self.publish_run(caller, (handle, topic), &piece, (timing, since)).await {
                    Ok(published) => {
                        published.iter().for_each(|(count, answer)| results(*count, answer, &mut taken));
                        let Some(refusal) = published.into_iter().find_map(|(_, answer)| again(answer)) else {
                            continue;
                        };
                        (refusal, 0)
                    }
                    // Nothing was taken yet, or nobody knows: the whole call fails.
                    Err(refusal) if taken.is_empty() || refusal.kind == ErrorKind::StoreFailed => return Err(refusal),
                    Err(refusal) => (refusal, piece.count()),
                };
                // Nor is what follows taken, which would stand before it when it comes again.
                let left = runs.by_ref().map(|run| run.count()).sum::<u32>() + run.count() + untold;
                taken.extend((0..left).map(|_| Err(refusal.clone())));
                break;
            }
        }
        let lost = || Err(Refusal::new(ErrorKind::Internal, "no answer for the event"));
        taken.resize_with(count - refused.len(), lost);
        if refused.is_empty() {
            return Ok(taken);
        }
        let (mut taken, mut refused) = (taken.into_iter(), refused.into_iter().peekable());
        let result = |place| match refused.next_if(|(refused, _)| *refused == place) {
            Some((_, refusal)) => Err(refusal),
            None => taken.next().unwrap_or_else(lost),
        };
        Ok((0..count).map(result).collect())
    }

    async fn publish_run(
        &self,
        caller: &Caller,
        (handle, topic): (TopicRef, &str),
        run: &EventRun,
        (timing, since): (Timing, Moment),
    ) -> Result<Vec<(u32, Answer)>, Refusal> {
        waiting::pace(&self.mesh, since, u64::from(run.count()), run.as_bytes().len() as u64).await?;
        let Published { answers, ticket } = self.mesh.publish_call(caller, handle, topic, run, timing)?;
        waiting::kept(&self.mesh, ticket).await?;
        Ok(answers)
    }
}

/// Why an event was refused that may be taken when it comes again.
fn again(answer: Answer) -> Option<Refusal> {
    let Answer::Refused(refusal) = answer else { return None };
    matches!(refusal.kind.retry(), Retry::Now | Retry::After).then_some(refusal)
}

/// Why it was refused, or the first of its events that was.
fn refused(result: &Result<Vec<Taken>, Refusal>) -> Option<ErrorKind> {
    match result {
        Ok(taken) => taken.iter().find_map(|taken| taken.as_ref().err()).map(|refusal| refusal.kind),
        Err(refusal) => Some(refusal.kind),
    }
}

/// One answer for consecutive events as one result each.
fn results(count: u32, answer: &Answer, taken: &mut Vec<Taken>) {
    taken.extend((0..u64::from(count)).map(|n| {
        let stored = |first: u64, duplicate| Stored { position: (first != 0).then_some(first + n), duplicate };
        match answer {
            Answer::New(first) => Ok(stored(*first, false)),
            Answer::Duplicate(first) => Ok(stored(*first, true)),
            Answer::Refused(refusal) => Err(refusal.clone()),
        }
    }));
}
