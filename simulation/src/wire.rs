//! Connections between clients and gateways: bytes in order, after a delay, and
//! what can go wrong with them.
//!
//! A cut loses what is under way and tells the two ends at different times; a
//! stall holds everything back for a while.

use std::time::Duration;

use meshwire_proto::Moment;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Client,
    Gateway,
}

/// A connection. Numbers are never reused.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) client: usize,
    /// Ends that have not heard of its end.
    pub(crate) client_open: bool,
    pub(crate) gateway_open: bool,
    pub(crate) cut: bool,
    /// The gateway process that it led to ended.
    pub(crate) ended: bool,
    /// It was held back at least once.
    pub(crate) stalled: bool,
    stalled_until: Moment,
    arrival: [Moment; 2],
}

/// The longest a stall lasts.
pub(crate) const MAX_STALL: Duration = Duration::from_secs(2);

impl Wire {
    pub(crate) fn new(client: usize) -> Self {
        Self {
            client,
            client_open: true,
            gateway_open: true,
            cut: false,
            ended: false,
            stalled: false,
            stalled_until: Moment(0),
            arrival: [Moment(0); 2],
        }
    }

    /// When bytes that leave now arrive: in order, never before those that left earlier.
    pub(crate) fn arrival(&mut self, now: Moment, to: End, delay: Duration) -> Moment {
        let arrival = match to {
            End::Client => &mut self.arrival[0],
            End::Gateway => &mut self.arrival[1],
        };
        let at = (now + delay).max(self.stalled_until).max(*arrival);
        *arrival = at;
        at
    }

    pub(crate) fn stall(&mut self, until: Moment) {
        self.stalled = true;
        self.stalled_until = until;
    }

    /// Whether it is held back.
    pub(crate) fn is_stalled(&self, now: Moment) -> bool {
        now < self.stalled_until
    }

    /// Whether bytes still reach this end.
    pub(crate) const fn reaches(&self, end: End) -> bool {
        !self.cut
            && match end {
                End::Client => self.client_open,
                End::Gateway => self.gateway_open,
            }
    }
}
