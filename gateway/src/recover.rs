//! From what a log found at opening to a mesh that goes on where it stopped.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::engine::{GroupState, Producer, TopicSettings};
use crate::mesh::{Authorize, Mesh, MeshConfig, Recovered, RecoveredGroup, RecoveredTopic, Stores};
use crate::store::TopicId;
use crate::store::log::{self, DiskError};

fn recovered(found: &log::Recovered) -> Recovered {
    let fold = &found.fold;
    let (next_topic, next_group) = fold.next_ids();
    let mut topics: Vec<RecoveredTopic> = Vec::new();
    let mut groups: BTreeMap<TopicId, Vec<RecoveredGroup>> = BTreeMap::new();
    for (id, group) in &fold.groups {
        groups.entry(group.topic).or_default().push(RecoveredGroup {
            id: *id,
            name: group.name.clone(),
            settings: group.settings,
            state: GroupState {
                floor: group.floor,
                settled: group.acked.iter().collect(),
                failures: group.failures.clone(),
            },
        });
    }
    for (id, topic) in &fold.topics {
        let log::TopicState { durability, retention_ms, limits, .. } = *topic;
        let settings = TopicSettings { name: topic.name.clone(), durability, retention_ms, limits };
        topics.push(RecoveredTopic {
            id: *id,
            settings,
            next: topic.next,
            stored: topic.stored,
            groups: groups.remove(id).unwrap_or_default(),
            graves: topic.graves.clone(),
        });
    }
    let producer = |p: &log::ProducerState| Producer {
        epoch: p.epoch,
        ranges: p.kept.iter().collect(),
        seen: p.seen,
        ticket: None,
    };
    Recovered {
        topics,
        producers: fold.producers.iter().map(|(id, p)| (*id, producer(p))).collect(),
        next_ids: (next_topic.0, next_group.0),
        watermark: found.watermark,
        delays: fold.times.delays.clone(),
        expiries: fold.times.expiries.clone(),
    }
}

/// A mesh over these stores that knows what the log found.
///
/// # Errors
/// Events of the de-duplication window cannot be read.
pub fn open_mesh(
    config: MeshConfig,
    clock: Arc<dyn Clock>,
    authorize: Arc<dyn Authorize>,
    stores: Stores,
    found: Option<log::Recovered>,
) -> Result<Mesh, DiskError> {
    let state = found.as_ref().map(recovered).unwrap_or_default();
    let mesh = Mesh::open(config, clock, authorize, stores, &state);
    if let Some(found) = found {
        found.recent.for_each(|block| mesh.remember(block.topic, block.first, block.stored, block.bytes))?;
    }
    Ok(mesh)
}
