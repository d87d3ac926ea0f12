//! Calls that come to a completion, and what is held until it is let go.

use std::time::Duration;

use meshwire_embed::{Ask, Client, Draft, Options, Result, Settle, State};
use napi_derive::napi;

use crate::bridge::Bridge;
use crate::event::{Reader, draft, duration};
use crate::guard::{guarded, invalid};
use crate::held::Held;
use crate::outgoing::closed;

const CLIENT: u32 = 0;
const SUBSCRIPTION: u32 = 1;
const CONSUMER: u32 = 2;
const RESPONDER: u32 = 3;
const REPLIES: u32 = 4;
const STARTED: u32 = 5;

/// Names and values, one behind the other.
fn options(pairs: Vec<String>) -> Options {
    let mut pairs = pairs.into_iter();
    std::iter::from_fn(|| pairs.next().zip(pairs.next())).collect()
}

fn state(number: u32) -> State {
    match number {
        0 => State::Disconnected,
        1 => State::Connecting,
        2 => State::Connected,
        3 => State::Reconnecting,
        4 => State::Draining,
        _ => State::Closed,
    }
}

fn wait(millis: f64) -> Option<Duration> {
    (millis >= 0.0).then(|| duration(millis))
}

/// What a call of a client is about; the other half fills in what its call needs.
#[napi(object)]
pub struct Call {
    /// Which call.
    pub name: String,
    /// To where.
    pub topic: Option<String>,
    /// Names and values, one behind the other.
    pub options: Option<Vec<String>>,
    /// A number: a deadline, a state.
    pub number: Option<f64>,
    /// A command of administration, and its arguments as JSON.
    pub command: Option<String>,
    /// Those.
    pub arguments: Option<String>,
}

#[napi]
impl Bridge {
    /// Begins to connect.
    #[napi]
    pub fn connect(&mut self, tag: u32, pairs: Vec<String>) -> napi::Result<()> {
        guarded("connect", || {
            let operation = Client::begin_connect(options(pairs), &self.queue, tag.into())?;
            self.operations.insert(tag, operation);
            Ok(())
        })
    }

    /// Begins a call of a client.
    #[napi]
    pub fn call(&mut self, tag: u32, client: u32, call: Call, event: &[u8]) -> napi::Result<()> {
        guarded("call", || {
            let ask = ask(call, event)?;
            let client = self.clients.get(&client).ok_or_else(|| closed(ask.operation()))?;
            let operation = client.begin(ask, &self.queue, tag.into())?;
            self.operations.insert(tag, operation);
            Ok(())
        })
    }

    /// Begins to consume or to serve, and gives the number of what asks for handlers.
    #[napi]
    pub fn handle(&mut self, kind: u32, client: u32, topic: String, pairs: Vec<String>) -> napi::Result<u32> {
        let operation = if kind == CONSUMER { "consume" } else { "serve" };
        guarded(operation, || {
            let client = self.clients.get(&client).ok_or_else(|| closed(operation))?;
            if kind == CONSUMER {
                return client.consume(&topic, &options(pairs)).map(|consumer| self.consumers.keep(consumer));
            }
            client.serve(&topic, &options(pairs)).map(|responder| self.responders.keep(responder))
        })
    }

    /// Begins to ask for what comes next.
    #[napi]
    pub fn next(&mut self, tag: u32, kind: u32, number: u32, most: u32, millis: f64) -> napi::Result<()> {
        guarded("receive", || {
            let (most, wait, queue, of) = (most as usize, wait(millis), &self.queue, u64::from(tag));
            let operation = match kind {
                SUBSCRIPTION => self.subscriptions.get(&number).map(|s| s.begin_next(most, wait, queue, of)),
                CONSUMER => self.consumers.get(&number).map(|c| c.begin_next(most, wait, queue, of)),
                RESPONDER => self.responders.get(&number).map(|r| r.begin_next(most, wait, queue, of)),
                _ => self.replies.get(&number).map(|r| r.begin_next(most, wait, queue, of)),
            };
            self.operations.insert(tag, operation.ok_or_else(|| closed("receive"))??);
            Ok(())
        })
    }

    /// Has handlers begin no more.
    #[napi]
    pub fn stop(&self, kind: u32, number: u32) -> napi::Result<()> {
        guarded("stop", || match kind {
            CONSUMER => self.consumers.get(&number).map_or(Ok(()), meshwire_embed::Consumer::stop),
            _ => self.responders.get(&number).map_or(Ok(()), meshwire_embed::Responder::stop),
        })
    }

    /// Ends what has a number, and lets go of it. Again is nothing.
    #[napi]
    pub fn release(&mut self, kind: u32, number: u32) -> napi::Result<()> {
        guarded("close", || {
            match kind {
                CLIENT => drop(self.clients.remove(number)),
                SUBSCRIPTION => return self.subscriptions.remove(number).map_or(Ok(()), |s| s.close()),
                CONSUMER => drop(self.consumers.remove(number)),
                RESPONDER => drop(self.responders.remove(number)),
                REPLIES => return self.replies.remove(number).map_or(Ok(()), |r| r.close()),
                STARTED => drop(self.started.remove(number)),
                _ => {}
            }
            Ok(())
        })
    }

