//! The real disk.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock, statvfs};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::disk::{Disk, DiskError, DiskFault, DiskOp, FileName, Part};
use super::open_error::OpenError;

/// Open files kept; the writer's are among the newest.
const HANDLES: usize = 64;

/// Shorter parts of a write are put together first: a copy costs less than a system call.
const SMALL: usize = 64 << 10;

/// A data directory, locked for this process until it is closed or dropped.
pub struct OsDisk {
    root: PathBuf,
    /// A file stays open between write and sync: only the handle that wrote is
    /// sure to be told of an error when it syncs.
    handles: Mutex<BTreeMap<FileName, Arc<File>>>,
    lock: Mutex<Option<File>>,
}

impl OsDisk {
    /// Makes the directory if need be, and locks it.
    ///
    /// # Errors
    /// [`OpenError::Unusable`], [`OpenError::Locked`] with the process that has it.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let unusable = |e: io::Error| OpenError::Unusable {
            path: path.display().to_string(),
            cause: e.to_string(),
            lasting: is_lasting(e.kind()),
        };
        let is_new = !path.join("log").exists();
        // Events lie there as they are: what is made is for this user alone.
        DirBuilder::new().recursive(true).mode(0o700).create(path.join("log")).map_err(unusable)?;
        let name = path.join("LOCK");
        let mut lock =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(name).map_err(unusable)?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let mut text = String::new();
                let known = lock.read_to_string(&mut text).is_ok() && text.trim().parse::<u32>().is_ok();
                let holder = if known { format!("process {}", text.trim()) } else { "another process".to_owned() };
                return Err(OpenError::Locked { path: path.display().to_string(), holder });
            }
            Err(errno) => return Err(unusable(errno.into())),
        }
        lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(unusable)?;
        if is_new {
            let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(parent).and_then(|f| f.sync_all()).map_err(unusable)?;
            File::open(path).and_then(|f| f.sync_all()).map_err(unusable)?;
        }
        Ok(Self { root: path.to_owned(), handles: Mutex::new(BTreeMap::new()), lock: Mutex::new(Some(lock)) })
    }

    fn path(&self, file: FileName) -> PathBuf {
        self.root.join(file.to_string())
    }

    fn keep(&self, file: FileName, handle: Arc<File>) {
        let mut handles = self.handles.lock().unwrap_or_else(PoisonError::into_inner);
        if handles.len() >= HANDLES {
            let oldest = handles.keys().find(|f| matches!(f.part, Part::Segment(_) | Part::Index(_))).copied();
            oldest.map(|f| handles.remove(&f));
        }
        handles.insert(file, handle);
    }

    fn forget(&self, file: FileName) -> Option<Arc<File>> {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&file)
    }

    fn handle(&self, file: FileName) -> io::Result<Arc<File>> {
        if let Some(handle) = self.handles.lock().unwrap_or_else(PoisonError::into_inner).get(&file) {
            return Ok(handle.clone());
        }
        let handle = Arc::new(OpenOptions::new().read(true).write(true).open(self.path(file))?);
        self.keep(file, handle.clone());
        Ok(handle)
    }

    fn create(&self, file: FileName, len: u64) -> io::Result<()> {
        permitted(len)?;
        self.forget(file);
        let mut open = OpenOptions::new();
        let handle = open.read(true).write(true).create(true).truncate(true).open(self.path(file))?;
        if len > 0 {
            match fallocate(&handle, FallocateFlags::empty(), 0, len) {
                Ok(()) => {}
                // A file system without it reserves space only by being written to.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => write_zeros(&handle, len)?,
                Err(errno) => return Err(errno.into()),
            }
        }
        self.keep(file, Arc::new(handle));
        Ok(())
    }

    fn write(&self, file: FileName, mut offset: u64, parts: &[Bytes]) -> io::Result<()> {
        permitted(offset + parts.iter().map(|p| p.len() as u64).sum::<u64>())?;
        let handle = self.handle(file)?;
        let mut small: Vec<u8> = Vec::new();
        for part in parts {
            if small.len() + part.len() <= SMALL {
                small.extend_from_slice(part);
                continue;
            }
            handle.write_all_at(&small, offset)?;
            offset += small.len() as u64;
            small.clear();
            if part.len() < SMALL {
                small.extend_from_slice(part);
            } else {
                handle.write_all_at(part, offset)?;
                offset += part.len() as u64;
            }
        }
        handle.write_all_at(&small, offset)
    }

    fn sync_directory(&self, of: FileName) -> io::Result<()> {
        let path = if of.is_in_log() { self.root.join("log") } else { self.root.clone() };
        File::open(path)?.sync_all()
    }

    fn carry_out(&self, op: &DiskOp) -> io::Result<()> {
        match op {
            DiskOp::Create { file, len } => self.create(*file, *len),
            DiskOp::Write { file, offset, parts } => self.write(*file, *offset, parts),
            DiskOp::Sync { file } => self.handle(*file)?.sync_data(),
            DiskOp::Rename { from, to } => {
                std::fs::rename(self.path(*from), self.path(*to))?;
                self.forget(*to);
                self.forget(*from);
                Ok(())
            }
            DiskOp::Remove { file } => {
                self.forget(*file);
                std::fs::remove_file(self.path(*file))
            }
            DiskOp::SyncDirectory { of } => self.sync_directory(*of),
        }
    }
}

