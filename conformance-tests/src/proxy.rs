//! The fault proxy between testee and gateway. It knows bytes alone: it cuts, stalls and resets when it is told, and holds
//! what one side says from a moment on. Which frames came through, the gateway says ([`crate::frames`]).

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context as _;

use crate::frames::From;

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Both ends see the end.
    Cut,
    /// Nothing more is read or written, and nobody is told.
    Stall,
    /// The client sees the end, and may go on writing.
    HalfClose,
}

/// What one side said since it was held: where to, in the order in which it came.
struct Held {
    from: From,
    said: Vec<(TcpStream, Vec<u8>)>,
}

impl Held {
    fn bytes(&self) -> usize {
        self.said.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

/// How bytes travel.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Road {
    /// New connections are closed at once.
    pub(crate) down: bool,
    /// Most bytes of one write; 0: as they come.
    pub(crate) slice: usize,
    /// Bytes a second; 0: as fast as they come.
    pub(crate) rate: u64,
    pub(crate) stalled: bool,
}

/// A listener in front of a gateway. Ends with its value.
pub(crate) struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    upstream: Option<SocketAddr>,
    road: Road,
    held: Option<Held>,
    /// When bytes came last, from either side.
    moved: Option<Instant>,
    links: Vec<[TcpStream; 2]>,
    /// Our ends of all connections to the gateway that there ever were.
    ends: Vec<SocketAddr>,
    over: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn cut(&mut self) {
        for stream in self.links.drain(..).flatten() {
            // It may have ended by itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn half_close(&self) {
        for [client, _] in &self.links {
            let _ = client.shutdown(Shutdown::Write);
        }
    }
}

impl Proxy {
    pub(crate) fn start(upstream: SocketAddr) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("the proxy gets no port")?;
        let address = listener.local_addr()?;
        let state = State { upstream: Some(upstream), ..State::default() };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.state().over {
                    return;
                }
                // A gateway that is gone shows as a connection that ends.
                let _ = link(&accepting, client);
            }
        });
        Ok(Self { address, shared })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// The gateway is somewhere else from now on.
    pub(crate) fn lead_to(&self, upstream: Option<SocketAddr>) {
        self.shared.state().upstream = upstream;
    }

    pub(crate) fn set_road(&self, change: impl FnOnce(&mut Road)) {
        let mut state = self.shared.state();
        change(&mut state.road);
        if state.road.down {
            state.cut();
        }
        self.shared.changed.notify_all();
    }

    pub(crate) fn strike(&self, fault: Fault) {
        let mut state = self.shared.state();
        match fault {
            Fault::Cut => state.cut(),
            Fault::Stall => state.road.stalled = true,
            Fault::HalfClose => state.half_close(),
        }
        self.shared.changed.notify_all();
    }

    /// Waits until nothing has come from either side for so long; `false`: it was never so quiet.
    pub(crate) fn is_quiet(&self, span: Duration, within: Duration) -> bool {
        let until = Instant::now() + within;
        let mut state = self.shared.state();
        loop {
            let still = state.moved.map_or(span, |at| at.elapsed());
            if still >= span || Instant::now() >= until {
                return still >= span;
            }
            let waited = self.shared.changed.wait_timeout(state, span.saturating_sub(still));
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// From now on nothing of what one side says goes on. A connection that begins meanwhile says nothing either.
    pub(crate) fn hold(&self, from: From) {
        self.shared.state().held = Some(Held { from, said: Vec::new() });
    }

    /// Waits until so many bytes are held; gives how many there are.
    pub(crate) fn holds(&self, least: usize, within: Duration) -> usize {
        let held = |state: &State| state.held.as_ref().map_or(0, Held::bytes);
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, within, |state| held(state) < least);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        held(&state)
    }

    /// Cuts every connection when the first `pass` bytes of what is held have gone on; the rest is lost.
    pub(crate) fn cut_held(&self, pass: usize) {
        let mut state = self.shared.state();
        let mut left = pass;
        for (mut to, bytes) in state.held.take().into_iter().flat_map(|held| held.said) {
            let now = bytes.get(..left.min(bytes.len())).unwrap_or_default();
            left -= now.len();
            // Its connection may have ended by itself.
            let _ = to.write_all(now);
        }
        state.cut();
        self.shared.changed.notify_all();
    }

    /// Whether this is our end of a connection to the gateway.
    pub(crate) fn is_at(&self, peer: SocketAddr) -> bool {
        self.shared.state().ends.contains(&peer)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.over = true;
        state.road = Road::default();
        state.cut();
        drop(state);
        self.shared.changed.notify_all();
        // Wakes the listener, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

/// Connects both sides and lets bytes travel.
fn link(shared: &Arc<Shared>, client: TcpStream) -> anyhow::Result<()> {
    let upstream = {
        let state = shared.state();
        state.upstream.filter(|_| !state.road.down)
    };
    let gateway = TcpStream::connect(upstream.context("nobody is behind the proxy")?)?;
    client.set_nodelay(true)?;
    gateway.set_nodelay(true)?;
    {
        let mut state = shared.state();
        state.links.push([client.try_clone()?, gateway.try_clone()?]);
        state.ends.push(gateway.local_addr()?);
    }
    for (from, to, who) in [(client.try_clone()?, gateway.try_clone()?, From::Client), (gateway, client, From::Gateway)]
    {
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            // An end of either side is an end of this direction.
            let _ = pump(&shared, from, &to, who);
            let _ = to.shutdown(Shutdown::Write);
        });
    }
    Ok(())
}

