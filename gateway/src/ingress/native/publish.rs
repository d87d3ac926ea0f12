//! Publish frames.

use meshwire_proto::frame::{Publish, PublishRun, Receipt};
use meshwire_proto::{ErrorKind, Timing, TopicName, UnixMillis};

use super::protocol::Protocol;
use super::session::{Alias, Session};
use crate::ingress::access::{Call, Kept, Record};
use crate::mesh::{Action, Answer, ProducerMark, Published, Refusal, Ticket};

/// Most topics a session may bind: about 2 MB of names. A guess.
const MAX_ALIASES: usize = 16_384;

/// What a record says of a Publish frame.
#[derive(Clone, Copy)]
struct Offered {
    events: u64,
    alias: Option<u32>,
}

impl Offered {
    fn of(publish: &Publish) -> Self {
        let events = publish.runs.iter().map(|r| u64::from(r.events.count())).sum();
        Self { events, alias: publish.runs.first().map(|run| run.alias) }
    }
}

/// Binds the topic that a run names: for all that come after it, whatever becomes of its own events.
fn bind(session: &mut Session, run: &PublishRun) -> Result<(), Refusal> {
    if run.topic.is_empty() {
        return Ok(());
    }
    TopicName::parse(&run.topic).map_err(|e| Refusal::new(ErrorKind::Invalid, e.to_string()))?;
    if session.aliases.len() >= MAX_ALIASES && !session.aliases.contains_key(&run.alias) {
        let text = format!("this session has bound {MAX_ALIASES} topics; open another for more");
        return Err(Refusal::new(ErrorKind::TooLarge, text));
    }
    session.aliases.insert(run.alias, Alias { name: run.topic.clone(), topic: None });
    Ok(())
}

/// Why a run, or the first of its events that was not taken, was refused.
fn refusal_of(result: &Result<Published, Refusal>) -> Option<ErrorKind> {
    let refused = |answer: &Answer| if let Answer::Refused(refusal) = answer { Some(refusal.kind) } else { None };
    match result {
        Ok(published) => published.answers.iter().find_map(|(_, answer)| refused(answer)),
        Err(refusal) => Some(refusal.kind),
    }
}

impl Protocol {
    /// Takes a Publish frame; one that is wrong as a whole ends the connection.
    pub(super) fn publish(&mut self, session: &mut Session, publish: Publish) {
        let call = Call::begin(&self.native.mesh);
        match self.check(&publish) {
            Ok(()) if self.native.mesh.publishes_freely() => self.publish_now(session, call, publish),
            Ok(()) => self.publish_in_turn(session, publish, call),
            Err(refusal) => {
                if call.is_recorded() {
                    self.record_publish(session, call, Offered::of(&publish), Some(refusal.kind));
                }
                self.end(refusal);
            }
        }
    }

    fn check(&self, publish: &Publish) -> Result<(), Refusal> {
        let window = self.native.config.publish_window.0;
        let events = Offered::of(publish).events;
        if events > u64::from(window) {
            let text = format!("a Publish frame has {events} events; Welcome.publish_window_events allows {window}");
            return Err(Refusal::new(ErrorKind::TooLarge, text));
        }
        let right = |run: &PublishRun| {
            // The last sequences of the range are never used, so that none runs over.
            let end = run.first_sequence.checked_add(u64::from(run.events.count()));
            run.first_sequence > publish.answered_through && end.is_some() && !run.events.is_empty()
        };
        if !publish.runs.iter().all(right) {
            let text = "a publish run needs events, and sequences from 1 on above answered_through";
            return Err(Refusal::new(ErrorKind::Invalid, text));
        }
        Ok(())
    }

    fn publish_now(&mut self, session: &mut Session, call: Call, publish: Publish) {
        let offered = Offered::of(&publish);
        let refused = self.publish_runs(session, publish);
        if call.is_recorded() {
            self.record_publish(session, call, offered, refused);
        }
    }

    /// Publishes what has its turn; gives why the first of it that was not taken was refused.
    pub(super) fn publish_runs(&mut self, session: &mut Session, publish: Publish) -> Option<ErrorKind> {
        let mut refused = None;
        for run in publish.runs {
            let mark = ProducerMark {
                producer: session.producer,
                epoch: session.epoch,
                first_sequence: run.first_sequence,
                answered_through: publish.answered_through,
            };
            let result = self.publish_run(session, &run, mark);
            refused = refused.or_else(|| refusal_of(&result));
            self.answer(&run, result);
        }
        refused
    }

