//! Clients that are there before a flood: sessions over TCP and HTTP/1.1 connections, each with one publish in flight, and a subscriber.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use meshwire::Mesh;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};

use crate::flow::{Arrivals, Flow};
use crate::http::{self, OneByOne as _};
use crate::ours::{self, Gateway};
use crate::payload::Payloads;
use crate::raw;

/// Of each kind.
const EACH: u32 = 4;
/// The client's default.
const PREFETCH: u64 = 256;
/// Longest wait for the last arrivals.
const LAST_ARRIVALS: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(5);

enum Connection {
    Native(raw::Connection),
    Http(http::Connection),
}

/// One publisher.
struct Client {
    connection: Connection,
    number: u32,
    payloads: Payloads,
}

impl Client {
    async fn publish(&mut self) -> anyhow::Result<()> {
        match &mut self.connection {
            Connection::Native(connection) => connection.publish(self.payloads.next()).await,
            Connection::Http(connection) => connection.publish(self.number, &mut self.payloads).await,
        }
    }
}

/// An event: when it was due, and how long after that it was answered.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) due: Instant,
    pub(super) took: Duration,
}

/// All of them.
pub(super) struct Good {
    clients: Vec<Client>,
    flow: Arc<Flow>,
    receiving: JoinHandle<anyhow::Result<()>>,
    _mesh: Mesh,
}

impl Good {
    pub(super) async fn connect(gateway: &Gateway) -> anyhow::Result<Self> {
        let address: SocketAddr = gateway.address()?;
        let mut clients = Vec::new();
        for number in 0..2 * EACH {
            let connection = if number < EACH {
                Connection::Native(raw::Connection::open(address, number).await?)
            } else {
                Connection::Http(http::Connection::open(address).await?)
            };
            clients.push(Client { connection, number, payloads: Payloads::small(number) });
        }
        let (flow, mesh) = (Arc::new(Flow::default()), gateway.connect().await?);
        let events = ours::subscribe(&mesh, PREFETCH).await?;
        let arrivals = Arrivals::of(Arc::clone(&flow), clients.len());
        Ok(Self { clients, flow, receiving: tokio::spawn(ours::receive(events, arrivals)), _mesh: mesh })
    }

    /// Events a second that they publish when nothing holds them back.
    pub(super) async fn capacity(&mut self, time: Duration) -> anyhow::Result<f64> {
        let (mut publishing, end, before) = (JoinSet::new(), Instant::now() + time, self.sent());
        for mut client in self.clients.drain(..) {
            publishing.spawn(async move {
                while Instant::now() < end {
                    client.publish().await?;
                }
                anyhow::Ok(client)
            });
        }
        while let Some(client) = publishing.join_next().await {
            self.clients.push(client.context("a client panicked")??);
        }
        Ok((self.sent() - before) as f64 / time.as_secs_f64())
    }

    fn sent(&self) -> u64 {
        self.clients.iter().map(|client| client.payloads.made()).sum()
    }

    /// They begin to publish at a fixed rate, all together so many events a second.
    pub(super) fn offer(&mut self, rate: f64) -> Offering {
        let (stopped, began) = (Arc::new(AtomicBool::new(false)), Instant::now());
        let period = Duration::from_secs_f64(self.clients.len() as f64 / rate);
        let mut publishing = JoinSet::new();
        for (n, client) in self.clients.drain(..).enumerate() {
            let first = began + Duration::from_secs_f64(n as f64 / rate);
            publishing.spawn(at_a_rate(client, (first, period), Arc::clone(&stopped)));
        }
        Offering { stopped, publishing }
    }

    /// Whether all that they published arrived at the subscriber: whole, once and in order.
    ///
    /// # Errors
    /// What did not.
    pub(super) async fn verify(&self) -> anyhow::Result<()> {
        let (sent, began) = (self.sent(), Instant::now());
        while self.flow.arrived() < sent && !self.receiving.is_finished() && began.elapsed() < LAST_ARRIVALS {
            sleep(LOOK_EVERY).await;
        }
        ensure!(!self.receiving.is_finished(), "the subscriber ended: an event was lost, or came twice or damaged");
        ensure!(self.flow.arrived() == sent, "{sent} events were published, {} arrived", self.flow.arrived());
        Ok(())
    }
}

/// Clients that publish at a fixed rate.
pub(super) struct Offering {
    stopped: Arc<AtomicBool>,
    publishing: JoinSet<anyhow::Result<(Client, Vec<Seen>)>>,
}

impl Offering {
    /// Ends it; gives the clients back, and what they saw.
    pub(super) async fn stop(mut self, good: &mut Good) -> anyhow::Result<Vec<Seen>> {
        self.stopped.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        while let Some(ended) = self.publishing.join_next().await {
            let (client, seen) = ended.map_err(|e| anyhow!("a client panicked: {e}"))??;
            good.clients.push(client);
            all.extend(seen);
        }
        Ok(all)
    }
}

async fn at_a_rate(
    mut client: Client,
    (mut due, period): (Instant, Duration),
    stopped: Arc<AtomicBool>,
) -> anyhow::Result<(Client, Vec<Seen>)> {
    let mut seen = Vec::new();
    while !stopped.load(Ordering::Relaxed) {
        sleep_until(due).await;
        client.publish().await.context("a client that was there before the flood")?;
        seen.push(Seen { due, took: due.elapsed() });
        due += period;
    }
    Ok((client, seen))
}
