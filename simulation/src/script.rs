//! What is to happen in one simulation, drawn from its seed.

use std::time::Duration;

use crate::history::{Disaster, Topic};

/// Ack wait of every group.
pub(crate) const ACK_WAIT: Duration = Duration::from_secs(10);

/// The group that gives events up.
pub(crate) const IMPATIENT: u8 = 1;

/// The group that is moved back and forth.
pub(crate) const MOVED: u8 = 2;

/// The group whose settings are changed.
pub(crate) const TUNED: u8 = 3;

/// The group whose keys wait for their dead letters; it has a topic of its own.
pub(crate) const HOLDING: u8 = 4;

/// The group that is deleted and made anew.
pub(crate) const REMADE: u8 = 5;

/// The group of the topic that is deleted.
pub(crate) const FLEETING: u8 = 6;

/// Groups from this number on are durable members of one broadcast group, each with one client.
pub(crate) const FIRST_MEMBER: u8 = 10;

/// After so many failures.
pub(crate) const MAX_FAILURES: u32 = 3;

/// Its least delay after a nack.
pub(crate) const BACKOFF: Duration = Duration::from_millis(200);

/// From then on nothing goes wrong any more, and everything must come to rest.
pub(crate) const CALM: Duration = Duration::from_secs(12);

/// From then on there are no limits of the whole gateway.
const UNLIMITED: Duration = Duration::from_secs(8);

/// Virtual time after which rest must have been found.
pub(crate) const PATIENCE: Duration = Duration::from_secs(240);

/// A request reaches the gateway so long after it was sent at most: its time there begins then.
pub(crate) const OVERDUE: Duration = Duration::from_secs(10);

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Publishes so many events.
    Publisher(u32),
    /// Is a member of these groups on both topics; `None` reads without a place: some without a
    /// group, some as unnamed members of the broadcast group.
    Consumer(Option<u8>),
}

/// A misfortune.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mishap {
    /// The gateway process ends.
    Disaster(Disaster),
    /// One connection is cut.
    Cut,
    /// One connection is held back.
    Stall,
    /// A client process ends, and another one takes its place.
    ClientKill,
    /// A client process ends as it should, and another one takes its place.
    Close,
    /// A member leaves its group and joins it again, so many times.
    Leave(u32),
    /// The disk has no space for a while.
    DiskFull,
    /// Somebody gives all dead letters back. No misfortune.
    Redrive,
    /// The gateway is stopped as it should be, and started again.
    Stop,
    /// Somebody sets how many events a second may be published and delivered.
    Limits { publish: u64, deliver: u64 },
    /// Somebody removes dead letters. No misfortune.
    Purge,
    /// Somebody changes the settings of a group.
    Tune,
    /// Somebody deletes a topic. No misfortune.
    DeleteTopic,
    /// All members of a group leave, and somebody deletes it.
    Remake,
    /// Somebody deletes a group, and tries again so many times while it has members.
    DeleteGroup(Topic, u32),
    /// Somebody moves a group. No misfortune either.
    Seek,
    /// The gateway's wall clock is set, by so many milliseconds.
    ClockSet(i64),
}

#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) clients: Vec<Role>,
    pub(crate) mishaps: Vec<(Duration, Mishap)>,
    /// Longest delay of a wire.
    pub(crate) wire_delay: Duration,
    /// Longest time of a disk operation.
    pub(crate) disk_delay: Duration,
    /// Some events are never settled.
    pub(crate) forgetful: bool,
    /// Longest pause of a publisher between bursts.
    pub(crate) pause: Duration,
}

