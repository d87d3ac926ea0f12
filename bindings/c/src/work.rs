//! Work for handlers, asked for in batches: events to consume, requests to serve.

use std::ffi::{c_char, c_int, c_void};
use std::sync::PoisonError;

use meshwire_embed::{Consumer, Handled, Job, Outcome, Responder, Result, Stopper};

use crate::border::{
    array, check_size, done, invalid, millis, mw_error, mw_text, optional, place, put, quiet, reason, run, text,
};
use crate::client::{held, mw_client};
use crate::delivery::give_attribute;
use crate::hooks::{self, mw_settle_kind};
use crate::message::{Message, NEW_MESSAGE, attribute, mw_message, nth};
use crate::pieces::{Piece, hand, mw_work, pieces_of};
use crate::queue::{begin, mw_operation, mw_queue};
use crate::subscription::MW_ENDED;
use crate::values::{Held, Value, give, look, take, values};

/// A consume that runs, and whose events are asked for. Ended by mw_consumer_stop, freed by mw_consumer_free.
pub struct mw_consumer {
    _private: (),
}

/// A serve that runs, and whose requests are asked for. Ended by mw_responder_stop, freed by mw_responder_free.
pub struct mw_responder {
    _private: (),
}

/// One event for a handler. Ended by mw_job_end, which frees it.
pub struct mw_job {
    _private: (),
}

/// One request for a handler. Ended by mw_request_end or mw_request_fail, which free it.
pub struct mw_request {
    _private: (),
}

/// Work in a completion. Take it with mw_works_take, or free it: then its handlers have failed.
pub struct mw_works {
    _private: (),
}

/// How a handler ended.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_handled {
    /// The event is done.
    MW_HANDLED = 0,
    /// It failed, with a text why: the event comes again as the group's settings say.
    MW_HANDLER_FAILED = 1,
    /// The event is to come again after `delay_ms`.
    MW_HANDLE_AGAIN = 2,
    /// It is never to come again: a dead letter, with a text why.
    MW_HANDLE_NEVER = 3,
}

/// # Safety
/// The texts are the program's.
pub(crate) unsafe fn consumer(mesh: *mut mw_client, topic: *const c_char, options: *const c_char) -> Result<Consumer> {
    let held = held("consume", mesh)?;
    // SAFETY: as this function's.
    let (topic, options) = unsafe { (text("consume", "topic", topic)?, optional("consume", "options", options)?) };
    let consumer = held.client.consume(topic, &options.unwrap_or_default().parse()?)?;
    note(&held, consumer.stopper())?;
    Ok(consumer)
}

/// # Safety
/// The texts are the program's.
pub(crate) unsafe fn responder(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
) -> Result<Responder> {
    let held = held("serve", mesh)?;
    // SAFETY: as this function's.
    let (topic, options) = unsafe { (text("serve", "topic", topic)?, optional("serve", "options", options)?) };
    let responder = held.client.serve(topic, &options.unwrap_or_default().parse()?)?;
    note(&held, responder.stopper())?;
    Ok(responder)
}

/// For mw_stop.
fn note(held: &Held, stopper: Stopper) -> Result<()> {
    held.running.lock().unwrap_or_else(PoisonError::into_inner).note(stopper)
}

/// Begins to consume a topic; `options` as "group=billing; handler_concurrency=8", may be NULL. Its events are asked for with
/// mw_consumer_next, which tells how it went, too.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_consumer_new(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
    made: *mut *mut mw_consumer,
    err: *mut *mut mw_error,
) -> c_int {
    done("consume", err, || {
        place("consume", "made", made)?;
        // SAFETY: texts of the program's.
        let consumer = unsafe { consumer(mesh, topic, options) }?;
        // SAFETY: the program's place for it.
        unsafe { put("consume", "made", made, give(Value::Consumer(consumer))?) }
    })
}

/// Begins to serve a topic, likewise.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_responder_new(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
    made: *mut *mut mw_responder,
    err: *mut *mut mw_error,
) -> c_int {
    done("serve", err, || {
        place("serve", "made", made)?;
        // SAFETY: texts of the program's.
        let responder = unsafe { responder(mesh, topic, options) }?;
        // SAFETY: the program's place for it.
        unsafe { put("serve", "made", made, give(Value::Responder(responder))?) }
    })
}

/// A handler has ended.
pub(crate) fn end(job: Job, handled: Handled) -> Result<()> {
    let settled = match &handled {
        Handled::Done => mw_settle_kind::MW_ACK,
        Handled::Failed(_) | Handled::NackAfter(_) => mw_settle_kind::MW_NACK,
        Handled::Reject(_) => mw_settle_kind::MW_REJECT,
    };
    hooks::settled(job.client(), Message::Job(&job), settled);
    job.end(handled)
}

fn the_consumer(consumer: *const mw_consumer) -> Result<Consumer> {
    look!(consumer, "consume", "mw_consumer", Value::Consumer(consumer) => consumer.clone())
}

