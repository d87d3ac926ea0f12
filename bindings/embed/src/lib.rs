//! What every binding of Meshwire's client stands on.
//!
//! A thread of the host begins a call ([`Client::begin`]) and goes on; what it comes to is a [`Completion`] in the [`Queue`] that was
//! named, exactly one for each call, which whoever pumps that queue takes in batches ([`Queue::take`]). Or the thread waits for it
//! ([`Client::wait`]). No thread of ours ever runs code of the host.
//!
//! - [`Client`]: one connection's worth of verbs, each an [`Ask`] that comes to an [`Outcome`];
//! - [`Draft`]: an event put together attribute by attribute; [`Client::begin_publish`] publishes it on the host's own thread;
//! - [`Subscription`]: deliveries, asked for in batches; [`Delivery`]: one of them, settled without waiting; [`Replies`]: those to a
//!   request, likewise;
//! - [`Consumer`] and [`Responder`]: [`Work`] for handlers of the host, likewise, [`Held`] until it is stopped;
//! - [`keep_logs`] and [`take_logs`]: what the client logs;
//! - [`Handles`]: numbers that stand for values, for hosts that cannot hold these;
//! - [`Queue`]: completions, bounded; [`Operation`]: a call on its way, to be cancelled;
//! - [`Options`]: what is said as text, and read here alone, so that every language says the same of a wrong one.
//!
//! One tokio runtime serves all open clients of a process, and ends with the last of them. In a child of `fork` it does not exist: what
//! the parent made answers `CLOSED` there, and is left alone when it is dropped.
//!
//! A panic in a call becomes `INTERNAL` with the name of the call.

mod administration;
mod ask;
mod batches;
#[cfg(unix)]
mod bell;
mod client;
mod consumer;
mod delivery;
mod draft;
mod fetched;
mod handles;
mod held;
mod in_hand;
mod local;
mod logs;
mod operation;
mod options;
mod parted;
mod parting;
mod process;
mod publisher;
mod queue;
mod reading;
mod rendezvous;
mod replies;
mod responder;
mod runtime;
mod signals;
mod started;
mod stopper;
mod subscription;
mod tasks;
mod work;

pub use ask::{Ask, Outcome};
pub use client::Client;
pub use consumer::{Consumer, Handled, Job};
pub use delivery::{Delivery, Settle};
pub use draft::Draft;
pub use fetched::Fetched;
pub use handles::Handles;
pub use held::Held;
pub use in_hand::{InHand, Together};
#[cfg(unix)]
pub use logs::logs_descriptor;
pub use logs::{Level, Record, close_logs, keep_logs, keep_logs_from, take_logs};
pub use meshwire::Delivery as Received;
pub use meshwire::testing;
pub use meshwire::{
    AttributeValue, Bytes, Data, Error, ErrorKind, Event, EventView, Position, Receipt, Reply, Result, Retry, State,
    Stats, TimedEvent, UnixMillis,
};
pub use meshwire_proto::{EventLayout, OptionalAttributes};
pub use operation::{Operation, guarded};
pub use options::Options;
pub use parted::Parted;
pub use process::PerProcess;
pub use publisher::Room;
pub use queue::{Completion, Place, Queue};
pub use reading::read_event;
pub use replies::Replies;
pub use responder::{Inquiry, Responder};
pub use started::Started;
pub use stopper::Stopper;
pub use subscription::Subscription;
pub use work::{Readable, Work};
