//! Which process something belongs to: a child of `fork` has its memory, and none of the threads that work on it.

use std::sync::{Mutex, OnceLock};

use meshwire::{Error, ErrorKind, Result};

use crate::runtime::Counted;

/// The process that made something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    pub(crate) fn here() -> Self {
        Self(std::process::id())
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

/// What the clients of one process share.
#[derive(Debug)]
pub(crate) struct Process {
    stamp: Stamp,
    pub(crate) runtime: Mutex<Counted>,
    /// That of a child. Its parent's locks may be held for ever there: the thread that had them is gone.
    child: OnceLock<Box<Self>>,
}

static FIRST: OnceLock<Process> = OnceLock::new();

impl Process {
    fn new(stamp: Stamp) -> Self {
        Self { stamp, runtime: Mutex::default(), child: OnceLock::new() }
    }

    /// This one.
    pub(crate) fn here() -> &'static Self {
        let here = Stamp::here();
        let mut process = FIRST.get_or_init(|| Self::new(here));
        while process.stamp != here {
            process = process.child.get_or_init(|| Box::new(Self::new(here)));
        }
        process
    }
}
