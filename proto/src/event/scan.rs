//! A borrowing protobuf reader for the one validating scan.

use super::EventError;
use crate::frame::read_varint;

/// A field's value, borrowed.
pub(super) enum Field<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Reads the fields of one message.
#[derive(Clone, Copy)]
pub(super) struct Scanner<'a> {
    rest: &'a [u8],
}

/// What is wrong with a message. Two words: it is returned for every field, and
/// becomes an [`EventError`] only when it is one.
#[derive(Clone, Copy)]
pub(super) struct Broken(&'static str);

impl From<Broken> for EventError {
    #[cold]
    fn from(Broken(problem): Broken) -> Self {
        Self::Malformed(problem)
    }
}

const CUT: Broken = Broken("a field is cut short");

impl<'a> Scanner<'a> {
    pub(super) const fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// What was not read yet.
    pub(super) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Broken> {
        // One byte is by far the most frequent.
        if let Some((&byte, rest)) = self.rest.split_first().filter(|(b, _)| **b < 0x80) {
            self.rest = rest;
            return Ok(u64::from(byte));
        }
        let (value, len) = read_varint(self.rest).ok_or(CUT)?;
        self.rest = self.rest.get(len..).ok_or(CUT)?;
        Ok(value)
    }

    #[inline]
    fn take(&mut self, len: u64) -> Result<&'a [u8], Broken> {
        let (taken, rest) = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len)).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }

    // Its answer is five words: as a call, each field would go through memory.
    #[inline(always)]
    pub(super) fn next(&mut self) -> Result<Option<(u64, Field<'a>)>, Broken> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        if tag >> 3 == 0 || tag >> 3 >= 1 << 29 {
            return Err(Broken("a field number is 0 or too large"));
        }
        // Nearly every field of an event is a byte string; the others may take a jump.
        if tag & 7 == 2 {
            let len = self.varint()?;
            return Ok(Some((tag >> 3, Field::Bytes(self.take(len)?))));
        }
        let field = match tag & 7 {
            0 => Field::Varint(self.varint()?),
            1 => self.take(8).map(|_| Field::Fixed)?,
            5 => self.take(4).map(|_| Field::Fixed)?,
            _ => return Err(Broken("a wire type that proto3 does not have")),
        };
        Ok(Some((tag >> 3, field)))
    }
}

/// UTF-8, or an error that names the place.
pub(super) fn utf8<'a>(bytes: &'a [u8], what: &'static str) -> Result<&'a str, EventError> {
    std::str::from_utf8(bytes).map_err(|_| EventError::value(what, "is not UTF-8"))
}
