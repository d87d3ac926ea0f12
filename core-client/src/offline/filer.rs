//! The thread that keeps publishes in the offline file.

use std::sync::Arc;

use meshwire_proto::{ErrorKind, Retry};
use tokio::sync::oneshot;

use super::disk::OsDisk;
use super::{Journal, Refused};
use crate::outbox::Outbox;
use crate::session::Failure;
use crate::{Error, Result};

/// An offline file of the system.
pub(crate) type File = Journal<OsDisk>;

/// Ends the wait of everybody, also after a panic.
struct End(Arc<Outbox>);

impl Drop for End {
    fn drop(&mut self) {
        self.0.files_no_more();
    }
}

/// Keeps publishes in the file until the client ends; what is given resolves when the file is closed.
pub(crate) fn spawn(mut file: File, outbox: Arc<Outbox>) -> Result<oneshot::Receiver<()>> {
    let (done, ended) = oneshot::channel();
    let thread = std::thread::Builder::new().name("meshwire-offline".to_owned()).spawn(move || {
        let end = End(outbox);
        keep(&mut file, &end.0);
        // Whoever waits may open the file again.
        drop(file);
        drop(end);
        let _ = done.send(());
    });
    thread.map(drop).map_err(|cause| {
        let message = format!("no thread could be started for the offline file: {cause}");
        // Nothing was published yet.
        Error::new(ErrorKind::Internal, "connect", message).with_retry(Retry::After, None).with_source(cause)
    })?;
    Ok(ended)
}

/// Everything that waits is one write, and one sync.
fn keep(file: &mut File, outbox: &Outbox) {
    let mut is_told = false;
    while let Some(turn) = outbox.next_filing() {
        if !turn.answered.is_empty() {
            match file.answered(&turn.answered) {
                Ok(()) => is_told = false,
                Err(refused) if !is_told => {
                    is_told = true;
                    let cause = failure(&refused).message;
                    tracing::warn!(cause, "what was published could not be struck out of the offline file");
                }
                Err(_) => {}
            }
        }
        let kept = if turn.events.is_empty() { Ok(()) } else { file.admit(&turn.events) };
        outbox.filed(turn.events, &kept.map_err(|refused| failure(&refused)), file.forgettable());
    }
}

fn failure(refused: &Refused) -> Failure {
    match refused {
        Refused::Full(cause) => Failure::new(
            ErrorKind::DiskFull,
            format!("there is no room for the offline file: {cause}; it goes on when there is (option offline_file)"),
        ),
        // It may be in the file, and then the next client publishes it.
        Refused::Broken(cause) => Failure {
            retry: Retry::UnknownOutcome,
            ..Failure::new(
                ErrorKind::StoreFailed,
                format!("the offline file cannot be written: {cause}; connect a new client (option offline_file)"),
            )
        },
    }
}
