//! How long the message is that is coming, told by the heads of its frames before they are whole.
//!
//! It only counts. What breaks a rule is found by the parser behind it.

/// First byte: the last frame of a message, and where the opcode is.
const LAST: u8 = 0x80;
const OPCODE: u8 = 0x0f;

/// Opcodes from here on are control frames, which may stand between the parts of a message.
const CONTROL: u8 = 8;

/// Longest head: two bytes, a length of eight, a mask of four.
const LONGEST: usize = 14;

#[derive(Debug)]
pub(super) struct Lengths {
    most: u64,
    head: [u8; LONGEST],
    /// Bytes of the head that have come.
    have: usize,
    /// Bytes of the payload that have not.
    left: u64,
    /// Bytes of the frames of the message so far, as their heads say.
    announced: u64,
    /// The frame that is coming ends its message.
    ends: bool,
}

impl Lengths {
    pub(super) const fn new(most: u64) -> Self {
        Self { most, head: [0; LONGEST], have: 0, left: 0, announced: 0, ends: false }
    }

    /// Bytes of the message that is coming, as far as they are announced; 0 between messages. Never over the most there may be: what
    /// is announced beyond it is refused and does not come.
    pub(super) fn announced(&self) -> u64 {
        self.announced.min(self.most)
    }

    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left == 0 {
                let Some((byte, rest)) = bytes.split_first() else { return };
                bytes = rest;
                self.head_byte(*byte);
                continue;
            }
            let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
            self.left -= count as u64;
            bytes = bytes.get(count..).unwrap_or_default();
            self.end_frame();
        }
    }

    fn head_byte(&mut self, byte: u8) {
        if let Some(slot) = self.head.get_mut(self.have) {
            *slot = byte;
        }
        self.have += 1;
        let [first, second, rest @ ..] = self.head;
        let extended = match second & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask = if second & 0x80 == 0 { 0 } else { 4 };
        if self.have < 2 || self.have < 2 + extended + mask {
            return;
        }
        let length = match extended {
            0 => u64::from(second & 0x7f),
            count => rest.iter().take(count).fold(0, |all, byte| all << 8 | u64::from(*byte)),
        };
        self.have = 0;
        self.left = length;
        let is_control = first & OPCODE >= CONTROL;
        self.ends = first & LAST != 0 && !is_control;
        if !is_control {
            self.announced = self.announced.saturating_add(length);
        }
        self.end_frame();
    }

    fn end_frame(&mut self) {
        if self.left == 0 && self.ends {
            self.announced = 0;
            self.ends = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The head of a masked frame.
    fn head(first: u8, length: u64) -> Vec<u8> {
        let mut head = vec![first];
        match length {
            0..126 => head.push(0x80 | length as u8),
            126..65_536 => head.extend([&[0x80 | 126][..], &(length as u16).to_be_bytes()].concat()),
            _ => head.extend([&[0x80 | 127][..], &length.to_be_bytes()].concat()),
        }
        head.extend([0; 4]);
        head
    }

    #[test]
    fn a_message_is_announced_by_its_heads_and_forgotten_when_it_is_whole() {
        for length in [1, 125, 126, 65_535, 65_536, 1 << 20] {
            for piece in [1, 7, 4096] {
                let mut lengths = Lengths::new(1 << 21);
                let bytes = [head(0x82, length), vec![0; length as usize - 1]].concat();
                bytes.chunks(piece).for_each(|bytes| lengths.read(bytes));
                assert_eq!(lengths.announced(), length);
                lengths.read(&[0]);
                assert_eq!(lengths.announced(), 0);
            }
        }
    }

    #[test]
    fn parts_add_up_control_frames_do_not_and_nothing_is_over_the_most() {
        let mut lengths = Lengths::new(1000);
        for bytes in [head(0x02, 300), vec![0; 300], head(0x89, 100), vec![0; 100], head(0x00, 0), head(0x00, 600)] {
            lengths.read(&bytes);
        }
        assert_eq!(lengths.announced(), 900);
        lengths.read(&[vec![0; 600], head(0x80, u64::MAX)].concat());
        assert_eq!(lengths.announced(), 1000);
        let mut lengths = Lengths::new(1000);
        lengths.read(&[head(0x01, 5), vec![0; 5], head(0x80, 0)].concat());
        assert_eq!(lengths.announced(), 0);
    }
}
