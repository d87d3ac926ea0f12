//! The log's two threads: one writes and syncs, one does everything else.

use std::sync::{Arc, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use meshwire_proto::Moment;

use super::disk::{DiskError, DiskOp};
use super::machine::{Input, LogMachine};
use super::store::{Shared, carry_out};
use crate::store::Completions;

/// How often retention, refused space and checkpoints are looked at.
const TICK: Duration = Duration::from_millis(500);

pub(super) fn spawn(shared: &Arc<Shared>, completions: Arc<dyn Completions>) -> std::io::Result<[JoinHandle<()>; 2]> {
    let (first, second) = (shared.clone(), shared.clone());
    let reports = completions.clone();
    let writer = Builder::new().name("log-writer".to_owned()).spawn(move || write(&first, &*reports))?;
    let worker = Builder::new().name("log-worker".to_owned()).spawn(move || work(&second, &*completions))?;
    Ok([writer, worker])
}

/// The moment of waking is not exact; both loops look again at what is to be done.
fn wait<'a>(
    shared: &Shared,
    condition: &std::sync::Condvar,
    machine: MutexGuard<'a, LogMachine>,
    until: Option<Moment>,
) -> MutexGuard<'a, LogMachine> {
    let Some(until) = until else {
        return condition.wait(machine).unwrap_or_else(PoisonError::into_inner);
    };
    let (now, _) = shared.now();
    let timeout = until.since(now);
    if timeout.is_zero() {
        return machine;
    }
    condition.wait_timeout(machine, timeout).unwrap_or_else(PoisonError::into_inner).0
}

/// A thread that panics takes the other one and [`super::LogStore::close`] out of their waits: the log has failed.
struct Watch<'a> {
    shared: &'a Shared,
    completions: &'a dyn Completions,
    /// Of the writer, or of the worker.
    writer: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        let mut machine = self.shared.lock();
        machine.broken(self.writer);
        let kept = machine.poll_kept();
        drop(machine);
        self.shared.writer.notify_one();
        self.shared.worker.notify_one();
        if let Some(kept) = kept {
            self.completions.kept(kept.watermark, &kept.heads);
        }
    }
}

fn write(shared: &Shared, completions: &dyn Completions) {
    // Before the lock, so that it is dropped behind it.
    let _watch = Watch { shared, completions, writer: true };
    let mut machine = shared.lock();
    loop {
        let (now, _) = shared.now();
        let op = machine.poll_write(now);
        let kept = machine.poll_kept();
        if op.is_none() && kept.is_none() {
            if machine.is_closed() {
                shared.worker.notify_one();
                return;
            }
            // A batch may wait for a segment that the worker has to allocate.
            if machine.wants_worker() {
                shared.worker.notify_one();
            }
            let until = machine.writer_deadline();
            machine = wait(shared, &shared.writer, machine, until);
            continue;
        }
        let wake = machine.wants_worker();
        drop(machine);
        if wake {
            shared.worker.notify_one();
        }
        // Who waits is answered before the next batch is written.
        if let Some(kept) = kept {
            completions.kept(kept.watermark, &kept.heads);
        }
        let ended = op.map(|(id, op)| Input::Done { id, result: timed(shared, &op) });
        machine = shared.lock();
        if let Some(ended) = ended {
            let (now, _) = shared.now();
            machine.handle(now, ended);
        }
    }
}

/// Carries an operation out; how long a sync took is counted.
fn timed(shared: &Shared, op: &DiskOp) -> Result<(), DiskError> {
    let began = matches!(op, DiskOp::Sync { .. }).then(|| shared.now().0);
    let result = carry_out(&*shared.disk, op);
    if let Some(began) = began {
        shared.syncs.add(shared.now().0.since(began));
    }
    result
}

fn work(shared: &Shared, completions: &dyn Completions) {
    let _watch = Watch { shared, completions, writer: false };
    let (mut next_tick, _) = shared.now();
    let mut machine = shared.lock();
    loop {
        let (now, wall) = shared.now();
        if now >= next_tick {
            machine.handle(now, Input::Tick { wall });
            next_tick = now + TICK;
        }
        let fetched = machine.poll_fetched();
        // What was read is handed over before more is read: it is held until then.
        let job = if fetched.is_none() { machine.poll_job(now) } else { None };
        let found = machine.poll_found();
        let moved = machine.poll_moved();
        if job.is_none() && fetched.is_none() && !found && moved.is_empty() {
            if machine.is_closed() {
                shared.writer.notify_one();
                return;
            }
            let until = machine.worker_deadline().map_or(next_tick, |at| at.min(next_tick));
            machine = wait(shared, &shared.worker, machine, Some(until));
            continue;
        }
        drop(machine);
        if let Some(fetched) = fetched {
            completions.fetched(fetched.topic, fetched.from, fetched.result);
        }
        if found {
            completions.looked_up();
        }
        if !moved.is_empty() {
            completions.moved(&moved);
        }
        let ended = job.map(|(id, job)| Input::JobDone { id, result: job.run(&*shared.disk) });
        machine = shared.lock();
        if let Some(ended) = ended {
            let (now, _) = shared.now();
            machine.handle(now, ended);
            // A batch may have waited for the segment that is there now.
            shared.writer.notify_one();
        }
    }
}
