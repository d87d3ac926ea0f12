//! What the gateway says, frame by frame.

use bytes::Bytes;
use meshwire_proto::frame::{ClientFrame, Deliver, Receipts, ServerFrame, Settled};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment};

#[cfg(feature = "testing")]
use super::defect::{Defect, is_set};
use super::link::Link;
use super::subscribe::Phase;
use super::{Answer, Ask, Failure, Kept, Output, Session};

impl Session {
    /// Takes one frame, without its length. Whatever the bytes are, the worst
    /// that happens is [`Output::Disconnect`].
    pub fn received(&mut self, now: Moment, frame: Bytes) {
        self.heard(now);
        let frame = match ServerFrame::decode(frame) {
            Ok(frame) => frame,
            #[cfg(feature = "testing")]
            Err(_) if is_set(Defect::UnknownSkipped) => return,
            Err(error) => return self.protocol_error(now, &error.to_string()),
        };
        let done = match (&self.link, frame) {
            (Link::LoggingIn { .. }, ServerFrame::Welcome(welcome)) => {
                self.welcome(now, welcome);
                Ok(())
            }
            (Link::LoggingIn { .. } | Link::Up(_), ServerFrame::Error(error)) => {
                self.error(now, &error);
                Ok(())
            }
            (Link::LoggingIn { .. }, ServerFrame::Optional(_)) => Ok(()),
            (Link::LoggingIn { .. }, _) => Err("the first frame is neither Welcome nor Error".to_owned()),
            (Link::Up(_), frame) => self.up_frame(now, frame),
            _ => Ok(()),
        };
        if let Err(reason) = done {
            self.protocol_error(now, &reason);
        }
    }

    fn up_frame(&mut self, now: Moment, frame: ServerFrame) -> Result<(), String> {
        match frame {
            ServerFrame::Receipts(receipts) => return self.receipts(now, receipts),
            ServerFrame::Deliver(deliver) => return self.deliver(deliver),
            ServerFrame::Settled(settled) => return self.settled(&settled),
            ServerFrame::Subscribed(subscribed) => self.subscribed(&subscribed),
            #[cfg(feature = "testing")]
            ServerFrame::Unsubscribed(_) if is_set(Defect::EndUnnoticed) => {}
            ServerFrame::Unsubscribed(ended) => {
                let failure = if ended.code == 0 {
                    Failure::new(ErrorKind::Closed, "the gateway ended the subscription")
                } else {
                    Failure::from_wire(ended.code, &ended.message, 0)
                };
                self.subscription_ended(ended.subscription, failure);
            }
            ServerFrame::Admin(answer) => self.admin_answered(now, answer),
            ServerFrame::Request(request) => return self.asked(request),
            ServerFrame::Reply(reply) => self.replied(now, reply),
            ServerFrame::Cancel(cancel) => self.task_cancelled(cancel.number),
            ServerFrame::ReplyCredit(credit) => self.task_granted(credit),
            ServerFrame::Ping(ping) if !ping.answer => {
                self.send(&ClientFrame::Ping(wire::Ping { nonce: ping.nonce, answer: true }));
            }
            ServerFrame::Drain(drain) => self.drain_announced(now, drain.deadline_ms),
            #[cfg(feature = "testing")]
            ServerFrame::Welcome(_) if is_set(Defect::WelcomeTwice) => {}
            #[cfg(feature = "testing")]
            ServerFrame::Optional(_) if is_set(Defect::OptionalRefused) => return Err("an optional frame".to_owned()),
            ServerFrame::Welcome(_) => return Err("a second Welcome".to_owned()),
            // Answers to what this version never asks for, and frames that may be skipped.
            _ => {}
        }
        Ok(())
    }

    fn receipts(&mut self, now: Moment, receipts: Receipts) -> Result<(), String> {
        #[cfg(feature = "testing")]
        assert!(!is_set(Defect::Panics), "it was told to");
        for receipt in receipts.receipts {
            let refused =
                (receipt.code != 0).then(|| Failure::from_wire(receipt.code, &receipt.message, receipt.retry_after_ms));
            // What crossed the word that the gateway stops has no answer yet.
            if let Some(failure) = &refused
                && self.publishes.was_sent(&receipt)
                && (self.is_put_off(failure.kind) || self.is_published_again(now, receipt.first_sequence, failure))
            {
                continue;
            }
            let answered = self.publishes.receipt(&receipt);
            #[cfg(feature = "testing")]
            let answered = if is_set(Defect::ReceiptsPass) { Ok(answered.unwrap_or_default()) } else { answered };
            for sequences in answered? {
                #[cfg(feature = "testing")]
                let receipt = meshwire_proto::frame::Receipt {
                    code: if is_set(Defect::CodesSwallowed) { 0 } else { receipt.code },
                    ..receipt.clone()
                };
                let result = if receipt.code == 0 {
                    let offset = sequences.start - receipt.first_sequence;
                    let known = receipt.first_position > 0;
                    let first_position = if known { receipt.first_position.saturating_add(offset) } else { 0 };
                    Ok(Kept { first_position, duplicate: receipt.duplicate })
                } else {
                    Err(Failure::from_wire(receipt.code, &receipt.message, receipt.retry_after_ms))
                };
                self.output.push_back(Output::Answered(Answer { sequences, result }));
            }
        }
        Ok(())
    }

