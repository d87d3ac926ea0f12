//! Several ways at once, until a gateway answers on one.
//!
//! What decides is the gateway's preface, which it sends for ours before any login: those that lose have begun no
//! session there, and none of them can take the session to be resumed away from the one that wins.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::timeout;

use super::way::{Blocked, Means, Way};
use super::{Cause, DialError, Stream};

/// Silence after which the next way is tried beside those that go on.
const SILENCE: Duration = Duration::from_millis(300);

/// What became of each way since the last login, by its number.
#[derive(Debug, Default)]
pub(super) struct Tried(Mutex<BTreeMap<usize, String>>);

impl Tried {
    pub(super) fn note(&self, way: &Way, text: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(way.number, text);
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn told(&self) -> Option<String> {
        let texts: Vec<String> = self.0.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}

/// How far the ways that run have come.
pub(super) struct Progress<'a> {
    tried: &'a Tried,
    /// How many steps were done, of all.
    steps: watch::Sender<usize>,
    /// Addresses that take connections.
    reached: Mutex<BTreeSet<String>>,
}

impl<'a> Progress<'a> {
    pub(super) fn new(tried: &'a Tried) -> Self {
        Self { tried, steps: watch::channel(0).0, reached: Mutex::default() }
    }

    /// A step is done.
    pub(super) fn step(&self) {
        self.steps.send_modify(|steps| *steps += 1);
    }

    /// The address takes connections.
    pub(super) fn reached(&self, way: &Way) {
        self.tried.note(way, way.failed(Cause::Silent).to_string());
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(way.address.clone());
        self.step();
    }

    fn is_reached(&self, address: &str) -> bool {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }
}

/// The connection on which a gateway answered first. A way that is refused, ends or is answered by a stranger gives
/// the next one its turn at once, one that is silent for [`SILENCE`] does so beside it. Other carriers of an address
/// are tried once it is known to take connections.
pub(super) async fn race(
    mut waiting: VecDeque<Way>,
    means: &Arc<Means>,
    tried: &Tried,
) -> Result<(Way, Box<dyn Stream>), DialError> {
    let progress = Progress::new(tried);
    let mut steps = progress.steps.subscribe();
    let mut running = FuturesUnordered::new();
    let mut begun = BTreeSet::new();
    let mut failed = DialError::default();
    loop {
        let ready = waiting.iter().position(|w| !begun.contains(&w.address) || progress.is_reached(&w.address));
        if let Some(way) = ready.and_then(|index| waiting.remove(index)) {
            tried.note(&way, way.failed(Cause::Io(io::ErrorKind::TimedOut.into())).to_string());
            begun.insert(way.address.clone());
            running.push(attempt(way, means, &progress));
        }
        let silence = async { while timeout(SILENCE, steps.changed()).await.is_ok() {} };
        let (way, blocked) = tokio::select! {
            biased;
            Some((way, opened)) = running.next() => match opened {
                Ok(stream) => return Ok((way, stream)),
                Err(blocked) => (way, blocked),
            },
            () = silence, if !waiting.is_empty() => continue,
            else => return Err(failed),
        };
        let causes = match blocked {
            Blocked::Unreachable(causes) => {
                waiting.retain(|other| other.address != way.address);
                causes
            }
            Blocked::Here(cause) => vec![cause],
        };
        let texts: Vec<String> = causes.iter().map(ToString::to_string).collect();
        tried.note(&way, texts.join("; "));
        failed.attempts.extend(causes);
        if failed.attempts.iter().any(|f| f.cause.is_final()) || (running.is_empty() && waiting.is_empty()) {
            return Err(failed);
        }
    }
}

async fn attempt(way: Way, means: &Arc<Means>, progress: &Progress<'_>) -> (Way, Result<Box<dyn Stream>, Blocked>) {
    let opened = way.open(means, true, progress).await;
    (way, opened)
}
