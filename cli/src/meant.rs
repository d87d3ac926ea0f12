//! The name that was meant, when the gateway does not know the one that was typed.

use meshwire::{ErrorKind, Mesh, Topic};
use tokio::time::timeout;

use crate::config::nearest;
use crate::exit::Failure;
use crate::server::GRACE;

/// The error of a call about these names, with the nearest one that exists.
pub(crate) async fn explain(mesh: &Mesh, error: meshwire::Error, topic: &str, group: Option<&str>) -> Failure {
    let hint = hint(mesh, error.kind(), topic, group).await;
    let failure = Failure::from(error);
    match hint {
        Some(hint) => failure.with_hint(&hint),
        None => failure,
    }
}

/// A question for who mistyped a name; `None`: it was not that, or nothing is near.
pub(crate) async fn hint(mesh: &Mesh, kind: ErrorKind, topic: &str, group: Option<&str>) -> Option<String> {
    if !matches!(kind, ErrorKind::TopicNotFound | ErrorKind::NotFound | ErrorKind::NoResponders) {
        return None;
    }
    let topics = timeout(GRACE, mesh.topics().list()).await.ok()?.ok()?;
    let near = if kind == ErrorKind::NotFound {
        nearest_group(&topics, topic, group?)
    } else {
        let served = kind == ErrorKind::NoResponders;
        let known = topics.iter().filter(|t| !served || t.requests.is_some()).map(|t| t.name.as_str());
        nearest(topic, known.filter(|name| *name != topic))
    };
    near.map(|name| format!("did you mean {name}?"))
}

fn nearest_group<'a>(topics: &'a [Topic], topic: &str, group: &str) -> Option<&'a str> {
    let groups = &topics.iter().find(|t| t.name == topic)?.groups;
    // What is not found is something else, if the group is there.
    let absent = groups.iter().all(|g| g.name != group);
    absent.then(|| nearest(group, groups.iter().map(|g| g.name.as_str()))).flatten()
}
