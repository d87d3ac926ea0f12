//! The one task of a client: it moves bytes and time between session, transport
//! and handles. All decisions are the session's.

mod carrier;
mod finish;
mod login;
mod requests;
mod trouble;
mod work;

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::BytesMut;
use futures_util::FutureExt as _;
use meshwire_proto::frame::{FrameParser, PREFACE};
use meshwire_proto::{Moment, UnixMillis};
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::inbox::{self, Confirm, Inbox, Settled};
use crate::outbox::{Beginning, Outbox, Taken};
use crate::session::{Answer, Failure, Session, SubscriptionId};
use crate::transport::{Cause, Dial, is_undecided};
use crate::{Error, Result};
use carrier::{Carrier, Event};
pub(crate) use finish::{no_room, unreachable};
use login::Peer;
use requests::Exchange;
use trouble::Trouble;

/// Bytes waiting to be written at which no more are encoded.
const WRITE_BYTES: usize = 256 * 1024;
/// Longest that a settle waits for others. With the timer's own step of 1 ms it
/// leaves within 2 to 3 ms.
const SETTLE_DELAY: Duration = Duration::from_millis(1);
/// Far enough to mean never, near enough for every clock.
const NEVER: Duration = Duration::from_secs(86_400);

/// Who waits for the first connection, and whether a refusal ends the wait.
#[derive(Debug)]
pub(crate) struct Startup {
    pub(crate) reply: oneshot::Sender<Result<()>>,
    pub(crate) keep_trying: bool,
}

struct Inlet {
    inbox: Arc<Inbox>,
    reply: Option<oneshot::Sender<Result<Beginning>>>,
}

/// The program ends its client: by then, at the latest.
struct Draining {
    until: Instant,
    reply: Option<oneshot::Sender<Result<()>>>,
}

pub(crate) struct Driver {
    outbox: Arc<Outbox>,
    session: Session,
    dialer: Arc<dyn Dial>,
    carrier: Carrier,
    /// Where the connection goes, and until when another way waits for its login.
    peer: Peer,
    origin: Instant,
    parser: FrameParser,
    /// Whether the gateway's preface is still to be read.
    prefaced: bool,
    read: BytesMut,
    write: BytesMut,
    startup: Option<Startup>,
    filed: Option<oneshot::Receiver<()>>,
    trouble: Trouble,
    /// This machine's clock when the last login began.
    hello_at: UnixMillis,
    inlets: BTreeMap<SubscriptionId, Inlet>,
    confirms: BTreeMap<u64, oneshot::Sender<inbox::Answer>>,
    next_token: u64,
    admins: BTreeMap<u64, oneshot::Sender<Result<bytes::Bytes, Failure>>>,
    exchange: Exchange,
    draining: Option<Draining>,
    /// What the drain came to, to be told at the very end.
    farewell: Option<(oneshot::Sender<Result<()>>, Result<()>)>,
    /// When settles that wait must leave.
    settle_at: Option<Instant>,
    /// When leases of what programs have not been handed are looked after.
    leases_at: Option<Instant>,
    over: Option<Error>,
    taken: Taken,
    answers: Vec<Answer>,
    wakers: Vec<Waker>,
    settles: (Vec<Settled>, Vec<Confirm>),
}

impl Driver {
    /// `filed` resolves when the offline file is closed, if there is one.
    pub(crate) fn new(
        outbox: Arc<Outbox>,
        session: Session,
        dialer: Arc<dyn Dial>,
        startup: Option<Startup>,
        filed: Option<oneshot::Receiver<()>>,
    ) -> Self {
        Self {
            parser: parser(),
            outbox,
            session,
            dialer,
            carrier: Carrier::None,
            peer: Peer::default(),
            origin: Instant::now(),
            prefaced: false,
            read: BytesMut::new(),
            write: BytesMut::new(),
            startup,
            filed,
            trouble: Trouble::default(),
            hello_at: UnixMillis(0),
            inlets: BTreeMap::new(),
            confirms: BTreeMap::new(),
            next_token: 1,
            admins: BTreeMap::new(),
            exchange: Exchange::default(),
            draining: None,
            farewell: None,
            settle_at: None,
            leases_at: None,
            over: None,
            taken: Taken::default(),
            answers: Vec::new(),
            wakers: Vec::new(),
            settles: (Vec::new(), Vec::new()),
        }
    }

