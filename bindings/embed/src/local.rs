//! Something of this process, and of no child of it.

use meshwire::Result;

use crate::process::Stamp;

/// In a child of `fork` it is neither used nor dropped: whoever held its locks is not there.
#[derive(Debug)]
pub(crate) struct Local<T> {
    stamp: Stamp,
    /// `None` only while it is dropped.
    value: Option<T>,
}

impl<T> Local<T> {
    pub(crate) fn new(value: T) -> Self {
        Self { stamp: Stamp::here(), value: Some(value) }
    }

    /// It, for the call of that name.
    ///
    /// # Errors
    /// `CLOSED`: this is another process.
    pub(crate) fn get(&self, operation: &'static str) -> Result<&T> {
        self.stamp.check(operation)?;
        self.value.as_ref().ok_or_else(|| gone(operation))
    }

    /// It, to change.
    ///
    /// # Errors
    /// As [`Local::get`].
    pub(crate) fn get_mut(&mut self, operation: &'static str) -> Result<&mut T> {
        self.stamp.check(operation)?;
        self.value.as_mut().ok_or_else(|| gone(operation))
    }

    /// It, for good.
    ///
    /// # Errors
    /// As [`Local::get`].
    pub(crate) fn into_value(mut self, operation: &'static str) -> Result<T> {
        self.stamp.check(operation)?;
        self.value.take().ok_or_else(|| gone(operation))
    }
}

fn gone(operation: &'static str) -> meshwire::Error {
    meshwire::Error::of_host(meshwire::ErrorKind::Internal, operation, "a value was used behind its end")
}

impl<T> Drop for Local<T> {
    fn drop(&mut self) {
        if !self.stamp.is_here()
            && let Some(value) = self.value.take()
        {
            let _: &mut T = Box::leak(Box::new(value));
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    #![allow(unsafe_code, clippy::unwrap_used, reason = "there is no safe fork; tests fail by panicking")]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// Counts how often it was dropped in this process.
    struct Counts<'a>(&'a AtomicU32);

    impl Drop for Counts<'_> {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Runs `inside` in a child; whether it said yes there.
    fn in_child(inside: impl FnOnce() -> bool) -> bool {
        // SAFETY: the child runs `inside`, which takes no lock, and leaves by `_exit`.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            // SAFETY: it ends the child, and nothing of the parent's is run.
            unsafe { libc::_exit(i32::from(!inside())) };
        }
        let mut status = 0;
        // SAFETY: the child is ours, and the place for its status is here.
        let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
        pid > 0 && waited == pid && libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
    }

    #[test]
    fn in_a_child_what_the_parent_made_is_never_dropped_nor_given_and_in_the_parent_it_is() {
        let dropped = AtomicU32::new(0);
        let local = || Local::new(Counts(&dropped));
        let mut all = Some((local(), Arc::new(local()), local()));
        assert!(in_child(|| {
            let Some((alone, shared, taken)) = all.take() else { return false };
            let closed = shared.get("publish").is_err() && taken.into_value("publish").is_err();
            drop((alone, shared));
            let of_the_parent = dropped.load(Ordering::Relaxed);
            drop(local());
            closed && of_the_parent == 0 && dropped.load(Ordering::Relaxed) == 1
        }));
        let (alone, shared, taken) = all.unwrap();
        drop((alone, shared));
        assert_eq!(dropped.load(Ordering::Relaxed), 2);
        drop(taken.into_value("publish").unwrap());
        assert_eq!(dropped.load(Ordering::Relaxed), 3);
    }
}
