//! Signals, which are the host's.

/// Has no signal come to this thread of ours, whose handlers are code of the host: also not SIGPIPE, which ends a program that does not
/// expect it, for a connection whose gateway is gone. What is written there fails instead.
#[cfg(unix)]
#[allow(unsafe_code, reason = "there is no safe way to mask signals of a thread")]
pub(crate) fn leave_alone() {
    // SAFETY: the set is filled before it is used, and the mask is this thread's alone.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&raw mut all);
        for fault in
            [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGABRT, libc::SIGTRAP, libc::SIGSYS]
        {
            libc::sigdelset(&raw mut all, fault);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
    }
}

#[cfg(not(unix))]
pub(crate) fn leave_alone() {}
