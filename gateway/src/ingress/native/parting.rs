//! How a session's connection parts when nothing more of it is read or written: its session is put aside, in its turn when thousands are
//! lost at once, and a peer that was told why it is refused hears that before the end.

use std::pin::pin;

use tokio::io::AsyncWriteExt as _;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::connection::{LAST_WORDS, reached};
use super::{Native, Protocol, Shutdown};
use crate::ingress::{BoxIo, Place, part};
use crate::mesh::Refusal;

/// How a session's connection ended.
pub(in crate::ingress) enum Ended {
    /// The peer went, or was silent for too long.
    Over,
    /// It was refused, and told so.
    Refused(Refusal),
    /// The gateway stops.
    Stopped,
}

/// A connection that is to end.
pub(super) struct Parting {
    pub(super) stream: BoxIo,
    /// Unless nothing of a session began.
    pub(super) protocol: Option<Box<Protocol>>,
    pub(super) ended: Ended,
    /// Its peer was told why, and may still be sending: most bytes of that which are read away. Unread input would make the end a reset,
    /// which takes the last frame with it.
    pub(super) read_away: Option<u64>,
}

impl Parting {
    /// Ends a connection that is the session's own. It has its place until its file is closed, which is at once when a newcomer needs it.
    pub(super) async fn at(self, place: &Place, native: &Native, shutdown: watch::Receiver<Shutdown>) {
        let Self { mut stream, protocol, read_away, .. } = self;
        place.leaves();
        let mut aside = pin!(put_aside(protocol, native, shutdown.clone()));
        tokio::select! {
            biased;
            () = &mut aside => {}
            () = place.shed() => {
                drop(stream);
                return aside.await;
            }
        }
        let parted = async {
            match read_away {
                None => drop(stream.shutdown().await),
                Some(most) => tokio::select! {
                    biased;
                    _ = part(stream, usize::try_from(most).unwrap_or(usize::MAX)) => {}
                    () = reached(shutdown, Shutdown::Closing) => {}
                },
            }
        };
        tokio::select! {
            biased;
            _ = timeout(LAST_WORDS, parted) => {}
            () = place.shed() => {}
        }
    }

    /// Ends one that is within another connection, by its own word for that.
    pub(super) async fn telling(
        self,
        tell: impl FnOnce(Ended) + Send,
        native: &Native,
        shutdown: watch::Receiver<Shutdown>,
    ) {
        let Self { mut stream, protocol, ended, .. } = self;
        put_aside(protocol, native, shutdown).await;
        tell(ended);
        let _ = timeout(LAST_WORDS, stream.shutdown()).await;
    }
}

/// Who had a session ends in its turn, but for a gateway that stops.
async fn put_aside(protocol: Option<Box<Protocol>>, native: &Native, mut shutdown: watch::Receiver<Shutdown>) {
    let Some(mut protocol) = protocol else { return };
    if protocol.has_its_session()
        && let Some(turn) = native.leaving.take()
    {
        tokio::select! {
            () = sleep_until(turn) => {}
            _ = async { shutdown.wait_for(|s| *s != Shutdown::Running).await.map(drop) } => {}
        }
    }
    protocol.disconnected();
}
