//! The data of every event: 256 bytes that prove they arrived whole, once and in
//! order. Random, so that nothing on the way can compress them.
//!
//! Layout: CRC32C of what follows (u32), publisher (u32), sequence from 0 (u64),
//! 240 random bytes; little-endian.

use anyhow::{Context, bail, ensure};
use bytes::{BufMut, Bytes, BytesMut};

/// Bytes of data in an event.
pub(crate) const BYTES: usize = 256;

const RANDOM: usize = BYTES - 16;
/// Random bytes to draw from: more than a compressor's window or a core's nearest cache.
const POOL: usize = 1 << 20;
/// Payloads of one buffer, so that making one is seldom an allocation.
const CHUNK: usize = 256 * BYTES;

/// Makes one publisher's payloads.
#[derive(Debug)]
pub(crate) struct Payloads {
    publisher: u32,
    next: u64,
    pool: Vec<u8>,
    chunk: BytesMut,
}

impl Payloads {
    pub(crate) fn new(publisher: u32) -> Self {
        Self { publisher, next: 0, pool: pool(POOL), chunk: BytesMut::new() }
    }

    /// For one of many publishers: a smaller stock of random bytes.
    pub(crate) fn small(publisher: u32) -> Self {
        Self { publisher, next: 0, pool: pool(POOL / 64), chunk: BytesMut::new() }
    }

    /// How many were made.
    pub(crate) const fn made(&self) -> u64 {
        self.next
    }

    /// The next payload.
    pub(crate) fn next(&mut self) -> Bytes {
        if self.chunk.capacity() < BYTES {
            self.chunk.reserve(CHUNK);
        }
        let payload = self.make();
        self.chunk.put_slice(&payload);
        self.chunk.split().freeze()
    }

    /// The next payload, for who copies it.
    pub(crate) fn make(&mut self) -> [u8; BYTES] {
        // Steps of a prime number: neighbours share no aligned bytes.
        let at = (self.next.wrapping_mul(7919) % (self.pool.len() - RANDOM) as u64) as usize;
        let random = self.pool.get(at..at + RANDOM).unwrap_or_default();
        let mut payload = [0; BYTES];
        let (_, mut rest) = payload.split_at_mut(4);
        rest.put_u32_le(self.publisher);
        rest.put_u64_le(self.next);
        rest.put_slice(random);
        self.next += 1;
        let of = crc32c::crc32c(payload.get(4..).unwrap_or_default());
        if let Some(checksum) = payload.first_chunk_mut() {
            *checksum = of.to_le_bytes();
        }
        payload
    }
}

fn pool(bytes: usize) -> Vec<u8> {
    let mut pool = vec![0; bytes];
    fastrand::fill(&mut pool);
    pool
}

/// Checks what arrives: every publisher's payloads once each, in order, whole.
#[derive(Debug)]
pub(crate) struct Verifier {
    next: Vec<u64>,
    count: u64,
}

impl Verifier {
    pub(crate) fn new(publishers: usize) -> Self {
        Self { next: vec![0; publishers], count: 0 }
    }

    /// How many arrived.
    pub(crate) const fn count(&self) -> u64 {
        self.count
    }

    /// Checks one event's data.
    ///
    /// # Errors
    /// What is wrong: damage, a gap or a duplicate.
    pub(crate) fn check(&mut self, data: &[u8]) -> anyhow::Result<()> {
        ensure!(data.len() == BYTES, "an event of {} bytes arrived, {BYTES} were sent", data.len());
        let (checksum, rest) = data.split_first_chunk().context("an event is too short")?;
        ensure!(crc32c::crc32c(rest) == u32::from_le_bytes(*checksum), "an event arrived damaged");
        let (publisher, rest) = rest.split_first_chunk().context("an event is too short")?;
        let publisher = u32::from_le_bytes(*publisher);
        let sequence = u64::from_le_bytes(*rest.first_chunk().context("an event is too short")?);
        let Some(next) = self.next.get_mut(publisher as usize) else {
            bail!("an event of publisher {publisher} arrived, which does not exist");
        };
        let expected = std::mem::replace(next, sequence + 1);
        match sequence.cmp(&expected) {
            std::cmp::Ordering::Less => {
                bail!("event {sequence} of publisher {publisher} arrived again or late, after {expected} of them")
            }
            std::cmp::Ordering::Greater => {
                bail!("events {expected} to {sequence} of publisher {publisher} are missing")
            }
            std::cmp::Ordering::Equal => self.count += 1,
        }
        Ok(())
    }

    /// Whether all events that were acknowledged, given by publisher, arrived.
    pub(crate) fn has_all(&self, acknowledged: &[u64]) -> bool {
        self.count >= acknowledged.iter().sum() && self.next.iter().zip(acknowledged).all(|(next, sent)| next >= sent)
    }

    /// What [`Verifier::has_all`] misses, in words.
    pub(crate) fn missing(&self, acknowledged: &[u64]) -> String {
        let sent: u64 = acknowledged.iter().sum();
        let missing: u64 = self.next.iter().zip(acknowledged).map(|(next, sent)| sent.saturating_sub(*next)).sum();
        format!("{missing} of {sent} acknowledged events did not come back")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::*;

    fn refusal(verifier: &mut Verifier, data: &[u8]) -> String {
        verifier.check(data).unwrap_err().to_string()
    }

    #[test]
    fn what_arrives_whole_and_in_order_passes() {
        let (mut first, mut second) = (Payloads::new(0), Payloads::small(1));
        let mut verifier = Verifier::new(2);
        for _ in 0..5_000 {
            verifier.check(&first.next()).unwrap();
            verifier.check(&second.next()).unwrap();
        }
        assert_eq!(verifier.count(), 10_000);
        assert!(verifier.has_all(&[5_000, 4_999]) && !verifier.has_all(&[4_000, 5_003]));
        assert_eq!(verifier.missing(&[4_000, 5_003]), "3 of 9003 acknowledged events did not come back");
    }

    #[test]
    fn damage_a_gap_and_a_duplicate_are_named() {
        let mut payloads = Payloads::new(0);
        let events: Vec<Bytes> = (0..4).map(|_| payloads.next()).collect();
        let mut verifier = Verifier::new(1);
        verifier.check(&events[0]).unwrap();
        let mut damaged = events[1].to_vec();
        damaged[200] ^= 1;
        assert!(refusal(&mut verifier, &damaged).contains("damaged"));
        assert!(refusal(&mut verifier, &events[2]).contains("1 to 2"));
        assert!(refusal(&mut verifier, &events[0]).contains("again"));
        assert!(refusal(&mut verifier, &events[0][..100]).contains("100 bytes"));
        assert!(refusal(&mut verifier, &Payloads::new(9).next()).contains("publisher 9"));
    }

    #[test]
    fn payloads_differ_in_their_random_part() {
        let mut payloads = Payloads::new(0);
        let (one, two) = (payloads.next(), payloads.next());
        assert_eq!((one.len(), two.len()), (BYTES, BYTES));
        assert!(one[16..] != two[16..]);
    }
}
