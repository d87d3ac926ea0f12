//! Requests between the programs: publishers ask, members of groups answer. What must
//! hold of them is at the end.

use std::collections::BTreeMap;
use std::time::Duration;

use meshwire::session::{Failure, Output, RequestSpec, ServeSpec, Session, TaskId, TaskReply};
use meshwire_proto::{ErrorKind, Event, EventLimits, EventView, Moment, TopicName};

use crate::history::History;
use crate::seen::HELD_BACK;
use crate::stops::Stopping;

const TOPIC: &str = "questions";

/// How a request may end without its answer.
const FAILURES: [ErrorKind; 5] =
    [ErrorKind::NoResponders, ErrorKind::Busy, ErrorKind::Timeout, ErrorKind::Unavailable, ErrorKind::ResponderLost];

/// What one client was asked, and what came of it.
#[derive(Clone, Debug)]
pub(crate) struct Question {
    /// Which client asked, and which life of it.
    pub(crate) by: (usize, u32),
    pub(crate) asked: Moment,
    pub(crate) deadline: Moment,
    /// Replies that are due; without a stream one.
    pub(crate) parts: u32,
    pub(crate) retry: bool,
    /// How often somebody was given it.
    pub(crate) handled: u32,
    /// The parts that came, in order.
    pub(crate) got: Vec<u32>,
    pub(crate) ended: Vec<(Moment, Option<ErrorKind>)>,
    /// Its client was killed: nobody waits.
    pub(crate) abandoned: bool,
}

/// A question that a program works on.
#[derive(Debug)]
struct Answering {
    question: u32,
    next: u32,
    parts: u32,
    credit: u32,
}

/// When a program says its next word to a question.
pub(crate) type Answer = (Moment, TaskId);

/// One program's part in requests.
#[derive(Debug, Default)]
pub(crate) struct Exchange {
    asked: BTreeMap<u64, u32>,
    answering: BTreeMap<TaskId, Answering>,
}

fn event(question: u32, part: u32) -> bytes::Bytes {
    Event::text("sim", "").id(format!("{question}-{part}")).source("/questions").encode().unwrap_or_default()
}

/// Which question and which part, or how many are due.
fn read(bytes: &[u8]) -> Option<(u32, u32)> {
    let view = EventView::parse(bytes, EventLimits::default()).ok()?;
    let (question, part) = view.id().split_once('-')?;
    Some((question.parse().ok()?, part.parse().ok()?))
}

pub(crate) fn serve(session: &mut Session, rng: &mut fastrand::Rng) {
    if let Ok(topic) = TopicName::parse(TOPIC) {
        session.serve(ServeSpec { topic, group: None, max_events: rng.u32(1..8), max_bytes: 1 << 20 });
    }
}

impl Exchange {
    pub(crate) fn ask(
        &mut self,
        now: Moment,
        by: (usize, u32),
        session: &mut Session,
        history: &mut History,
        rng: &mut fastrand::Rng,
    ) {
        let Ok(topic) = TopicName::parse(TOPIC) else { return };
        let question = history.questions.len() as u32 + 1;
        let stream = rng.bool().then(|| rng.u32(0..4));
        let parts = if stream.is_some() { rng.u32(1..12) } else { 1 };
        let timeout = Duration::from_millis(rng.u64(50..3000));
        let retry = rng.u32(0..3) == 0;
        let spec = RequestSpec { topic, event: event(question, parts), timeout, stream, retry };
        let number = session.request(now, spec);
        self.asked.insert(number, question);
        let deadline = now + timeout;
        let (got, ended) = (Vec::new(), Vec::new());
        let asked = Question { by, asked: now, deadline, parts, retry, handled: 0, got, ended, abandoned: false };
        history.questions.insert(question, asked);
        history.totals.requests += 1;
    }

    /// What the session has found out of requests, and when the program will say something.
    pub(crate) fn found_out(
        &mut self,
        now: Moment,
        session: &mut Session,
        output: Output,
        history: &mut History,
        rng: &mut fastrand::Rng,
    ) -> Option<Answer> {
        match output {
            Output::Replied { request, event, end } => {
                self.replied(now, session, (request, event), end, history);
                None
            }
            Output::Asked { task, request, .. } => {
                let (question, parts) = read(&request.event)?;
                history.questions.get_mut(&question)?.handled += 1;
                let credit = if request.stream { request.credit } else { 1 };
                self.answering.insert(task, Answering { question, next: 0, parts, credit });
                // Some never say a word until they are told that nobody waits.
                (rng.u32(0..12) > 0).then(|| (now + Duration::from_micros(rng.u64(0..60_000)), task))
            }
            Output::TaskCancelled { task } => {
                self.answering.remove(&task)?;
                let failure = Failure::new(ErrorKind::Cancelled, "nobody waits");
                session.reply(task, TaskReply { event: None, end: Some(Err(failure)) });
                None
            }
            Output::TaskGranted { task, events } => {
                let answering = self.answering.get_mut(&task)?;
                let waits = answering.credit == 0;
                answering.credit += events;
                waits.then_some((now, task))
            }
            _ => None,
        }
    }