fn pump(shared: &Shared, mut from: TcpStream, to: &TcpStream, who: From) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        shared.state().moved = Some(Instant::now());
        if !is_held(shared, who, to, bytes)? {
            send(shared, to, bytes)?;
        }
    }
}

/// Keeps the bytes back if those of this side are held.
fn is_held(shared: &Shared, who: From, to: &TcpStream, bytes: &[u8]) -> std::io::Result<bool> {
    let mut state = shared.state();
    let Some(held) = state.held.as_mut().filter(|held| held.from == who) else {
        return Ok(false);
    };
    held.said.push((to.try_clone()?, bytes.to_vec()));
    shared.changed.notify_all();
    Ok(true)
}

/// Sends as the road allows.
fn send(shared: &Shared, mut to: &TcpStream, bytes: &[u8]) -> std::io::Result<()> {
    let mut left = bytes;
    while !left.is_empty() {
        let road = {
            let state = shared.state();
            let state = shared.changed.wait_while(state, |state| state.road.stalled && !state.over);
            state.unwrap_or_else(PoisonError::into_inner).road
        };
        let most = match (road.slice, road.rate) {
            (0, 0) => left.len(),
            // A tenth of a second's worth at once.
            (0, rate) => usize::try_from(rate / 10).unwrap_or(1).max(1),
            (slice, _) => slice,
        };
        let (now, later) = left.split_at_checked(most).unwrap_or((left, &[]));
        if let Some(millis) = (now.len() as u64 * 1000).checked_div(road.rate) {
            // A slow road is what this is for: bytes arrive when they have had their time.
            thread::sleep(Duration::from_millis(millis));
        }
        to.write_all(now)?;
        left = later;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    use super::{Fault, Proxy};
    use crate::frames::From;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// A client and a gateway with the proxy between them.
    fn both() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
        let client = TcpStream::connect(proxy.address()).unwrap();
        let gateway = listener.accept().unwrap().0;
        (proxy, client, gateway)
    }

    fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn bytes_pass_both_ways_also_one_by_one() {
        let (proxy, mut client, mut gateway) = both();
        proxy.set_road(|road| road.slice = 1);
        client.write_all(b"up there").unwrap();
        assert_eq!(read(&mut gateway, 8), b"up there");
        gateway.write_all(b"down").unwrap();
        assert_eq!(read(&mut client, 4), b"down");
        assert!(proxy.is_at(gateway.peer_addr().unwrap()) && !proxy.is_at(client.local_addr().unwrap()));
    }

    #[test]
    fn of_what_is_held_only_so_much_passes_before_the_cut_and_the_other_side_is_not_held() {
        let (proxy, mut client, mut gateway) = both();
        proxy.hold(From::Client);
        assert_eq!(proxy.holds(1, Duration::ZERO), 0);
        client.write_all(b"0123").unwrap();
        assert_eq!(proxy.holds(4, PATIENCE), 4);
        client.write_all(b"456789").unwrap();
        assert_eq!(proxy.holds(10, PATIENCE), 10);
        gateway.write_all(b"x").unwrap();
        assert_eq!(read(&mut client, 1), b"x");
        proxy.cut_held(7);
        let mut passed = Vec::new();
        gateway.read_to_end(&mut passed).unwrap();
        assert_eq!(passed, b"0123456");
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_road_is_quiet_when_nothing_came_for_so_long() {
        let (proxy, mut client, mut gateway) = both();
        assert!(proxy.is_quiet(PATIENCE, Duration::ZERO), "nothing came yet");
        client.write_all(b"a").unwrap();
        assert_eq!(read(&mut gateway, 1), b"a");
        assert!(!proxy.is_quiet(PATIENCE, Duration::ZERO));
        assert!(proxy.is_quiet(Duration::from_millis(1), PATIENCE));
    }

    #[test]
    fn a_half_closed_connection_still_takes_what_the_client_says() {
        let (proxy, mut client, mut gateway) = both();
        client.write_all(b"a").unwrap();
        assert_eq!(read(&mut gateway, 1), b"a");
        proxy.strike(Fault::HalfClose);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        client.write_all(b"b").unwrap();
        assert_eq!(read(&mut gateway, 1), b"b");
    }
}
