//! What was received, to read.

use std::ffi::{c_char, c_int};

use meshwire_embed::{Data, EventLayout, EventView, Inquiry, Job, OptionalAttributes, Received, Reply, Result};

use crate::border::{mw_string, text};
use crate::event::{mw_data, mw_data_kind};

/// Of a time: there is none.
pub(crate) const MW_NO_TIME: i64 = i64::MIN;

/// What a program makes an empty one of these with.
pub(crate) const NEW_MESSAGE: &str = "mw_message_new()";

/// An event that was received, and how it came. Texts and data are slices of what was received: they live until it is settled or freed.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_message {
    /// Of this struct: set it to sizeof before it is filled.
    pub size: usize,
    /// With `source` it identifies the event.
    pub id: mw_string,
    /// Who published it.
    pub source: mw_string,
    /// What happened.
    pub r#type: mw_string,
    /// What in the source it is about.
    pub subject: mw_string,
    /// Events of one key come in order (attribute partitionkey).
    pub key: mw_string,
    /// What the data is.
    pub datacontenttype: mw_string,
    /// Where the data's schema is.
    pub dataschema: mw_string,
    /// When it happened, in milliseconds since 1970; MW_NO_TIME: it does not say. mw_*_attribute of "time" has all its digits.
    pub time_ms: i64,
    /// The data.
    pub data: mw_data,
    /// The topic that it came from.
    pub topic: mw_string,
    /// Where it is in its topic; 0 of requests and replies.
    pub position: u64,
    /// How often clients of the group have got it, this time included: 1 the first time; 0 of requests and replies. What went back before a
    /// program was handed it counts too, so that it may be more than the failures and one. Of deliveries before the gateway's last start
    /// only those count that failed.
    pub attempt: u32,
    /// Of a request: many replies are wanted.
    pub wants_stream: bool,
    /// Events that retention removed just before this one.
    pub gap: u64,
    /// When the gateway stored it, in milliseconds since 1970; 0 of requests and replies.
    pub stored_ms: i64,
    /// From when on nobody gets it any more, likewise; MW_NO_TIME: never.
    pub expires_at_ms: i64,
    /// Of a request: how long its requester still waits, in milliseconds.
    pub remaining_ms: i64,
    /// Of work for a handler: its number, which `lost` of mw_work names.
    pub number: u64,
}

