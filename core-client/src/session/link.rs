//! Connecting, login, resume, heartbeats, back-off, and the end.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use meshwire_proto::frame::{self, ClientFrame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{Moment, Retry, UnixMillis, options};

#[cfg(feature = "testing")]
use super::defect::{Defect, is_set};
use super::publish::Window;
use super::subscribe::LostLeases;
use super::{Answer, Failure, Kept, Output, Session, State};
use crate::token::Secret;

/// Where the connection stands.
#[derive(Debug)]
pub(super) enum Link {
    /// None until then.
    Waiting { until: Moment },
    /// Being made.
    Dialing,
    /// Hello sent, no Welcome yet.
    LoggingIn { until: Moment },
    /// In use.
    Up(Up),
    /// None any more.
    Closed,
}

#[derive(Debug)]
pub(super) struct Up {
    since: Moment,
    heard: Moment,
    pinged: bool,
    /// The gateway said it stops: the connection must be gone by then.
    leaving: Option<Moment>,
}

/// What it takes to go on with a session.
#[derive(Clone, Debug)]
pub(super) struct Resume {
    session: Bytes,
    secret: Bytes,
}

/// The scheme of tokens.
const BEARER: &str = "bearer";
/// A connection that lived this long was a success: back-off begins anew. A guess.
const STEADY: Duration = Duration::from_secs(1);
/// How much longer than it announced a gateway may take to stop. A guess.
const LEAVING_GRACE: Duration = Duration::from_secs(5);

impl Session {
    pub(crate) const fn is_up(&self) -> bool {
        matches!(self.link, Link::Up(_))
    }

    /// Whether the gateway asked to finish: new publishes wait for the next connection.
    pub(super) const fn is_leaving(&self) -> bool {
        matches!(&self.link, Link::Up(Up { leaving: Some(_), .. }))
    }

    /// How long the gateway gives this connection, if it has said that it stops.
    pub(crate) fn leaves_within(&self, now: Moment) -> Option<Duration> {
        let Link::Up(Up { leaving: Some(leaving), .. }) = &self.link else { return None };
        Some(leaving.since(now).saturating_sub(LEAVING_GRACE))
    }

    /// Whether a gateway that stops refused something for that alone: nothing of it was done, and it goes to the next connection.
    pub(super) fn is_put_off(&self, kind: meshwire_proto::ErrorKind) -> bool {
        kind == meshwire_proto::ErrorKind::Unavailable && self.is_leaving()
    }

    /// When [`Session::tick`] must be called at the latest.
    #[must_use]
    pub fn deadline(&self) -> Option<Moment> {
        let others = self.requests.deadline().into_iter().chain(self.busy.deadline()).chain(self.offline_deadline());
        self.link_deadline().into_iter().chain(others).min()
    }

    fn link_deadline(&self) -> Option<Moment> {
        match &self.link {
            Link::Waiting { until } | Link::LoggingIn { until } => Some(*until),
            Link::Dialing | Link::Closed => None,
            Link::Up(up) => {
                let silence = if up.pinged { self.heartbeat * 5 / 2 } else { self.heartbeat };
                let heard = up.heard + silence;
                Some(up.leaving.map_or(heard, |leaving| leaving.min(heard)))
            }
        }
    }

    /// Lets time pass.
    pub fn tick(&mut self, now: Moment) {
        self.expire_requests(now);
        self.request_again(now);
        self.ask_again(now);
        self.tick_offline(now);
        if self.link_deadline().is_none_or(|deadline| deadline > now) {
            return;
        }
        match &mut self.link {
            Link::Waiting { .. } => {
                self.link = Link::Dialing;
                self.asked_to_wait = None;
                let again = self.resume.is_some() || self.state == State::Reconnecting;
                self.set_state(if again { State::Reconnecting } else { State::Connecting });
                self.output.push_back(Output::Connect);
            }
            #[cfg(feature = "testing")]
            Link::LoggingIn { until } if is_set(Defect::LoginForEver) => *until = now + Duration::from_secs(3600),
            Link::LoggingIn { .. } => self.drop_link(now, "no answer to the login in time"),
            Link::Up(up) if up.leaving.is_some_and(|at| at <= now) => {
                self.drop_link(now, "the gateway announced its end and did not close the connection");
            }
            #[cfg(feature = "testing")]
            Link::Up(up) if is_set(Defect::SilenceEndured) => up.heard = now,
            Link::Up(up) if up.pinged => {
                self.stats.silences += 1;
                self.drop_link(now, "nothing was heard for two and a half heartbeats");
            }
            Link::Up(up) => {
                up.pinged = true;
                self.send(&ClientFrame::Ping(wire::Ping { nonce: now.0, answer: false }));
            }
            Link::Dialing | Link::Closed => {}
        }
    }

