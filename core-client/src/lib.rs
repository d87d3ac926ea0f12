//! Meshwire's client.
//!
//! Publish CloudEvents to topics of a gateway and consume them from it:
//!
//! ```no_run
//! use meshwire::Event;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> meshwire::Result<()> {
//! let mesh = meshwire::connect("mesh://127.0.0.1:7400").await?;
//!
//! // One event, kept when the call returns.
//! let receipt = mesh.publish("orders", Event::json("order.created", &[1, 2, 3])?.key("customer-7")).await?;
//! println!("kept at {:?}", receipt.position);
//!
//! // Many events: started one after the other, all on their way at once.
//! for n in 0..10_000 {
//!     drop(mesh.publish_start("orders", Event::json("order.counted", &n)?).await?);
//! }
//! mesh.flush().await?;
//!
//! // Consume as a member of a group: what is not acked comes again.
//! let mut orders = mesh.subscribe("orders").group("billing").await?;
//! while let Some(delivery) = orders.try_next().await? {
//!     println!("{} {}", delivery.event().kind(), delivery.text()?);
//!     delivery.ack();
//! }
//! mesh.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`connect`] and [`Connect`] make a [`Mesh`], which lives on the caller's tokio
//!   runtime (I/O and time enabled) and reconnects by itself;
//! - [`Mesh::publish`] answers with the [`Receipt`]; [`Mesh::publish_start`] is the
//!   pipelined form, with [`PendingReceipt`] and [`Mesh::flush`]: without an awaited
//!   receipt, [`Mesh::flush`] or [`Mesh::close`] before `main` returns, events that were
//!   only started are lost with the runtime;
//! - [`Mesh::subscribe`] gives a [`Subscription`], a stream of [`Delivery`];
//!   [`Mesh::consume`] calls a handler instead;
//! - [`Mesh::request`] asks whoever [serves](Mesh::serve) a topic and gives the [`Reply`],
//!   [`Mesh::request_stream`] many of them; nothing of it is stored;
//! - [`Connect::offline`] lets publishes wait for a gateway, also in a file ([`Offline`]);
//! - [`Connect::on_publish`], [`Connect::on_delivery`] and [`Connect::on_settle`] are hooks for tracing and stamps;
//! - every failure is an [`Error`]: kind, retry class, operation, context;
//! - [`testing::Gateway`] starts a gateway for a test.
//!
//! What it cannot return, such as a lost gateway and the tries to reach it again, it
//! says in log lines of [`tracing`](https://docs.rs/tracing). They are invisible until
//! the program has a subscriber for them; with the crate `tracing-subscriber` that is
//! one line at the beginning of `main`:
//!
//! ```text
//! tracing_subscriber::fmt().with_writer(std::io::stderr).init();
//! ```
//!
//! The [`session`] module is the state machine behind all of it.

mod address;
mod admin;
mod client;
mod connect;
mod consume;
mod dead_letters;
mod delivery;
mod driver;
mod error;
mod group_settings;
mod groups;
mod handed;
mod hooks;
mod identity;
mod inbox;
mod late;
mod limits;
mod listing;
#[doc(hidden)]
pub mod offline;
mod outbox;
mod prefetched;
mod receipt;
mod receipts;
mod replies;
mod request;
mod serve;
pub mod session;
mod settled;
mod shown;
mod start;
mod stats;
mod subscription;
pub mod testing;
mod token;
mod topics;
mod transport;

pub use bytes::Bytes;
#[doc(hidden)]
pub use client::Admitted;
pub use client::Mesh;
pub use connect::{Connect, connect};
pub use consume::{Consume, Handled, Settlement};
pub use dead_letters::{DeadLetter, DeadLetterPages, DeadLetters, GivenUp, Redriven};
pub use delivery::Delivery;
pub use error::{Error, Result};
pub use group_settings::{GroupMode, GroupSettings};
pub use groups::{Group, Groups, Member};
pub use hooks::SettledAs;
pub use limits::{GatewayLimits, Limits, LimitsInForce};
pub use meshwire_proto::{
    AttributeValue, Attributes, Data, ErrorKind, Event, EventError, EventView, Retry, TimedEvent, UnixMillis, codec,
};
pub use offline::Offline;
pub use receipt::{PendingReceipt, Receipt};
#[doc(hidden)]
pub use receipts::ReceiptSink;
pub use request::{Replies, Reply, SendRequest, StreamRequest};
pub use serve::{ReplySender, Request, Serve};
pub use session::{Position, Start, State};
pub use stats::Stats;
#[doc(hidden)]
pub use subscription::Handed;
pub use subscription::{Subscribe, Subscription};
pub use topics::{Durability, Lagging, Topic, TopicRequests, TopicSettings, Topics};
pub use transport::{MemoryListener, MemoryTransport};
