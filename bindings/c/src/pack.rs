//! Events that were received as one run of bytes: many of them cross in one call, each as it came, with where its parts are. What else it says is
//! read when somebody asks for it.

use std::borrow::Cow;
use std::ffi::c_int;

use meshwire_embed::{AttributeValue, EventView, Result, read_event};

use crate::border::{array, bytes, done, invalid, mw_error, put};
use crate::completion::mw_kind;
use crate::event::mw_attribute_kind;
use crate::message::{Message, kind_of};
use crate::values::{Value, deliveries, other, values};

/// Writes into a buffer of the program's as far as there is room, and counts on.
struct Pack {
    buffer: *mut u8,
    size: usize,
    at: usize,
}

impl Pack {
    /// # Safety
    /// `buffer` has `size` bytes.
    unsafe fn new(buffer: *mut u8, size: usize) -> Result<Self> {
        array::<u8>("read", "size", size)?;
        if size > 0 && buffer.is_null() {
            return Err(invalid("read", "buffer is NULL"));
        }
        Ok(Self { buffer, size, at: 0 })
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let end = self.at.saturating_add(bytes.len());
        if end <= self.size {
            // SAFETY: the program says that there are `size` bytes, and these are within.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.buffer.add(self.at), bytes.len()) };
        }
        self.at = end;
    }

    fn small(&mut self, number: u32) {
        self.bytes(&number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.small(narrow(text.len()));
        self.bytes(text.as_bytes());
    }

    fn attributes(&mut self, event: &EventView<'_>) {
        self.small(narrow(event.attributes().count()));
        for (name, value) in event.attributes() {
            match value {
                // To write a time down costs as much as all the rest of an event.
                AttributeValue::Timestamp(time) if YEARS.contains(&time.seconds) => {
                    self.small(mw_attribute_kind::MW_ATTRIBUTE_TIME as u32);
                    self.text(name);
                    self.bytes(&time.seconds.to_le_bytes());
                    self.small(time.nanos.cast_unsigned());
                }
                value => {
                    self.small(mw_attribute_kind::MW_ATTRIBUTE_TEXT as u32);
                    self.text(name);
                    self.text(&canonical(&value));
                }
            }
        }
    }
}

/// Writes what is said of messages, which is read at once, and apart from it their events, which are kept.
struct Messages {
    heads: Pack,
    events: Pack,
}

impl Messages {
    fn message(&mut self, message: Message<'_>) {
        let ((whole, layout), come) = (message.laid_out(), message.come());
        let long = [
            come.position,
            come.gap,
            come.stored_ms.cast_unsigned(),
            come.expires_at_ms.cast_unsigned(),
            come.remaining_ms.cast_unsigned(),
            come.number,
        ];
        let [id, source, kind, key, data] = layout.parts();
        let small = [
            [come.attempt, u32::from(come.wants_stream)],
            [narrow(come.topic.len()), narrow(whole.len())],
            id,
            source,
            kind,
            key,
            data,
            [kind_of(layout.data_kind()) as u32, 0],
        ];
        let mut head = [0; HEAD];
        for (place, number) in head.as_chunks_mut().0.iter_mut().zip(long) {
            *place = u64::to_le_bytes(number);
        }
        for (place, number) in head.as_chunks_mut().0.iter_mut().skip(2 * long.len()).zip(small.as_flattened()) {
            *place = number.to_le_bytes();
        }
        self.heads.bytes(&head);
        self.heads.bytes(come.topic.as_bytes());
        let odd = come.topic.len() % 8;
        self.heads.bytes([0; 8].get(..(8 - odd) % 8).unwrap_or_default());
        self.events.bytes(whole);
    }

    fn deliveries(&mut self, things: impl Iterator<Item = usize> + Clone) -> Result<()> {
        let mut all = Ok(());
        deliveries().visit(things, "read", |found| {
            let packed = found.and_then(|(batch, at)| {
                self.message(Message::Delivery(batch.get(at, "read")?));
                Ok(())
            });
            all = std::mem::replace(&mut all, Ok(())).and(packed);
            false
        });
        all
    }

