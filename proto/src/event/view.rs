//! Reading an event in place.

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::attribute::{check_name, check_text, check_value, entry, is_printable, plain_string, value};
use super::scan::{Field, Scanner, utf8};
use super::{AttributeValue, Attributes, EventError, EventLayout, EventLimits};
use crate::UnixMillis;

/// An event read in place: one validating scan found the offsets, nothing was copied.
#[derive(Clone, Copy)]
pub struct EventView<'a> {
    pub(super) bytes: &'a [u8],
    /// Known to be text since the scan, and made a `str` only where it is asked for: who wants the data alone does not pay for it.
    pub(super) id: &'a [u8],
    pub(super) source: &'a [u8],
    pub(super) kind: &'a [u8],
    pub(super) key: Option<&'a [u8]>,
    pub(super) data: Data<'a>,
}

/// An event's data as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// None.
    Absent,
    /// `binary_data`.
    Binary(&'a [u8]),
    /// `text_data`.
    Text(&'a str),
    /// `proto_data`: a `google.protobuf.Any`, opaque here.
    Proto(&'a [u8]),
}

impl<'a> Data<'a> {
    /// The bytes; of `proto_data` the encoded `Any`.
    #[must_use]
    pub const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Absent => &[],
            Self::Binary(bytes) | Self::Proto(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

/// What `specversion` is.
const VERSION: &[u8] = b"1.0";

/// Attribute names seen so far; a short event needs no allocation, and in a long one each is found in few steps.
struct Names<'a> {
    few: [&'a str; 12],
    count: usize,
    many: BTreeSet<&'a str>,
}

impl<'a> Names<'a> {
    const fn new() -> Self {
        Self { few: [""; 12], count: 0, many: BTreeSet::new() }
    }

    fn insert(&mut self, name: &'a str) -> bool {
        let few = self.few.get(..self.count).unwrap_or_default();
        if few.contains(&name) {
            return false;
        }
        if let Some(slot) = self.few.get_mut(self.count) {
            *slot = name;
            self.count += 1;
            return true;
        }
        self.many.insert(name)
    }
}

fn once<T>(slot: &mut Option<T>, value: T, what: &str) -> Result<(), EventError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(EventError::Repeated(what.to_owned())),
    }
}

/// Reads and judges one attribute; gives the key, if it is that one.
#[inline]
fn attribute<'a>(body: &'a [u8], names: &mut Names<'a>) -> Result<Option<&'a [u8]>, EventError> {
    let (name, body) = entry(body)?;
    check_name(name)?;
    let text = match plain_string(body).filter(|_| name != "time") {
        Some(text) => Some(text),
        None => {
            let value = value(name, body)?;
            check_value(name, &value)?;
            if let AttributeValue::String(Cow::Borrowed(text)) = value { Some(text.as_bytes()) } else { None }
        }
    };
    if !names.insert(name) {
        return Err(EventError::repeated(name));
    }
    Ok(text.filter(|_| name == "partitionkey"))
}

/// Required attributes on their way through the scan.
#[derive(Default)]
struct Texts {
    /// One of them is not all printable ASCII, and is to be looked at by character.
    other: bool,
}

impl Texts {
    #[inline]
    fn read<'a>(&mut self, text: &'a [u8], what: &'static str) -> Result<&'a [u8], EventError> {
        if is_printable(text) {
            return Ok(text);
        }
        self.other = true;
        utf8(text, what).map(str::as_bytes)
    }

    fn required<'a>(&self, value: Option<&'a [u8]>, name: &'static str) -> Result<&'a [u8], EventError> {
        let value = value.filter(|v| !v.is_empty()).ok_or(EventError::Missing(name))?;
        if self.other {
            check_text(name, text(value))?;
        }
        Ok(value)
    }
}

/// What was found to be text.
const fn text(bytes: &[u8]) -> &str {
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(_) => "",
    }
}

/// Bytes of attributes and of data, by a look at the heads of its fields alone.
#[cold]
fn sizes(bytes: &[u8]) -> Result<(u64, u64), EventError> {
    let (mut attributes, mut data) = (0, 0);
    let mut scan = Scanner::new(bytes);
    while let Some(field) = scan.next()? {
        match field {
            (..=5, Field::Bytes(body)) => attributes += body.len() as u64,
            (6..=8, Field::Bytes(body)) => data = body.len() as u64,
            _ => {}
        }
    }
    Ok((attributes, data))
}

fn check_size(attributes: u64, data: u64, limits: EventLimits) -> Result<(), EventError> {
    for (what, size, limit, option) in [
        ("data", data, limits.max_event_bytes, crate::options::MAX_EVENT_BYTES.name),
        ("attributes", attributes, limits.max_attribute_bytes, crate::options::MAX_ATTRIBUTE_BYTES.name),
    ] {
        if size > u64::from(limit) {
            return Err(EventError::TooLarge { what, size, limit: u64::from(limit), option });
        }
    }
    Ok(())
}

/// `source` and `id` of an event that was found valid before, without a look at the
/// rest of it. `None` if it is not one.
#[must_use]
pub fn event_identity(bytes: &[u8]) -> Option<(&str, &str)> {
    let (mut id, mut source) = (None, None);
    let mut scan = Scanner::new(bytes);
    while let Some(field) = scan.next().ok()? {
        match field {
            (1, Field::Bytes(body)) => id = Some(std::str::from_utf8(body).ok()?),
            (2, Field::Bytes(body)) => source = Some(std::str::from_utf8(body).ok()?),
            _ => {}
        }
        if let (Some(source), Some(id)) = (source, id) {
            return Some((source, id));
        }
    }
    None
}

/// Whether an attribute can be the key, by how long its name is, where that comes first.
fn may_be_key(body: &[u8]) -> bool {
    !matches!(body, [0x0A, len @ ..0x80, ..] if usize::from(*len) != "partitionkey".len())
}

/// What de-duplication and groups ask of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "CloudEvents attributes; the key is `partitionkey`")]
pub struct Identity<'a> {
    pub source: &'a [u8],
    pub id: &'a [u8],
    pub key: Option<&'a [u8]>,
}

