//! What the program holds of us: a table of values, and one of deliveries, which are many.

use std::sync::{Arc, Mutex};

use meshwire_embed::{
    Client, Consumer, Error, ErrorKind, Fetched, Handles, InHand, Inquiry, Job, Operation, Parted, PerProcess, Receipt,
    Replies, Reply, Responder, Result, Started, Stopper, Subscription,
};

use crate::border::{Failure, Text};
use crate::event::Drafting;
use crate::queue::Pump;
use crate::testing::Local;

/// A client, with what belongs to it here.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) client: Client,
    /// What it consumes and serves.
    pub(crate) running: Arc<Mutex<Running>>,
}

/// What a client consumes and serves.
#[derive(Debug, Default)]
pub(crate) struct Running {
    all: Vec<Stopper>,
    /// `mw_stop` holds for what begins later, too.
    stopped: bool,
}

impl Running {
    /// Something begins.
    pub(crate) fn note(&mut self, stopper: Stopper) -> Result<()> {
        if self.stopped {
            return stopper.stop();
        }
        self.all.retain(|known| !known.is_gone());
        self.all.push(stopper);
        Ok(())
    }

    pub(crate) fn stop(&mut self) -> Result<()> {
        self.stopped = true;
        self.all.drain(..).try_for_each(|stopper| stopper.stop())
    }
}

/// Anything else that the program holds.
#[derive(Debug)]
pub(crate) enum Value {
    Client(Held),
    Queue(Arc<Pump>),
    Operation(Operation),
    Subscription(Subscription),
    Batch(Fetched),
    Started(Started),
    Receipts(Vec<Result<Receipt>>),
    Reply(Reply),
    Answers(Replies),
    ReplyBatch(Vec<Reply>),
    Consumer(Consumer),
    Responder(Responder),
    Works(Vec<crate::pieces::Piece>),
    Job(Job),
    Inquiry(Inquiry),
    Draft(Drafting),
    Error(Box<Failure>),
    Text(Text),
    Gateway(Local),
}

impl Value {
    const fn name(&self) -> &'static str {
        match self {
            Self::Client(_) => "mw_client",
            Self::Queue(_) => "mw_queue",
            Self::Operation(_) => "mw_operation",
            Self::Subscription(_) => "mw_subscription",
            Self::Batch(_) => "mw_batch",
            Self::Started(_) => "mw_started",
            Self::Receipts(_) => "mw_receipts",
            Self::Reply(_) => "mw_reply",
            Self::Answers(_) => "mw_replies",
            Self::ReplyBatch(_) => "mw_reply_batch",
            Self::Consumer(_) => "mw_consumer",
            Self::Responder(_) => "mw_responder",
            Self::Works(_) => "mw_works",
            Self::Job(_) => "mw_job",
            Self::Inquiry(_) => "mw_request",
            Self::Draft(_) => "mw_draft",
            Self::Error(_) => "mw_error",
            Self::Text(_) => "mw_text",
            Self::Gateway(_) => "mw_gateway",
        }
    }
}

pub(crate) fn values() -> &'static Handles<Value> {
    static VALUES: PerProcess<Handles<Value>> = PerProcess::new();
    VALUES.here(Handles::new)
}

/// A batch has one place, and each delivery in it a number.
pub(crate) fn deliveries() -> &'static Parted<InHand> {
    static DELIVERIES: PerProcess<Parted<InHand>> = PerProcess::new();
    DELIVERIES.here(Parted::new)
}

/// Gives a value to the program.
pub(crate) fn give<T>(value: Value) -> Result<*mut T> {
    let mut number = 0;
    values().insert([value], |made| number = made)?;
    Ok(std::ptr::without_provenance_mut(number))
}

/// Why a pointer of the program does not stand for what it should.
pub(crate) fn other(operation: &'static str, wanted: &str, found: &Value) -> Error {
    let text = format!("a pointer to {} was passed where {wanted} is wanted", found.name());
    Error::of_host(ErrorKind::Invalid, operation, text)
}

/// Copies something out of the value of a pointer.
macro_rules! look {
    ($pointer:expr, $operation:expr, $wanted:literal, $pattern:pat => $found:expr) => {
        $crate::values::values().with($pointer.addr(), $operation, |value| match value {
            $pattern => Ok($found),
            other => Err($crate::values::other($operation, $wanted, other)),
        })?
    };
}

/// Takes the value of a pointer, which stands for nothing from then on. One of another kind stays.
macro_rules! take {
    ($pointer:expr, $operation:expr, $wanted:literal, $pattern:pat => $found:expr) => {{
        $crate::values::values().with($pointer.addr(), $operation, |value| match value {
            #[allow(unused_variables, reason = "only its kind is looked at")]
            $pattern => Ok(()),
            other => Err($crate::values::other($operation, $wanted, other)),
        })??;
        match $crate::values::values().remove_one($pointer.addr(), $operation)? {
            $pattern => $found,
            other => return Err($crate::values::other($operation, $wanted, &other)),
        }
    }};
}

pub(crate) use {look, take};
