//! The session: everything the client decides, as a state machine.
//!
//! It has no I/O, clock, task or randomness of its own. What happened goes in
//! with the [`Moment`] it happened at; what is to be done comes out of
//! [`Session::poll`], bytes to send out of [`Session::transmit`]. After each
//! input call both until they give nothing, and [`Session::tick`] when
//! [`Session::deadline`] is reached. The crate's driver does so over a transport;
//! the simulation does so in virtual time.
//!
//! - [`publish`](Session::publish): sequences rise from 1; events stay until
//!   their receipt and are replayed with their old sequence (`publish/`);
//! - [`subscribe`](Session::subscribe): survives reconnects, resumed or not
//!   (`subscribe.rs`);
//! - [`settle`](Session::settle): ranges, repeated until processed (`settle.rs`);
//! - [`request`](Session::request), [`serve`](Session::serve): ask, and answer others;
//!   neither outlives its connection (`request.rs`, `serve.rs`);
//! - what the gateway is too busy for is asked again (`busy.rs`);
//! - connecting, login, resume, heartbeats and back-off (`link.rs`);
//! - with [`Config::offline`], publishes wait out a gateway that is away or busy (`offline.rs`).

mod backoff;
mod boundary;
mod busy;
#[cfg(feature = "testing")]
pub mod defect;
mod failure;
mod link;
mod offline;
mod output;
mod position;
mod publish;
mod receive;
mod request;
mod runs;
mod serve;
mod settle;
mod subscribe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_proto::frame::{ClientFrame, SettleKind, SettleRange, begin_frame, end_frame};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{EventRun, Moment, Timing, TopicName, UnixMillis, options};

use crate::token::Secret;
use backoff::Backoff;
use busy::{Ask, Busy};
pub use failure::Failure;
use link::{Link, Resume};
pub use offline::OfflinePolicy;
pub use output::{Answer, Kept, Output, State, Stats};
pub use position::Position;
use publish::{Publishes, Window};
pub use request::RequestSpec;
use request::Requests;
pub(crate) use runs::{RunQueue, To};
use serve::Serves;
pub use serve::{ServeId, ServeSpec, TaskId, TaskReply};
use settle::{Confirmed, Settles};
use subscribe::Subscriptions;
pub use subscribe::{Start, SubscribeSpec, SubscriptionId};

/// What a session is told once.
#[derive(Clone, Debug)]
pub struct Config {
    /// 128 random bits: who publishes.
    pub producer_id: [u8; 16],
    /// Rises when the same producer id is opened again.
    pub producer_epoch: u32,
    /// Name of the program, for the gateway's logs and listings.
    pub client_name: String,
    /// Most publishes sent without a receipt. The gateway may ask for less.
    pub window_events: u64,
    /// Most bytes of them.
    pub window_bytes: u64,
    /// First wait before a reconnect.
    pub reconnect_min: Duration,
    /// Longest wait before a reconnect.
    pub reconnect_max: Duration,
    /// How long a login may take.
    pub login_timeout: Duration,
    /// What may wait for a gateway that is away; `None`: publishes wait as long as the session, and are answered
    /// what the gateway says, also if it is busy.
    pub offline: Option<OfflinePolicy>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            producer_id: [0; 16],
            producer_epoch: 0,
            client_name: "meshwire".to_owned(),
            window_events: options::PUBLISH_WINDOW_EVENTS.default,
            window_bytes: options::PUBLISH_WINDOW_BYTES.default,
            reconnect_min: options::RECONNECT_MIN.default_duration(),
            reconnect_max: options::RECONNECT_MAX.default_duration(),
            login_timeout: options::LOGIN_TIMEOUT.default_duration(),
            offline: None,
        }
    }
}

/// One client's session, over as many connections as it takes.
#[derive(Debug)]
pub struct Session {
    config: Config,
    link: Link,
    backoff: Backoff,
    state: State,
    resume: Option<Resume>,
    token: Option<Secret>,
    /// Connections in a row that ended by a protocol error soon after login.
    strikes: u32,
    /// The least wait that a gateway named which refused this round of logins for now.
    asked_to_wait: Option<Duration>,
    draining: bool,
    window: Window,
    heartbeat: Duration,
    max_frame_bytes: u32,
    /// The gateway's wall clock at the last login; 0: not told.
    gateway_time: UnixMillis,
    publishes: Publishes,
    /// When publishes that were refused for a while are sent again, and those behind them.
    publish_again_at: Option<Moment>,
    subscriptions: Subscriptions,
    settles: Settles,
    /// Answers to nacks that wait for what was on its way at them (`boundary.rs`). At most one of each delivery.
    held_answers: Vec<Confirmed>,
    requests: Requests,
    serves: Serves,
    busy: Busy,
    admins: BTreeMap<u64, Bytes>,
    next_admin: u64,
    control: BytesMut,
    output: VecDeque<Output>,
    stats: Stats,
}

