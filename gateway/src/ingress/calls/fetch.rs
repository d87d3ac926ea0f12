//! Fetching: so many deliveries of a group at once.

use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::wire::admin;
use meshwire_proto::{ErrorKind, GroupKey, MemberName, NameError, TopicName};
use tokio::sync::OwnedMutexGuard;
use tokio::time::{Instant, timeout_at};

use super::members::{Member, Name, Slot};
use super::{Calls, Consumer, ConsumerRequest, Delivered, Start};
use crate::ingress::access::{Record, Waiting};
use crate::mesh::{Caller, Credit, Refusal};

/// Most deliveries of one fetch.
pub const MAX_FETCH: u32 = 1024;

/// Longest that a fetch waits for the first delivery.
pub const MAX_WAIT: Duration = Duration::from_secs(30);

/// A fetch that does not wait has this long for what must be read from the disk. A guess: a disk's read, and some.
const READ: Duration = Duration::from_millis(20);

/// A fetch that has something waits so long for each block behind it that is being read. A guess, as the other one.
const READ_ON: Duration = Duration::from_millis(100);

/// What is fetched.
#[derive(Clone, Debug)]
pub struct FetchRequest<'a> {
    /// From where.
    pub topic: &'a str,
    /// For whom; made if it is not there.
    pub group: &'a GroupKey,
    /// As whom: a member of this name keeps the keys of what it holds from fetch to fetch. `None`: as a member of its own.
    pub member: Option<&'a str>,
    /// Most deliveries: 1 to [`MAX_FETCH`].
    pub max_events: u32,
    /// Most bytes of events; one event may pass over it.
    pub max_bytes: u64,
    /// How long to wait for the first one: at most [`MAX_WAIT`].
    pub wait: Duration,
}

/// What was fetched. Until [`Fetched::handed_out`] is called, nobody has seen it: dropped, it comes again as if it had never been
/// delivered.
#[derive(Debug)]
pub struct Fetched {
    calls: Arc<Calls>,
    /// The member that fetches.
    member: OwnedMutexGuard<Option<Member>>,
    /// Behind the member: it is said once that is let go of.
    named: Option<Named>,
    /// Number of the first of the deliveries.
    first: u64,
    deliveries: Vec<Delivered>,
    handed_out: bool,
}

/// That a member with a name fetches. Dropped, it is done.
#[derive(Debug)]
struct Named {
    calls: Arc<Calls>,
    name: Name,
}

impl Drop for Named {
    fn drop(&mut self) {
        self.calls.members.release(&self.name);
    }
}

fn check(request: &FetchRequest<'_>) -> Result<(TopicName, Option<MemberName>), Refusal> {
    let invalid = |e: NameError| Refusal::new(ErrorKind::Invalid, e.to_string());
    if !(1..=MAX_FETCH).contains(&request.max_events) {
        let text = format!("max_events is {}; 1 to {MAX_FETCH} are accepted", request.max_events);
        return Err(Refusal::new(ErrorKind::Invalid, text));
    }
    if request.wait > MAX_WAIT {
        let text = format!("wait_ms is {}; 0 to {} are accepted", request.wait.as_millis(), MAX_WAIT.as_millis());
        return Err(Refusal::new(ErrorKind::Invalid, text));
    }
    let topic = TopicName::parse(request.topic).map_err(invalid)?;
    Ok((topic, request.member.map(MemberName::parse).transpose().map_err(invalid)?))
}

impl Calls {
    /// Fetches what is there for a group, and waits for the first delivery if there is none. None at all is an answer.
    ///
    /// # Errors
    /// As [`Calls::consume`]; `INVALID`: a number out of its bounds; `UNSUPPORTED`: a broadcast group; `BUSY`: too many members.
    pub async fn fetch(self: &Arc<Self>, caller: &Caller, request: FetchRequest<'_>) -> Result<Fetched, Refusal> {
        let (topic, group) = (request.topic, request.group.group.as_str());
        let call = Waiting::begin(&self.mesh, caller, Record { operation: "fetch", topic, group, ..Record::default() });
        let fetched = self.try_fetch(caller, &request).await;
        let events = fetched.as_ref().map_or(0, |fetched| fetched.deliveries.len() as u64);
        call.end_with(events, fetched.as_ref().err().map(|refusal| refusal.kind));
        fetched
    }

