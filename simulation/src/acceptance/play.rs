//! The words of the cases.
//!
//! A play is acts with `;` between them. `a` to `f` are members of group `g` (or of the
//! group behind `of`); `any` is whichever of them has it. Times are milliseconds.
//!
//! ```text
//! publish 1 2@k 3..9      events by id, `@` their key; each must be kept
//! a joins [credit 4] [of h]
//! a gets 1 2#2            these come next, now (within 50 ms); `#` the attempt, else 1
//! a works 1..9#2          each comes alone and is acked before the next one
//! +500 a gets 1#2         so long after what last happened to that event: a delivery, a nack, an extension
//! +500..600 a gets 1#2    between the two
//! @500 a gets 1#2         so long after what last happened to a process: it left, died, stopped, came up
//! a acks 1 2 | nacks 1 [for 500] | rejects 1 [why] | extends 1     behind `;` or with `surely` and `lost`:
//! a acks 1 surely         is confirmed; `lost`: is answered LEASE_LOST; `later`: nobody waits for the answer
//! a leaves | dies | drains | is cut
//! wait 500 | quiet 500    nothing comes to anybody for so long
//! kill | power | down | up | stop | stopped 500    the gateway; `kill` and `power` start it again at once;
//!                         `stop` begins to stop it, `stopped` waits until it has, within so long
//! disk full | disk free
//! clock 3600000 | clock -3600000   somebody sets the wall clock, so much forward or back
//! again 1 2               published a second time: each must be told apart
//! redrive all | redrive 1 2 | purge all | purge 1 | seek 1 | update max_failures 2 | letters 1
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use meshwire_proto::frame::SettleKind;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{self, AfterDeadLetter, DeathReason, GroupSettings};
use meshwire_proto::{ErrorKind, EventLimits, EventView, Moment};

use super::person::{Say, TOPIC};
use super::stage::{Keeps, Stage};
use crate::history::Disaster;

/// How late a redelivery may be: this, or a tenth of its wait, whichever is more.
const LATE: Duration = Duration::from_millis(50);

/// After a play nothing more may come for so long.
const REST: Duration = Duration::from_secs(120);

/// One row of a table.
pub(super) struct Case {
    /// What is promised.
    pub(super) says: &'static str,
    /// Settings of the group, in the words of `update`.
    pub(super) group: &'static str,
    pub(super) play: &'static str,
    /// The dead letters at the end, all of them: event, reason, failures; `,` between them.
    pub(super) letters: &'static str,
}

/// A case being played.
struct Play {
    stage: Stage,
    settings: GroupSettings,
    /// Who publishes and commands.
    publisher: usize,
    /// By name: whose number, and whether it is still there.
    members: BTreeMap<String, usize>,
    published: u64,
    /// Events with a key.
    keyed: BTreeSet<String>,
    /// What last happened to each event.
    events: BTreeMap<String, Moment>,
    /// When something last happened to a process.
    processes: Moment,
}

/// When a delivery is due, and the latest that is good.
#[derive(Clone, Copy, Debug)]
enum Due {
    Now,
    /// From what happened to the event.
    Event(Duration, Duration),
    /// From what happened to a process.
    Process(Duration, Duration),
}

impl Due {
    fn read(word: &str) -> Option<Self> {
        let span = word.strip_prefix(['+', '@'])?;
        let (from, to) = span.split_once("..").map_or((span, None), |(from, to)| (from, Some(to)));
        let from = millis(from);
        let late = |due: Duration| due + LATE.max(due / 10);
        let to = to.map_or_else(|| late(from), |to| millis(to) + LATE);
        Some(if word.starts_with('+') { Self::Event(from, to) } else { Self::Process(from, to) })
    }
}

fn millis(word: &str) -> Duration {
    Duration::from_millis(word.parse().unwrap_or_else(|_| panic!("{word} is no number")))
}

