//! What a client can be asked, and what it comes to: one list for all languages.

use std::time::Duration;

use meshwire::{Event, Mesh, Receipt, Reply, Result, TimedEvent};

use crate::client::Client;
use crate::delivery::Delivery;
use crate::options::Options;
use crate::replies::Replies;
use crate::subscription::Subscription;

/// A call of a client.
#[derive(Debug)]
pub enum Ask {
    /// [`Mesh::publish`]: comes to a [`Outcome::Receipt`].
    Publish {
        /// To where.
        topic: String,
        /// What.
        event: Box<TimedEvent>,
    },
    /// [`Mesh::publish_batch`]: comes to [`Outcome::Receipts`].
    PublishBatch {
        /// To where.
        topic: String,
        /// What, in order.
        events: Vec<TimedEvent>,
    },
    /// [`Mesh::flush`].
    Flush,
    /// [`Mesh::connected`].
    Connected,
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
    /// [`Mesh::drain`]; without a deadline [`Mesh::close`].
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
    /// Of a publish.
    Receipt(Receipt),
    /// Of a batch, one for each event, in order.
    Receipts(Vec<Result<Receipt>>),
    /// Of a subscribe.
    Subscription(Subscription),
    /// Of a request for deliveries; none came in time if it is empty.
    Deliveries(Vec<Delivery>),
    /// Of a request.
    Reply(Reply),
    /// Of a request for many replies.
    Answers(Replies),
    /// Some of those; none came in time if it is empty.
    Replies(Vec<Reply>),
    /// The stream is over.
    Ended,
}

impl Ask {
    /// The name of the call, as errors have it.
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        match self {
            Self::Publish { .. } | Self::PublishBatch { .. } => "publish",
            Self::Flush => "flush",
            Self::Connected => "connect",
            Self::Subscribe { .. } => "subscribe",
            Self::Request { .. } => "request",
            Self::RequestStream { .. } => "request_stream",
            Self::Drain { .. } => "drain",
        }
    }

    /// Whether bytes may have left when it is cancelled.
    pub(crate) const fn leaves(&self) -> bool {
        matches!(self, Self::Publish { .. } | Self::PublishBatch { .. } | Self::Request { .. })
    }

    pub(crate) async fn carry_out(self, client: Client, mesh: Mesh) -> Result<Outcome> {
        match self {
            Self::Publish { topic, event } => mesh.publish(&topic, *event).await.map(Outcome::Receipt),
            Self::PublishBatch { topic, events } => Ok(Outcome::Receipts(mesh.publish_batch(&topic, events).await)),
            Self::Flush => mesh.flush().await.map(|()| Outcome::Done),
            Self::Connected => mesh.connected().await.map(|()| Outcome::Done),
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
            Self::Drain { deadline: Some(deadline) } => mesh.drain(deadline).await.map(|()| Outcome::Done),
            Self::Drain { deadline: None } => mesh.close().await.map(|()| Outcome::Done),
        }
    }
}
