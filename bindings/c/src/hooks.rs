//! What the program wants to see of every publish and delivery of a client: tracing, stamps, checks.

use std::ffi::{c_char, c_int, c_void};
use std::sync::Arc;

use meshwire_embed::{Client, Draft, Result, Settle};

use crate::border::{c_text, done, invalid, mw_error, sized};
use crate::client::{held, mw_client};
use crate::event::{Drafting, mw_draft};
use crate::message::{Message, mw_message};
use crate::values::{Value, give, take};

/// Functions that see what a client does, on the thread that makes the call: begin with MW_HOOKS_INIT. All may be NULL.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_hooks {
    /// Of this struct.
    pub size: usize,
    /// What the functions get first.
    pub ctx: *mut c_void,
    /// Before an event is published: it may be added to with mw_draft_set. Something else than 0 refuses it, with MW_INVALID.
    pub on_publish: Option<unsafe extern "C" fn(ctx: *mut c_void, topic: *const c_char, draft: *mut mw_draft) -> c_int>,
    /// When a delivery is handed to the program.
    pub on_delivery: Option<unsafe extern "C" fn(ctx: *mut c_void, message: *const mw_message)>,
    /// When it is settled: with one of mw_settle_kind.
    pub on_settle: Option<unsafe extern "C" fn(ctx: *mut c_void, message: *const mw_message, settled: c_int)>,
    /// Called once, when the client is gone.
    pub drop: Option<unsafe extern "C" fn(ctx: *mut c_void)>,
}

const NONE: mw_hooks = mw_hooks {
    size: size_of::<mw_hooks>(),
    ctx: std::ptr::null_mut(),
    on_publish: None,
    on_delivery: None,
    on_settle: None,
    drop: None,
};

/// The hooks of a client.
#[derive(Debug)]
pub(crate) struct Hooks(mw_hooks);

// SAFETY: the program says that its functions may be called on every thread that makes calls.
unsafe impl Send for Hooks {}
// SAFETY: likewise.
unsafe impl Sync for Hooks {}

impl Drop for Hooks {
    fn drop(&mut self) {
        if let Some(drop) = self.0.drop {
            // SAFETY: the program's function for it, once.
            unsafe { drop(self.0.ctx) };
        }
    }
}

/// How a delivery was settled.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum mw_settle_kind {
    /// Done.
    MW_ACK = 0,
    /// It comes again, as the group's settings say, or after `delay_ms` where that is not negative.
    MW_NACK = 1,
    /// It never comes again: a dead letter, with the reason.
    MW_REJECT = 2,
    /// Nothing was said: it was freed.
    MW_DROPPED = 3,
}

/// Sets the hooks of a client, once. They are copied; `drop` is called when the client is closed, or could not be given them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mw_set_hooks(mesh: *mut mw_client, hooks: *const mw_hooks, err: *mut *mut mw_error) -> c_int {
    done("connect", err, || {
        // SAFETY: the program's struct begins with its size.
        let hooks = Arc::new(Hooks(unsafe { sized("connect", hooks, NONE, "MW_HOOKS_INIT") }?));
        held("connect", mesh)?.client.attach(hooks)
    })
}

/// The event as the hook leaves it.
pub(crate) fn published(client: &Client, topic: &str, draft: Draft) -> Result<Draft> {
    let Some(hooks) = client.attached::<Hooks>() else { return Ok(draft) };
    let Some(hook) = hooks.0.on_publish else { return Ok(draft) };
    let pointer = give::<mw_draft>(Value::Draft(Drafting(draft)))?;
    let topic = c_text(topic);
    // SAFETY: the program's function for it.
    let said = unsafe { hook(hooks.0.ctx, topic.as_ptr(), pointer) };
    let Drafting(draft) = take!(pointer, "publish", "mw_draft", Value::Draft(draft) => draft);
    if said == 0 {
        Ok(draft)
    } else {
        Err(invalid("publish", format!("the on_publish hook refused the event: {said}")))
    }
}

/// Whether the client has any: most have none, and then nothing is made ready for them.
pub(crate) fn are_there(client: &Client) -> bool {
    client.attached::<Hooks>().is_some()
}

pub(crate) fn delivered(client: &Client, message: Message<'_>) {
    let Some(hooks) = client.attached::<Hooks>() else { return };
    if let Some(hook) = hooks.0.on_delivery {
        let message = mw_message::of(message);
        // SAFETY: the program's function for it, and what has the event stays meanwhile.
        unsafe { hook(hooks.0.ctx, &raw const message) };
    }
}

pub(crate) fn settled(client: &Client, message: Message<'_>, kind: mw_settle_kind) {
    let Some(hooks) = client.attached::<Hooks>() else { return };
    if let Some(hook) = hooks.0.on_settle {
        let message = mw_message::of(message);
        // SAFETY: as above.
        unsafe { hook(hooks.0.ctx, &raw const message, kind as c_int) };
    }
}

pub(crate) const fn kind(how: &Settle) -> mw_settle_kind {
    match how {
        Settle::Ack => mw_settle_kind::MW_ACK,
        Settle::Nack(_) => mw_settle_kind::MW_NACK,
        Settle::Reject(_) => mw_settle_kind::MW_REJECT,
    }
}
