//! The end of a cell: the log, the dead letters and the groups as they are then, read
//! through the testee, and what the history says with them.

use std::collections::VecDeque;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::{Value, json};

use super::Play;
use crate::case::{Step, Store};
use crate::witness::End;

/// The client, and the subscription, that read. No case uses such a name.
pub(super) const READER: &str = "$end";

impl Play {
    /// Fails when the history of a topic shows a broken promise.
    pub(super) fn judge_history(&mut self, store: Store) -> anyhow::Result<()> {
        let topics = self.witness.judged();
        let real = self.world.real()?;
        if topics.is_empty() || (!real.runs() && store == Store::Memory) {
            return Ok(());
        }
        if !real.runs() {
            real.start()?;
            self.witness.gateway_starts();
        }
        let url = self.transport.url(self.world.real()?.gateway()?);
        let mut connect =
            Step::from_iter([("op", "connect"), ("as", READER), ("url", &*url)].map(|(k, v)| (k.to_owned(), v.into())));
        self.trust(&mut connect)?;
        self.ask(&connect.into())?;
        let listed = self.ask(&json!({"op": "topics", "on": READER}))?;
        let listed = items(&listed, "topics");
        let mut broken = Vec::new();
        for topic in topics {
            let found = listed.iter().find(|t| t["name"] == topic.as_str());
            let place = |name: &str| found.and_then(|t| t[name].as_u64()).unwrap_or(1);
            let (first, next) = (place("first"), place("next"));
            // What retention took was there, and cannot be told from what was lost.
            if first > 1 {
                continue;
            }
            let Some(end) = self.end_of(&topic, next.saturating_sub(1), next > 0 && found.is_some())? else {
                continue;
            };
            broken.extend(self.witness.broken(&topic, &end));
        }
        self.ask(&json!({"op": "close", "on": READER}))?;
        ensure!(broken.is_empty(), "the history of this case: {}", broken.join("; "));
        Ok(())
    }

    fn ask(&mut self, command: &Value) -> anyhow::Result<Value> {
        let answer = self.call(command, self.patience)?;
        answer.get("ok").cloned().with_context(|| format!("for the history, {command}: {answer}"))
    }

    /// `None` if a reader from the start is not given all of it.
    fn end_of(&mut self, topic: &str, events: u64, exists: bool) -> anyhow::Result<Option<End>> {
        let mut end = End::default();
        let mut missing = 0;
        if events > 0 {
            let subscribe = json!({
                "op": "subscribe", "on": READER, "as": READER, "topic": topic, "start": "earliest",
                "prefetch": [65_536, 64 << 20],
            });
            self.ask(&subscribe)?;
            let until = Instant::now() + self.patience;
            while end.log.len() as u64 + missing < events {
                let left = until.saturating_duration_since(Instant::now());
                let next = self.wait(left, |play| play.messages.get_mut(READER).and_then(VecDeque::pop_front))?;
                let read = end.log.len();
                let next =
                    next.with_context(|| format!("only {read} of {events} events of topic {topic} can be read"))?;
                missing += next.value.get("gap").and_then(Value::as_u64).unwrap_or(0);
                end.log.push(next.value);
            }
            self.ask(&json!({"op": "unsubscribe", "on": READER}))?;
        }
        if exists {
            let letters = self.ask(&json!({"op": "dead_letters", "on": READER, "topic": topic}))?;
            end.letters = items(&letters, "letters");
            let groups = self.ask(&json!({"op": "groups", "on": READER, "topic": topic}))?;
            let groups = items(&groups, "groups");
            let done = groups.iter().filter(|group| group["lag"] == 0).filter_map(|group| group["name"].as_str());
            end.finished = done.map(str::to_owned).collect();
        }
        Ok((missing == 0).then_some(end))
    }
}

/// A list of an answer.
fn items(answer: &Value, name: &str) -> Vec<Value> {
    answer.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}