impl Script {
    pub(crate) fn draw(rng: &mut fastrand::Rng) -> Self {
        let publishers = rng.usize(2..=3);
        let mut clients: Vec<Role> = (0..publishers).map(|_| Role::Publisher(210 / publishers as u32)).collect();
        clients.extend((0..rng.usize(2..=3)).map(|_| Role::Consumer(Some(0))));
        clients.extend((0..rng.usize(1..=2)).map(|_| Role::Consumer(Some(1))));
        clients.extend((0..rng.usize(0..=2)).map(|_| Role::Consumer(Some(MOVED))));
        clients.extend((0..rng.usize(0..=2)).map(|_| Role::Consumer(Some(TUNED))));
        clients.extend((0..rng.usize(0..=2)).map(|_| Role::Consumer(Some(HOLDING))));
        clients.extend((0..rng.usize(0..=2)).map(|_| Role::Consumer(Some(REMADE))));
        clients.extend((0..rng.usize(0..=2)).map(|_| Role::Consumer(Some(FLEETING))));
        clients.extend((0..rng.u8(0..=2)).map(|n| Role::Consumer(Some(FIRST_MEMBER + n))));
        clients.push(Role::Consumer(None));
        let mut mishaps = Vec::new();
        for _ in 0..rng.usize(1..=3) {
            let what = match rng.u32(0..10) {
                0..=3 => Disaster::Kill,
                4..=8 => Disaster::PowerLoss,
                _ => Disaster::DiskFailure,
            };
            mishaps.push(Mishap::Disaster(what));
        }
        mishaps.extend((0..rng.usize(0..=5)).map(|_| Mishap::Cut));
        mishaps.extend((0..rng.usize(0..=2)).map(|_| Mishap::Stall));
        mishaps.extend((0..rng.usize(0..=2)).map(|_| Mishap::ClientKill));
        mishaps.extend((0..usize::from(rng.u32(0..5) == 0)).map(|_| Mishap::DiskFull));
        mishaps.extend((0..rng.usize(0..=2)).map(|_| Mishap::Redrive));
        mishaps.extend(commands(&clients, rng));
        mishaps.extend((0..rng.usize(0..=1)).map(|_| Mishap::Stop));
        mishaps.extend((0..rng.usize(0..=2)).map(|_| Mishap::Close));
        mishaps.extend((0..rng.usize(0..=3)).map(|_| Mishap::Leave(rng.u32(1..8))));
        let jumps = if rng.u32(0..3) == 0 { rng.usize(1..=2) } else { 0 };
        mishaps.extend((0..jumps).map(|_| Mishap::ClockSet(rng.i64(-20_000..20_000))));
        // Most while publishers are busy, some long after.
        let mut at = || Duration::from_millis(if rng.u32(0..3) > 0 { rng.u64(20..1200) } else { rng.u64(1200..4000) });
        let mut mishaps: Vec<_> = mishaps.into_iter().map(|m| (at(), m)).collect();
        mishaps.push((UNLIMITED, Mishap::Limits { publish: 0, deliver: 0 }));
        mishaps.sort_by_key(|(at, _)| *at);
        Self {
            clients,
            mishaps,
            wire_delay: Duration::from_micros(rng.u64(50..20_000)),
            disk_delay: Duration::from_micros(if rng.bool() { rng.u64(100..5_000) } else { rng.u64(5_000..40_000) }),
            pause: Duration::from_millis(rng.u64(5..200)),
            forgetful: rng.bool(),
        }
    }
}

/// What somebody who runs the gateway does to groups and topics that are there.
fn commands(clients: &[Role], rng: &mut fastrand::Rng) -> Vec<Mishap> {
    let mut commands = Vec::new();
    if clients.contains(&Role::Consumer(Some(MOVED))) {
        commands.extend((0..rng.usize(1..=4)).map(|_| Mishap::Seek));
    }
    if clients.contains(&Role::Consumer(Some(TUNED))) {
        commands.extend((0..rng.usize(2..=8)).map(|_| Mishap::Tune));
    }
    if clients.contains(&Role::Consumer(Some(REMADE))) {
        commands.extend((0..rng.usize(1..=4)).map(|_| Mishap::Remake));
    }
    if clients.contains(&Role::Consumer(Some(FLEETING))) {
        commands.extend((0..rng.usize(1..=4)).map(|_| Mishap::DeleteTopic));
    }
    if clients.contains(&Role::Consumer(Some(HOLDING))) {
        commands.extend((0..rng.usize(2..=6)).map(|_| Mishap::Purge));
    }
    if rng.u32(0..3) == 0 {
        commands.extend((0..rng.usize(1..=3)).map(|_| limits(rng)));
    }
    commands
}

fn limits(rng: &mut fastrand::Rng) -> Mishap {
    let publish = if rng.bool() { 0 } else { rng.u64(30..150) };
    let deliver = if rng.bool() { 0 } else { rng.u64(100..1500) };
    Mishap::Limits { publish, deliver }
}
