//! Frames on a byte stream: the preface, then length and message.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::FrameError;

/// First bytes of a native connection, either side. The first is above 0x7F, so
/// no text protocol begins like it; the last is the version of the framing.
pub const PREFACE: [u8; 8] = [0xF3, b'm', b'e', b's', b'h', b'w', 0, 1];

/// Cuts a growing buffer into frames, each a slice of it.
#[derive(Debug)]
pub struct FrameParser {
    limit: u32,
    option: &'static str,
}

impl FrameParser {
    /// Accepts frames of at most `limit` bytes; `option` is named in the error.
    #[must_use]
    pub const fn new(limit: u32, option: &'static str) -> Self {
        Self { limit, option }
    }

    /// Sets the limit anew, as after login.
    pub fn set_limit(&mut self, limit: u32, option: &'static str) {
        *self = Self::new(limit, option);
    }

    /// Takes the next whole frame off `buffer`; `Ok(None)` when more bytes are needed.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] as soon as the length is known.
    pub fn next(&self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let Some(head) = buffer.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*head);
        if length > self.limit {
            return Err(FrameError::TooLong {
                length: u64::from(length),
                limit: u64::from(self.limit),
                option: self.option,
            });
        }
        let whole = 4 + length as usize;
        if buffer.len() < whole {
            buffer.reserve(whole - buffer.len());
            return Ok(None);
        }
        let mut frame = buffer.split_to(whole).freeze();
        frame.advance(4);
        Ok(Some(frame))
    }
}

/// Leaves room for a frame's length; give the result to [`end_frame`].
pub fn begin_frame(out: &mut BytesMut) -> usize {
    out.put_u32_le(0);
    out.len()
}

/// Fills in the length of the frame that began at `start`; `appended` bytes of
/// it follow from elsewhere.
pub fn end_frame(out: &mut BytesMut, start: usize, appended: usize) {
    let length = u32::try_from(out.len() - start + appended).unwrap_or(u32::MAX);
    if let Some(head) = start.checked_sub(4).and_then(|at| out.get_mut(at..start)) {
        head.copy_from_slice(&length.to_le_bytes());
    }
}
