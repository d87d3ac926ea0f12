//! A disk in memory that forgets and tears what was not synced, fails on
//! demand and can be full. The same calls and seeds give the same bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, DiskError, DiskFault, DiskOp, FileName};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

#[derive(Clone, Debug, Default)]
struct Inode {
    /// What a read gives.
    data: Vec<u8>,
    /// What survives power loss.
    durable: Vec<u8>,
    /// Sectors in which they may differ.
    dirty: BTreeSet<usize>,
}

#[derive(Clone, Copy, Debug)]
enum NameChange {
    Set(FileName, usize),
    Rename(FileName, FileName),
    Remove(FileName),
}

impl NameChange {
    const fn is_in_log(self) -> bool {
        match self {
            Self::Set(name, _) | Self::Rename(name, _) | Self::Remove(name) => name.is_in_log(),
        }
    }

    fn apply(self, names: &mut BTreeMap<FileName, usize>) {
        match self {
            Self::Set(name, inode) => drop(names.insert(name, inode)),
            Self::Rename(from, to) => {
                if let Some(inode) = names.remove(&from) {
                    names.insert(to, inode);
                }
            }
            Self::Remove(name) => drop(names.remove(&name)),
        }
    }
}

/// A failure to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimFault {
    /// The operation fails; a write is done in part.
    Error,
    /// No space; a write is done in part.
    NoSpace,
    /// This and every later operation fails: the power is off.
    PowerOff,
}

/// What happened to a disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SimCounts {
    /// Operations asked for.
    pub ops: u64,
    /// Reads asked for.
    pub reads: u64,
    /// Syncs done.
    pub syncs: u64,
    /// Files of which power loss kept some unsynced sectors and lost others.
    pub torn: u64,
    /// Unsynced sectors that power loss took.
    pub lost_sectors: u64,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<FileName, usize>,
    durable_names: BTreeMap<FileName, usize>,
    /// Changes of names that no sync of their folder covers, in order.
    changes: Vec<NameChange>,
    faults: BTreeMap<u64, SimFault>,
    /// Reads that will fail, by number.
    bad_reads: BTreeSet<u64>,
    /// Bytes that cannot be read.
    unreadable: Option<(FileName, Range<u64>)>,
    off: bool,
    capacity: Option<u64>,
    counts: SimCounts,
}

/// See the module's text.
#[derive(Debug, Default)]
pub struct SimDisk {
    state: Mutex<State>,
}

/// SplitMix64: all randomness of a power loss comes from its seed.
struct Seeded(u64);

impl Seeded {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        super::format::generation(0, self.0 >> 24, self.0)
    }

    const fn below(&mut self, bound: u64) -> u64 {
        self.next() % if bound == 0 { 1 } else { bound }
    }
}

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Plans a failure of an operation by its number, as [`SimCounts::ops`] counts them.
    pub fn plan(&self, op: u64, fault: SimFault) {
        self.lock().faults.insert(op, fault);
    }

    /// The power is off from now on: every operation fails, and every read.
    pub fn turn_off(&self) {
        self.lock().off = true;
    }

    /// Plans that a read fails, by its number, as [`SimCounts::reads`] counts them.
    pub fn plan_read(&self, read: u64) {
        self.lock().bad_reads.insert(read);
    }

    /// Every read that touches these bytes of a file fails, until it is lifted with `None`.
    pub fn set_unreadable(&self, place: Option<(FileName, Range<u64>)>) {
        self.lock().unreadable = place;
    }

    /// Bytes that all files together may have; `None` for no limit.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.lock().capacity = capacity;
    }

    /// What has happened so far.
    #[must_use]
    pub fn counts(&self) -> SimCounts {
        self.lock().counts
    }

    /// Does a part of an operation, as when the process is killed in it.
    pub fn interrupt(&self, op: &DiskOp, seed: u64) {
        if let DiskOp::Write { .. } = op {
            let mut state = self.lock();
            let mut seeded = Seeded(seed);
            // What a write did before it was killed, it did from the front.
            let _ = state.write(op, |len| seeded.below(len as u64 + 1) as usize);
        }
    }

    /// The power fails and returns: what no sync covers is kept, forgotten or torn.
    pub fn power_loss(&self, seed: u64) {
        let mut state = self.lock();
        let mut seeded = Seeded(seed);
        let mode = seeded.below(4);
        state.lose_names(mode, &mut seeded);
        state.lose_data(mode, &mut seeded);
        state.off = false;
        state.faults.clear();
        state.bad_reads.clear();
    }

    /// Changes bytes of a file, and nothing notices: for tests of damage.
    pub fn tamper(&self, file: FileName, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        if let Some(inode) = state.names.get(&file).copied().and_then(|at| state.inodes.get_mut(at)) {
            change(&mut inode.data);
            inode.durable = inode.data.clone();
            inode.dirty.clear();
        }
    }

    /// A copy of the disk as a restarted process finds it.
    #[must_use]
    pub fn duplicate(&self) -> Self {
        let state = self.lock();
        let copy = State {
            inodes: state.inodes.clone(),
            names: state.names.clone(),
            durable_names: state.durable_names.clone(),
            changes: state.changes.clone(),
            capacity: state.capacity,
            ..State::default()
        };
        Self { state: Mutex::new(copy) }
    }
}

