//! Deliveries: read, and settled once.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Client, Delivery, InHand, Operation, Parted, Queue, Received, Result, Settle, Together};

use crate::border::{ROOM, array, c_text, check_size, done, invalid, millis, mw_error, mw_text, place, put, quiet};
use crate::event::mw_data;
use crate::hooks::{self, mw_settle_kind};
use crate::message::{Message, NEW_MESSAGE, attribute, mw_message, nth};
use crate::queue::{begin, mw_operation, mw_queue};
use crate::values::{Value, deliveries, give};

/// One event, which the program settles once, with mw_ack, mw_nack or mw_reject: that frees it.
pub struct mw_delivery {
    _private: (),
}

/// Hands deliveries to the program.
///
/// # Safety
/// `place` has room for them.
pub(crate) unsafe fn hand(all: InHand, place: *mut *mut mw_delivery) -> Result<usize> {
    if hooks::are_there(all.client()) {
        all.all()?.for_each(|delivery| hooks::delivered(all.client(), Message::Delivery(delivery)));
    }
    let mut count = 0;
    for batch in all.split(Parted::<InHand>::PARTS)? {
        let parts = batch.len();
        deliveries().insert(batch, parts, |number| {
            // SAFETY: as this function's.
            unsafe { place.add(count).write(std::ptr::without_provenance_mut(number)) };
            count += 1;
        })?;
    }
    Ok(count)
}

fn look<R>(
    delivery: *const mw_delivery,
    operation: &'static str,
    then: impl FnOnce(&Received) -> Result<R>,
) -> Result<R> {
    deliveries().with(delivery.addr(), operation, |batch, at| (batch.get(at, operation).and_then(then), false))
}

fn take(delivery: *mut mw_delivery, operation: &'static str) -> Result<Delivery> {
    deliveries().with(delivery.addr(), operation, |batch, at| {
        let taken = batch.take(at, operation);
        (taken, batch.is_empty())
    })
}

fn extend_confirmed(delivery: *mut mw_delivery, queue: &Queue, tag: u64) -> Result<Operation> {
    deliveries().with(delivery.addr(), "extend", |batch, at| (batch.begin_extend_confirmed(at, queue, tag), false))
}

/// # Safety
/// `reason` is a text of the program's.
unsafe fn how(kind: c_int, delay_ms: i64, reason: *const c_char) -> Result<Settle> {
    Ok(match kind {
        0 => Settle::Ack,
        1 => Settle::Nack(millis(delay_ms)),
        // SAFETY: as this function's.
        2 => Settle::Reject(unsafe { crate::border::reason(reason) }.unwrap_or_default()),
        other => return Err(invalid("settle", format!("{other} is no mw_settle_kind to settle with"))),
    })
}

fn tell(delivery: &Delivery, how: &Settle) {
    tell_kind(delivery, hooks::kind(how));
}

fn tell_kind(delivery: &Delivery, kind: mw_settle_kind) {
    if let Ok(of) = delivery.get() {
        hooks::settled(delivery.client(), Message::Delivery(of), kind);
    }
}

fn settle(delivery: Delivery, how: Settle) -> Result<()> {
    tell(&delivery, &how);
    delivery.settle(how)
}

/// Reads deliveries: `messages`, whose first has its size set, gets one for each. The call fails at the first that stands for
/// nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_read(
    batch: *const *mut mw_delivery,
    count: usize,
    messages: *mut mw_message,
    err: *mut *mut mw_error,
) -> c_int {
    done("read", err, || {
        if count == 0 {
            return Ok(());
        }
        array::<mw_message>("read", "count", count)?;
        if batch.is_null() || messages.is_null() {
            return Err(invalid("read", "batch or messages is NULL"));
        }
        // SAFETY: its first field is its size.
        let size = unsafe { messages.cast::<usize>().read() };
        check_size::<mw_message>("read", size, NEW_MESSAGE)?;
        // SAFETY: the program says that there are so many.
        let numbers = (0..count).map(|at| unsafe { batch.add(at).read() }.addr());
        let (mut at, mut all) = (0, Ok(()));
        deliveries().visit(numbers, "read", |found| {
            if all.is_ok() {
                all = found.and_then(|(batch, part)| {
                    let message = mw_message::of(Message::Delivery(batch.get(part, "read")?));
                    // SAFETY: the program has places for so many, of this size.
                    unsafe { message.put(messages.byte_add(at * size), size) };
                    Ok(())
                });
                at += 1;
            }
            false
        });
        all
    })
}

/// The data of a delivery; none of what is no delivery. It lives until the delivery is settled or freed.
#[unsafe(no_mangle)]
pub extern "C" fn mw_delivery_data(delivery: *const mw_delivery) -> mw_data {
    let none = mw_data { ptr: std::ptr::null(), len: 0, kind: 0 };
    quiet(none, || look(delivery, "read", |delivery| Ok(mw_message::of(Message::Delivery(delivery)).data)))
}

