//! An offline file that was opened, until its client is there.

use std::time::Duration;

use meshwire_proto::{ErrorKind, Moment};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::{File, Found, Offline, filer};
use crate::identity;
use crate::outbox::Outbox;
use crate::session::{Config, Session};
use crate::{Error, Result};
use std::sync::Arc;

/// The file, and what was in it.
pub(crate) struct Kept {
    file: File,
    found: Found,
}

impl Kept {
    /// Opens the file of a buffer, if it has one: whoever published with it goes on.
    pub(crate) async fn open(offline: Offline, config: &mut Config, runtime: &Handle) -> Result<Option<Self>> {
        let producer_id = config.producer_id;
        let opened = runtime.spawn_blocking(move || offline.open(producer_id)).await.map_err(|cause| {
            Error::new(ErrorKind::Internal, "connect", "opening the offline file ended early").with_source(cause)
        })?;
        let Some((file, found)) = opened? else {
            return Ok(None);
        };
        (config.producer_id, config.producer_epoch) = (found.producer_id, found.epoch);
        Ok(Some(Self { file, found }))
    }

    /// Gives a new session what an earlier life left, and begins to keep publishes.
    pub(crate) fn begin(self, outbox: &Arc<Outbox>, session: &mut Session) -> Result<oneshot::Receiver<()>> {
        let Self { file, found } = self;
        let now = identity::now();
        for (filed, open) in found.events {
            outbox.restore_topic(&filed.topic);
            let to = (session.alias(&filed.topic), filed.timing);
            let age = u64::try_from(now.0.saturating_sub(filed.at.0)).unwrap_or(0);
            session.restore(Moment(0), Duration::from_millis(age), (filed.first, open), to, filed.events);
        }
        session.skip_to(found.next_sequence);
        let restored = session.unanswered();
        if found.cut > 0 {
            tracing::warn!(
                bytes = found.cut,
                "the offline file ended within a record, as after a crash; that end was cut off"
            );
        }
        if restored.0 > 0 {
            tracing::info!(
                events = restored.0,
                "events of an earlier client wait in the offline file; they are published first"
            );
        }
        session.set_forgettable(file.forgettable());
        outbox.file_from(found.next_sequence, session.answered_through(), file.forgettable(), restored);
        filer::spawn(file, Arc::clone(outbox))
    }
}