fn the_responder(responder: *const mw_responder) -> Result<Responder> {
    look!(responder, "serve", "mw_responder", Value::Responder(responder) => responder.clone())
}

/// # Safety
/// The places are the program's, `works` has room for what was asked for.
unsafe fn next(
    operation: &'static str,
    works: *mut mw_work,
    n: *mut usize,
    outcome: impl FnOnce() -> Result<Outcome>,
) -> Result<c_int> {
    place(operation, "n", n)?;
    place(operation, "works", works)?;
    // SAFETY: as this function's.
    unsafe { n.write(0) };
    let Some(all) = pieces_of(outcome()?) else { return Ok(MW_ENDED) };
    // SAFETY: likewise.
    unsafe { n.write(hand(all, works)?) };
    Ok(0)
}

/// Waits for work as mw_next does for deliveries. MW_ENDED: it was stopped, and all handlers have ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_consumer_next(
    consumer: *mut mw_consumer,
    works: *mut mw_work,
    most: usize,
    timeout_ms: i64,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    // SAFETY: the program's places.
    run("consume", err, || unsafe {
        next("consume", works, n, || the_consumer(consumer)?.next_batch(most, millis(timeout_ms)))
    })
}

/// Waits for work as mw_consumer_next does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_responder_next(
    responder: *mut mw_responder,
    works: *mut mw_work,
    most: usize,
    timeout_ms: i64,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    // SAFETY: the program's places.
    run("serve", err, || unsafe {
        next("serve", works, n, || the_responder(responder)?.next_batch(most, millis(timeout_ms)))
    })
}

/// Begins the same: its completion is MW_WORKS, or MW_OVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_consumer_next_start(
    consumer: *mut mw_consumer,
    most: usize,
    timeout_ms: i64,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("consume", err, || {
        let consumer = the_consumer(consumer)?;
        let wait = millis(timeout_ms);
        // SAFETY: the program's place for it.
        unsafe { begin("consume", queue, tag, operation, |queue| consumer.begin_next(most, wait, queue, tag)) }
    })
}

/// Begins the same: its completion is MW_WORKS, or MW_OVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_responder_next_start(
    responder: *mut mw_responder,
    most: usize,
    timeout_ms: i64,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("serve", err, || {
        let responder = the_responder(responder)?;
        let wait = millis(timeout_ms);
        // SAFETY: the program's place for it.
        unsafe { begin("serve", queue, tag, operation, |queue| responder.begin_next(most, wait, queue, tag)) }
    })
}

/// Moves the work of a completion into `works`, which has room for `most`, and frees it; `n` gets how many. Handlers of those beyond have
/// failed.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_works_take(
    batch: *mut mw_works,
    works: *mut mw_work,
    most: usize,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    done("consume", err, || {
        place("consume", "n", n)?;
        place("consume", "works", works)?;
        array::<mw_work>("consume", "most", most)?;
        let mut all: Vec<Piece> = take!(batch, "consume", "mw_works", Value::Works(all) => all);
        all.truncate(most);
        // SAFETY: the program has places for `most`.
        let count = unsafe { hand(all, works) }?;
        // SAFETY: the program's place for it.
        unsafe { put("consume", "n", n, count) }
    })
}

/// Frees work in a completion: its handlers have failed. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_works_free(batch: *mut mw_works) {
    quiet((), || {
        drop(take!(batch, "consume", "mw_works", Value::Works(all) => all));
        Ok(())
    });
}

/// Takes no more events; handlers that have begun may end, the rest is given back, and then mw_consumer_next gives MW_ENDED.
#[unsafe(no_mangle)]
pub extern "C" fn mw_consumer_stop(consumer: *mut mw_consumer) -> c_int {
    done("consume", std::ptr::null_mut(), || the_consumer(consumer)?.stop())
}

/// Takes no more requests; handlers that have begun may end, and then mw_responder_next gives MW_ENDED.
#[unsafe(no_mangle)]
pub extern "C" fn mw_responder_stop(responder: *mut mw_responder) -> c_int {
    done("serve", std::ptr::null_mut(), || the_responder(responder)?.stop())
}

/// Stops and frees a consume. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_consumer_free(consumer: *mut mw_consumer) {
    quiet((), || take!(consumer, "consume", "mw_consumer", Value::Consumer(consumer) => consumer).stop());
}

/// Stops and frees a serve. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_responder_free(responder: *mut mw_responder) {
    quiet((), || take!(responder, "serve", "mw_responder", Value::Responder(responder) => responder).stop());
}

