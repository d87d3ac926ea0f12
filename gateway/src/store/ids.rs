//! Numbers of topics and groups.

/// A topic inside this gateway. Never reused in a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicId(pub u32);

impl TopicId {
    const MEMORY: u32 = 1 << 31;
    const DEAD_LETTERS: u32 = 1 << 30;
    const DELAYED: u32 = 1 << 29;

    /// An id for a topic of durability `memory`: such topics are never logged,
    /// and their ids tell them apart without a look-up.
    #[must_use]
    pub const fn memory(number: u32) -> Self {
        Self(number | Self::MEMORY)
    }

    /// Whether the topic is one of durability `memory`.
    #[must_use]
    pub const fn is_memory(self) -> bool {
        self.0 & Self::MEMORY != 0
    }

    /// Where the dead letters of this topic's groups are: a topic of the gateway's own. Without a log they are in
    /// memory, else never.
    #[must_use]
    pub const fn dead_letters(self, logged: bool) -> Self {
        Self(self.number() | Self::DEAD_LETTERS | if logged { 0 } else { Self::MEMORY })
    }

    /// Whether it is one of those.
    #[must_use]
    pub const fn is_dead_letters(self) -> bool {
        self.0 & Self::DEAD_LETTERS != 0
    }

    /// Where events of this topic wait for their time: a topic of the gateway's own. Those of a memory topic are nowhere
    /// but in the engine.
    #[must_use]
    pub const fn delayed(self) -> Self {
        Self(self.0 | Self::DELAYED)
    }

    /// Whether it is one of those.
    #[must_use]
    pub const fn is_delayed(self) -> bool {
        self.0 & Self::DELAYED != 0
    }

    /// The topic that its events are for; of any other topic itself.
    #[must_use]
    pub const fn target(self) -> Self {
        Self(self.0 & !Self::DELAYED)
    }

    /// What a topic, its dead letters and its delayed events have in common.
    #[must_use]
    pub const fn number(self) -> u32 {
        self.0 & !(Self::MEMORY | Self::DEAD_LETTERS | Self::DELAYED)
    }
}

/// A group inside this gateway. Never reused in a data directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupId(pub u32);