impl<'a> Identity<'a> {
    /// Of an event that this process encoded, or that was found valid before: only its size is judged, see [`EventRun::is_encoded`](super::EventRun::is_encoded).
    ///
    /// # Errors
    /// [`EventError`]: it is too large. What is wrong with others may be found or not.
    pub fn of_encoded(bytes: &'a [u8], limits: EventLimits) -> Result<Self, EventError> {
        let mut identity = Self { source: b"", id: b"", key: None };
        let (mut attributes, mut data) = (0, 0);
        let mut scan = Scanner::new(bytes);
        while let Some((number, field)) = scan.next()? {
            // Of another encoder, with what it knows and we do not.
            let Field::Bytes(body) = field else { continue };
            match number {
                1 => identity.id = body,
                2 => identity.source = body,
                5 if may_be_key(body) => {
                    let (name, body) = entry(body)?;
                    if name == "partitionkey"
                        && let AttributeValue::String(Cow::Borrowed(text)) = value(name, body)?
                    {
                        identity.key = Some(text.as_bytes());
                    }
                }
                6..=8 => data = body.len() as u64,
                _ => {}
            }
            if number <= 5 {
                attributes += body.len() as u64;
            }
        }
        check_size(attributes, data, limits)?;
        Ok(identity)
    }
}

impl<'a> From<EventView<'a>> for Identity<'a> {
    fn from(view: EventView<'a>) -> Self {
        Self { source: view.source, id: view.id, key: view.key }
    }
}

