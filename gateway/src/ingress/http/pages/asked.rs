//! What a page asks, each a message, and its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use meshwire_proto::codec::json;
use meshwire_proto::{ErrorKind, EventView, MemberName, options};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::value::RawValue;

use crate::ingress::calls::{Calls, Consumer, Offer, RequestCall};
use crate::ingress::http::delivery::ANY_SIZE;
use crate::ingress::http::names::group_key;
use crate::ingress::http::settle::{Item, results, yes};
use crate::ingress::http::{Problem, event, publish as publishing, receive};
use crate::mesh::Caller;

/// Longest id, as JSON.
const LONGEST_ID: usize = 128;

/// An answer that is waited for.
pub(super) type Answering = Pin<Box<dyn Future<Output = (Asked, Result<Done, Problem>)> + Send>>;

type Begun = BoxFuture<'static, Result<Done, Problem>>;

/// What became of a call.
pub(super) enum Done {
    /// What stands behind `ok`, as JSON.
    Answer(String),
    Joined(Box<Consumer>),
}

/// Which call it is; its id as it was written.
pub(super) struct Asked {
    pub(super) id: String,
    pub(super) op: String,
    /// The time that it has; `None`: as long as it takes.
    pub(super) timeout: Option<Duration>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    id: &'a RawValue,
    op: String,
    #[serde(borrow)]
    timeout_ms: Option<&'a RawValue>,
}

/// # Errors
/// `INVALID`: it is no number, or out of the bounds of option `request_timeout`.
fn timeout(said: &RawValue) -> Result<Duration, Problem> {
    let millis: u64 = serde_json::from_str(said.get()).map_err(|e| invalid(format!("timeout_ms: {e}")))?;
    options::REQUEST_TIMEOUT.check(millis).map(Duration::from_millis).map_err(invalid)
}

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

/// # Errors
/// `INVALID`, with the id that is answered: `null` if it has none.
pub(super) fn read(text: &str) -> Result<Asked, (String, Problem)> {
    let none = |problem| ("null".to_owned(), problem);
    let head: Head<'_> = serde_json::from_str(text).map_err(|e| none(invalid(format!("the message: {e}"))))?;
    let id = head.id.get();
    let is_id = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) && id.len() <= LONGEST_ID;
    if !is_id {
        return Err(none(invalid(format!("id must be a number or a string of at most {LONGEST_ID} bytes"))));
    }
    let timeout = head.timeout_ms.map(timeout).transpose().map_err(|problem| (id.to_owned(), problem))?;
    Ok(Asked { id: id.to_owned(), op: head.op, timeout })
}

pub(super) fn answer(id: &str, ok: &str) -> String {
    format!("{{\"id\":{id},\"ok\":{ok}}}")
}

pub(super) fn error(id: &str, problem: &Problem) -> String {
    format!("{{\"id\":{id},\"error\":{}}}", problem.json())
}

fn body<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, Problem> {
    serde_json::from_str(text).map_err(|e| invalid(format!("the message: {e}")))
}

fn owned<T: DeserializeOwned>(text: &str) -> Result<T, Problem> {
    body(text)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Publish<'a> {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default, rename = "timeout_ms")]
    _timeout: IgnoredAny,
    topic: String,
    #[serde(borrow)]
    event: &'a RawValue,
    deliver_at: Option<String>,
    expires_in_ms: Option<u64>,
}

pub(super) fn publish(text: &str, calls: Arc<Calls>, caller: Caller) -> Result<Begun, Problem> {
    let asked: Publish<'_> = body(text)?;
    let timing = publishing::timing(asked.deliver_at.as_deref(), asked.expires_in_ms)?;
    let mut offer = Offer::default();
    offer.event(json::read(asked.event.get()));
    let topic = asked.topic;
    let begun = async move {
        let taken = calls.publish(&caller, &topic, offer, timing).await?.into_iter().next();
        let taken = taken.ok_or_else(|| Problem::new(ErrorKind::Internal, "no answer for the event"))??;
        Ok(Done::Answer(publishing::item(Ok(taken))))
    };
    Ok(begun.boxed())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request<'a> {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default, rename = "timeout_ms")]
    _timeout: IgnoredAny,
    topic: String,
    #[serde(borrow)]
    event: &'a RawValue,
}