    fn replied(
        &mut self,
        now: Moment,
        session: &mut Session,
        (request, event): (u64, Option<bytes::Bytes>),
        end: Option<Result<(), Failure>>,
        history: &mut History,
    ) {
        let asked = self.asked.get(&request).copied();
        let Some(question) = asked.and_then(|q| history.questions.get_mut(&q)) else {
            return history.complaints.push(format!("a reply to request {request}, which nobody made"));
        };
        if let Some(event) = event {
            match read(&event) {
                Some((of, part)) if Some(of) == asked => question.got.push(part),
                other => history.complaints.push(format!("question {asked:?} got the answer to {other:?}")),
            }
            session.grant(request, 1);
        }
        if let Some(end) = end {
            let kind = end.err().map(|failure| failure.kind);
            history.totals.answered += u64::from(kind.is_none());
            if let Some(question) = asked.and_then(|q| history.questions.get_mut(&q)) {
                question.ended.push((now, kind));
            }
        }
    }

    /// The program says its next word to a question; gives when it will say another one.
    pub(crate) fn answer(
        &mut self,
        now: Moment,
        task: TaskId,
        session: &mut Session,
        rng: &mut fastrand::Rng,
    ) -> Option<Answer> {
        let answering = self.answering.get_mut(&task).filter(|a| a.credit > 0)?;
        let event = Some(event(answering.question, answering.next));
        answering.credit -= 1;
        answering.next += 1;
        let last = answering.next == answering.parts;
        if last {
            self.answering.remove(&task);
        }
        session.reply(task, TaskReply { event, end: last.then_some(Ok(())) });
        (!last).then(|| (now + Duration::from_micros(rng.u64(0..5_000)), task))
    }
}

impl History {
    /// Whether the connection of a client ended with a reason in this span.
    fn was_cut_off(&self, client: usize, from: Moment, to: Moment) -> bool {
        self.cut_off.get(&client).into_iter().flatten().any(|at| *at >= from && *at <= to)
    }

    /// Whether it was on its way to a gateway that stops when its client had not heard of that: nobody is given it.
    fn crossed_a_stop(&self, q: &Question, ended: Moment) -> bool {
        let crossed = |stop: &Stopping| stop.at <= ended && q.asked <= stop.at + HELD_BACK;
        q.handled == 0 && self.stopping.iter().any(crossed)
    }
}

/// Every request ends once, in time, by its own answer or a failure that may be; what was
/// refused was not handled, and nothing is handled twice unless that was allowed.
pub(crate) fn requests_end_once_and_are_handled_at_most_once(history: &History, broken: &mut Vec<String>) {
    for (id, q) in &history.questions {
        let mut say = |what: String| broken.push(format!("question {id} of client {:?} {what}", q.by));
        if q.handled > 1 && !q.retry {
            say(format!("was handled {} times and allowed no retry", q.handled));
        }
        if q.got.iter().zip(0..).any(|(got, due)| *got != due) {
            say(format!("got the parts {:?}", q.got));
        }
        match q.ended.as_slice() {
            [] if q.abandoned || q.deadline >= history.ended => {}
            [] => say(format!("did not end by {:?}", q.deadline)),
            [(at, _)] if *at > q.deadline => say(format!("ended at {at:?}, and was due by {:?}", q.deadline)),
            [(_, None)] if q.got.len() != q.parts as usize => say(format!("ended well with {:?}", q.got)),
            [(_, Some(kind))] if !FAILURES.contains(kind) => say(format!("ended with {kind}")),
            [(_, Some(kind @ (ErrorKind::NoResponders | ErrorKind::Busy)))] if q.handled > 0 && !q.retry => {
                say(format!("was refused with {kind} and handled"));
            }
            [(at, Some(ErrorKind::Unavailable))]
                if !history.was_cut_off(q.by.0, q.asked, *at) && !history.crossed_a_stop(q, *at) =>
            {
                say(format!(
                    "ended at {at:?} with {}, and nothing was wrong with its connection",
                    ErrorKind::Unavailable
                ));
            }
            [_] => {}
            more => say(format!("ended {} times", more.len())),
        }
    }
}
