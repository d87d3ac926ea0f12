//! Counts, for a look from outside.

/// What a client did since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Publishes without a receipt, now.
    pub pending: u64,
    /// Bytes of them.
    pub pending_bytes: u64,
    /// Of the pending, those that are not on their way: there is no gateway, or it takes no more now.
    pub buffered: u64,
    /// Bytes of them.
    pub buffered_bytes: u64,
    /// Publishes that waited too long in the offline buffer.
    pub given_up: u64,
    /// Publishes that an earlier client left in the offline file.
    pub restored: u64,
    /// Of those, what the gateway has.
    pub restored_published: u64,
    /// Of those, what it refused for good, and what waited too long.
    pub restored_failed: u64,
    /// Publishes admitted.
    pub published: u64,
    /// What the session travels in, or did last: `tcp`, `grpc`, `websocket` or `http`; `None` before the first login, and
    /// without a network.
    pub carrier: Option<&'static str>,
    /// Logins after the first.
    pub reconnects: u64,
    /// Reconnects that went on with the same session, leases and all.
    pub resumes: u64,
    /// Events sent again after a reconnect, by their sequences: none is kept twice.
    pub replays: u64,
    /// Of those, events sent to a gateway that had no record of this client any more:
    /// it knows them by `source` and `id`, as long as it remembers those (option
    /// `dedup_window`).
    pub replays_by_id: u64,
    /// Connections dropped because the gateway broke the protocol.
    pub protocol_errors: u64,
    /// Connections dropped because nothing was heard for 2.5 heartbeats.
    pub silences: u64,
    /// Plain settles that came too late to be sent: their lease was gone with the session.
    pub settles_dropped: u64,
    /// Confirmed settles that were answered `LEASE_LOST`, and plain acks and rejects of what had been given back because the program
    /// did nothing for an ack wait, or because their subscription or the client had ended. A plain one that only the gateway finds too late
    /// is not among them.
    pub leases_lost: u64,
    /// Requests without their last reply, now.
    pub requests: u64,
    /// Replies to requests that came over a connection that is gone: nobody waited any more.
    pub replies_dropped: u64,
    /// Replies that crossed with the end of their request here, its deadline or a cancel, and were dropped. Those that come
    /// later get no farther than the gateway, which counts them as [`late_replies`](crate::TopicRequests::late_replies).
    pub replies_late: u64,
}
