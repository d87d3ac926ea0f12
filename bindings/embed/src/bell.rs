//! Something that an event loop can watch.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;

use meshwire::{Error, ErrorKind, Result};

/// Readable while it rings.
#[derive(Debug)]
pub(crate) struct Bell {
    ring: UnixStream,
    watched: UnixStream,
    rings: bool,
}

impl Bell {
    /// # Errors
    /// `INTERNAL`: the system gives no descriptors.
    pub(crate) fn new() -> Result<Self> {
        let pair = || {
            let (ring, watched) = UnixStream::pair()?;
            ring.set_nonblocking(true)?;
            watched.set_nonblocking(true)?;
            std::io::Result::Ok(Self { ring, watched, rings: false })
        };
        pair().map_err(|error| {
            let text = format!("the system gives no descriptor to watch the queue by: {error}");
            Error::of_host(ErrorKind::Internal, "queue", text)
        })
    }

    pub(crate) fn descriptor(&self) -> RawFd {
        self.watched.as_raw_fd()
    }

    /// Rings, or is still.
    pub(crate) fn set(&mut self, rings: bool) {
        if self.rings == rings {
            return;
        }
        self.rings = rings;
        // One byte at most is in it, so that neither has to wait or fails.
        let _ = if rings { self.ring.write(&[1]) } else { self.watched.read(&mut [0]) };
    }
}
