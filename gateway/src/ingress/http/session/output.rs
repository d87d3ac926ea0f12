//! Bytes for a client that it has not acknowledged, in the pieces that they were sent in: what is kept shares its memory with what is on
//! the way, and goes with it.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

/// Most that one answer or one piece of a stream has.
const PIECE: usize = 64 * 1024;

/// All of them, in order.
#[derive(Debug, Default)]
pub(super) struct Output {
    pieces: VecDeque<Bytes>,
    /// Bytes of those.
    sealed: usize,
    /// What is behind them, and in no piece yet: at most one.
    open: BytesMut,
}

impl Output {
    pub(super) fn len(&self) -> usize {
        self.sealed + self.open.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = PIECE - self.open.len();
            let (now, rest) = bytes.split_at(room.min(bytes.len()));
            self.open.extend_from_slice(now);
            if self.open.len() == PIECE {
                self.seal();
                // The next one does not keep this one's memory.
                self.open = BytesMut::new();
            }
            bytes = rest;
        }
    }

    fn seal(&mut self) {
        let piece = self.open.split().freeze();
        self.sealed += piece.len();
        self.pieces.push_back(piece);
    }

    /// A piece that begins so many bytes behind the first, if something is there.
    pub(super) fn piece(&mut self, from: usize) -> Option<Bytes> {
        if from >= self.len() {
            return None;
        }
        if from >= self.sealed {
            self.seal();
        }
        // As a rule it is the last one.
        let mut end = self.sealed;
        let mut found = None;
        for piece in self.pieces.iter().rev() {
            end -= piece.len();
            if from >= end {
                found = Some(piece.slice(from - end..));
                break;
            }
        }
        found
    }

    /// The first ones are acknowledged: at most all of them.
    pub(super) fn advance(&mut self, mut count: usize) {
        while let Some(first) = self.pieces.front_mut().filter(|_| count > 0) {
            let gone = count.min(first.len());
            count -= gone;
            self.sealed -= gone;
            if gone < first.len() {
                first.advance(gone);
                return;
            }
            self.pieces.pop_front();
        }
        self.open.advance(count.min(self.open.len()));
        if self.is_empty() {
            // Whose client has all keeps no memory.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn it_says_what_one_row_of_bytes_would_say() {
        let mut state = 7u64;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % below
        };
        let (mut output, mut row) = (Output::default(), Vec::new());
        for round in 0..2000_u32 {
            match random(4) {
                0 | 1 => {
                    let most = [50, 300_000][random(2)];
                    let bytes: Vec<u8> = (0..random(most)).map(|n| (n as u32 + round) as u8).collect();
                    output.push(&bytes);
                    row.extend_from_slice(&bytes);
                }
                2 => {
                    let count = random(row.len() + 1);
                    output.advance(count);
                    row.drain(..count);
                }
                _ => {
                    let from = random(row.len() + 2);
                    let piece = output.piece(from);
                    assert_eq!(piece.is_some(), from < row.len());
                    let piece = piece.unwrap_or_default();
                    assert!(piece.len() <= PIECE && row.get(from..).unwrap_or_default().starts_with(&piece));
                }
            }
            assert_eq!((output.len(), output.is_empty()), (row.len(), row.is_empty()));
        }
    }

    #[test]
    fn what_is_acknowledged_but_for_its_last_byte_keeps_no_more_than_a_piece() {
        let mut output = Output::default();
        output.push(&vec![1; 20 * PIECE + 1]);
        for from in (0..20 * PIECE).step_by(PIECE) {
            assert_eq!(output.piece(from).map(|piece| piece.len()), Some(PIECE));
        }
        output.advance(20 * PIECE);
        assert_eq!((output.len(), output.pieces.len()), (1, 0));
        assert!(output.open.capacity() <= PIECE, "{}", output.open.capacity());
        output.advance(1);
        assert_eq!(output.open.capacity() + output.pieces.capacity(), 0);
    }
}
