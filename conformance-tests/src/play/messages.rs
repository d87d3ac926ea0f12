//! What came on subscriptions.

use std::time::Instant;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Play, fill, millis, text};
use crate::case::Step;
use crate::expect::differs;
use crate::testee::Line;

impl Play {
    /// The next messages are those that are expected, in their order; with
    /// `order = "any"` in any. With several subscriptions (`on` is a list) they may
    /// come on any of them; with `from_one` all on the same.
    pub(super) fn receive(&mut self, step: &Step) -> anyhow::Result<()> {
        let on = lanes(step)?;
        let expected = match (step.get("expect").and_then(Value::as_array), step.get("fill")) {
            (Some(expected), _) => expected.clone(),
            (None, Some(form)) => fill(form)?,
            (None, None) => bail!("receive needs `expect` or `fill`"),
        };
        let within = self.within(step);
        let until = Instant::now() + within;
        let from_one = step.get("from_one").and_then(Value::as_bool).unwrap_or_default();
        let in_order = (from_one || on.len() == 1) && step.get("order").is_none_or(|order| order != "any");
        let mut left = expected;
        let mut came_on = None;
        while !left.is_empty() {
            let span = until.saturating_duration_since(Instant::now());
            let line = self.wait(span, |play| play.take(&on))?;
            let line =
                line.with_context(|| format!("within {} ms not all came: {}", within.as_millis(), shown(&left)))?;
            self.check_time(step, &line)?;
            let on = line.value.get("on").cloned();
            ensure!(
                !from_one || came_on.get_or_insert_with(|| on.clone()) == &on,
                "not all came on one: {}",
                line.value
            );
            // In order, only the first can be meant.
            let able = left.iter().take(if in_order { 1 } else { left.len() });
            let Some(at) = able.clone().position(|wanted| differs(wanted, &line.value).is_none()) else {
                let why = able.clone().find_map(|wanted| differs(wanted, &line.value)).unwrap_or_default();
                bail!("{why} in {}", line.value);
            };
            left.remove(at);
        }
        Ok(())
    }

    fn check_time(&self, step: &Step, line: &Line) -> anyhow::Result<()> {
        let after = line.at.saturating_duration_since(self.acted);
        if let Some(least) = millis(step, "not_before_ms") {
            ensure!(
                after >= least,
                "came after {} ms, before {}: {}",
                after.as_millis(),
                least.as_millis(),
                line.value
            );
        }
        if let Some(most) = millis(step, "not_after_ms") {
            ensure!(after <= most, "came after {} ms, behind {}: {}", after.as_millis(), most.as_millis(), line.value);
        }
        Ok(())
    }

    fn take(&mut self, on: &[String]) -> Option<Line> {
        on.iter().find_map(|lane| self.messages.get_mut(lane)?.pop_front())
    }

    /// Nothing comes for so long.
    pub(super) fn silence(&mut self, step: &Step) -> anyhow::Result<()> {
        let on = lanes(step)?;
        let span = millis(step, "for_ms").context("silence needs for_ms")?;
        match self.wait(span, |play| play.take(&on))? {
            None => Ok(()),
            Some(line) => bail!("came all the same: {}", line.value),
        }
    }

    /// Something else is told: a state, an end, an error of a subscription.
    pub(super) fn told(&mut self, step: &Step) -> anyhow::Result<()> {
        let on = text(step, "on")?.to_owned();
        let expected = step.get("expect").cloned().context("told needs `expect`: anything is told some day")?;
        let within = self.within(step);
        let mut last = String::new();
        let found = self.wait(within, |play| {
            while let Some(value) = play.told.get_mut(&on).and_then(std::collections::VecDeque::pop_front) {
                match differs(&expected, &value) {
                    None => return Some(value),
                    Some(_) => last = value.to_string(),
                }
            }
            None
        })?;
        let found = found.with_context(|| format!("{expected} was not told; the last was {last}"))?;
        // States come and go; an end comes once.
        if found.get("ev").is_some_and(|ev| ev != "state") {
            let what = found.get("ev").and_then(Value::as_str).unwrap_or_default().to_owned();
            self.trace.add(&on, &what, &found);
        }
        Ok(())
    }
}

fn lanes(step: &Step) -> anyhow::Result<Vec<String>> {
    match step.get("on") {
        Some(Value::String(on)) => Ok(vec![on.clone()]),
        Some(Value::Array(names)) => Ok(names.iter().filter_map(Value::as_str).map(str::to_owned).collect()),
        _ => bail!("`on` names a subscription, or a list of them"),
    }
}

/// Some of what is missing.
fn shown(left: &[Value]) -> String {
    let some: Vec<String> = left.iter().take(3).map(ToString::to_string).collect();
    format!("{} are missing, {} ...", left.len(), some.join(" "))
}
