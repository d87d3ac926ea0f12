//! An offline file: which events are in it, what was answered, and what it looks like after a crash.
//!
//! Blocking, and without a thread, a clock or chance of its own: the client runs it on a thread, the simulation on a
//! disk that forgets.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use bytes::BytesMut;

use super::disk::{Disk, Replaced, is_full};
use super::record::{self, Filed, HEAD_BYTES, Head, HeadProblem, Record};

/// Sequences that a new life leaves out. What the life before it gave, and lost with the power, is among them: an event
/// under such a sequence would pass for one that the gateway has.
const LEAP: u64 = 1 << 32;

/// Bytes of answered events at which the file is written anew, if they are also as many as those that wait. A guess: many
/// times what one takes to write, little of a disk.
const DEAD_BYTES: u64 = 1 << 20;
/// The same when nothing waits: then hardly anything is to be written.
const IDLE_BYTES: u64 = 64 << 10;

/// Events of one record.
#[derive(Debug)]
struct Entry {
    sequences: Range<u64>,
    at: Range<u64>,
    open: Vec<Range<u64>>,
}

/// An open file.
#[derive(Debug)]
pub struct Journal<D> {
    disk: D,
    head: Head,
    /// Whether an event is on disk before it is admitted.
    is_synced: bool,
    entries: VecDeque<Entry>,
    len: u64,
    /// How much of it is known to be on disk.
    synced: u64,
    /// Bytes of entries that are not answered.
    live: u64,
    /// Answers that could not be written.
    unmarked: Vec<Range<u64>>,
    /// No sequence up to this one will be asked about after a crash.
    forgettable: u64,
    /// Whether no later life can know yet which sequences this one gives: nothing is admitted then.
    is_unnoted: bool,
    /// Why nothing can be written any more.
    broken: Option<String>,
    out: BytesMut,
}

/// What an earlier life left.
#[derive(Debug)]
pub struct Found {
    /// Who publishes.
    pub producer_id: [u8; 16],
    /// Of its sequences.
    pub epoch: u32,
    /// The first sequence of this life.
    pub next_sequence: u64,
    /// Events, and which of their sequences have no answer.
    pub events: Vec<(Filed, Vec<Range<u64>>)>,
    /// Bytes at the end that were no whole record, as after a crash.
    pub cut: u64,
}

/// Why a file cannot be opened.
#[derive(Debug)]
pub enum OpenProblem {
    /// It holds something else.
    Foreign,
    /// A newer version wrote it.
    Newer(u32),
    /// Bytes in its middle changed, from this offset on.
    Damaged(u64),
    /// The system.
    Io(io::Error),
}

/// Why events were not admitted.
#[derive(Debug)]
pub enum Refused {
    /// No room on the disk; the file is as it was.
    Full(io::Error),
    /// Nothing can be written any more.
    Broken(String),
}

impl From<io::Error> for OpenProblem {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<HeadProblem> for OpenProblem {
    fn from(problem: HeadProblem) -> Self {
        match problem {
            HeadProblem::Foreign => Self::Foreign,
            HeadProblem::Newer(version) => Self::Newer(version),
            HeadProblem::Damaged => Self::Damaged(0),
        }
    }
}

impl<D: Disk> Journal<D> {
    /// Opens a file, new or old. `producer_id` is for a new one; with `is_synced` what is admitted is on disk. An old one
    /// needs no room.
    ///
    /// # Errors
    /// See [`OpenProblem`]; what waits in the file is as it was.
    pub fn open(disk: D, producer_id: [u8; 16], is_synced: bool) -> Result<(Self, Found), OpenProblem> {
        let mut journal = Self {
            disk,
            head: Head { producer_id, epoch: 1, next_sequence: 1 },
            is_synced,
            entries: VecDeque::new(),
            len: 0,
            synced: 0,
            live: 0,
            unmarked: Vec::new(),
            forgettable: 0,
            is_unnoted: false,
            broken: None,
            out: BytesMut::new(),
        };
        let head = journal.disk.read(0, HEAD_BYTES)?;
        let (mut filed, mut cut) = (Vec::new(), 0);
        if !head.is_empty() {
            journal.head = Head::decode(&head)?;
            (filed, cut) = journal.read()?;
            let next = journal.entries.back().map_or(0, |entry| entry.sequences.end).max(journal.head.next_sequence);
            journal.head.next_sequence = (next / LEAP + 1).saturating_mul(LEAP);
        }
        match journal.renew() {
            Replaced::Yes => {}
            Replaced::No(error) if is_full(&error) && journal.len > 0 => journal.stay()?,
            Replaced::No(error) | Replaced::Unknown(error) => return Err(error.into()),
        }
        let Head { producer_id, epoch, next_sequence } = journal.head;
        // Entries without an open sequence are gone: what is left pairs up.
        let open = |first: u64| {
            let at = journal.entries.binary_search_by_key(&first, |entry| entry.sequences.start).ok()?;
            journal.entries.get(at).map(|entry| entry.open.clone()).filter(|open| !open.is_empty())
        };
        let events = filed.into_iter().filter_map(|filed: Filed| open(filed.first).map(|open| (filed, open))).collect();
        Ok((journal, Found { producer_id, epoch, next_sequence, events, cut }))
    }

