//! What a handler says to a request.

use std::ffi::{c_char, c_int};

use meshwire_embed::Result;

use crate::border::{done, mw_error, reason};
use crate::event::{draft, mw_data, mw_publish_opts};
use crate::queue::{begin, mw_operation, mw_queue};
use crate::values::{Value, look, take};
use crate::work::mw_request;

/// Sends a reply to a request for many, and waits until the requester has taken it. MW_CANCELLED: nobody waits any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reply_send(
    of: *mut mw_request,
    data: mw_data,
    opts: *const mw_publish_opts,
    err: *mut *mut mw_error,
) -> c_int {
    done("reply", err, || {
        let queue = meshwire_embed::Queue::new(1)?;
        // SAFETY: texts and data of the program's.
        let event = unsafe { draft(data, opts) }?.finish_now()?;
        drop(look!(of, "reply", "mw_request", Value::Inquiry(inquiry) => inquiry.begin_reply(event, &queue, 0))??);
        let mut ended = Vec::new();
        while ended.is_empty() && queue.take(1, None, &mut ended)? {}
        ended.pop().map_or(Ok(()), |completion| completion.result.map(|_| ()))
    })
}

/// Begins the same: its completion is MW_DONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reply_send_start(
    of: *mut mw_request,
    data: mw_data,
    opts: *const mw_publish_opts,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("reply", err, || {
        // SAFETY: texts and data of the program's.
        let event = unsafe { draft(data, opts) }?.finish_now()?;
        let call = |queue: &_| -> Result<_> {
            look!(of, "reply", "mw_request", Value::Inquiry(inquiry) => inquiry.begin_reply(event, queue, tag))?
        };
        // SAFETY: the program's place for it.
        unsafe { begin("reply", queue, tag, operation, call) }
    })
}

/// Answers a request with its one reply, and frees it. Never waits; not heard if the request was lost.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_answer(
    of: *mut mw_request,
    data: mw_data,
    opts: *const mw_publish_opts,
    err: *mut *mut mw_error,
) -> c_int {
    done("reply", err, || {
        // SAFETY: texts and data of the program's.
        let event = unsafe { draft(data, opts) }?.finish_now()?;
        take!(of, "reply", "mw_request", Value::Inquiry(inquiry) => inquiry).answer(event)
    })
}

/// There are no more replies: frees the request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_end(of: *mut mw_request, err: *mut *mut mw_error) -> c_int {
    done("reply", err, || take!(of, "reply", "mw_request", Value::Inquiry(inquiry) => inquiry).end())
}

/// The handler failed: the requester is told MW_RESPONDER_FAILED with the text, which may be NULL; what is not UTF-8 in it is
/// replaced. Frees the request.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_fail(of: *mut mw_request, why: *const c_char, err: *mut *mut mw_error) -> c_int {
    done("reply", err, || {
        // SAFETY: a text of the program's.
        let why = unsafe { reason(why) }.unwrap_or_else(|| "the handler failed".to_owned());
        take!(of, "reply", "mw_request", Value::Inquiry(inquiry) => inquiry).fail(why)
    })
}
