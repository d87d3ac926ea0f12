//! What a client can be asked, and what it comes to: one list for all languages.

use std::sync::Arc;
use std::time::Duration;

use meshwire::{Event, Mesh, PendingReceipt, Receipt, Reply, Result, State, TimedEvent};
use meshwire_proto::options::DRAIN_TIMEOUT;
use tokio::time::{Instant, timeout};

use crate::administration;
use crate::client::Client;
use crate::consumer::Job;
use crate::fetched::Fetched;
use crate::options::Options;
use crate::publisher::{Held, Publisher};
use crate::replies::Replies;
use crate::responder::Inquiry;
use crate::started::Started;
use crate::subscription::Subscription;
use crate::work::Work;

/// A call of a client.
#[derive(Debug)]
pub enum Ask {
    /// [`Mesh::publish_start`], for when it matters that an event is in the offline file: comes to [`Outcome::Started`].
    PublishStart {
        /// To where.
        topic: String,
        /// What.
        event: Box<TimedEvent>,
    },
    /// [`Mesh::publish_batch`]: comes to [`Outcome::Receipts`]. Events that could not even be made are not sent, and their errors are in
    /// their places.
    PublishBatch {
        /// To where.
        topic: String,
        /// What, in order.
        events: Vec<Result<TimedEvent>>,
    },
    /// [`Mesh::flush`].
    Flush,
    /// [`Mesh::connected`].
    Connected,
    /// Waits until the client's state is another than this one: comes to an [`Outcome::State`]. What it was between two looks is not told.
    StateAfter(State),
    /// [`Mesh::subscribe`]: comes to an [`Outcome::Subscription`].
    Subscribe {
        /// To what.
        topic: String,
        /// As [`Options`] has them of a subscription.
        options: Options,
    },
    /// [`Mesh::request`]: comes to an [`Outcome::Reply`].
    Request {
        /// Whom: those who serve it.
        topic: String,
        /// What.
        event: Box<Event>,
        /// As [`Options`] has them of a request.
        options: Options,
    },
    /// [`Mesh::request_stream`]: comes to [`Outcome::Answers`].
    RequestStream {
        /// Whom: those who serve it.
        topic: String,
        /// What.
        event: Box<Event>,
        /// As [`Options`] has them of a request for many replies.
        options: Options,
    },
    /// Administration: comes to a [`Outcome::Text`], the answer as JSON.
    ///
    /// Commands are those of `meshwire topics`, `groups`, `dead-letters` and `limits`: `topics.list`, `.get`, `.create`, `.update`,
    /// `.delete`; `groups.list`, `.get`, `.create`, `.update`, `.seek`, `.delete`, `.delete_member`; `dead_letters.list`, `.get`,
    /// `.redrive`, `.purge`; `limits.get`, `.set`. Names and units are those of docs/http-admin.md. A list is `{"items":[...]}`, with
    /// `next` where there is more, the `cursor` of the next page.
    Administer {
        /// Which.
        command: String,
        /// A JSON object; empty is `{}`. Numbers and positions may be strings of their digits.
        arguments: String,
    },
    /// [`Mesh::drain`], behind the publishes that wait for room; without a deadline as [`Mesh::close`].
    Drain {
        /// How long what is in flight may take.
        deadline: Option<Duration>,
    },
}

/// What a call came to, where it did not fail.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// There is nothing to say.
    Done,
    /// Of a connect.
    Client(Client),
    /// The state that a client has come to.
    State(State),
    /// Of a publish.
    Receipt(Receipt),
    /// Of a publish whose receipt is yet to come.
    Started(Started),
    /// Of a batch, one for each event, in order.
    Receipts(Vec<Result<Receipt>>),
    /// Of a subscribe.
    Subscription(Subscription),
    /// Of a request for deliveries; none came in time if it is empty.
    Deliveries(Fetched),
    /// Of a consumer.
    Jobs(Vec<Work<Job>>),
    /// Of a responder.
    Inquiries(Vec<Work<Inquiry>>),
    /// Of a request.
    Reply(Reply),
    /// Of a request for many replies.
    Answers(Replies),
    /// Some of those; none came in time if it is empty.
    Replies(Vec<Reply>),
    /// Of administration: JSON.
    Text(String),
    /// The stream is over.
    Ended,
}

impl From<Vec<Work<Job>>> for Outcome {
    fn from(jobs: Vec<Work<Job>>) -> Self {
        Self::Jobs(jobs)
    }
}

