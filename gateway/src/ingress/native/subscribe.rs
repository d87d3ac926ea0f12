//! Subscribe, settle, credit and unsubscribe frames.

use std::time::Duration;

use meshwire_proto::frame::{ServerFrame, Settle, SettleRange, SettleResult};
use meshwire_proto::wire::{admin, session as wire};
use meshwire_proto::{ErrorKind, GroupKey, GroupName, MemberName, NameError, TopicName, UnixMillis, options};

use prost::Message as _;

use super::outbox::End;
use super::protocol::Protocol;
use super::session::{Session, Subscription};
use super::sessions::lock;
use crate::ingress::access::{Call, Record};
use crate::mesh::{Action, Credit, Leaving, Refusal, SettleAs, SettleRequest, SubscribeRequest, Ticket};

/// A subscription always gets this much byte credit: a single event passes.
const LEAST_BYTES: u64 = 64 * 1024;

/// Most ranges of one Settle frame: four times what our own client sends.
const MOST_RANGES: usize = 16_384;

/// Most deliveries that one subscription can have open.
const MOST_OPEN: u64 = 65_536;

/// Most deliveries that one Settle frame is about: bounds the time that it takes.
/// As many as small events fit into a session's bytes.
const MOST_NUMBERS: u64 = 1 << 20;

/// Most answers to one Settle frame: about 4 MB.
const MOST_ANSWERS: usize = 65_536;

fn unsupported(what: &str) -> Refusal {
    Refusal::new(ErrorKind::Unsupported, format!("this version has no {what}"))
}

/// Refuses what this version does not have.
fn check(frame: &wire::Subscribe) -> Result<(), Refusal> {
    let asked = [
        (!frame.more_topics.is_empty(), "subscription to several topics"),
        (!frame.pattern.is_empty(), "subscription by pattern"),
        (!frame.filters.is_empty(), "filter"),
        (frame.attributes_only, "attributes-only view"),
    ];
    asked.iter().find(|(asked, _)| *asked).map_or(Ok(()), |(_, what)| Err(unsupported(what)))
}

/// The group, and the durable member of it.
fn group(frame: &wire::Subscribe) -> Result<Option<GroupKey>, Refusal> {
    let invalid = |e: NameError| Refusal::new(ErrorKind::Invalid, e.to_string());
    let group = (!frame.group.is_empty()).then(|| GroupName::parse(&frame.group)).transpose().map_err(invalid)?;
    let member = (!frame.member.is_empty()).then(|| MemberName::parse(&frame.member)).transpose().map_err(invalid)?;
    match (group, member) {
        (None, Some(member)) => {
            let text = format!("member {member} has no group: name a broadcast group, or leave the member out");
            Err(Refusal::new(ErrorKind::Invalid, text))
        }
        (group, member) => Ok(group.map(|group| GroupKey { group, member })),
    }
}

fn request(frame: &wire::Subscribe, credit: Credit) -> Result<SubscribeRequest, Refusal> {
    let invalid = |e: String| Refusal::new(ErrorKind::Invalid, e);
    let group = group(frame)?;
    let mode = match frame.mode() {
        wire::GroupMode::Unspecified => None,
        wire::GroupMode::Cluster => Some(admin::GroupMode::Cluster),
        wire::GroupMode::Broadcast => Some(admin::GroupMode::Broadcast),
    };
    let mut settings = admin::GroupSettings::decode(&frame.settings[..])
        .map_err(|e| invalid(format!("the settings of the group cannot be read: {e}")))?;
    settings.mode = mode.map(Into::into).or(settings.mode);
    let (start, since) = match frame.start.and_then(|s| s.at) {
        // The mode of the group decides.
        None => (None, None),
        Some(wire::start::At::Latest(_)) => (Some(u64::MAX), None),
        Some(wire::start::At::Earliest(_)) => (Some(1), None),
        Some(wire::start::At::Position(position)) => (Some(position), None),
        Some(wire::start::At::TimeUnixMs(time)) => (None, Some(UnixMillis(time))),
    };
    if frame.ack_wait_ms != 0 {
        settings.ack_wait_ms = Some(frame.ack_wait_ms);
    }
    Ok(SubscribeRequest { group, start, since, settings, credit, plain: false })
}

/// A subscription that is asked for.
pub(super) struct Join {
    pub(super) number: u32,
    pub(super) topic: TopicName,
    pub(super) request: SubscribeRequest,
    pub(super) call: Call,
}

/// What became of a subscription that was not refused.
enum Tried {
    Joined,
    Waits,
}