/// `1 2 5..7#2` as `1 2 5#2 6#2 7#2`.
fn expand(words: &[&str]) -> Vec<String> {
    let one = |word: &&str| match word.split_once("..") {
        Some((from, to)) => {
            let number = |word: &str| word.parse::<u32>().unwrap_or_else(|_| panic!("{word} is no number"));
            let (to, rest) = to.find(['#', '@']).map_or((to, ""), |at| to.split_at(at));
            (number(from)..=number(to)).map(|n| format!("{n}{rest}")).collect()
        }
        None => vec![(*word).to_owned()],
    };
    words.iter().flat_map(one).collect()
}

/// Settings in words: `wait 10000 failures 3 backoff 100 400 hold`.
fn settings(words: &str) -> GroupSettings {
    let mut settings = GroupSettings::default();
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        let mut number =
            || words.next().and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{word} needs a number"));
        match word {
            "wait" => settings.ack_wait_ms = Some(number()),
            "failures" => settings.max_failures = Some(number()),
            "age" => settings.max_age_ms = Some(number().into()),
            "backoff" => (settings.backoff_min_ms, settings.backoff_max_ms) = (Some(number()), Some(number())),
            "in_flight" => settings.max_in_flight = Some(number()),
            "rate" => settings.max_rate = Some(number()),
            "hold" => settings.after_dead_letter = Some(AfterDeadLetter::Hold.into()),
            "continue" => settings.after_dead_letter = Some(AfterDeadLetter::Continue.into()),
            "strict" => settings.strict_order = Some(true),
            _ => panic!("no setting {word}"),
        }
    }
    settings
}

impl Case {
    /// Plays it; what is wrong as a sentence.
    pub(super) fn play(&self, keeps: Keeps) -> Result<(), String> {
        let mut stage = Stage::new(keeps);
        let publisher = stage.enter();
        let settings = settings(self.group);
        let (published, processes) = (0, stage.now);
        let (members, keyed, events) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        let mut play = Play { stage, settings, publisher, members, published, keyed, events, processes };
        for act in self.play.split(';').map(str::trim).filter(|act| !act.is_empty()) {
            let words: Vec<&str> = act.split_whitespace().collect();
            play.act(&words).map_err(|wrong| format!("at `{act}`: {wrong}"))?;
        }
        play.quiet(REST).map_err(|wrong| format!("at the end: {wrong}"))?;
        play.has_letters(self.letters)?;
        play.has_nothing_left()
    }

    /// Whether it makes sense where nothing outlives the gateway.
    pub(super) fn needs_log(&self) -> bool {
        let first = |act: &str| act.split_whitespace().next().unwrap_or_default().to_owned();
        self.play.split(';').any(|act| ["kill", "power", "down", "stop", "disk"].contains(&first(act).as_str()))
    }
}

