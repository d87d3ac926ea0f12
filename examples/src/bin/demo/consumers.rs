//! The two who receive: a consumer group, and a reader who comes late.

use std::collections::{BTreeSet, HashMap, VecDeque};

use anyhow::Context;
use bytes::Bytes;
use meshwire::{Delivery, Mesh, Start};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::story::{BEFORE, END, TOPIC};

/// How many deliveries the group keeps open until the gateway was killed.
const HELD: usize = 12;

/// How far the group is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Different events.
    pub(crate) received: usize,
    /// Acked without waiting for the gateway's word.
    pub(crate) acked: usize,
    /// Received and not settled.
    pub(crate) open: usize,
}

/// What the group saw.
#[derive(Debug, Default)]
pub(crate) struct GroupReport {
    /// Ids in the order in which each was first seen.
    pub(crate) first_seen: Vec<String>,
    /// Ids that were acked; after the kill only when the gateway confirmed it.
    pub(crate) acked: BTreeSet<String>,
    /// Deliveries of an event that was seen before.
    pub(crate) redelivered: usize,
    /// Acks that the gateway had confirmed before the kill.
    pub(crate) kept_acks: BTreeSet<String>,
    /// Of those, events that came again all the same.
    pub(crate) broken_acks: usize,
    /// Encoded events by id.
    pub(crate) events: HashMap<String, Bytes>,
}

/// Consumes as group `audit` until the last event of the story. Until `killed` it holds some deliveries
/// open, so that the kill hits leases; from then on it settles each and waits for the gateway's word.
pub(crate) async fn group(
    mesh: Mesh,
    progress: watch::Sender<Progress>,
    killed: watch::Receiver<bool>,
) -> anyhow::Result<GroupReport> {
    let mut events = mesh.subscribe(TOPIC).group("audit").await?;
    let mut report = GroupReport::default();
    let mut held: VecDeque<Delivery> = VecDeque::new();
    let mut confirmed: JoinSet<(String, bool)> = JoinSet::new();
    loop {
        let delivery = events.try_next().await?.context("the group's subscription ended")?;
        let (id, is_end) = (delivery.id().to_owned(), delivery.event().kind() == END);
        if !is_end {
            report.note(&delivery);
        }
        if *killed.borrow() {
            // The leases of the killed gateway are gone with it: their events come again.
            held.clear();
            confirmed.spawn(async move { (id, delivery.ack_confirmed().await.is_ok()) });
        } else {
            held.push_back(delivery);
            if held.len() > HELD
                && let Some(oldest) = held.pop_front()
            {
                report.acked.insert(oldest.id().to_owned());
                if report.first_seen.len() == BEFORE {
                    // The gateway's word on this one covers the earlier ones: they were sent before it.
                    oldest.ack_confirmed().await?;
                    report.kept_acks = report.acked.clone();
                } else {
                    oldest.ack();
                }
            }
        }
        let (received, acked) = (report.first_seen.len(), report.acked.len());
        progress.send_replace(Progress { received, acked, open: held.len() });
        if is_end {
            break;
        }
    }
    while let Some(settled) = confirmed.join_next().await {
        if let (id, true) = settled? {
            report.acked.insert(id);
        }
    }
    Ok(report)
}

impl GroupReport {
    fn note(&mut self, delivery: &Delivery) {
        let id = delivery.id().to_owned();
        if self.events.insert(id.clone(), Bytes::copy_from_slice(delivery.raw())).is_some() {
            self.broken_acks += usize::from(self.kept_acks.contains(&id));
            self.redelivered += 1;
        } else {
            self.first_seen.push(id);
        }
    }
}

/// Reads the topic from its first event to the last of the story: what the log holds, in its order.
pub(crate) async fn late_reader(mesh: &Mesh) -> anyhow::Result<Vec<(String, Bytes)>> {
    let mut events = mesh.subscribe(TOPIC).start(Start::Earliest).await?;
    let mut log = Vec::new();
    loop {
        let delivery = events.try_next().await?.context("the late reader's subscription ended")?;
        if delivery.event().kind() == END {
            return Ok(log);
        }
        log.push((delivery.id().to_owned(), Bytes::copy_from_slice(delivery.raw())));
        delivery.ack();
    }
}
