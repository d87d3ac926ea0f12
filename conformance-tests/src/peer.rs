//! The scripted peer: it is a gateway only as far as a case says, byte by byte.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Map, Value, json};

use crate::wire::{CLIENT, Cutter, PREFACE, SERVER, decode, encode, frame_name};

/// Connections that wait to be taken.
const WAITING: usize = 64;

/// A listener and the connection that the script talks on.
pub(crate) struct Peer {
    address: SocketAddr,
    accepted: Receiver<TcpStream>,
    current: Option<(TcpStream, Cutter)>,
    /// Pings are not answered on the current connection.
    pub(crate) mute: bool,
}

/// What the peer received.
#[derive(Debug, PartialEq)]
pub(crate) struct Frame {
    pub(crate) name: String,
    pub(crate) fields: Map<String, Value>,
}

impl Peer {
    pub(crate) fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).context("the peer gets no port")?;
        let address = listener.local_addr()?;
        let (sender, accepted) = sync_channel(WAITING);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if sender.send(stream).is_err() {
                    return;
                }
            }
        });
        Ok(Self { address, accepted, current: None, mute: false })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes the next connection; what was said on the one before is left alone.
    pub(crate) fn accept(&mut self, within: Duration) -> anyhow::Result<()> {
        let stream = self.accepted.recv_timeout(within).context("the testee did not connect")?;
        stream.set_nodelay(true)?;
        self.current = Some((stream, Cutter::default()));
        self.mute = false;
        Ok(())
    }

    fn current(&mut self) -> anyhow::Result<&mut (TcpStream, Cutter)> {
        self.current.as_mut().context("the script accepted no connection yet")
    }

    /// Sends bytes as they are.
    pub(crate) fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        self.current()?.0.write_all(bytes).context("the testee hung up")
    }

    pub(crate) fn send_preface(&mut self) -> anyhow::Result<()> {
        self.send_bytes(&PREFACE)
    }

    pub(crate) fn send(&mut self, frame: &str, fields: Map<String, Value>) -> anyhow::Result<()> {
        let whole = Map::from_iter([(frame.to_owned(), Value::Object(fields))]);
        let message = encode(&SERVER, &whole)?;
        let mut bytes = u32::try_from(message.len())?.to_le_bytes().to_vec();
        bytes.extend_from_slice(&message);
        self.send_bytes(&bytes)
    }

    /// The next frame. Pings are answered and passed over: when they come is chance.
    pub(crate) fn read(&mut self, within: Duration) -> anyhow::Result<Option<Frame>> {
        let until = Instant::now() + within;
        loop {
            let Some(piece) = self.piece(until)? else {
                return Ok(None);
            };
            let Some(number) = piece.frame else {
                ensure!(piece.bytes == PREFACE, "the testee began with {:02x?}", piece.bytes);
                return Ok(Some(Frame { name: "preface".to_owned(), fields: Map::new() }));
            };
            let name = frame_name(&CLIENT, number);
            let mut whole = decode(&CLIENT, piece.message()).with_context(|| format!("in a frame {name}"))?;
            let fields = whole.remove(&name).and_then(|v| if let Value::Object(f) = v { Some(f) } else { None });
            let fields = fields.unwrap_or_default();
            if name != "ping" {
                return Ok(Some(Frame { name, fields }));
            }
            if self.mute {
                continue;
            }
            let nonce = fields.get("nonce").cloned().unwrap_or_else(|| json!(0));
            self.send("ping", Map::from_iter([("nonce".to_owned(), nonce), ("answer".to_owned(), true.into())]))?;
        }
    }

    /// The next piece of the stream; `None` at its end.
    fn piece(&mut self, until: Instant) -> anyhow::Result<Option<crate::wire::Piece>> {
        let (stream, cutter) = self.current()?;
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(piece) = cutter.next() {
                return Ok(Some(piece));
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the testee sent nothing");
            }
            stream.set_read_timeout(Some(left))?;
            match stream.read(&mut buffer) {
                Ok(0) => return Ok(None),
                Ok(count) => cutter.push(buffer.get(..count).unwrap_or_default()),
                Err(cause) if matches!(cause.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(cause) if cause.kind() == ErrorKind::ConnectionReset => return Ok(None),
                Err(cause) => return Err(cause.into()),
            }
        }
    }

    pub(crate) fn close(&mut self) -> anyhow::Result<()> {
        // The testee may have hung up first.
        let _ = self.current()?.0.shutdown(Shutdown::Both);
        Ok(())
    }
}
