//! The log as a store: the machine behind its lock.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use meshwire_proto::{Moment, UnixMillis};

use super::disk::{Disk, DiskError, DiskOp};
use super::job::{Job, JobResult};
use super::machine::{Input, LogMachine, OpId};
use super::open_error::OpenError;
use super::os_disk::OsDisk;
use super::recovery::{self, Recovered};
use super::{LogClock, LogOptions, threads};
use crate::store::syncs::Syncs;
use crate::store::{
    Capability, Claim, Completions, Durability, Lookup, Needed, Op, Position, Settlements, Since, Store, StoreError,
    SyncTimes, TopicBytes, TopicId, Watermark,
};

/// What callers and threads share.
pub(super) struct Shared {
    machine: Mutex<LogMachine>,
    /// What is promised and not committed; raised only under the lock of the machine.
    claimed: AtomicU64,
    pub(super) disk: Arc<dyn Disk>,
    clock: LogClock,
    /// Wakes the writer thread, and the worker thread.
    pub(super) writer: Condvar,
    pub(super) worker: Condvar,
    /// Of batches.
    pub(super) syncs: Syncs,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, LogMachine> {
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now(&self) -> (Moment, UnixMillis) {
        (self.clock)()
    }
}

/// The log of one data directory.
///
/// [`LogStore::start`] gives it its two threads. Without them, as in a
/// simulation, whoever owns it carries out its [`Task`]s.
pub struct LogStore {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Something to do on the disk.
#[derive(Debug)]
pub struct Task {
    id: OpId,
    kind: TaskKind,
}

#[derive(Debug)]
enum TaskKind {
    Write(DiskOp),
    Job(Job),
}

/// A task that was carried out.
#[derive(Debug)]
pub struct Ended {
    id: OpId,
    kind: EndedKind,
}

#[derive(Debug)]
enum EndedKind {
    Write(Result<(), DiskError>),
    Job(JobResult),
}

impl Task {
    /// Carries it out.
    #[must_use]
    pub fn run(self, disk: &dyn Disk) -> Ended {
        let kind = match self.kind {
            TaskKind::Write(op) => EndedKind::Write(carry_out(disk, &op)),
            TaskKind::Job(job) => EndedKind::Job(job.run(disk)),
        };
        Ended { id: self.id, kind }
    }

    /// The operation, if it is the writer's: what a kill may leave half done.
    #[must_use]
    pub const fn write(&self) -> Option<&DiskOp> {
        match &self.kind {
            TaskKind::Write(op) => Some(op),
            TaskKind::Job(_) => None,
        }
    }
}

pub(super) fn carry_out(disk: &dyn Disk, op: &DiskOp) -> Result<(), DiskError> {
    #[cfg(feature = "testing")]
    if matches!(op, DiskOp::Sync { .. }) && super::planted::is(super::planted::Defect::SyncNothing) {
        return Ok(());
    }
    disk.run(op)
}

impl LogStore {
    /// Opens the log of a directory, making it if need be, and locks it.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do.
    pub fn open(path: &Path, options: &LogOptions, clock: LogClock) -> Result<(Arc<Self>, Recovered), OpenError> {
        Self::open_on(Arc::new(OsDisk::open(path)?), options, clock)
    }

    /// Opens the log of a disk that is ours alone.
    ///
    /// # Errors
    /// [`OpenError`], saying what to do.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        options: &LogOptions,
        clock: LogClock,
    ) -> Result<(Arc<Self>, Recovered), OpenError> {
        let (machine, recovered) = recovery::open(&disk, options, clock())?;
        let (machine, threads) = (Mutex::new(machine), Mutex::new(Vec::new()));
        let claimed = AtomicU64::new(0);
        let shared = Shared {
            machine,
            claimed,
            disk,
            clock,
            writer: Condvar::new(),
            worker: Condvar::new(),
            syncs: Syncs::default(),
        };
        Ok((Arc::new(Self { shared: Arc::new(shared), threads }), recovered))
    }

    /// Starts the writer and the worker thread, which report to `completions`.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(&self, completions: Arc<dyn Completions>) -> std::io::Result<()> {
        self.make_room();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        threads.extend(threads::spawn(&self.shared, completions)?);
        Ok(())
    }

    /// Replays come right behind a restart: they must not find the log with a
    /// segment that is nearly full and the next one still being allocated.
    fn make_room(&self) {
        let wants = self.shared.lock().wants_segment();
        if wants && let Some(task) = self.next_job() {
            self.ended(task.run(&*self.shared.disk));
        }
    }

    /// How far batches are kept.
    #[must_use]
    pub fn watermark(&self) -> Watermark {
        self.shared.lock().watermark()
    }

    /// Bytes of one topic.
    #[must_use]
    pub fn bytes_of(&self, topic: TopicId) -> TopicBytes {
        self.shared.lock().topic_bytes(topic)
    }

    /// The next task of the writer, for a driver without threads. One at a time; [`LogStore::ended`] ends it.
    #[must_use]
    pub fn next_write(&self) -> Option<Task> {
        let (now, _) = self.shared.now();
        let (id, op) = self.shared.lock().poll_write(now)?;
        Some(Task { id, kind: TaskKind::Write(op) })
    }

    /// The next task in the background, likewise. Independent of the writer's.
    #[must_use]
    pub fn next_job(&self) -> Option<Task> {
        let (now, _) = self.shared.now();
        let (id, job) = self.shared.lock().poll_job(now)?;
        Some(Task { id, kind: TaskKind::Job(job) })
    }