pub(super) fn request(text: &str, calls: Arc<Calls>, caller: Caller, asked: &Asked) -> Result<Begun, Problem> {
    // The responder is told of it too.
    let timeout = asked.timeout;
    let asked: Request<'_> = body(text)?;
    let event = json::parse_versioned(asked.event.get()).and_then(|event| event.encode());
    let event = event.map_err(|e| event::invalid(&e))?;
    let topic = asked.topic;
    let begun = async move {
        let call = RequestCall { topic: &topic, event, timeout, stream: false, retry: false };
        let mut replies = calls.request(&caller, call)?;
        let Some(reply) = replies.next().await? else {
            return Ok(Done::Answer("{}".to_owned()));
        };
        let mut ok = String::from("{\"event\":");
        let written = EventView::parse(&reply, ANY_SIZE).and_then(|view| json::write(&view, &mut ok));
        written.map_err(|e| {
            calls.count_unwritable();
            let problem = event::invalid(&e);
            replies.refuse(problem.kind());
            problem
        })?;
        ok.push('}');
        Ok(Done::Answer(ok))
    };
    Ok(begun.boxed())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Settle {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default, rename = "timeout_ms")]
    _timeout: IgnoredAny,
    topic: String,
    group: String,
    settlements: Vec<Item>,
    #[serde(default = "yes")]
    confirm: bool,
}

pub(super) fn settle(text: &str, calls: Arc<Calls>, caller: Caller) -> Result<Begun, Problem> {
    let asked: Settle = owned(text)?;
    let group = group_key(&asked.group)?;
    let begun = async move {
        let settlements = asked.settlements.iter().map(Item::settlement).collect::<Vec<_>>();
        let settled = calls.settle(&caller, (&asked.topic, &group), &settlements, asked.confirm).await?;
        Ok(Done::Answer(results(settled).to_string()))
    };
    Ok(begun.boxed())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Subscribe {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default, rename = "timeout_ms")]
    _timeout: IgnoredAny,
    topic: String,
    group: Option<String>,
    member: Option<String>,
    start: Option<String>,
    max_unsettled: Option<u64>,
}

/// Credit within its bounds.
fn credit_of(max_unsettled: u64) -> Result<u32, Problem> {
    let most = options::PREFETCH_EVENTS.max;
    let fits = u32::try_from(max_unsettled).ok().filter(|events| u64::from(*events) <= most);
    fits.ok_or_else(|| invalid(format!("max_unsettled is {max_unsettled}; at most {most} are accepted")))
}

pub(super) fn subscribe(text: &str, calls: Arc<Calls>, caller: Caller) -> Result<Begun, Problem> {
    let asked: Subscribe = owned(text)?;
    let member = asked.member.as_deref().map(MemberName::parse).transpose().map_err(|e| invalid(e.to_string()))?;
    let mut group = asked.group.as_deref().map(group_key).transpose()?;
    match (&mut group, member) {
        (Some(group), member) => group.member = member,
        (None, Some(_)) => return Err(invalid("a member has no group: name one, or leave member out")),
        (None, None) => {}
    }
    let start = asked.start.as_deref().map_or(Ok(crate::ingress::calls::Start::Default), receive::place)?;
    let events = credit_of(asked.max_unsettled.unwrap_or(options::PREFETCH_EVENTS.default))?;
    let (request, topic) = (receive::asked(group, start, events), asked.topic);
    let begun = async move {
        let consumer = calls.consume(&caller, &topic, request).await?;
        Ok(Done::Joined(Box::new(consumer)))
    };
    Ok(begun.boxed())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Credit<'a> {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default, rename = "timeout_ms")]
    _timeout: IgnoredAny,
    #[serde(borrow)]
    subscription: &'a RawValue,
    max_unsettled: u64,
}

/// A subscription's id, and its credit.
pub(super) fn credit(text: &str) -> Result<(String, u32), Problem> {
    let asked: Credit<'_> = body(text)?;
    Ok((asked.subscription.get().to_owned(), credit_of(asked.max_unsettled)?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unsubscribe<'a> {
    #[serde(rename = "id")]
    _id: IgnoredAny,
    #[serde(rename = "op")]
    _op: IgnoredAny,
    #[serde(default, rename = "timeout_ms")]
    _timeout: IgnoredAny,
    #[serde(borrow)]
    subscription: &'a RawValue,
}

pub(super) fn unsubscribe(text: &str) -> Result<String, Problem> {
    body(text).map(|asked: Unsubscribe<'_>| asked.subscription.get().to_owned())
}
