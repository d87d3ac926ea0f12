//! Commands of dead letters.

use std::collections::BTreeSet;

use meshwire::{DeadLetters, Result};
use serde::{Deserialize, Serialize};

use super::Items;
use super::arguments::Asked;
use super::groups::key;
use super::values::{Group, Member, Topic, Whole};

/// Letters of a page, unless it is said.
const PAGE: u64 = 100;

/// Most letters of a page, as over HTTP.
const MOST: u64 = 1000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    topic: Topic,
    group: Option<Group>,
    member: Option<Member>,
    events: Option<bool>,
    limit: Option<Whole>,
    cursor: Option<Whole>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    topic: Topic,
    group: Option<Group>,
    member: Option<Member>,
    number: Whole,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    topic: Topic,
    group: Option<Group>,
    member: Option<Member>,
    numbers: Option<Vec<Whole>>,
    all: Option<bool>,
}

/// What became of dead letters.
#[derive(Serialize)]
struct Changed<T> {
    #[serde(flatten)]
    done: T,
    /// Of those named; absent when all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_there: Option<u64>,
}

#[derive(Serialize)]
struct Purged {
    purged: u64,
}

/// Those of a topic, of a group of it, or of a durable member of that.
fn letters(asked: &Asked, Topic(topic): &Topic, of: (Option<Group>, Option<Member>)) -> Result<DeadLetters> {
    let letters = asked.mesh.dead_letters(topic.as_str());
    match of {
        (Some(group), member) => Ok(letters.group(key(group, member))),
        (None, None) => Ok(letters),
        (None, Some(_)) => Err(asked.refused("argument member needs its group too: name it as argument group")),
    }
}

impl Which {
    /// These letters, each once; `None`: all.
    fn numbers(&self, asked: &Asked) -> Result<Option<Vec<u64>>> {
        match (&self.numbers, self.all.unwrap_or(false)) {
            (Some(numbers), false) if !numbers.is_empty() => {
                let numbers: BTreeSet<u64> = numbers.iter().map(|Whole(number)| *number).collect();
                Ok(Some(numbers.into_iter().collect()))
            }
            (Some(_), false) => Err(asked.refused("argument numbers is empty; name dead letters, or say all as true")),
            (None, true) => Ok(None),
            (None, false) => {
                Err(asked.refused("no dead letter is named: say either argument numbers, or argument all as true"))
            }
            (Some(_), true) => Err(asked.refused("say either argument numbers or argument all, not both")),
        }
    }
}

/// How many of those named were not found.
fn not_there(named: &[u64], found: u64) -> Option<u64> {
    Some((named.len() as u64).saturating_sub(found)).filter(|absent| *absent > 0)
}

pub(super) async fn list(asked: Asked) -> Result<String> {
    let List { topic, group, member, events, limit, cursor } = asked.read()?;
    let limit = asked.between("limit", limit, 1..=MOST)?.unwrap_or(PAGE);
    let after = cursor.map_or(0, |Whole(after)| after);
    let letters = letters(&asked, &topic, (group, member))?;
    let (items, next) = letters.page(after, u32::try_from(limit).unwrap_or(0), events.unwrap_or(false)).await?;
    asked.answer(&Items { items, next: Some(next).filter(|next| *next > 0).map(|next| next.to_string()) })
}

pub(super) async fn get(asked: Asked) -> Result<String> {
    let One { topic, group, member, number: Whole(number) } = asked.read()?;
    asked.answer(&letters(&asked, &topic, (group, member))?.get(number).await?)
}

pub(super) async fn redrive(asked: Asked) -> Result<String> {
    let which: Which = asked.read()?;
    let numbers = which.numbers(&asked)?;
    let letters = letters(&asked, &which.topic, (which.group, which.member))?;
    let Some(numbers) = numbers else {
        return asked.answer(&letters.redrive_all().await?);
    };
    let done = letters.redrive(&numbers).await?;
    let not_there = not_there(&numbers, done.count + done.left.values().sum::<u64>());
    asked.answer(&Changed { done, not_there })
}

pub(super) async fn purge(asked: Asked) -> Result<String> {
    let which: Which = asked.read()?;
    let numbers = which.numbers(&asked)?;
    let letters = letters(&asked, &which.topic, (which.group, which.member))?;
    let Some(numbers) = numbers else {
        return asked.answer(&Purged { purged: letters.purge_all().await? });
    };
    let purged = letters.purge(&numbers).await?;
    asked.answer(&Changed { done: Purged { purged }, not_there: not_there(&numbers, purged) })
}
