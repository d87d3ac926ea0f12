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

use super::account::{Account, Told};
use super::way::{Blocked, Means, Way};
use super::{Cause, DialError, Failed, Stream};

/// Silence after which the next way is tried beside those that go on.
const SILENCE: Duration = Duration::from_millis(300);

/// What became of each way since the last login, by its number, and whether it was refused for now.
#[derive(Debug, Default)]
pub(super) struct Tried(Mutex<BTreeMap<usize, (Vec<Told>, bool)>>);

impl Tried {
    pub(super) fn note(&self, way: &Way, told: Vec<Told>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(way.number, (told, false));
    }

    /// A gateway refused it for now.
    pub(super) fn refused(&self, way: &Way, cause: Cause) {
        let told = vec![way.failed(cause).told()];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(way.number, (told, true));
    }

    /// It is being tried, and has come so far. What a gateway said stands until it turns out otherwise.
    fn goes_on(&self, way: &Way, so_far: &Failed) {
        let told = vec![so_far.told()];
        let mut tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = tried.entry(way.number).or_default();
        if !known.1 {
            known.0 = told;
        }
    }

    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(super) fn told(&self) -> Option<Account> {
        let tried = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let account: Account = tried.values().flat_map(|(told, _)| told).cloned().collect();
        (!account.is_empty()).then_some(account)
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
        self.tried.goes_on(way, &way.failed(Cause::Silent));
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(way.address.clone());
        self.step();
    }

    fn is_reached(&self, address: &str) -> bool {
        self.reached.lock().unwrap_or_else(PoisonError::into_inner).contains(address)
    }
}

/// The connection on which a gateway answered first. A way that is refused, ends or is answered by a stranger gives
/// the next one its turn at once, one that is silent for [`SILENCE`] does so beside it. Other carriers of an address
/// are tried once it is known to take connections and unless it is busy, and no proxy that refuses this client is asked
/// a second time.
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
            let silent = way.failed(Cause::Io(io::ErrorKind::TimedOut.into()));
            tried.goes_on(&way, &Failed { address: means.reached_by(&way.address), ..silent });
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
                let refused = causes.iter().any(|f| matches!(f.cause, Cause::Proxy { everywhere: true, .. }));
                let proxy = means.proxies.get(&way.address).filter(|_| refused);
                waiting.retain(|other| {
                    let asks_again = proxy.is_some() && means.proxies.get(&other.address) == proxy;
                    other.address != way.address && !asks_again
                });
                causes
            }
            Blocked::Here(failed) => {
                // The same gateway would say the same in every carrier, and may have enough to do.
                waiting.retain(|other| !failed.cause.is_of_its_address() || other.address != way.address);
                vec![failed]
            }
        };
        tried.note(&way, causes.iter().map(Failed::told).collect());
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use meshwire_proto::frame::PREFACE;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;
    use crate::address::Carrier;
    use crate::token::Token;
    use crate::transport::choose_proxy;

    /// Answers each connection so, once it has said something; where, and how many came.
    async fn answering(answer: &'static [u8]) -> (String, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, count) = (listener.local_addr().unwrap().to_string(), Arc::new(AtomicUsize::new(0)));
        let came = Arc::clone(&count);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                came.fetch_add(1, Ordering::Relaxed);
                let mut head = [0; 256];
                assert!(stream.read(&mut head).await.unwrap() > 0);
                stream.write_all(answer).await.unwrap();
                // Until the other end has had enough of it.
                let _ = stream.read(&mut head).await;
            }
        });
        (address, count)
    }

    /// A race over TCP to these endpoints, the ones with a name through the proxy.
    async fn over(endpoints: &[&str], proxy: &str) -> Result<usize, DialError> {
        let behind = endpoints.iter().filter(|e| e.contains(".invalid"));
        let chosen = |e: &&&str| choose_proxy(proxy, |_| None, false, e).unwrap().map(|p| ((**e).to_string(), p));
        let means = Means {
            token: Token::None,
            proxies: behind.filter_map(|e| chosen(&e)).collect(),
            secure: false,
            #[cfg(feature = "tls")]
            tls: None,
        };
        let way =
            |(number, e): (usize, &&str)| Way { number, address: (*e).to_owned(), carrier: Carrier::Tcp, token: None };
        let ways = endpoints.iter().enumerate().map(way).collect();
        race(ways, &Arc::new(means), &Tried::default()).await.map(|(way, _)| way.number)
    }

    #[tokio::test]
    async fn an_endpoint_without_a_proxy_is_tried_though_the_proxy_refuses_this_client() {
        let (proxy, asked) = answering(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n").await;
        let (gateway, _) = answering(&PREFACE).await;
        assert_eq!(over(&["a.invalid:1", "b.invalid:1", &gateway], &proxy).await.unwrap(), 2);
        assert_eq!(asked.load(Ordering::Relaxed), 1, "it is asked once");
    }

    #[tokio::test]
    async fn where_one_endpoint_is_only_not_there_a_refusing_proxy_is_not_the_whole_reason() {
        let (proxy, _) = answering(b"HTTP/1.1 403 Forbidden\r\n\r\n").await;
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string();
        let error = over(&["a.invalid:1", &free], &proxy).await.unwrap_err();
        assert_eq!((error.verdict(), error.is_hopeless()), (None, false), "it may come");
        let told = error.to_string();
        assert!(told.contains("403 Forbidden") && told.contains("refused the connection"), "{told}");
        let error = over(&["a.invalid:1", "b.invalid:1"], &proxy).await.unwrap_err();
        let kind = error.verdict().map(|(kind, _)| kind);
        assert_eq!((kind, error.is_hopeless()), (Some(meshwire_proto::ErrorKind::ProxyRefused), true));
        assert_eq!(error.attempts.len(), 2, "each endpoint is asked for");
    }
}