    /// Answers all events alike, but for a run whose topic cannot be bound.
    pub(super) fn refuse_runs(&mut self, session: &mut Session, publish: &Publish, refusal: &Refusal) {
        for run in &publish.runs {
            let bound = bind(session, run);
            self.answer(run, Err(bound.err().unwrap_or_else(|| refusal.clone())));
        }
    }

    /// The same, of a whole frame.
    pub(super) fn refuse_publish(&mut self, session: &mut Session, call: Call, publish: &Publish, refusal: &Refusal) {
        self.refuse_runs(session, publish, refusal);
        if call.is_recorded() {
            self.record_publish(session, call, Offered::of(publish), Some(refusal.kind));
        }
    }

    /// The record of a frame that is answered later.
    pub(super) fn keep_publish(&self, session: &Session, call: Call, publish: &Publish) -> Kept {
        if !call.is_recorded() {
            return Kept::default();
        }
        let named = publish.runs.first().map(|run| &run.topic).filter(|topic| !topic.is_empty());
        let Offered { events, alias } = Offered::of(publish);
        let topic = named.map_or_else(|| Self::topic_of(session, alias), String::as_str);
        call.keep(
            &self.native.mesh,
            &session.caller,
            Record { operation: "publish", topic, events, ..Record::default() },
        )
    }

    /// The record of a frame, by the topic of its first run.
    fn record_publish(&self, session: &Session, call: Call, offered: Offered, refused: Option<ErrorKind>) {
        let Offered { events, alias } = offered;
        let topic = Self::topic_of(session, alias);
        let record = Record { operation: "publish", topic, events, refused, ..Record::default() };
        call.end(&self.native.mesh, &session.caller, record);
    }

    fn topic_of(session: &Session, alias: Option<u32>) -> &str {
        alias.and_then(|alias| session.aliases.get(&alias)).map_or("", |alias| &alias.name)
    }

    fn publish_run(&self, session: &mut Session, run: &PublishRun, mark: ProducerMark) -> Result<Published, Refusal> {
        bind(session, run)?;
        if run.expected_position.is_some() {
            return Err(Refusal::new(ErrorKind::Unsupported, "this version has no expected_position"));
        }
        let Some(alias) = session.aliases.get_mut(&run.alias) else {
            return Err(Refusal::new(ErrorKind::Invalid, format!("topic alias {} was never bound", run.alias)));
        };
        let (mesh, caller) = (&self.native.mesh, &session.caller);
        let timing = Timing { deliver_at: UnixMillis(run.deliver_at_ms), expires_in_ms: run.expires_in_ms };
        let publish = |topic| mesh.publish_timed(caller, topic, &alias.name, &run.events, (Some(mark), timing));
        if let Some(topic) = alias.topic {
            match publish(topic) {
                // Deleted since. A name means what it means to a publisher that comes now.
                Err(refusal) if refusal.kind == ErrorKind::TopicNotFound => {}
                published => return published,
            }
        }
        let topic = mesh.open_topic(caller, &alias.name, Action::Publish)?;
        let published = publish(topic);
        alias.topic = Some(topic);
        published
    }

    fn answer(&mut self, run: &PublishRun, result: Result<Published, Refusal>) {
        let (answers, ticket) = match result {
            Ok(published) => (published.answers, published.ticket),
            Err(refusal) => (vec![(run.events.count(), Answer::Refused(refusal))], Ticket::KEPT),
        };
        let mut first_sequence = run.first_sequence;
        for (count, answer) in answers {
            let receipt = Receipt { first_sequence, count, ..Receipt::default() };
            first_sequence += u64::from(count);
            match answer {
                Answer::New(first_position) => self.pending.receipt(ticket, Receipt { first_position, ..receipt }),
                Answer::Duplicate(first_position) => {
                    self.pending.receipt(ticket, Receipt { first_position, duplicate: true, ..receipt });
                }
                Answer::Refused(refusal) => {
                    let (code, retry_after_ms) = (refusal.kind.number(), refusal.retry_after_ms);
                    let refused = Receipt { code, message: refusal.message, retry_after_ms, ..receipt };
                    self.pending.receipt(Ticket::KEPT, refused);
                }
            }
        }
    }
}