    fn deliver(&mut self, deliver: Deliver) -> Result<(), String> {
        for run in deliver.runs {
            let wire = run.subscription;
            let Some((id, subscription)) = self.subscriptions.by_wire(wire) else {
                // After a resume the gateway may serve a number that was given up
                // meanwhile, until it hears of that.
                if self.subscriptions.was_used(wire) {
                    continue;
                }
                #[cfg(feature = "testing")]
                if is_set(Defect::StrangersPass) {
                    continue;
                }
                return Err(format!("a delivery for subscription {wire}, which does not exist"));
            };
            match subscription.phase {
                Phase::Active => {}
                Phase::Leaving | Phase::Anew => continue,
                Phase::New | Phase::Asked => {
                    return Err(format!("a delivery for subscription {wire} before it was confirmed"));
                }
            }
            let generation = subscription.generation;
            let noted = subscription.delivered(&run);
            #[cfg(feature = "testing")]
            let noted = if is_set(Defect::DeliveryGapsPass) { Ok(()) } else { noted };
            noted?;
            self.output.push_back(Output::Deliver { subscription: id, generation, run });
            self.have_come(wire);
        }
        Ok(())
    }

    fn settled(&mut self, settled: &Settled) -> Result<(), String> {
        let settled = self.settles.settled(settled);
        #[cfg(feature = "testing")]
        let settled = if is_set(Defect::ConfirmationsPass) { Ok(settled.unwrap_or_default()) } else { settled };
        for done in settled? {
            #[cfg(feature = "testing")]
            let done = super::settle::Confirmed {
                code: if is_set(Defect::LeaseLostSwallowed) { 0 } else { done.code },
                ..done
            };
            self.confirmed(done);
        }
        Ok(())
    }

    fn subscribed(&mut self, subscribed: &wire::Subscribed) {
        if self.serving(subscribed.subscription) {
            return;
        }
        let Some((id, subscription)) = self.subscriptions.by_wire(subscribed.subscription) else {
            return;
        };
        self.busy.forget(Ask::Subscription(id));
        if subscription.phase == Phase::Asked {
            if !subscription.began(subscribed) {
                let subscription = subscribed.subscription;
                return self.send(&ClientFrame::Unsubscribe(wire::Unsubscribe { subscription }));
            }
            let &wire::Subscribed { ack_wait_ms, next_position, topic_next, new_group, .. } = subscribed;
            self.output.push_back(Output::Subscribed {
                subscription: id,
                ack_wait_ms,
                next_position,
                topic_next,
                new_group,
            });
        }
    }

    /// A subscription is refused, for good or for now.
    fn subscription_refused(&mut self, now: Moment, wire: u32, failure: Failure) {
        let subscription = self.subscriptions.asked(wire);
        if failure.kind == ErrorKind::GroupConflict
            && !self.draining
            && let Some(subscribe) = subscription.and_then(|id| self.subscriptions.as_it_is(id))
        {
            return self.send(&ClientFrame::Subscribe(subscribe));
        }
        let asked = subscription.map(Ask::Subscription);
        match asked.or_else(|| self.serves.asked(wire).map(Ask::Serve)) {
            Some(ask) if self.is_asked_again(now, ask, &failure) => {
                self.subscriptions.not_yet(wire);
                self.serves.not_yet(wire);
            }
            _ => self.subscription_ended(wire, failure),
        }
    }

    fn subscription_ended(&mut self, wire: u32, failure: Failure) {
        if self.serve_ended(wire, &failure) {
            return;
        }
        if !self.draining
            && let Some(subscribe) = self.subscriptions.anew(wire)
        {
            return self.send(&ClientFrame::Subscribe(subscribe));
        }
        self.nothing_comes(Some(wire));
        match self.subscriptions.remove(wire) {
            Some((subscription, gone)) if gone.phase != Phase::Leaving => {
                self.output.push_back(Output::Ended { subscription, failure });
            }
            _ => {}
        }
    }

    fn admin_answered(&mut self, now: Moment, answer: wire::AdminAnswer) {
        if !self.admins.contains_key(&answer.number) {
            return;
        }
        let ask = Ask::Admin(answer.number);
        let failure = Failure::from_wire(answer.code, &answer.message, answer.retry_after_ms);
        let refused = answer.code != 0;
        if refused && self.is_asked_again(now, ask, &failure) {
            return;
        }
        self.busy.forget(ask);
        if self.admins.remove(&answer.number).is_some() {
            let result = if refused { Err(failure) } else { Ok(answer.answer) };
            self.output.push_back(Output::Admin { number: answer.number, result });
        }
    }

    fn error(&mut self, now: Moment, error: &wire::Error) {
        let failure = Failure::from_wire(error.code, &error.message, error.retry_after_ms);
        if error.fatal || !self.is_up() {
            self.refused(now, failure);
        } else if error.subscription > 0 {
            self.subscription_refused(now, error.subscription, failure);
        } else if error.operation == "reply" {
            self.output.push_back(Output::ReplyRefused(failure));
        }
    }
}
