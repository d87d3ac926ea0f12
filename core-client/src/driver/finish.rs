//! How a client ends: refused, drained, closed, or dropped with its runtime.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use meshwire_proto::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout};

use super::Driver;
use super::carrier::{self, Carrier, Link};
use super::requests;
use crate::inbox::End;
use crate::outbox::Command;
use crate::session::{Failure, State};
use crate::subscription::DROPPED;
use crate::transport::{Account, Cause, DialError};
use crate::{Error, Result};

/// How long the last bytes may take to leave, and the gateway to hang up. A guess.
const GOODBYE: Duration = Duration::from_secs(1);

pub(crate) fn unreachable(attempts: &Account) -> Error {
    let text = format!("no gateway could be reached: {attempts}{}", attempts.advice());
    Error::new(ErrorKind::Unavailable, "connect", text)
}

/// The wait for a connection is over, and the last attempt met a gateway that is busy.
pub(crate) fn no_room(attempts: &Account) -> Error {
    let text = format!("the gateway takes no more clients now: {attempts}; try again later, or let connect wait");
    Error::new(ErrorKind::Busy, "connect", text)
}

impl Driver {
    /// No connection could be made.
    pub(super) fn dial_failed(&mut self, error: &DialError) {
        if let Some(failure) = error.refusal() {
            return self.fail(&failure);
        }
        let hopeless = self.startup.take_if(|s| error.is_hopeless() || (!s.keep_trying && error.is_plain()));
        let Some(startup) = hopeless else {
            self.hindered(error.account());
            self.outbox.lock().refused = error.retry_after().map(|_| ErrorKind::Busy);
            return;
        };
        // Where one attempt says it all, the others are of no interest.
        let tried = self.dialer.tried().filter(|_| !error.is_final());
        let account = tried.unwrap_or_else(|| error.account());
        let told = match error.verdict() {
            Some((kind, retry)) => Error::new(kind, "connect", account.to_string()).with_retry(retry, None),
            None => unreachable(&account),
        };
        let _ = startup.reply.send(Err(told));
        self.over = Some(Error::closed("connect"));
    }

    /// The gateway refused the session for good.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let mut error = Error::from_failure("connect", failure);
        if failure.kind == ErrorKind::TlsRequired {
            // As in the other carriers, with the address.
            let told = self.peer.failed(Cause::TlsRequired).to_string();
            error = Error::new(failure.kind, "connect", told).with_retry(failure.retry, failure.retry_after);
        }
        if let Some(startup) = self.startup.take() {
            let _ = startup.reply.send(Err(error.clone()));
        } else {
            tracing::error!(%error, "the gateway refused this client; it is closed");
        }
        self.over = Some(error);
    }

    /// Closes once nothing is in flight any more, or the deadline has come.
    pub(super) fn finish_drain(&mut self) {
        let Some(draining) = &self.draining else {
            return;
        };
        let late = Instant::now() >= draining.until;
        let held = self.inlets.values().filter(|i| !i.inbox.is_done()).count();
        if late || held == 0 {
            self.fail_dropped();
        }
        if !late && held == 0 && self.session.unfinished() == 0 {
            self.session.confirm_settles();
        }
        let unfinished = self.session.unfinished();
        let (events, _) = self.session.unanswered();
        // What is in a file waits there for a gateway as well as here.
        let kept = if self.outbox.has_file() && self.trouble.is_known() { events } else { 0 };
        let staged = self.outbox.staged();
        if !late && (unfinished > kept || held > 0 || staged > 0) {
            return;
        }
        let requests = self.session.unfinished_requests() as u64;
        let reply = self.draining.take().and_then(|d| d.reply);
        if events > 0 && self.outbox.has_file() {
            tracing::debug!(unanswered = events, "publishes without a receipt stay in the offline file");
        } else if events > 0 {
            tracing::warn!(
                unanswered = events,
                "closing with publishes that have no receipt; they may or may not be kept"
            );
        }
        for inlet in self.inlets.values() {
            inlet.inbox.end(End::Quiet);
            inlet.inbox.set_over();
        }
        self.session.close();
        self.carry_out();
        self.farewell =
            reply.map(|reply| (reply, drained(events - kept, held, unfinished - events - requests, requests)));
    }

    /// Every subscription ends: what was handed to the program and dropped has failed.
    fn fail_dropped(&mut self) {
        let inboxes: Vec<_> = self.inlets.iter().map(|(id, inlet)| (*id, Arc::clone(&inlet.inbox))).collect();
        for (id, inbox) in inboxes {
            inbox.fail_dropped(DROPPED);
            self.settle(id, &inbox);
        }
    }

    /// Says goodbye, and only then that the drain is over: the process may end
    /// right after, and what it held must have been given back.
    pub(super) async fn part(&mut self) {
        self.say_goodbye().await;
        // The file is closed before the program is told, which may open it again.
        self.outbox.stop_filing(self.over.as_ref().unwrap_or(&Error::closed("run")));
        if let Some(filed) = self.filed.take() {
            let _ = filed.await;
        }
        if let Some((reply, result)) = self.farewell.take() {
            let _ = reply.send(result);
        }
    }

    /// Sends what is left, then waits for the gateway to hang up, so that no
    /// reset overtakes it.
    async fn say_goodbye(&mut self) {
        while self.session.transmit(&mut self.write) {}
        let Carrier::Link(Link { stream, .. }) = &mut self.carrier else {
            return;
        };
        let (write, mut rest) = (&mut self.write, BytesMut::new());
        let leaving = async {
            stream.write_all_buf(write).await?;
            stream.shutdown().await?;
            while stream.read_buf(&mut rest).await? > 0 {
                rest.clear();
            }
            std::io::Result::Ok(())
        };
        // Whether it hears us or not: everybody who waited has an answer.
        let _ = timeout(GOODBYE, leaving).await;
    }
}

