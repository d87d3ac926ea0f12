//! What a shard starts from after a restart: groups, identities and producers of the log. Topics of dead letters, and what
//! waits for its time, are restored where they live.

use meshwire_proto::{GroupKey, UnixMillis};

use super::group::Group;
#[cfg(feature = "testing")]
use super::planted;
use super::{Engine, GroupState, Now, Producer, dedup};
use crate::store::{GroupId, GroupSettings, Position, TopicId};

impl Engine {
    /// Adds a group from the log.
    pub fn restore_group(
        &mut self,
        of: TopicId,
        name: GroupKey,
        (id, settings): (GroupId, GroupSettings),
        now: Now,
        state: GroupState,
    ) {
        if let Some(topic) = self.topics.get_mut(&of) {
            #[cfg(feature = "testing")]
            let state = if name.member.is_some() && planted::is(planted::Defect::MemberForgotten) {
                GroupState { floor: topic.next, ..GroupState::default() }
            } else {
                state
            };
            topic.add_group(Group::new((id, name), settings, now, state));
            // It may owe dead letters.
            self.set_timer(of, id);
        }
    }

    /// Remembers identities of one block of the log.
    pub fn restore_identities(
        &mut self,
        topic: TopicId,
        identities: impl Iterator<Item = (Position, dedup::IdHash)>,
        stored: UnixMillis,
    ) {
        // Unless it was deleted since.
        let Some(state) = self.topics.get_mut(&topic) else {
            return;
        };
        // What waits for its time may have been stored after the last event that is here: time does not go back behind it.
        state.stored = state.stored.max(stored);
        let second = dedup::second_of(stored);
        let before = self.dedup.len(topic);
        for (position, id) in identities {
            self.dedup.insert(topic, id, position, second);
        }
        self.dedup.trim(topic, before, second);
    }

    /// Adds a producer from the log.
    pub fn restore_producer(&mut self, id: [u8; 16], producer: Producer) {
        self.producers.restore(id, producer);
    }
}
