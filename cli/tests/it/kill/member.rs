//! The member of the group: it always holds some leases, and writes down what
//! it sees.

use std::collections::VecDeque;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use meshwire::{Delivery, Mesh, Position, Subscription};
use meshwire_history::{Absence, Name, Settle, SettleKind};
use tokio::sync::oneshot;

use super::{GROUP, LEAST_LEASES, Shared, TOPIC, as_it_came};

/// One ack in so many is a confirmed one.
const CONFIRM: u64 = 20;

/// Longest a step may take. Generous: only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// A delivery, and the gateway's life in which it came.
struct Held {
    id: u64,
    life: u64,
    delivery: Delivery,
}

pub(super) struct Member {
    mesh: Mesh,
    deliveries: Subscription,
    held: VecDeque<Held>,
    seen: Shared,
    acks: u64,
    name: Name,
    group: Name,
    /// That of the last delivery.
    login: u64,
}

impl Member {
    pub(super) async fn join(mesh: Mesh, seen: Shared) -> Self {
        let deliveries = mesh.subscribe(TOPIC).group(GROUP).prefetch(200, 8 << 20).await.unwrap();
        let login = mesh.stats().reconnects;
        let (held, acks) = (VecDeque::new(), 0);
        Self { mesh, deliveries, held, seen, acks, name: "member".into(), group: GROUP.into(), login }
    }

    /// Consumes until `stop` names the head of the log; then until the gateway says
    /// that everything up to there is settled.
    pub(super) async fn work(mut self, mut stop: oneshot::Receiver<Position>) {
        let head = loop {
            tokio::select! {
                head = &mut stop => break head.unwrap(),
                (login, delivery) = next(&self.mesh, &mut self.deliveries) => self.take(login, delivery),
            }
            while self.held.len() > 2 * LEAST_LEASES {
                self.acks += 1;
                self.ack_oldest(self.acks.is_multiple_of(CONFIRM)).await;
            }
        };
        loop {
            while !self.held.is_empty() {
                // Settles are taken in order: the answer to the last one covers all.
                self.ack_oldest(self.held.len() == 1).await;
            }
            if self.settled_through().await >= head {
                return;
            }
            let more = tokio::time::timeout(DEADLINE, next(&self.mesh, &mut self.deliveries)).await;
            let (login, delivery) = more.expect("what is not settled comes");
            self.take(login, delivery);
            while let Some(delivery) = self.deliveries.next_now().unwrap() {
                self.take(login, delivery);
            }
        }
    }

    fn take(&mut self, login: u64, delivery: Delivery) {
        let mut seen = self.seen.lock();
        let (at, life, event) = (seen.began.elapsed(), seen.life_of(login), as_it_came(&delivery));
        if std::mem::replace(&mut self.login, login) != login {
            seen.history.absences.push(Absence { at, member: self.name.clone() });
        }
        let id = event.id;
        seen.history.deliveries.push(meshwire_history::Delivery {
            at,
            life,
            group: Some(self.group.clone()),
            member: self.name.clone(),
            subscription: life,
            position: delivery.position().number(),
            attempt: delivery.attempt(),
            event,
            excused: false,
        });
        self.held.push_back(Held { id, life, delivery });
        seen.count_leases(self.held.iter().map(|h| h.life));
    }

    /// An ack whose confirmation is awaited is a plain one until it is answered.
    async fn ack_oldest(&mut self, confirm: bool) {
        let Some(Held { id, life, delivery }) = self.held.pop_front() else {
            return;
        };
        let mine = {
            let mut seen = self.seen.lock();
            let (at, group, kind) = (seen.began.elapsed(), self.group.clone(), SettleKind::Ack);
            let ack = Settle { at, life, group, event: id, kind, confirmed: None, excused: false };
            seen.history.settles.push(ack);
            seen.count_leases(self.held.iter().map(|h| h.life));
            // Nobody else settles.
            seen.history.settles.len() - 1
        };
        if !confirm {
            return delivery.ack();
        }
        if delivery.ack_confirmed().await.is_ok() {
            let mut seen = self.seen.lock();
            seen.history.settles[mine].confirmed = Some(seen.began.elapsed());
        }
    }

    async fn settled_through(&self) -> Position {
        let topics = self.mesh.topics().list().await.unwrap();
        let groups = topics.into_iter().find(|t| t.name == TOPIC).unwrap().groups;
        groups.into_iter().find(|g| g.name == GROUP).unwrap().settled_through
    }
}

/// The next delivery and the login in which it came.
///
/// The login is read in the same poll, before the delivery is taken: the client
/// counts a login before it can get anything in it, and drops by then what it
/// has of the one before. So this is the login of the delivery.
async fn next(mesh: &Mesh, deliveries: &mut Subscription) -> (u64, Delivery) {
    std::future::poll_fn(|cx| {
        let login = mesh.stats().reconnects;
        match pin!(deliveries.next()).poll(cx) {
            Poll::Ready(delivery) => Poll::Ready((login, delivery.expect("the stream goes on").unwrap())),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}
