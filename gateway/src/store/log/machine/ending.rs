//! How the log ends: closed, stuck or failed.

use super::LogMachine;
use super::batch::Pending;

impl LogMachine {
    /// After [`super::Input::Close`]: everything that can be kept is, and nothing is under way. It stays so, though there may be space
    /// again: each of the log's threads asks for itself, and what one began after the other has ended would wait for it for ever.
    pub fn is_closed(&mut self) -> bool {
        self.closed = self.closed || self.has_ended();
        self.closed
    }

    fn has_ended(&self) -> bool {
        let idle = self.writing.is_none() && self.jobs.is_idle();
        let stuck = self.is_stuck();
        let kept = self.pending.is_empty() && self.ready.is_empty() && !self.dirty && !self.mark_due(None);
        let finished = stuck && !self.ready.is_empty() && !self.dirty || kept && !self.checkpoint_due();
        self.closing && idle && (self.failed.is_some() || finished)
    }

    /// There is no space for what is to be written next.
    pub(super) fn is_stuck(&self) -> bool {
        let is_stuck = self.full.is_some() || self.ready.front().is_some_and(|cut| self.space.is_stuck(cut.len()));
        is_stuck && self.failed.is_none()
    }

    /// The writer's thread is gone, or the worker's, with what it was at; what the other is at it still ends.
    pub(in crate::store::log) fn broken(&mut self, writer: bool) {
        if writer {
            self.writing = None;
        } else {
            self.jobs.forget();
        }
        if self.failed.is_none() {
            self.fail("a thread of the log panicked, which is a defect of ours".to_owned());
        }
    }

    pub(super) fn fail(&mut self, cause: String) {
        tracing::error!(%cause, "the log failed; nothing more is kept");
        self.failed = Some(cause);
        self.watermark.failed = true;
        self.kept_changed = true;
        self.pending = Pending::default();
        self.ready.clear();
        self.unshown.clear();
    }
}
