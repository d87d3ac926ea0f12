//! Publishing: one event and its receipt, many, or begun with its completion in a queue.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use meshwire_embed::{Ask, Draft, Outcome, Receipt, Result, Room, TimedEvent};

use crate::border::{
    bytes, done, give_error, invalid, mw_error, number, optional, place, put, quiet, run, sized, text,
};
use crate::client::{held, mw_client};
use crate::hooks;
use crate::queue::{begin, mw_operation, mw_queue, with_queue};
use crate::values::{Value, give, look, take, values};

/// A publish that was admitted, and whose receipt is yet to come.
pub struct mw_started {
    _private: (),
}

/// What the events of a batch came to.
pub struct mw_receipts {
    _private: (),
}

/// An event that a hook may add to.
pub struct mw_draft {
    _private: (),
}

/// What the data of an event is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_data_kind {
    /// There is none.
    MW_NO_DATA = 0,
    /// Bytes; "application/octet-stream" unless the event says something else.
    MW_BYTES = 1,
    /// Text of UTF-8; "text/plain" likewise.
    MW_TEXT_DATA = 2,
    /// JSON of UTF-8; "application/json" likewise.
    MW_JSON = 3,
    /// A protobuf message, of events that are received.
    MW_PROTO = 4,
    /// A whole event, to publish without mw_publish_opts: its length (4 bytes, lowest first, as all numbers); how many attributes it has
    /// (4), and of each one of mw_attribute_kind (4), its name, and its value: 8 bytes, or bytes behind their length, as names and all
    /// texts; deliver_at_ms, deliver_after_ms, expires_in_ms (8 each); the kind of its data (4), and that.
    MW_PACKED = 5,
}

/// Data of an event: made by mw_bytes, mw_text_data or mw_json. It is read before the call returns.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_data {
    /// The first byte; NULL with 0.
    pub ptr: *const u8,
    /// How many there are.
    pub len: usize,
    /// One of mw_data_kind.
    pub kind: c_int,
}

/// What an extension attribute is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_attribute_kind {
    /// `text`, ended by a zero.
    MW_ATTRIBUTE_TEXT = 0,
    /// `number`, of 32 bits.
    MW_ATTRIBUTE_INTEGER = 1,
    /// `number`, 0 or not.
    MW_ATTRIBUTE_BOOLEAN = 2,
    /// `number` milliseconds since 1970.
    MW_ATTRIBUTE_TIME = 3,
    /// `number` bytes at `text`.
    MW_ATTRIBUTE_BINARY = 4,
}

/// An extension attribute of an event.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_attribute {
    /// Lower case letters and digits.
    pub name: *const c_char,
    /// One of mw_attribute_kind.
    pub kind: c_int,
    /// As `kind` says.
    pub text: *const c_char,
    /// As `kind` says.
    pub number: i64,
}

/// Attributes of an event that is published: begin with MW_PUBLISH_OPTS_INIT. Texts are NULL where nothing is said.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_publish_opts {
    /// Of this struct.
    pub size: usize,
    /// By default a UUID of version 7. With `source` it identifies the event.
    pub id: *const c_char,
    /// By default "//HOST/CLIENT NAME".
    pub source: *const c_char,
    /// By default the name of the topic.
    pub r#type: *const c_char,
    /// What in the source it is about.
    pub subject: *const c_char,
    /// Events of one key are delivered in order (attribute partitionkey).
    pub key: *const c_char,
    /// RFC 3339. By default now.
    pub time: *const c_char,
    /// By default what the data is.
    pub datacontenttype: *const c_char,
    /// Where the data's schema is.
    pub dataschema: *const c_char,
    /// Extension attributes.
    pub attributes: *const mw_attribute,
    /// How many there are.
    pub attribute_count: usize,
    /// Deliver it at this time, in milliseconds since 1970; 0: at once. Not for requests and replies.
    pub deliver_at_ms: i64,
    /// Deliver it when so many milliseconds have passed; 0: at once. Not for requests and replies.
    pub deliver_after_ms: i64,
    /// Deliver it no more when so many milliseconds have passed; 0: always. Not for requests and replies.
    pub expires_in_ms: i64,
}

