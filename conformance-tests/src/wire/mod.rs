//! Frames, read and written from the frame table by hand: a peer built on the
//! product's own codec would share its mistakes.

mod protobuf;
mod table;

pub(crate) use protobuf::{bytes_of, decode, encode};
pub(crate) use table::{CLIENT, SERVER};

/// First bytes of a connection, either side.
pub(crate) const PREFACE: [u8; 8] = [0xF3, b'm', b'e', b's', b'h', b'w', 0, 1];

/// A message: its fields.
#[derive(Debug)]
pub(crate) struct Message(pub(crate) &'static [Field]);

/// A field: number, name, what is inside, and whether it may come often.
#[derive(Debug)]
pub(crate) struct Field(pub(crate) u64, pub(crate) &'static str, pub(crate) Kind, pub(crate) bool);

/// What a field holds.
#[derive(Debug)]
pub(crate) enum Kind {
    Number,
    Flag,
    Text,
    Bytes,
    Inner(&'static Message),
}

/// Cuts a byte stream into the preface and frames.
#[derive(Debug, Default)]
pub(crate) struct Cutter {
    buffer: Vec<u8>,
    past_preface: bool,
}

/// A piece of a stream: its bytes, and the number of the frame in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) bytes: Vec<u8>,
    /// `None`: the preface.
    pub(crate) frame: Option<u64>,
}

impl Piece {
    /// The frame's message: what stands behind the length.
    pub(crate) fn message(&self) -> &[u8] {
        self.bytes.get(4..).unwrap_or_default()
    }
}

impl Cutter {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole piece.
    pub(crate) fn next(&mut self) -> Option<Piece> {
        let whole = if self.past_preface {
            let length = self.buffer.first_chunk::<4>().map(|head| u32::from_le_bytes(*head))?;
            4 + usize::try_from(length).ok()?
        } else {
            PREFACE.len()
        };
        if self.buffer.len() < whole {
            return None;
        }
        let rest = self.buffer.split_off(whole);
        let bytes = std::mem::replace(&mut self.buffer, rest);
        let frame = if self.past_preface { Some(protobuf::first_field(bytes.get(4..)?).unwrap_or(0)) } else { None };
        self.past_preface = true;
        Some(Piece { bytes, frame })
    }
}

/// Name of a frame, by its number in the table of its direction.
pub(crate) fn frame_name(table: &Message, number: u64) -> String {
    let found = table.0.iter().find(|field| field.0 == number);
    found.map_or_else(|| format!("frame {number}"), |field| field.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{CLIENT, Cutter, PREFACE, frame_name};

    #[test]
    fn a_stream_is_cut_into_preface_and_frames_wherever_it_was_split() {
        let mut stream = PREFACE.to_vec();
        stream.extend_from_slice(&[2, 0, 0, 0, 0x6A, 0, 0, 0, 0, 0]);
        let mut cutter = Cutter::default();
        let mut frames = Vec::new();
        for byte in stream {
            cutter.push(&[byte]);
            frames.extend(std::iter::from_fn(|| cutter.next()).map(|piece| piece.frame));
        }
        assert_eq!(frames, [None, Some(13), Some(0)]);
        assert_eq!(frame_name(&CLIENT, 13), "ping");
    }
}
