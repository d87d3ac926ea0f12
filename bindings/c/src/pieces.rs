//! Pieces of work, before and after the program has them.

use meshwire_embed::{Inquiry, Job, Outcome, Result, Work};

use crate::hooks;
use crate::message::Message;
use crate::values::{Value, give};
use crate::work::{mw_job, mw_request};

/// A piece of work: exactly one of the pointers is not NULL, or `lost` is not 0.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct mw_work {
    /// An event to handle.
    pub job: *mut mw_job,
    /// A request to answer.
    pub request: *mut mw_request,
    /// The `number` of a job or request, given out before, that is wanted no more: its lease or its requester is gone. Its handler should
    /// stop; what it still says is not heard. It is freed by its own function all the same.
    pub lost: u64,
}

/// A piece of work, whichever it is.
#[derive(Debug)]
pub(crate) enum Piece {
    Job(Job),
    Inquiry(Inquiry),
    Lost(u64),
}

impl From<Work<Job>> for Piece {
    fn from(work: Work<Job>) -> Self {
        match work {
            Work::Begin(job) => Self::Job(job),
            Work::Lost(number) => Self::Lost(number),
        }
    }
}

impl From<Work<Inquiry>> for Piece {
    fn from(work: Work<Inquiry>) -> Self {
        match work {
            Work::Begin(inquiry) => Self::Inquiry(inquiry),
            Work::Lost(number) => Self::Lost(number),
        }
    }
}

impl Piece {
    fn give(self) -> Result<mw_work> {
        let mut work = mw_work { job: std::ptr::null_mut(), request: std::ptr::null_mut(), lost: 0 };
        match self {
            Self::Job(mut job) => {
                job.begin();
                hooks::delivered(job.client(), Message::Job(&job));
                work.job = give(Value::Job(job))?;
            }
            Self::Inquiry(inquiry) => work.request = give(Value::Inquiry(inquiry))?,
            Self::Lost(number) => work.lost = number,
        }
        Ok(work)
    }
}

pub(crate) fn pieces<T>(all: Vec<Work<T>>) -> Vec<Piece>
where
    Piece: From<Work<T>>,
{
    all.into_iter().map(Piece::from).collect()
}

/// # Safety
/// `place` has room for them.
pub(crate) unsafe fn hand(all: Vec<Piece>, place: *mut mw_work) -> Result<usize> {
    let mut count = 0;
    for piece in all {
        let work = piece.give()?;
        // SAFETY: as this function's.
        unsafe { place.add(count).write(work) };
        count += 1;
    }
    Ok(count)
}

/// Work that was asked for and waited for; `None`: there is no more.
pub(crate) fn pieces_of(outcome: Outcome) -> Option<Vec<Piece>> {
    match outcome {
        Outcome::Jobs(all) => Some(pieces(all)),
        Outcome::Inquiries(all) => Some(pieces(all)),
        _ => None,
    }
}