fn drained(events: u64, held: usize, settles: u64, requests: u64) -> Result<()> {
    if events == 0 && held == 0 && settles == 0 && requests == 0 {
        return Ok(());
    }
    let message = format!(
        "the deadline came with {events} publishes without a receipt, unsettled deliveries of {held} subscriptions, {settles} settles not confirmed, {requests} requests not answered"
    );
    Err(Error::new(ErrorKind::Timeout, "drain", message))
}

impl Driver {
    /// It panicked, which ends this client alone: whatever is waited for says so, and nothing that it was about is gone on with.
    pub(super) fn panicked(&mut self) {
        let text =
            "the client's session panicked, which is a defect of this library; outcome unknown: connect a new client";
        tracing::error!("{text}");
        self.over = Some(Error::new(ErrorKind::Internal, "run", text));
    }

    /// The runtime ends before the client did, as after a panic in `main`: what
    /// goes out without waiting goes out, so that what it held is given back at once.
    fn leave_at_once(&mut self) {
        self.taken.settle_now = true;
        self.take();
        self.fail_dropped();
        self.session.close();
        while self.session.poll().is_some() {}
        while self.session.transmit(&mut self.write) {}
        if let Carrier::Link(link) = &mut self.carrier {
            carrier::part_at_once(&mut *link.stream, &mut self.write);
        }
    }
}

/// Also when the runtime drops the task: nobody may wait for a driver that is gone.
impl Drop for Driver {
    fn drop(&mut self) {
        if self.over.is_none() {
            let unanswered = self.outbox.unanswered().events;
            if unanswered > 0 && !self.outbox.has_file() {
                tracing::warn!(
                    unanswered,
                    "the tokio runtime ended before publishes had their receipts; they may or may not be kept. Call flush or close before main returns"
                );
            }
            self.leave_at_once();
        }
        let error = self.over.take().unwrap_or_else(|| {
            Error::new(ErrorKind::Closed, "run", "the tokio runtime that the client lived on was shut down")
        });
        let kind = if error.kind() == ErrorKind::Internal { ErrorKind::Internal } else { ErrorKind::Closed };
        let failure = Failure::new(kind, error.message());
        let (commands, settling) = self.outbox.close(error.clone());
        for inbox in settling.iter().chain(&self.taken.settling) {
            inbox.leave_unconfirmed();
        }
        for command in commands {
            match command {
                Command::Subscribe { reply, .. } => drop(reply.send(Err(error.clone()))),
                Command::Admin { reply, .. } => drop(reply.send(Err(failure.clone()))),
                Command::Drain { reply: Some(reply), .. } => drop(reply.send(Ok(()))),
                Command::Drain { reply: None, .. } | Command::Unsubscribe(_) => {}
                other => requests::refuse(other, &error, &failure),
            }
        }
        self.outbox.stop_filing(&error);
        self.outbox.abandon(&failure);
        self.exchange.end(&error, &failure);
        for inlet in std::mem::take(&mut self.inlets).into_values() {
            inlet.inbox.end(End::Error(error.clone()));
        }
        self.outbox.lock().stats = self.session.stats();
        self.outbox.state_is(State::Closed);
    }
}
