//! A disk in memory that forgets what was not synced, and fills up: for tests and the simulation.

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Disk, Replaced};

/// One file. Clones are the same file: one for the journal, one for who lets the power fail.
#[derive(Clone, Debug, Default)]
pub struct Forgetful(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What a loss of power leaves for sure.
    synced: Vec<u8>,
    /// Most bytes.
    room: Option<usize>,
    fails: bool,
}

impl Forgetful {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The power fails: of what was not synced, the first `survive` bytes are left.
    pub fn lose_power(&self, survive: usize) {
        let mut state = self.state();
        let known = state.synced.len();
        let more = state.bytes.get(known..).unwrap_or_default();
        let more = more.get(..survive.min(more.len())).unwrap_or_default().to_vec();
        let mut bytes = state.synced.clone();
        bytes.extend_from_slice(&more);
        state.bytes = bytes;
    }

    /// The file's bytes.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.state().bytes.clone()
    }

    /// Puts bytes in place of the file.
    pub fn set_bytes(&self, bytes: Vec<u8>) {
        let mut state = self.state();
        state.synced.clone_from(&bytes);
        state.bytes = bytes;
    }

    /// The disk has room for so many bytes: the file's, and while it is replaced those of the new one beside it.
    pub fn set_room(&self, room: Option<usize>) {
        self.state().room = room;
    }

    /// Whether every sync fails.
    pub fn set_fails(&self, fails: bool) {
        self.state().fails = fails;
    }
}

impl Disk for Forgetful {
    fn read(&mut self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        let state = self.state();
        let from = usize::try_from(from).unwrap_or(usize::MAX);
        let rest = state.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..most.min(rest.len())).unwrap_or_default().to_vec())
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        let room = state.room.map_or(usize::MAX, |room| room.saturating_sub(state.bytes.len()));
        let fits = bytes.get(..room.min(bytes.len())).unwrap_or_default();
        state.bytes.extend_from_slice(fits);
        if fits.len() < bytes.len() { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap_or(usize::MAX);
        self.state().bytes.truncate(len);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.state();
        if state.fails {
            return Err(io::Error::other("the disk is broken"));
        }
        state.synced = state.bytes.clone();
        Ok(())
    }

    fn replace(&mut self, head: &[u8], parts: &[Range<u64>], tail: &[u8]) -> Replaced {
        let mut state = self.state();
        let mut bytes = head.to_vec();
        for part in parts {
            let (from, to) = (usize::try_from(part.start), usize::try_from(part.end));
            let part = from.ok().zip(to.ok()).and_then(|(from, to)| state.bytes.get(from..to));
            let Some(part) = part else {
                return Replaced::No(io::ErrorKind::UnexpectedEof.into());
            };
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(tail);
        if state.room.is_some_and(|room| state.bytes.len() + bytes.len() > room) {
            return Replaced::No(io::ErrorKind::StorageFull.into());
        }
        state.synced.clone_from(&bytes);
        state.bytes = bytes;
        Replaced::Yes
    }
}
