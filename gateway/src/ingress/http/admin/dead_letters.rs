//! `/v1/topics/{topic}/groups/{group}/dead-letters`.

use std::collections::BTreeSet;

use axum::Extension;
use axum::extract::Request;
use meshwire_proto::ErrorKind;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{DeadLettersChanged, ListDeadLetters, PurgeDeadLetters, RedriveDeadLetters};
use serde_json::{Map, Value};

use super::{Door, Problem, Shown, body, carry_out, json, page, paging, show, unexpected, written};
use crate::ingress::http::deadline::TIMEOUT;
use crate::ingress::http::fields::Fields;
use crate::ingress::http::names::Named;
use crate::ingress::http::query::Query;

/// Letters that one request gives back or removes when it says all.
const AT_ONCE: u32 = 1000;

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

fn number(text: &str, what: &str) -> Result<u64, Problem> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let wrong = || invalid(format!("{what} is {text:?}; the number of a dead letter is accepted"));
    text.parse().ok().filter(|_| digits).ok_or_else(wrong)
}

fn cursor(text: &str) -> Result<u64, Problem> {
    if text.is_empty() { Ok(0) } else { number(text, "cursor") }
}

fn next(next: u64) -> Option<String> {
    Some(next).filter(|next| *next > 0).map(|next| next.to_string())
}

pub(in crate::ingress::http) async fn list(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    let query = Query::read(request.uri(), &["limit", "cursor", "events", TIMEOUT])?;
    let (after, limit, events) = (cursor(paging::cursor(&query))?, paging::limit(&query)?, query.flag("events")?);
    let list = ListDeadLetters { topic, group, after, limit, numbers: Vec::new(), events };
    match carry_out(&door, Command::ListDeadLetters(list)).await? {
        Answer::DeadLetters(found) => {
            let letters = found.letters.iter().map(|letter| show::letter(&door.calls, letter));
            Ok(page(letters, next(found.next)))
        }
        _ => Err(unexpected()),
    }
}

pub(in crate::ingress::http) async fn one(
    Extension(door): Extension<Door>,
    Named((topic, group, last)): Named<(String, String, String)>,
    request: Request,
) -> Shown {
    Query::read(request.uri(), &[TIMEOUT])?;
    let number = number(&last, "the last part of the path")?;
    let absent =
        Problem::new(ErrorKind::NotFound, format!("group {group} of topic {topic} has no dead letter {number}"));
    // 0 would be all of them.
    if number == 0 {
        return Err(absent);
    }
    let list = ListDeadLetters { topic, group, numbers: vec![number], events: true, ..ListDeadLetters::default() };
    match carry_out(&door, Command::ListDeadLetters(list)).await? {
        Answer::DeadLetters(found) => {
            found.letters.first().map(|letter| written(show::letter(&door.calls, letter))).ok_or(absent)
        }
        _ => Err(unexpected()),
    }
}

/// Which letters a request is about: these, or all behind a number.
async fn meant(request: Request) -> Result<(Vec<u64>, u64), Problem> {
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &["numbers", "all", "cursor"])?;
    let after = cursor(&fields.text("cursor")?.unwrap_or_default())?;
    match (fields.numbers("numbers")?, fields.bool("all")?.unwrap_or_default()) {
        (Some(numbers), false) if numbers.is_empty() => {
            Err(invalid("field numbers is empty; name dead letters, or say all"))
        }
        (Some(numbers), false) if after == 0 => Ok((numbers, 0)),
        (None, true) => Ok((Vec::new(), after)),
        (None, false) => Err(invalid("no dead letter is named: say either numbers, or \"all\": true")),
        _ => Err(invalid("say either numbers, or \"all\": true with the cursor that next said")),
    }
}

/// How many letters these name.
fn distinct(numbers: &[u64]) -> u32 {
    let distinct: BTreeSet<u64> = numbers.iter().copied().collect();
    u32::try_from(distinct.len()).unwrap_or(u32::MAX)
}

/// How many, what was left, and of `named` ones how many are not there.
fn changed(answer: Answer, done: &str, named: u32) -> Shown {
    let Answer::DeadLettersChanged(DeadLettersChanged { count, next: after, left }) = answer else {
        return Err(unexpected());
    };
    let mut object = Map::from_iter([(done.to_owned(), Value::from(count))]);
    let found = left.iter().fold(count, |found, left| found.saturating_add(left.count));
    // With more to come nobody has looked for all of them.
    if found < named && next(after).is_none() {
        object.insert("not_there".to_owned(), (named - found).into());
    }
    if done == "redriven" {
        let left: Map<String, Value> = left.into_iter().map(|left| (left.group, left.count.into())).collect();
        object.insert("left".to_owned(), left.into());
    }
    if let Some(after) = next(after) {
        object.insert("next".to_owned(), after.into());
    }
    Ok(json(&object.into()))
}

pub(in crate::ingress::http) async fn redrive(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    let (numbers, after) = meant(request).await?;
    let named = distinct(&numbers);
    let redrive = RedriveDeadLetters { topic, group, after, limit: AT_ONCE, numbers };
    changed(carry_out(&door, Command::RedriveDeadLetters(redrive)).await?, "redriven", named)
}

pub(in crate::ingress::http) async fn purge(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    let (numbers, after) = meant(request).await?;
    let named = distinct(&numbers);
    let purge = PurgeDeadLetters { topic, group, after, limit: AT_ONCE, numbers };
    changed(carry_out(&door, Command::PurgeDeadLetters(purge)).await?, "purged", named)
}
