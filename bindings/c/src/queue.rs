//! Calls that are begun, and the queue that their completions wait in.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshwire_embed::{Completion, Operation, Queue, Result};

use crate::border::{array, done, invalid, millis, mw_error, place, put, quiet, run};
use crate::completion::{fill, mw_completion};
use crate::values::{Value, give, look, take};

/// A queue of completions, for calls that are begun and not waited for. Any thread may use it; one takes from it as a rule.
pub struct mw_queue {
    _private: (),
}

/// A call that was begun. Free it with mw_operation_free, or cancel it with mw_cancel.
pub struct mw_operation {
    _private: (),
}

/// A function that gets one completion; see mw_callback_tag.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_callback {
    /// What `call` and `drop` get first.
    pub ctx: *mut c_void,
    /// Gets the completion, on the thread that calls mw_dispatch. What is in it is the function's from then on.
    pub call: Option<unsafe extern "C" fn(ctx: *mut c_void, completion: *const mw_completion)>,
    /// Is called exactly once, when it is not needed any more; may be NULL.
    pub drop: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
}

/// A callback that waits for its completion; dropped, its `drop` is called.
#[derive(Debug)]
struct Waiting(mw_callback);

// SAFETY: the program says that it may be called on the thread that calls mw_dispatch.
unsafe impl Send for Waiting {}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            // SAFETY: the program's function for it, once.
            unsafe { drop(self.0.ctx) };
        }
    }
}

/// A queue, and the callbacks of calls in it.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) queue: Queue,
    callbacks: Mutex<Callbacks>,
}

#[derive(Debug, Default)]
struct Callbacks {
    waiting: HashMap<u64, Waiting>,
    given: u64,
}

/// Tags of callbacks begin here; the program's own should not.
const CALLBACKS: u64 = 1 << 63;

impl Pump {
    fn callbacks(&self) -> MutexGuard<'_, Callbacks> {
        self.callbacks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn pump(operation: &'static str, queue: *const mw_queue) -> Result<Arc<Pump>> {
    look!(queue, operation, "mw_queue", Value::Queue(pump) => Arc::clone(pump))
}

/// Begins a call, and gives it to the program, if that wants it.
///
/// # Safety
/// `place` is NULL, or a pointer may be put there.
pub(crate) unsafe fn begin(
    operation: &'static str,
    queue: *mut mw_queue,
    _tag: u64,
    place: *mut *mut mw_operation,
    call: impl FnOnce(&Queue) -> Result<Operation>,
) -> Result<()> {
    let begun = call(&pump(operation, queue)?.queue)?;
    if !place.is_null() {
        // SAFETY: as this function's.
        unsafe { put(operation, "operation", place, give(Value::Operation(begun))?) }?;
    }
    Ok(())
}

/// Begins a call that cannot be cancelled.
pub(crate) fn with_queue<T>(
    operation: &'static str,
    queue: *mut mw_queue,
    call: impl FnOnce(&Queue) -> Result<T>,
) -> Result<T> {
    call(&pump(operation, queue)?.queue)
}

/// A queue for so many calls at once, from 1 to 1,048,576: those that were begun and whose completion was not taken. Free it with
/// mw_queue_free. NULL: not so many.
#[unsafe(no_mangle)]
pub extern "C" fn mw_queue_new(most: usize) -> *mut mw_queue {
    quiet(std::ptr::null_mut(), || {
        let pump = Pump { queue: Queue::new(most)?, callbacks: Mutex::default() };
        give(Value::Queue(Arc::new(pump)))
    })
}

/// Waits until there are completions, for at most `timeout_ms` (MW_FOREVER: as long as it takes; 0: not at all), and puts up to `most` of
/// them into `completions`, their number into `n`. None when the time has passed, or the queue was woken. What is in a completion is the
/// program's to free. MW_ENDED: the queue is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_queue_take(
    queue: *mut mw_queue,
    completions: *mut mw_completion,
    most: usize,
    timeout_ms: i64,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    run("queue", err, || {
        place("queue", "n", n)?;
        // SAFETY: the program's place for it.
        unsafe { n.write(0) };
        array::<mw_completion>("queue", "most", most)?;
        if completions.is_null() && most > 0 {
            return Err(invalid("queue", "completions is NULL"));
        }
        let mut taken = Vec::new();
        let open = pump("queue", queue)?.queue.take(most, millis(timeout_ms), &mut taken)?;
        let count = taken.len();
        for (at, completion) in taken.into_iter().enumerate() {
            // SAFETY: the program has places for `most`.
            unsafe { completions.add(at).write(fill(completion)) };
        }
        // SAFETY: as above.
        unsafe { n.write(count) };
        Ok(if open || count > 0 { 0 } else { crate::subscription::MW_ENDED })
    })
}