/// An attribute of a delivery as its canonical text, such as "time", into a buffer of so many bytes, ended by a zero: gives its length, which
/// may be more than fits, or -1: it has none, or is no delivery.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_delivery_attribute(
    delivery: *const mw_delivery,
    name: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> i64 {
    quiet(-1, || {
        look(delivery, "read", |delivery| {
            // SAFETY: the program's text and buffer.
            unsafe { attribute(&delivery.event(), name, buffer, size) }
        })
    })
}

/// Name and canonical text of one attribute but id, source and type, by number from 0; false: there are no more. Free both with
/// mw_text_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_delivery_attribute_at(
    delivery: *const mw_delivery,
    index: usize,
    name: *mut *mut mw_text,
    value: *mut *mut mw_text,
) -> bool {
    quiet(false, || {
        let found = look(delivery, "read", |delivery| Ok(nth(&delivery.event(), index)))?;
        // SAFETY: the program's places for them.
        unsafe { give_attribute(found, name, value) }
    })
}

/// # Safety
/// Pointers may be put there.
pub(crate) unsafe fn give_attribute(
    found: Option<(String, String)>,
    name: *mut *mut mw_text,
    value: *mut *mut mw_text,
) -> Result<bool> {
    place("read", "name", name)?;
    place("read", "value", value)?;
    let Some((of, is)) = found else { return Ok(false) };
    // SAFETY: as this function's.
    unsafe {
        put("read", "name", name, give(Value::Text(c_text(of)))?)?;
        put("read", "value", value, give(Value::Text(c_text(is)))?)?;
    }
    Ok(true)
}

/// Done: the event does not come again. Handed to the session and never waits; frees the delivery. MW_INVALID: it was settled before.
#[unsafe(no_mangle)]
pub extern "C" fn mw_ack(delivery: *mut mw_delivery) -> c_int {
    done("settle", std::ptr::null_mut(), || settle(take(delivery, "settle")?, Settle::Ack))
}

/// Not done: the event comes again after so many milliseconds, or, if that is negative, as the group's settings say. As mw_ack.
#[unsafe(no_mangle)]
pub extern "C" fn mw_nack(delivery: *mut mw_delivery, delay_ms: i64) -> c_int {
    done("settle", std::ptr::null_mut(), || settle(take(delivery, "settle")?, Settle::Nack(millis(delay_ms))))
}

/// Never again: the event becomes a dead letter of the group, with the reason (may be NULL), in which what is not UTF-8 is replaced. As
/// mw_ack.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_reject(delivery: *mut mw_delivery, reason: *const c_char) -> c_int {
    done("settle", std::ptr::null_mut(), || {
        // SAFETY: a text of the program's.
        let how = unsafe { how(2, -1, reason) }?;
        settle(take(delivery, "settle")?, how)
    })
}

/// Settles many alike, with one of mw_settle_kind, and frees them. Those that were settled before fail the call with MW_INVALID; the others
/// are settled all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_settle_many(
    batch: *const *mut mw_delivery,
    count: usize,
    kind: c_int,
    delay_ms: i64,
    reason: *const c_char,
    err: *mut *mut mw_error,
) -> c_int {
    done("settle", err, || {
        array::<*mut mw_delivery>("settle", "count", count)?;
        if count > 0 && batch.is_null() {
            return Err(invalid("settle", "batch is NULL"));
        }
        // SAFETY: a text of the program's.
        let how = unsafe { how(kind, delay_ms, reason) }?;
        // SAFETY: the program says that there are so many.
        let numbers = (0..count).map(|at| unsafe { batch.add(at).read() }.addr());
        let (mut together, mut first) = (Together::with_capacity(count.min(ROOM)), Ok(()));
        let mut watched: Vec<(Client, usize)> = Vec::new();
        deliveries().visit(numbers, "settle", |found| match found {
            Ok((batch, at)) => {
                let taken = batch.take_into(at, &mut together);
                if taken.is_ok() && hooks::are_there(batch.client()) {
                    watched.push((batch.client().clone(), together.len() - 1));
                }
                first = std::mem::replace(&mut first, Ok(())).and(taken);
                batch.is_empty()
            }
            Err(error) => {
                first = std::mem::replace(&mut first, Ok(())).and(Err(error));
                false
            }
        });
        // Under no lock: they are functions of the program.
        for (client, at) in watched {
            if let Some(delivery) = together.get(at) {
                hooks::settled(&client, Message::Delivery(delivery), hooks::kind(&how));
            }
        }
        together.settle(&how);
        first
    })
}

/// Still working: the lease of the delivery begins anew. Never waits, and does not free it.
#[unsafe(no_mangle)]
pub extern "C" fn mw_extend(delivery: *mut mw_delivery) -> c_int {
    done("extend", std::ptr::null_mut(), || {
        look(delivery, "extend", |delivery| {
            delivery.extend();
            Ok(())
        })
    })
}

/// Settles with one of mw_settle_kind, frees the delivery, and waits for the gateway's word. MW_LEASE_LOST: it comes again, or came to
/// somebody else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_settle_confirmed(
    delivery: *mut mw_delivery,
    kind: c_int,
    delay_ms: i64,
    reason: *const c_char,
    err: *mut *mut mw_error,
) -> c_int {
    done("settle", err, || {
        // SAFETY: a text of the program's.
        let how = unsafe { how(kind, delay_ms, reason) }?;
        let delivery = take(delivery, "settle")?;
        tell(&delivery, &how);
        delivery.settle_confirmed(how)
    })
}