/// Whatever has an event.
#[derive(Clone, Copy)]
pub(crate) enum Message<'a> {
    Delivery(&'a Received),
    Job(&'a Job),
    Request(&'a Inquiry),
    Reply(&'a Reply),
}

impl<'a> Message<'a> {
    pub(crate) fn event(&self) -> EventView<'a> {
        match *self {
            Self::Delivery(delivery) => delivery.event(),
            Self::Job(job) => job.event(),
            Self::Request(request) => request.event(),
            Self::Reply(reply) => reply.event(),
        }
    }

    /// Its bytes, and where the parts are in them.
    pub(crate) fn laid_out(&self) -> (&'a [u8], EventLayout) {
        match *self {
            Self::Delivery(delivery) => (delivery.raw(), delivery.layout()),
            _ => {
                let event = self.event();
                (event.as_bytes(), event.layout())
            }
        }
    }

    /// How it came.
    pub(crate) fn come(&self) -> Come<'a> {
        let none = Come::NOTHING;
        match *self {
            Self::Delivery(delivery) => Come {
                topic: delivery.topic(),
                position: delivery.position().number(),
                attempt: delivery.attempt(),
                gap: delivery.gap(),
                stored_ms: delivery.stored().0,
                expires_at_ms: delivery.expires_at().map_or(MW_NO_TIME, |at| at.0),
                ..none
            },
            Self::Job(job) => Come {
                topic: job.topic(),
                position: job.position().number(),
                attempt: job.attempt(),
                gap: job.gap(),
                stored_ms: job.stored().0,
                expires_at_ms: job.expires_at().map_or(MW_NO_TIME, |at| at.0),
                number: job.number(),
                ..none
            },
            Self::Request(request) => Come {
                topic: request.topic(),
                number: request.number(),
                wants_stream: request.wants_stream(),
                remaining_ms: i64::try_from(request.remaining().as_millis()).unwrap_or(i64::MAX),
                ..none
            },
            Self::Reply(_) => none,
        }
    }
}

pub(crate) const fn kind_of(data: Data<'_>) -> mw_data_kind {
    match data {
        Data::Absent => mw_data_kind::MW_NO_DATA,
        Data::Binary(_) => mw_data_kind::MW_BYTES,
        Data::Text(_) => mw_data_kind::MW_TEXT_DATA,
        Data::Proto(_) => mw_data_kind::MW_PROTO,
    }
}

impl mw_message {
    pub(crate) fn of(message: Message<'_>) -> Self {
        let ((whole, layout), come) = (message.laid_out(), message.come());
        let part = |[start, len]: [u32; 2]| {
            let start = start as usize;
            whole.get(start..start + len as usize).unwrap_or_default()
        };
        let [id, source, kind, key, data] = layout.parts();
        let data = part(data);
        let optional = OptionalAttributes::of(whole);
        let given = |text: Option<&[u8]>| text.map_or(mw_string::NONE, mw_string::of);
        Self {
            size: size_of::<Self>(),
            id: mw_string::of(part(id)),
            source: mw_string::of(part(source)),
            r#type: mw_string::of(part(kind)),
            subject: given(optional.subject),
            key: given((key != [0, 0]).then(|| part(key))),
            datacontenttype: given(optional.data_content_type),
            dataschema: given(optional.data_schema),
            time_ms: optional.time.map_or(MW_NO_TIME, |time| time.0),
            data: mw_data { ptr: data.as_ptr(), len: data.len(), kind: kind_of(layout.data_kind()) as c_int },
            topic: given((!come.topic.is_empty()).then_some(come.topic.as_bytes())),
            position: come.position,
            attempt: come.attempt,
            wants_stream: come.wants_stream,
            gap: come.gap,
            stored_ms: come.stored_ms,
            expires_at_ms: come.expires_at_ms,
            remaining_ms: come.remaining_ms,
            number: come.number,
        }
    }

    /// Copies as much as the program's header has.
    ///
    /// # Safety
    /// `place` has `size` bytes.
    pub(crate) unsafe fn put(self, place: *mut Self, size: usize) {
        // SAFETY: as this function's; `size` was checked, and is at most that of this struct.
        unsafe { std::ptr::copy_nonoverlapping((&raw const self).cast::<u8>(), place.cast::<u8>(), size) };
        // SAFETY: its first field is its size, which stays as the program said it.
        unsafe { place.cast::<usize>().write(size) };
    }
}

/// An attribute as its canonical text into a buffer of the program's, ended by a zero if there is room: gives how many bytes it has without
/// that, at most `size - 1` of which are in `buffer`; -1: the event has no such attribute.
///
/// # Safety
/// `name` ends with a zero, `buffer` has `size` bytes.
pub(crate) unsafe fn attribute(
    event: &EventView<'_>,
    name: *const c_char,
    buffer: *mut c_char,
    size: usize,
) -> Result<i64> {
    // SAFETY: as this function's.
    let name = unsafe { text("read", "name", name) }?;
    let found = match name {
        "id" => Some(event.id().to_owned()),
        "source" => Some(event.source().to_owned()),
        "type" => Some(event.kind().to_owned()),
        "specversion" => Some("1.0".to_owned()),
        _ => event.attribute(name).map(|value| value.to_string()),
    };
    let Some(found) = found else { return Ok(-1) };
    if size > 0 && !buffer.is_null() {
        let count = found.floor_char_boundary(found.len().min(size - 1));
        // SAFETY: as this function's.
        unsafe {
            std::ptr::copy_nonoverlapping(found.as_ptr().cast(), buffer, count);
            buffer.add(count).write(0);
        }
    }
    Ok(i64::try_from(found.len()).unwrap_or(i64::MAX))
}

/// The name and canonical text of one attribute but id, source, type and specversion, by number from 0.
pub(crate) fn nth(event: &EventView<'_>, index: usize) -> Option<(String, String)> {
    event.attributes().nth(index).map(|(name, value)| (name.to_owned(), value.to_string()))
}

/// How a message came.
pub(crate) struct Come<'a> {
    pub(crate) topic: &'a str,
    pub(crate) position: u64,
    pub(crate) attempt: u32,
    pub(crate) gap: u64,
    pub(crate) stored_ms: i64,
    pub(crate) expires_at_ms: i64,
    pub(crate) remaining_ms: i64,
    pub(crate) number: u64,
    pub(crate) wants_stream: bool,
}

impl Come<'_> {
    pub(crate) const NOTHING: Self = Self {
        topic: "",
        position: 0,
        attempt: 0,
        gap: 0,
        stored_ms: 0,
        expires_at_ms: MW_NO_TIME,
        remaining_ms: 0,
        number: 0,
        wants_stream: false,
    };
}
