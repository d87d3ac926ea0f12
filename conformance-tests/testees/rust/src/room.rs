//! Clients and subscriptions by the names that the runner gave them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use meshwire::{Error, EventError, Mesh, Position, Replies, Start, UnixMillis};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::command::{Command, StartSpec};
use crate::deliveries::Deliveries;
use crate::requests::{Asked, Serving};

/// What this testee can do.
const CAPS: [&str; 11] = [
    "tcp",
    "iterator",
    "handler",
    "manual_ack",
    "confirmed",
    "admin",
    "dead_letters",
    "stats",
    "requests",
    "delays",
    "cancel",
];

/// Everything that was named.
pub(crate) struct Room {
    lines: mpsc::Sender<Value>,
    named: Mutex<Named>,
}

#[derive(Default)]
struct Named {
    clients: HashMap<String, Mesh>,
    subscriptions: HashMap<String, Arc<Deliveries>>,
    marks: HashMap<String, UnixMillis>,
    servings: HashMap<String, Arc<Serving>>,
    asked: HashMap<String, Asked>,
}

/// What an op that names something absent answers: the case is wrong, not the client.
pub(crate) fn absent(what: &str) -> Error {
    Error::from(EventError::Json(format!("the testee knows no {what:?}")))
}

fn now() -> UnixMillis {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
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

    pub(crate) fn serving(&self, name: &str) -> Result<Arc<Serving>, Error> {
        self.named().servings.get(name).cloned().ok_or_else(|| absent(name))
    }

    pub(crate) fn add_serving(&self, name: String, serving: Arc<Serving>) {
        self.named().servings.insert(name, serving);
    }

    pub(crate) fn stream(&self, name: &str) -> Result<Arc<tokio::sync::Mutex<Option<Replies>>>, Error> {
        match self.named().asked.get(name) {
            Some(Asked::Stream(stream)) => Ok(Arc::clone(stream)),
            _ => Err(absent(name)),
        }
    }

    pub(crate) fn add_asked(&self, name: String, asked: Asked) {
        self.named().asked.insert(name, asked);
    }

    pub(crate) fn take_asked(&self, name: &str) -> Result<Asked, Error> {
        self.named().asked.remove(name).ok_or_else(|| absent(name))
    }

    pub(crate) fn remove_client(&self, name: &str) {
        self.named().clients.remove(name);
    }

    pub(crate) fn remove_subscription(&self, name: &str) {
        self.named().subscriptions.remove(name);
    }

    fn mark(&self, name: String) -> Value {
        self.named().marks.insert(name, now());
        json!({})
    }

    pub(crate) fn start(&self, spec: StartSpec) -> Result<Start, Error> {
        Ok(match spec {
            StartSpec::Earliest => Start::Earliest,
            StartSpec::Latest => Start::Latest,
            StartSpec::Position(position) => Start::Position(Position::from_number(position)),
            StartSpec::AgoMs(ago) => Start::Time(UnixMillis(now().0.saturating_sub(ago))),
            StartSpec::Mark(name) => {
                let time = self.named().marks.get(&name).copied();
                Start::Time(time.ok_or_else(|| absent(&name))?)
            }
        })
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
                "caps": CAPS,
            })),
            Command::Connect(connect) => self.connect(connect).await,
            Command::Publish { on, topic, event, timing } => self.publish(&on, &topic, event, timing).await,
            Command::PublishBatch { on, topic, events } => self.publish_batch(&on, &topic, events).await,
            Command::Flush { on } => self.client(&on)?.flush().await.map(|()| json!({})),
            Command::Subscribe(subscribe) => self.subscribe(subscribe).await,
            Command::Consume(subscribe) => self.consume(subscribe),
            Command::Gate { on, open, batch } => self.subscription(&on).map(|s| s.open(open, batch)),
            Command::Unsubscribe { on, left } => self.unsubscribe(&on, left).await,
            Command::Ack(settle) => self.ack(settle).await,
            Command::Nack(settle) => self.nack(settle).await,
            Command::Reject(settle) => self.reject(settle).await,
            Command::Extend(settle) => self.extend(settle).await,
            Command::Forget(settle) => self.forget(&settle),
            Command::Stats { on } => self.stats(&on),
            Command::State { on } => Ok(json!({"state": crate::verbs::state(*self.client(&on)?.state().borrow())})),
            Command::CreateTopic { on, topic, settings } => self.create_topic(&on, &topic, settings).await,
            Command::UpdateTopic { on, topic, settings } => self.update_topic(&on, &topic, settings).await,
            Command::DeleteTopic { on, topic, force } => {
                self.client(&on)?.topics().delete(&topic, force).await.map(|t| json!({"name": t.name}))
            }
            Command::Topics { on } => self.topics(&on).await,
            Command::Groups { on, topic } => self.groups(&on, &topic).await,
            Command::UpdateGroup { on, topic, group, settings } => {
                self.update_group(&on, &topic, &group, settings).await
            }
            Command::CreateGroup(asked) => self.create_group(asked).await,
            Command::SeekGroup { on, topic, group, to } => self.seek_group(&on, (&topic, &group), to).await,
            Command::Mark { name } => Ok(self.mark(name)),
            Command::DeleteGroup { on, topic, group } => self.delete_group(&on, &topic, &group).await,
            Command::Serve(serve) => self.serve(serve),
            Command::StopServing { on } => self.stop_serving(&on),
            Command::Reply { on, n, event } => self.reply(&on, &n, event).await,
            Command::End { on, n, reason } => self.end(&on, &n, reason).await,
            Command::Request(request) => self.request(request).await,
            Command::RequestStream(request) => self.request_stream(request).await,
            Command::NextReply { on } => self.next_reply(&on).await,
            Command::Cancel { on } => self.cancel(&on).await,
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
