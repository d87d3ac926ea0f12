//! What a page asks, each a message, and its answer.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use meshwire_proto::codec::json;
use meshwire_proto::{ErrorKind, EventView, MemberName, options};

use crate::ingress::calls::{Calls, Consumer, Offer, RequestCall, Start};
use crate::ingress::http::delivery::ANY_SIZE;
use crate::ingress::http::fields::{Fields, needed};
use crate::ingress::http::names::group_key;
use crate::ingress::http::settle::Settlements;
use crate::ingress::http::{Problem, event, publish as publishing, receive};
use crate::mesh::Caller;

/// Where `null` says that nothing is said.
const NULLABLE: [&str; 7] = ["timeout_ms", "deliver_at", "expires_in_ms", "group", "member", "start", "max_unsettled"];

/// Longest id, as JSON.
const LONGEST_ID: usize = 128;

/// An answer that is waited for.
pub(super) type Answering = Pin<Box<dyn Future<Output = (PageCall, Result<Done, Problem>)> + Send>>;

type Begun = BoxFuture<'static, Result<Done, Problem>>;

/// What became of a call.
pub(super) enum Done {
    /// What stands behind `ok`, as JSON.
    Answer(String),
    Joined(Box<Consumer>),
}

/// Which call it is; its id as it was written.
pub(super) struct PageCall {
    pub(super) id: String,
    pub(super) op: String,
    /// The time that it has; `None`: as long as it takes.
    pub(super) timeout: Option<Duration>,
}

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

/// The id of a call, as it was written.
fn id<'a>(fields: &Fields<'a>) -> Result<&'a str, Problem> {
    if fields.count("id") > 1 {
        return Err(invalid("field \"id\" is there more than once"));
    }
    let id = needed("id", fields.raw("id"))?.get();
    let is_id = id.starts_with(|c: char| c == '"' || c == '-' || c.is_ascii_digit()) && id.len() <= LONGEST_ID;
    if is_id { Ok(id) } else { Err(invalid(format!("id must be a number or a string of at most {LONGEST_ID} bytes"))) }
}

/// # Errors
/// `INVALID`, with the id that is answered: of whatever has one, and `null` of what has none.
pub(super) fn read(text: &str) -> Result<(PageCall, Fields<'_>), (String, Problem)> {
    let (fields, scanned) = Fields::scan(text);
    let found = id(&fields);
    let shown = found.as_ref().map_or("null", |id| *id).to_owned();
    let asked = scanned.map_err(|why| invalid(format!("the message {why}"))).and(found).and_then(|id| {
        let op = needed("op", fields.text("op")?)?.into_owned();
        let timeout = fields
            .clone()
            .without_nulls(&NULLABLE)
            .within("timeout_ms", &options::REQUEST_TIMEOUT)?
            .map(Duration::from_millis);
        Ok(PageCall { id: id.to_owned(), op, timeout })
    });
    match asked {
        Ok(asked) => Ok((asked, fields)),
        Err(problem) => Err((shown, problem)),
    }
}

/// What a call says, of what it may.
fn said<'a>(fields: &Fields<'a>, known: &[&str]) -> Result<Fields<'a>, Problem> {
    fields.check(known)?;
    Ok(fields.clone().without_nulls(&NULLABLE))
}

pub(super) fn answer(id: &str, ok: &str) -> String {
    format!("{{\"id\":{id},\"ok\":{ok}}}")
}

pub(super) fn error(id: &str, problem: &Problem) -> String {
    format!("{{\"id\":{id},\"error\":{}}}", problem.json())
}

const PUBLISH: [&str; 7] = ["id", "op", "timeout_ms", "topic", "event", "deliver_at", "expires_in_ms"];

pub(super) fn publish(fields: &Fields<'_>, calls: Arc<Calls>, caller: Caller) -> Result<Begun, Problem> {
    let fields = &said(fields, &PUBLISH)?;
    let topic = needed("topic", fields.text("topic")?)?.into_owned();
    let event = needed("event", fields.raw("event"))?;
    let timing = publishing::timing(fields.text("deliver_at")?.as_deref(), fields.u64("expires_in_ms")?)?;
    let mut offer = Offer::default();
    offer.event(json::read(event.get()));
    let begun = async move {
        let taken = calls.publish(&caller, &topic, offer, timing).await?.into_iter().next();
        let taken = taken.ok_or_else(|| Problem::new(ErrorKind::Internal, "no answer for the event"))??;
        let mut text = String::new();
        publishing::item(Ok(taken), &mut text);
        Ok(Done::Answer(text))
    };
    Ok(begun.boxed())
}