    /// Reads all records; gives the events, and how many bytes at the end are none.
    fn read(&mut self) -> Result<(Vec<Filed>, u64), OpenProblem> {
        let bytes = self.disk.read(0, usize::MAX)?;
        let (mut filed, mut at) = (Vec::new(), HEAD_BYTES);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some((record, _, len)) = record::read(rest) else {
                if record::is_damage(rest, at as u64) {
                    return Err(OpenProblem::Damaged(at as u64));
                }
                break;
            };
            let place = at as u64..(at + len) as u64;
            match record {
                Record::Events(events) => {
                    let next = self.entries.back().map_or(1, |entry| entry.sequences.end);
                    if events.first < next || events.count() == 0 {
                        return Err(OpenProblem::Damaged(at as u64));
                    }
                    self.add(&events, place);
                    filed.push(events);
                }
                Record::Answered(ranges) => {
                    for range in ranges {
                        self.take_out(&range);
                        self.head.next_sequence = self.head.next_sequence.max(range.end);
                    }
                }
            }
            at += len;
        }
        self.len = at as u64;
        Ok((filed, (bytes.len() - at) as u64))
    }

    fn add(&mut self, filed: &Filed, at: Range<u64>) {
        let sequences = filed.first..filed.first + filed.count();
        self.live += at.end - at.start;
        self.entries.push_back(Entry { at, open: Vec::from([sequences.clone()]), sequences });
    }

