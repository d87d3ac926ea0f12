//! What a session tells its owner.

use std::ops::Range;

use bytes::Bytes;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::DeliverRun;
use meshwire_proto::wire::session as wire;

use super::{Failure, ServeId, SubscriptionId, TaskId};

/// Where a session stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// Not connected, and not trying yet.
    #[default]
    Disconnected,
    /// Trying for the first time.
    Connecting,
    /// Logged in.
    Connected,
    /// Was connected, and is trying again.
    Reconnecting,
    /// The gateway is about to stop, or the client is draining.
    Draining,
    /// Ended for good.
    Closed,
}

impl State {
    /// In one word, as `reconnecting`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disconnected => "disconnected",
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Reconnecting => "reconnecting",
            Self::Draining => "draining",
            Self::Closed => "closed",
        }
    }
}

/// What became of consecutive publishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Their sequences.
    pub sequences: Range<u64>,
    /// Kept, or why not.
    pub result: Result<Kept, Failure>,
}

/// Events are kept to their topic's level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Position of the first, the others follow; 0 when not known, after a replay.
    pub first_position: u64,
    /// The events were there already.
    pub duplicate: bool,
}

/// What is to be done, or was found out.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Output {
    /// Make a connection, then call [`connected`](super::Session::connected), or
    /// [`disconnected`](super::Session::disconnected) if there is none.
    Connect,
    /// Drop the connection: nothing of it may be given to the session any more.
    Disconnect {
        /// Why, for a log line.
        reason: String,
        /// The error that the gateway ended it with; `None` if it did not.
        refused: Option<ErrorKind>,
    },
    /// The state changed.
    State(State),
    /// Publishes were answered.
    Answered(Answer),
    /// A subscription runs, for the first time or again.
    Subscribed {
        /// Which.
        subscription: SubscriptionId,
        /// How long a delivery may stay unsettled, in milliseconds.
        ack_wait_ms: u32,
        /// Position of the next event that was never delivered.
        next_position: u64,
        /// Where the topic's next event will be. 1: it never had one; 0: not told.
        topic_next: u64,
        /// Whether its group came into being with it; else the start counts for nothing.
        new_group: bool,
    },
    /// Events for a subscription.
    Deliver {
        /// Which.
        subscription: SubscriptionId,
        /// Settles must name it.
        generation: u32,
        /// The events.
        run: DeliverRun,
    },
    /// Deliveries of earlier generations can no longer be settled.
    Reset {
        /// Whose.
        subscription: SubscriptionId,
        /// The new generation.
        generation: u32,
        /// Whether they come again, so that what was not handled yet must be dropped.
        again: bool,
        /// Plain acks and rejects of the session that is gone which the gateway may not have heard.
        unheard: u64,
    },
    /// The gateway ended a subscription, or refused it.
    Ended {
        /// Which.
        subscription: SubscriptionId,
        /// Why.
        failure: Failure,
    },
    /// The answer to a confirmed settle.
    Settled {
        /// Its token.
        token: u64,
        /// Whether it holds.
        result: Result<(), Failure>,
        /// Of a nack: deliveries of its session with a lower number were on their way then, those of its key among them were
        /// taken back with it. All of them have come by now.
        boundary: u64,
    },
    /// The answer to an administrative command, `meshwire.admin.v1.Answer`.
    Admin {
        /// The command's number.
        number: u64,
        /// The answer.
        result: Result<Bytes, Failure>,
    },
    /// A reply to a request, its end, or both.
    Replied {
        /// The request's number.
        request: u64,
        /// The encoded event.
        event: Option<Bytes>,
        /// Nothing more comes: all was said, or why not.
        end: Option<Result<(), Failure>>,
    },
    /// Requests of a topic come from now on, for the first time or again.
    Serving {
        /// What serves.
        serve: ServeId,
    },
    /// A request of others, to be answered and ended with [`reply`](super::Session::reply).
    Asked {
        /// What serves.
        serve: ServeId,
        /// Names it.
        task: TaskId,
        /// What is asked.
        request: wire::Request,
    },
    /// Nobody waits for the replies to a request any more; it is still to be ended.
    TaskCancelled {
        /// Which.
        task: TaskId,
    },
    /// More replies to a request may be sent.
    TaskGranted {
        /// Which.
        task: TaskId,
        /// So many more.
        events: u32,
    },
    /// The gateway refused a reply; the requester was told why it gets none.
    ReplyRefused(Failure),
    /// The gateway refused what serves, or ended it.
    ServeEnded {
        /// Which.
        serve: ServeId,
        /// Why.
        failure: Failure,
    },
    /// The gateway refused the session in a way that trying again cannot help.
    /// The session is closed.
    Failed(Failure),
    /// The session ended as asked: transmit what is left, then drop the connection.
    Closed,
}

/// Counts since a session began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Logins after the first.
    pub reconnects: u64,
    /// Reconnects that went on with the same session.
    pub resumes: u64,
    /// Events sent again on a new connection.
    pub replays: u64,
    /// Of those, events sent to a gateway that had no record of this producer.
    pub replays_by_id: u64,
    /// Publishes given up because they had waited too long for a gateway.
    pub given_up: u64,
    /// Connections dropped because the gateway broke the protocol.
    pub protocol_errors: u64,
    /// Connections dropped after silence.
    pub silences: u64,
    /// Settles of deliveries whose lease was gone already.
    pub settles_dropped: u64,
    /// Confirmed settles answered `LEASE_LOST`.
    pub leases_lost: u64,
    /// Replies to requests of a connection that is gone.
    pub replies_dropped: u64,
    /// Replies that came when their request had ended here.
    pub replies_late: u64,
}