impl Protocol {
    pub(super) fn subscribe(&mut self, session: &mut Session, frame: &wire::Subscribe) {
        let call = Call::begin(&self.native.mesh);
        let result = self.try_subscribe(session, frame, call);
        // One that waits for the place of a time is recorded when it has joined.
        if !matches!(result, Ok(Tried::Waits)) {
            let operation = if frame.serve { "serve" } else { "subscribe" };
            let refused = result.as_ref().err().map(|refusal| refusal.kind);
            let record = Record { operation, topic: &frame.topic, group: &frame.group, refused, events: 0 };
            call.end(&self.native.mesh, &session.caller, record);
        }
        if let Err(refusal) = result {
            self.not_subscribed(frame.subscription, refusal);
        }
    }

    fn not_subscribed(&mut self, subscription: u32, refusal: Refusal) {
        self.send(ServerFrame::Error(wire::Error {
            code: refusal.kind.number(),
            message: refusal.message,
            subscription,
            operation: "subscribe".to_owned(),
            retry_after_ms: refusal.retry_after_ms,
            fatal: false,
        }));
    }

    fn try_subscribe(&mut self, session: &mut Session, frame: &wire::Subscribe, call: Call) -> Result<Tried, Refusal> {
        let number = frame.subscription;
        let in_use = session.subscriptions.contains_key(&number) || self.later.waits_to_join(number);
        if number == 0 || in_use || self.serving.contains_key(&number) {
            let text = format!("subscription number {number} is 0 or in use");
            return Err(Refusal::new(ErrorKind::Invalid, text));
        }
        let most = self.native.config.max_subscriptions;
        if session.subscriptions.len() + self.serving.len() + self.later.joins() >= most {
            let text = format!(
                "this session has {most} subscriptions; end one, open another session, or raise max_subscriptions"
            );
            return Err(Refusal::new(ErrorKind::TooLarge, text));
        }
        let credit = self.grant(session, number, frame.max_events, frame.max_bytes);
        check(frame)?;
        if frame.serve {
            group(frame)?;
            let asked = !frame.member.is_empty() || frame.ack_wait_ms != 0 || !frame.settings.is_empty();
            if frame.start.is_some() || asked {
                let text = "a serve subscription has no start, no member, no ack wait and no settings";
                return Err(Refusal::new(ErrorKind::Invalid, text));
            }
            return self.serve(session, frame, credit).map(|()| Tried::Joined);
        }
        let request = request(frame, credit)?;
        let topic = TopicName::parse(&frame.topic).map_err(|e| Refusal::new(ErrorKind::Invalid, e.to_string()))?;
        self.try_join(session, Join { number, topic, request, call })
    }

    /// Joins now, or when the place of a time is known.
    pub(super) fn join(&mut self, session: &mut Session, join: Join) {
        let (number, call) = (join.number, join.call);
        let named =
            call.is_recorded().then(|| (join.topic.clone(), join.request.group.as_ref().map(|key| key.group.clone())));
        let result = self.try_join(session, join);
        if let (Some((topic, group)), false) = (&named, matches!(result, Ok(Tried::Waits))) {
            let refused = result.as_ref().err().map(|refusal| refusal.kind);
            let (topic, group) = (topic.as_str(), group.as_ref().map_or("", |group| group.as_str()));
            let record = Record { operation: "subscribe", topic, group, refused, events: 0 };
            call.end(&self.native.mesh, &session.caller, record);
        }
        if let Err(refusal) = result {
            self.not_subscribed(number, refusal);
        }
    }

    fn try_join(&mut self, session: &mut Session, join: Join) -> Result<Tried, Refusal> {
        let Join { number, topic: name, request, .. } = &join;
        // Others may have joined while it waited.
        let credit = self.grant(session, *number, request.credit.events, request.credit.bytes);
        let (number, request) = (*number, SubscribeRequest { credit, ..request.clone() });
        let mesh = &self.native.mesh;
        let topic = mesh.open_topic(&session.caller, name.as_str(), Action::Subscribe)?;
        let (key, of) = (session.key(number), (topic, name.as_str()));
        let seen = mesh.fetches();
        let joined = mesh.subscribe(&session.caller, of, key, request, self.outbox.clone());
        let Some(joined) = joined else {
            self.later.join(join, seen);
            return Ok(Tried::Waits);
        };
        let (subscribed, ticket) = joined?;
        let ack_wait = subscribed.ack_wait;
        let (name, group) = (join.topic, join.request.group.map(|key| key.group));
        session.subscriptions.insert(number, Subscription { topic, name, group, ack_wait, bytes: credit.bytes });
        self.starting.insert(number, (topic, key));
        let answer = wire::Subscribed {
            subscription: number,
            next_delivery: subscribed.next_delivery,
            next_position: subscribed.next_position,
            ack_wait_ms: u32::try_from(ack_wait.as_millis()).unwrap_or(u32::MAX),
            topic_next: subscribed.topic_next,
            new_group: subscribed.new_group,
            topic_identity: mesh.topic_identity(topic),
        };
        self.pending.frame(ticket, ServerFrame::Subscribed(answer));
        Ok(Tried::Joined)
    }

