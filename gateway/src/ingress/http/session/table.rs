//! All carriers of a gateway, by their ids.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshwire_proto::ErrorKind;

use super::link::Link;
use crate::ingress::http::Problem;
use crate::random::Random;

/// 128 random bits.
pub(super) type Id = [u8; 16];

/// How an id is written.
pub(super) fn text(id: &Id) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn parse(text: &str) -> Option<Id> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else { return None };
    let mut id = [0; 16];
    if pairs.len() != id.len() {
        return None;
    }
    for (byte, pair) in id.iter_mut().zip(pairs) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(id)
}

#[derive(Default)]
pub(in crate::ingress::http) struct Carriers {
    links: Mutex<BTreeMap<Id, Arc<Link>>>,
}

impl Carriers {
    fn links(&self) -> MutexGuard<'_, BTreeMap<Id, Arc<Link>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, random: &dyn Random, link: &Arc<Link>) -> Result<Id, Problem> {
        let mut id = [0; 16];
        let failed = |e| Problem::new(ErrorKind::Internal, format!("no random numbers: {e}"));
        random.fill(&mut id).map_err(failed)?;
        self.links().insert(id, Arc::clone(link));
        Ok(id)
    }

    /// Whose id this is, if it was begun under the same certificate.
    pub(super) fn find(&self, id: &str, principal: Option<&Arc<str>>) -> Result<Arc<Link>, Problem> {
        let link = parse(id).and_then(|id| self.links().get(&id).cloned());
        link.filter(|link| link.principal.as_ref() == principal)
            .ok_or_else(|| Problem::new(ErrorKind::NotFound, "there is no such session carrier, or it has ended"))
    }

    pub(super) fn remove(&self, id: &Id) {
        self.links().remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_as_it_is_written_and_nothing_else_is_one() {
        let id: Id = std::array::from_fn(|n| n as u8 * 16 + 3);
        assert_eq!(parse(&text(&id)), Some(id));
        for bad in ["", "00", "zz030303030303030303030303030303", "+1030303030303030303030303030303x", "é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