/// Whether a directory that cannot be used by this cause cannot be a moment later: its path leads nowhere, or its user may
/// not write there. A disk may get room again, or answer again.
const fn is_lasting(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::NotFound
            | Kind::NotADirectory
            | Kind::AlreadyExists
            | Kind::IsADirectory
            | Kind::PermissionDenied
            | Kind::ReadOnlyFilesystem
            | Kind::InvalidInput
            | Kind::InvalidFilename
            | Kind::Unsupported
    )
}

/// Refuses what the process may not write: the kernel would answer with a signal that ends it.
fn permitted(end: u64) -> io::Result<()> {
    match getrlimit(Resource::Fsize).current {
        Some(limit) if end > limit => Err(Errno::FBIG.into()),
        _ => Ok(()),
    }
}

fn write_zeros(file: &File, len: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut offset = 0;
    while offset < len {
        let step = zeros.len().min(usize::try_from(len - offset).unwrap_or(usize::MAX));
        file.write_all_at(zeros.get(..step).unwrap_or_default(), offset)?;
        offset += step as u64;
    }
    Ok(())
}

fn failed(what: impl std::fmt::Display, error: &io::Error) -> DiskError {
    let fault = match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => DiskFault::NoSpace,
        Some(Errno::NOENT) => DiskFault::Missing,
        _ => DiskFault::Other,
    };
    DiskError { fault, message: format!("{what}: {error}") }
}

/// What a read says of a failure: a file that is not there is another thing than bytes that do not come.
fn unreadable(file: FileName, offset: u64, error: DiskError) -> DiskError {
    match error.fault {
        DiskFault::Missing => error,
        _ => DiskError { fault: DiskFault::Unreadable { file, offset }, ..error },
    }
}

impl Disk for OsDisk {
    fn list(&self) -> Result<Vec<(FileName, u64)>, DiskError> {
        let mut files = Vec::new();
        for (folder, prefix) in [(self.root.clone(), ""), (self.root.join("log"), "log/")] {
            let read = || -> io::Result<()> {
                for entry in std::fs::read_dir(&folder)? {
                    let entry = entry?;
                    let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                    if let Some(name) = FileName::parse(&name) {
                        files.push((name, entry.metadata()?.len()));
                    }
                }
                Ok(())
            };
            let mut read = read;
            read().map_err(|e| failed(format!("{}: list", folder.display()), &e))?;
        }
        files.sort_unstable();
        Ok(files)
    }

    fn read(&self, file: FileName, offset: u64, buffer: &mut [u8]) -> Result<usize, DiskError> {
        let fail = |e| unreadable(file, offset, failed(format!("{file}: read at {offset}"), &e));
        let handle = self.handle(file).map_err(fail)?;
        let mut done = 0;
        while let Some(rest) = buffer.get_mut(done..).filter(|r| !r.is_empty()) {
            match handle.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(fail(e)),
            }
        }
        Ok(done)
    }

    fn run(&self, op: &DiskOp) -> Result<(), DiskError> {
        self.carry_out(op).map_err(|e| failed(op, &e))
    }

    fn free_space(&self) -> Result<u64, DiskError> {
        match statvfs(&self.root) {
            Ok(stat) => Ok(stat.f_bavail.saturating_mul(stat.f_frsize)),
            Err(errno) => Err(failed("data directory: ask for free space", &errno.into())),
        }
    }

    fn close(&self) {
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).clear();
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl std::fmt::Debug for OsDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OsDisk").field("root", &self.root).finish_non_exhaustive()
    }
}
