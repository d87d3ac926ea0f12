//! Handlers that the library calls on the thread that calls it.

use std::cell::Cell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::PoisonError;

use meshwire_embed::{Handled, Options, Result};

use crate::border::{done, invalid, mw_error, optional, run};
use crate::client::{held, mw_client};
use crate::hooks;
use crate::message::Message;
use crate::pieces::{Piece, pieces_of};
use crate::values::{Value, give, values};
use crate::work::{consumer, end, mw_job, mw_request, responder};

/// A function that handles events of mw_consume.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_handler {
    /// What the functions get first.
    pub ctx: *mut c_void,
    /// Handles an event, which it reads with mw_job_read. 0 acks it, something else nacks it; it may say more with mw_job_end instead. One
    /// that takes long asks mw_job_lost now and then.
    pub call: Option<unsafe extern "C" fn(ctx: *mut c_void, job: *mut mw_job) -> c_int>,
    /// Is called exactly once, when the handler is not needed any more; may be NULL.
    pub drop: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
}

/// A function that answers requests of mw_serve.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_request_handler {
    /// What the functions get first.
    pub ctx: *mut c_void,
    /// Answers a request, which it reads with mw_request_read: with mw_request_answer, or with mw_reply_send for each of many. 0 ends it,
    /// something else tells the requester that the responder failed; it may say more with mw_request_fail instead.
    pub call: Option<unsafe extern "C" fn(ctx: *mut c_void, request: *mut mw_request) -> c_int>,
    /// Is called exactly once, when the handler is not needed any more; may be NULL.
    pub drop: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
}

thread_local! {
    /// Handlers that run on this thread.
    static HANDLERS: Cell<u32> = const { Cell::new(0) };
}

/// A handler runs on this thread.
struct Handling;

impl Handling {
    fn begin() -> Self {
        HANDLERS.set(HANDLERS.get() + 1);
        Self
    }
}

impl Drop for Handling {
    fn drop(&mut self) {
        HANDLERS.set(HANDLERS.get() - 1);
    }
}

/// Whether this thread may wait until all handlers have ended.
///
/// # Errors
/// `INVALID`: one runs on it, and would wait for itself.
pub(crate) fn may_wait(operation: &'static str) -> Result<()> {
    if HANDLERS.get() == 0 {
        return Ok(());
    }
    let text = "a handler that runs on this thread would wait for itself: call mw_stop in it, and this behind mw_consume or mw_serve";
    Err(invalid(operation, text))
}

/// Refuses what the thread that calls a handler cannot do.
///
/// # Errors
/// `INVALID`: more than one handler at once is wanted.
///
/// # Safety
/// The text is the program's.
unsafe fn one_at_once(operation: &'static str, (verb, from): (&str, &str), options: *const c_char) -> Result<()> {
    // SAFETY: as this function's.
    let options: Options = unsafe { optional(operation, "options", options) }?.unwrap_or_default().parse()?;
    let handlers = options.handlers(operation)?;
    if handlers <= 1 {
        return Ok(());
    }
    let text = format!(
        "option handler_concurrency is {handlers}, and {verb} handles one at a time, on the thread that calls it: call it on as many \
         threads, or ask for the work with {from}"
    );
    Err(invalid(operation, text))
}

/// Calls `drop` of a handler, at its end.
struct Context(*mut c_void, Option<unsafe extern "C" fn(*mut c_void)>);

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(drop) = self.1 {
            // SAFETY: the program's function for it, once.
            unsafe { drop(self.0) };
        }
    }
}

/// Handles a topic's events with a function, on this thread, until mw_stop, or the client closes. One event at a time; for several
/// at once call it on several threads, or ask for the work yourself (mw_consumer_new): handler_concurrency above 1 is MW_INVALID here.
/// `options` otherwise as for mw_consumer_new, may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_consume(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
    handler: mw_handler,
    err: *mut *mut mw_error,
) -> c_int {
    let _context = Context(handler.ctx, handler.drop);
    run("consume", err, || {
        let Some(call) = handler.call else { return Err(invalid("consume", "the handler has no function")) };
        // SAFETY: a text of the program's.
        unsafe { one_at_once("consume", ("mw_consume", "mw_consumer_new"), options) }?;
        // SAFETY: texts of the program's.
        let consumer = unsafe { consumer(mesh, topic, options) }?;
        while let Some(all) = pieces_of(consumer.next_batch(1, None)?) {
            for piece in all {
                if let Piece::Job(job) = piece {
                    hooks::delivered(job.client(), Message::Job(&job));
                    let pointer = give::<mw_job>(Value::Job(job))?;
                    let _handling = Handling::begin();
                    // SAFETY: the program's function for it; no lock is held.
                    let said = unsafe { call(handler.ctx, pointer) };
                    end_job(pointer, said)?;
                }
            }
        }
        Ok(0)
    })
}

/// Ends a job that its handler has not ended itself.
fn end_job(pointer: *mut mw_job, said: c_int) -> Result<()> {
    match values().remove_one(pointer.addr(), "consume") {
        Ok(Value::Job(job)) if said == 0 => end(job, Handled::Done),
        Ok(Value::Job(job)) => end(job, Handled::Failed(format!("the handler gave {said}"))),
        _ => Ok(()),
    }
}

/// Answers a topic's requests with a function, on this thread, until mw_stop, or the client closes. One request at a time; for several at
/// once call it on several threads, or ask for the work yourself (mw_responder_new): handler_concurrency above 1 is MW_INVALID here.
/// `options` otherwise as for mw_responder_new, may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_serve(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
    handler: mw_request_handler,
    err: *mut *mut mw_error,
) -> c_int {
    let _context = Context(handler.ctx, handler.drop);
    done("serve", err, || {
        let Some(call) = handler.call else { return Err(invalid("serve", "the handler has no function")) };
        // SAFETY: a text of the program's.
        unsafe { one_at_once("serve", ("mw_serve", "mw_responder_new"), options) }?;
        // SAFETY: texts of the program's.
        let responder = unsafe { responder(mesh, topic, options) }?;
        while let Some(all) = pieces_of(responder.next_batch(1, None)?) {
            for piece in all {
                if let Piece::Inquiry(inquiry) = piece {
                    let pointer = give::<mw_request>(Value::Inquiry(inquiry))?;
                    let _handling = Handling::begin();
                    // SAFETY: the program's function for it; no lock is held.
                    let said = unsafe { call(handler.ctx, pointer) };
                    end_request(pointer, said)?;
                }
            }
        }
        Ok(())
    })
}

/// Ends a request that its handler has not ended itself.
fn end_request(pointer: *mut mw_request, said: c_int) -> Result<()> {
    match values().remove_one(pointer.addr(), "serve") {
        Ok(Value::Inquiry(inquiry)) if said == 0 => inquiry.end(),
        Ok(Value::Inquiry(inquiry)) => inquiry.fail(format!("the handler gave {said}")),
        _ => Ok(()),
    }
}

/// Stops all that the client consumes and serves, for good, from any thread, also from a handler: mw_consume and mw_serve return when the
/// handlers that run have ended, and those that are called later return at once. Not from a signal handler, as nothing here: it takes locks.
/// Have a thread wait for the signal with sigwait, and call this.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_stop(mesh: *mut mw_client, err: *mut *mut mw_error) -> c_int {
    done("stop", err, || held("stop", mesh)?.running.lock().unwrap_or_else(PoisonError::into_inner).stop())
}
