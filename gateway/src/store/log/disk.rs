//! The seam to a disk: operations as values, carried out by whoever drives the log.

use std::fmt;

use bytes::Bytes;

/// A file of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileName {
    /// Which file.
    pub part: Part,
    /// A draft of it (`.new`) that will be renamed over it.
    pub draft: bool,
}

/// The kinds of files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Part {
    /// The format version.
    Format,
    /// How often the directory was opened.
    Epoch,
    /// A checkpoint slot, 0 or 1.
    Checkpoint(u8),
    /// A segment by number.
    Segment(u64),
    /// The index of a segment.
    Index(u64),
}

impl FileName {
    /// The file itself.
    #[must_use]
    pub const fn of(part: Part) -> Self {
        Self { part, draft: false }
    }

    /// Its draft.
    #[must_use]
    pub const fn draft(part: Part) -> Self {
        Self { part, draft: true }
    }

    /// Whether it lies in the folder `log`.
    #[must_use]
    pub const fn is_in_log(self) -> bool {
        matches!(self.part, Part::Segment(_) | Part::Index(_))
    }

    /// The file of a path below the data directory; `None` for a file that is not ours.
    #[must_use]
    pub fn parse(path: &str) -> Option<Self> {
        let (path, draft) = path.strip_suffix(".new").map_or((path, false), |p| (p, true));
        let part = match path {
            "FORMAT" => Part::Format,
            "EPOCH" => Part::Epoch,
            "checkpoint.0" => Part::Checkpoint(0),
            "checkpoint.1" => Part::Checkpoint(1),
            _ => {
                let (number, kind) = path.strip_prefix("log/")?.split_once('.')?;
                let part = match kind {
                    "log" => Part::Segment,
                    "idx" => Part::Index,
                    _ => return None,
                };
                part(number.parse().ok()?)
            }
        };
        Some(Self { part, draft })
    }
}

/// The path below the data directory.
impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.part {
            Part::Format => f.write_str("FORMAT")?,
            Part::Epoch => f.write_str("EPOCH")?,
            Part::Checkpoint(slot) => write!(f, "checkpoint.{slot}")?,
            Part::Segment(number) => write!(f, "log/{number:010}.log")?,
            Part::Index(number) => write!(f, "log/{number:010}.idx")?,
        }
        if self.draft { f.write_str(".new") } else { Ok(()) }
    }
}

/// One operation on a disk. What it did is lost at power loss until the sync that covers it.
#[derive(Clone, Debug)]
pub enum DiskOp {
    /// Makes the file (again) with `len` zero bytes whose space is reserved.
    Create {
        /// Which file.
        file: FileName,
        /// Its length.
        len: u64,
    },
    /// Writes at a place; grows the file where needed.
    Write {
        /// Which file.
        file: FileName,
        /// Where.
        offset: u64,
        /// What, one behind the other.
        parts: Vec<Bytes>,
    },
    /// Makes everything written to the file through this disk durable.
    Sync {
        /// Which file.
        file: FileName,
    },
    /// Takes the file's new name, replacing what had it.
    Rename {
        /// The old name.
        from: FileName,
        /// The new one.
        to: FileName,
    },
    /// Removes the file.
    Remove {
        /// Which file.
        file: FileName,
    },
    /// Makes creations, renames and removals in the folder of `of` durable.
    SyncDirectory {
        /// A file of the folder.
        of: FileName,
    },
}

impl fmt::Display for DiskOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { file, len } => write!(f, "{file}: allocate {len} bytes"),
            Self::Write { file, offset, .. } => write!(f, "{file}: write at {offset}"),
            Self::Sync { file } => write!(f, "{file}: sync"),
            Self::Rename { from, to } => write!(f, "{from}: rename to {to}"),
            Self::Remove { file } => write!(f, "{file}: remove"),
            Self::SyncDirectory { of } if of.is_in_log() => f.write_str("log/: sync folder"),
            Self::SyncDirectory { .. } => f.write_str("data directory: sync folder"),
        }
    }
}

/// Why an operation failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskFault {
    /// No space, quota or permitted file size is left.
    NoSpace,
    /// There is no such file.
    Missing,
    /// Bytes could not be read: what they are is not known, so nothing may be made of it.
    Unreadable {
        /// Of which file.
        file: FileName,
        /// From where on.
        offset: u64,
    },
    /// Anything else.
    Other,
}

/// An operation that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct DiskError {
    /// What kind of failure.
    pub fault: DiskFault,
    /// File, operation and the system's words.
    pub message: String,
}

/// Carries out operations on the files of one data directory.
///
/// Blocking here; the log itself only hands out [`DiskOp`]s and is told how they
/// ended, so a driver may as well submit them to a queue of the kernel.
pub trait Disk: Send + Sync + 'static {
    /// The files of ours, with their lengths.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn list(&self) -> Result<Vec<(FileName, u64)>, DiskError>;

    /// Fills `buffer` from `offset` on; the number of bytes read is smaller only at the file's end.
    ///
    /// # Errors
    /// [`DiskFault::Missing`], or [`DiskFault::Unreadable`] with the place. The buffer then holds nothing of meaning.
    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError>;

    /// Carries out one operation.
    ///
    /// # Errors
    /// It failed; how much of it was done is not known.
    fn run(&self, op: &DiskOp) -> Result<(), DiskError>;

    /// Bytes that are free for us.
    ///
    /// # Errors
    /// The file system cannot be asked.
    fn free_space(&self) -> Result<u64, DiskError>;

    /// Gives the directory up: another process may take it. Nothing may follow.
    fn close(&self) {}
}

/// Reads a whole file of at most `most` bytes; `None` when it does not exist.
pub(super) fn read_whole(disk: &dyn Disk, file: FileName, most: usize) -> Result<Option<Vec<u8>>, DiskError> {
    let mut bytes = Vec::new();
    let mut step = 4 << 10;
    loop {
        let mut chunk = vec![0; step.min(most - bytes.len())];
        let read = match disk.read(file, bytes.len() as u64, &mut chunk) {
            Ok(read) => read,
            Err(e) if e.fault == DiskFault::Missing => return Ok(None),
            Err(e) => return Err(e),
        };
        let is_end = read < chunk.len();
        chunk.truncate(read);
        bytes.append(&mut chunk);
        if is_end || bytes.len() >= most {
            return Ok(Some(bytes));
        }
        step = bytes.len();
    }
}

/// Replaces a file whole: after a crash it is the old or the new one.
pub(super) fn replace(disk: &dyn Disk, part: Part, bytes: Bytes) -> Result<(), DiskError> {
    let (from, to) = (FileName::draft(part), FileName::of(part));
    disk.run(&DiskOp::Create { file: from, len: 0 })?;
    disk.run(&DiskOp::Write { file: from, offset: 0, parts: vec![bytes] })?;
    disk.run(&DiskOp::Sync { file: from })?;
    disk.run(&DiskOp::Rename { from, to })?;
    disk.run(&DiskOp::SyncDirectory { of: to })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_its_path_and_back() {
        for part in [Part::Format, Part::Epoch, Part::Checkpoint(1), Part::Segment(7), Part::Index(12)] {
            for name in [FileName::of(part), FileName::draft(part)] {
                assert_eq!(FileName::parse(&name.to_string()), Some(name));
            }
        }
        for other in ["LOCK", "notes.txt", "log/x.log", "log/1.txt", "log/1"] {
            assert_eq!(FileName::parse(other), None, "{other}");
        }
    }
}