    /// A task has ended.
    pub fn ended(&self, ended: Ended) {
        let Ended { id, kind } = ended;
        let input = match kind {
            EndedKind::Write(result) => Input::Done { id, result },
            EndedKind::Job(result) => Input::JobDone { id, result },
        };
        let (now, _) = self.shared.now();
        self.shared.lock().handle(now, input);
    }

    /// Reports what is kept and fetched since the last time, for a driver without threads.
    pub fn report(&self, completions: &dyn Completions) {
        let kept = self.shared.lock().poll_kept();
        if let Some(kept) = kept {
            completions.kept(kept.watermark, &kept.heads);
        }
        if self.shared.lock().poll_found() {
            completions.looked_up();
        }
        let moved = self.shared.lock().poll_moved();
        if !moved.is_empty() {
            completions.moved(&moved);
        }
        loop {
            let fetched = self.shared.lock().poll_fetched();
            let Some(fetched) = fetched else { return };
            completions.fetched(fetched.topic, fetched.from, fetched.result);
        }
    }

    /// Lets time pass, for a driver without threads: at least once a second.
    pub fn tick(&self) {
        let (now, wall) = self.shared.now();
        self.shared.lock().handle(now, Input::Tick { wall });
    }

    /// When [`LogStore::next_write`] or [`LogStore::next_job`] may have something though nothing happens.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let machine = self.shared.lock();
        machine.writer_deadline().into_iter().chain(machine.worker_deadline()).min()
    }

    /// Carries out everything that is left, on the caller's thread.
    fn finish(&self) {
        while !self.shared.lock().is_closed() {
            let Some(task) = self.next_write().or_else(|| self.next_job()) else {
                return;
            };
            self.ended(task.run(&*self.shared.disk));
        }
    }
}

impl Store for LogStore {
    fn capability(&self) -> Capability {
        Capability { durability: Durability::Synced, atomic_commit: true, native_groups: false }
    }

    fn sync_times(&self) -> Option<SyncTimes> {
        Some(self.shared.syncs.times())
    }

    fn reserve(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        let claimed = &self.shared.claimed;
        let mut machine = self.shared.lock();
        let room = machine.reserve(bytes, claimed.load(Ordering::Relaxed))?;
        // Still under the lock: nobody is promised the same bytes.
        Ok(Claim::new(claimed, room))
    }

    fn reserve_quietly(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        let claimed = &self.shared.claimed;
        let mut machine = self.shared.lock();
        let room = machine.reserve_quietly(bytes, claimed.load(Ordering::Relaxed))?;
        Ok(Claim::new(claimed, room))
    }

    fn reserve_letter(&self, bytes: u64) -> Result<Claim<'_>, StoreError> {
        let claimed = &self.shared.claimed;
        let mut machine = self.shared.lock();
        let room = machine.reserve_letter(bytes, claimed.load(Ordering::Relaxed))?;
        Ok(Claim::new(claimed, room))
    }

    fn reserve_settlements(&self, settlements: Settlements) -> Option<Claim<'_>> {
        let claimed = &self.shared.claimed;
        let machine = self.shared.lock();
        let room = machine.reserve_settlements(settlements, claimed.load(Ordering::Relaxed))?;
        Some(Claim::new(claimed, room))
    }

    fn commit(&self, ops: Vec<Op>) -> u64 {
        let mut machine = self.shared.lock();
        let ops = machine.without_surplus(ops, self.shared.claimed.load(Ordering::Relaxed));
        let batch = machine.commit(ops);
        let (write, work) = (machine.wants_writer(), machine.wants_worker());
        drop(machine);
        if write {
            self.shared.writer.notify_one();
        }
        // The writer may be at a long write, and the next segment is needed behind it.
        if work {
            self.shared.worker.notify_one();
        }
        batch
    }

    fn read(&self, topic: TopicId, from: Position) -> Lookup {
        let mut machine = self.shared.lock();
        let lookup = machine.read(topic, from);
        let wake = matches!(lookup, Lookup::Pending(_)) && machine.wants_worker();
        drop(machine);
        if wake {
            self.shared.worker.notify_one();
        }
        lookup
    }

    fn first(&self, topic: TopicId) -> Position {
        self.shared.lock().first(topic)
    }

    fn since(&self, topic: TopicId, at: UnixMillis) -> Since {
        let mut machine = self.shared.lock();
        let since = machine.since(topic, at);
        let wake = since == Since::Pending && machine.wants_worker();
        drop(machine);
        if wake {
            self.shared.worker.notify_one();
        }
        since
    }

    fn topic_bytes(&self, topic: TopicId) -> TopicBytes {
        self.bytes_of(topic)
    }

    fn admit<'a>(&self, topic: TopicId, _: &dyn Fn() -> Needed<'a>, _: UnixMillis) -> Result<(), StoreError> {
        let mut machine = self.shared.lock();
        let admitted = machine.admit(topic);
        let wake = machine.wants_worker();
        drop(machine);
        if wake {
            self.shared.worker.notify_one();
        }
        admitted
    }

    fn close(&self) {
        let (now, _) = self.shared.now();
        self.shared.lock().handle(now, Input::Close);
        self.shared.writer.notify_one();
        self.shared.worker.notify_one();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        if threads.is_empty() {
            self.finish();
        }
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a thread of the log ended by a panic");
            }
        }
        self.shared.disk.close();
    }
}

/// As [`Store::close`] when threads run; without, nothing more is done: so ends a simulated kill.
impl Drop for LogStore {
    fn drop(&mut self) {
        if !self.threads.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
            self.close();
        }
    }
}

impl std::fmt::Debug for LogStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogStore").field("watermark", &self.watermark()).finish_non_exhaustive()
    }
}
