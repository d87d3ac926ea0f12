//! Protobuf at its lowest level, over `Bytes`: tags, varints, skipping.

use bytes::{BufMut, Bytes, BytesMut};

use super::FrameError;

/// One field's value.
pub(crate) enum Value {
    /// Wire type 0.
    Varint(u64),
    /// Wire types 1 and 5: nothing of ours uses them.
    Fixed,
    /// Wire type 2, a slice of the message.
    Bytes(Bytes),
}

/// Reads the fields of one message in order.
pub(crate) struct Fields {
    frame: &'static str,
    rest: Bytes,
}

/// Reads a varint of at most ten bytes; `None` when cut short or too long.
pub(crate) fn read_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(10).enumerate() {
        let bits = u64::from(byte & 0x7F);
        if at == 9 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}

/// Bytes that [`put_varint`] writes.
pub(crate) const fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

pub(crate) fn put_varint(out: &mut BytesMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8((value as u8 & 0x7F) | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Writes a varint field, leaving out zero as proto3 does.
pub(crate) fn put_number(out: &mut BytesMut, field: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, value);
    }
}

/// Writes a varint field that says by its presence that it was given.
pub(crate) fn put_present(out: &mut BytesMut, field: u32, value: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, value);
}

/// Writes a length-delimited field, leaving out the empty one as proto3 does.
pub(crate) fn put_bytes(out: &mut BytesMut, field: u32, value: &[u8]) {
    if !value.is_empty() {
        put_head(out, field, value.len());
        out.put_slice(value);
    }
}

/// Writes tag and length of a length-delimited field.
pub(crate) fn put_head(out: &mut BytesMut, field: u32, len: usize) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, len as u64);
}

/// Bytes that [`put_number`] writes.
pub(crate) const fn number_len(field: u32, value: u64) -> usize {
    if value == 0 { 0 } else { varint_len((field as u64) << 3) + varint_len(value) }
}

/// Bytes that [`put_present`] writes.
pub(crate) const fn present_len(field: u32, value: u64) -> usize {
    varint_len((field as u64) << 3) + varint_len(value)
}

/// Bytes of a length-delimited field with its head.
pub(crate) const fn bytes_len(field: u32, len: usize) -> usize {
    varint_len((field as u64) << 3) + varint_len(len as u64) + len
}

impl Fields {
    pub(crate) const fn new(frame: &'static str, message: Bytes) -> Self {
        Self { frame, rest: message }
    }

    /// What was not read yet, from the next field's tag on.
    pub(crate) const fn rest(&self) -> &Bytes {
        &self.rest
    }

    /// The same, for whoever takes some of it.
    pub(crate) const fn rest_mut(&mut self) -> &mut Bytes {
        &mut self.rest
    }

    fn varint(&mut self) -> Result<u64, FrameError> {
        let (value, len) = read_varint(&self.rest).ok_or_else(|| self.broken("a number is cut short or too long"))?;
        self.rest = self.rest.split_off(len);
        Ok(value)
    }

    fn take(&mut self, len: u64) -> Result<Bytes, FrameError> {
        match usize::try_from(len) {
            Ok(len) if len <= self.rest.len() => Ok(self.rest.split_to(len)),
            _ => Err(self.broken(&format!("a field of {len} bytes is cut short"))),
        }
    }

    fn broken(&self, problem: &str) -> FrameError {
        FrameError::malformed(self.frame, problem)
    }

    /// The next field's number without reading it.
    pub(crate) fn peek(&self) -> Option<u32> {
        read_varint(&self.rest).and_then(|(tag, _)| u32::try_from(tag >> 3).ok())
    }

    /// The next field, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Value)>, FrameError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let field = u32::try_from(tag >> 3)
            .ok()
            .filter(|f| *f > 0)
            .ok_or_else(|| self.broken("field number 0 or too large"))?;
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => self.take(8).map(|_| Value::Fixed)?,
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.take(len)?)
            }
            5 => self.take(4).map(|_| Value::Fixed)?,
            other => return Err(self.broken(&format!("wire type {other}"))),
        };
        Ok(Some((field, value)))
    }
}

/// A varint that must fit 32 bits.
pub(crate) fn narrow(frame: &'static str, value: u64) -> Result<u32, FrameError> {
    u32::try_from(value).map_err(|_| FrameError::malformed(frame, format!("{value} does not fit 32 bits")))
}

/// A field that must be UTF-8.
pub(crate) fn text(frame: &'static str, value: &[u8]) -> Result<String, FrameError> {
    std::str::from_utf8(value).map(str::to_owned).map_err(|_| FrameError::malformed(frame, "text that is not UTF-8"))
}
