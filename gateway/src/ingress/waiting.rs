//! What calls of protocols with one answer a request wait for.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use meshwire_proto::{ErrorKind, Moment};

use crate::mesh::{Mesh, Refusal, Ticket};

/// When it is asked again whether there is space.
const RETRY_MS: u32 = 5000;

/// Waits until a ticket is kept.
///
/// # Errors
/// `STORE_FAILED`: it will never be.
pub(super) async fn kept(mesh: &Mesh, ticket: Ticket) -> Result<(), Refusal> {
    poll_fn(|cx| if mesh.wake_when_kept(ticket, cx.waker()) { Poll::Pending } else { Poll::Ready(()) }).await;
    if mesh.is_kept(ticket) {
        return Ok(());
    }
    Err(Refusal::new(ErrorKind::StoreFailed, "the log failed before this was kept; nothing is known of it"))
}

/// The same of settlements, which are taken for good, whether there is space for them or not.
///
/// # Errors
/// `STORE_FAILED`; `DISK_FULL`: it will not be before there is.
pub(super) async fn settled(mesh: &Mesh, ticket: Option<Ticket>) -> Result<(), Refusal> {
    let ticket = ticket.ok_or_else(unkept)?;
    let mut kept = pin!(kept(mesh, ticket));
    poll_fn(|cx| match kept.as_mut().poll(cx) {
        Poll::Pending if mesh.watermark().stuck => Poll::Ready(Err(unkept())),
        polled => polled,
    })
    .await
}

/// What became of a settlement that there is no space for.
fn unkept() -> Refusal {
    let text = "the disk is full: this settlement holds, and is kept as soon as there is space; the event comes again only if the \
                gateway ends before";
    Refusal::new(ErrorKind::DiskFull, text).after(RETRY_MS)
}

/// Waits until more than `seen` fetches have ended: what was not there then may be now.
pub(super) async fn fetched(mesh: &Mesh, seen: u64) {
    poll_fn(|cx| if mesh.wake_when_fetched(seen, cx.waker()) { Poll::Pending } else { Poll::Ready(()) }).await;
}

/// Waits as long as the gateway's publish rate asks for; the call began at `since`.
///
/// # Errors
/// `BUSY` with the time to wait, when that is too long.
pub(super) async fn pace(mesh: &Mesh, since: Moment, events: u64, bytes: u64) -> Result<(), Refusal> {
    if mesh.publishes_freely() {
        return Ok(());
    }
    let wait = mesh.reserve_publish((since, mesh.now().mono), events, bytes)?;
    tokio::time::sleep(wait).await;
    Ok(())
}