    /// Ends a subscription whose loop was left: what the program was handed and has not settled has failed. Again is nothing.
    #[napi]
    pub fn leave(&mut self, number: u32) -> napi::Result<()> {
        guarded("close", || self.subscriptions.remove(number).map_or(Ok(()), |s| s.leave()))
    }

    /// Begins to settle a delivery, or to extend its lease, with the gateway's word.
    #[napi]
    #[allow(clippy::too_many_arguments, reason = "an object of them would be read field by field")]
    pub fn confirm(
        &mut self,
        tag: u32,
        batch: u32,
        index: u32,
        how: String,
        millis: f64,
        reason: String,
    ) -> napi::Result<()> {
        guarded("settle", || {
            let of = u64::from(tag);
            if how == "extend" {
                let Held::Delivery(delivery) = self.batches.get(batch, index, "extend_confirmed")? else {
                    return Err(invalid("extend_confirmed", "that is no delivery"));
                };
                self.operations.insert(tag, delivery.begin_extend_confirmed(&self.queue, of)?);
                return Ok(());
            }
            let (how, operation) = match (how.as_str(), wait(millis)) {
                ("ack", _) => (Settle::Ack, "ack_confirmed"),
                ("nack", None) => (Settle::Nack(None), "nack_confirmed"),
                ("nack", delay) => (Settle::Nack(delay), "nack_after_confirmed"),
                _ => (Settle::Reject(reason), "reject_confirmed"),
            };
            // Before the delivery is taken: without a place it stays with the program.
            let place = self.queue.place(of, operation)?;
            let Held::Delivery(delivery) = self.batches.take(batch, index, operation)? else {
                return Err(invalid(operation, "that is no delivery"));
            };
            self.operations.insert(tag, delivery.begin_settle_confirmed_in(how, place)?);
            Ok(())
        })
    }

    /// Begins to send one of many replies.
    #[napi]
    pub fn reply(&mut self, tag: u32, batch: u32, index: u32, event: &[u8]) -> napi::Result<()> {
        guarded("reply", || {
            let event = draft(event)?.finish_now()?;
            let Held::Inquiry(inquiry) = self.batches.get(batch, index, "reply")? else {
                return Err(invalid("reply", "that is no request"));
            };
            self.operations.insert(tag, inquiry.begin_reply(event, &self.queue, tag.into())?);
            Ok(())
        })
    }

    /// Has the receipt of a publish told that was started.
    #[napi]
    pub fn receipt(&mut self, tag: u32, started: u32) -> napi::Result<()> {
        guarded("publish", || {
            let started = self.started.remove(started);
            let started = started.ok_or_else(|| invalid("publish", "the receipt was taken before"))?;
            started.begin_receipt(&self.queue, tag.into())
        })
    }
}

fn ask(call: Call, event: &[u8]) -> Result<Ask> {
    let topic = call.topic.unwrap_or_default();
    let options = options(call.options.unwrap_or_default());
    // What is wrong with an event names the call that it was made for.
    let published = || draft(event).and_then(Draft::finish).map_err(|error| error.of_call("publish"));
    let asked = |operation| draft(event).and_then(Draft::finish_now).map_err(|error| error.of_call(operation));
    Ok(match call.name.as_str() {
        "publish_start" => Ask::PublishStart { topic, event: Box::new(published()?) },
        "flush" => Ask::Flush,
        "connected" => Ask::Connected,
        "state" => Ask::StateAfter(state(call.number.map_or(0, |number| number as u32))),
        "subscribe" => Ask::Subscribe { topic, options },
        "request" => Ask::Request { topic, event: Box::new(asked("request")?), options },
        "request_stream" => Ask::RequestStream { topic, event: Box::new(asked("request_stream")?), options },
        "administer" => {
            let (command, arguments) = (call.command.unwrap_or_default(), call.arguments.unwrap_or_default());
            Ask::Administer { command, arguments }
        }
        "drain" => Ask::Drain { deadline: call.number.map(duration) },
        other => return Err(invalid("call", format!("{other} is no call"))),
    })
}

#[napi]
impl Bridge {
    /// Begins to publish a batch: its events one behind the other, each with its length.
    #[napi]
    pub fn publish_batch(&mut self, tag: u32, client: u32, topic: String, packed: &[u8]) -> napi::Result<()> {
        guarded("publish", || {
            let (mut reader, mut events) = (Reader::new(packed), Vec::new());
            while !reader.is_empty() {
                let event = draft(reader.run()?).and_then(Draft::finish);
                events.push(event.map_err(|error| error.of_call("publish")));
            }
            let client = self.clients.get(&client).ok_or_else(|| closed("publish"))?;
            let operation = client.begin(Ask::PublishBatch { topic, events }, &self.queue, tag.into())?;
            self.operations.insert(tag, operation);
            Ok(())
        })
    }
}