const REQUEST: [&str; 5] = ["id", "op", "timeout_ms", "topic", "event"];

/// The responder is told of `timeout` too.
pub(super) fn request(
    fields: &Fields<'_>,
    calls: Arc<Calls>,
    caller: Caller,
    timeout: Option<Duration>,
) -> Result<Begun, Problem> {
    let fields = &said(fields, &REQUEST)?;
    let topic = needed("topic", fields.text("topic")?)?.into_owned();
    let event = needed("event", fields.raw("event"))?;
    let event = json::parse_versioned(event.get()).and_then(|event| event.encode());
    let event = event.map_err(|e| event::invalid(&e))?;
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

const SETTLE: [&str; 7] = ["id", "op", "timeout_ms", "topic", "group", "settlements", "confirm"];

pub(super) fn settle(fields: &Fields<'_>, calls: Arc<Calls>, caller: Caller) -> Result<Begun, Problem> {
    let fields = &said(fields, &SETTLE)?;
    let topic = needed("topic", fields.text("topic")?)?.into_owned();
    let group = group_key(&needed("group", fields.text("group")?)?)?;
    let asked = Settlements::read(fields)?;
    let begun = async move {
        let settled = asked.settle(&calls, &caller, (&topic, &group)).await?;
        Ok(Done::Answer(settled.to_string()))
    };
    Ok(begun.boxed())
}

const SUBSCRIBE: [&str; 8] = ["id", "op", "timeout_ms", "topic", "group", "member", "start", "max_unsettled"];

/// Credit within its bounds.
fn credit_of(fields: &Fields<'_>) -> Result<Option<u32>, Problem> {
    let asked = fields.u64("max_unsettled")?;
    let most = options::PREFETCH_EVENTS.max;
    let fits = |events: u64| u32::try_from(events).ok().filter(|events| u64::from(*events) <= most);
    let wrong = |events| invalid(format!("field max_unsettled is {events}; at most {most} are accepted"));
    asked.map(|events| fits(events).ok_or_else(|| wrong(events))).transpose()
}

pub(super) fn subscribe(fields: &Fields<'_>, calls: Arc<Calls>, caller: Caller) -> Result<Begun, Problem> {
    let fields = &said(fields, &SUBSCRIBE)?;
    let topic = needed("topic", fields.text("topic")?)?.into_owned();
    let member = fields.text("member")?.as_deref().map(MemberName::parse).transpose();
    let member = member.map_err(|e| invalid(e.to_string()))?;
    let mut group = fields.text("group")?.as_deref().map(group_key).transpose()?;
    match (&mut group, member) {
        (Some(group), member) => group.member = member,
        (None, Some(_)) => return Err(invalid("a member has no group: name one, or leave member out")),
        (None, None) => {}
    }
    let start = fields.text("start")?.as_deref().map_or(Ok(Start::Default), receive::place)?;
    let most = u32::try_from(options::PREFETCH_EVENTS.default).unwrap_or(u32::MAX);
    let request = receive::asked(group, start, credit_of(fields)?.unwrap_or(most));
    let begun = async move {
        let consumer = calls.consume(&caller, &topic, request).await?;
        Ok(Done::Joined(Box::new(consumer)))
    };
    Ok(begun.boxed())
}

/// The id of a subscription, as it was written.
fn subscription(fields: &Fields<'_>) -> Result<String, Problem> {
    needed("subscription", fields.raw("subscription")).map(|id| id.get().to_owned())
}

/// A subscription's id, and its credit.
pub(super) fn credit(fields: &Fields<'_>) -> Result<(String, u32), Problem> {
    let fields = &said(fields, &["id", "op", "timeout_ms", "subscription", "max_unsettled"])?;
    Ok((subscription(fields)?, needed("max_unsettled", credit_of(fields)?)?))
}

pub(super) fn unsubscribe(fields: &Fields<'_>) -> Result<String, Problem> {
    let fields = &said(fields, &["id", "op", "timeout_ms", "subscription"])?;
    subscription(fields)
}