/// Makes a tag for one call that is begun: its completion goes to the callback, when mw_dispatch takes it. If the call is not begun after
/// all, give the tag back with mw_callback_forget. 0: there is no such queue, or no function; `drop` was called.
#[unsafe(no_mangle)]
pub extern "C" fn mw_callback_tag(queue: *mut mw_queue, callback: mw_callback) -> u64 {
    let waiting = Waiting(callback);
    quiet(0, || {
        if waiting.0.call.is_none() {
            return Err(invalid("queue", "the callback has no function"));
        }
        let pump = pump("queue", queue)?;
        let mut callbacks = pump.callbacks();
        callbacks.given += 1;
        let tag = CALLBACKS | callbacks.given;
        callbacks.waiting.insert(tag, waiting);
        Ok(tag)
    })
}

/// Lets go of a callback whose call was not begun.
#[unsafe(no_mangle)]
pub extern "C" fn mw_callback_forget(queue: *mut mw_queue, tag: u64) {
    quiet((), || {
        let waiting = pump("queue", queue)?.callbacks().waiting.remove(&tag);
        drop(waiting);
        Ok(())
    });
}

/// Takes up to `most` completions as mw_queue_take does, and calls the callbacks of their tags on this thread, one after the other; `n`
/// (may be NULL) gets how many. Those with a tag of the program's own are freed unread. MW_ENDED: the queue is closed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_dispatch(
    queue: *mut mw_queue,
    most: usize,
    timeout_ms: i64,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    run("queue", err, || {
        let pump = pump("queue", queue)?;
        let mut taken = Vec::new();
        let open = pump.queue.take(most, millis(timeout_ms), &mut taken)?;
        let count = taken.len();
        for completion in taken {
            call(&pump, completion);
        }
        if !n.is_null() {
            // SAFETY: the program's place for it.
            unsafe { n.write(count) };
        }
        Ok(if open || count > 0 { 0 } else { crate::subscription::MW_ENDED })
    })
}

fn call(pump: &Pump, completion: Completion) {
    let waiting = pump.callbacks().waiting.remove(&completion.tag);
    if let Some(waiting) = waiting
        && let Some(function) = waiting.0.call
    {
        let completion = fill(completion);
        // SAFETY: the program's function for it, with the context that it said; no lock is held.
        unsafe { function(waiting.0.ctx, &raw const completion) };
    }
}

/// Ends a mw_queue_take or mw_dispatch that waits, or the next one.
#[unsafe(no_mangle)]
pub extern "C" fn mw_queue_wake(queue: *mut mw_queue) {
    quiet((), || {
        pump("queue", queue)?.queue.wake();
        Ok(())
    });
}

/// A descriptor that is readable while there is something to take: for epoll, libuv, GLib. It lives as long as the queue; do not read from
/// it, and do not close it. -1: there is none.
#[unsafe(no_mangle)]
pub extern "C" fn mw_queue_fd(queue: *mut mw_queue) -> c_int {
    #[cfg(unix)]
    return quiet(-1, || pump("queue", queue)?.queue.descriptor());
    #[cfg(not(unix))]
    return quiet(-1, || pump("queue", queue).map(|_| -1));
}

/// Closes a queue and frees it: whoever waits is told, and what was not taken, or comes to something later, is dropped. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_queue_free(queue: *mut mw_queue) {
    quiet((), || {
        let pump = take!(queue, "queue", "mw_queue", Value::Queue(pump) => pump);
        pump.queue.close();
        let waiting = std::mem::take(&mut pump.callbacks().waiting);
        // Not under the lock: they are functions of the program.
        drop(waiting);
        Ok(())
    });
}

/// Ends a call with MW_CANCELLED, unless it has come to something already, and frees it: either way there is one completion. What the
/// client had taken goes on, and the error then says that its outcome is not known. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_cancel(operation: *mut mw_operation, err: *mut *mut mw_error) -> c_int {
    done("cancel", err, || {
        if !operation.is_null() {
            take!(operation, "cancel", "mw_operation", Value::Operation(operation) => operation).cancel();
        }
        Ok(())
    })
}

/// Frees a call, which goes on. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_operation_free(operation: *mut mw_operation) {
    quiet((), || {
        drop(take!(operation, "cancel", "mw_operation", Value::Operation(operation) => operation));
        Ok(())
    });
}