    async fn try_fetch(self: &Arc<Self>, caller: &Caller, request: &FetchRequest<'_>) -> Result<Fetched, Refusal> {
        let (topic, name) = check(request)?;
        self.mesh.check_serving()?;
        let deadline = Instant::now() + request.wait.max(READ);
        let (slot, named) = match name {
            None => (Slot::default(), None),
            Some(name) => {
                let name = (topic, request.group.group.clone(), caller.principal.clone(), name);
                (self.members.slot(name.clone()), Some(Named { calls: Arc::clone(self), name }))
            }
        };
        let (calls, first, deliveries) = (Arc::clone(self), 0, Vec::new());
        // One of this name may fetch already, over another connection.
        let Ok(member) = timeout_at(deadline, slot.lock_owned()).await else {
            let member = Slot::default().lock_owned().await;
            return Ok(Fetched { calls, member, named, first, deliveries, handed_out: false });
        };
        let mut fetched = Fetched { calls, member, named, first, deliveries, handed_out: false };
        fetched.fill(caller, request, deadline).await?;
        Ok(fetched)
    }

    async fn new_member(self: &Arc<Self>, caller: &Caller, request: &FetchRequest<'_>) -> Result<Member, Refusal> {
        let place = self.members.place()?;
        let credit = Credit { events: 0, bytes: 0 };
        let (group, settings) = (Some(request.group.clone()), admin::GroupSettings::default());
        let asked = ConsumerRequest { group, start: Start::Default, settings, credit };
        let consumer = self.join(caller, request.topic, asked).await?;
        if !consumer.is_leased() {
            let text = format!(
                "group {} is a broadcast group: its members have places of their own; receive it as a stream",
                request.group.group
            );
            return Err(Refusal::new(ErrorKind::Unsupported, text));
        }
        Ok(Member { consumer, _place: place, empty: None })
    }
}

impl Fetched {
    /// What was fetched.
    #[must_use]
    pub fn deliveries(&self) -> &[Delivered] {
        &self.deliveries
    }

    /// They are on their way to who fetched them: from here on their leases count.
    pub fn handed_out(&mut self) {
        self.handed_out = true;
    }

    async fn fill(&mut self, caller: &Caller, request: &FetchRequest<'_>, deadline: Instant) -> Result<(), Refusal> {
        if !self.member.as_ref().is_some_and(|member| member.consumer.stands()) {
            *self.member = None;
            *self.member = Some(self.calls.new_member(caller, request).await?);
        }
        let Self { member, first, deliveries, .. } = self;
        let Some(member) = member.as_mut() else { return Ok(()) };
        member.empty = None;
        let consumer = &mut member.consumer;
        *first = consumer.next_number();
        let (events, bytes) = consumer.holds();
        let (events, bytes) = (events.saturating_add(request.max_events), bytes.saturating_add(request.max_bytes));
        consumer.set_credit(Credit { events, bytes })?;
        let taken = take(consumer, request, deadline, deliveries).await;
        let next = consumer.next_number();
        consumer.pause(next);
        taken
    }
}

async fn take(
    consumer: &mut Consumer,
    request: &FetchRequest<'_>,
    deadline: Instant,
    deliveries: &mut Vec<Delivered>,
) -> Result<(), Refusal> {
    let mut bytes = 0;
    let mut next = match timeout_at(deadline, consumer.next()).await {
        Ok(first) => first?,
        Err(_) => None,
    };
    while let Some(delivered) = next {
        bytes += delivered.event.len() as u64;
        deliveries.push(delivered);
        if deliveries.len() >= request.max_events as usize || bytes >= request.max_bytes {
            break;
        }
        // What was taken is not to be lost because nothing more comes.
        next = match consumer.ready().unwrap_or_default() {
            None => read_on(consumer, deadline).await,
            ready => ready,
        };
    }
    Ok(())
}

/// The next delivery that is there, though it is of another run or must be read from the disk first.
async fn read_on(consumer: &mut Consumer, deadline: Instant) -> Option<Delivered> {
    // Behind the look at the group everything is here that comes with what is.
    let reads = consumer.is_being_read();
    match consumer.ready().unwrap_or_default() {
        None if reads => {
            let until = deadline.min(Instant::now() + READ_ON);
            timeout_at(until, consumer.next()).await.ok()?.unwrap_or_default()
        }
        ready => ready,
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        let Some(member) = self.member.as_mut() else { return };
        let next = if self.handed_out { member.consumer.next_number() } else { self.first };
        if next == 0 {
            return;
        }
        let held = member.consumer.pause(next);
        if self.named.is_some() {
            return;
        }
        if let Some(member) = self.member.take().filter(|_| held > 0) {
            self.calls.members.keep(member);
        }
    }
}