    /// What the next logins show: a bearer token, or nothing.
    pub(crate) fn authenticate(&mut self, token: Option<Secret>) {
        self.token = token;
    }

    /// There is a connection: the login is the first thing to transmit on it.
    pub fn connected(&mut self, now: Moment) {
        if !matches!(self.link, Link::Dialing) {
            return;
        }
        self.link = Link::LoggingIn { until: now + self.config.login_timeout };
        self.control.clear();
        let resume = self.resume.clone();
        let hello = wire::Hello {
            producer_id: Bytes::copy_from_slice(&self.config.producer_id),
            producer_epoch: self.config.producer_epoch,
            min_version: frame::VERSION,
            max_version: frame::VERSION,
            client_name: self.config.client_name.clone(),
            language: "rust".to_owned(),
            client_version: env!("CARGO_PKG_VERSION").to_owned(),
            max_frame_bytes: u32::try_from(options::MAX_FRAME_BYTES.max).unwrap_or(u32::MAX),
            first_unanswered: self.publishes.first_unanswered(),
            auth_scheme: self.token.as_ref().map(|_| BEARER.to_owned()).unwrap_or_default(),
            auth_credentials: self.token.as_ref().map(Secret::bytes).unwrap_or_default(),
            held: if resume.is_some() { self.subscriptions.held() } else { Vec::new() },
            resume_session: resume.as_ref().map(|r| r.session.clone()).unwrap_or_default(),
            resume_secret: resume.map(|r| r.secret).unwrap_or_default(),
            ..wire::Hello::default()
        };
        self.send(&ClientFrame::Hello(hello));
    }

    /// A connection whose login was not answered is given up for another one that is being made: [`Session::connected`]
    /// or [`Session::disconnected`] follows. Whether one may be made now.
    pub fn redial(&mut self) -> bool {
        if !matches!(self.link, Link::LoggingIn { .. } | Link::Waiting { .. }) {
            return false;
        }
        self.link = Link::Dialing;
        self.control.clear();
        true
    }

    /// The connection ended, or none could be made.
    pub fn disconnected(&mut self, now: Moment) {
        self.put_off(now, Duration::ZERO);
    }

    /// The same, and the next attempt is to wait for so long at least.
    pub fn put_off(&mut self, now: Moment, at_least: Duration) {
        if !matches!(self.link, Link::Waiting { .. } | Link::Closed) {
            self.wait(now, at_least);
        }
    }

    /// Bytes came, whole frames or not.
    pub fn heard(&mut self, now: Moment) {
        if let Link::Up(up) = &mut self.link {
            (up.heard, up.pinged) = (now, false);
        }
    }

    fn wait(&mut self, now: Moment, at_least: Duration) {
        if let Link::Up(up) = &self.link
            && now.since(up.since) >= STEADY
        {
            self.backoff.reset();
            self.strikes = 0;
        }
        self.requests_lost();
        self.tasks_lost();
        self.busy.disconnected();
        self.nothing_comes(None);
        self.publish_again_at = None;
        let wait = self.backoff.next().max(at_least);
        self.link = Link::Waiting { until: now + wait };
        self.control.clear();
        if self.state != State::Connecting && self.state != State::Disconnected {
            self.set_state(State::Reconnecting);
        }
    }

