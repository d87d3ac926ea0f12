//! Limits of a gateway, read and changed while it runs.

use meshwire_proto::ErrorKind;
use meshwire_proto::options::{self, Bounded};
use meshwire_proto::wire::admin as wire;

use crate::admin::{ask, unexpected};
use crate::client::Mesh;
use crate::{Error, Result};

/// Looks after the limits of the whole gateway; from [`Mesh::limits`].
#[derive(Clone, Debug)]
pub struct Limits {
    mesh: Mesh,
}

/// Limits of a gateway. What is `None` is not said: of an answer nothing is.
///
/// They hold until they are changed or the gateway ends; then its options hold again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct GatewayLimits {
    /// Events a second that all publishers together may publish; 0 is no limit, the default. At most 1,000,000,000. Who is
    /// faster is read from more slowly, and who would wait longer than 5 s is answered `BUSY` with the time.
    pub publish_rate: Option<u64>,
    /// The same in bytes of events a second, at most 1 TiB.
    pub publish_bytes_rate: Option<u64>,
    /// Bytes accepted and not yet kept; from 1 to what the gateway was started with, by default 16 MiB. From half of it on
    /// publishers are read from more slowly, and after a second of that, over all of it, answered `BUSY`.
    pub publish_budget_bytes: Option<u64>,
    /// Deliveries a second to all subscriptions together; 0 is no limit, the default. At most 1,000,000,000. What is over
    /// it waits in its topic.
    pub deliver_rate: Option<u64>,
    /// The same in bytes of events a second, at most 1 TiB.
    pub deliver_bytes_rate: Option<u64>,
}

/// Limits that are in force, and how much of them is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitsInForce {
    /// Every limit is there.
    pub limits: GatewayLimits,
    /// Bytes that are accepted and not yet kept.
    pub unkept_bytes: u64,
    /// Bytes that wait for clients to take them.
    pub sending_bytes: u64,
    /// How many of those there may be.
    pub sending_most: u64,
}

impl GatewayLimits {
    /// Nothing is said.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// See [`publish_rate`](Self::publish_rate).
    #[must_use]
    pub const fn with_publish_rate(mut self, events_a_second: u64) -> Self {
        self.publish_rate = Some(events_a_second);
        self
    }

    /// See [`publish_bytes_rate`](Self::publish_bytes_rate).
    #[must_use]
    pub const fn with_publish_bytes_rate(mut self, bytes_a_second: u64) -> Self {
        self.publish_bytes_rate = Some(bytes_a_second);
        self
    }

    /// See [`publish_budget_bytes`](Self::publish_budget_bytes).
    #[must_use]
    pub const fn with_publish_budget_bytes(mut self, bytes: u64) -> Self {
        self.publish_budget_bytes = Some(bytes);
        self
    }

    /// See [`deliver_rate`](Self::deliver_rate).
    #[must_use]
    pub const fn with_deliver_rate(mut self, events_a_second: u64) -> Self {
        self.deliver_rate = Some(events_a_second);
        self
    }

    /// See [`deliver_bytes_rate`](Self::deliver_bytes_rate).
    #[must_use]
    pub const fn with_deliver_bytes_rate(mut self, bytes_a_second: u64) -> Self {
        self.deliver_bytes_rate = Some(bytes_a_second);
        self
    }

    fn check(self) -> Result<wire::Limits, String> {
        let check = |option: &Bounded, asked: Option<u64>| asked.map(|rate| option.check(rate)).transpose();
        Ok(wire::Limits {
            publish_rate: check(&options::MAX_PUBLISH_RATE, self.publish_rate)?,
            publish_bytes_rate: check(&options::MAX_PUBLISH_BYTES_RATE, self.publish_bytes_rate)?,
            // Only the gateway knows what it was started with.
            publish_budget_bytes: self.publish_budget_bytes,
            deliver_rate: check(&options::MAX_DELIVER_RATE, self.deliver_rate)?,
            deliver_bytes_rate: check(&options::MAX_DELIVER_BYTES_RATE, self.deliver_bytes_rate)?,
        })
    }
}

impl From<wire::LimitsInForce> for LimitsInForce {
    fn from(in_force: wire::LimitsInForce) -> Self {
        let limits = in_force.limits.unwrap_or_default();
        Self {
            limits: GatewayLimits {
                publish_rate: limits.publish_rate,
                publish_bytes_rate: limits.publish_bytes_rate,
                publish_budget_bytes: limits.publish_budget_bytes,
                deliver_rate: limits.deliver_rate,
                deliver_bytes_rate: limits.deliver_bytes_rate,
            },
            unkept_bytes: in_force.unkept_bytes,
            sending_bytes: in_force.sending_bytes,
            sending_most: in_force.sending_most,
        }
    }
}

impl Limits {
    pub(crate) const fn new(mesh: Mesh) -> Self {
        Self { mesh }
    }

    /// The limits that are in force, and how much of them is used.
    ///
    /// # Errors
    /// `DENIED`, and as the gateway answers.
    ///
    /// # Cancel safety
    /// It may be called again.
    pub async fn get(&self) -> Result<LimitsInForce> {
        self.ask("get limits", wire::command::Command::GetLimits(wire::GetLimits {})).await
    }

    /// Changes what is said in `limits`, all of it or nothing; it holds at once. Gives what is in force then.
    ///
    /// # Errors
    /// `INVALID` for what is out of its bounds, which are named; `DENIED`.
    ///
    /// # Cancel safety
    /// The limits may be changed or not.
    pub async fn set(&self, limits: GatewayLimits) -> Result<LimitsInForce> {
        let limits = limits.check().map_err(|problem| Error::new(ErrorKind::Invalid, "set limits", problem))?;
        let set = wire::SetLimits { limits: Some(limits) };
        self.ask("set limits", wire::command::Command::SetLimits(set)).await
    }

    async fn ask(&self, operation: &'static str, command: wire::command::Command) -> Result<LimitsInForce> {
        match ask(&self.mesh, operation, command).await? {
            wire::answer::Answer::Limits(in_force) => Ok(in_force.into()),
            _ => Err(unexpected(operation, "something else")),
        }
    }
}
