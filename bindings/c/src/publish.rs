//! Publishing: one event and its receipt, many, or begun with its completion in a queue.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Ask, Outcome, Receipt, Result, Room, TimedEvent};

use crate::border::{ROOM, array, done, give_error, invalid, mw_error, number, place, put, quiet, run, text};
use crate::client::{held, mw_client};
use crate::event::{draft, mw_data, mw_publish_opts};
use crate::hooks;
use crate::queue::{begin, mw_operation, mw_queue, with_queue};
use crate::values::{Value, take};

/// A publish that was admitted, and whose receipt is yet to come.
pub struct mw_started {
    _private: (),
}

/// What the events of a batch came to.
pub struct mw_receipts {
    _private: (),
}

/// The gateway's word that an event is kept.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_receipt {
    /// Where it is in its topic; 0: not told, as of an event that is delivered later.
    pub position: u64,
    /// The topic had an event of this source and id, and kept only that.
    pub duplicate: bool,
}

/// One event of a batch.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_event {
    /// Its data.
    pub data: mw_data,
    /// Its attributes; may be NULL.
    pub opts: *const mw_publish_opts,
}

/// What one event of a batch came to.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_result {
    /// MW_OK, or the number of its error.
    pub code: c_int,
    /// Why it failed, the program's to free; else NULL.
    pub error: *mut mw_error,
    /// Where it did not fail.
    pub receipt: mw_receipt,
}

impl From<&Receipt> for mw_receipt {
    fn from(receipt: &Receipt) -> Self {
        Self { position: receipt.position.map_or(0, |position| position.number()), duplicate: receipt.duplicate }
    }
}

impl From<Result<Receipt>> for mw_result {
    fn from(result: Result<Receipt>) -> Self {
        let none = mw_receipt { position: 0, duplicate: false };
        match result {
            Ok(receipt) => Self { code: 0, error: std::ptr::null_mut(), receipt: (&receipt).into() },
            Err(error) => Self { code: number(error.kind()), error: give_error(error), receipt: none },
        }
    }
}

/// The event as the client's hook leaves it.
///
/// # Safety
/// As [`draft`].
unsafe fn event(
    client: &meshwire_embed::Client,
    topic: &str,
    data: mw_data,
    opts: *const mw_publish_opts,
) -> Result<TimedEvent> {
    // SAFETY: as this function's.
    let draft = unsafe { draft(data, opts) }?;
    hooks::published(client, topic, draft)?.finish()
}

/// Publishes an event, and waits until it is kept to the topic's level of durability. `opts` and `receipt` may be NULL. One after the other
/// this takes a round trip each: for many use mw_publish_start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    receipt: *mut mw_receipt,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        let client = held("publish", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: likewise.
        let event = unsafe { event(&client, topic, data, opts) }?;
        let kept = client.publish(topic, event)?;
        if !receipt.is_null() {
            // SAFETY: the program's place for it.
            unsafe { receipt.write((&kept).into()) };
        }
        Ok(())
    })
}

/// Begins to publish an event, and never waits: its completion is MW_RECEIPT. MW_BUFFER_FULL: there is no room in the window of unanswered
/// publishes, or in the queue; take completions and try again. MW_UNSUPPORTED with an offline file, for which mw_publish_admit_start and
/// mw_publish_later are. Those of one thread are published in order.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_start(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    queue: *mut mw_queue,
    tag: u64,
    err: *mut *mut mw_error,
) -> c_int {
    // SAFETY: as this function's.
    unsafe { begin_publish(mesh, topic, (data, opts), Room::Now, (queue, tag), err) }
}

/// As mw_publish_start, but an event for which there is no room in the window waits for it in the library, in order, behind those that do
/// already. Nothing but the queue's size bounds how many: it is for programs that bound it themselves.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_later(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    queue: *mut mw_queue,
    tag: u64,
    err: *mut *mut mw_error,
) -> c_int {
    // SAFETY: as this function's.
    unsafe { begin_publish(mesh, topic, (data, opts), Room::Wait, (queue, tag), err) }
}

/// # Safety
/// As [`draft`].
unsafe fn begin_publish(
    mesh: *mut mw_client,
    topic: *const c_char,
    (data, opts): (mw_data, *const mw_publish_opts),
    room: Room,
    (queue, tag): (*mut mw_queue, u64),
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        let client = held("publish", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: likewise.
        let event = unsafe { event(&client, topic, data, opts) }?;
        with_queue("publish", queue, |queue| client.begin_publish(topic, event, room, queue, tag))
    })
}

/// How many publishes of a client wait for room in its window; 0 of what is no client. Who does not wait itself should stop while there are
/// any.
#[unsafe(no_mangle)]
pub extern "C" fn mw_publish_waiting(mesh: *mut mw_client) -> usize {
    quiet(0, || held("publish", mesh)?.client.waiting_publishes())
}