    pub(super) fn drop_link(&mut self, now: Moment, reason: &str) {
        self.output.push_back(Output::Disconnect { reason: reason.to_owned(), refused: None });
        self.wait(now, Duration::ZERO);
    }

    /// The gateway broke the protocol. The next connection resumes the session;
    /// if that one ends the same way, the one after begins a new session.
    pub(crate) fn protocol_error(&mut self, now: Moment, reason: &str) {
        self.stats.protocol_errors += 1;
        self.drop_link(now, &format!("protocol error: {reason}"));
        self.strikes += 1;
        if self.strikes > 1 {
            self.resume = None;
        }
    }

    /// An error after which the gateway closes the connection.
    pub(super) fn refused(&mut self, now: Moment, failure: Failure) {
        self.output.push_back(Output::Disconnect { reason: failure.message.clone(), refused: Some(failure.kind) });
        use meshwire_proto::ErrorKind as Kind;
        let hopeless = matches!(
            failure.kind,
            Kind::Unauthenticated | Kind::Denied | Kind::Unsupported | Kind::ProducerFenced | Kind::TlsRequired
        );
        #[cfg(feature = "testing")]
        if is_set(Defect::RefusalRetried) {
            return self.wait(now, Duration::ZERO);
        }
        // What a Hello is full of is what it resumes: a new session names none of it.
        let is_resume_too_large = !self.is_up() && failure.kind == Kind::TooLarge && self.resume.take().is_some();
        if is_resume_too_large {
            self.wait(now, Duration::ZERO);
        } else if hopeless || (!self.is_up() && failure.retry == Retry::Never && failure.kind != Kind::Closed) {
            self.finish(&failure);
            self.output.push_back(Output::Failed(failure));
        } else {
            // Of several that were asked one after the other, the one that may have room first counts.
            self.asked_to_wait = self.asked_to_wait.into_iter().chain(failure.retry_after).min();
            self.wait(now, self.asked_to_wait.unwrap_or_default());
        }
    }

    pub(super) fn drain_announced(&mut self, now: Moment, deadline_ms: u32) {
        if let Link::Up(up) = &mut self.link {
            up.leaving = Some(now + Duration::from_millis(u64::from(deadline_ms)) + LEAVING_GRACE);
            self.set_state(State::Draining);
        }
    }

    pub(super) fn welcome(&mut self, now: Moment, welcome: wire::Welcome) {
        let same = welcome.version == frame::VERSION;
        #[cfg(feature = "testing")]
        let same = same || is_set(Defect::AnyVersion);
        if !same {
            let message =
                format!("the gateway speaks protocol version {}, this client {}", welcome.version, frame::VERSION);
            return self.refused(now, Failure::new(meshwire_proto::ErrorKind::Unsupported, message));
        }
        let first = !matches!(self.state, State::Reconnecting) && self.resume.is_none();
        self.stats.reconnects += u64::from(!first);
        self.stats.resumes += u64::from(welcome.resumed);
        self.link = Link::Up(Up { since: now, heard: now, pinged: false, leaving: None });
        self.asked_to_wait = None;
        self.adopt(&welcome);
        self.replay(&welcome);
        self.refuse_too_large();
        let unheard = self.resume_settles(&welcome);
        self.resume_subscriptions(welcome.resumed, &unheard);
        self.resume = Some(Resume { session: welcome.session, secret: welcome.secret });
        let admins: Vec<wire::Admin> = self
            .admins
            .iter()
            .map(|(number, command)| wire::Admin { number: *number, command: command.clone() })
            .collect();
        for admin in admins {
            self.send(&ClientFrame::Admin(admin));
        }
        // What serves is first: a request may be for this very client.
        if !self.draining {
            self.serve_again();
        }
        self.send_requests(now);
        self.set_state(if self.draining { State::Draining } else { State::Connected });
    }