/// # Safety
/// `message` has its size set.
unsafe fn read(
    pointer: *const c_void,
    message: *mut mw_message,
    of: impl for<'a> FnOnce(&'a Value) -> Option<Message<'a>>,
) -> Result<()> {
    place("read", "message", message)?;
    // SAFETY: its first field is its size.
    let size = unsafe { message.cast::<usize>().read() };
    check_size::<mw_message>("read", size, NEW_MESSAGE)?;
    let read = values().with(pointer.addr(), "read", |value| match of(value) {
        Some(message) => Ok(mw_message::of(message)),
        None => Err(invalid("read", "a pointer to something else was passed")),
    })??;
    // SAFETY: the program's place, of this size.
    unsafe { read.put(message, size) };
    Ok(())
}

fn job(value: &Value) -> Option<Message<'_>> {
    if let Value::Job(job) = value { Some(Message::Job(job)) } else { None }
}

fn inquiry(value: &Value) -> Option<Message<'_>> {
    if let Value::Inquiry(inquiry) = value { Some(Message::Request(inquiry)) } else { None }
}

fn with_event<R>(
    pointer: *const c_void,
    of: impl for<'a> FnOnce(&'a Value) -> Option<Message<'a>>,
    then: impl FnOnce(&meshwire_embed::EventView<'_>) -> Result<R>,
) -> Result<R> {
    values().with(pointer.addr(), "read", |value| match of(value) {
        Some(message) => then(&message.event()),
        None => Err(invalid("read", "a pointer to something else was passed")),
    })?
}

/// Reads a job into `message`, whose size is set. What it shows lives until the job has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_job_read(of: *const mw_job, message: *mut mw_message, err: *mut *mut mw_error) -> c_int {
    // SAFETY: the program's place.
    done("read", err, || unsafe { read(of.cast(), message, job) })
}

/// Reads a request into `message`, whose size is set. What it shows lives until the request has ended.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_read(
    of: *const mw_request,
    message: *mut mw_message,
    err: *mut *mut mw_error,
) -> c_int {
    // SAFETY: the program's place.
    done("read", err, || unsafe { read(of.cast(), message, inquiry) })
}

/// Whether an event is wanted no more by the handler that has it, as its lease is gone: the handler should stop, and what it still says is not
/// heard. From any thread; true of what is no mw_job, as one that has ended.
#[unsafe(no_mangle)]
pub extern "C" fn mw_job_lost(of: *const mw_job) -> bool {
    quiet(true, || look!(of, "consume", "mw_job", Value::Job(job) => job.is_lost()))
}

/// Whether a request is wanted no more, as its requester is gone or waits no longer; otherwise as mw_job_lost.
#[unsafe(no_mangle)]
pub extern "C" fn mw_request_lost(of: *const mw_request) -> bool {
    quiet(true, || look!(of, "serve", "mw_request", Value::Inquiry(inquiry) => inquiry.is_lost()))
}

/// As mw_delivery_attribute, of a job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_job_attribute(
    of: *const mw_job,
    name: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> i64 {
    // SAFETY: the program's text and buffer.
    quiet(-1, || with_event(of.cast(), job, |event| unsafe { attribute(event, name, buffer, size) }))
}

/// As mw_delivery_attribute, of a request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_attribute(
    of: *const mw_request,
    name: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> i64 {
    // SAFETY: the program's text and buffer.
    quiet(-1, || with_event(of.cast(), inquiry, |event| unsafe { attribute(event, name, buffer, size) }))
}

/// As mw_delivery_attribute_at, of a job.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_job_attribute_at(
    of: *const mw_job,
    index: usize,
    name: *mut *mut mw_text,
    value: *mut *mut mw_text,
) -> bool {
    // SAFETY: the program's places.
    quiet(false, || unsafe { give_attribute(with_event(of.cast(), job, |event| Ok(nth(event, index)))?, name, value) })
}

/// As mw_delivery_attribute_at, of a request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_attribute_at(
    of: *const mw_request,
    index: usize,
    name: *mut *mut mw_text,
    value: *mut *mut mw_text,
) -> bool {
    quiet(false, || {
        let found = with_event(of.cast(), inquiry, |event| Ok(nth(event, index)))?;
        // SAFETY: the program's places.
        unsafe { give_attribute(found, name, value) }
    })
}

/// The handler of a job has ended, with one of mw_handled: frees the job. `why` may be NULL; what is not UTF-8 in it
/// is replaced.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_job_end(
    of: *mut mw_job,
    how: c_int,
    delay_ms: i64,
    why: *const c_char,
    err: *mut *mut mw_error,
) -> c_int {
    done("consume", err, || {
        // SAFETY: a text of the program's.
        let why = unsafe { reason(why) };
        let handled = match how {
            0 => Handled::Done,
            1 => Handled::Failed(why.unwrap_or_else(|| "the handler failed".to_owned())),
            2 => Handled::NackAfter(millis(delay_ms).unwrap_or_default()),
            3 => Handled::Reject(why.unwrap_or_default()),
            other => return Err(invalid("consume", format!("{other} is no mw_handled"))),
        };
        let job = take!(of, "consume", "mw_job", Value::Job(job) => job);
        end(job, handled)
    })
}