/// Calls a publish of this queue and tag back that still waits for room: it ends with MW_CANCELLED, and nothing was published. `called_back`
/// (may be NULL) gets whether it did; else it has left, and comes to what it comes to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_cancel(
    mesh: *mut mw_client,
    queue: *mut mw_queue,
    tag: u64,
    called_back: *mut bool,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        let client = held("publish", mesh)?.client;
        let called = with_queue("publish", queue, |queue| client.cancel_publish(queue, tag))?;
        if !called_back.is_null() {
            // SAFETY: the program's place for it.
            unsafe { called_back.write(called) };
        }
        Ok(())
    })
}

/// Begins to publish an event; its completion is MW_STARTED when it is admitted, with an offline file (option offline_file) when it is
/// there. Its receipt comes by mw_started_receipt.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_admit_start(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        let client = held("publish", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: likewise.
        let event = Box::new(unsafe { event(&client, topic, data, opts) }?);
        let ask = Ask::PublishStart { topic: topic.to_owned(), event };
        // SAFETY: the program's place for it.
        unsafe { begin("publish", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}

/// Begins to wait for the receipt of a publish that was admitted, and frees that: its completion is MW_RECEIPT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_started_receipt(
    started: *mut mw_started,
    queue: *mut mw_queue,
    tag: u64,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        // First, so that the receipt is not lost where there is none.
        let place = with_queue("publish", queue, |queue| queue.place(tag, "publish"))?;
        take!(started, "publish", "mw_started", Value::Started(started) => started).begin_receipt_in(place)
    })
}

/// Lets go of a publish, which goes on. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_started_free(started: *mut mw_started) {
    quiet((), || {
        drop(take!(started, "publish", "mw_started", Value::Started(started) => started));
        Ok(())
    });
}

/// # Safety
/// As [`draft`], of `count` events.
unsafe fn batch(
    client: &meshwire_embed::Client,
    topic: &str,
    events: *const mw_event,
    count: usize,
) -> Result<Vec<Result<TimedEvent>>> {
    array::<mw_event>("publish", "count", count)?;
    if count > 0 && events.is_null() {
        return Err(invalid("publish", format!("events is NULL, and has {count}")));
    }
    let mut all = Vec::with_capacity(count.min(ROOM));
    for at in 0..count {
        // SAFETY: the program says that there are so many, and their texts are its own.
        all.push(unsafe {
            let mw_event { data, opts } = events.add(at).read();
            event(client, topic, data, opts)
        });
    }
    Ok(all)
}

/// Publishes many events, and waits for all of them: `results` gets one for each, in order. What is wrong with one is in its result alone;
/// the call fails only where it cannot be made.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_batch(
    mesh: *mut mw_client,
    topic: *const c_char,
    events: *const mw_event,
    count: usize,
    results: *mut mw_result,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        array::<mw_result>("publish", "count", count)?;
        if count > 0 {
            place("publish", "results", results)?;
        }
        let client = held("publish", mesh)?.client;
        // SAFETY: texts of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: events of the program's.
        let events = unsafe { batch(&client, topic, events, count) }?;
        let ask = Ask::PublishBatch { topic: topic.to_owned(), events };
        let Outcome::Receipts(receipts) = client.wait(ask)? else {
            return Err(invalid("publish", "the client answered with something else"));
        };
        for (at, receipt) in receipts.into_iter().enumerate() {
            // SAFETY: the program has places for `count`.
            unsafe { results.add(at).write(receipt.into()) };
        }
        Ok(())
    })
}

/// Begins to publish many events: its completion is MW_RECEIPTS, with one for each, in order. What is wrong with one is in its
/// result alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_batch_start(
    mesh: *mut mw_client,
    topic: *const c_char,
    events: *const mw_event,
    count: usize,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        let client = held("publish", mesh)?.client;
        // SAFETY: texts of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: events of the program's.
        let events = unsafe { batch(&client, topic, events, count) }?;
        let ask = Ask::PublishBatch { topic: topic.to_owned(), events };
        // SAFETY: the program's place for it.
        unsafe { begin("publish", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}

/// Moves the results of a batch into `results`, which has room for `most`, and frees it; `n` gets how many. Those beyond are dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_receipts_take(
    receipts: *mut mw_receipts,
    results: *mut mw_result,
    most: usize,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    run("publish", err, || {
        array::<mw_result>("publish", "most", most)?;
        if most > 0 {
            place("publish", "results", results)?;
        }
        place("publish", "n", n)?;
        let all = take!(receipts, "publish", "mw_receipts", Value::Receipts(all) => all);
        let mut count = 0;
        for receipt in all.into_iter().take(most) {
            // SAFETY: the program has places for `most`.
            unsafe { results.add(count).write(receipt.into()) };
            count += 1;
        }
        // SAFETY: the program's place for it.
        unsafe { put("publish", "n", n, count) }?;
        Ok(0)
    })
}

/// Frees the results of a batch. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_receipts_free(receipts: *mut mw_receipts) {
    quiet((), || {
        drop(take!(receipts, "publish", "mw_receipts", Value::Receipts(all) => all));
        Ok(())
    });
}
