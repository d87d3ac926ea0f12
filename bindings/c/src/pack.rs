//! Events that were received as one run of bytes: many of them cross in one call, each as it came, with where its parts are. What else it says is
//! read when somebody asks for it.

use std::borrow::Cow;
use std::ffi::c_int;

use meshwire_embed::{AttributeValue, EventView, Result, read_event};

use crate::border::{bytes, done, invalid, mw_error, put};
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

    fn message(&mut self, message: Message<'_>) {
        let ((whole, layout), come) = (message.laid_out(), message.come());
        let begin = self.at;
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
        self.bytes(&head);
        self.bytes(come.topic.as_bytes());
        self.bytes(whole);
        let odd = (self.at - begin) % 8;
        self.bytes([0; 8].get(..(8 - odd) % 8).unwrap_or_default());
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

/// Has something written into a buffer of the program's, and says how many bytes that takes.
///
/// # Safety
/// `buffer` has `size` bytes; `needed` and `err` are the program's places.
unsafe fn packed(
    buffer: *mut u8,
    size: usize,
    needed: *mut usize,
    err: *mut *mut mw_error,
    write: impl FnOnce(&mut Pack) -> Result<()>,
) -> c_int {
    done("read", err, || {
        // SAFETY: as this function's.
        let mut pack = unsafe { Pack::new(buffer, size) }?;
        write(&mut pack)?;
        // SAFETY: as this function's.
        unsafe { put("read", "needed", needed, pack.at) }
    })
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

/// Writes messages one behind the other into a buffer of so many bytes: of mw_delivery (`kind` MW_DELIVERIES), or of mw_job, mw_request
/// and mw_reply (any other kind). `needed` gets how many bytes they take; where that is more than `size`, call it again with so much room.
///
/// Numbers have their lowest byte first. A message is: position, gap, stored_ms, expires_at_ms, remaining_ms, number (8 bytes each); attempt,
/// wants_stream, how many bytes the topic has, how many the event has, then where in the event's bytes each of id, source, type, key and data
/// begins and how many bytes it has (0 and 0: it has none), the kind of the data, and a zero (4 bytes each); the topic; the event, which
/// mw_event_attributes reads; and zeros up to the next multiple of 8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_pack(
    kind: c_int,
    things: *const usize,
    count: usize,
    buffer: *mut u8,
    size: usize,
    needed: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    let write = |pack: &mut Pack| {
        if count > 0 && things.is_null() {
            return Err(invalid("read", "things is NULL"));
        }
        // SAFETY: the program says that there are so many.
        let things = (0..count).map(|at| unsafe { things.add(at).read() });
        if kind == mw_kind::MW_DELIVERIES as c_int { pack.deliveries(things) } else { pack.values(things) }
    };
    // SAFETY: the program's buffer and places.
    unsafe { packed(buffer, size, needed, err, write) }
}

/// Writes what an event says beside id, source and type into a buffer of so many bytes; `needed` is as with mw_pack, which gave the event.
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
    let write = |pack: &mut Pack| {
        // SAFETY: bytes of the program's.
        pack.attributes(&read_event(unsafe { bytes("read", event, len) }?)?);
        Ok(())
    };
    // SAFETY: the program's buffer and places.
    unsafe { packed(buffer, size, needed, err, write) }
}
