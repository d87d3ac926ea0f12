//! Connecting, publishing, receiving, settling: each command as one call.

use std::sync::Arc;
use std::time::Duration;

use meshwire::{Connect, Delivery, Error, Receipt, State};
use serde_json::{Value, json};

use crate::command;
use crate::deliveries::{Deliveries, Held};
use crate::event::{self, EventSpec};
use crate::room::{Room, absent};

fn receipt(receipt: &Receipt) -> Value {
    json!({"position": receipt.position.map(|p| p.number()), "duplicate": receipt.duplicate})
}

/// A state in one word.
pub(crate) const fn state(state: State) -> &'static str {
    match state {
        State::Disconnected => "disconnected",
        State::Connecting => "connecting",
        State::Connected => "connected",
        State::Reconnecting => "reconnecting",
        State::Draining => "draining",
        State::Closed => "closed",
        _ => "unknown",
    }
}

impl Room {
    pub(crate) async fn connect(&self, spec: command::Connect) -> Result<Value, Error> {
        let mut connect = Connect::new(&spec.url).name(spec.client_name.unwrap_or_else(|| "testee".to_owned()));
        if let Some(timeout) = spec.timeout_ms {
            connect = connect.timeout(Duration::from_millis(timeout));
        }
        if let Some(wait) = spec.wait_ms {
            connect = connect.wait(Duration::from_millis(wait));
        }
        if let Some(events) = spec.window_events {
            connect = connect.publish_window(events, 64 << 20);
        }
        if let Some((first, most)) = spec.reconnect_ms {
            connect = connect.reconnect(Duration::from_millis(first), Duration::from_millis(most));
        }
        if let Some(roots) = spec.tls_roots {
            connect = connect.tls_roots(roots);
        }
        let mesh = connect.await?;
        let (mut states, lines, on) = (mesh.state(), self.lines().clone(), spec.name.clone());
        // It ends with its client.
        tokio::spawn(async move {
            loop {
                let now = state(*states.borrow_and_update());
                if lines.send(json!({"ev": "state", "on": on, "state": now})).await.is_err() {
                    return;
                }
                if states.changed().await.is_err() {
                    return;
                }
            }
        });
        self.add_client(spec.name, mesh);
        Ok(json!({}))
    }

    pub(crate) async fn publish(
        &self,
        on: &str,
        topic: &str,
        spec: EventSpec,
        timing: command::Timing,
    ) -> Result<Value, Error> {
        self.client(on)?.publish(topic, timing.of(spec.event()?)).await.map(|kept| receipt(&kept))
    }

    pub(crate) async fn publish_batch(&self, on: &str, topic: &str, specs: Vec<EventSpec>) -> Result<Value, Error> {
        let events = specs.into_iter().map(EventSpec::event).collect::<Result<Vec<_>, _>>()?;
        let results = self.client(on)?.publish_batch(topic, events).await;
        let shown = results.into_iter().map(|result| match result {
            Ok(kept) => receipt(&kept),
            Err(error) => json!({"err": event::error(&error)}),
        });
        Ok(json!({"receipts": shown.collect::<Vec<_>>()}))
    }

    pub(crate) async fn subscribe(&self, spec: command::Subscribe) -> Result<Value, Error> {
        let mut subscribe = self.client(&spec.on)?.subscribe(&spec.topic).settings(spec.settings.into());
        if let Some(group) = spec.group {
            subscribe = subscribe.group(group);
        }
        if spec.broadcast {
            subscribe = subscribe.broadcast();
        }
        if let Some(member) = spec.member {
            subscribe = subscribe.member(member);
        }
        if let Some(start) = spec.start {
            subscribe = subscribe.start(self.start(start)?);
        }
        if let Some((events, bytes)) = spec.prefetch {
            subscribe = subscribe.prefetch(events, bytes);
        }
        let subscription = subscribe.await?;
        let deliveries = Deliveries::new(&spec.name, self.lines().clone(), spec.gate);
        tokio::spawn(Arc::clone(&deliveries).stream(subscription));
        self.add_subscription(spec.name, deliveries);
        Ok(json!({}))
    }