/// Begins the same: its completion is MW_DONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_settle_start(
    delivery: *mut mw_delivery,
    kind: c_int,
    delay_ms: i64,
    reason: *const c_char,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("settle", err, || {
        // SAFETY: a text of the program's.
        let how = unsafe { how(kind, delay_ms, reason) }?;
        let call = |queue: &Queue| {
            // First, so that the delivery is not lost where there is none.
            let place = queue.place(tag, "settle")?;
            let delivery = take(delivery, "settle")?;
            tell(&delivery, &how);
            delivery.begin_settle_confirmed_in(how, place)
        };
        // SAFETY: the program's place for it.
        unsafe { begin("settle", queue, tag, operation, call) }
    })
}

/// Extends, and waits for the gateway's word. MW_LEASE_LOST: it comes again, or came to somebody else.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_extend_confirmed(delivery: *mut mw_delivery, err: *mut *mut mw_error) -> c_int {
    done("extend", err, || {
        let queue = Queue::new(1)?;
        drop(extend_confirmed(delivery, &queue, 0)?);
        let mut ended = Vec::new();
        while ended.is_empty() && queue.take(1, None, &mut ended)? {}
        ended.pop().map_or(Ok(()), |completion| completion.result.map(|_| ()))
    })
}

/// Begins the same: its completion is MW_DONE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_extend_start(
    delivery: *mut mw_delivery,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("extend", err, || {
        let call = |queue: &_| extend_confirmed(delivery, queue, tag);
        // SAFETY: the program's place for it.
        unsafe { begin("extend", queue, tag, operation, call) }
    })
}

/// Lets go of a delivery that the program has begun with, without a word: it comes again when its ack wait has passed, and has failed if its subscription ends before. NULL
/// is fine.
#[unsafe(no_mangle)]
pub extern "C" fn mw_delivery_free(delivery: *mut mw_delivery) {
    quiet((), || {
        let delivery = take(delivery, "settle")?;
        tell_kind(&delivery, mw_settle_kind::MW_DROPPED);
        delivery.let_go()
    });
}

/// The program begins with a delivery that it took ahead, see mw_take_ahead, and has begun with all before it. Those are to be claimed in
/// order; whatever is said of one claims it too. false: its lease is gone, as after a reconnect, or the client drains. Then it comes again,
/// and is to be given back.
#[unsafe(no_mangle)]
pub extern "C" fn mw_claim(delivery: *mut mw_delivery) -> bool {
    quiet(false, || deliveries().with(delivery.addr(), "receive", |batch, at| (batch.claim(at), false)))
}

/// The program begins with deliveries that it took ahead, see mw_take_ahead, one after the other: `claimed` gets for each what mw_claim would
/// say. Gives how many are true. What is handed so, as by mw_next, keeps its lease as long as the program settles or extends something within
/// each ack wait; each has one of its own, of which at least seven eighths are left, from when the one before it is settled. A program that
/// does nothing for an ack wait loses all but the first, without a failure.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_claim_batch(batch: *const *mut mw_delivery, count: usize, claimed: *mut bool) -> usize {
    quiet(0, || {
        array::<*mut mw_delivery>("receive", "count", count)?;
        if count == 0 || batch.is_null() || claimed.is_null() {
            return Ok(0);
        }
        // SAFETY: the program says that there are so many.
        let numbers = (0..count).map(|at| unsafe { batch.add(at).read() }.addr());
        let (mut at, mut of) = (0, 0);
        deliveries().visit(numbers, "receive", |found| {
            let is_claimed = found.and_then(|(batch, at)| batch.hand(at, of == 0)).unwrap_or(false);
            // SAFETY: the program has places for as many.
            unsafe { claimed.add(at).write(is_claimed) };
            (at, of) = (at + 1, of + usize::from(is_claimed));
            false
        });
        Ok(of)
    })
}

/// Gives deliveries back as if they had not been taken, and frees them: they come again at once, and have not failed. For what a program
/// took ahead and does not begin with. Those that were settled before fail the call with MW_INVALID; the
/// others are given back all the same.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_give_back(batch: *const *mut mw_delivery, count: usize, err: *mut *mut mw_error) -> c_int {
    done("settle", err, || {
        array::<*mut mw_delivery>("settle", "count", count)?;
        if count > 0 && batch.is_null() {
            return Err(invalid("settle", "batch is NULL"));
        }
        let mut first = Ok(());
        for at in 0..count {
            // SAFETY: the program says that there are so many.
            let delivery = take(unsafe { batch.add(at).read() }, "settle");
            first = first.and(delivery.and_then(give_back));
        }
        first
    })
}

fn give_back(delivery: Delivery) -> Result<()> {
    tell_kind(&delivery, mw_settle_kind::MW_DROPPED);
    delivery.give_back()
}
