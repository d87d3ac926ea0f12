//! Settling by tokens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::frame::SettleKind;
use meshwire_proto::{ErrorKind, GroupKey, GroupName, TopicName};

use super::lease::Lease;
use super::{Calls, Seat};
use crate::ingress::access::{Record, Waiting};
use crate::ingress::waiting;
use crate::mesh::{Action, Caller, Refusal, SettleAs, SettleRequest, Ticket, TopicRef};

/// Most settlements of one call.
pub const MAX_SETTLEMENTS: usize = 10_000;

/// What is said of one delivery.
#[derive(Clone, Copy, Debug)]
pub struct Settlement<'a> {
    /// The token that came with it.
    pub lease: &'a str,
    /// What happens to it.
    pub kind: SettleKind,
    /// Of a nack: when to deliver again; `None` for when the group's settings say.
    pub delay: Option<Duration>,
    /// Of a nack and a reject: why. The first 1024 bytes are kept.
    pub reason: &'a str,
}

impl<'a> Settlement<'a> {
    const fn how(&self) -> SettleAs<'a> {
        SettleAs { kind: self.kind, delay: self.delay, reason: self.reason }
    }
}

/// Consecutive deliveries of which the same is said.
struct Range<'a> {
    seat: Arc<Seat>,
    session: u64,
    first: u64,
    settlement: Settlement<'a>,
    /// Places of the results.
    items: Vec<usize>,
}

/// What a token names.
enum Found {
    Standing(Lease, Arc<Seat>),
    /// Its subscription has gone, after the same was said of it. That is kept, or will be, with its topic.
    Settled(TopicRef),
}

/// When it is kept what was said of which items; `None`: there is no room for it now.
type Waits = (Option<Ticket>, Vec<usize>);

impl Range<'_> {
    fn takes(&self, lease: Lease, settlement: &Settlement<'_>) -> bool {
        let (mine, end) = (&self.settlement, self.first + self.items.len() as u64);
        self.session == lease.session
            && lease.delivery == end
            && (mine.kind, mine.delay, mine.reason) == (settlement.kind, settlement.delay, settlement.reason)
    }
}

fn too_many(count: usize) -> Refusal {
    let text = format!("{count} settlements in one call; at most {MAX_SETTLEMENTS} are taken");
    Refusal::new(ErrorKind::TooLarge, text)
}

fn lost() -> Refusal {
    let text =
        "the lease has ended, or its event was settled in another way; it comes again unless somebody settled it";
    Refusal::new(ErrorKind::LeaseLost, text)
}

