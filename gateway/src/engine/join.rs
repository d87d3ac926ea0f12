//! Finding the group that is asked for, or making it; and with it a durable member of it.

use meshwire_proto::GroupKey;
use meshwire_proto::wire::admin;

use super::group::{Group, GroupState};
use super::topic::Topic;
use super::{Engine, Now, SubscribeError};
use crate::store::{GroupId, GroupSettings, Op, Position, TopicId};

/// The group that is asked for.
#[derive(Clone, Debug)]
pub struct GroupSpec {
    /// Its name; with a member's: that durable member of a broadcast group.
    pub name: GroupKey,
    /// Ids for it and for the member, if they are new.
    pub new_ids: [GroupId; 2],
    /// What it is asked to be like; what is absent is as it is, or as by default if it is new.
    pub settings: admin::GroupSettings,
    /// Most groups of the topic, durable members included.
    pub most: usize,
    /// How many more the gateway takes.
    pub room: usize,
}

/// What was found or made.
pub(super) struct Joined {
    pub(super) group: GroupId,
    pub(super) settings: GroupSettings,
    /// What was made: none, one or both of the group and its member.
    pub(super) made: Vec<GroupKey>,
}

impl Topic {
    /// The settings of the group that is asked for, and whether it is there.
    fn settings_for(&self, asked: &GroupSpec) -> Result<GroupSettings, SubscribeError> {
        let group = &asked.name.group;
        let has = self.named(&group.clone().into()).map(|g| g.settings);
        let settings = has.unwrap_or_default().with(&asked.settings).map_err(SubscribeError::Setting)?;
        let difference = has.and_then(|has| has.difference(&settings));
        #[cfg(feature = "testing")]
        let difference = difference.filter(|_| !super::planted::is(super::planted::Defect::ConflictPasses));
        if let Some(difference) = difference {
            return Err(SubscribeError::Conflict { group: group.clone(), difference });
        }
        match &asked.name.member {
            Some(member) if !settings.broadcast => {
                Err(SubscribeError::NotBroadcast { group: group.clone(), member: member.clone() })
            }
            _ => Ok(settings),
        }
    }

    /// Finds or makes what is asked for.
    fn find_or_make(
        &mut self,
        asked: &GroupSpec,
        start: Position,
        now: Now,
        ops: &mut Vec<Op>,
    ) -> Result<Joined, SubscribeError> {
        let settings = self.settings_for(asked)?;
        let group = GroupKey::from(asked.name.group.clone());
        let mut made = vec![group.clone()];
        made.extend(asked.name.member.is_some().then(|| asked.name.clone()));
        made.retain(|name| !self.names.contains_key(name));
        let has = self.names.len();
        if !made.is_empty() && has + made.len() > asked.most {
            return Err(SubscribeError::Full { group: asked.name.clone(), has });
        }
        if made.len() > asked.room {
            return Err(SubscribeError::GatewayFull { group: asked.name.clone() });
        }
        for (name, id) in made.iter().zip(asked.new_ids) {
            if !self.id.is_memory() {
                ops.push(Op::Group { topic: self.id, group: id, name: name.clone(), start, settings });
            }
            let state = GroupState { floor: start, ..GroupState::default() };
            self.add_group(Group::new((id, name.clone()), settings, now, state));
        }
        let group = self.names.get(&asked.name).copied().ok_or(SubscribeError::NoTopic)?;
        Ok(Joined { group, settings, made })
    }
}

impl Engine {
    /// Whether a subscription that names no start begins with the first event: what has a place of its own does when it is
    /// made. An unnamed member of a broadcast group begins behind the last event.
    #[must_use]
    pub fn begins_first(&self, topic: TopicId, asked: &GroupSpec) -> bool {
        let group = self.topics.get(&topic).and_then(|topic| topic.named(&asked.name.group.clone().into()));
        let is_asked = || asked.settings.mode() == admin::GroupMode::Broadcast;
        asked.name.member.is_some() || !group.map_or_else(is_asked, |group| group.settings.broadcast)
    }

    pub(super) fn find_or_make(
        &mut self,
        now: Now,
        topic_id: TopicId,
        asked: &GroupSpec,
        start: Position,
    ) -> Result<Joined, SubscribeError> {
        let topic = self.topics.get_mut(&topic_id).ok_or(SubscribeError::NoTopic)?;
        let joined = topic.find_or_make(asked, start, now, &mut self.ops)?;
        for name in &joined.made {
            self.adopt_all(topic_id, name);
        }
        Ok(joined)
    }
}
