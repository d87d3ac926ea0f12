//! Plays one cell: starts what it needs, goes through the steps, ends it all.
//!
//! - [`armed`]: a cut that takes one frame with it;
//! - [`calls`]: commands of the testee and what is expected of their answers;
//! - [`ending`]: the log as it is at the end, for the history;
//! - [`messages`]: what came on subscriptions;
//! - [`world`]: gateway, proxy and scripted peer.

mod armed;
mod calls;
mod ending;
mod messages;
mod step;
mod world;

use std::collections::{HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

use crate::case::{Cell, Step, Store};
use crate::testee::{Line, Program, Testee};
use crate::trace::Trace;
use crate::transport::Transport;
use crate::witness::Witness;
use armed::Armed;
use world::World;

/// How playing a cell ended.
#[derive(Debug)]
pub(crate) enum Played {
    /// As expected; the trace.
    Through(String),
    /// Not as expected: why, and what the testee logged.
    Failed { why: String, logs: String },
    /// The testee cannot do what it needs.
    Skipped { needs: String },
}

/// A cell in the middle of being played.
struct Play {
    patience: Duration,
    transport: Transport,
    testee: Testee,
    world: World,
    armed: Option<Armed>,
    trace: Trace,
    witness: Witness,
    next_id: u64,
    /// Answers that nobody took yet.
    answers: HashMap<u64, Value>,
    /// Commands that were begun, by the name the case gave them.
    begun: HashMap<String, (u64, Step)>,
    /// Messages that no step took yet, by subscription.
    messages: HashMap<String, VecDeque<Line>>,
    /// What else was told, by client or subscription.
    told: HashMap<String, VecDeque<Value>>,
    /// The newest number of each event, by subscription.
    numbers: HashMap<(String, String), u64>,
    /// Ports that nobody listens on.
    held: Vec<OwnedFd>,
    /// When the last step that does something began.
    acted: Instant,
}

/// Plays a cell once; `patience` is what a step may take that does not say.
pub(crate) fn play(cell: Cell<'_>, program: &Program, patience: Duration) -> Played {
    let failed = |why: anyhow::Error, logs| Played::Failed { why: format!("{why:#}"), logs };
    let started = World::start(cell).and_then(|world| Ok((world, Testee::start(program)?)));
    let (world, testee) = match started {
        Ok(started) => started,
        Err(why) => return failed(why, String::new()),
    };
    let mut play = Play {
        patience,
        transport: cell.transport,
        testee,
        world,
        armed: None,
        trace: Trace::default(),
        witness: Witness::new(cell.store == Some(Store::Memory)),
        next_id: 1,
        answers: HashMap::new(),
        begun: HashMap::new(),
        messages: HashMap::new(),
        told: HashMap::new(),
        numbers: HashMap::new(),
        held: Vec::new(),
        acted: Instant::now(),
    };
    let went = play.through(cell);
    let logs = play.testee.kill();
    match went {
        Ok(None) => Played::Through(play.trace.text_without(&cell.case.by_chance)),
        Ok(Some(needs)) => Played::Skipped { needs },
        Err(why) => failed(why, logs),
    }
}

impl Play {
    /// Every step; gives what the testee lacks.
    fn through(&mut self, cell: Cell<'_>) -> anyhow::Result<Option<String>> {
        let hello = self.call(&json!({"op": "hello", "runner": "1"}), self.patience)?;
        let caps = hello.pointer("/ok/caps").and_then(Value::as_array).context("hello was answered without caps")?;
        if let Some(lacks) = cell.case.needs.iter().find(|need| !caps.iter().any(|cap| cap == need.as_str())) {
            return Ok(Some(lacks.clone()));
        }
        for (at, step) in cell.case.steps.iter().enumerate().filter(|(_, step)| cell.transport.plays(step)) {
            let op = step.get("op").and_then(Value::as_str).unwrap_or_default();
            self.step(op, step).with_context(|| format!("step {} ({op})", at + 1))?;
        }
        ensure!(self.armed.is_none(), "a cut was armed, and no step waits until it was struck");
        if let Some(store) = cell.store {
            self.judge_history(store)?;
        }
        let id = self.id();
        let left = self.testee.exit(id)?;
        for value in left {
            self.file(Line { at: Instant::now(), value });
        }
        let unexpected = self.messages.iter().find_map(|(on, queue)| Some((on, queue.front()?)));
        if let Some((on, line)) = unexpected {
            bail!("no step expected this on {on}: {}", line.value);
        }
        // States may be passed by, and a good end comes with the program's own.
        let is_bad = |line: &&Value| {
            line.get("ev") == Some(&json!("error")) || line.get("err").is_some_and(|err| !err.is_null())
        };
        if let Some((on, line)) = self.told.iter().find_map(|(on, lines)| Some((on, lines.iter().find(is_bad)?))) {
            bail!("no step expected this on {on}: {line}");
        }
        Ok(None)
    }

    /// How long a step may take.
    fn within(&self, step: &Step) -> Duration {
        millis(step, "within_ms").unwrap_or(self.patience)
    }

    const fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Takes what the testee says until `done` has what it waits for.
    fn wait<T>(&mut self, within: Duration, mut done: impl FnMut(&mut Self) -> Option<T>) -> anyhow::Result<Option<T>> {
        let until = Instant::now() + within;
        loop {
            if let Some(found) = done(self) {
                return Ok(Some(found));
            }
            match self.testee.next(until)? {
                Some(line) => self.file(line),
                None => return Ok(None),
            }
        }
    }

    fn file(&mut self, line: Line) {
        let text = |name: &str| line.value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        match (text("ev").as_str(), line.value.get("id").and_then(Value::as_u64)) {
            (what @ ("msg" | "asked"), _) => {
                let on = text("on");
                if on == ending::READER {
                    self.messages.entry(on).or_default().push_back(line);
                    return;
                }
                if what == "msg" {
                    self.witness.came(&line.value, line.at);
                }
                let number = line.value.get("n").and_then(Value::as_u64).unwrap_or_default();
                self.numbers.insert((on.clone(), text("id")), number);
                self.trace.add(&on, what, &line.value);
                self.messages.entry(on).or_default().push_back(line);
            }
            ("", Some(id)) => {
                self.witness.answered(id, &line.value, line.at);
                self.answers.insert(id, line.value);
            }
            _ => self.told.entry(text("on")).or_default().push_back(line.value),
        }
    }
}

/// A number of milliseconds of a step.
fn millis(step: &Step, name: &str) -> Option<Duration> {
    step.get(name).and_then(Value::as_u64).map(Duration::from_millis)
}

/// A text of a step.
fn text<'a>(step: &'a Step, name: &str) -> anyhow::Result<&'a str> {
    step.get(name).and_then(Value::as_str).with_context(|| format!("the step needs a text `{name}`"))
}

/// Many events of one form: `count`, and what they share. Ids are 1, 2, 3 behind
/// `prefix`, keys go round.
fn fill(value: &Value) -> anyhow::Result<Vec<Value>> {
    let of = value.as_object().context("fill is a table")?;
    let count = of.get("count").and_then(Value::as_u64).context("fill needs a count")?;
    let prefix = of.get("prefix").and_then(Value::as_str).unwrap_or_default();
    let keys = of.get("keys").and_then(Value::as_u64);
    let shared = || of.get("event").and_then(Value::as_object).cloned().unwrap_or_default();
    let event = |number: u64| {
        let mut event: Map<String, Value> = shared();
        event.insert("id".to_owned(), format!("{prefix}{number}").into());
        if let Some(keys) = keys {
            event.insert("key".to_owned(), format!("k{}", number % keys).into());
        }
        event.into()
    };
    Ok((1..=count).map(event).collect())
}
