//! `/v1/topics/{topic}/groups`.

use axum::Extension;
use axum::extract::Request;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{
    AfterDeadLetter, CreateGroup, DeleteGroup, GetGroup, GroupMode, GroupSettings, SeekGroup, UpdateGroup,
};
use meshwire_proto::{ErrorKind, UnixMillis, options};

use super::{Door, Problem, Shown, body, carry_out, json, page, paging, show, topics, unexpected};
use crate::ingress::http::deadline::TIMEOUT;
use crate::ingress::http::fields::Fields;
use crate::ingress::http::names::Named;
use crate::ingress::http::query::Query;

/// Settings that can be changed.
const SETTINGS: [&str; 9] = [
    "ack_wait_ms",
    "max_failures",
    "max_age_ms",
    "backoff_min_ms",
    "backoff_max_ms",
    "hold_after_dead_letter",
    "strict_order",
    "max_in_flight",
    "max_rate",
];

const MODES: [(&str, GroupMode); 2] = [("cluster", GroupMode::Cluster), ("broadcast", GroupMode::Broadcast)];

fn invalid(text: impl Into<String>) -> Problem {
    Problem::new(ErrorKind::Invalid, text)
}

pub(in crate::ingress::http) async fn list(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Shown {
    let query = Query::read(request.uri(), &["limit", "cursor", TIMEOUT])?;
    let (limit, cursor) = (paging::limit(&query)? as usize, paging::cursor(&query).to_owned());
    if !cursor.is_empty() && cursor.split_once('/').is_none_or(|(of, _)| of != topic) {
        return Err(invalid(format!("cursor {cursor:?} is not of this list; send what next said, or nothing")));
    }
    let found = topics::found(&door, topic, cursor).await?;
    let mut next = Some(found.groups_next).filter(|next| !next.is_empty());
    if found.groups.len() > limit {
        next = found.groups.get(limit.saturating_sub(1)).map(|last| format!("{}/{}", found.name, last.name));
    }
    Ok(page(found.groups.iter().take(limit).map(|group| show::group(group).to_string()), next))
}

fn shown(answer: &Answer) -> Shown {
    match answer {
        Answer::Group(group) => Ok(json(&show::group(group))),
        _ => Err(unexpected()),
    }
}

pub(in crate::ingress::http) async fn one(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    Query::read(request.uri(), &[TIMEOUT])?;
    shown(&carry_out(&door, Command::GetGroup(GetGroup { topic, group })).await?)
}

fn settings(fields: &Fields<'_>) -> Result<GroupSettings, Problem> {
    let hold = fields.bool("hold_after_dead_letter")?;
    let after = hold.map(|hold| if hold { AfterDeadLetter::Hold } else { AfterDeadLetter::Continue });
    Ok(GroupSettings {
        ack_wait_ms: fields.within_u32("ack_wait_ms", &options::ACK_WAIT)?,
        max_failures: fields.within_u32("max_failures", &options::MAX_FAILURES)?,
        max_age_ms: fields.within("max_age_ms", &options::MAX_AGE)?,
        backoff_min_ms: fields.within_u32("backoff_min_ms", &options::BACKOFF_MIN)?,
        backoff_max_ms: fields.within_u32("backoff_max_ms", &options::BACKOFF_MAX)?,
        after_dead_letter: after.map(Into::into),
        strict_order: fields.bool("strict_order")?,
        max_in_flight: fields.u32("max_in_flight")?,
        max_rate: fields.u32("max_rate")?,
        mode: fields.word("mode", &MODES)?.map(Into::into),
    })
}

/// A position, or a time unless that is 0. `None`: neither is said.
fn place(fields: &Fields<'_>, position: &str, time: &str) -> Result<Option<(u64, i64)>, Problem> {
    let number = match fields.text(position)?.as_deref() {
        None => None,
        Some("earliest") => Some(0),
        Some("latest") => Some(u64::MAX),
        Some(text) => {
            let wrong = || invalid(format!("field {position} is {text:?}; earliest, latest or a position is accepted"));
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            Some(text.parse().ok().filter(|_| digits).ok_or_else(wrong)?)
        }
    };
    let since: Option<UnixMillis> = match fields.text(time)? {
        None => None,
        Some(text) => {
            let wrong =
                |_| invalid(format!("field {time} is {text:?}; a time such as 2026-11-28T06:30:00Z is accepted"));
            Some(text.parse().map_err(wrong)?)
        }
    };
    match (number, since) {
        (Some(_), Some(_)) => Err(invalid(format!("fields {position} and {time} exclude each other"))),
        // Before all events, whichever they are; the moment 0 itself stands for no time.
        (None, Some(UnixMillis(since))) => Ok(Some((0, if since == 0 { 1 } else { since }))),
        (number, None) => Ok(number.map(|number| (number, 0))),
    }
}

/// Makes a group, or gives one that is there the settings that are said; its place stays.
pub(in crate::ingress::http) async fn put(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    let known = [&SETTINGS[..], &["mode", "start", "start_time"]].concat();
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &known)?;
    let settings = Some(settings(&fields)?);
    let (start, start_time_unix_ms) = place(&fields, "start", "start_time")?.unwrap_or_default();
    let (of, name) = (topic.clone(), group.clone());
    let create = CreateGroup { topic: of, group: name, settings, start, start_time_unix_ms };
    match carry_out(&door, Command::CreateGroup(create)).await {
        Err(problem) if problem.kind() == ErrorKind::GroupConflict => {}
        made => return shown(&made?),
    }
    shown(&carry_out(&door, Command::UpdateGroup(UpdateGroup { topic, group, settings })).await?)
}

pub(in crate::ingress::http) async fn change(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &SETTINGS)?;
    let settings = Some(settings(&fields)?);
    shown(&carry_out(&door, Command::UpdateGroup(UpdateGroup { topic, group, settings })).await?)
}

pub(in crate::ingress::http) async fn delete(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    Query::read(request.uri(), &[TIMEOUT])?;
    shown(&carry_out(&door, Command::DeleteGroup(DeleteGroup { topic, group })).await?)
}

pub(in crate::ingress::http) async fn seek(
    Extension(door): Extension<Door>,
    Named((topic, group)): Named<(String, String)>,
    request: Request,
) -> Shown {
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &["to", "time"])?;
    let Some((to, time_unix_ms)) = place(&fields, "to", "time")? else {
        return Err(invalid("say where to: field to is earliest, latest or a position, field time an RFC 3339 time"));
    };
    shown(&carry_out(&door, Command::SeekGroup(SeekGroup { topic, group, to, time_unix_ms })).await?)
}
