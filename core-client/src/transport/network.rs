//! Connections over a network: what is tried, in which order, and what worked.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::account::Account;
use super::race::{Progress, Tried, race};
use super::way::{Blocked, Means, Way};
use super::{Cause, Dial, DialError, Dialing, Opened};
use crate::address::{Carrier, Target};

/// How long what worked is tried first, from the end of its connection on.
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
    /// Of each endpoint the carrier that worked, and until when it did.
    worked: Vec<Option<(Carrier, Instant)>>,
    /// The endpoint that worked last.
    last: Option<usize>,
    /// The way that was dialed last.
    current: Option<Way>,
    /// Ways that opened and did not lead to a login, in this round: it begins with a login, and when all were tried.
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
            let ways = put_first(ways, |way| worked.is_some_and(|(carrier, _)| carrier == way.carrier));
            let last = memory.last == Some(endpoint) && worked.is_some();
            (last, ways)
        };
        let endpoints: Vec<_> = self.target.endpoints.iter().enumerate().map(|(n, a)| way(n, a)).collect();
        let endpoints = put_first(endpoints, |(last, _)| *last);
        let ways: Vec<Way> = endpoints.into_iter().flat_map(|(_, ways)| ways).collect();
        put_first(ways, |way| !memory.disappointing.contains(&way.number)).into()
    }
}

/// The same, those in front of which this is true; else in their order. A sort would be fifty times the code.
fn put_first<T>(all: Vec<T>, is_first: impl Fn(&T) -> bool) -> Vec<T> {
    let (mut first, rest): (Vec<T>, Vec<T>) = all.into_iter().partition(is_first);
    first.extend(rest);
    first
}

