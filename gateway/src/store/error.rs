//! Why a store does not do what it is asked.

use meshwire_proto::ErrorKind;

use super::Needed;

/// Why a store refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No space for what is asked; nothing was taken.
    #[error("{0}")]
    Full(String),
    /// Room is being made; nothing was taken.
    #[error("{0}")]
    Busy(String),
    /// A group needs what would have to go; nothing was taken.
    #[error("{0}")]
    Blocked(String),
    /// A write or sync failed: nothing more is kept.
    #[error("the store failed: {0}")]
    Failed(String),
    /// Retention took it meanwhile.
    #[error("retention removed it")]
    Gone,
    /// Damage at a named place.
    #[error("damaged: {0}")]
    Damaged(String),
    /// The store cannot do that.
    #[error("{0}")]
    Unsupported(&'static str),
}

impl StoreError {
    /// A topic that blocks is full.
    #[must_use]
    pub(super) fn blocked(Needed { position, group, owed }: Needed<'_>) -> Self {
        let group = group.map_or_else(|| "a group".to_owned(), |name| format!("group {name}"));
        if owed {
            return Self::Blocked(format!(
                "{group} gave up the event at position {position}, which retention would remove (its setting lagging is \
                 block), and its dead letter is not there yet; where the disk is full, delete what is not needed, set less \
                 retention elsewhere or raise max_disk; or seek or delete the group"
            ));
        }
        Self::Blocked(format!(
            "{group} has not settled the event at position {position}, which retention would remove (its setting lagging is \
             block); let it catch up, seek or delete it, or set more retention"
        ))
    }

    /// The kind a caller sees.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Full(_) => ErrorKind::DiskFull,
            Self::Busy(_) => ErrorKind::Busy,
            Self::Gone => ErrorKind::NotFound,
            Self::Blocked(_) => ErrorKind::TopicFull,
            Self::Failed(_) | Self::Damaged(_) => ErrorKind::StoreFailed,
            Self::Unsupported(_) => ErrorKind::Unsupported,
        }
    }
}
