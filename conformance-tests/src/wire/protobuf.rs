//! Just enough of protobuf to write and read the frame table's messages as JSON.

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value};

use super::{Field, Kind, Message};

/// Writes a message from an object with its fields by name.
pub(crate) fn encode(message: &Message, fields: &Map<String, Value>) -> anyhow::Result<Vec<u8>> {
    let unknown = fields.keys().find(|name| !message.0.iter().any(|field| field.1 == name.as_str()));
    if let Some(name) = unknown {
        bail!("the frame table has no field {name:?} here");
    }
    let mut out = Vec::new();
    // In the table's order: events stand last.
    for (field, value) in message.0.iter().filter_map(|field| Some((field, fields.get(field.1)?))) {
        match value {
            Value::Array(items) if field.3 => {
                for item in items {
                    put(&mut out, field, item)?;
                }
            }
            single => put(&mut out, field, single)?,
        }
    }
    Ok(out)
}

fn put(out: &mut Vec<u8>, field: &Field, value: &Value) -> anyhow::Result<()> {
    let wrong = || format!("field {:?} cannot be {value}", field.1);
    let (varint, bytes) = match &field.2 {
        Kind::Number => {
            let signed = || value.as_i64().map(i64::cast_unsigned);
            (Some(value.as_u64().or_else(signed).with_context(wrong)?), Vec::new())
        }
        Kind::Flag => (Some(value.as_bool().with_context(wrong)?.into()), Vec::new()),
        Kind::Text | Kind::Bytes => (None, bytes_of(value.as_str().with_context(wrong)?)?),
        // A text in place of a message stands for bytes that need not be one.
        Kind::Inner(_) if value.is_string() => (None, bytes_of(value.as_str().with_context(wrong)?)?),
        Kind::Inner(message) => (None, encode(message, value.as_object().with_context(wrong)?)?),
    };
    match varint {
        Some(number) => {
            put_varint(out, field.0 << 3);
            put_varint(out, number);
        }
        None => {
            put_varint(out, field.0 << 3 | 2);
            put_varint(out, bytes.len() as u64);
            out.extend_from_slice(&bytes);
        }
    }
    Ok(())
}

/// Text as it is, or `0x` and hexadecimal digits.
pub(crate) fn bytes_of(text: &str) -> anyhow::Result<Vec<u8>> {
    let Some(digits) = text.strip_prefix("0x") else {
        return Ok(text.as_bytes().to_vec());
    };
    let digits: String = digits.chars().filter(|c| !c.is_whitespace()).collect();
    ensure!(digits.len().is_multiple_of(2), "{text:?} has half a byte");
    let pairs = digits.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair));
    pairs.map(|pair| Ok(u8::from_str_radix(pair?, 16)?)).collect()
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    loop {
        let low = u8::try_from(number & 0x7F).unwrap_or(0);
        number >>= 7;
        if number == 0 {
            return out.push(low);
        }
        out.push(low | 0x80);
    }
}

fn take_varint(bytes: &mut &[u8]) -> anyhow::Result<u64> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first().context("a number is cut off")?;
        *bytes = rest;
        number |= u64::from(first & 0x7F) << shift;
        if first & 0x80 == 0 {
            return Ok(number);
        }
    }
    bail!("a number is longer than ten bytes")
}

fn take<'a>(bytes: &mut &'a [u8], count: u64) -> anyhow::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(count)?).context("a field is cut off")?;
    *bytes = rest;
    Ok(taken)
}

/// Number of a message's first field, which names the frame.
pub(crate) fn first_field(mut message: &[u8]) -> Option<u64> {
    take_varint(&mut message).ok().map(|tag| tag >> 3)
}

/// Reads a message as an object; fields that the table lacks appear by number.
pub(crate) fn decode(message: &Message, mut bytes: &[u8]) -> anyhow::Result<Map<String, Value>> {
    let mut fields = Map::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let known = message.0.iter().find(|field| field.0 == tag >> 3);
        let raw = match tag & 7 {
            0 => Raw::Number(take_varint(&mut bytes)?),
            1 => Raw::Bytes(take(&mut bytes, 8)?),
            2 => {
                let length = take_varint(&mut bytes)?;
                Raw::Bytes(take(&mut bytes, length)?)
            }
            5 => Raw::Bytes(take(&mut bytes, 4)?),
            other => bail!("there is no wire type {other}"),
        };
        let name = known.map_or_else(|| format!("field {}", tag >> 3), |field| field.1.to_owned());
        let value = raw.read(known)?;
        match (known.is_some_and(|field| field.3), fields.get_mut(&name)) {
            (true, Some(Value::Array(items))) => items.push(value),
            (true, _) => drop(fields.insert(name, Value::Array(vec![value]))),
            (false, _) => drop(fields.insert(name, value)),
        }
    }
    Ok(fields)
}

enum Raw<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl Raw<'_> {
    fn read(&self, field: Option<&Field>) -> anyhow::Result<Value> {
        Ok(match (self, field.map(|field| &field.2)) {
            (Self::Number(number), Some(Kind::Flag)) => Value::Bool(*number != 0),
            (Self::Number(number), _) => (*number).into(),
            (Self::Bytes(bytes), Some(Kind::Inner(message))) => decode(message, bytes)?.into(),
            (Self::Bytes(bytes), _) => shown(bytes).into(),
        })
    }
}

fn shown(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => bytes.iter().fold("0x".to_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::super::SERVER;
    use super::{bytes_of, decode, encode};
    use serde_json::json;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = json!({"deliver": {"runs": [
            {"subscription": 1, "first_delivery": 300, "attempt": 1, "count": 1,
             "events": [{"id": "a", "source": "//s", "specversion": "1.0", "type": "t", "text": "x"}]}
        ]}});
        let bytes = encode(&SERVER, frame.as_object().unwrap()).unwrap();
        assert_eq!(serde_json::Value::from(decode(&SERVER, &bytes).unwrap()), frame);
        // Field 5 (deliver) and in it field 1 (a run), both with their lengths.
        assert_eq!(bytes.first_chunk(), Some(&[0x2A, 32, 0x0A, 30]));
    }

    #[test]
    fn what_is_cut_off_is_refused() {
        assert!(decode(&SERVER, &[0x2A, 5, 1]).is_err());
        assert!(decode(&SERVER, &[0x80]).is_err());
        assert_eq!(bytes_of("0x0a FF").unwrap(), [10, 255]);
        assert!(bytes_of("0x0").is_err());
    }
}
