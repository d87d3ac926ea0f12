//! How the system's allocator keeps memory.
//!
//! glibc keeps an arena for every thread and returns little of what is freed in
//! it: 91 MB after a million events. With one arena it is 55 MB, but threads that ask for large blocks wait for one another: batches by
//! HTTP cost a fifth more time. With two it is 62 MB, and they do not.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
mod cached;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use cached::give_back;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: cached::Cached = cached::Cached;

/// How many.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS: libc::c_int = 2;

/// Keeps two arenas. Call it before any thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "no safe interface sets a parameter of the system's allocator")]
pub(crate) fn keep_few_arenas() {
    // SAFETY: mallopt takes two numbers and changes a parameter of the allocator;
    // no other thread runs yet.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) };
    debug_assert_eq!(set, 1, "glibc knows M_ARENA_MAX");
}

/// Gives what is free back to the system. It takes some milliseconds, for which others that ask for memory wait.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "no safe interface does it")]
pub(crate) fn trim() {
    // SAFETY: it may be called at any time, from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn trim() {}

/// Other allocators are left as they are.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn keep_few_arenas() {}

/// Nothing is kept by thread.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn give_back() {}