    /// Takes sequences out of what is open.
    fn take_out(&mut self, range: &Range<u64>) {
        let from = self.entries.partition_point(|entry| entry.sequences.end <= range.start);
        for entry in self.entries.iter_mut().skip(from).take_while(|entry| entry.sequences.start < range.end) {
            if entry.open.is_empty() {
                continue;
            }
            let parts = entry.open.drain(..).flat_map(|open| {
                let (from, to) = (range.start.clamp(open.start, open.end), range.end.clamp(open.start, open.end));
                if from >= to { [open, 0..0] } else { [open.start..from, to..open.end] }
            });
            entry.open = parts.filter(|part| !part.is_empty()).collect();
            if entry.open.is_empty() {
                self.live = self.live.saturating_sub(entry.at.end - entry.at.start);
            }
        }
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.open.is_empty()) {
            self.head.next_sequence = self.head.next_sequence.max(entry.sequences.end);
        }
    }

    /// Keeps events: when this returns they come back after a crash. All or none.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn admit(&mut self, batch: &[Filed]) -> Result<(), Refused> {
        self.have_head()?;
        if self.is_unnoted {
            self.note()?;
        }
        let start = self.len;
        let mut ends = Vec::with_capacity(batch.len());
        self.write(|out, synced| {
            for filed in batch {
                filed.put(out, synced);
                ends.push(start + out.len() as u64);
            }
        })?;
        if self.is_synced {
            self.sync()?;
        }
        let starts = std::iter::once(start).chain(ends.iter().copied());
        for (filed, (from, to)) in batch.iter().zip(starts.zip(ends.iter().copied())) {
            self.add(filed, from..to);
        }
        if self.is_synced {
            self.forget();
        }
        Ok(())
    }

    /// Takes note of answers: their events do not come back. Not on disk before the next events are, or the file is
    /// written anew: the gateway knows what it answered.
    ///
    /// # Errors
    /// See [`Refused`]; the note is taken in memory all the same, and written with the next one.
    pub fn answered(&mut self, ranges: &[Range<u64>]) -> Result<(), Refused> {
        for range in ranges {
            self.take_out(range);
            match self.unmarked.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => self.unmarked.push(range.clone()),
            }
        }
        let unmarked = std::mem::take(&mut self.unmarked);
        let written =
            self.have_head().and_then(|()| self.write(|out, synced| record::put_answered(out, synced, &unmarked)));
        if written.is_err() {
            self.unmarked = unmarked;
        }
        let is_full = matches!(written, Err(Refused::Full(_)));
        self.shrink(is_full)?;
        // A file that was written anew needs no note.
        if self.unmarked.is_empty() { Ok(()) } else { written }
    }

    /// No sequence up to this one comes back after a crash: the gateway may forget them.
    #[must_use]
    pub const fn forgettable(&self) -> u64 {
        self.forgettable
    }

    /// Bytes of the file.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.len
    }

    /// What is answered now is so after a loss of power, too: all was synced.
    fn forget(&mut self) {
        if !self.unmarked.is_empty() {
            return;
        }
        let first = self.entries.front().and_then(|entry| entry.open.first());
        self.forgettable = first.map_or(self.head.next_sequence, |open| open.start).saturating_sub(1);
    }

    /// Appends records, in `self.out`; the file is as it was if that fails.
    fn write(&mut self, put: impl FnOnce(&mut BytesMut, u64)) -> Result<(), Refused> {
        if let Some(why) = &self.broken {
            return Err(Refused::Broken(why.clone()));
        }
        self.out.clear();
        put(&mut self.out, self.synced);
        if let Err(error) = self.disk.append(&self.out) {
            return Err(match self.disk.truncate(self.len) {
                Ok(()) if is_full(&error) => Refused::Full(error),
                _ => self.fail(&error),
            });
        }
        self.len += self.out.len() as u64;
        Ok(())
    }

    fn sync(&mut self) -> Result<(), Refused> {
        if let Err(error) = self.disk.sync() {
            // What is on disk is not known, and asking again proves nothing.
            return Err(self.fail(&error));
        }
        self.synced = self.len;
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) -> Refused {
        let why = error.to_string();
        self.broken = Some(why.clone());
        Refused::Broken(why)
    }

    /// Writes the file anew when most of it is answered; when all is and the disk `is_full` for a note of that, also a small one.
    fn shrink(&mut self, is_full: bool) -> Result<(), Refused> {
        let dead = self.len.saturating_sub(self.live);
        let is_idle = self.live == 0 && (dead >= IDLE_BYTES || is_full);
        let is_due = dead >= DEAD_BYTES && dead >= self.live || is_idle;
        if !is_due || self.broken.is_some() {
            return Ok(());
        }
        match self.renew() {
            // It is tried again when more is answered, or there is room.
            Replaced::Yes | Replaced::No(_) => Ok(()),
            Replaced::Unknown(error) => Err(self.fail(&error)),
        }
    }

    /// There is no room for a copy: goes on with the file as it is, less an end that is no record.
    fn stay(&mut self) -> io::Result<()> {
        self.disk.truncate(self.len)?;
        self.is_unnoted = true;
        match self.note() {
            Ok(()) => {}
            Err(Refused::Full(_)) => {
                self.disk.sync()?;
                self.synced = self.len;
            }
            Err(Refused::Broken(why)) => return Err(io::Error::other(why)),
        }
        self.forget();
        Ok(())
    }

    /// Notes where the sequences of this life begin, on disk: as answered, with none in it.
    fn note(&mut self) -> Result<(), Refused> {
        let next = self.head.next_sequence;
        self.write(|out, synced| record::put_answered(out, synced, &[Range { start: next, end: next }]))?;
        self.sync()?;
        self.is_unnoted = false;
        Ok(())
    }

    /// Gives a file its head that was emptied and whose room somebody else took.
    fn have_head(&mut self) -> Result<(), Refused> {
        if self.len > 0 || self.broken.is_some() {
            return Ok(());
        }
        match self.rewrite() {
            Replaced::Yes => Ok(()),
            Replaced::No(error) if is_full(&error) => Err(Refused::Full(error)),
            Replaced::No(error) | Replaced::Unknown(error) => Err(self.fail(&error)),
        }
    }

    /// Writes the file anew: where nothing waits in it and there is no room beside it, in its own. Between the two it is
    /// as a new one; who opens it then gets an id of its own, which has no sequence yet.
    fn renew(&mut self) -> Replaced {
        match self.rewrite() {
            Replaced::No(error) if is_full(&error) && self.live == 0 && self.len > 0 => {
                if self.disk.truncate(0).is_err() {
                    return Replaced::No(error);
                }
                self.len = 0;
                self.rewrite()
            }
            replaced => replaced,
        }
    }

    /// Writes head and what is open into a file of its own, and puts it in place.
    fn rewrite(&mut self) -> Replaced {
        let open = || self.entries.iter().filter(|entry| !entry.open.is_empty());
        let parts: Vec<Range<u64>> = open().map(|entry| entry.at.clone()).collect();
        let len = HEAD_BYTES as u64 + parts.iter().map(|part| part.end - part.start).sum::<u64>();
        let answered: Vec<Range<u64>> = open().flat_map(answered_of).collect();
        let mut tail = BytesMut::new();
        if !answered.is_empty() {
            record::put_answered(&mut tail, 0, &answered);
        }
        let replaced = self.disk.replace(&self.head.encode(), &parts, &tail);
        if matches!(replaced, Replaced::Yes) {
            self.entries.retain(|entry| !entry.open.is_empty());
            let mut at = HEAD_BYTES as u64;
            for entry in &mut self.entries {
                let size = entry.at.end - entry.at.start;
                entry.at = at..at + size;
                at += size;
            }
            self.len = len + tail.len() as u64;
            self.synced = self.len;
            self.is_unnoted = false;
            self.unmarked.clear();
            self.forget();
        }
        replaced
    }
}

/// Sequences of an entry that have their answer.
fn answered_of(entry: &Entry) -> Vec<Range<u64>> {
    let mut answered = Vec::new();
    let mut next = entry.sequences.start;
    for open in &entry.open {
        answered.push(next..open.start);
        next = open.end;
    }
    answered.push(next..entry.sequences.end);
    answered.retain(|range| !range.is_empty());
    answered
}