fn refused(fault: DiskFault, op: impl std::fmt::Display, why: &str) -> DiskError {
    DiskError { fault, message: format!("{op}: {why}") }
}

impl State {
    fn inode(&mut self, file: FileName) -> Result<&mut Inode, DiskError> {
        let inode = self.names.get(&file).copied().and_then(|at| self.inodes.get_mut(at));
        inode.ok_or_else(|| refused(DiskFault::Missing, file, "no such file"))
    }

    fn change(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.changes.push(change);
    }

    fn has_room(&self, more: usize) -> bool {
        let used: usize = self.names.values().filter_map(|at| self.inodes.get(*at)).map(|i| i.data.len()).sum();
        self.capacity.is_none_or(|capacity| (used + more) as u64 <= capacity)
    }

    /// Writes as many of the bytes as `part` says; how many of them fit.
    fn write(&mut self, op: &DiskOp, part: impl FnOnce(usize) -> usize) -> Result<(), DiskError> {
        let DiskOp::Write { file, offset, parts } = op else {
            return Ok(());
        };
        let mut bytes = parts.concat();
        bytes.truncate(part(bytes.len()));
        let offset = *offset as usize;
        let len = self.inode(*file)?.data.len();
        let fits = self.has_room((offset + bytes.len()).saturating_sub(len));
        if !fits {
            bytes.truncate(len.saturating_sub(offset));
        }
        let inode = self.inode(*file)?;
        let end = offset + bytes.len();
        if inode.data.len() < end {
            inode.data.resize(end, 0);
        }
        if let Some(place) = inode.data.get_mut(offset..end) {
            place.copy_from_slice(&bytes);
        }
        if !bytes.is_empty() {
            inode.dirty.extend(offset / SECTOR..=(end - 1) / SECTOR);
        }
        if fits { Ok(()) } else { Err(refused(DiskFault::NoSpace, op, "no space is left")) }
    }

    fn carry_out(&mut self, op: &DiskOp) -> Result<(), DiskError> {
        match op {
            DiskOp::Create { file, len } => {
                let held = self.inode(*file).map_or(0, |i| i.data.len() as u64);
                if !self.has_room(len.saturating_sub(held) as usize) {
                    return Err(refused(DiskFault::NoSpace, op, "no space is left"));
                }
                let data = vec![0; *len as usize];
                let dirty = (0..data.len().div_ceil(SECTOR)).collect();
                self.inodes.push(Inode { data, durable: Vec::new(), dirty });
                self.change(NameChange::Set(*file, self.inodes.len() - 1));
            }
            DiskOp::Write { .. } => return self.write(op, |len| len),
            DiskOp::Sync { file } => {
                self.counts.syncs += 1;
                self.inode(*file)?.sync();
            }
            DiskOp::Rename { from, to } => {
                self.inode(*from)?;
                self.change(NameChange::Rename(*from, *to));
            }
            DiskOp::Remove { file } => {
                self.inode(*file)?;
                self.change(NameChange::Remove(*file));
            }
            DiskOp::SyncDirectory { of } => {
                let (durable, open) = self.changes.drain(..).partition(|c| c.is_in_log() == of.is_in_log());
                self.changes = open;
                let durable: Vec<NameChange> = durable;
                durable.into_iter().for_each(|c| c.apply(&mut self.durable_names));
            }
        }
        Ok(())
    }