const NOTHING: mw_publish_opts = mw_publish_opts {
    size: size_of::<mw_publish_opts>(),
    id: std::ptr::null(),
    source: std::ptr::null(),
    r#type: std::ptr::null(),
    subject: std::ptr::null(),
    key: std::ptr::null(),
    time: std::ptr::null(),
    datacontenttype: std::ptr::null(),
    dataschema: std::ptr::null(),
    attributes: std::ptr::null(),
    attribute_count: 0,
    deliver_at_ms: 0,
    deliver_after_ms: 0,
    expires_in_ms: 0,
};

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

/// A draft while a hook has it.
#[derive(Debug, Default)]
pub(crate) struct Drafting(pub(crate) Draft);

/// # Safety
/// The texts of the program's are NULL or end with a zero; `opts` is NULL or begins with its size.
pub(crate) unsafe fn draft(data: mw_data, opts: *const mw_publish_opts) -> Result<Draft> {
    if data.kind == mw_data_kind::MW_PACKED as c_int {
        if !opts.is_null() {
            return Err(invalid("publish", "an event that is packed has its attributes in it: pass NULL for opts"));
        }
        // SAFETY: as this function's.
        return crate::packed::Unpack::new(unsafe { bytes("publish", data.ptr, data.len) }?).event()?;
    }
    // SAFETY: as this function's.
    let opts = unsafe { sized("publish", opts, NOTHING) }?;
    let mut draft = Draft::new();
    let named = [
        ("id", opts.id),
        ("source", opts.source),
        ("type", opts.r#type),
        ("subject", opts.subject),
        ("partitionkey", opts.key),
        ("time", opts.time),
        ("datacontenttype", opts.datacontenttype),
        ("dataschema", opts.dataschema),
    ];
    for (name, value) in named {
        // SAFETY: as this function's.
        if let Some(value) = unsafe { optional("publish", name, value) }? {
            draft = draft.text(name, value)?;
        }
    }
    if opts.attribute_count > 0 && opts.attributes.is_null() {
        return Err(invalid("publish", format!("attributes is NULL, and has {}", opts.attribute_count)));
    }
    for at in 0..opts.attribute_count {
        // SAFETY: the program says that there are so many.
        let attribute = unsafe { opts.attributes.add(at).read() };
        // SAFETY: as this function's.
        draft = unsafe { with_attribute(draft, attribute) }?;
    }
    if opts.deliver_at_ms != 0 {
        draft = draft.deliver_at(opts.deliver_at_ms)?;
    }
    if let Some(delay) = span("deliver_after_ms", opts.deliver_after_ms)? {
        draft = draft.deliver_after(delay);
    }
    if let Some(time) = span("expires_in_ms", opts.expires_in_ms)? {
        draft = draft.expires_in(time);
    }
    // SAFETY: as this function's.
    unsafe { with_data(draft, data) }
}

pub(crate) fn span(name: &str, millis: i64) -> Result<Option<Duration>> {
    let millis = u64::try_from(millis).map_err(|_| invalid("publish", format!("{name} is negative")))?;
    Ok((millis > 0).then(|| Duration::from_millis(millis)))
}

/// # Safety
/// As [`draft`].
unsafe fn with_data(draft: Draft, data: mw_data) -> Result<Draft> {
    // SAFETY: as this function's.
    let of = unsafe { bytes("publish", data.ptr, data.len) }?;
    with_bytes(draft, data.kind, of)
}

pub(crate) fn with_bytes(draft: Draft, kind: c_int, of: &[u8]) -> Result<Draft> {
    let words = || {
        let text = std::str::from_utf8(of).map_err(|_| invalid("publish", "the data is not UTF-8: pass it as bytes"));
        text.map(str::to_owned)
    };
    Ok(match kind {
        0 => draft,
        1 => draft.bytes(of.to_vec()),
        2 => draft.words(words()?),
        3 => draft.json(words()?),
        other => return Err(invalid("publish", format!("{other} is no mw_data_kind of data to publish"))),
    })
}

/// # Safety
/// As [`draft`].
unsafe fn with_attribute(draft: Draft, attribute: mw_attribute) -> Result<Draft> {
    // SAFETY: as this function's.
    let name = unsafe { text("publish", "the name of an attribute", attribute.name) }?;
    match attribute.kind {
        // SAFETY: as this function's.
        0 => draft.text(name, unsafe { text("publish", name, attribute.text) }?),
        1 => draft.integer(name, attribute.number),
        2 => draft.boolean(name, attribute.number != 0),
        3 => draft.time(name, attribute.number),
        4 => {
            let len =
                usize::try_from(attribute.number).map_err(|_| invalid("publish", format!("{name} has no length")))?;
            // SAFETY: the program says that there are so many bytes.
            draft.binary(name, unsafe { bytes("publish", attribute.text.cast(), len) }?)
        }
        other => Err(invalid("publish", format!("{other} is no mw_attribute_kind, of {name}"))),
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
/// publishes, or in the queue; take completions and try again. Those of one thread are published in order.
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
        let started = take!(started, "publish", "mw_started", Value::Started(started) => started);
        with_queue("publish", queue, |queue| started.begin_receipt(queue, tag))
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
    if count > 0 && events.is_null() {
        return Err(invalid("publish", format!("events is NULL, and has {count}")));
    }
    // SAFETY: the program says that there are so many, and their texts are its own.
    let read = |at| unsafe {
        let mw_event { data, opts } = events.add(at).read();
        event(client, topic, data, opts)
    };
    Ok((0..count).map(read).collect())
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
        if count > 0 {
            place("publish", "results", results)?;
        }
        let client = held("publish", mesh)?.client;
        // SAFETY: texts of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: events of the program's.
        let events = unsafe { batch(&client, topic, events, count) }?;
        // What cannot be read is not sent, and has its place among the results all the same.
        let (good, bad): (Vec<_>, Vec<_>) = events.into_iter().enumerate().partition(|(_, event)| event.is_ok());
        let (places, events): (Vec<usize>, Vec<_>) =
            good.into_iter().filter_map(|(at, event)| Some((at, event.ok()?))).unzip();
        let ask = Ask::PublishBatch { topic: topic.to_owned(), events };
        let Outcome::Receipts(receipts) = client.wait(ask)? else {
            return Err(invalid("publish", "the client answered with something else"));
        };
        let bad = bad.into_iter().filter_map(|(at, event)| Some((at, mw_result::from(Err(event.err()?)))));
        let good = places.into_iter().zip(receipts).map(|(at, receipt)| (at, mw_result::from(receipt)));
        for (at, result) in good.chain(bad) {
            // SAFETY: the program has places for `count`.
            unsafe { results.add(at).write(result) };
        }
        Ok(())
    })
}

