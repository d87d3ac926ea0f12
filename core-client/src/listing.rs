//! Listings come in pages; here they are put together.

use meshwire_proto::wire::admin as wire;

use crate::Result;
use crate::admin::{ask, unexpected};
use crate::client::Mesh;

async fn page(
    mesh: &Mesh,
    operation: &'static str,
    (topic, cursor): (&str, String),
) -> Result<(Vec<wire::Topic>, String)> {
    let list = wire::ListTopics { cursor, limit: 0, topic: topic.to_owned() };
    match ask(mesh, operation, wire::command::Command::ListTopics(list)).await? {
        wire::answer::Answer::Topics(page) => Ok((page.topics, page.next)),
        _ => Err(unexpected(operation, "something else")),
    }
}

/// The topics of a page behind those before: the first may go on with the last of them.
fn append(all: &mut Vec<wire::Topic>, page: Vec<wire::Topic>) {
    for topic in page {
        match all.last_mut().filter(|last| last.name == topic.name) {
            Some(last) => append_groups(&mut last.groups, topic.groups),
            None => all.push(topic),
        }
    }
}

fn append_groups(all: &mut Vec<wire::GroupSummary>, page: Vec<wire::GroupSummary>) {
    for group in page {
        match all.last_mut().filter(|last| last.name == group.name) {
            Some(last) => last.durable_members.extend(group.durable_members),
            None => all.push(group),
        }
    }
}

/// All topics, or the one of this name if it is there.
pub(crate) async fn topics(mesh: &Mesh, operation: &'static str, only: &str) -> Result<Vec<wire::Topic>> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let (topics, next) = page(mesh, operation, (only, cursor)).await?;
        append(&mut all, topics);
        if next.is_empty() {
            return Ok(all);
        }
        cursor = next;
    }
}

/// A topic that was answered, with the groups that had no room in the answer.
pub(crate) async fn whole_topic(mesh: &Mesh, operation: &'static str, topic: wire::Topic) -> Result<wire::Topic> {
    let (mut all, mut cursor) = (vec![topic.clone()], topic.groups_next);
    while !cursor.is_empty() {
        let (topics, next) = page(mesh, operation, (&topic.name, cursor)).await?;
        append(&mut all, topics);
        cursor = next;
    }
    all.into_iter().next().ok_or_else(|| unexpected(operation, "nothing"))
}

/// A group that was answered, with the durable members that had no room in the answer.
pub(crate) async fn whole_group(
    mesh: &Mesh,
    operation: &'static str,
    (topic, mut group): (&str, wire::GroupSummary),
) -> Result<wire::GroupSummary> {
    let mut cursor = std::mem::take(&mut group.members_next);
    while !cursor.is_empty() {
        let (topics, next) = page(mesh, operation, (topic, cursor)).await?;
        cursor = next;
        for other in topics.into_iter().flat_map(|topic| topic.groups) {
            if other.name == group.name {
                group.durable_members.extend(other.durable_members);
            } else {
                // What follows is of other groups.
                cursor.clear();
            }
        }
    }
    Ok(group)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, members: &[&str]) -> wire::GroupSummary {
        let member = |name: &&str| wire::MemberSummary { name: (*name).to_owned(), ..wire::MemberSummary::default() };
        let durable_members = members.iter().map(member).collect();
        wire::GroupSummary { name: name.to_owned(), durable_members, ..wire::GroupSummary::default() }
    }

    fn topic(name: &str, groups: Vec<wire::GroupSummary>) -> wire::Topic {
        wire::Topic { name: name.to_owned(), groups, ..wire::Topic::default() }
    }

    #[test]
    fn pages_that_end_within_a_topic_or_a_group_make_it_whole() {
        let mut all = Vec::new();
        append(
            &mut all,
            vec![topic("a", vec![group("g", &[])]), topic("b", vec![group("g", &[]), group("h", &["1"])])],
        );
        append(&mut all, vec![topic("b", vec![group("h", &["2", "3"])])]);
        append(&mut all, vec![topic("b", vec![group("i", &[])]), topic("c", vec![group("i", &["4"])])]);
        let whole = vec![
            topic("a", vec![group("g", &[])]),
            topic("b", vec![group("g", &[]), group("h", &["1", "2", "3"]), group("i", &[])]),
            topic("c", vec![group("i", &["4"])]),
        ];
        assert_eq!(all, whole);
    }
}
