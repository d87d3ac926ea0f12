//! `/v1/topics`.

use axum::Extension;
use axum::extract::Request;
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{CreateTopic, DeleteTopic, Durability, Lagging, ListTopics, Topic, UpdateTopic};
use meshwire_proto::{ErrorKind, options};

use super::{Door, Problem, Shown, body, carry_out, json, page, paging, show, unexpected};
use crate::ingress::http::deadline::TIMEOUT;
use crate::ingress::http::fields::Fields;
use crate::ingress::http::names::Named;
use crate::ingress::http::query::Query;

const DURABILITY: [(&str, Durability); 3] =
    [("memory", Durability::Memory), ("written", Durability::Written), ("synced", Durability::Synced)];
const LAGGING: [(&str, Lagging); 2] = [("drop", Lagging::Drop), ("block", Lagging::Block)];

pub(in crate::ingress::http) async fn list(Extension(door): Extension<Door>, request: Request) -> Shown {
    let query = Query::read(request.uri(), &["limit", "cursor", TIMEOUT])?;
    let list =
        ListTopics { cursor: paging::cursor(&query).to_owned(), limit: paging::limit(&query)?, topic: String::new() };
    match carry_out(&door, Command::ListTopics(list)).await? {
        Answer::Topics(found) => {
            let next = Some(found.next).filter(|next| !next.is_empty());
            Ok(page(found.topics.iter().map(|topic| show::topic(topic).to_string()), next))
        }
        _ => Err(unexpected()),
    }
}

pub(in crate::ingress::http) async fn one(
    Extension(door): Extension<Door>,
    Named(topic): Named<String>,
    request: Request,
) -> Shown {
    Query::read(request.uri(), &[TIMEOUT])?;
    found(&door, topic, String::new()).await.map(|topic| json(&show::topic(&topic)))
}

/// A topic with its groups from a cursor on.
pub(super) async fn found(door: &Door, topic: String, cursor: String) -> Result<Topic, Problem> {
    meshwire_proto::TopicName::parse(&topic).map_err(|e| Problem::new(ErrorKind::Invalid, e.to_string()))?;
    let absent = Problem::new(ErrorKind::TopicNotFound, format!("topic {topic} does not exist"));
    match carry_out(door, Command::ListTopics(ListTopics { cursor, limit: 1, topic })).await? {
        Answer::Topics(found) => found.topics.into_iter().next().ok_or(absent),
        _ => Err(unexpected()),
    }
}

fn shown(answer: &Answer) -> Shown {
    match answer {
        Answer::Topic(topic) => Ok(json(&show::topic(topic))),
        _ => Err(unexpected()),
    }
}

/// Makes a topic, or gives one that is there what is said of it.
pub(in crate::ingress::http) async fn put(
    Extension(door): Extension<Door>,
    Named(name): Named<String>,
    request: Request,
) -> Shown {
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &["durability", "retention_ms", "retention_bytes", "lagging"])?;
    let durability = fields.word("durability", &DURABILITY)?.unwrap_or_default();
    let update = update(name, &fields)?;
    let UpdateTopic { name, retention_ms, retention_bytes, lagging } = update.clone();
    let create = CreateTopic { name, durability: durability.into(), retention_ms, retention_bytes, lagging };
    let same = CreateTopic { name: create.name.clone(), durability: create.durability, ..CreateTopic::default() };
    match carry_out(&door, Command::CreateTopic(create)).await {
        Err(problem) if problem.kind() == ErrorKind::AlreadyExists => {}
        made => return shown(&made?),
    }
    // Durability is for ever: a topic with another one is refused before anything is changed.
    carry_out(&door, Command::CreateTopic(same)).await?;
    shown(&carry_out(&door, Command::UpdateTopic(update)).await?)
}

fn update(name: String, fields: &Fields<'_>) -> Result<UpdateTopic, Problem> {
    Ok(UpdateTopic {
        name,
        // In a command 0 stands for what there is; it is out of the bounds of both.
        retention_ms: fields.within("retention_ms", &options::RETENTION)?.unwrap_or_default(),
        retention_bytes: fields.within("retention_bytes", &options::RETENTION_BYTES)?.unwrap_or_default(),
        lagging: fields.word("lagging", &LAGGING)?.unwrap_or_default().into(),
    })
}

pub(in crate::ingress::http) async fn change(
    Extension(door): Extension<Door>,
    Named(name): Named<String>,
    request: Request,
) -> Shown {
    let body = body::read(request).await?;
    let fields = Fields::parse(&body, "the body", &["retention_ms", "retention_bytes", "lagging"])?;
    shown(&carry_out(&door, Command::UpdateTopic(update(name, &fields)?)).await?)
}

pub(in crate::ingress::http) async fn delete(
    Extension(door): Extension<Door>,
    Named(name): Named<String>,
    request: Request,
) -> Shown {
    let force = Query::read(request.uri(), &["force", TIMEOUT])?.flag("force")?;
    shown(&carry_out(&door, Command::DeleteTopic(DeleteTopic { name, force })).await?)
}
