//! Connections over a network: what is tried, in which order, and what worked.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::race::{Progress, Tried, race};
use super::way::{Blocked, Means, Way};
use super::{Cause, Dial, DialError, Dialing, Opened};
use crate::address::{Carrier, Target};

/// How long what worked is tried first.
const REMEMBERED: Duration = Duration::from_mins(10);

/// How long a gateway that has sent its preface may take to answer the login while other ways have not been tried. A
/// guess: it is slow rather than shut off, and more connections would not help it.
const LOGIN_PATIENCE: Duration = Duration::from_secs(1);

/// Dials a gateway at one or several endpoints.
#[derive(Debug)]
pub(crate) struct Network {
    target: Target,
    /// All endpoints, for messages.
    address: String,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    means: Arc<Means>,
    tried: Tried,
    memory: Mutex<Memory>,
}

/// What is known from earlier connections.
#[derive(Debug)]
struct Memory {
    /// Of each endpoint the carrier that worked, and when.
    worked: Vec<Option<(Carrier, Instant)>>,
    /// The endpoint that worked last.
    last: Option<usize>,
    /// The way that was dialed last.
    current: Option<Way>,
    /// Ways that opened and did not lead to a login, since the last one.
    disappointing: BTreeSet<usize>,
}

impl Shared {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Network {
    pub(crate) fn new(target: Target, means: Means) -> Self {
        let worked = vec![None; target.endpoints.len()];
        let memory = Memory { worked, last: None, current: None, disappointing: BTreeSet::new() };
        let shared = Shared { means: Arc::new(means), tried: Tried::default(), memory: Mutex::new(memory) };
        Self { address: target.endpoints.join(","), target, shared: Arc::new(shared) }
    }

    /// Whether there is only one way.
    const fn is_pinned(&self) -> bool {
        self.target.endpoints.len() == 1 && self.target.carriers.len() == 1
    }

    /// Every way, in the order in which they are tried now.
    fn ways(&self, memory: &Memory, now: Instant) -> VecDeque<Way> {
        let fresh = |at: Instant| now.saturating_duration_since(at) < REMEMBERED;
        let count = self.target.carriers.len();
        let way = |endpoint: usize, address: &String| {
            let worked = memory.worked.get(endpoint).copied().flatten().filter(|(_, at)| fresh(*at));
            let mut ways: Vec<Way> = Vec::with_capacity(count);
            for (index, carrier) in self.target.carriers.iter().copied().enumerate() {
                ways.push(Way { number: endpoint * count + index, address: address.clone(), carrier, token: None });
            }
            ways.sort_by_key(|way| worked.is_none_or(|(carrier, _)| carrier != way.carrier));
            let last = memory.last == Some(endpoint) && worked.is_some();
            (!last, ways)
        };
        let mut endpoints: Vec<_> = self.target.endpoints.iter().enumerate().map(|(n, a)| way(n, a)).collect();
        endpoints.sort_by_key(|(later, _)| *later);
        let mut ways: Vec<Way> = endpoints.into_iter().flat_map(|(_, ways)| ways).collect();
        ways.sort_by_key(|way| memory.disappointing.contains(&way.number));
        ways.into()
    }
}

impl Dial for Network {
    fn dial(&self) -> Dialing {
        let pinned = self.is_pinned();
        let mut ways = self.ways(&self.shared.memory(), Instant::now());
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let token = shared.means.token.read().await.map_err(|cause| DialError { attempts: vec![cause] })?;
            ways.iter_mut().for_each(|way| way.token.clone_from(&token));
            let (way, stream) = match ways.front().filter(|_| pinned) {
                Some(way) => (way.clone(), alone(way, &shared).await?),
                None => race(ways, &shared.means, &shared.tried).await?,
            };
            let (address, carrier) = (way.address.clone(), Some(way.carrier.name()));
            shared.memory().current = Some(way);
            Ok(Opened { stream, address, carrier, greeted: !pinned, token })
        })
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn tried(&self) -> Option<String> {
        // Of one way the driver knows more.
        if self.is_pinned() { None } else { self.shared.tried.told() }
    }

    fn patience(&self) -> Option<Duration> {
        let (memory, all) = (self.shared.memory(), self.target.endpoints.len() * self.target.carriers.len());
        // The last one has the time that a login may take.
        (memory.disappointing.len() + 1 < all).then_some(LOGIN_PATIENCE)
    }

    fn welcomed(&self) {
        let mut memory = self.shared.memory();
        if let Some(way) = memory.current.take() {
            let endpoint = way.number / self.target.carriers.len().max(1);
            if let Some(worked) = memory.worked.get_mut(endpoint) {
                *worked = Some((way.carrier, Instant::now()));
            }
            memory.last = Some(endpoint);
        }
        memory.disappointing.clear();
        self.shared.tried.clear();
    }

    fn disappointed(&self, cause: Cause) -> bool {
        let all = self.target.endpoints.len() * self.target.carriers.len();
        let mut memory = self.shared.memory();
        let Some(way) = memory.current.take() else { return false };
        self.shared.tried.note(&way, way.failed(cause).to_string());
        memory.disappointing.insert(way.number) && memory.disappointing.len() < all
    }
}

/// The only way: what answers on it is the driver's to judge.
async fn alone(way: &Way, shared: &Shared) -> Result<Box<dyn super::Stream>, DialError> {
    let opened = way.open(&shared.means, false, &Progress::new(&shared.tried)).await;
    opened.map_err(|blocked| match blocked {
        Blocked::Unreachable(attempts) => DialError { attempts },
        Blocked::Here(failed) => DialError { attempts: vec![failed] },
    })
}