    /// Runs until the client is closed.
    pub(crate) async fn run(mut self) {
        let mut timer = pin!(sleep_until(self.origin + NEVER));
        let over = AssertUnwindSafe(poll_fn(|cx| self.poll(timer.as_mut(), cx))).catch_unwind().await;
        match over {
            Ok(()) => self.part().await,
            Err(_) => self.panicked(),
        }
    }

    /// Goes on until the client is over or nothing more can be done now.
    ///
    /// One waker for everything, and no future that is made and dropped a turn:
    /// with an event a turn that would cost as much as the event.
    fn poll(&mut self, mut timer: Pin<&mut Sleep>, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            self.take();
            self.keep_leases();
            self.session.tick(self.now());
            self.lose_patience();
            self.carry_out();
            self.tell_trouble();
            self.finish_drain();
            if self.over.is_some() {
                return Poll::Ready(());
            }
            while self.write.len() < WRITE_BYTES && self.session.transmit(&mut self.write) {}
            if let Poll::Ready(event) = self.carrier.poll(&mut self.read, &mut self.write, cx) {
                self.happened(event);
                continue;
            }
            let deadline = self.deadline();
            // A timer that is early costs one turn; setting it each turn costs more.
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            if timer.as_mut().poll(cx).is_pending() && self.outbox.wake_when_filled(cx.waker(), self.session.buffered())
            {
                return Poll::Pending;
            }
        }
    }

    fn now(&self) -> Moment {
        Moment(0) + self.origin.elapsed()
    }

    fn deadline(&self) -> Instant {
        let session = self.session.deadline().map(|at| self.origin + Duration::from_micros(at.0));
        let drain = self.draining.as_ref().map(|d| d.until);
        [session, drain, self.settle_at, self.leases_at, self.trouble.deadline(), self.peer.until]
            .into_iter()
            .flatten()
            .min()
            .unwrap_or_else(|| Instant::now() + NEVER)
    }

    fn happened(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Dialed(Ok(opened)) => self.opened(now, opened),
            Event::Dialed(Err(error)) => {
                self.carrier = Carrier::None;
                self.dial_failed(&error);
                self.session.put_off(now, error.retry_after().unwrap_or_default());
            }
            Event::Wrote => {}
            Event::Read => {
                self.session.heard(now);
                self.parse(now);
            }
            Event::Lost(_, Some(distrust)) if self.startup.is_some() => {
                let failed = self.peer.failed(Cause::Certificate(distrust));
                self.drop_link();
                self.dial_failed(&failed.into());
            }
            Event::Lost(cause, _) => {
                if !self.find_another_way(|| Cause::Ended(cause.clone()), None) {
                    self.ended_by(&cause, "the connection to the gateway ended");
                    self.session.disconnected(now);
                }
            }
        }
    }

    fn drop_link(&mut self) {
        if matches!(self.carrier, Carrier::Link(_)) && self.peer.is_welcomed() {
            self.dialer.parted();
        }
        self.carrier = Carrier::None;
        self.read.clear();
        self.write.clear();
    }

    fn parse(&mut self, now: Moment) {
        if !self.prefaced {
            let head = self.read.get(..PREFACE.len()).unwrap_or(&self.read);
            if head == PREFACE {
                drop(self.read.split_to(PREFACE.len()));
                self.prefaced = true;
            } else if is_undecided(head) {
                return;
            } else {
                return self.not_a_gateway(now);
            }
        }
        loop {
            match self.parser.next(&mut self.read) {
                Ok(None) => return,
                Ok(Some(frame)) => {
                    self.session.received(now, frame);
                    self.carry_out();
                    if matches!(self.carrier, Carrier::None) {
                        return;
                    }
                }
                Err(error) => {
                    self.session.protocol_error(now, &error.to_string());
                    return self.carry_out();
                }
            }
        }
    }
}

fn parser() -> FrameParser {
    let limit = meshwire_proto::options::MAX_FRAME_BYTES;
    FrameParser::new(u32::try_from(limit.max).unwrap_or(u32::MAX), limit.name)
}
