//! Events of the program: data, attributes, and the drafts of hooks.

use std::ffi::{c_char, c_int};
use std::time::Duration;

use meshwire_embed::{Draft, Result};

use crate::border::{array, bytes, c_text, done, invalid, mw_error, mw_text, optional, quiet, sized, text};
use crate::values::{Value, give, look, values};

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
    /// JSON of UTF-8; "application/json" likewise. What is no JSON is MW_INVALID, with its line and column.
    MW_JSON = 3,
    /// A protobuf message, of events that are received.
    MW_PROTO = 4,
    /// A whole event, to publish without mw_publish_opts: its length (4 bytes, lowest first, as all numbers); how many attributes it has
    /// (4), and of each one of mw_attribute_kind (4; 5 is text of an extension), its name, and its value: 8 bytes, or bytes behind their
    /// length, as names and all texts; deliver_at_ms, deliver_after_ms, expires_in_ms (8 each); the kind of its data (4), and that; JSON there is not
    /// looked at.
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
    let opts = unsafe { sized("publish", opts, NOTHING, "MW_PUBLISH_OPTS_INIT") }?;
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
    array::<mw_attribute>("publish", "attribute_count", opts.attribute_count)?;
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
    if data.kind == mw_data_kind::MW_JSON as c_int {
        draft.checked_json(words(of)?)
    } else {
        with_bytes(draft, data.kind, of)
    }
}

fn words(of: &[u8]) -> Result<String> {
    let text = std::str::from_utf8(of).map_err(|_| invalid("publish", "the data is not UTF-8: pass it as bytes"));
    text.map(str::to_owned)
}

pub(crate) fn with_bytes(draft: Draft, kind: c_int, of: &[u8]) -> Result<Draft> {
    Ok(match kind {
        0 => draft,
        1 => draft.bytes(of.to_vec()),
        2 => draft.words(words(of)?),
        3 => draft.json(words(of)?),
        other => return Err(invalid("publish", format!("{other} is no mw_data_kind of data to publish"))),
    })
}

/// # Safety
/// As [`draft`].
unsafe fn with_attribute(draft: Draft, attribute: mw_attribute) -> Result<Draft> {
    // SAFETY: as this function's.
    let name = unsafe { text("publish", "the name of an attribute", attribute.name) }?;
    if ["id", "source", "type", "specversion"].contains(&name) {
        return Err(invalid("publish", format!("{name} is no extension attribute: say it in mw_publish_opts")));
    }
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

/// An attribute of an event in the hands of a hook, as text; NULL: it has none so far. Free it with mw_text_free.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_draft_get(draft: *const mw_draft, name: *const c_char) -> *mut mw_text {
    quiet(std::ptr::null_mut(), || {
        // SAFETY: a text of the program's.
        let name = unsafe { text("publish", "name", name) }?;
        let found = look!(draft, "publish", "mw_draft", Value::Draft(Drafting(draft)) => draft.get(name))?;
        found.map_or(Ok(std::ptr::null_mut()), |found| give(Value::Text(c_text(found))))
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
