//! Messages of gRPC that hold bytes of a session: five bytes, flag and big-endian length, before each.
//!
//! Where a message ends means nothing: what is in them is one stream of bytes.

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};

/// The path of the call that carries a session.
pub const SESSION_PATH: &str = "/meshwire.session.v1.Session/Open";

/// The content type of calls.
pub const CONTENT_TYPE: &str = "application/grpc";

/// Flag and length.
const PREFIX: usize = 5;

/// Data that is sent at once is at least so long. Receivers of HTTP/2 give up a connection in which very many smaller frames wait to be
/// read, however few bytes they are; in Rust's `h2` smaller ones than this count.
const LEAST: usize = 256;

/// A message was compressed, which is never negotiated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a gRPC message is compressed; compression is not supported: send it as it is")]
pub struct Compressed;

/// Takes the bytes out of messages.
#[derive(Debug, Default)]
pub struct Unframer {
    head: [u8; PREFIX],
    have: usize,
    /// Bytes of the message in hand that are still to come.
    left: usize,
}

impl Unframer {
    /// The next piece of what `chunk` holds, which is a slice of it; `Ok(None)` when it is used up.
    ///
    /// # Errors
    /// [`Compressed`].
    pub fn next(&mut self, chunk: &mut Bytes) -> Result<Option<Bytes>, Compressed> {
        while !chunk.is_empty() {
            if self.left > 0 {
                let count = self.left.min(chunk.len());
                self.left -= count;
                return Ok(Some(chunk.split_to(count)));
            }
            if let Some(byte) = self.head.get_mut(self.have) {
                *byte = chunk.get_u8();
                self.have += 1;
            }
            if self.have == PREFIX {
                let [flag, length @ ..] = self.head;
                if flag != 0 {
                    return Err(Compressed);
                }
                self.left = u32::from_be_bytes(length) as usize;
                self.have = 0;
            }
        }
        Ok(None)
    }
}

/// Adds a message of these parts; they must be shorter than 4 GiB.
pub fn put_message(parts: &[&[u8]], out: &mut BytesMut) {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    out.reserve(PREFIX + length.max(LEAST + PREFIX));
    out.put_u8(0);
    out.put_u32(u32::try_from(length).unwrap_or(u32::MAX));
    parts.iter().for_each(|part| out.put_slice(part));
}

/// Makes what is to be sent at once long enough, by messages without bytes.
pub fn pad(out: &mut BytesMut) {
    while out.len() < LEAST {
        out.put_bytes(0, PREFIX);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn read(unframer: &mut Unframer, bytes: &[u8]) -> Result<Vec<u8>, Compressed> {
        let mut chunk = Bytes::copy_from_slice(bytes);
        let mut found = Vec::new();
        while let Some(piece) = unframer.next(&mut chunk)? {
            found.extend_from_slice(&piece);
        }
        Ok(found)
    }

    #[test]
    fn bytes_come_out_as_they_went_in_however_they_are_cut() {
        let mut out = BytesMut::new();
        put_message(&[b"one ", b"", b"two "], &mut out);
        put_message(&[], &mut out);
        put_message(&[&[7; 600]], &mut out);
        let mut expected = b"one two ".to_vec();
        expected.extend([7; 600]);
        for size in 1..out.len() {
            let mut unframer = Unframer::default();
            let found: Vec<u8> = out.chunks(size).flat_map(|chunk| read(&mut unframer, chunk).unwrap()).collect();
            assert_eq!(found, expected, "in pieces of {size}");
        }
    }

    #[test]
    fn padding_is_long_enough_and_says_nothing() {
        for length in [0, 1, 250, 251, 256, 300] {
            let mut out = BytesMut::new();
            put_message(&[&vec![1; length]], &mut out);
            pad(&mut out);
            assert!(out.len() >= LEAST && out.len() <= (length + 2 * PREFIX).max(LEAST + PREFIX), "{length}");
            assert_eq!(read(&mut Unframer::default(), &out).unwrap(), vec![1; length]);
        }
    }

    #[test]
    fn a_compressed_message_is_refused() {
        assert_eq!(read(&mut Unframer::default(), &[1, 0, 0, 0, 1, 9]), Err(Compressed));
    }
}
