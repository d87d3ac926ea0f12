//! Signals are the host's: none of its handlers is to run on a thread of ours, and none of our writes is to end it.

/// On a thread of ours: leaves signals to threads of the host. A write to a connection that is gone would else end a program that does not
/// ignore `SIGPIPE`, as those in C do not.
#[cfg(unix)]
#[allow(unsafe_code, reason = "there is no safe way to block signals")]
pub(crate) fn leave_to_the_host() {
    use std::mem::MaybeUninit;

    /// What a thread does to itself cannot wait.
    const OWN: [libc::c_int; 6] =
        [libc::SIGABRT, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV, libc::SIGTRAP];

    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: the set is filled before it is used, and is this function's own.
    unsafe {
        libc::sigfillset(set.as_mut_ptr());
        for signal in OWN {
            libc::sigdelset(set.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
    }
}

#[cfg(not(unix))]
pub(crate) fn leave_to_the_host() {}
