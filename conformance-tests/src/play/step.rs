//! Which op is whose.

use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

use super::{Play, text};
use crate::case::Step;
use crate::expect::differs;
use crate::peer::Frame;
use crate::proxy::Fault;
use crate::wire::PREFACE;

/// How long lines of the testee may be on their way. A guess; what is later is
/// taken for that of the gateway's next life.
const IN_THE_PIPE: Duration = Duration::from_millis(10);

impl Play {
    /// One step.
    pub(super) fn step(&mut self, op: &str, step: &Step) -> anyhow::Result<()> {
        match op.split_once('.') {
            None => match op {
                "receive" => self.receive(step),
                "silence" => self.silence(step),
                "told" => self.told(step),
                "finish" => self.finish(step),
                "unanswered" => self.unanswered(step),
                _ => self.command(op, step),
            },
            Some((place, verb)) => {
                self.acted = Instant::now();
                match place {
                    "gateway" => self.gateway(verb),
                    "proxy" => self.proxy(verb, step),
                    "peer" => self.peer(verb, step),
                    _ => bail!("there is no op {op:?}"),
                }
            }
        }
    }

    fn gateway(&mut self, verb: &str) -> anyhow::Result<()> {
        match verb {
            "kill" | "stop" => {
                // What is on its way through the testee is of the life that ends.
                self.wait(IN_THE_PIPE, |_| None::<()>)?;
                self.witness.gateway_ends();
                let real = self.world.real()?;
                if verb == "kill" { real.kill() } else { real.stop()? }
            }
            "start" => {
                self.wait(IN_THE_PIPE, |_| None::<()>)?;
                self.witness.gateway_starts();
                self.world.real()?.start()?;
            }
            _ => bail!("a gateway can only kill, stop and start"),
        }
        Ok(())
    }

    fn proxy(&mut self, verb: &str, step: &Step) -> anyhow::Result<()> {
        self.witness.road_fails();
        match verb {
            "arm" => return self.arm(step),
            "struck" => return self.struck(self.within(step)),
            _ => {}
        }
        let proxy = &self.world.real()?.proxy;
        let number = |name: &str| step.get(name).and_then(Value::as_u64).unwrap_or_default();
        match verb {
            "cut" => proxy.strike(Fault::Cut),
            "stall" => proxy.strike(Fault::Stall),
            "half_close" => proxy.strike(Fault::HalfClose),
            "down" => proxy.set_road(|road| road.down = true),
            "up" => proxy.set_road(|road| (road.down, road.stalled) = (false, false)),
            "slow" => proxy.set_road(|road| road.rate = number("bytes_per_second")),
            "split" => proxy.set_road(|road| road.slice = usize::try_from(number("bytes")).unwrap_or(1)),
            _ => bail!("there is no op proxy.{verb}"),
        }
        Ok(())
    }

    fn peer(&mut self, verb: &str, step: &Step) -> anyhow::Result<()> {
        let within = self.within(step);
        match verb {
            "accept" => self.world.peer()?.accept(within),
            "login" => self.login(step),
            "read" => self.read(step),
            "hung_up" => self.hung_up(step),
            "mute" => {
                self.world.peer()?.mute = true;
                Ok(())
            }
            "preface" => self.world.peer()?.send_preface(),
            "bytes" => {
                let bytes = crate::wire::bytes_of(text(step, "bytes")?)?;
                self.world.peer()?.send_bytes(&bytes)
            }
            "send" => {
                let frame = text(step, "frame")?.to_owned();
                let fields = step.iter().filter(|(name, _)| !["op", "frame"].contains(&name.as_str()));
                let mut fields: Map<String, Value> =
                    fields.map(|(name, value)| (name.clone(), value.clone())).collect();
                count_events(&mut fields);
                self.trace.add("peer", &format!("sends {frame}"), &json!({}));
                self.world.peer()?.send(&frame, fields)
            }
            "close" => self.world.peer()?.close(),
            _ => bail!("there is no op peer.{verb}"),
        }
    }

    /// A login that goes well, but for what the step says.
    fn login(&mut self, step: &Step) -> anyhow::Result<()> {
        let within = self.patience;
        let peer = self.world.peer()?;
        peer.accept(within)?;
        let begun = peer.read(within)?.context("the testee hung up")?;
        ensure!(begun.name == "preface", "{} came before the preface", begun.name);
        peer.send_bytes(&PREFACE)?;
        self.expect_frame("hello", step)?;
        let mut welcome = Map::from_iter([
            ("version".to_owned(), 1.into()),
            ("session".to_owned(), "session".into()),
            ("secret".to_owned(), "secret".into()),
            ("producer_known".to_owned(), true.into()),
        ]);
        if let Some(Value::Object(said)) = step.get("welcome") {
            welcome.extend(said.clone());
        }
        self.world.peer()?.send("welcome", welcome)
    }

    fn read(&mut self, step: &Step) -> anyhow::Result<()> {
        self.expect_frame(text(step, "frame")?, step)
    }

    fn expect_frame(&mut self, name: &str, step: &Step) -> anyhow::Result<()> {
        let within = self.within(step);
        let frame = self.world.peer()?.read(within)?.context("the testee hung up")?;
        ensure!(frame.name == name, "{} {} instead of {name}", frame.name, Value::from(frame.fields));
        let fields = Value::from(frame.fields);
        self.trace.add("peer", &format!("reads {name}"), &fields);
        match step.get("expect").and_then(|expected| differs(expected, &fields)) {
            Some(problem) => bail!("{problem} in {fields}"),
            None => Ok(()),
        }
    }

    /// The testee ends the connection; what it says before does not matter.
    fn hung_up(&mut self, step: &Step) -> anyhow::Result<()> {
        let within = self.within(step);
        while let Some(Frame { .. }) = self.world.peer()?.read(within)? {}
        self.trace.add("peer", "sees the end", &json!({}));
        Ok(())
    }
}

/// The count of a run is that of its events, where a case does not lie about it.
fn count_events(fields: &mut Map<String, Value>) {
    for run in fields.get_mut("runs").and_then(Value::as_array_mut).into_iter().flatten() {
        let events = run.get("events").and_then(Value::as_array).map_or(0, Vec::len);
        if let Some(run) = run.as_object_mut() {
            run.entry("count").or_insert_with(|| events.into());
        }
    }
}
