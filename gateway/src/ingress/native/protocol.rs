//! One native connection as a state machine.
//!
//! Bytes and time come in, calls go to the mesh, bytes go out. It holds no
//! socket, no task and no clock: the connection task and the simulation drive it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::task::Waker;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use meshwire_proto::frame::{ClientFrame, FrameError, FrameParser, ServerFrame, Settled};
use meshwire_proto::wire::session as wire;
use meshwire_proto::{ErrorKind, Moment, options};

use super::admin::Later;
use super::asked::RecordedRequests;
use super::frames::WriteQueue;
use super::outbox::{LEAST_ANSWERS, Outbox, Taken};
use super::pace::{Behind, Held};
use super::pending::Pending;
use super::seen::Seen;
use super::session::{Session, Starting};
use super::sessions::{Wait, leave_all, lock};
use super::{Native, login, told};
use crate::ingress::access::{Call, Record};
use crate::mesh::{Caller, Leaving, Lost, Refusal};

pub(super) enum State {
    /// No Hello yet.
    Login { until: Moment },
    /// Logged in.
    Open(Arc<Mutex<Session>>),
    /// The session is gone, or another connection's.
    Ended,
}

/// One connection.
pub struct Protocol {
    pub(super) native: Arc<Native>,
    pub(super) caller: Caller,
    pub(super) outbox: Arc<Outbox>,
    pub(super) pending: Pending,
    /// Subscriptions whose answer waits.
    pub(super) starting: Starting,
    pub(super) number: u64,
    pub(super) seen: Seen,
    pub(super) state: State,
    /// Nothing more is read; what is queued is written, then the connection ends.
    pub(super) closing: bool,
    /// The peer knows that the gateway stops.
    pub(super) told: bool,
    /// Nothing was heard for too long: nothing more is worth writing.
    dead: bool,
    /// The last Settle frame that was processed.
    pub(super) settled_through: u64,
    parser: FrameParser,
    control: Vec<ServerFrame>,
    taken: Taken,
    /// A Settle frame was processed since the last Settled went out.
    pub(super) unconfirmed: bool,
    heard: Moment,
    next_check: Moment,
    pinged: bool,
    /// Commands that wait for blocks from the disk.
    pub(super) later: Later,
    /// Serve subscriptions of this connection, with their bytes of credit.
    pub(super) serving: BTreeMap<u32, u64>,
    /// It has sent or served requests.
    pub(super) requesting: bool,
    /// Its requests that are to leave a record.
    pub(super) asked: RecordedRequests,
    /// A Publish frame that must wait, or what is left of one.
    pub(super) held: Option<Held>,
    /// Publish frames behind it.
    pub(super) behind: Behind,
    /// Frames were left where they were received.
    left: bool,
    /// Its connection waits for leave to receive a large frame.
    pub(super) paused: bool,
    /// Why the gateway ends it.
    pub(super) refused: Option<Refusal>,
}

impl Protocol {
    /// A connection that was accepted so long ago; its preface was read already.
    #[must_use]
    pub fn new(native: Arc<Native>, caller: Caller, waited: Duration) -> Self {
        let now = native.mesh.now().mono;
        let until = now + native.config.login_timeout.saturating_sub(waited);
        let parser = FrameParser::new(native.config.login_frame_bytes, options::LOGIN_FRAME_BYTES.name);
        let number = native.mesh.new_session();
        Self {
            seen: Seen::of(&caller, number),
            caller,
            outbox: Arc::new(Outbox::new(native.config.session_bytes, (native.mesh.memory(), native.mesh.answers()))),
            pending: Pending::default(),
            starting: Starting::new(),
            number,
            state: State::Login { until },
            closing: false,
            told: false,
            dead: false,
            settled_through: 0,
            parser,
            control: Vec::new(),
            taken: Taken::default(),
            unconfirmed: false,
            heard: now,
            next_check: until,
            pinged: false,
            asked: RecordedRequests::default(),
            later: Later::default(),
            serving: BTreeMap::new(),
            requesting: false,
            held: None,
            behind: Behind::default(),
            left: false,
            paused: false,
            refused: None,
            native,
        }
    }