/// Begins to publish many events: its completion is MW_RECEIPTS. What is wrong with one of them beforehand fails the call.
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
        let events = events.into_iter().collect::<Result<_>>()?;
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

/// An attribute of an event in the hands of a hook, as text; NULL: it has none so far. Free it with mw_text_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_draft_get(draft: *const mw_draft, name: *const c_char) -> *mut crate::border::mw_text {
    quiet(std::ptr::null_mut(), || {
        // SAFETY: a text of the program's.
        let name = unsafe { text("publish", "name", name) }?;
        let found = look!(draft, "publish", "mw_draft", Value::Draft(Drafting(draft)) => draft.get(name))?;
        found.map_or(Ok(std::ptr::null_mut()), |found| give(Value::Text(crate::border::c_text(found))))
    })
}

/// Sets an attribute of an event in the hands of a hook, as text.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_draft_set(
    draft: *mut mw_draft,
    name: *const c_char,
    value: *const c_char,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        // SAFETY: texts of the program's.
        let (name, value) = unsafe { (text("publish", "name", name)?, text("publish", "value", value)?) };
        values().with(draft.addr(), "publish", |held| match held {
            Value::Draft(Drafting(draft)) => {
                *draft = draft.clone().text(name, value)?;
                Ok(())
            }
            other => Err(crate::values::other("publish", "mw_draft", other)),
        })?
    })
}
