//! What a call came to, as C reads it.

use std::ffi::{c_int, c_void};

use meshwire_embed::{Completion, Outcome, Result};

use crate::border::{c_text, give_error, mw_error, number};
use crate::client::mw_state;
use crate::pieces::pieces;
use crate::publish::mw_receipt;
use crate::values::{Held, Value, give};

/// What kind of thing a call came to, and so what `value` of its completion is.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_kind {
    /// It failed: `error` says why.
    MW_FAILED = 0,
    /// There is nothing to say.
    MW_DONE = 1,
    /// `receipt` of a publish.
    MW_RECEIPT = 2,
    /// A mw_client.
    MW_CLIENT = 3,
    /// `code` is one of mw_state.
    MW_STATE = 4,
    /// A mw_started.
    MW_STARTED = 5,
    /// A mw_receipts of `count` results.
    MW_RECEIPTS = 6,
    /// A mw_subscription.
    MW_SUBSCRIPTION = 7,
    /// A mw_batch of `count` deliveries; none came in time if it is 0.
    MW_DELIVERIES = 8,
    /// A mw_works of `count` pieces of work for handlers; none came in time if it is 0.
    MW_WORKS = 9,
    /// A mw_reply.
    MW_REPLY = 10,
    /// A mw_replies.
    MW_REPLIES = 11,
    /// A mw_reply_batch of `count` replies; none came in time if it is 0.
    MW_REPLY_BATCH = 12,
    /// A mw_text: the answer to an administrative command, as JSON.
    MW_TEXT = 13,
    /// What was asked for more is over.
    MW_OVER = 14,
}

/// What a call came to. Whatever is in it is the program's to free.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_completion {
    /// As the call was begun with.
    pub tag: u64,
    /// What it came to.
    pub kind: mw_kind,
    /// The number of its error, one of mw_code; MW_OK: it did not fail. Of MW_STATE the state.
    pub code: c_int,
    /// Why it failed, else NULL.
    pub error: *mut mw_error,
    /// As `kind` says, else NULL. Of a batch of 0 it is NULL too.
    pub value: *mut c_void,
    /// How many are in it.
    pub count: usize,
    /// Of MW_RECEIPT.
    pub receipt: mw_receipt,
}

impl mw_completion {
    const fn new(tag: u64, kind: mw_kind) -> Self {
        let (error, value) = (std::ptr::null_mut(), std::ptr::null_mut());
        Self { tag, kind, code: 0, error, value, count: 0, receipt: mw_receipt { position: 0, duplicate: false } }
    }

    fn holding(tag: u64, kind: mw_kind, value: Value) -> Result<Self> {
        Ok(Self { value: give(value)?, count: 1, ..Self::new(tag, kind) })
    }

    /// Of none there is nothing to free.
    fn many(tag: u64, kind: mw_kind, count: usize, value: impl FnOnce() -> Value) -> Result<Self> {
        if count == 0 {
            return Ok(Self::new(tag, kind));
        }
        Ok(Self { count, ..Self::holding(tag, kind, value())? })
    }
}

pub(crate) fn fill(completion: Completion) -> mw_completion {
    let tag = completion.tag;
    completion.result.and_then(|outcome| held(tag, outcome)).unwrap_or_else(|error| {
        let code = number(error.kind());
        mw_completion { code, error: give_error(error), ..mw_completion::new(tag, mw_kind::MW_FAILED) }
    })
}

fn held(tag: u64, outcome: Outcome) -> Result<mw_completion> {
    use mw_kind as kind;
    match outcome {
        Outcome::Receipt(receipt) => {
            Ok(mw_completion { receipt: (&receipt).into(), ..mw_completion::new(tag, kind::MW_RECEIPT) })
        }
        Outcome::Client(client) => mw_completion::holding(tag, kind::MW_CLIENT, Value::Client(Held::new(client))),
        Outcome::State(state) => {
            Ok(mw_completion { code: mw_state::from(state) as c_int, ..mw_completion::new(tag, kind::MW_STATE) })
        }
        Outcome::Started(started) => mw_completion::holding(tag, kind::MW_STARTED, Value::Started(started)),
        Outcome::Receipts(all) => mw_completion::many(tag, kind::MW_RECEIPTS, all.len(), || Value::Receipts(all)),
        Outcome::Subscription(subscription) => {
            mw_completion::holding(tag, kind::MW_SUBSCRIPTION, Value::Subscription(subscription))
        }
        Outcome::Deliveries(all) => mw_completion::many(tag, kind::MW_DELIVERIES, all.len(), || Value::Batch(all)),
        Outcome::Jobs(all) => mw_completion::many(tag, kind::MW_WORKS, all.len(), || Value::Works(pieces(all))),
        Outcome::Inquiries(all) => mw_completion::many(tag, kind::MW_WORKS, all.len(), || Value::Works(pieces(all))),
        Outcome::Reply(reply) => mw_completion::holding(tag, kind::MW_REPLY, Value::Reply(reply)),
        Outcome::Answers(replies) => mw_completion::holding(tag, kind::MW_REPLIES, Value::Answers(replies)),
        Outcome::Replies(all) => mw_completion::many(tag, kind::MW_REPLY_BATCH, all.len(), || Value::ReplyBatch(all)),
        Outcome::Ended => Ok(mw_completion::new(tag, kind::MW_OVER)),
        Outcome::Text(text) => mw_completion::holding(tag, kind::MW_TEXT, Value::Text(c_text(text))),
        _ => Ok(mw_completion::new(tag, kind::MW_DONE)),
    }
}