    fn adopt(&mut self, welcome: &wire::Welcome) {
        let or = |value: u64, default: u64| if value == 0 { default } else { value };
        self.heartbeat = Duration::from_millis(or(u64::from(welcome.heartbeat_ms), options::HEARTBEAT.default));
        self.window = Window {
            events: or(u64::from(welcome.publish_window_events), u64::MAX).min(self.config.window_events),
            bytes: or(welcome.publish_window_bytes, u64::MAX).min(self.config.window_bytes),
        };
        self.gateway_time = UnixMillis(welcome.gateway_time_unix_ms);
        if welcome.max_frame_bytes > 0 {
            self.max_frame_bytes = welcome.max_frame_bytes;
        }
    }

    fn replay(&mut self, welcome: &wire::Welcome) {
        let kept_through = welcome.kept_through;
        #[cfg(feature = "testing")]
        let kept_through = if is_set(Defect::ResumeWithoutReplay) { u64::MAX - 1 } else { kept_through };
        #[cfg(feature = "testing")]
        let kept_through = if is_set(Defect::KeptForgotten) { 0 } else { kept_through };
        for sequences in self.publishes.kept_through(kept_through) {
            let kept = Kept { first_position: 0, duplicate: false };
            self.output.push_back(Output::Answered(Answer { sequences, result: Ok(kept) }));
        }
        let replays = self.publishes.rewind();
        self.stats.replays += replays;
        if !welcome.producer_known {
            self.stats.replays_by_id += replays;
        }
    }

    /// Gives what of a lost session the gateway may not have heard: see [`Output::Reset`].
    fn resume_settles(&mut self, welcome: &wire::Welcome) -> BTreeMap<u32, u64> {
        if welcome.resumed {
            let through = welcome.settled_through;
            #[cfg(feature = "testing")]
            let through = if is_set(Defect::SettlesForgotten) { u64::MAX - 1 } else { through };
            self.settles.resumed(through);
            return BTreeMap::new();
        }
        let unheard = self.settles.unheard();
        let (tokens, dropped) = self.settles.lost();
        self.stats.settles_dropped += dropped;
        self.stats.leases_lost += tokens.len() as u64;
        self.unanswered_settles(tokens, &Failure::lease_lost());
        unheard
    }

    fn resume_subscriptions(&mut self, resumed: bool, unheard: &BTreeMap<u32, u64>) {
        // Deliveries of a lost session cannot be settled: who drains asks for no others.
        let draining = self.draining;
        let ask = if resumed {
            let (leave, ask) = self.subscriptions.resumed();
            for frame in leave {
                self.send(&ClientFrame::Unsubscribe(frame));
            }
            for frame in self.subscriptions.credits().into_iter().filter(|_| !draining) {
                self.send(&ClientFrame::Credit(frame));
            }
            ask
        } else {
            let (ask, lost) = self.subscriptions.lost();
            for LostLeases { subscription, wire, generation, again } in lost {
                let unheard = unheard.get(&wire).copied().unwrap_or_default();
                self.output.push_back(Output::Reset { subscription, generation, again, unheard });
            }
            ask
        };
        for frame in ask.into_iter().filter(|_| !draining) {
            self.send(&ClientFrame::Subscribe(frame));
        }
    }

    /// Answers all that waits, for good.
    pub(super) fn finish(&mut self, failure: &Failure) {
        self.link = Link::Closed;
        for (sequences, sent) in self.publishes.open_ranges() {
            let failure = if sent { failure.unknown_outcome() } else { failure.clone() };
            self.output.push_back(Output::Answered(Answer { sequences, result: Err(failure) }));
        }
        self.publishes = super::Publishes::new();
        let (tokens, dropped) = self.settles.lost();
        self.stats.settles_dropped += dropped;
        self.nothing_comes(None);
        self.unanswered_settles(tokens, failure);
        self.busy = super::Busy::default();
        self.finish_requests(failure);
        self.finish_serves(failure);
        for number in std::mem::take(&mut self.admins).into_keys() {
            self.output.push_back(Output::Admin { number, result: Err(failure.clone()) });
        }
        for subscription in self.subscriptions.ids() {
            self.output.push_back(Output::Ended { subscription, failure: failure.clone() });
        }
        self.subscriptions = super::Subscriptions::default();
        self.set_state(State::Closed);
    }
}
