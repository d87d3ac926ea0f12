//! Events to publish as one run of bytes, for languages to which a call and a pointer cost much: many events cross in one call, and none of
//! them takes an allocation to be passed.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Ask, Draft, Result, Room, TimedEvent};

use crate::border::{array, bytes, done, give_error, invalid, mw_error, number, place, text};
use crate::client::{held, mw_client};
use crate::hooks;
use crate::queue::{begin, mw_operation, mw_queue, with_queue};

/// An event that was not published, and why.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_refusal {
    /// The tag of the event.
    pub tag: u64,
    /// The number of its error.
    pub code: c_int,
    /// The error, the program's to free.
    pub error: *mut mw_error,
}

/// Reads what is packed: numbers with their lowest byte first, texts and bytes behind their length.
pub(crate) struct Unpack<'a>(&'a [u8]);

fn short() -> meshwire_embed::Error {
    invalid("publish", "the packed bytes end in the middle of an event")
}

impl<'a> Unpack<'a> {
    pub(crate) const fn new(packed: &'a [u8]) -> Self {
        Self(packed)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or_else(short)?;
        self.0 = rest;
        Ok(taken)
    }

    fn number<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.take(N)?.try_into().map_err(|_| short())
    }

    fn small(&mut self) -> Result<u32> {
        self.number().map(u32::from_le_bytes)
    }

    fn long(&mut self) -> Result<i64> {
        self.number().map(i64::from_le_bytes)
    }

    fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.small()?;
        self.take(usize::try_from(len).map_err(|_| short())?)
    }

    fn text(&mut self, name: &str) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| invalid("publish", format!("{name} is not UTF-8")))
    }

    fn attribute(&mut self, draft: Draft) -> Result<Draft> {
        let (kind, name) = (self.small()?, self.text("the name of an attribute")?);
        match kind {
            0 => draft.text(name, self.text(name)?),
            1 => draft.integer(name, self.long()?),
            2 => draft.boolean(name, self.long()? != 0),
            3 => draft.time(name, self.long()?),
            4 => draft.binary(name, self.bytes()?),
            5 => draft.extension_text(name, self.text(name)?),
            other => Err(invalid("publish", format!("{other} is no mw_attribute_kind, of {name}"))),
        }
    }

    /// An event, which may be of no use: then the next one is read all the same.
    pub(crate) fn event(&mut self) -> Result<Result<Draft>> {
        let mut of = Self(self.bytes()?);
        Ok(of.draft())
    }

    fn draft(&mut self) -> Result<Draft> {
        let mut draft = Draft::new();
        for _ in 0..self.small()? {
            draft = self.attribute(draft)?;
        }
        let (at, after, expires) = (self.long()?, self.long()?, self.long()?);
        if at != 0 {
            draft = draft.deliver_at(at)?;
        }
        if let Some(delay) = crate::event::span("deliver_after_ms", after)? {
            draft = draft.deliver_after(delay);
        }
        if let Some(time) = crate::event::span("expires_in_ms", expires)? {
            draft = draft.expires_in(time);
        }
        let kind = c_int::try_from(self.small()?).unwrap_or(-1);
        let data = self.bytes()?;
        crate::event::with_bytes(draft, kind, data)
    }
}

/// Where refusals go, as many as there are events.
struct Refused {
    place: *mut mw_refusal,
    count: usize,
}

impl Refused {
    /// # Safety
    /// There is a place for each event.
    unsafe fn put(&mut self, tag: u64, error: meshwire_embed::Error) {
        let refusal = mw_refusal { tag, code: number(error.kind()), error: give_error(error) };
        // SAFETY: as this function's.
        unsafe { self.place.add(self.count).write(refusal) };
        self.count += 1;
    }
}

/// Begins to publish many events in one call, and never waits: `packed` has `count` of them one behind the other, each its tag (8 bytes),
/// whether it waits for room (4 bytes; 0: no; 1: as with mw_publish_later; 2: likewise, but option publish_timeout does not hold), its topic,
/// and itself as data of MW_PACKED is. Those that are refused have no completion: they are put into `refused`, which has `count` places, their
/// number into `n`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_packed(
    mesh: *mut mw_client,
    packed: *const u8,
    len: usize,
    count: usize,
    queue: *mut mw_queue,
    refused: *mut mw_refusal,
    n: *mut usize,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        place("publish", "n", n)?;
        place("publish", "refused", refused)?;
        array::<mw_refusal>("publish", "count", count)?;
        let client = held("publish", mesh)?.client;
        // SAFETY: bytes of the program's.
        let mut packed = Unpack::new(unsafe { bytes("publish", packed, len) }?);
        let mut refused = Refused { place: refused, count: 0 };
        let hooked = hooks::are_there(&client);
        let read = with_queue("publish", queue, |queue| {
            for _ in 0..count {
                let tag = u64::from_le_bytes(packed.number()?);
                let room = packed.small()?;
                let (topic, draft) = (packed.text("topic"), packed.event()?);
                let begun = topic.and_then(|topic| {
                    let room = match room {
                        0 => Room::Now,
                        1 => Room::Wait,
                        2 => Room::Soon,
                        other => return Err(invalid("publish", format!("{other} is no way to wait for room"))),
                    };
                    let draft = if hooked { hooks::published(&client, topic, draft?)? } else { draft? };
                    client.begin_publish(topic, draft.finish()?, room, queue, tag)
                });
                if let Err(error) = begun {
                    // SAFETY: the program says that there are so many places.
                    unsafe { refused.put(tag, error.of_call("publish")) };
                }
            }
            Ok(())
        });
        // SAFETY: the program's place for it.
        unsafe { n.write(refused.count) };
        read
    })
}

/// Begins to publish many events as mw_publish_batch_start does: `packed` has `count` of them one behind the other, as data of MW_PACKED
/// is. What is wrong with one of them is in its result alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_publish_batch_packed(
    mesh: *mut mw_client,
    topic: *const c_char,
    packed: *const u8,
    len: usize,
    count: usize,
    queue: *mut mw_queue,
    tag: u64,
    operation: *mut *mut mw_operation,
    err: *mut *mut mw_error,
) -> c_int {
    done("publish", err, || {
        let client = held("publish", mesh)?.client;
        // SAFETY: a text of the program's.
        let topic = unsafe { text("publish", "topic", topic) }?;
        // SAFETY: bytes of the program's.
        let mut packed = Unpack::new(unsafe { bytes("publish", packed, len) }?);
        let mut events: Vec<Result<TimedEvent>> = Vec::new();
        for _ in 0..count {
            let event = packed.event()?;
            let event = event.and_then(|draft| hooks::published(&client, topic, draft)?.finish());
            events.push(event.map_err(|error| error.of_call("publish")));
        }
        let ask = Ask::PublishBatch { topic: topic.to_owned(), events };
        // SAFETY: the program's place for it.
        unsafe { begin("publish", queue, tag, operation, |queue| client.begin(ask, queue, tag)) }
    })
}