impl Calls {
    /// Settles deliveries of this topic and group; one result each, in their order. `confirm` waits until they are kept to the topic's
    /// level.
    ///
    /// # Errors
    /// Of the whole call: `TOO_LARGE` over [`MAX_SETTLEMENTS`], `DENIED`. Of one: `LEASE_LOST`; `INVALID`: not a token, not the caller's,
    /// or of another topic or group, or a delay or a reason that its kind has not; `DENIED`; `STORE_FAILED`; `DISK_FULL`: it holds, and is
    /// not kept yet.
    pub async fn settle(
        &self,
        caller: &Caller,
        of: (&str, &GroupKey),
        settlements: &[Settlement<'_>],
        confirm: bool,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let settlements: Vec<_> = settlements.iter().copied().map(Ok).collect();
        self.settle_each(caller, of, &settlements, confirm).await
    }

    /// The same, where a settlement may have been none: then that is its result.
    ///
    /// # Errors
    /// The same.
    pub async fn settle_each(
        &self,
        caller: &Caller,
        (topic, group): (&str, &GroupKey),
        settlements: &[Result<Settlement<'_>, Refusal>],
        confirm: bool,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let (name, events) = (group.group.as_str(), settlements.len() as u64);
        let record = Record { operation: "settle", topic, group: name, events, ..Record::default() };
        let call = Waiting::begin(&self.mesh, caller, record);
        let settled = self.settle_kept(caller, (topic, group), settlements, confirm).await;
        call.end(match &settled {
            Ok(results) => results.iter().find_map(|result| result.as_ref().err()).map(|refusal| refusal.kind),
            Err(refusal) => Some(refusal.kind),
        });
        settled
    }

    /// What a call of more settlements than are taken is told, where they were only counted.
    pub fn too_many_settlements(&self, caller: &Caller, (topic, group): (&str, &GroupKey), count: usize) -> Refusal {
        let (name, events) = (group.group.as_str(), count as u64);
        let record = Record { operation: "settle", topic, group: name, events, ..Record::default() };
        let refusal = too_many(count);
        Waiting::begin(&self.mesh, caller, record).end(Some(refusal.kind));
        refusal
    }

    async fn settle_kept(
        &self,
        caller: &Caller,
        (topic, group): (&str, &GroupKey),
        settlements: &[Result<Settlement<'_>, Refusal>],
        confirm: bool,
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        if settlements.len() > MAX_SETTLEMENTS {
            return Err(too_many(settlements.len()));
        }
        self.mesh.authorize(caller, Action::Subscribe, topic)?;
        let (mut results, tickets) = self.settle_all(caller, (topic, group), settlements, confirm);
        if confirm {
            for (ticket, items) in tickets {
                let Err(failed) = waiting::settled(&self.mesh, ticket).await else { continue };
                for item in items {
                    if let Some(result) = results.get_mut(item).filter(|result| result.is_ok()) {
                        *result = Err(failed.clone());
                    }
                }
            }
        }
        Ok(results)
    }

    fn settle_all(
        &self,
        caller: &Caller,
        of: (&str, &GroupKey),
        settlements: &[Result<Settlement<'_>, Refusal>],
        confirm: bool,
    ) -> (Vec<Result<(), Refusal>>, Vec<Waits>) {
        let mut results = vec![Ok(()); settlements.len()];
        let (mut tickets, mut sessions, mut open) = (Vec::new(), Vec::new(), None::<Range<'_>>);
        let mut again = BTreeMap::<TopicRef, Vec<usize>>::new();
        let mut refused = 0;
        let mut end = |range: Range<'_>, results: &mut Vec<Result<(), Refusal>>| {
            if sessions.last() != Some(&range.session) {
                sessions.push(range.session);
            }
            if let Some(ticket) = self.settle_range(caller, &range, confirm, results) {
                tickets.push((ticket, range.items));
            }
        };
        for (item, settlement) in settlements.iter().enumerate() {
            let settlement = settlement.as_ref().map_err(Refusal::clone);
            let found = settlement.and_then(|settlement| Ok((self.find(caller, of, settlement)?, settlement)));
            match (found, &mut open) {
                (Ok((Found::Settled(topic), _)), _) => again.entry(topic).or_default().push(item),
                (Ok((Found::Standing(lease, _), settlement)), Some(range)) if range.takes(lease, settlement) => {
                    range.items.push(item);
                }
                (Ok((Found::Standing(lease, seat), settlement)), open) => {
                    let Lease { session, delivery: first } = lease;
                    let next = Range { seat, session, first, settlement: *settlement, items: vec![item] };
                    if let Some(range) = open.replace(next) {
                        end(range, &mut results);
                    }
                }
                (Err(refusal), _) => {
                    refused += 1;
                    if let Some(result) = results.get_mut(item) {
                        *result = Err(refusal);
                    }
                }
            }
        }
        if let Some(range) = open {
            end(range, &mut results);
        }
        if confirm {
            tickets.extend(again.into_iter().map(|(topic, items)| (self.mesh.settled_through(topic), items)));
        }
        self.mesh.counts().not_settled(refused);
        sessions.into_iter().for_each(|session| self.members.settled(session));
        (results, tickets)
    }

    fn find(
        &self,
        caller: &Caller,
        (topic, group): (&str, &GroupKey),
        settlement: &Settlement<'_>,
    ) -> Result<Found, Refusal> {
        if let Some(text) = settlement.how().misfit() {
            return Err(Refusal::new(ErrorKind::Invalid, text));
        }
        let lease = self.seal.read(caller, settlement.lease)?;
        let check = |name: &TopicName, of: &GroupName| {
            let text = format!("this lease is of topic {name}, group {of}");
            let right = name.as_str() == topic && *of == group.group;
            if right { Ok(()) } else { Err(Refusal::new(ErrorKind::Invalid, text)) }
        };
        let seat = self.seats().get(&lease.session).cloned();
        if let Some(seat) = seat {
            check(&seat.name, &seat.group.group)?;
            return Ok(Found::Standing(lease, seat));
        }
        let gone = self.gone();
        let left = gone.find(lease.session).ok_or_else(lost)?;
        check(&left.topic, &left.group)?;
        if left.answered.has(lease.delivery, settlement.kind) {
            Ok(Found::Settled(left.topic_ref))
        } else {
            Err(lost())
        }
    }

    fn settle_range(
        &self,
        caller: &Caller,
        range: &Range<'_>,
        confirm: bool,
        results: &mut [Result<(), Refusal>],
    ) -> Option<Option<Ticket>> {
        let mut set = |n: u64, refusal: &Refusal| {
            let item = usize::try_from(n).ok().and_then(|n| range.items.get(n));
            if let Some(result) = item.and_then(|item| results.get_mut(*item)) {
                *result = Err(refusal.clone());
            }
        };
        let (seat, count) = (&*range.seat, range.items.len() as u64);
        let numbers = range.first..range.first.saturating_add(count);
        let asked = SettleRequest { numbers, how: range.settlement.how(), confirm };
        match self.mesh.settle(caller, (seat.topic, seat.name.as_str()), seat.key, asked) {
            Err(refusal) => {
                self.mesh.counts().not_settled(count);
                (0..count).for_each(|n| set(n, &refusal));
                None
            }
            Ok(settled) => {
                for answer in settled.answers {
                    if answer.settled {
                        let end = answer.first_delivery.saturating_add(answer.count);
                        seat.answered().add(answer.first_delivery..end, range.settlement.kind);
                        continue;
                    }
                    let first = answer.first_delivery.saturating_sub(range.first);
                    (first..first.saturating_add(answer.count).min(count)).for_each(|n| set(n, &lost()));
                }
                Some(settled.ticket)
            }
        }
    }
}
