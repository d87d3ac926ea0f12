//! Which process something belongs to: a child of `fork` has its memory, and none of the threads that work on it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Once, OnceLock};

use meshwire::{Error, ErrorKind, Result};

/// The process that made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

/// This process's number; 0 before it was asked for. The system is not asked each time: every call looks at it.
static HERE: AtomicU32 = AtomicU32::new(0);

/// Learns this process's number, and has a child of it learn its own.
#[cold]
fn learn() -> u32 {
    static WATCH: Once = Once::new();
    WATCH.call_once(watch_forks);
    note_number();
    HERE.load(Ordering::Relaxed)
}

extern "C" fn note_number() {
    HERE.store(std::process::id(), Ordering::Relaxed);
}

#[cfg(unix)]
#[allow(unsafe_code, reason = "there is no safe way to hear of a fork")]
fn watch_forks() {
    // SAFETY: the handler stores a number, which may be done between fork and exec, and is there as long as the process: this library is
    // never unloaded.
    unsafe { libc::pthread_atfork(None, None, Some(note_number)) };
}

#[cfg(not(unix))]
fn watch_forks() {}

impl Stamp {
    pub(crate) fn here() -> Self {
        match HERE.load(Ordering::Relaxed) {
            0 => Self(learn()),
            number => Self(number),
        }
    }

    pub(crate) fn is_here(self) -> bool {
        self == Self::here()
    }

    /// Whether it may be touched.
    ///
    /// # Errors
    /// `CLOSED`: this is another process.
    pub(crate) fn check(self, operation: &'static str) -> Result<()> {
        let here = Self::here();
        if self == here {
            return Ok(());
        }
        let (made, here) = (self.0, here.0);
        let text =
            format!("this was made by process {made}, before the fork of this one, {here}: connect a new client here");
        Err(Error::of_host(ErrorKind::Closed, operation, text))
    }
}

/// Something that each process has one of.
#[derive(Debug)]
pub struct PerProcess<T>(OnceLock<Own<T>>);

#[derive(Debug)]
struct Own<T> {
    stamp: Stamp,
    value: T,
    /// That of a child. Its parent's locks may be held for ever there: the thread that had them is gone.
    child: OnceLock<Box<Self>>,
}

impl<T> PerProcess<T> {
    /// Nothing is made yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// That of this process, made by `make` if need be: of how many forks it is away from the first process that had one.
    pub fn here(&self, make: impl Fn(u32) -> T) -> &T {
        let stamp = Stamp::here();
        let own = |depth| Own { stamp, value: make(depth), child: OnceLock::new() };
        let mut place = self.0.get_or_init(|| own(0));
        let mut depth = 0;
        while place.stamp != stamp {
            depth += 1;
            place = place.child.get_or_init(|| Box::new(own(depth)));
        }
        &place.value
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}