/// A settle as the caller means it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettleInput {
    /// Whose deliveries.
    pub subscription: SubscriptionId,
    /// The generation they came with.
    pub generation: u32,
    /// First delivery number.
    pub first: u64,
    /// How many.
    pub count: u32,
    /// What happens to them.
    pub kind: SettleKind,
    /// For a nack: when to deliver again; `None` for when the group's settings say.
    pub delay_ms: Option<u32>,
    /// For a nack and a reject: why.
    pub reason: Option<Arc<str>>,
    /// Asks for [`Output::Settled`] with this token.
    pub confirm: Option<u64>,
}

impl Session {
    /// A session that connects at its first tick. `seed` makes its jitter.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            link: Link::Waiting { until: Moment(0) },
            backoff: Backoff::new(config.reconnect_min, config.reconnect_max, seed),
            state: State::Disconnected,
            resume: None,
            token: None,
            strikes: 0,
            asked_to_wait: None,
            draining: false,
            window: Window { events: config.window_events, bytes: config.window_bytes },
            heartbeat: options::HEARTBEAT.default_duration(),
            max_frame_bytes: u32::try_from(options::MAX_FRAME_BYTES.default).unwrap_or(u32::MAX),
            gateway_time: UnixMillis(0),
            publishes: Publishes::new(),
            publish_again_at: None,
            subscriptions: Subscriptions::default(),
            settles: Settles::default(),
            held_answers: Vec::new(),
            requests: Requests::default(),
            serves: Serves::default(),
            busy: Busy::default(),
            admins: BTreeMap::new(),
            next_admin: 1,
            control: BytesMut::new(),
            output: VecDeque::new(),
            stats: Stats::default(),
            config,
        }
    }

    /// Whether one more publish of so many bytes is inside the client's window.
    /// [`Session::publish`] takes more all the same: who calls it keeps the window.
    #[must_use]
    pub fn has_room(&self, bytes: usize) -> bool {
        let open = self.publishes.unanswered();
        let (events, most) = match &self.config.offline {
            Some(policy) => (policy.max_events(), policy.max_bytes),
            None => (self.config.window_events, self.config.window_bytes),
        };
        open.events < events && (open.events == 0 || open.bytes + bytes as u64 <= most)
    }

    /// Takes one encoded event; gives its sequence. [`Output::Answered`] tells
    /// what became of it.
    pub fn publish(&mut self, topic: &TopicName, event: &[u8]) -> u64 {
        self.publish_timed(topic, event, Timing::default())
    }

    /// [`Session::publish`], of an event that is delivered at or until some time.
    pub fn publish_timed(&mut self, topic: &TopicName, event: &[u8], timing: Timing) -> u64 {
        let alias = self.publishes.alias(topic);
        self.publishes.push((alias, timing), event)
    }

    /// The number that [`Session::publish_run`] takes for a topic: from 1, in
    /// order of first use.
    pub fn alias(&mut self, topic: &TopicName) -> u32 {
        self.publishes.alias(topic)
    }

    /// Takes many encoded events of one topic and one time; gives the sequence of the first.
    pub fn publish_run(&mut self, to: (u32, Timing), events: EventRun) -> u64 {
        self.publishes.push_run(to, events, None)
    }

    /// Publishes without a receipt: events and bytes.
    #[must_use]
    pub const fn unanswered(&self) -> (u64, u64) {
        let open = self.publishes.unanswered();
        (open.events, open.bytes)
    }

    /// Every sequence up to this one has its answer.
    #[must_use]
    pub fn answered_through(&self) -> u64 {
        self.publishes.answered_through()
    }

    /// Begins a subscription, which lasts until [`Session::unsubscribe`] or [`Output::Ended`].
    pub fn subscribe(&mut self, spec: SubscribeSpec) -> SubscriptionId {
        let id = self.subscriptions.add(spec);
        let ask = if self.is_up() { self.subscriptions.ask(id) } else { None };
        if let Some(frame) = ask {
            self.send(&ClientFrame::Subscribe(frame));
        }
        id
    }

    /// Ends a subscription; what is unsettled comes again elsewhere at once.
    /// Settles given before count, and are unfinished until they are kept.
    pub fn unsubscribe(&mut self, subscription: SubscriptionId) {
        self.busy.forget(Ask::Subscription(subscription));
        let Some(frame) = self.subscriptions.leave(subscription) else {
            return;
        };
        self.nothing_comes(Some(frame.subscription));
        if self.is_up() {
            self.settles.confirm_last(frame.subscription);
            self.send_settles();
            self.send(&ClientFrame::Unsubscribe(frame));
        }
    }

    /// Whether deliveries are sent to a subscription; until told otherwise they are.
    pub fn set_flowing(&mut self, subscription: SubscriptionId, flowing: bool) {
        if let Some(frame) = self.subscriptions.set_flowing(subscription, flowing).filter(|_| !self.draining)
            && self.is_up()
        {
            self.send(&ClientFrame::Credit(frame));
        }
    }

    /// Settles deliveries. Those of a session that is gone are dropped and
    /// counted, or answered `LEASE_LOST` where an answer is asked for.
    pub fn settle(&mut self, input: SettleInput) {
        let found = self.subscriptions.get(input.subscription);
        let Some(wire) = found.filter(|s| s.generation == input.generation && s.wire > 0).map(|s| s.wire) else {
            match input.confirm {
                Some(token) => self.unanswered_settles(vec![token], &Failure::lease_lost()),
                None if input.kind == SettleKind::Extend => {}
                None => self.stats.settles_dropped += u64::from(input.count),
            }
            return;
        };
        let range = SettleRange {
            subscription: wire,
            first_delivery: input.first,
            count: input.count,
            kind: input.kind,
            delay_ms: input.delay_ms,
            reason: input.reason.map(|r| r.to_string()).unwrap_or_default(),
        };
        match input.confirm {
            Some(token) => self.settles.push_confirmed(range, token),
            None => self.settles.push(range),
        }
    }

    /// Sends an administrative command, `meshwire.admin.v1.Command`; gives the
    /// number that [`Output::Admin`] answers. It is sent again on a new
    /// connection until it is answered: commands are safe to repeat.
    pub fn admin(&mut self, command: Bytes) -> u64 {
        let number = self.next_admin;
        self.next_admin += 1;
        if self.is_up() {
            self.send(&ClientFrame::Admin(wire::Admin { number, command: command.clone() }));
        }
        self.admins.insert(number, command);
        number
    }

    /// Takes no more deliveries; everything else goes on until [`Session::close`].
    pub fn drain(&mut self) {
        self.draining = true;
        let wires: Vec<u32> = self.subscriptions.active().map(|s| s.wire).collect();
        if self.is_up() {
            for subscription in wires {
                self.send(&ClientFrame::Credit(wire::Credit { subscription, max_events: 0, max_bytes: 0 }));
            }
            self.serve_credit_taken();
        }
        self.set_state(State::Draining);
    }

    /// Asks whether all settles are kept; until the answer they are unfinished.
    /// Without a connection there is nobody to ask.
    pub fn confirm_settles(&mut self) {
        if self.is_up() {
            for subscription in self.subscriptions.active() {
                self.settles.confirm_last(subscription.wire);
            }
        }
    }

    /// Publishes without a receipt, settles that the gateway did not confirm, and requests
    /// without their last reply, of this client and of others.
    #[must_use]
    pub fn unfinished(&self) -> u64 {
        self.publishes.unanswered().events + (self.settles.unfinished() + self.unfinished_requests()) as u64
    }

    /// Ends the session: says goodbye where it can, and answers all that waits
    /// with `CLOSED`. [`Output::Closed`] is the last output.
    pub fn close(&mut self) {
        if self.is_up() {
            self.send_settles();
            self.send(&ClientFrame::Goodbye(wire::Goodbye { reason: "closed by the program".to_owned() }));
        }
        self.finish(&Failure::closed());
        self.output.push_back(Output::Closed);
    }

    /// What is to be done next, in order.
    pub fn poll(&mut self) -> Option<Output> {
        self.output.pop_front()
    }

    /// Appends what is to be sent, whole frames of at most about 64 KiB of
    /// publishes; call again for more. Says whether anything was appended.
    pub fn transmit(&mut self, out: &mut BytesMut) -> bool {
        if self.is_up() {
            self.send_settles();
        }
        let before = out.len();
        out.extend_from_slice(&self.control);
        self.control.clear();
        let may_publish = self.is_up() && !self.is_leaving() && self.publish_again_at.is_none();
        if let Some(publish) = may_publish.then(|| self.publishes.next_frame(self.window)).flatten() {
            put(out, &ClientFrame::Publish(publish));
        }
        out.len() > before
    }

    /// Counts since the session began.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// Where the session stands.
    #[must_use]
    pub const fn state(&self) -> State {
        self.state
    }

    /// Largest frame that the gateway accepts.
    #[must_use]
    pub const fn max_frame_bytes(&self) -> u32 {
        self.max_frame_bytes
    }

    /// What the gateway's wall clock said at the last login.
    #[must_use]
    pub fn gateway_time(&self) -> Option<UnixMillis> {
        Some(self.gateway_time).filter(|time| time.0 != 0)
    }

    fn send(&mut self, frame: &ClientFrame) {
        put(&mut self.control, frame);
    }

    fn send_settles(&mut self) {
        while let Some(settle) = self.settles.next_frame() {
            put(&mut self.control, &ClientFrame::Settle(settle));
        }
    }

    fn set_state(&mut self, state: State) {
        if self.state != state && self.state != State::Closed {
            self.state = state;
            self.output.push_back(Output::State(state));
        }
    }
}

fn put(out: &mut BytesMut, frame: &ClientFrame) {
    let start = begin_frame(out);
    frame.encode(out);
    end_frame(out, start, 0);
}