impl Play {
    fn act(&mut self, words: &[&str]) -> Result<(), String> {
        match words {
            ["publish", events @ ..] => self.publish(&expand(events)),
            ["wait", time] => {
                self.stage.run(millis(time));
                Ok(())
            }
            ["quiet", time] => self.quiet(millis(time)),
            ["update", ..] => {
                let settings = Some(settings(&words[1..].join(" ")));
                let update = admin::UpdateGroup { topic: TOPIC.into(), group: "g".into(), settings };
                self.command(Command::UpdateGroup(update))
            }
            ["seek", to] => {
                let to = to.parse().map_err(|_| format!("{to} is no position"))?;
                self.command(Command::SeekGroup(admin::SeekGroup {
                    topic: TOPIC.into(),
                    group: "g".into(),
                    to,
                    ..admin::SeekGroup::default()
                }))
            }
            ["redrive", numbers @ ..] => {
                let numbers = all_or(numbers);
                let redrive = admin::RedriveDeadLetters { topic: TOPIC.into(), numbers, ..Default::default() };
                self.command(Command::RedriveDeadLetters(redrive))
            }
            ["purge", numbers @ ..] => {
                let numbers = all_or(numbers);
                let purge = admin::PurgeDeadLetters { topic: TOPIC.into(), numbers, ..Default::default() };
                self.command(Command::PurgeDeadLetters(purge))
            }
            ["letters", count] => {
                let letters = self.stage.letters(self.publisher).len();
                if letters.to_string() == **count { Ok(()) } else { Err(format!("{letters} dead letters")) }
            }
            ["clock", by] => {
                self.stage.set_wall_clock(by.parse().map_err(|_| format!("{by} is no number"))?);
                Ok(())
            }
            ["again", events @ ..] => {
                let duplicates = self.stage.people[self.publisher].duplicates + expand(events).len() as u64;
                self.publish(&expand(events))?;
                let told = self.stage.people[self.publisher].duplicates;
                if told == duplicates { Ok(()) } else { Err(format!("{told} of {duplicates} are told apart")) }
            }
            ["disk", space] => {
                self.stage.machine.set_capacity((*space == "full").then_some(0));
                Ok(())
            }
            [due, who, verb @ ("gets" | "works"), events @ ..] if due.starts_with(['+', '@']) => {
                let due = Due::read(due).ok_or("no time")?;
                if *verb == "gets" {
                    self.gets(due, who, &expand(events))
                } else {
                    self.works(due, who, &expand(events))
                }
            }
            [who, "gets", events @ ..] => self.gets(Due::Now, who, &expand(events)),
            [who, "works", events @ ..] => self.works(Due::Now, who, &expand(events)),
            [who, verb, rest @ ..] => self.does(who, verb, rest),
            [word] => self.gateway(word),
            [] => Ok(()),
        }
    }

    fn gateway(&mut self, word: &str) -> Result<(), String> {
        match word {
            "kill" | "power" => {
                let how = if word == "kill" { Disaster::Kill } else { Disaster::PowerLoss };
                self.stage.end_gateway(how);
                self.stage.start_gateway();
            }
            "down" => self.stage.end_gateway(Disaster::Kill),
            "up" => self.stage.start_gateway(),
            "stop" => self.stage.begin_to_stop(),
            _ => return Err("no such act".to_owned()),
        }
        self.processes = self.stage.now;
        Ok(())
    }

    fn command(&mut self, command: Command) -> Result<(), String> {
        self.stage.admin(self.publisher, command).map(drop).map_err(|failure| failure.message)
    }

    fn publish(&mut self, events: &[String]) -> Result<(), String> {
        // Segments of the simulated log are small: more at once find no room in the one that is there.
        for few in events.chunks(16) {
            for event in few {
                let (id, key) = event.split_once('@').map_or((event.as_str(), None), |(id, key)| (id, Some(key)));
                self.stage.people[self.publisher].publish(id, key);
                self.keyed.extend(key.map(|_| id.to_owned()));
                self.published += 1;
            }
            self.stage.pump(self.publisher);
            let (publisher, all) = (self.publisher, self.published);
            let until = self.stage.now + Duration::from_secs(30);
            if !self.stage.run_until(until, |stage| stage.people[publisher].kept >= all) {
                return Err(format!("not kept: {:?}", self.stage.people[publisher].refused));
            }
        }
        Ok(())
    }

    /// One after the other: each comes alone, once the one before it is acked.
    fn works(&mut self, due: Due, who: &str, events: &[String]) -> Result<(), String> {
        for (n, event) in events.iter().enumerate() {
            self.gets(if n == 0 { due } else { Due::Now }, who, std::slice::from_ref(event))?;
            if let Some((_, person)) = Self::first(&self.stage, &[self.member(who)?]) {
                return Err(format!("{:?} came beside {event}", self.stage.people[person].inbox.front()));
            }
            let id = event.split_once('#').map_or(event.as_str(), |(id, _)| id);
            self.settles(who, id, SettleKind::Ack.into(), None)?;
        }
        Ok(())
    }

    fn member(&self, who: &str) -> Result<usize, String> {
        self.members.get(who).copied().ok_or_else(|| format!("nobody is called {who}"))
    }

