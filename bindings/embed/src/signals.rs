//! Signals, which are the host's.

/// Begins threads of ours to which no signal comes, from their first moment on: handlers are code of the host, and SIGPIPE, for a connection
/// whose gateway is gone, ends a program that does not expect it. What is written there fails instead.
pub(crate) fn apart<T>(begin: impl FnOnce() -> T) -> T {
    // A thread has the mask of the one that begins it.
    let _masked = Masked(mask());
    begin()
}

/// The same for this thread, which another began.
pub(crate) fn leave_alone() {
    mask();
}

/// Signals come to this thread no more, but for those that say that it has failed. Gives what it had before.
#[cfg(unix)]
#[allow(unsafe_code, reason = "there is no safe way to mask signals of a thread")]
fn mask() -> libc::sigset_t {
    // SAFETY: the sets are filled before they are used, and the mask is this thread's alone.
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        for fault in
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS]
        {
            libc::sigdelset(&raw mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, &raw mut before);
        before
    }
}

/// Dropped, signals come to this thread as before.
#[cfg(unix)]
struct Masked(libc::sigset_t);

#[cfg(unix)]
impl Drop for Masked {
    #[allow(unsafe_code, reason = "there is no safe way to mask signals of a thread")]
    fn drop(&mut self) {
        // SAFETY: the set is what this thread had.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut()) };
    }
}

#[cfg(not(unix))]
fn mask() {}

#[cfg(not(unix))]
struct Masked(#[allow(dead_code, reason = "there is nothing to bring back")] ());

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[allow(unsafe_code, reason = "there is no safe way to ask for the mask of a thread")]
    fn is_masked() -> bool {
        // SAFETY: the set is filled before it is read.
        unsafe {
            let mut now = std::mem::zeroed();
            libc::pthread_sigmask(libc::SIG_BLOCK, std::ptr::null(), &raw mut now);
            libc::sigismember(&raw const now, libc::SIGPIPE) == 1
        }
    }

    #[test]
    fn a_thread_that_is_begun_apart_is_masked_from_its_first_moment_and_the_one_that_begins_it_is_not() {
        let begun = apart(|| std::thread::spawn(is_masked));
        assert!(!is_masked());
        assert!(matches!(begun.join(), Ok(true)));
        assert!(matches!(std::thread::spawn(is_masked).join(), Ok(false)));
    }
}