    fn values(&mut self, things: impl Iterator<Item = usize>) -> Result<()> {
        for thing in things {
            values().with(thing, "read", |value| {
                self.message(match value {
                    Value::Job(job) => Message::Job(job),
                    Value::Inquiry(request) => Message::Request(request),
                    Value::Reply(reply) => Message::Reply(reply),
                    wrong => return Err(other("read", "something with an event", wrong)),
                });
                Ok(())
            })??;
        }
        Ok(())
    }
}

/// Bytes before the topic of a message.
const HEAD: usize = 6 * 8 + 16 * 4;

/// An event of 4 GiB cannot come.
fn narrow(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

/// Seconds of the years that have four digits, whose canonical text is the same everywhere.
const YEARS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;

fn canonical<'a>(value: &'a AttributeValue<'_>) -> Cow<'a, str> {
    match value {
        AttributeValue::String(text) | AttributeValue::Uri(text) | AttributeValue::UriReference(text) => {
            Cow::Borrowed(text.as_ref())
        }
        other => Cow::Owned(other.to_string()),
    }
}

/// A buffer of the program's; `needed` gets how many bytes are to be written to it. Where that is more than `size`, the call is to be made again
/// with so much room.
#[repr(C)]
pub struct mw_buffer {
    /// NULL where `size` is 0.
    pub bytes: *mut u8,
    /// How many it has.
    pub size: usize,
    /// How many are to be written.
    pub needed: usize,
}

/// Writes messages one behind the other, what is said of them into one buffer and their events into another: of mw_delivery (`kind`
/// MW_DELIVERIES), or of mw_job, mw_request and mw_reply (any other kind). What is said of a message is: position, gap, stored_ms,
/// expires_at_ms, remaining_ms, number (8 bytes each, the lowest first, as in all numbers); attempt, wants_stream, how many bytes the topic has,
/// how many the event has, then where in the event's bytes each of id, source, type, key and data begins and how many bytes it has (0 and 0: it
/// has none), the kind of the data, and a zero (4 bytes each); the topic; and zeros up to the next multiple of 8. mw_event_attributes reads what
/// else an event says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_pack(
    kind: c_int,
    things: *const usize,
    count: usize,
    heads: *mut mw_buffer,
    events: *mut mw_buffer,
    err: *mut *mut mw_error,
) -> c_int {
    done("read", err, || {
        array::<usize>("read", "count", count)?;
        if count > 0 && things.is_null() {
            return Err(invalid("read", "things is NULL"));
        }
        // SAFETY: the program's places, NULL or as mw_buffer says.
        let (Some(heads), Some(events)) = (unsafe { heads.as_mut() }, unsafe { events.as_mut() }) else {
            return Err(invalid("read", "a buffer is NULL"));
        };
        // SAFETY: as mw_buffer says.
        let pack = |of: &mw_buffer| unsafe { Pack::new(of.bytes, of.size) };
        let mut messages = Messages { heads: pack(heads)?, events: pack(events)? };
        // SAFETY: the program says that there are so many.
        let things = (0..count).map(|at| unsafe { things.add(at).read() });
        if kind == mw_kind::MW_DELIVERIES as c_int { messages.deliveries(things) } else { messages.values(things) }?;
        (heads.needed, events.needed) = (messages.heads.at, messages.events.at);
        Ok(())
    })
}

/// Writes what an event says beside id, source and type into a buffer of so many bytes; `needed` gets how many bytes it takes. Where that is more
/// than `size`, call it again with so much room.
///
/// How many attributes there are (4 bytes), and of each one of mw_attribute_kind (4), its name, and its canonical text, both behind their
/// length of 4 bytes; of MW_ATTRIBUTE_TIME in place of the text seconds since 1970 (8) and nanoseconds (4).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_event_attributes(
    event: *const u8,
    len: usize,
    buffer: *mut u8,
    size: usize,
    needed: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    done("read", err, || {
        // SAFETY: bytes of the program's.
        let event = read_event(unsafe { bytes("read", event, len) }?)?;
        // SAFETY: the program's buffer.
        let mut pack = unsafe { Pack::new(buffer, size) }?;
        pack.attributes(&event);
        // SAFETY: the program's place for it.
        unsafe { put("read", "needed", needed, pack.at) }
    })
}
