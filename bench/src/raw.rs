//! Meshwire's frames on a bare socket, as [`crate::peers::redis`] speaks bare RESP:
//! one connection that publishes one event and waits for its receipt.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use bytes::BytesMut;
use meshwire_proto::frame::{
    ClientFrame, FrameParser, PREFACE, Publish, PublishRun, ServerFrame, begin_frame, end_frame,
};
use meshwire_proto::wire::session::{Hello, Ping, Subscribe};
use meshwire_proto::{Defaults, Event, EventRunBuilder, UnixMillis, options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ours::TOPIC;

/// Of the events, as long as what the client fills in.
const SOURCE: &str = "//load-generator/meshwire-bench";

/// One connection, one event in flight.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: BytesMut,
    parser: FrameParser,
    publisher: u32,
    sequence: u64,
    event: BytesMut,
    run: EventRunBuilder,
}

impl Connection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// The gateway cannot be reached, or refuses.
    pub(crate) async fn open(address: SocketAddr, publisher: u32) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await.context("the gateway cannot be reached")?;
        stream.set_nodelay(true)?;
        let limit = options::MAX_FRAME_BYTES;
        let mut connection = Self {
            stream,
            input: BytesMut::with_capacity(4096),
            output: BytesMut::from(PREFACE.as_slice()),
            parser: FrameParser::new(u32::try_from(limit.default)?, limit.name),
            publisher,
            sequence: 0,
            event: BytesMut::new(),
            run: EventRunBuilder::default(),
        };
        let mut producer = vec![0; 16];
        fastrand::fill(&mut producer);
        let hello = Hello {
            producer_id: producer.into(),
            min_version: 1,
            max_version: 1,
            client_name: "meshwire-bench".to_owned(),
            language: "rust".to_owned(),
            ..Hello::default()
        };
        connection.send(&ClientFrame::Hello(hello)).await?;
        while connection.input.len() < PREFACE.len() {
            connection.read().await?;
        }
        ensure!(connection.input.split_to(PREFACE.len()) == PREFACE.as_slice(), "this is no gateway");
        match connection.next().await? {
            ServerFrame::Welcome(_) => Ok(connection),
            other => bail!("the gateway answered the login with {other:?}"),
        }
    }

    /// Publishes one event and waits until it is kept.
    ///
    /// # Errors
    /// The gateway refused it, or the connection is lost.
    pub(crate) async fn publish(&mut self, data: bytes::Bytes) -> anyhow::Result<()> {
        let before = self.sequence;
        self.sequence += 1;
        let id = format!("{:08}-{:027}", self.publisher, self.sequence);
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_millis();
        let time = Some(UnixMillis(i64::try_from(now)?));
        let defaults = Defaults { id: &id, source: SOURCE, kind: TOPIC, time };
        self.event.clear();
        Event::bytes("", data).encode_with(defaults, &mut self.event)?;
        self.run.push(&self.event);
        let run = PublishRun {
            alias: 1,
            topic: if before == 0 { TOPIC.to_owned() } else { String::new() },
            first_sequence: self.sequence,
            events: self.run.take(),
            ..PublishRun::default()
        };
        self.send(&ClientFrame::Publish(Publish { runs: vec![run], answered_through: before })).await?;
        loop {
            match self.next().await? {
                ServerFrame::Receipts(receipts) => match receipts.receipts.as_slice() {
                    [one] if one.first_sequence == self.sequence && one.code == 0 => return Ok(()),
                    other => bail!("the gateway answered a publish with {other:?}"),
                },
                ServerFrame::Ping(_) => {}
                other => bail!("the gateway answered a publish with {other:?}"),
            }
        }
    }

    async fn send(&mut self, frame: &ClientFrame) -> anyhow::Result<()> {
        let start = begin_frame(&mut self.output);
        frame.encode(&mut self.output);
        end_frame(&mut self.output, start, 0);
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    async fn next(&mut self) -> anyhow::Result<ServerFrame> {
        loop {
            if let Some(frame) = self.parser.next(&mut self.input)? {
                return Ok(ServerFrame::decode(frame)?);
            }
            self.read().await?;
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        self.input.reserve(4096);
        ensure!(self.stream.read_buf(&mut self.input).await? > 0, "the gateway closed the connection");
        Ok(())
    }
}

/// How often one that reads nothing says that it lives.
const SIGN_OF_LIFE: Duration = Duration::from_secs(3);

/// A subscriber without a group that asks for all the credit there is and never reads again.
#[derive(Debug)]
pub(crate) struct Stuck(tokio::task::JoinHandle<()>);

impl Stuck {
    /// Connects, subscribes and stops reading.
    ///
    /// # Errors
    /// The gateway cannot be reached, or refuses.
    pub(crate) async fn subscribe(address: SocketAddr) -> anyhow::Result<Self> {
        let mut connection = Connection::open(address, u32::MAX).await?;
        let subscribe = Subscribe {
            subscription: 1,
            topic: TOPIC.to_owned(),
            max_events: u32::try_from(options::PREFETCH_EVENTS.max)?,
            max_bytes: options::PREFETCH_BYTES.max,
            ..Subscribe::default()
        };
        connection.send(&ClientFrame::Subscribe(subscribe)).await?;
        match connection.next().await? {
            ServerFrame::Subscribed(_) => {}
            other => bail!("the gateway answered a subscribe with {other:?}"),
        }
        Ok(Self(tokio::spawn(async move {
            let ping = ClientFrame::Ping(Ping { nonce: 1, answer: true });
            while connection.send(&ping).await.is_ok() {
                tokio::time::sleep(SIGN_OF_LIFE).await;
            }
        })))
    }
}

impl Drop for Stuck {
    fn drop(&mut self) {
        self.0.abort();
    }
}