impl<'a> EventView<'a> {
    /// Validates one encoded event.
    ///
    /// # Errors
    /// [`EventError`]: what is wrong and where. Unknown protobuf fields are kept.
    pub fn parse(bytes: &'a [u8], limits: EventLimits) -> Result<Self, EventError> {
        let (mut id, mut source, mut version, mut kind, mut key, mut data) = (None, None, None, None, None, None);
        let (mut names, mut texts) = (Names::new(), Texts::default());
        let mut attribute_bytes = 0;
        let mut scan = Scanner::new(bytes);
        while let Some((number, field)) = scan.next()? {
            let body = match field {
                Field::Bytes(body) => body,
                Field::Varint(_) | Field::Fixed if number <= 8 => {
                    return Err(EventError::Malformed("a field of CloudEvent has a wrong wire type"));
                }
                _ => continue,
            };
            if number <= 5 {
                attribute_bytes += body.len() as u64;
                // At once: what a peer may send as one event is far more, and each attribute costs a place among the names.
                if attribute_bytes > u64::from(limits.max_attribute_bytes) {
                    let (attributes, data) = sizes(bytes)?;
                    check_size(attributes, data, limits)?;
                }
            }
            match number {
                1 => once(&mut id, texts.read(body, "id")?, "id")?,
                2 => once(&mut source, texts.read(body, "source")?, "source")?,
                3 => once(&mut version, texts.read(body, "specversion")?, "specversion")?,
                4 => once(&mut kind, texts.read(body, "type")?, "type")?,
                5 => key = attribute(body, &mut names)?.or(key),
                6 => once(&mut data, Data::Binary(body), "data")?,
                7 => once(&mut data, Data::Text(utf8(body, "text_data")?), "data")?,
                8 => once(&mut data, Data::Proto(body), "data")?,
                _ => {}
            }
        }
        if version != Some(VERSION) {
            let other = texts.required(version, "specversion")?;
            return Err(EventError::Version(text(other).chars().take(20).collect()));
        }
        let view = Self {
            bytes,
            id: texts.required(id, "id")?,
            source: texts.required(source, "source")?,
            kind: texts.required(kind, "type")?,
            key,
            data: data.unwrap_or(Data::Absent),
        };
        check_size(attribute_bytes, view.data.bytes().len() as u64, limits)?;
        Ok(view)
    }

    /// Where its parts are, so that it can be read again without another scan.
    #[must_use]
    pub fn layout(&self) -> EventLayout {
        EventLayout::of(self)
    }

    /// The encoded event.
    #[must_use]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// CloudEvents attribute `id`.
    #[must_use]
    pub const fn id(&self) -> &'a str {
        text(self.id)
    }

    /// CloudEvents attribute `source`.
    #[must_use]
    pub const fn source(&self) -> &'a str {
        text(self.source)
    }

    /// CloudEvents attribute `type`.
    #[must_use]
    pub const fn kind(&self) -> &'a str {
        text(self.kind)
    }

    /// Extension attribute `partitionkey`: events of one key keep their order.
    #[must_use]
    pub const fn key(&self) -> Option<&'a str> {
        match self.key {
            Some(key) => Some(text(key)),
            None => None,
        }
    }

    /// The data.
    #[must_use]
    pub const fn data(&self) -> Data<'a> {
        self.data
    }

    /// Every attribute but the four required ones, in stored order.
    #[must_use]
    pub fn attributes(&self) -> Attributes<'a> {
        Attributes { scan: Scanner::new(self.bytes) }
    }

    /// One attribute, `None` when absent. For the required four use their methods.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<AttributeValue<'a>> {
        self.attributes().find(|(n, _)| *n == name).map(|(_, value)| value)
    }

    /// CloudEvents attribute `datacontenttype`.
    #[must_use]
    pub fn data_content_type(&self) -> Option<String> {
        self.attribute("datacontenttype").map(|v| v.to_string())
    }

    /// CloudEvents attribute `dataschema`.
    #[must_use]
    pub fn data_schema(&self) -> Option<String> {
        self.attribute("dataschema").map(|v| v.to_string())
    }

    /// CloudEvents attribute `subject`.
    #[must_use]
    pub fn subject(&self) -> Option<String> {
        self.attribute("subject").map(|v| v.to_string())
    }

    /// CloudEvents attribute `time`, to the millisecond; [`attribute`](Self::attribute) has all its digits.
    #[must_use]
    pub fn time(&self) -> Option<UnixMillis> {
        match self.attribute("time")? {
            AttributeValue::Timestamp(time) => Some(super::optional::in_millis(&time)),
            _ => None,
        }
    }
}

impl std::fmt::Debug for EventView<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventView")
            .field("id", &self.id())
            .field("source", &self.source())
            .field("type", &self.kind())
            .field("data_bytes", &self.data.bytes().len())
            .finish_non_exhaustive()
    }
}