impl Dial for Network {
    fn dial(&self) -> Dialing {
        let pinned = self.is_pinned();
        let mut ways = self.ways(&self.shared.memory(), Instant::now());
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let token = shared.means.token.read().await.map_err(DialError::from)?;
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

    fn unanswered(&self) -> Account {
        let asked: Vec<String> = self.target.endpoints.iter().map(|e| self.shared.means.reached_by(e)).collect();
        Account::said(format!("{} did not answer", asked.join(", ")))
    }

    fn tried(&self) -> Option<Account> {
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

    fn parted(&self) {
        let mut memory = self.shared.memory();
        let last = memory.last;
        if let Some(Some((_, at))) = last.and_then(|endpoint| memory.worked.get_mut(endpoint)) {
            *at = Instant::now();
        }
    }

    fn disappointed(&self, cause: Cause, refused: bool) -> bool {
        let count = self.target.carriers.len();
        let all = self.target.endpoints.len() * count;
        let mut memory = self.shared.memory();
        let Some(way) = memory.current.take() else { return false };
        if refused {
            self.shared.tried.refused(&way, cause);
        } else {
            self.shared.tried.note(&way, vec![way.failed(cause).told()]);
        }
        let disappointing = &mut memory.disappointing;
        // It came again because no other one opened: those that disappointed before have their turn again.
        let is_over = disappointing.contains(&way.number);
        if is_over {
            disappointing.clear();
        }
        if refused {
            let first = way.number - way.number % count.max(1);
            disappointing.extend(first..first + count);
        } else {
            disappointing.insert(way.number);
        }
        if disappointing.len() >= all {
            disappointing.clear();
            return false;
        }
        !is_over
    }
}

/// The only way: what answers on it is the driver's to judge.
async fn alone(way: &Way, shared: &Shared) -> Result<Box<dyn super::Stream>, DialError> {
    let opened = way.open(&shared.means, false, &Progress::new(&shared.tried)).await;
    opened.map_err(|blocked| match blocked {
        Blocked::Unreachable(attempts) => DialError { attempts },
        Blocked::Here(failed) => failed.into(),
    })
}

#[cfg(all(test, feature = "websocket"))]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::token::Token;

    fn network() -> Network {
        let target = crate::address::resolve("mesh://127.0.0.1:1,127.0.0.1:2").unwrap();
        let means = Means {
            token: Token::None,
            proxies: std::collections::BTreeMap::new(),
            secure: false,
            #[cfg(feature = "tls")]
            tls: None,
        };
        Network::new(target, means)
    }

    impl Network {
        /// What is tried first now: endpoint and carrier.
        fn first(&self) -> (String, Carrier) {
            let way = self.ways(&self.shared.memory(), Instant::now()).pop_front().unwrap();
            (way.address, way.carrier)
        }

        /// A login goes well over WebSocket, at the second endpoint.
        fn log_in(&self) {
            let mut ways = self.ways(&self.shared.memory(), Instant::now()).into_iter();
            let way = ways.find(|way| (way.address.as_str(), way.carrier) == WEBSOCKET);
            self.shared.memory().current = way;
            self.welcomed();
        }
    }

    const TCP: (&str, Carrier) = ("127.0.0.1:1", Carrier::Tcp);
    const WEBSOCKET: (&str, Carrier) = ("127.0.0.1:2", Carrier::WebSocket);

    fn assert_first(network: &Network, expected: (&str, Carrier)) {
        let (address, carrier) = network.first();
        assert_eq!((address.as_str(), carrier), expected);
    }

    #[tokio::test(start_paused = true)]
    async fn what_worked_is_remembered_for_ten_minutes_from_the_end_of_its_connection_and_no_longer() {
        let network = network();
        assert_first(&network, TCP);
        network.log_in();
        tokio::time::advance(Duration::from_mins(60)).await;
        network.parted();
        assert_first(&network, WEBSOCKET);
        tokio::time::advance(Duration::from_mins(10) - Duration::from_millis(1)).await;
        assert_first(&network, WEBSOCKET);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_first(&network, TCP);
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_of_a_connection_says_nothing_of_other_endpoints() {
        let network = network();
        network.parted();
        assert_first(&network, TCP);
        network.log_in();
        let ways = network.ways(&network.shared.memory(), Instant::now());
        network.shared.memory().current = ways.into_iter().find(|way| way.address == TCP.0);
        network.welcomed();
        tokio::time::advance(Duration::from_mins(11)).await;
        network.parted();
        assert_eq!(network.first().0, TCP.0);
        let later = network.ways(&network.shared.memory(), Instant::now()).into_iter();
        let mut later = later.filter(|way| way.address == WEBSOCKET.0);
        assert_eq!(later.next().unwrap().carrier, Carrier::Tcp, "it worked eleven minutes ago");
    }

    /// The way that comes first is dialed and does not lead to a login; whether another one is tried at once.
    fn disappoint(network: &Network, refused: bool) -> bool {
        let way = network.ways(&network.shared.memory(), Instant::now()).pop_front();
        network.shared.memory().current = way;
        network.disappointed(Cause::Silent, refused)
    }

    #[tokio::test(start_paused = true)]
    async fn a_gateway_that_refuses_for_now_is_passed_by_in_every_carrier_until_all_were_asked() {
        let network = network();
        for _ in 0..3 {
            assert_first(&network, TCP);
            assert!(disappoint(&network, true));
            assert_eq!(network.first(), (WEBSOCKET.0.to_owned(), Carrier::Tcp));
            assert!(!disappoint(&network, true), "nobody is left");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_every_way_has_disappointed_all_have_their_turn_again() {
        let network = network();
        let all = 2 * network.target.carriers.len();
        for _ in 0..3 {
            for left in (1..all).rev() {
                assert!(disappoint(&network, false), "{left} are left");
            }
            assert!(!disappoint(&network, false));
            assert_first(&network, TCP);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn when_one_comes_again_since_no_other_one_opened_the_others_have_their_turn_again() {
        let network = network();
        let first = network.ways(&network.shared.memory(), Instant::now()).pop_front();
        assert!(disappoint(&network, false) && disappoint(&network, false));
        network.shared.memory().current = first;
        assert!(!network.disappointed(Cause::Silent, false));
        let second = network.first().1;
        assert_eq!(network.target.carriers.get(1), Some(&second), "it disappointed before");
    }
}
