//! Between handles and session: what programs ask for goes in, what the session
//! found out goes back.

use std::sync::Arc;
use std::time::Duration;

use meshwire_proto::{ErrorKind, UnixMillis};
use tokio::time::Instant;

use super::carrier::Carrier;
use super::{Draining, Driver, Inlet, SETTLE_DELAY};
use crate::Error;
use crate::identity;
use crate::inbox::{End, Settled};
use crate::outbox::{Beginning, Command, Passed};
use crate::session::{Answer, Failure, Output, SettleInput, State, SubscriptionId};
use crate::transport::Cause;

impl Driver {
    /// Takes what handles left since the last turn.
    pub(super) fn take(&mut self) {
        let outbox = Arc::clone(&self.outbox);
        outbox.take(&mut self.taken, self.session.stats());
        for topic in self.taken.topics.drain(..) {
            self.session.alias(&topic);
        }
        let now = self.now();
        for (to, run) in self.taken.runs.drain(..) {
            self.session.publish_aged(now, Duration::ZERO, to, run);
        }
        self.take_filed();
        self.take_settles();
        for command in std::mem::take(&mut self.taken.commands) {
            self.command(command);
        }
    }

    /// What has been through the offline file goes to the session, or is answered.
    fn take_filed(&mut self) {
        let now = self.now();
        for Passed { first, to, events } in self.taken.filed.drain(..) {
            match events {
                Ok(events) => self.session.publish_filed(now, Duration::ZERO, first, to, events),
                Err((count, failure)) => {
                    let sequences = first..first + count;
                    self.session.skip_to(sequences.end);
                    self.answers.push(Answer { sequences, result: Err(failure) });
                }
            }
        }
        if let Some(through) = self.taken.forgettable.take() {
            self.session.set_forgettable(through);
        }
    }

    /// Gives settles to the session once they waited long enough for others.
    fn take_settles(&mut self) {
        if self.taken.settling.is_empty() {
            self.taken.settle_now = false;
            return;
        }
        let now = Instant::now();
        let due = *self.settle_at.get_or_insert(now + SETTLE_DELAY);
        if !std::mem::take(&mut self.taken.settle_now) && now < due {
            return;
        }
        self.settle_at = None;
        for inbox in std::mem::take(&mut self.taken.settling) {
            if let Some(id) = inbox.id.get().copied() {
                self.settle(id, &inbox);
            }
        }
    }

    pub(super) fn settle(&mut self, subscription: SubscriptionId, inbox: &crate::inbox::Inbox) {
        let (mut settles, mut confirms) = std::mem::take(&mut self.settles);
        inbox.collect(&mut settles, &mut confirms);
        let input = |settled: Settled, confirm| SettleInput {
            subscription,
            generation: settled.generation,
            first: settled.first,
            count: settled.count,
            kind: settled.how.kind,
            delay_ms: settled.how.delay_ms,
            reason: settled.how.reason,
            confirm,
        };
        for settled in settles.drain(..) {
            self.session.settle(input(settled, None));
        }
        for (settled, reply) in confirms.drain(..) {
            let token = self.next_token;
            self.next_token += 1;
            self.confirms.insert(token, reply);
            self.session.settle(input(settled, Some(token)));
        }
        self.settles = (settles, confirms);
        if inbox.take_resumed() {
            self.session.set_flowing(subscription, true);
        }
    }

    /// Looks after the leases of what programs have not been handed, when it is time.
    pub(super) fn keep_leases(&mut self) {
        if self.leases_at.is_none_or(|at| at > Instant::now()) {
            return;
        }
        self.leases_at = None;
        for (id, inlet) in std::mem::take(&mut self.inlets) {
            let (again, stuck) = inlet.inbox.look_after_leases();
            if stuck {
                let topic = inlet.inbox.topic.as_str();
                tracing::warn!(
                    topic,
                    "the program has taken, settled and extended no event for a whole ack wait: those that wait for it are given back, \
                     also in a batch that it has in hand, and no more are asked for until it takes one"
                );
                self.session.set_flowing(id, false);
            }
            self.leases_at = self.leases_at.into_iter().chain(again).min();
            self.settle(id, &inlet.inbox);
            self.inlets.insert(id, inlet);
        }
    }

    fn command(&mut self, command: Command) {
        match command {
            Command::Subscribe { spec, inbox, reply } => {
                let id = self.session.subscribe(spec);
                // A fresh inbox has no id yet.
                let _ = inbox.id.set(id);
                self.inlets.insert(id, Inlet { inbox, reply: Some(reply) });
            }
            Command::Unsubscribe(inbox) => {
                if let Some(id) = inbox.id.get().copied() {
                    self.settle(id, &inbox);
                    inbox.set_over();
                    self.session.unsubscribe(id);
                    self.inlets.remove(&id);
                }
            }
            Command::Admin { command, reply } => {
                let number = self.session.admin(command);
                self.admins.insert(number, reply);
            }
            Command::Drain { until, reply } => {
                for inlet in self.inlets.values() {
                    inlet.inbox.end(End::Quiet);
                }
                self.exchange.stop();
                self.session.drain();
                self.draining = Some(Draining { until, reply });
            }
            other => self.request_command(other),
        }
    }