    /// Of each folder's changes a first part survives.
    fn lose_names(&mut self, mode: u64, seeded: &mut Seeded) {
        for in_log in [false, true] {
            let changes: Vec<_> = self.changes.iter().copied().filter(|c| c.is_in_log() == in_log).collect();
            let kept = match mode {
                0 => 0,
                1 => changes.len(),
                _ => seeded.below(changes.len() as u64 + 1) as usize,
            };
            changes.into_iter().take(kept).for_each(|c| c.apply(&mut self.durable_names));
        }
        self.changes.clear();
        self.names = self.durable_names.clone();
    }

    /// Mode 0 forgets every unsynced sector, 1 keeps all, 2 decides for each, 3 keeps those before a place.
    fn lose_data(&mut self, mode: u64, seeded: &mut Seeded) {
        for at in self.names.values() {
            let Some(inode) = self.inodes.get_mut(*at) else {
                continue;
            };
            let dirty = std::mem::take(&mut inode.dirty);
            let until = seeded.below(dirty.len() as u64 + 1);
            let mut kept = 0;
            for (n, sector) in dirty.iter().enumerate() {
                let keep = match mode {
                    0 => false,
                    1 => true,
                    2 => seeded.below(2) == 0,
                    _ => (n as u64) < until,
                };
                if keep {
                    inode.keep(*sector);
                    kept += 1;
                }
            }
            // The length is kept or not, whatever became of the bytes.
            if inode.durable.len() < inode.data.len() && (mode == 1 || mode > 1 && seeded.below(2) == 0) {
                inode.durable.resize(inode.data.len(), 0);
            }
            self.counts.torn += u64::from(kept > 0 && kept < dirty.len());
            self.counts.lost_sectors += (dirty.len() - kept) as u64;
            inode.data = inode.durable.clone();
        }
    }
}

impl Inode {
    fn keep(&mut self, sector: usize) {
        let from = sector * SECTOR;
        let to = (from + SECTOR).min(self.data.len());
        if self.durable.len() < to {
            self.durable.resize(to, 0);
        }
        if let (Some(new), Some(place)) = (self.data.get(from..to), self.durable.get_mut(from..to)) {
            place.copy_from_slice(new);
        }
    }

    fn sync(&mut self) {
        for sector in std::mem::take(&mut self.dirty) {
            self.keep(sector);
        }
        self.durable.resize(self.data.len(), 0);
    }
}

impl Disk for SimDisk {
    fn list(&self) -> Result<Vec<(FileName, u64)>, DiskError> {
        let state = self.lock();
        let len = |at: &usize| state.inodes.get(*at).map_or(0, |i| i.data.len() as u64);
        Ok(state.names.iter().map(|(name, at)| (*name, len(at))).collect())
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let mut state = self.lock();
        let number = state.counts.reads;
        state.counts.reads += 1;
        let end = offset + buffer.len() as u64;
        let is_bad =
            state.unreadable.as_ref().is_some_and(|(of, bytes)| *of == file && offset < bytes.end && bytes.start < end);
        let why = match (state.off, is_bad || state.bad_reads.remove(&number)) {
            (true, _) => Some("the power is off"),
            (false, true) => Some("a planned failure"),
            (false, false) => None,
        };
        if let Some(why) = why {
            let fault = DiskFault::Unreadable { file, offset };
            return Err(refused(fault, format_args!("{file}: read at {offset}"), why));
        }
        let rest = state.inode(file)?.data.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buffer.len());
        if let (Some(to), Some(from)) = (buffer.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn run(&self, op: &DiskOp) -> Result<(), DiskError> {
        let mut state = self.lock();
        let number = state.counts.ops;
        state.counts.ops += 1;
        let fault = state.faults.remove(&number);
        if state.off {
            return Err(refused(DiskFault::Other, op, "the power is off"));
        }
        let Some(fault) = fault else {
            return state.carry_out(op);
        };
        let mut seeded = Seeded(number);
        let _ = state.write(op, |len| seeded.below(len as u64) as usize);
        state.off = fault == SimFault::PowerOff;
        let kind = if fault == SimFault::NoSpace { DiskFault::NoSpace } else { DiskFault::Other };
        Err(refused(kind, op, "a planned failure"))
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        let state = self.lock();
        let used: usize = state.names.values().filter_map(|at| state.inodes.get(*at)).map(|i| i.data.len()).sum();
        Ok(state.capacity.unwrap_or(1 << 40).saturating_sub(used as u64))
    }
}
