//! What a cell shows of the gateway, written down beside the steps that judge it: what was
//! published and how it was answered, what came, what was settled, when the gateway died.
//! At the end the log is read, and [`meshwire_history::judge`] names each promise that it
//! all shows broken, whatever the case itself looked at.
//!
//! - [`content`]: what is compared of an event;
//! - [`topic`]: what was seen of one topic, as a history;
//! - `heard`: commands and their answers.
//!
//! What a case does to a topic that histories know nothing of leaves the topic unjudged,
//! and what may have been lost on a faulty road is excused.

mod content;
mod heard;
mod topic;

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use meshwire_history::{Absence, Death, Forgive, History, Level, judge};
use serde_json::Value;

use content::Shown;
pub(crate) use topic::End;
use topic::{Came, Topic};

/// A plain settle may be on its way for so long when the gateway dies: through the testee,
/// its client, and 10 ms of the gateway. Generous, for machines that are busy.
const SETTLE_UNDER_WAY: Duration = Duration::from_millis(500);
/// Likewise a delivery, from the gateway to the runner.
const UNDER_WAY: Duration = Duration::from_millis(300);

/// A subscription by the name that the case gave it.
#[derive(Debug)]
struct Lane {
    topic: String,
    group: Option<String>,
    client: String,
    /// Rises when a reader may have begun anew.
    subscription: u64,
}

/// Everything that was seen in one cell.
#[derive(Debug)]
pub(crate) struct Witness {
    began: Instant,
    /// How topics are kept of which nothing is said.
    level: Level,
    life: u64,
    /// The road had a fault: anything may have been lost on it.
    faulty: bool,
    topics: BTreeMap<String, Topic>,
    lanes: HashMap<String, Lane>,
    /// Names by which clients are known in the sources of their events.
    clients: HashMap<String, String>,
    /// Messages by lane and number.
    numbers: HashMap<(String, u64), (String, usize)>,
    /// Commands without their answer.
    open: HashMap<u64, heard::Open>,
    deaths: Vec<Death>,
    absences: Vec<Absence>,
}

impl Witness {
    pub(crate) fn new(memory: bool) -> Self {
        Self {
            began: Instant::now(),
            level: if memory { Level::Memory } else { Level::Synced },
            life: 0,
            faulty: false,
            topics: BTreeMap::new(),
            lanes: HashMap::new(),
            clients: HashMap::new(),
            numbers: HashMap::new(),
            open: HashMap::new(),
            deaths: Vec::new(),
            absences: Vec::new(),
        }
    }

    fn since(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.began)
    }

    fn topic(&mut self, name: &str) -> &mut Topic {
        let level = self.level;
        self.topics.entry(name.to_owned()).or_insert_with(|| Topic::new(level))
    }

    /// The gateway ends, by itself or not; what comes until it is started again is still of this life.
    pub(crate) fn gateway_ends(&mut self) {
        let at = self.since(Instant::now());
        self.deaths.push(Death { at, life: self.life, power_lost: false });
        self.all_absent(at);
    }

    /// It runs again.
    pub(crate) fn gateway_starts(&mut self) {
        self.life += 1;
        self.all_absent(self.since(Instant::now()));
        self.readers_begin_anew();
    }

    /// The road has a fault, or will have one.
    pub(crate) fn road_fails(&mut self) {
        self.faulty = true;
        self.readers_begin_anew();
    }

    fn readers_begin_anew(&mut self) {
        self.lanes.values_mut().filter(|lane| lane.group.is_none()).for_each(|lane| lane.subscription += 1);
    }

    fn all_absent(&mut self, at: Duration) {
        let absent = |lane: &String| Absence { at, member: lane.as_str().into() };
        self.absences.extend(self.lanes.keys().map(absent));
    }

    /// A message came.
    pub(crate) fn came(&mut self, message: &Value, at: Instant) {
        let at = self.since(at);
        let name = message["on"].as_str().unwrap_or_default();
        let Some(lane) = self.lanes.get(name) else { return };
        let (topic, life, excused) = (lane.topic.clone(), self.life, self.faulty);
        let came = Came {
            at,
            life,
            lane: name.to_owned(),
            group: lane.group.clone(),
            subscription: lane.subscription,
            attempt: message["attempt"].as_u64().and_then(|n| u32::try_from(n).ok()).unwrap_or_default(),
            position: message["position"].as_u64().unwrap_or_default(),
            event: Shown::seen(message),
            excused,
        };
        let number = message["n"].as_u64().unwrap_or_default();
        let all = &mut self.topic(&topic).came;
        all.push(came);
        let place = all.len() - 1;
        self.numbers.insert((name.to_owned(), number), (topic, place));
    }

    /// Topics whose end is to be read.
    pub(crate) fn judged(&self) -> Vec<String> {
        let judged = self.topics.iter().filter(|(_, topic)| !topic.strange);
        judged.map(|(name, _)| name.clone()).collect()
    }

    /// Every promise about a topic that is broken, in words.
    pub(crate) fn broken(&self, topic: &str, end: &End) -> Vec<String> {
        let Some(seen) = self.topics.get(topic) else {
            return Vec::new();
        };
        let about = History {
            deaths: self.deaths.clone(),
            absences: self.absences.clone(),
            forgive: Forgive { settle_before_death: SETTLE_UNDER_WAY, under_way: UNDER_WAY },
            ..History::new(topic)
        };
        judge(&seen.history(about, end)).broken.iter().map(ToString::to_string).collect()
    }
}

#[cfg(test)]
mod tests;
