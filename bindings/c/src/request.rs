//! Requests of the program, and their replies.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Ask, Outcome, Replies, Reply, Result};

use crate::border::{
    array, check_size, done, invalid, millis, mw_error, mw_text, optional, place, put, quiet, run, text,
};
use crate::client::{held, mw_client};
use crate::delivery::give_attribute;
use crate::event::{draft, mw_data, mw_publish_opts};
use crate::message::{Message, NEW_MESSAGE, attribute, mw_message, nth};
use crate::queue::{begin, mw_operation, mw_queue};
use crate::subscription::MW_ENDED;
use crate::values::{Value, give, look, take, values};

/// A reply to a request. Free it with mw_reply_free.
pub struct mw_reply {
    _private: (),
}

/// Replies to a request for many, as they come. Ended by mw_replies_close.
pub struct mw_replies {
    _private: (),
}

/// Replies in a completion. Take them with mw_reply_batch_take, or free it.
pub struct mw_reply_batch {
    _private: (),
}

/// # Safety
/// Texts, data and attributes are the program's.
unsafe fn ask(
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    options: *const c_char,
    stream: bool,
) -> Result<Ask> {
    let operation = if stream { "request_stream" } else { "request" };
    // SAFETY: as this function's.
    let (topic, options) = unsafe { (text(operation, "topic", topic)?, optional(operation, "options", options)?) };
    // SAFETY: likewise.
    let event = Box::new(unsafe { draft(data, opts) }?.finish_now()?);
    let (topic, options) = (topic.to_owned(), options.unwrap_or_default().parse()?);
    Ok(if stream { Ask::RequestStream { topic, event, options } } else { Ask::Request { topic, event, options } })
}

