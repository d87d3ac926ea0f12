//! Why a log cannot be opened.

use super::disk::{DiskError, DiskFault, FileName, Part};
use super::format::VERSION;

/// Why a data directory cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The directory cannot be made, read or written.
    #[error(
        "the data directory {path} cannot be used: {cause}; check that it exists and may be written, or name another with --data-dir"
    )]
    Unusable {
        /// The directory.
        path: String,
        /// The system's words.
        cause: String,
        /// It cannot be used later either, unless somebody changes something.
        lasting: bool,
    },
    /// A new directory on a file system that has less than the log needs to go on when a segment is full.
    #[error(
        "the file system of the data directory has {} MiB free, and {} MiB are needed: two segments that hold the largest frame \
         (option max_frame_bytes), and what is written beside them; make room, or name another directory with --data-dir",
        free >> 20,
        least.div_ceil(1 << 20)
    )]
    NoRoom {
        /// Bytes that are free.
        free: u64,
        /// Bytes that would do.
        least: u64,
    },
    /// Another process has it open.
    #[error(
        "the data directory {path} is in use by {holder}; stop that process or name another directory with --data-dir"
    )]
    Locked {
        /// The directory.
        path: String,
        /// The process, if it is known.
        holder: String,
    },
    /// A newer program wrote it.
    #[error(
        "{what} is newer than format {VERSION}, which this program writes and reads; use the program that wrote it or a \
         newer one, or name another directory with --data-dir"
    )]
    NewerFormat {
        /// File, place, and what is newer.
        what: String,
    },
    /// Without what is damaged, the rest cannot be trusted.
    #[error("{0}")]
    Damaged(String),
    /// Something could not be read. Nothing was cut: what is not known cannot be told from what was never acknowledged.
    #[error(
        "opening the log stopped at what cannot be read: {cause}; nothing was cut. Check the disk and that this user may \
         read the file, then start again; if the bytes are lost for good, put the file back from a copy, or name another \
         directory with --data-dir"
    )]
    Unreadable {
        /// The file.
        file: FileName,
        /// From where on.
        offset: u64,
        /// File, offset, and the system's words.
        cause: String,
    },
    /// Another operation failed.
    #[error("opening the log failed: {0}")]
    Disk(DiskError),
}

impl From<DiskError> for OpenError {
    fn from(error: DiskError) -> Self {
        match error.fault {
            DiskFault::Unreadable { file, offset } => Self::Unreadable { file, offset, cause: error.message },
            _ => Self::Disk(error),
        }
    }
}

impl OpenError {
    pub(super) fn newer(segment: u64, offset: u64, what: &str) -> Self {
        Self::NewerFormat { what: format!("{} at {offset}: {what}", FileName::of(Part::Segment(segment))) }
    }
}