    fn does(&mut self, who: &str, verb: &str, rest: &[&str]) -> Result<(), String> {
        let kind = match verb {
            "joins" => return self.joins(who, rest),
            "acks" => SettleKind::Ack,
            "nacks" => SettleKind::Nack,
            "rejects" => SettleKind::Reject,
            "extends" => SettleKind::Extend,
            _ if who == "stopped" => return self.stopped(millis(verb)),
            _ => return self.goes(who, verb),
        };
        let is_option = |word: &&str| ["surely", "lost", "later", "for", "why"].contains(word);
        let (events, options) = rest.split_at(rest.iter().position(is_option).unwrap_or(rest.len()));
        let mut say = Say::from(kind);
        let mut answer = None;
        let mut options = options.iter();
        while let Some(option) = options.next() {
            match *option {
                "for" => say.delay_ms = options.next().and_then(|delay| delay.parse().ok()),
                "why" => say.reason = options.next().copied().unwrap_or_default(),
                word => answer = Some(word),
            }
        }
        for id in expand(events) {
            self.settles(who, &id, say, answer)?;
        }
        Ok(())
    }

    fn stopped(&mut self, within: Duration) -> Result<(), String> {
        let took = self.stage.stopped();
        self.processes = self.stage.now;
        if took <= within { Ok(()) } else { Err(format!("it took {took:?}")) }
    }

    fn joins(&mut self, who: &str, rest: &[&str]) -> Result<(), String> {
        let behind = |word| rest.iter().position(|w| *w == word).and_then(|at| rest.get(at + 1));
        let credit = behind("credit").map_or(1000, |n| n.parse().unwrap());
        let group = behind("of").map_or("g", |group| group);
        let settings = if rest.ends_with(&["whatever"]) { GroupSettings::default() } else { self.settings };
        let person = self.stage.enter();
        self.stage.people[person].join(group, settings, credit);
        self.stage.pump(person);
        self.members.insert(who.to_owned(), person);
        // A login, and a group that is kept.
        self.stage.run(Duration::from_millis(40));
        match self.stage.people[person].ended.first() {
            Some(failure) => Err(failure.message.clone()),
            None => Ok(()),
        }
    }

    /// It leaves, dies, drains, is cut.
    fn goes(&mut self, who: &str, verb: &str) -> Result<(), String> {
        let person = self.member(who)?;
        self.processes = self.stage.now;
        match verb {
            "leaves" => self.stage.close(person),
            "dies" => self.stage.kill(person),
            "is" => self.stage.cut(person),
            "drains" => {
                self.stage.people[person].session.drain();
                self.stage.pump(person);
            }
            _ => return Err(format!("nobody can {verb}")),
        }
        if ["leaves", "dies"].contains(&verb) {
            self.members.remove(who);
        }
        Ok(())
    }

    fn settles(&mut self, who: &str, id: &str, say: Say<'_>, answer: Option<&str>) -> Result<(), String> {
        let holder = |(_, person): &(&String, &usize)| self.stage.people[**person].holds(id);
        let person = if who == "any" {
            self.members.iter().filter(holder).max_by_key(|_| 0).map(|(_, person)| *person).ok_or("nobody has it")?
        } else {
            self.member(who)?
        };
        if say.kind != SettleKind::Ack {
            self.events.insert(id.to_owned(), self.stage.now);
        }
        let token = self.stage.people[person].settle(id, say, answer.is_some());
        self.stage.pump(person);
        let (Some(token), Some(expected @ ("surely" | "lost"))) = (token, answer) else {
            return Ok(());
        };
        let until = self.stage.now + Duration::from_secs(5);
        self.stage.run_until(until, |stage| stage.people[person].settled.contains_key(&token));
        match (self.stage.people[person].settled.remove(&token), expected) {
            (Some(Ok(())), "surely") => Ok(()),
            (Some(Err(failure)), "lost") if failure.kind == ErrorKind::LeaseLost => Ok(()),
            (answer, _) => Err(format!("{id} was answered {answer:?}")),
        }
    }

    /// Who has something to look at, and since when.
    fn first(stage: &Stage, among: &[usize]) -> Option<(Moment, usize)> {
        let first = |person: &usize| stage.people[*person].inbox.front().map(|got| (got.at, *person));
        among.iter().filter_map(first).min()
    }

