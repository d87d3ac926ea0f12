//! Commands of the testee and what is expected of their answers.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use rustix::net;
use serde_json::{Value, json};

use super::{Play, fill, millis, text};
use crate::case::Step;
use crate::certificate::certificate;
use crate::expect::differs;

/// What the runner reads of a step; all else goes to the testee.
const RUNNER: [&str; 9] = ["over", "expect", "error", "begin", "within_ms", "not_before_ms", "until", "of", "fill"];
/// Answers that tell of a moment: their lines would differ from run to run.
const UNTRACED: [&str; 9] =
    ["stats", "state", "groups", "topics", "gate", "create_group", "update_group", "seek_group", "delete_group"];
/// How often a question is asked again until its answer is as expected.
const AGAIN: Duration = Duration::from_millis(15);

impl Play {
    /// Sends a command and waits for its answer.
    pub(super) fn call(&mut self, command: &Value, within: Duration) -> anyhow::Result<Value> {
        let id = self.send(command)?;
        self.answer(id, within)
    }

    fn send(&mut self, command: &Value) -> anyhow::Result<u64> {
        let id = self.id();
        let mut command = command.clone();
        if let Some(fields) = command.as_object_mut() {
            fields.insert("id".to_owned(), id.into());
        }
        self.witness.sent(id, &command, Instant::now());
        self.testee.send(&command)?;
        Ok(id)
    }

    fn answer(&mut self, id: u64, within: Duration) -> anyhow::Result<Value> {
        let answer = self.wait(within, |play| play.answers.remove(&id))?;
        answer.with_context(|| format!("no answer within {} ms", within.as_millis()))
    }

    /// A step whose op is one of the testee's.
    pub(super) fn command(&mut self, op: &str, step: &Step) -> anyhow::Result<()> {
        self.acted = Instant::now();
        let command = self.command_of(op, step)?;
        if let Some(name) = step.get("begin").and_then(Value::as_str) {
            let id = self.send(&command)?;
            self.begun.insert(name.to_owned(), (id, step.clone()));
            return Ok(());
        }
        if let Some(expected) = step.get("until") {
            return self.until(&command, expected, step);
        }
        let answer = self.call(&command, self.within(step))?;
        self.judge(op, step, &answer)
    }

    /// The answer of a command that was begun; `expect` and `error` stand here.
    pub(super) fn finish(&mut self, step: &Step) -> anyhow::Result<()> {
        let name = text(step, "of")?;
        let (id, begun) = self.begun.remove(name).with_context(|| format!("nothing was begun as {name:?}"))?;
        let answer = self.answer(id, self.within(step))?;
        self.judge(text(&begun, "op")?, step, &answer)
    }

    /// What was begun is not answered for so long.
    pub(super) fn unanswered(&mut self, step: &Step) -> anyhow::Result<()> {
        let name = text(step, "of")?;
        let (id, _) = self.begun.get(name).with_context(|| format!("nothing was begun as {name:?}"))?;
        let (id, span) = (*id, millis(step, "for_ms").context("unanswered needs for_ms")?);
        match self.wait(span, |play| play.answers.get(&id).cloned())? {
            None => Ok(()),
            Some(answer) => bail!("answered all the same: {answer}"),
        }
    }

    fn command_of(&mut self, op: &str, step: &Step) -> anyhow::Result<Value> {
        let mut command = step.clone();
        command.retain(|name, _| !RUNNER.contains(&name.as_str()));
        if op == "connect" {
            let url = match step.get("url").and_then(Value::as_str) {
                None => self.transport.url(self.world.address()),
                Some("direct") => self.transport.url(self.world.real()?.gateway()?),
                Some("nowhere") => {
                    let (held, address) = nowhere()?;
                    self.held.push(held);
                    self.transport.url(address)
                }
                Some(url) => url.to_owned(),
            };
            command.insert("url".to_owned(), url.into());
            self.trust(&mut command)?;
        }
        if let Some(form) = step.get("fill") {
            command.insert("events".to_owned(), fill(form)?.into());
        }
        if let Some(ids) = step.get("of") {
            let on = text(step, "on")?;
            let ids = ids.as_array().context("`of` is a list of event ids")?;
            let number = |id: &Value| {
                let id = id.as_str().unwrap_or_default().to_owned();
                let found = self.numbers.get(&(on.to_owned(), id.clone()));
                found.copied().with_context(|| format!("event {id:?} did not come on {on}"))
            };
            command.insert("n".to_owned(), ids.iter().map(number).collect::<anyhow::Result<Vec<_>>>()?.into());
        }
        Ok(command.into())
    }

    /// A client inside TLS needs to know whom to trust.
    pub(super) fn trust(&self, connect: &mut Step) -> anyhow::Result<()> {
        if self.transport.is_secure() {
            connect.insert("tls_roots".to_owned(), certificate().certificate.display().to_string().into());
        }
        Ok(())
    }

    /// Asks until the answer is as expected.
    fn until(&mut self, command: &Value, expected: &Value, step: &Step) -> anyhow::Result<()> {
        let within = self.within(step);
        let until = Instant::now() + within;
        loop {
            let answer = self.call(command, within)?;
            let problem = match answer.get("ok") {
                Some(ok) => differs(expected, ok),
                None => Some(answer.to_string()),
            };
            match problem {
                None => return Ok(()),
                Some(problem) if Instant::now() > until => bail!("never as expected: {problem}"),
                // What the testee says meanwhile is taken, too.
                Some(_) => drop(self.wait(AGAIN, |_| None::<()>)?),
            }
        }
    }

    fn judge(&mut self, op: &str, step: &Step, answer: &Value) -> anyhow::Result<()> {
        let took = self.acted.elapsed();
        let shown = |name: &str| step.get(name).and_then(Value::as_str).map(|v| format!(" {v}")).unwrap_or_default();
        if !UNTRACED.contains(&op) {
            let kept = match answer.get("err") {
                Some(err) => json!({"err": err}),
                None => answer.get("ok").cloned().unwrap_or_default(),
            };
            let what = format!("{op}{}{}", shown("on"), shown("as"));
            self.trace.add("calls", &what, &kept);
        }
        match (answer.get("ok"), answer.get("err"), step.get("error")) {
            (Some(ok), _, None) => {
                if let Some(problem) = step.get("expect").and_then(|expected| differs(expected, ok)) {
                    bail!("{problem}");
                }
            }
            (_, Some(err), Some(expected)) => {
                let code = json!({"code": expected});
                let expected = if expected.is_string() { &code } else { expected };
                if let Some(problem) = differs(expected, err) {
                    bail!("{problem} in {err}");
                }
            }
            (Some(ok), _, Some(expected)) => bail!("it went well ({ok}) instead of {expected}"),
            (_, Some(err), None) => bail!("it failed: {err}"),
            _ => bail!("an answer that is neither ok nor err: {answer}"),
        }
        let least = millis(step, "not_before_ms").unwrap_or_default();
        ensure!(took >= least, "answered after {} ms, before {} ms", took.as_millis(), least.as_millis());
        Ok(())
    }
}

/// An address that nobody listens on, and nobody else can have while the socket is there.
fn nowhere() -> anyhow::Result<(OwnedFd, SocketAddr)> {
    let socket = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None)?;
    net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0)))?;
    let address = net::getsockname(&socket)?.try_into()?;
    Ok((socket, address))
}