    /// Deliveries begin behind the answers that say so.
    pub(super) fn start(&mut self, answers: &[ServerFrame]) {
        for answer in answers {
            if let ServerFrame::Subscribed(subscribed) = answer
                && let Some((topic, key)) = self.starting.remove(&subscribed.subscription)
            {
                self.native.mesh.start(topic, key);
            }
        }
    }

    /// Credit within what the session has left.
    fn grant(&self, session: &Session, subscription: u32, events: u32, bytes: u64) -> Credit {
        let others = session.subscriptions.iter().filter(|(n, _)| **n != subscription);
        let serving = self.serving.iter().filter(|(n, _)| **n != subscription);
        let used = others.map(|(_, s)| s.bytes).sum::<u64>() + serving.map(|(_, bytes)| bytes).sum::<u64>();
        let left = self.native.config.session_bytes.saturating_sub(used).max(LEAST_BYTES);
        let most = u32::try_from(options::PREFETCH_EVENTS.max).unwrap_or(u32::MAX);
        Credit { events: events.min(most), bytes: bytes.min(left) }
    }

    pub(super) fn credit(&mut self, session: &mut Session, frame: wire::Credit) {
        let credit = self.grant(session, frame.subscription, frame.max_events, frame.max_bytes);
        if self.serve_credit(frame.subscription, credit) || self.later.set_credit(frame.subscription, credit) {
            return;
        }
        let key = session.key(frame.subscription);
        let result = match session.subscriptions.get_mut(&frame.subscription) {
            None => Err(Refusal::new(ErrorKind::NotFound, format!("there is no subscription {}", frame.subscription))),
            Some(s) => {
                s.bytes = credit.bytes;
                self.native.mesh.credit(&session.caller, (s.topic, s.name.as_str()), key, credit)
            }
        };
        if let Err(refusal) = result {
            self.refuse(refusal.kind, &refusal.message, "credit");
        }
    }

    pub(super) fn unsubscribe(&mut self, session: &mut Session, number: u32) {
        if self.serve_no_more(number) {
            return;
        }
        let Some(subscription) = session.subscriptions.remove(&number) else {
            if self.later.leave(number) {
                return self.left(number);
            }
            return self.refuse(ErrorKind::NotFound, &format!("there is no subscription {number}"), "unsubscribe");
        };
        self.native.mesh.leave(subscription.topic, session.key(number), Leaving::Clean);
        self.left(number);
    }

    /// Tells of subscriptions that ended by themselves; not before they have begun.
    pub(super) fn end_subscriptions(&mut self) {
        let Some(session) = self.session() else {
            return;
        };
        let ended = self.outbox.take_ended(|number| self.starting.contains_key(&number));
        for (subscription, why) in ended {
            let name = lock(&session).subscriptions.remove(&subscription).map(|s| s.name.to_string());
            let of = name.unwrap_or_else(|| "of this subscription".to_owned());
            let (kind, message) = match why {
                End::TopicDeleted => (ErrorKind::TopicNotFound, format!("topic {of} was deleted")),
                End::TakenOver => (
                    ErrorKind::GroupConflict,
                    format!(
                        "another subscription to topic {of} took the durable member over while this one's connection was \
                         lost; end that one, or take another member name"
                    ),
                ),
            };
            self.send(ServerFrame::Unsubscribed(wire::Unsubscribed { subscription, code: kind.number(), message }));
        }
    }

    fn left(&mut self, number: u32) {
        self.send(ServerFrame::Unsubscribed(wire::Unsubscribed {
            subscription: number,
            ..wire::Unsubscribed::default()
        }));
    }