    fn gets(&mut self, due: Due, who: &str, events: &[String]) -> Result<(), String> {
        let among: Vec<usize> =
            if who == "any" { self.members.values().copied().collect() } else { vec![self.member(who)?] };
        let began = self.stage.now;
        let mut left: Vec<&str> = events.iter().map(String::as_str).collect();
        while let Some(event) = left.first().copied() {
            let (id, _) = event.split_once('#').unwrap_or((event, "1"));
            let since = self.events.get(id).copied().unwrap_or_default();
            let (from, to) = match due {
                // What goes with the first one comes with it.
                _ if left.len() < events.len() => (Moment(0), self.stage.now.max(began) + LATE),
                Due::Now => (Moment(0), began + LATE),
                Due::Event(from, to) => (since + from, since + to),
                Due::Process(from, to) => (self.processes + from, self.processes + to),
            };
            self.stage.run_until(to, |stage| Self::first(stage, &among).is_some());
            let Some((at, person)) = Self::first(&self.stage, &among) else {
                return Err(format!("{event} did not come by {to:?}; it is {:?}", self.stage.now));
            };
            let got = self.stage.people[person].look().ok_or("it is gone")?;
            self.events.insert(got.id.clone(), at);
            // Without a key there is no order among redeliveries.
            let free = got.attempt > 1 && !self.keyed.contains(&got.id);
            let came = if got.attempt == 1 { got.id } else { format!("{}#{}", got.id, got.attempt) };
            match left.iter().position(|wanted| *wanted == came) {
                Some(place) if place == 0 || free => drop(left.remove(place)),
                _ => return Err(format!("{came} came instead of {event}")),
            }
            if at < from || at > to {
                return Err(format!("{came} came at {at:?}, due from {from:?} to {to:?}"));
            }
        }
        Ok(())
    }

    fn quiet(&mut self, time: Duration) -> Result<(), String> {
        let all: Vec<usize> = (0..self.stage.people.len()).collect();
        self.stage.run_until(self.stage.now + time, |stage| Self::first(stage, &all).is_some());
        match Self::first(&self.stage, &all) {
            Some((at, person)) => Err(format!("{:?} came at {at:?}", self.stage.people[person].inbox.front())),
            None => Ok(()),
        }
    }

    fn has_letters(&mut self, expected: &str) -> Result<(), String> {
        let letters = self.stage.letters(self.publisher);
        let shown = letters.iter().map(show).collect::<Vec<_>>().join(", ");
        if shown == expected { Ok(()) } else { Err(format!("the dead letters are `{shown}`, not `{expected}`")) }
    }

    /// No group has anything left: an event ends as settled or as a dead letter.
    fn has_nothing_left(&mut self) -> Result<(), String> {
        let groups = self.stage.groups(self.publisher);
        match groups.iter().find(|g| g.lag + g.in_flight + g.delayed > 0) {
            Some(group) => Err(format!("left open: {group:?}")),
            None => Ok(()),
        }
    }
}

fn all_or(numbers: &[&str]) -> Vec<u64> {
    if numbers == ["all"] { Vec::new() } else { numbers.iter().map(|n| n.parse().unwrap()).collect() }
}

/// `1 rejected 1`, with ` of h` where the group is not `g`, and what the consumer said.
fn show(letter: &admin::DeadLetter) -> String {
    let id = EventView::parse(&letter.event, EventLimits::default()).unwrap().id().to_owned();
    let reason = match letter.reason() {
        DeathReason::Failures => "failures",
        DeathReason::Rejected => "rejected",
        DeathReason::Age => "age",
        DeathReason::Unspecified => "?",
    };
    let of = if letter.group == "g" { String::new() } else { format!(" of {}", letter.group) };
    let why = if letter.error.is_empty() { String::new() } else { format!(" why {}", letter.error) };
    let again = if letter.redriven { " redriven" } else { "" };
    format!("{id} {reason} {}{of}{why}{again}", letter.failures)
}
