//! How the system's allocator keeps memory.
//!
//! glibc keeps an arena for every thread and returns little of what is freed in
//! it. With one arena the gateway stays at about half the memory after a million
//! events (49 against 91 MB) and is as fast: buffers are large and few.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
mod cached;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) use cached::give_back;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[global_allocator]
static ALLOCATOR: cached::Cached = cached::Cached;

/// Keeps one arena. Call it before any thread is started.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[allow(unsafe_code, reason = "no safe interface sets a parameter of the system's allocator")]
pub(crate) fn keep_one_arena() {
    // SAFETY: mallopt takes two numbers and changes a parameter of the allocator;
    // no other thread runs yet.
    let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
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
pub(crate) const fn keep_one_arena() {}

/// Nothing is kept by thread.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
pub(crate) const fn give_back() {}