    /// Takes every whole frame off `buffer`, as far as it [reads](Self::reads).
    pub fn received(&mut self, buffer: &mut BytesMut) {
        self.heard = self.native.mesh.now().mono;
        self.pinged = false;
        self.go_on(buffer);
    }

    /// Goes on with publishes that [are held](Self::is_held), and with what was left in `buffer`; `false` when nothing could be done.
    pub fn go_on(&mut self, buffer: &mut BytesMut) -> bool {
        let mut done = self.publish_held();
        loop {
            if self.closing {
                self.held = None;
                self.behind = Behind::default();
                buffer.clear();
            }
            self.left = self.must_wait();
            if self.left || self.closing {
                return done;
            }
            match self.parser.next(buffer) {
                Ok(None) => return done,
                Ok(Some(frame)) => self.read(&frame),
                Err(error) => self.broken(&error),
            }
            done = true;
        }
    }

    /// Whether nothing more may be processed for now: too many answers wait, or too many publishes.
    fn must_wait(&self) -> bool {
        self.is_stalled() || self.pending.bytes() > LEAST_ANSWERS.max(self.native.mesh.answers().allowance())
    }

    /// Whether it stopped before it had processed all that was received: [`Protocol::go_on`] may do more.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.left || self.held.is_some()
    }

    /// Whether it takes more than it has received.
    #[must_use]
    pub const fn reads(&self) -> bool {
        !self.left
    }

    /// Bytes of answers and publishes that wait here.
    fn waiting_bytes(&self) -> u64 {
        self.pending.bytes() + self.behind.bytes() + self.held.as_ref().map_or(0, Held::bytes)
    }

    /// Whether its session is open, and no other connection's.
    pub(super) fn has_its_session(&self) -> bool {
        matches!(&self.state, State::Open(session) if lock(session).owner == self.number)
    }

    pub(super) fn frame(&mut self, frame: &Bytes) {
        self.tell_stop();
        let decoded = match ClientFrame::decode(frame.clone()) {
            Ok(frame) => frame,
            Err(error @ FrameError::Unknown(_)) if matches!(self.state, State::Open(_)) => {
                return self.refuse(ErrorKind::Unsupported, &error.to_string(), "frame");
            }
            Err(error) => return self.broken(&error),
        };
        match (&self.state, decoded) {
            (State::Login { .. }, ClientFrame::Hello(hello)) => self.hello(&hello),
            (State::Login { .. }, _) => self.fail(ErrorKind::Invalid, "the first frame must be Hello"),
            (State::Open(session), decoded) => {
                let session = session.clone();
                let mut session = lock(&session);
                if session.owner != self.number {
                    return self.lost_session();
                }
                if self.waits_behind(&mut session, frame, &decoded) {
                    return;
                }
                self.open_frame(&mut session, decoded);
            }
            (State::Ended, _) => {}
        }
    }

    fn hello(&mut self, hello: &wire::Hello) {
        let call = Call::begin(&self.native.mesh);
        let logged_in = login::login(self, hello);
        let refused = logged_in.as_ref().err().map(|refusal| refusal.kind);
        call.end(&self.native.mesh, &self.caller, Record { operation: "login", refused, ..Record::default() });
        match logged_in {
            Ok((session, welcome)) => {
                let config = &self.native.config;
                self.parser.set_limit(config.max_frame_bytes, options::MAX_FRAME_BYTES.name);
                self.next_check = self.heard + config.heartbeat;
                self.settled_through = welcome.settled_through;
                self.state = State::Open(session);
                self.send(ServerFrame::Welcome(welcome));
            }
            Err(refusal) => self.end(refusal),
        }
    }

    fn open_frame(&mut self, session: &mut Session, frame: ClientFrame) {
        let unsupported =
            |operation: &'static str| (ErrorKind::Unsupported, "this version does not do that", operation);
        let (kind, text, operation) = match frame {
            ClientFrame::Publish(publish) => return self.publish(session, publish),
            ClientFrame::Settle(settle) => return self.settle(session, &settle),
            ClientFrame::Subscribe(subscribe) => return self.subscribe(session, &subscribe),
            ClientFrame::Unsubscribe(frame) => {
                return self.unsubscribe(session, frame.subscription);
            }
            ClientFrame::Credit(credit) => return self.credit(session, credit),
            ClientFrame::Request(request) => return self.request(session, &request),
            ClientFrame::Reply(reply) => return self.reply(reply),
            ClientFrame::ReplyCredit(credit) => return self.reply_credit(credit),
            ClientFrame::Cancel(cancel) => return self.cancel_request(cancel),
            ClientFrame::Admin(admin) => return self.admin(session, admin),
            ClientFrame::Ping(ping) if !ping.answer => {
                return self.send(ServerFrame::Ping(wire::Ping { nonce: ping.nonce, answer: true }));
            }
            ClientFrame::Ping(_) | ClientFrame::Optional(_) => return,
            ClientFrame::Goodbye(_) => return self.goodbye(session),
            ClientFrame::Hello(_) => (ErrorKind::Invalid, "a second Hello", "hello"),
            ClientFrame::Seek(_) => unsupported("seek"),
            ClientFrame::Auth(_) => unsupported("auth"),
            _ => unsupported("frame"),
        };
        self.refuse(kind, text, operation);
    }

    fn goodbye(&mut self, session: &mut Session) {
        self.hang_up();
        leave_all(&self.native.mesh, session, Leaving::Clean);
        self.native.sessions.remove(&session.id);
        self.state = State::Ended;
        self.closing = true;
    }

    /// Looks at what waits for the watermark.
    fn kept(&mut self) {
        if self.pending.is_empty() {
            return;
        }
        let watermark = self.native.mesh.watermark();
        let answers = self.pending.kept(watermark, self.settled_through);
        self.start(&answers);
        self.control.extend(answers);
        if watermark.failed && !self.pending.is_empty() {
            let text = "a write or sync of the gateway's log failed; whether this was kept is not known";
            self.control.extend(self.pending.failed(ErrorKind::StoreFailed.number(), text));
        }
    }

    /// When [`Protocol::tick`] or [`Protocol::go_on`] has something to do.
    #[must_use]
    pub fn deadline(&self) -> Moment {
        self.held_until().map_or(self.next_check, |until| until.min(self.next_check))
    }

    /// Ends a login that takes too long, and a connection that is silent too long.
    pub fn tick(&mut self) {
        let now = self.native.mesh.now().mono;
        let heartbeat = self.native.config.heartbeat;
        if (self.left || self.paused) && now >= self.next_check && matches!(self.state, State::Open(_)) {
            // It is not read from, so it cannot be heard, and does not hear that its pings come.
            self.heard = now;
            self.send(ServerFrame::Ping(wire::Ping { nonce: 1, answer: false }));
        }
        match &self.state {
            State::Login { until } if now >= *until => {
                self.native.mesh.counts().lost(Lost::LoginTimeout);
                let text = format!("no Hello within {:?} (option login_timeout)", self.native.config.login_timeout);
                self.fail(ErrorKind::Timeout, &text);
            }
            State::Open(_) if now.since(self.heard) >= heartbeat * 5 / 2 => {
                let text = "nothing was heard for two and a half heartbeats (option heartbeat)";
                self.refused = Some(Refusal::new(ErrorKind::Timeout, text));
                self.closing = true;
                self.dead = true;
            }
            State::Open(_) if now.since(self.heard) >= heartbeat && !self.pinged => {
                self.pinged = true;
                self.send(ServerFrame::Ping(wire::Ping { nonce: 1, answer: false }));
            }
            _ => {}
        }
        if now >= self.next_check {
            self.next_check = now + heartbeat / 2;
        }
    }

    /// The peer took some bytes. While it is not read from for want of room for its answers, that is how it is heard.
    pub fn wrote(&mut self) {
        if self.outbox.is_crowded() {
            self.heard = self.native.mesh.now().mono;
            self.pinged = false;
        }
    }

    /// Whether answers still wait for the log, or commands for the disk.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        !self.pending.is_empty() || !self.later.is_empty()
    }

    /// The session, while this connection has one.
    pub(super) fn session(&self) -> Option<Arc<Mutex<Session>>> {
        if let State::Open(session) = &self.state { Some(session.clone()) } else { None }
    }

    /// Moves what is to be written by now to `queue`.
    pub fn take_output(&mut self, queue: &mut WriteQueue) {
        self.tell_stop();
        self.try_again();
        self.kept();
        self.end_subscriptions();
        if std::mem::take(&mut self.unconfirmed) {
            self.control.push(ServerFrame::Settled(Settled { through: self.settled_through, results: Vec::new() }));
        }
        self.write_control(queue);
        while !self.closing {
            queue.seal();
            self.outbox.take(queue.bytes as u64 + self.waiting_bytes(), &mut self.taken);
            let counts = self.native.mesh.counts();
            for frame in self.taken.frames.drain(..) {
                told::count(counts, &frame);
                self.asked.told(&frame);
                queue.frame(&frame, self.seen);
            }
            for delivery in self.taken.deliveries.drain(..) {
                queue.delivery(&delivery, self.seen);
            }
            let Some(subscription) = self.taken.fed.take() else {
                break;
            };
            self.feed(subscription);
        }
        if std::mem::take(&mut self.taken.refreshed) {
            self.native.mesh.more_replies(self.number);
        }
        if self.outbox.is_closed() && !self.closing {
            self.lost_session();
            self.write_control(queue);
        }
        queue.seal();
    }

    fn write_control(&mut self, queue: &mut WriteQueue) {
        for frame in self.control.drain(..) {
            told::count(self.native.mesh.counts(), &frame);
            queue.frame(&frame, self.seen);
        }
    }

    /// Asks for what a subscription had no room for.
    fn feed(&self, number: u32) {
        let Some(session) = self.session() else {
            return;
        };
        let session = lock(&session);
        if session.owner == self.number
            && let Some(subscription) = session.subscriptions.get(&number)
        {
            self.native.mesh.feed(subscription.topic, session.key(number));
        }
    }

    /// Whether the peer was silent for too long.
    #[must_use]
    pub const fn is_dead(&self) -> bool {
        self.dead
    }

    /// Whether the connection ends once the queue is written.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.closing
    }

    /// Nothing more is read or written: nobody is asked here, and nothing more is leased to it, also while its session is still its own.
    /// [`Protocol::disconnected`] follows.
    pub fn leave(&mut self) {
        self.hang_up();
        // What did not go out comes again with the resume.
        self.outbox.end_taking();
        (self.held, self.behind) = (None, Behind::default());
    }

    /// The connection is gone: its session waits to be resumed.
    pub fn disconnected(&mut self) {
        self.leave();
        let State::Open(session) = std::mem::replace(&mut self.state, State::Ended) else {
            return;
        };
        let session = lock(&session);
        if session.owner != self.number {
            return;
        }
        let held = session.suspend(&self.native.mesh);
        let window = session.resume_window(self.native.config.resume_window);
        let since = self.native.mesh.now().mono;
        let wait = Wait { since, until: since + window, bytes: session.bytes(held) };
        let id = session.id;
        drop(session);
        self.native.sessions.suspend(&self.native.mesh, id, &self.outbox, wait);
    }

    /// Wakes `waker` when there may be more output than is in `queue` though nothing is received and
    /// no time passes; `false` when there is already.
    pub(super) fn wake_for_output(&mut self, waker: &Waker, queue: &WriteQueue) -> bool {
        let (mut news, mut any) = (false, false);
        for ticket in self.pending.fresh() {
            any = true;
            news |= !self.native.mesh.wake_when_kept(ticket, waker);
        }
        // The disk may have got full before the waker was there.
        news |= any && self.native.mesh.watermark().stuck && self.pending.has_settles();
        // Nothing more is delivered to a connection that ends.
        news |= !self.closing && !self.outbox.wake_when_filled(waker, queue.bytes as u64 + self.waiting_bytes());
        news |= !self.wake_when_free(waker);
        news |= !self.later.wake_when_ready(&self.native.mesh, waker);
        !news
    }

    pub(super) fn send(&mut self, frame: ServerFrame) {
        self.control.push(frame);
    }
}
