//! Events as JavaScript writes them: fields one behind the other, each a byte that says what it is, names and values with their length.

use std::time::Duration;

use meshwire_embed::{Draft, Result};

use crate::guard::invalid;

/// Reads what the other half wrote. Numbers are of this machine's kind.
#[derive(Debug)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8]> {
        let (bytes, rest) =
            self.0.split_at_checked(count).ok_or_else(|| invalid("event", "a packed call is cut off"))?;
        self.0 = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let bytes = self.bytes(N)?;
        bytes.try_into().map_err(|_| invalid("event", "a packed call is cut off"))
    }

    pub(crate) fn byte(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    pub(crate) fn word(&mut self) -> Result<u32> {
        self.array().map(u32::from_ne_bytes)
    }

    pub(crate) fn number(&mut self) -> Result<f64> {
        self.array().map(f64::from_ne_bytes)
    }

    pub(crate) fn run(&mut self) -> Result<&'a [u8]> {
        let length = self.word()?;
        self.bytes(length as usize)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        text(self.run()?)
    }
}

pub(crate) fn text(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|_| invalid("event", "a packed text is not UTF-8"))
}

/// Milliseconds as a program says them; what is no duration is the longest there is, which the core refuses.
pub(crate) fn duration(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis / 1000.0).unwrap_or(Duration::from_millis(u64::MAX))
}

/// A whole number that is in bounds of 64 bits, or those bounds.
#[expect(clippy::cast_possible_truncation, reason = "a number beyond 64 bits is their bound, which the core refuses")]
const fn whole(number: f64) -> i64 {
    number as i64
}

/// Attributes that are named by a byte.
const NAMES: [&str; 9] =
    ["id", "source", "type", "partitionkey", "subject", "datacontenttype", "dataschema", "time", "specversion"];

/// Reads an event.
pub(crate) fn draft(bytes: &[u8]) -> Result<Draft> {
    let mut reader = Reader::new(bytes);
    let mut draft = Draft::new();
    while !reader.is_empty() {
        let kind = reader.byte()?;
        draft = match kind {
            0..9 => match NAMES.get(usize::from(kind)) {
                Some(name) => draft.text(name, reader.text()?)?,
                None => draft,
            },
            16 => {
                let name = reader.text()?;
                draft.extension_text(name, reader.text()?)?
            }
            17 => {
                let name = reader.text()?;
                draft.integer(name, whole(reader.number()?))?
            }
            18 => {
                let name = reader.text()?;
                draft.boolean(name, reader.byte()? != 0)?
            }
            19 => {
                let name = reader.text()?;
                draft.binary(name, reader.run()?)?
            }
            20 => {
                let name = reader.text()?;
                draft.time(name, whole(reader.number()?))?
            }
            32 => draft.bytes(reader.run()?.to_vec()),
            33 => draft.words(reader.text()?),
            34 => draft.json(reader.text()?),
            48 => draft.deliver_at(whole(reader.number()?))?,
            49 => draft.deliver_after(duration(reader.number()?)),
            50 => draft.expires_in(duration(reader.number()?)),
            _ => return Err(invalid("event", format!("{kind} is no field of a packed event"))),
        };
    }
    Ok(draft)
}