    pub(super) fn settle(&mut self, session: &mut Session, frame: &Settle) {
        let call = Call::begin(&self.native.mesh);
        let settled = self.settle_all(session, frame);
        if call.is_recorded() {
            let of = frame.ranges.first().and_then(|range| session.subscriptions.get(&range.subscription));
            let (topic, group) =
                of.map_or(("", ""), |of| (of.name.as_str(), of.group.as_ref().map_or("", |group| group.as_str())));
            let refused = settled.as_ref().map_or_else(|refusal| Some(refusal.kind), |refused| *refused);
            let events = frame.ranges.iter().map(|range| u64::from(range.count)).sum();
            call.end(&self.native.mesh, &session.caller, Record { operation: "settle", topic, group, events, refused });
        }
        if let Err(refusal) = settled {
            self.end(refusal);
        }
    }

    /// The first refusal; an error ends the connection.
    fn settle_all(&mut self, session: &mut Session, frame: &Settle) -> Result<Option<ErrorKind>, Refusal> {
        if frame.sequence > session.settled_through + 1 {
            let text = format!("Settle frame {} came after {}", frame.sequence, session.settled_through);
            return Err(Refusal::new(ErrorKind::Invalid, text));
        }
        // A frame that was processed before its connection was lost comes again
        // only for its answer; settling the same again changes nothing.
        if frame.sequence <= session.settled_through && !frame.confirm {
            return Ok(None);
        }
        let numbers: u64 = frame.ranges.iter().map(|r| u64::from(r.count).min(MOST_OPEN)).sum();
        if frame.ranges.len() > MOST_RANGES || numbers > MOST_NUMBERS {
            let ranges = frame.ranges.len();
            let text = format!(
                "a Settle frame has {ranges} ranges of about {numbers} deliveries; {MOST_RANGES} and {MOST_NUMBERS} are accepted"
            );
            return Err(Refusal::new(ErrorKind::TooLarge, text));
        }
        session.settled_through = session.settled_through.max(frame.sequence);
        self.settled_through = session.settled_through;
        let (mut answers, mut refused) = (0, None);
        for range in &frame.ranges {
            let results = self.settle_range(session, frame, range);
            let first = results.iter().map(|(_, result)| result.code).find(|code| *code != 0);
            refused = refused.or(first.map(ErrorKind::from_number));
            if frame.confirm {
                answers += results.len();
                if answers > MOST_ANSWERS {
                    let text =
                        format!("a Settle frame has more than {MOST_ANSWERS} different answers; send smaller ones");
                    return Err(Refusal::new(ErrorKind::TooLarge, text));
                }
                for (ticket, result) in results {
                    self.pending.settle(ticket, result);
                }
            }
        }
        self.unconfirmed = true;
        Ok(refused)
    }

    fn settle_range(&self, session: &Session, frame: &Settle, range: &SettleRange) -> Vec<(Ticket, SettleResult)> {
        let result = |first_delivery, count, (code, next_delivery)| SettleResult {
            sequence: frame.sequence,
            subscription: range.subscription,
            first_delivery,
            count,
            code,
            next_delivery,
        };
        let all = |kind: ErrorKind| vec![(Ticket::KEPT, result(range.first_delivery, range.count, (kind.number(), 0)))];
        let Some(subscription) = session.subscriptions.get(&range.subscription) else {
            return all(ErrorKind::LeaseLost);
        };
        let of = (subscription.topic, subscription.name.as_str());
        let end = range.first_delivery.saturating_add(u64::from(range.count));
        let delay = range.delay_ms.map(|ms| Duration::from_millis(ms.into()));
        let how = SettleAs { kind: range.kind, delay, reason: &range.reason };
        if how.misfit().is_some() {
            return all(ErrorKind::Invalid);
        }
        let asked = SettleRequest { numbers: range.first_delivery..end, how, confirm: frame.confirm };
        let key = session.key(range.subscription);
        match self.native.mesh.settle(&session.caller, of, key, asked) {
            Err(refusal) => all(refusal.kind),
            Ok(settled) => {
                let code = |ok: bool| match settled.ticket {
                    _ if !ok => ErrorKind::LeaseLost.number(),
                    Some(_) => 0,
                    // It holds all the same.
                    None => ErrorKind::DiskFull.number(),
                };
                let one = |a: crate::mesh::SettleAnswer| {
                    let count = u32::try_from(a.count).unwrap_or(u32::MAX);
                    (
                        settled.ticket.unwrap_or(Ticket::KEPT),
                        result(a.first_delivery, count, (code(a.settled), a.boundary)),
                    )
                };
                settled.answers.into_iter().map(one).collect()
            }
        }
    }
}
