//! Clients and subscriptions by the names that the runner gave them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use meshwire::{Error, EventError, Mesh};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::command::Command;
use crate::deliveries::Deliveries;

/// Everything that was named.
pub(crate) struct Room {
    lines: mpsc::Sender<Value>,
    named: Mutex<Named>,
}

#[derive(Default)]
struct Named {
    clients: HashMap<String, Mesh>,
    subscriptions: HashMap<String, Arc<Deliveries>>,
}

/// What an op that names something absent answers: the case is wrong, not the client.
pub(crate) fn absent(what: &str) -> Error {
    Error::from(EventError::Json(format!("the testee knows no {what:?}")))
}

impl Room {
    pub(crate) fn new(lines: mpsc::Sender<Value>) -> Self {
        Self { lines, named: Mutex::default() }
    }

    fn named(&self) -> MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) const fn lines(&self) -> &mpsc::Sender<Value> {
        &self.lines
    }

    pub(crate) fn client(&self, name: &str) -> Result<Mesh, Error> {
        self.named().clients.get(name).cloned().ok_or_else(|| absent(name))
    }

    pub(crate) fn subscription(&self, name: &str) -> Result<Arc<Deliveries>, Error> {
        self.named().subscriptions.get(name).cloned().ok_or_else(|| absent(name))
    }

    pub(crate) fn add_client(&self, name: String, mesh: Mesh) {
        self.named().clients.insert(name, mesh);
    }

    pub(crate) fn add_subscription(&self, name: String, deliveries: Arc<Deliveries>) {
        self.named().subscriptions.insert(name, deliveries);
    }

    pub(crate) fn remove_client(&self, name: &str) {
        self.named().clients.remove(name);
    }

    pub(crate) fn remove_subscription(&self, name: &str) {
        self.named().subscriptions.remove(name);
    }

    /// Lets go of everything.
    pub(crate) fn clear(&self) {
        *self.named() = Named::default();
    }

    /// Carries out one command.
    pub(crate) async fn obey(&self, command: Command) -> Result<Value, Error> {
        match command {
            Command::Hello {} => Ok(json!({
                "lang": "rust",
                "api": "async",
                "sdk": env!("CARGO_PKG_VERSION"),
                "caps": ["tcp", "iterator", "handler", "manual_ack", "confirmed", "admin", "dead_letters", "stats", "delays"],
            })),
            Command::Connect(connect) => self.connect(connect).await,
            Command::Publish { on, topic, event, timing } => self.publish(&on, &topic, event, timing).await,
            Command::PublishBatch { on, topic, events } => self.publish_batch(&on, &topic, events).await,
            Command::Flush { on } => self.client(&on)?.flush().await.map(|()| json!({})),
            Command::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Command::Consume(subscribe) => self.consume(subscribe),
            Command::Gate { on, open } => self.subscription(&on).map(|s| s.open(open)),
            Command::Unsubscribe { on } => self.unsubscribe(&on).await,
            Command::Ack(settle) => self.ack(settle).await,
            Command::Nack(settle) => self.nack(settle).await,
            Command::Reject(settle) => self.reject(settle).await,
            Command::Extend(settle) => self.extend(settle).await,
            Command::Forget(settle) => self.forget(&settle),
            Command::Stats { on } => self.stats(&on),
            Command::State { on } => Ok(json!({"state": crate::verbs::state(*self.client(&on)?.state().borrow())})),
            Command::CreateTopic { on, topic, durability, retention_ms } => {
                self.create_topic(&on, &topic, durability, retention_ms).await
            }
            Command::Topics { on } => self.topics(&on).await,
            Command::Groups { on, topic } => self.groups(&on, &topic).await,
            Command::UpdateGroup { on, topic, group, settings } => {
                self.update_group(&on, &topic, &group, settings).await
            }
            Command::DeadLetters(of) => self.dead_letters(of).await,
            Command::DeadLetter(of) => self.dead_letter(of).await,
            Command::Redrive(of) => self.redrive(of).await,
            Command::Purge(of) => self.purge(of).await,
            Command::Drain { on, deadline_ms } => self.drain(&on, deadline_ms).await,
            Command::Close { on } => self.client(&on)?.close().await.map(|()| json!({})),
            Command::Abandon { on } => {
                self.remove_client(&on);
                Ok(json!({}))
            }
            Command::Exit {} => Ok(json!({})),
        }
    }
}
