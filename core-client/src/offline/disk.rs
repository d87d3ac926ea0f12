//! What an offline file stands on: a real file, or one of a test.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use meshwire_proto::{ErrorKind, Retry};

use crate::{Error, Result};

/// One file, written at its end. All calls block.
pub trait Disk: Send {
    /// What the file holds from an offset on, at most so much.
    ///
    /// # Errors
    /// Those of the system, as all of them.
    fn read(&mut self, from: u64, most: usize) -> io::Result<Vec<u8>>;
    /// Adds to the end. After an error any part of it may be there.
    ///
    /// # Errors
    /// Of the system.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file.
    ///
    /// # Errors
    /// Of the system.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    /// Returns when all that was appended survives a loss of power.
    ///
    /// # Errors
    /// Of the system; what is on disk is not known then.
    fn sync(&mut self) -> io::Result<()>;
    /// Puts another file in its place: a head, parts of the old one, a tail. All or nothing, and on disk.
    fn replace(&mut self, head: &[u8], parts: &[Range<u64>], tail: &[u8]) -> Replaced;
}

/// What became of a replacement.
#[derive(Debug)]
pub enum Replaced {
    /// It is in its place, also after a loss of power.
    Yes,
    /// The old file is still there, as it was.
    No(io::Error),
    /// It is in its place; after a loss of power the old one may be.
    Unknown(io::Error),
}

/// A file of the system, with another one beside it that is locked as long as this lives.
#[derive(Debug)]
pub(crate) struct OsDisk {
    path: PathBuf,
    file: File,
    _lock: File,
}

/// `path` with more behind its name.
fn beside(path: &Path, more: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// Why the file cannot be opened. Nothing was published yet: no outcome is unknown.
pub(crate) fn unopened(path: &Path, cause: io::Error) -> Error {
    let (kind, retry) = if is_full(&cause) {
        (ErrorKind::DiskFull, Retry::After)
    } else if is_lasting(cause.kind()) {
        (ErrorKind::Invalid, Retry::Never)
    } else {
        (ErrorKind::StoreFailed, Retry::After)
    };
    let message = format!("the offline file {} cannot be opened: {cause}", path.display());
    Error::new(kind, "connect", message).with_retry(retry, None).with_source(cause)
}

/// Whether a file that is not opened for this cause is not a moment later either, so that another one is to be named: its path
/// leads nowhere, or its user may not write there. A system may have files again to open, a disk may answer again.
const fn is_lasting(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::InvalidInput
            | Kind::InvalidFilename
            | Kind::Unsupported
    )
}

pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

/// Makes names of a directory durable.
fn sync_directory(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)?.sync_all()?;
    }
    Ok(())
}

impl OsDisk {
    /// Makes the file if need be, and locks it.
    ///
    /// # Errors
    /// `BUSY` while another process, or client, has it; those of [`unopened`].
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let fails = |cause| unopened(path, cause);
        let name = beside(path, ".lock");
        let lock = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(name).map_err(fails)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!(
                    "the offline file {} is in use by another client; give each client a file of its own",
                    path.display()
                );
                return Err(Error::new(ErrorKind::Busy, "connect", message));
            }
            Err(TryLockError::Error(cause)) => return Err(fails(cause)),
        }
        let is_new = !path.exists();
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(fails)?;
        if is_new {
            sync_directory(path).map_err(fails)?;
        }
        Ok(Self { path: path.to_owned(), file, _lock: lock })
    }

    fn write_new(&mut self, new: &Path, head: &[u8], parts: &[Range<u64>], tail: &[u8]) -> io::Result<File> {
        let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(new)?;
        file.write_all(head)?;
        for part in parts {
            self.file.seek(SeekFrom::Start(part.start))?;
            let wanted = part.end - part.start;
            if io::copy(&mut Read::by_ref(&mut self.file).take(wanted), &mut file)? < wanted {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        file.write_all(tail)?;
        file.sync_all()?;
        Ok(file)
    }
}

impl Disk for OsDisk {
    fn read(&mut self, from: u64, most: usize) -> io::Result<Vec<u8>> {
        self.file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        Read::by_ref(&mut self.file).take(most as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::End(0))?;
        self.file.write_all(bytes)
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn replace(&mut self, head: &[u8], parts: &[Range<u64>], tail: &[u8]) -> Replaced {
        let new = beside(&self.path, ".new");
        let written = self.write_new(&new, head, parts, tail);
        match written.and_then(|file| std::fs::rename(&new, &self.path).map(|()| file)) {
            Ok(file) => {
                self.file = file;
                sync_directory(&self.path).map_or_else(Replaced::Unknown, |()| Replaced::Yes)
            }
            Err(error) => {
                // What is left of it is written over next time.
                let _ = std::fs::remove_file(&new);
                Replaced::No(error)
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_passes_may_be_tried_again_and_another_file_is_asked_for_only_where_this_one_never_opens() {
        const ENOENT: i32 = 2;
        const EINTR: i32 = 4;
        const EIO: i32 = 5;
        const EACCES: i32 = 13;
        const ENOTDIR: i32 = 20;
        const EISDIR: i32 = 21;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        const ENOSPC: i32 = 28;
        const EROFS: i32 = 30;
        let told = |code| {
            let error = unopened(Path::new("buffer"), io::Error::from_raw_os_error(code));
            (error.kind(), error.retry())
        };
        for passing in [EMFILE, ENFILE, EIO, EINTR] {
            assert_eq!(told(passing), (ErrorKind::StoreFailed, Retry::After), "{passing}");
        }
        assert_eq!(told(ENOSPC), (ErrorKind::DiskFull, Retry::After));
        for lasting in [ENOENT, ENOTDIR, EISDIR, EACCES, EROFS] {
            assert_eq!(told(lasting), (ErrorKind::Invalid, Retry::Never), "{lasting}");
        }
    }
}
