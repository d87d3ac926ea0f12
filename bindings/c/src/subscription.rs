//! Subscriptions: deliveries, asked for in batches.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Ask, Outcome, Result, Subscription};

use crate::border::{array, done, invalid, millis, mw_error, optional, place, put, quiet, run, text};
use crate::client::{held, mw_client};
use crate::delivery::{hand, mw_delivery};
use crate::queue::{begin, mw_operation, mw_queue};
use crate::values::{Value, give, look, take};

/// What there was more of is over: no error, and no more comes.
pub(crate) const MW_ENDED: c_int = -1;

/// A stream of deliveries. Any thread may use it; one asks at a time. Ended by mw_unsubscribe, or by mw_leave.
pub struct mw_subscription {
    _private: (),
}

/// Deliveries in a completion. Take them with mw_batch_take, or free it: then they come again at once.
pub struct mw_batch {
    _private: (),
}

pub(crate) fn subscription(operation: &'static str, sub: *const mw_subscription) -> Result<Subscription> {
    look!(sub, operation, "mw_subscription", Value::Subscription(subscription) => subscription.clone())
}

/// # Safety
/// The texts are the program's.
unsafe fn ask(topic: *const c_char, options: *const c_char) -> Result<Ask> {
    // SAFETY: as this function's.
    let (topic, options) = unsafe { (text("subscribe", "topic", topic)?, optional("subscribe", "options", options)?) };
    Ok(Ask::Subscribe { topic: topic.to_owned(), options: options.unwrap_or_default().parse()? })
}

/// Subscribes to a topic; `options` as "group=billing; prefetch_events=1000", or an option a line, may be NULL. Without a group one gets all
/// that is published from now on.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_subscribe(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
    sub: *mut *mut mw_subscription,
    err: *mut *mut mw_error,
) -> c_int {
    done("subscribe", err, || {
        place("subscribe", "sub", sub)?;
        let client = held("subscribe", mesh)?.client;
        // SAFETY: texts of the program's.
        let Outcome::Subscription(made) = client.wait(unsafe { ask(topic, options) }?)? else {
            return Err(invalid("subscribe", "the client answered with something else"));
        };
        // SAFETY: the program's place for it.
        unsafe { put("subscribe", "sub", sub, give(Value::Subscription(made))?) }
    })
}

/// Begins the same: its completion is MW_SUBSCRIPTION.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_subscribe_start(
    mesh: *mut mw_client,
    topic: *const c_char,
    options: *const c_char,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("subscribe", err, || {
        let client = held("subscribe", mesh)?.client;
        // SAFETY: texts of the program's.
        let ask = unsafe { ask(topic, options) }?;
        // SAFETY: the program's place for it.
        unsafe { begin("subscribe", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}

/// Waits for deliveries, for at most `timeout_ms` (MW_FOREVER: as long as it takes), and puts up to `most` (4,096 at most) of them into
/// `batch`, their number into `n`: none came in time if it is 0. Each is settled by mw_ack, mw_nack or mw_reject, which free it. What the
/// program has in hand keeps its lease as long as it settles or extends something within each ack wait, see mw_claim_batch. MW_ENDED:
/// the subscription is over.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_next(
    sub: *mut mw_subscription,
    batch: *mut *mut mw_delivery,
    most: usize,
    timeout_ms: i64,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    run("receive", err, || {
        place("receive", "n", n)?;
        place("receive", "batch", batch)?;
        // SAFETY: the program's place for it.
        unsafe { n.write(0) };
        match subscription("receive", sub)?.next_batch(most, millis(timeout_ms))? {
            Outcome::Deliveries(deliveries) => {
                // SAFETY: the program has places for `most`, and no more were asked for.
                let count = unsafe { hand(deliveries.hand_together(most)?, batch) }?;
                // SAFETY: as above.
                unsafe { n.write(count) };
                Ok(0)
            }
            _ => Ok(MW_ENDED),
        }
    })
}

/// Begins the same: its completion is MW_DELIVERIES, or MW_OVER. Cancelled, it has taken none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_next_start(
    sub: *mut mw_subscription,
    most: usize,
    timeout_ms: i64,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("receive", err, || {
        let subscription = subscription("receive", sub)?;
        let wait = millis(timeout_ms);
        // SAFETY: the program's place for it.
        unsafe { begin("receive", queue, tag, operation, |queue| subscription.begin_next(most, wait, queue, tag)) }
    })
}

/// Moves the deliveries of a batch into `deliveries`, which has room for `most`, and frees it; `n` gets how many. Those beyond come
/// again at once; those whose lease was lost meanwhile are left out, unless mw_take_ahead was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_batch_take(
    batch: *mut mw_batch,
    deliveries: *mut *mut mw_delivery,
    most: usize,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    done("receive", err, || {
        place("receive", "n", n)?;
        place("receive", "deliveries", deliveries)?;
        array::<*mut mw_delivery>("receive", "most", most)?;
        let all = take!(batch, "receive", "mw_batch", Value::Batch(all) => all).hand_together(most)?;
        // SAFETY: the program has places for `most`.
        let count = unsafe { hand(all, deliveries) }?;
        // SAFETY: the program's place for it.
        unsafe { put("receive", "n", n, count) }
    })
}

/// Frees a batch. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_batch_free(batch: *mut mw_batch) {
    quiet((), || {
        drop(take!(batch, "receive", "mw_batch", Value::Batch(all) => all));
        Ok(())
    });
}

/// Ends a subscription and frees it: what is unsettled comes again at once and has not failed, what the program was handed too, and whoever
/// waits in it is told the end. Settle before it what is done: what is said of a delivery behind it frees that, and is not heard. NULL is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_unsubscribe(sub: *mut mw_subscription) {
    quiet((), || take!(sub, "unsubscribe", "mw_subscription", Value::Subscription(sub) => sub).close());
}

/// The same, for a program that leaves its loop, on purpose or by an error: what it was handed and has not settled has failed.
#[unsafe(no_mangle)]
pub extern "C" fn mw_leave(sub: *mut mw_subscription) {
    quiet((), || take!(sub, "unsubscribe", "mw_subscription", Value::Subscription(sub) => sub).leave());
}

/// For a program that takes more than it begins with at once, as a binding does: from here on deliveries that it gets of a subscription are
/// still looked after as if they waited in the library. Their leases are kept, and given back when the program does nothing for an ack wait.
/// It calls mw_claim when it begins with one, or mw_claim_batch with several.
#[unsafe(no_mangle)]
pub extern "C" fn mw_take_ahead(sub: *mut mw_subscription) -> c_int {
    done("receive", std::ptr::null_mut(), || subscription("receive", sub)?.take_ahead())
}