/// Asks one of those who serve a topic, and waits for the reply; `options` as "request_timeout=2s", may be NULL. MW_NO_RESPONDERS: nobody
/// serves it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_reply(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    options: *const c_char,
    reply: *mut *mut mw_reply,
    err: *mut *mut mw_error,
) -> c_int {
    done("request", err, || {
        place("request", "reply", reply)?;
        let client = held("request", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let Outcome::Reply(got) = client.wait(unsafe { ask(topic, data, opts, options, false) }?)? else {
            return Err(invalid("request", "the client answered with something else"));
        };
        // SAFETY: the program's place for it.
        unsafe { put("request", "reply", reply, give(Value::Reply(got))?) }
    })
}

/// Begins the same: its completion is MW_REPLY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_reply_start(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    options: *const c_char,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("request", err, || {
        let client = held("request", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let ask = unsafe { ask(topic, data, opts, options, false) }?;
        // SAFETY: the program's place for it.
        unsafe { begin("request", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}

/// Asks for many replies; `options` as "reply_credit=16; request_timeout=10s", may be NULL. They come by mw_replies_next.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_stream(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    options: *const c_char,
    replies: *mut *mut mw_replies,
    err: *mut *mut mw_error,
) -> c_int {
    done("request_stream", err, || {
        place("request_stream", "replies", replies)?;
        let client = held("request_stream", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let Outcome::Answers(got) = client.wait(unsafe { ask(topic, data, opts, options, true) }?)? else {
            return Err(invalid("request_stream", "the client answered with something else"));
        };
        // SAFETY: the program's place for it.
        unsafe { put("request_stream", "replies", replies, give(Value::Answers(got))?) }
    })
}

/// Begins the same: its completion is MW_REPLIES.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_request_stream_start(
    mesh: *mut mw_client,
    topic: *const c_char,
    data: mw_data,
    opts: *const mw_publish_opts,
    options: *const c_char,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("request_stream", err, || {
        let client = held("request_stream", mesh)?.client;
        // SAFETY: texts and data of the program's.
        let ask = unsafe { ask(topic, data, opts, options, true) }?;
        // SAFETY: the program's place for it.
        unsafe { begin("request_stream", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}

fn answers(replies: *const mw_replies) -> Result<Replies> {
    look!(replies, "request_stream", "mw_replies", Value::Answers(answers) => answers.clone())
}

/// # Safety
/// `place` has room for them.
unsafe fn hand(all: Vec<Reply>, place: *mut *mut mw_reply) -> Result<usize> {
    let mut count = 0;
    values().insert(all.into_iter().map(Value::Reply), |number| {
        // SAFETY: as this function's.
        unsafe { place.add(count).write(std::ptr::without_provenance_mut(number)) };
        count += 1;
    })?;
    Ok(count)
}

/// Waits for replies as mw_next does for deliveries. MW_ENDED: there are no more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_replies_next(
    replies: *mut mw_replies,
    batch: *mut *mut mw_reply,
    most: usize,
    timeout_ms: i64,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    run("request_stream", err, || {
        place("request_stream", "n", n)?;
        place("request_stream", "batch", batch)?;
        // SAFETY: the program's place for it.
        unsafe { n.write(0) };
        match answers(replies)?.next_batch(most, millis(timeout_ms))? {
            Outcome::Replies(all) => {
                // SAFETY: the program has places for `most`, and no more were asked for.
                let count = unsafe { hand(all, batch) }?;
                // SAFETY: as above.
                unsafe { n.write(count) };
                Ok(0)
            }
            _ => Ok(MW_ENDED),
        }
    })
}

/// Begins the same: its completion is MW_REPLY_BATCH, or MW_OVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_replies_next_start(
    replies: *mut mw_replies,
    most: usize,
    timeout_ms: i64,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("request_stream", err, || {
        let answers = answers(replies)?;
        let wait = millis(timeout_ms);
        // SAFETY: the program's place for it.
        unsafe { begin("request_stream", queue, tag, operation, |queue| answers.begin_next(most, wait, queue, tag)) }
    })
}

/// Moves the replies of a batch into `replies`, which has room for `most`, and frees it; `n` gets how many. Those beyond are dropped.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reply_batch_take(
    batch: *mut mw_reply_batch,
    replies: *mut *mut mw_reply,
    most: usize,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    done("request_stream", err, || {
        place("request_stream", "n", n)?;
        place("request_stream", "replies", replies)?;
        array::<*mut mw_reply>("request_stream", "most", most)?;
        let mut all: Vec<Reply> = take!(batch, "request_stream", "mw_reply_batch", Value::ReplyBatch(all) => all);
        all.truncate(most);
        // SAFETY: the program has places for `most`.
        let count = unsafe { hand(all, replies) }?;
        // SAFETY: the program's place for it.
        unsafe { put("request_stream", "n", n, count) }
    })
}

/// Frees replies in a completion. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_reply_batch_free(batch: *mut mw_reply_batch) {
    quiet((), || {
        drop(take!(batch, "request_stream", "mw_reply_batch", Value::ReplyBatch(all) => all));
        Ok(())
    });
}

/// Wants no more replies, and frees the stream of them. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_replies_close(replies: *mut mw_replies) {
    quiet((), || take!(replies, "request_stream", "mw_replies", Value::Answers(answers) => answers).close());
}

fn look_at<R>(reply: *const mw_reply, then: impl FnOnce(&Reply) -> Result<R>) -> Result<R> {
    values().with(reply.addr(), "read", |value| match value {
        Value::Reply(reply) => then(reply),
        other => Err(crate::values::other("read", "mw_reply", other)),
    })?
}

/// Reads a reply into `message`, whose size is set. What it shows lives as long as the reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reply_read(
    reply: *const mw_reply,
    message: *mut mw_message,
    err: *mut *mut mw_error,
) -> c_int {
    done("read", err, || {
        place("read", "message", message)?;
        // SAFETY: its first field is its size.
        let size = unsafe { message.cast::<usize>().read() };
        check_size::<mw_message>("read", size, NEW_MESSAGE)?;
        let read = look_at(reply, |reply| Ok(mw_message::of(Message::Reply(reply))))?;
        // SAFETY: the program's place, of this size.
        unsafe { read.put(message, size) };
        Ok(())
    })
}

/// As mw_delivery_attribute, of a reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reply_attribute(
    reply: *const mw_reply,
    name: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> i64 {
    // SAFETY: the program's text and buffer.
    quiet(-1, || look_at(reply, |reply| unsafe { attribute(&reply.event(), name, buffer, size) }))
}

/// As mw_delivery_attribute_at, of a reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reply_attribute_at(
    reply: *const mw_reply,
    index: usize,
    name: *mut *mut mw_text,
    value: *mut *mut mw_text,
) -> bool {
    quiet(false, || {
        let found = look_at(reply, |reply| Ok(nth(&reply.event(), index)))?;
        // SAFETY: the program's places for them.
        unsafe { give_attribute(found, name, value) }
    })
}

/// Frees a reply. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_reply_free(reply: *mut mw_reply) {
    quiet((), || {
        drop(take!(reply, "read", "mw_reply", Value::Reply(reply) => reply));
        Ok(())
    });
}