impl From<Vec<Work<Inquiry>>> for Outcome {
    fn from(inquiries: Vec<Work<Inquiry>>) -> Self {
        Self::Inquiries(inquiries)
    }
}

impl Ask {
    /// The name of the call, as errors have it.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        match self {
            Self::PublishStart { .. } | Self::PublishBatch { .. } => "publish",
            Self::Flush => "flush",
            Self::Connected => "connect",
            Self::StateAfter(_) => "state",
            Self::Subscribe { .. } => "subscribe",
            Self::Request { .. } => "request",
            Self::RequestStream { .. } => "request_stream",
            Self::Administer { command, .. } => administration::operation(command),
            Self::Drain { .. } => "drain",
        }
    }

    /// Whether it publishes, in its turn among the publishes of the client.
    pub(crate) const fn publishes(&self) -> bool {
        matches!(self, Self::PublishStart { .. } | Self::PublishBatch { .. })
    }

    /// Whether bytes may have left when it is cancelled.
    pub(crate) fn leaves(&self) -> bool {
        match self {
            Self::Administer { command, .. } => administration::leaves(command),
            Self::PublishStart { .. } | Self::PublishBatch { .. } | Self::Request { .. } => true,
            _ => false,
        }
    }

    /// `turn` is that of one that publishes.
    pub(crate) async fn carry_out(
        self,
        client: Client,
        mesh: Mesh,
        publisher: Arc<Publisher>,
        mut turn: Option<Held>,
    ) -> Result<Outcome> {
        if let Some(turn) = &mut turn {
            turn.reached().await;
        }
        match self {
            Self::PublishStart { topic, event } => {
                let staged = mesh.stage(&topic, *event).await;
                // The next ones need not wait for the offline file: they share its write.
                drop(turn);
                let pending = mesh.filed(&topic, staged?).await?;
                Ok(Outcome::Started(Started::new(client, pending)))
            }
            Self::PublishBatch { topic, events } => {
                let batch = begin_batch(&mesh, &topic, events).await;
                // The next ones need not wait for receipts.
                drop(turn);
                Ok(Outcome::Receipts(Mesh::batch_receipts(batch).await))
            }
            Self::Flush => {
                publisher.admitted().await;
                mesh.flush().await.map(|()| Outcome::Done)
            }
            Self::Connected => mesh.connected().await.map(|()| Outcome::Done),
            Self::StateAfter(before) => {
                let mut state = mesh.state();
                drop((mesh, client));
                // An error means that nobody drives the client any more.
                let after = state.wait_for(|state| *state != before).await.map_or(State::Closed, |state| *state);
                Ok(Outcome::State(after))
            }
            Self::Subscribe { topic, options } => {
                let stream = options.subscribe(&mesh, &topic)?.await?;
                Ok(Outcome::Subscription(Subscription::new(client, stream)))
            }
            Self::Request { topic, event, options } => {
                options.request(mesh.request(&topic, *event))?.await.map(Outcome::Reply)
            }
            Self::RequestStream { topic, event, options } => {
                let replies = options.request_stream(mesh.request_stream(&topic, *event))?.await?;
                Ok(Outcome::Answers(Replies::new(client, replies)))
            }
            Self::Administer { command, arguments } => {
                administration::carry_out(mesh, &command, arguments).await.map(Outcome::Text)
            }
            Self::Drain { deadline } => {
                let deadline = deadline.unwrap_or(DRAIN_TIMEOUT.default_duration());
                let begun = Instant::now();
                // What waits for room was begun before.
                let _ = timeout(deadline, publisher.admitted()).await;
                mesh.drain(deadline.saturating_sub(begun.elapsed())).await.map(|()| Outcome::Done)
            }
        }
    }
}

/// Admits the events of a batch; one that is no event has failed alone.
async fn begin_batch(mesh: &Mesh, topic: &str, drafts: Vec<Result<TimedEvent>>) -> Vec<Result<PendingReceipt>> {
    let (mut events, mut failed) = (Vec::with_capacity(drafts.len()), Vec::with_capacity(drafts.len()));
    for draft in drafts {
        match draft {
            Ok(event) => {
                events.push(event);
                failed.push(None);
            }
            Err(error) => failed.push(Some(Err(error))),
        }
    }
    let mut started = mesh.publish_start_all(topic, events).await.into_iter();
    failed.into_iter().filter_map(|failed| failed.or_else(|| started.next())).collect()
}