    /// Does what the session wants done.
    pub(super) fn carry_out(&mut self) {
        while let Some(output) = self.session.poll() {
            match output {
                Output::Answered(answer) => self.answers.push(answer),
                Output::Deliver { subscription, generation, run } => {
                    if let Some(inlet) = self.inlets.get(&subscription) {
                        let look = inlet.inbox.deliver(generation, run);
                        self.leases_at = self.leases_at.into_iter().chain(look).min();
                    }
                }
                Output::Connect => self.carrier = Carrier::Dialing(self.dialer.dial()),
                Output::Disconnect { reason, refused } => self.parted(&reason, refused),
                Output::State(state) => self.state(state),
                other => self.tell(other),
            }
        }
        if !self.answers.is_empty() {
            let unanswered = self.session.unanswered();
            let through = self.session.answered_through();
            let is_over = self.session.state() == State::Closed;
            self.outbox.answered(&mut self.answers, is_over, unanswered, through, &mut self.wakers);
        }
    }

    /// The session ends its connection: it is broken, or the gateway refused its login.
    fn parted(&mut self, reason: &str, refused: Option<ErrorKind>) {
        let cause = || match refused {
            // Its own words: it did answer the login.
            Some(_) => Cause::Io(std::io::Error::other(reason.to_owned())),
            None => Cause::Ended(reason.to_owned()),
        };
        // Another gateway may take whom one refuses that stops, or is busy.
        let for_now = refused.filter(|kind| matches!(kind, ErrorKind::Busy | ErrorKind::Unavailable));
        if (refused.is_none() || for_now.is_some()) && self.find_another_way(cause, for_now) {
            return;
        }
        self.ended_by(reason, "dropping the connection to the gateway");
        if for_now.is_some() {
            let failed = self.peer.failed(cause());
            let mut outbox = self.outbox.lock();
            (outbox.last_attempt, outbox.refused) = (Some(failed.told().into()), for_now);
        }
    }

    /// Passes on what one handle waits for.
    fn tell(&mut self, output: Output) {
        match output {
            Output::Subscribed { subscription, next_position, topic_next, ack_wait_ms, new_group } => {
                if let Some(inlet) = self.inlets.get_mut(&subscription) {
                    inlet.inbox.set_ack_wait(ack_wait_ms);
                    if let Some(reply) = inlet.reply.take() {
                        let _ = reply.send(Ok(Beginning { next_position, topic_next, new_group }));
                    }
                }
            }
            Output::Reset { subscription, generation, again, unheard } => {
                if let Some(inlet) = self.inlets.get(&subscription) {
                    inlet.inbox.forget_dropped();
                    if again {
                        inlet.inbox.reset(generation, unheard);
                    }
                }
            }
            Output::Ended { subscription, failure } => self.ended(subscription, &failure),
            Output::Settled { token, result, boundary } => {
                if let Some(reply) = self.confirms.remove(&token) {
                    let _ = reply.send((result, boundary));
                }
            }
            Output::Admin { number, result } => {
                if let Some(reply) = self.admins.remove(&number) {
                    let _ = reply.send(result);
                }
            }
            Output::Failed(failure) => self.fail(&failure),
            Output::Closed => self.over = Some(Error::closed("run")),
            other => self.tell_exchange(other),
        }
    }

    fn ended(&mut self, subscription: SubscriptionId, failure: &Failure) {
        let Some(inlet) = self.inlets.remove(&subscription) else {
            return;
        };
        let error = Error::from_failure("receive", failure);
        if let Some(reply) = inlet.reply {
            let _ = reply.send(Err(error.clone()));
        }
        inlet.inbox.end(if self.draining.is_some() { End::Quiet } else { End::Error(error) });
    }

    fn state(&mut self, state: State) {
        self.outbox.set_max_frame_bytes(self.session.max_frame_bytes());
        if self.session.is_up() {
            self.logged_in();
        }
        let stats = self.session.stats();
        if state == State::Connected && stats.reconnects > 0 {
            let (resumes, replays) = (stats.resumes, stats.replays);
            tracing::info!(reconnects = stats.reconnects, resumes, replays, "connected to the gateway again");
        }
        if let Some(within) = self.session.leaves_within(self.now()) {
            let seconds = within.as_secs_f64();
            tracing::info!(seconds, "the gateway stops, and waits so long at most for what is in hand to be settled");
        }
        self.outbox.state_is(state);
        if state == State::Connected {
            if let Some(told) = self.session.gateway_time() {
                self.outbox.set_clock_ahead(ahead(told, (self.hello_at, identity::now())));
            }
            self.trouble.end();
        }
        if let Some(startup) = self.startup.take_if(|_| state == State::Connected) {
            let _ = startup.reply.send(Ok(()));
        }
    }
}

/// How far the gateway's clock is ahead, given what it told between two moments of ours. No difference unless there
/// must be one, and then the most: what is to wait waits no less.
const fn ahead(told: UnixMillis, (before, after): (UnixMillis, UnixMillis)) -> i64 {
    let (least, most) = (told.0.saturating_sub(after.0), told.0.saturating_sub(before.0));
    // Both clocks have whole milliseconds.
    if least <= 1 && most >= -1 { 0 } else { most.saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_may_agree_are_taken_to_and_others_differ_by_the_most_they_may() {
        let told = |ms| ahead(UnixMillis(ms), (UnixMillis(1000), UnixMillis(1100)));
        assert_eq!([999, 1000, 1050, 1100, 1101].map(told), [0; 5]);
        assert_eq!([900, 1200, 3_601_000].map(told), [-99, 201, 3_600_001]);
    }
}