    pub(crate) fn consume(&self, spec: command::Subscribe) -> Result<Value, Error> {
        let mut consume = self.client(&spec.on)?.consume(&spec.topic).settings(spec.settings.into());
        if let Some(group) = spec.group {
            consume = consume.group(group);
        }
        if spec.broadcast {
            consume = consume.broadcast();
        }
        if let Some(member) = spec.member {
            consume = consume.member(member);
        }
        if let Some(start) = spec.start {
            consume = consume.start(self.start(start)?);
        }
        if let Some((events, bytes)) = spec.prefetch {
            consume = consume.prefetch(events, bytes);
        }
        if let Some(handlers) = spec.concurrency {
            consume = consume.concurrency(handlers);
        }
        let deliveries = Deliveries::new(&spec.name, self.lines().clone(), None);
        self.add_subscription(spec.name, Arc::clone(&deliveries));
        // A handler need not be Send, so neither is this.
        tokio::task::spawn_local(async move {
            let stop = async { deliveries.stopped().await };
            let ended = consume.until(stop).run(async |delivery: &Delivery| deliveries.handle(delivery).await).await;
            deliveries.ended(ended).await;
        });
        Ok(json!({}))
    }

    pub(crate) async fn unsubscribe(&self, on: &str, left: bool) -> Result<Value, Error> {
        let subscription = self.subscription(on)?;
        if left {
            subscription.let_go();
        }
        subscription.stop();
        self.remove_subscription(on);
        // The loop lets go of the subscription in its next turn.
        tokio::task::yield_now().await;
        Ok(json!({}))
    }

    fn held(&self, settle: &command::Settle) -> Result<Vec<(u64, Held)>, Error> {
        let subscription = self.subscription(&settle.on)?;
        let held = |n: &u64| subscription.take(*n).map(|held| (*n, held));
        settle.n.iter().map(|n| held(n).ok_or_else(|| absent(&format!("delivery {n}")))).collect()
    }

    pub(crate) async fn ack(&self, settle: command::Settle) -> Result<Value, Error> {
        for (_, held) in self.held(&settle)? {
            match held {
                Held::Stream(delivery) if settle.confirmed => delivery.ack_confirmed().await?,
                Held::Stream(delivery) => delivery.ack(),
                // A handler that was dropped needs no verdict.
                Held::Handler(verdict) => drop(verdict.send(Ok(()))),
            }
        }
        Ok(json!({}))
    }

    pub(crate) async fn nack(&self, settle: command::Settle) -> Result<Value, Error> {
        for (_, held) in self.held(&settle)? {
            match (held, settle.delay_ms) {
                (Held::Stream(delivery), Some(delay)) => delivery.nack_after(Duration::from_millis(delay)),
                (Held::Stream(delivery), None) if settle.confirmed => delivery.nack_confirmed().await?,
                (Held::Stream(delivery), None) => delivery.nack(),
                (Held::Handler(verdict), _) => drop(verdict.send(Err(settle.reason.clone()))),
            }
        }
        Ok(json!({}))
    }

    pub(crate) async fn reject(&self, settle: command::Settle) -> Result<Value, Error> {
        for (n, held) in self.held(&settle)? {
            match held {
                Held::Stream(delivery) if settle.confirmed => delivery.reject_confirmed(&settle.reason).await?,
                Held::Stream(delivery) => delivery.reject(&settle.reason),
                Held::Handler(_) => return Err(absent(&format!("way to reject in the handler of delivery {n}"))),
            }
        }
        Ok(json!({}))
    }

    pub(crate) async fn extend(&self, settle: command::Settle) -> Result<Value, Error> {
        let subscription = self.subscription(&settle.on)?;
        for (n, held) in self.held(&settle)? {
            let Held::Stream(delivery) = held else {
                return Err(absent(&format!("lease of a handler to extend, {n}")));
            };
            let extended = if settle.confirmed {
                delivery.extend_confirmed().await
            } else {
                delivery.extend();
                Ok(())
            };
            subscription.put(n, Held::Stream(delivery));
            extended?;
        }
        Ok(json!({}))
    }

    pub(crate) fn forget(&self, settle: &command::Settle) -> Result<Value, Error> {
        self.held(settle).map(drop)?;
        Ok(json!({}))
    }

    pub(crate) fn stats(&self, on: &str) -> Result<Value, Error> {
        let stats = self.client(on)?.stats();
        Ok(json!({
            "pending": stats.pending,
            "published": stats.published,
            "reconnects": stats.reconnects,
            "resumes": stats.resumes,
            "replays": stats.replays,
            "protocol_errors": stats.protocol_errors,
            "silences": stats.silences,
            "settles_dropped": stats.settles_dropped,
            "leases_lost": stats.leases_lost,
        }))
    }

    pub(crate) async fn drain(&self, on: &str, deadline_ms: u64) -> Result<Value, Error> {
        self.client(on)?.drain(Duration::from_millis(deadline_ms)).await.map(|()| json!({}))
    }
}
