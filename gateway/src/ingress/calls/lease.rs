//! Lease tokens: what names a delivery to whoever settles it, over any connection and protocol.
//!
//! ```text
//! version 1 | instance 8 | subscription 8 | delivery number 8 | seal 16     as base64url
//! ```
//!
//! The seal is a keyed hash of what stands before it and of the caller: nobody makes one, and nobody uses another's. Key and
//! instance are random for each process, since a process knows nothing of an earlier one's leases.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use meshwire_proto::ErrorKind;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use std::hash::Hasher as _;

use crate::mesh::{Caller, Refusal};

const VERSION: u8 = 1;
const BODY: usize = 1 + 8 + 8 + 8;
const TOKEN: usize = BODY + 16;

/// Longest token of any version: what is longer is none.
const LONGEST: usize = 256;

/// One delivery of one subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lease {
    /// The gateway's number of the consumer.
    pub(super) session: u64,
    /// Its number of the delivery.
    pub(super) delivery: u64,
}

/// Makes and reads tokens.
pub(super) struct Seal {
    key: [u8; 16],
    instance: [u8; 8],
}

impl Seal {
    pub(super) fn new(secret: [u8; 24]) -> Self {
        let (mut key, mut instance) = ([0; 16], [0; 8]);
        key.iter_mut().chain(&mut instance).zip(secret).for_each(|(to, from)| *to = from);
        Self { key, instance }
    }

    pub(super) fn token(&self, caller: &Caller, lease: Lease) -> String {
        let mut token = Vec::with_capacity(TOKEN);
        token.push(VERSION);
        token.extend_from_slice(&self.instance);
        token.extend_from_slice(&lease.session.to_le_bytes());
        token.extend_from_slice(&lease.delivery.to_le_bytes());
        let seal = self.hash(caller, &token);
        token.extend_from_slice(&seal);
        URL_SAFE_NO_PAD.encode(token)
    }

    /// Reads a token.
    ///
    /// # Errors
    /// `LEASE_LOST`: it is of an earlier process. `INVALID`: it is none, or not this caller's.
    pub(super) fn read(&self, caller: &Caller, text: &str) -> Result<Lease, Refusal> {
        let token = if text.len() > LONGEST { None } else { URL_SAFE_NO_PAD.decode(text).ok() };
        let parts = token.as_deref().and_then(|token| token.split_at_checked(BODY));
        let Some((body, seal)) = parts.filter(|(body, seal)| body.first() == Some(&VERSION) && seal.len() == 16) else {
            let text = "lease is no lease token: send one back as it came with its delivery";
            return Err(Refusal::new(ErrorKind::Invalid, text));
        };
        if body.get(1..9) != Some(&self.instance[..]) {
            let text = "this lease is of an earlier run of the gateway; its event comes again unless it was settled";
            return Err(Refusal::new(ErrorKind::LeaseLost, text));
        }
        let differs = self.hash(caller, body).iter().zip(seal).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 {
            let text = "lease was changed, or given to another caller: only who was delivered to settles";
            return Err(Refusal::new(ErrorKind::Invalid, text));
        }
        let number = |at: usize| body.get(at..at + 8).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        Ok(Lease { session: number(9), delivery: number(17) })
    }

    fn hash(&self, caller: &Caller, body: &[u8]) -> [u8; 16] {
        let mut hasher = SipHasher24::new_with_key(&self.key);
        hasher.write(body);
        // A name ends where the next begins: 0xff is in no UTF-8.
        for name in [&caller.tenant, &caller.principal] {
            hasher.write(name.as_bytes());
            hasher.write_u8(0xff);
        }
        hasher.finish128().as_bytes()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;

    fn caller(name: &str) -> Caller {
        Caller::known("test", None, Some(name.into()))
    }

    const LEASE: Lease = Lease { session: 7, delivery: 1 << 40 };

    #[test]
    fn a_token_names_its_delivery_to_its_caller_alone() {
        let seal = Seal::new([3; 24]);
        let token = seal.token(&caller("a"), LEASE);
        assert_eq!(seal.read(&caller("a"), &token).unwrap(), LEASE);
        assert_eq!(seal.read(&caller("b"), &token).unwrap_err().kind, ErrorKind::Invalid);
    }

    #[test]
    fn a_changed_or_cut_token_is_none() {
        let seal = Seal::new([3; 24]);
        let token = seal.token(&caller("a"), LEASE);
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            let byte = changed.get_mut(at).unwrap();
            *byte = if *byte == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            let kind = seal.read(&caller("a"), &changed).unwrap_err().kind;
            assert!(matches!(kind, ErrorKind::Invalid | ErrorKind::LeaseLost), "{at}: {kind}");
            assert_eq!(seal.read(&caller("a"), token.get(..at).unwrap()).unwrap_err().kind, ErrorKind::Invalid);
        }
        for none in ["", "x", "=", "\u{e4}", &"A".repeat(10_000)] {
            assert_eq!(seal.read(&caller("a"), none).unwrap_err().kind, ErrorKind::Invalid);
        }
    }

    #[test]
    fn a_token_of_an_earlier_process_is_lost() {
        let token = Seal::new([3; 24]).token(&caller("a"), LEASE);
        assert_eq!(Seal::new([4; 24]).read(&caller("a"), &token).unwrap_err().kind, ErrorKind::LeaseLost);
    }
}
