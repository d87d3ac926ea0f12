//! The fault proxy between testee and gateway: it knows frames, and does harm to the
//! connection when a step says so or a frame is seen.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use crate::wire::{CLIENT, Cutter, Message, SERVER, frame_name};

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Gateway,
}

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

/// A fault that waits for a frame.
#[derive(Clone, Debug)]
pub(crate) struct Trigger {
    pub(crate) from: From,
    /// As the frame table names it.
    pub(crate) frame: String,
    /// Which of these frames, from 1.
    pub(crate) nth: u64,
    /// Bytes of it that still pass; `None`: all.
    pub(crate) pass: Option<usize>,
    pub(crate) fault: Fault,
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
    trigger: Option<Trigger>,
    links: Vec<[TcpStream; 2]>,
    /// The trigger's fault was done.
    struck: bool,
    over: bool,
    /// Bytes cannot be read as frames: a trigger waits for the next bytes of its side.
    opaque: bool,
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
    pub(crate) fn start(upstream: SocketAddr, shows_frames: bool) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("the proxy gets no port")?;
        let address = listener.local_addr()?;
        let state = State { upstream: Some(upstream), opaque: !shows_frames, ..State::default() };
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

    pub(crate) fn arm(&self, trigger: Trigger) {
        let mut state = self.shared.state();
        state.trigger = Some(trigger);
        state.struck = false;
    }

    /// Waits until the armed fault was done; `false` when it was not in time.
    pub(crate) fn struck(&self, within: Duration) -> bool {
        let state = self.shared.state();
        let waited = self.shared.changed.wait_timeout_while(state, within, |state| !state.struck);
        waited.is_ok_and(|(state, _)| state.struck)
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
    shared.state().links.push([client.try_clone()?, gateway.try_clone()?]);
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
    let table: &Message = if who == From::Client { &CLIENT } else { &SERVER };
    let mut cutter = Cutter::default();
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        if shared.state().opaque {
            pass(shared, to, bytes, triggered(shared, who, None))?;
            continue;
        }
        cutter.push(bytes);
        while let Some(piece) = cutter.next() {
            let name = piece.frame.map(|number| frame_name(table, number));
            let trigger = name.and_then(|name| triggered(shared, who, Some(&name)));
            pass(shared, to, &piece.bytes, trigger)?;
        }
    }
}

/// Sends on, as far as a fault lets it.
fn pass(shared: &Shared, to: &TcpStream, bytes: &[u8], trigger: Option<Trigger>) -> std::io::Result<()> {
    let Some(trigger) = trigger else {
        return send(shared, to, bytes);
    };
    let passed = trigger.pass.unwrap_or(bytes.len());
    send(shared, to, bytes.get(..passed).unwrap_or(bytes))?;
    struck(shared, trigger.fault);
    Ok(())
}

/// The trigger, if this frame is the one it waits for; of bytes in which no frames can be seen, any of its side.
fn triggered(shared: &Shared, who: From, name: Option<&str>) -> Option<Trigger> {
    let mut state = shared.state();
    let trigger = state.trigger.as_mut().filter(|t| t.from == who && name.is_none_or(|name| t.frame == name))?;
    trigger.nth = trigger.nth.saturating_sub(1);
    if trigger.nth > 0 { None } else { state.trigger.take() }
}

fn struck(shared: &Shared, fault: Fault) {
    let mut state = shared.state();
    match fault {
        Fault::Cut => state.cut(),
        Fault::Stall => state.road.stalled = true,
        Fault::HalfClose => state.half_close(),
    }
    state.struck = true;
    shared.changed.notify_all();
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
        to.write_all(now)?;
        if let Some(millis) = (now.len() as u64 * 1000).checked_div(road.rate) {
            // A slow road is what this is for.
            thread::sleep(Duration::from_millis(millis));
        }
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

    use super::{Fault, From, Proxy, Trigger};
    use crate::wire::PREFACE;

    /// A client and a gateway with the proxy between them.
    fn both() -> (Proxy, TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let proxy = Proxy::start(listener.local_addr().unwrap(), true).unwrap();
        let client = TcpStream::connect(proxy.address()).unwrap();
        let gateway = listener.accept().unwrap().0;
        (proxy, client, gateway)
    }

    fn read(stream: &mut TcpStream, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Preface, and a ping.
    fn stream() -> Vec<u8> {
        let mut bytes = PREFACE.to_vec();
        bytes.extend_from_slice(&[2, 0, 0, 0, 0x6A, 0]);
        bytes
    }

    #[test]
    fn bytes_pass_both_ways_also_one_by_one() {
        let (proxy, mut client, mut gateway) = both();
        proxy.set_road(|road| road.slice = 1);
        client.write_all(&stream()).unwrap();
        assert_eq!(read(&mut gateway, 14), stream());
        gateway.write_all(&PREFACE).unwrap();
        assert_eq!(read(&mut client, 8), PREFACE);
    }

    #[test]
    fn a_fault_waits_for_its_frame_and_lets_only_so_much_of_it_pass() {
        let (proxy, mut client, mut gateway) = both();
        let fault = Trigger { from: From::Client, frame: "ping".to_owned(), nth: 1, pass: Some(3), fault: Fault::Cut };
        proxy.arm(fault);
        assert!(!proxy.struck(Duration::ZERO));
        client.write_all(&stream()).unwrap();
        let mut passed = Vec::new();
        gateway.read_to_end(&mut passed).unwrap();
        assert_eq!(Some(passed.as_slice()), stream().get(..11));
        assert!(proxy.struck(Duration::from_secs(10)));
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_half_closed_connection_still_takes_what_the_client_says() {
        let (proxy, mut client, mut gateway) = both();
        client.write_all(&PREFACE).unwrap();
        assert_eq!(read(&mut gateway, 8), PREFACE);
        proxy.strike(Fault::HalfClose);
        assert_eq!(client.read(&mut [0]).unwrap(), 0);
        client.write_all(&[2, 0, 0, 0, 0x6A, 0]).unwrap();
        assert_eq!(read(&mut gateway, 6), [2, 0, 0, 0, 0x6A, 0]);
    }
}
