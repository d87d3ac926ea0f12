//! What events are signed with when they do not say: ids and a source.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use meshwire_proto::UnixMillis;
use uuid::Builder;
use uuid::fmt::Hyphenated;

/// Makes event ids: UUIDv7 (RFC 9562, section 5.7), without a system call each.
///
/// The 74 random bits come from a 128-bit seed and a counter: within a client
/// none can repeat, between clients they collide as random ones do.
#[derive(Debug)]
pub(crate) struct Identity {
    source: String,
    seed: [u64; 2],
    counter: AtomicU64,
}

/// The finalizer of SplitMix64: a bijection, so distinct counters stay distinct.
const fn mix(value: u64) -> u64 {
    let z = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

impl Identity {
    pub(crate) fn new(client_name: &str, seed: [u64; 2]) -> Self {
        Self { source: format!("//{}/{}", segment(&host()), segment(client_name)), seed, counter: AtomicU64::new(0) }
    }

    /// `//<host>/<client name>`.
    pub(crate) fn source(&self) -> &str {
        &self.source
    }

    pub(crate) fn id(&self, now: UnixMillis) -> IdText {
        let n = self.counter.fetch_add(1, Ordering::Relaxed);
        let low = mix(self.seed[0].wrapping_add(n));
        let high = mix(self.seed[1] ^ low);
        let mut random = [0; 10];
        // The version field takes four bits of the first two bytes, the variant
        // two of the third: `low` fills the other eight but for those two bits.
        random[..2].copy_from_slice(&((high ^ (low >> 62)) as u16).to_le_bytes());
        random[2..].copy_from_slice(&(low & (u64::MAX >> 2)).to_be_bytes());
        let millis = u64::try_from(now.0).unwrap_or(0);
        let id = Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
        let mut text = [0; Hyphenated::LENGTH];
        id.as_hyphenated().encode_lower(&mut text);
        IdText(text)
    }
}

/// An id as text, without an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdText([u8; Hyphenated::LENGTH]);

impl IdText {
    pub(crate) fn as_str(&self) -> &str {
        // Hexadecimal digits and hyphens.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// The wall clock.
pub(crate) fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The program's name: what a client is called unless it says otherwise.
pub(crate) fn program() -> String {
    let path = std::env::current_exe().ok();
    let stem = path.as_deref().and_then(|p| p.file_stem()).map(|s| s.to_string_lossy().into_owned());
    stem.filter(|s| !s.is_empty()).unwrap_or_else(|| "meshwire".to_owned())
}

#[cfg(unix)]
fn host() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if name.is_empty() { "localhost".to_owned() } else { name }
}

#[cfg(not(unix))]
fn host() -> String {
    std::env::var("COMPUTERNAME").ok().filter(|n| !n.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// RFC 3986, section 2.3: everything but unreserved characters is percent-encoded.
fn segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn ids_are_version_7_of_their_time_and_never_repeat() {
        let identity = Identity::new("test", [1, 2]);
        let ids: HashSet<IdText> = (0..10_000).map(|_| identity.id(UnixMillis(1_700_000_000_123))).collect();
        assert_eq!(ids.len(), 10_000);
        for id in &ids {
            let id = uuid::Uuid::parse_str(id.as_str()).unwrap();
            assert_eq!(id.get_version_num(), 7);
            assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
            assert_eq!(id.get_timestamp().unwrap().to_unix(), (1_700_000_000, 123_000_000));
        }
    }

    #[test]
    fn clients_with_different_seeds_make_different_ids() {
        let id = |seed| Identity::new("test", seed).id(UnixMillis(5));
        assert_ne!(id([1, 2]), id([1, 3]));
        assert_ne!(id([1, 2]), id([2, 2]));
    }

    #[test]
    fn the_source_is_a_valid_reference_whatever_the_name() {
        let identity = Identity::new("my app/v1 é", [0, 0]);
        assert!(identity.source().ends_with("/my%20app%2Fv1%20%C3%A9"), "{}", identity.source());
    }
}
