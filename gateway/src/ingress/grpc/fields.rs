//! How many fields a message has: what is decoded of one takes many times its bytes, where those are short.

use meshwire_proto::ErrorKind;
use prost::encoding::{DecodeContext, decode_key, skip_field};

use crate::ingress::calls::{MAX_BATCH, MAX_SETTLEMENTS};
use crate::mesh::Refusal;

/// Most fields of a message: more than any has that is taken, as events and settlements are never in one.
const MOST: usize = MAX_BATCH + MAX_SETTLEMENTS;

/// Refuses a message of too many fields before anything is made of it. What is wrong with one is found when it is decoded.
///
/// # Errors
/// `TOO_LARGE`.
pub(super) fn check(mut message: &[u8]) -> Result<(), Refusal> {
    let mut skip = || {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()
    };
    // Both give nothing at the end.
    if (0..=MOST).all(|_| skip().is_some()) {
        let text = format!(
            "the message has over {MOST} fields; {MAX_BATCH} events and {MAX_SETTLEMENTS} settlements are the most of one call: \
             make several calls"
        );
        return Err(Refusal::new(ErrorKind::TooLarge, text));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_of_too_many_fields_is_refused_whatever_they_are_and_a_broken_one_is_left_to_its_decoder() {
        for field in [&b"\x12\x00"[..], b"\x08\x01", b"\x0b\x08\x01\x0c", b"\x0d\0\0\0\0"] {
            let refused = |count| check(&field.repeat(count)).map_err(|refusal| refusal.kind);
            assert_eq!((refused(MOST), refused(MOST + 1)), (Ok(()), Err(ErrorKind::TooLarge)), "{field:?}");
        }
        let inside = [&b"\x12\x02\x12\x00"[..], &b"\x12\x00".repeat(MOST - 1)].concat();
        assert!(check(&inside).is_ok(), "what stands in one is none");
        assert!(check(&[&b"\x0f"[..], &b"\x12\x00".repeat(MOST + 1)].concat()).is_ok(), "no wire type");
        assert!(check(b"").is_ok() && check(b"\x0b\x0b").is_ok());
    }
}
