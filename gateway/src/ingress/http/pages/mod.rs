//! Subprotocol `meshwire.v1.json` on `/v1/ws`: calls as JSON in text messages, for pages and scripts.
//!
//! `{"id", "op", ...}` is answered `{"id", "ok"}` or `{"id", "error"}`; a subscription's deliveries are the objects of the NDJSON stream with
//! `subscription`, the id that it was made with. Calls run beside each other; publishes begin in the order in which they came.
//!
//! - [`asked`]: what is asked, and how it is answered; [`room`]: how many calls may be open;
//! - [`subscriptions`]: the streams of one connection.

mod asked;
mod room;
mod subscriptions;

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use meshwire_proto::ErrorKind;
use tokio::time::{Instant, sleep_until, timeout};

use super::deadline::late;
use super::websocket::{End, Received, Socket};
use super::{Door, Problem, delivery};
use crate::ingress::receiving::Held;
use crate::ingress::{Shutdown, access};
use crate::mesh::Refusal;
use asked::{Answering, Done, PageCall, answer};
use room::Room;
use subscriptions::Subscriptions;

/// Most deliveries that are written before anything else is looked at.
const MOST_WRITTEN: usize = 64;

/// How long calls that were begun are waited for when the gateway closes. More than a sync takes.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// Serves one connection to its end.
pub(super) async fn serve(door: Door, mut socket: Socket) {
    let most = door.native.config.max_subscriptions;
    let (calls, room) = (FuturesUnordered::new(), Room::default());
    let mut page = Page { calls, room, subscriptions: Subscriptions::new(most), door };
    let end = match page.run(&mut socket).await {
        Ok(()) => {
            // The last settlement is what the gateway waited for: it is answered.
            let _ = timeout(LAST_ANSWERS, page.answer_all(&mut socket)).await;
            End::stopping()
        }
        Err(end) => end,
    };
    if end.is_in_order() {
        page.subscriptions.leave();
    }
    drop(page);
    socket.end(end).await;
}

struct Page {
    door: Door,
    calls: FuturesUnordered<Answering>,
    room: Room,
    subscriptions: Subscriptions,
}

impl Page {
    /// Runs until the gateway closes. That it is about to is said once.
    ///
    /// # Errors
    /// Why it ends before.
    async fn run(&mut self, socket: &mut Socket) -> Result<(), End> {
        let (mut shutdown, mut awaited) = (self.door.shutdown.clone(), Shutdown::Draining);
        loop {
            let full = self.room.full_until(Instant::now());
            tokio::select! {
                biased;
                () = async { drop(shutdown.wait_for(|shutdown| *shutdown >= awaited).await) } => {
                    if awaited == Shutdown::Closing {
                        return Ok(());
                    }
                    awaited = Shutdown::Closing;
                    socket.send(delivery::stopping(&self.door.calls)).await?;
                }
                Some(done) = self.calls.next(), if !self.calls.is_empty() => {
                    let text = self.done(done);
                    socket.send(text).await?;
                }
                message = socket.next(), if full.is_none() => match message? {
                    Received::Binary(_) => return Err(End::wrong_kind("calls are text messages in this subprotocol")),
                    Received::Text(text) => {
                        socket.let_go();
                        if let Some(text) = self.call(&text) {
                            socket.send(text).await?;
                        }
                        // However fast calls come, what is delivered has its turn, and what has ended gives back what it held.
                        if let Some(text) = self.subscriptions.next().now_or_never().flatten() {
                            self.deliver(text, socket).await?;
                        }
                    }
                },
                () = async { match full { Some(until) => sleep_until(until).await, None => pending().await } } => {}
                text = self.subscriptions.next(), if !self.subscriptions.is_empty() => if let Some(text) = text {
                    self.deliver(text, socket).await?;
                },
            }
        }
    }

    /// Answers what was begun.
    async fn answer_all(&mut self, socket: &mut Socket) -> Result<(), End> {
        while let Some(done) = self.calls.next().await {
            let text = self.done(done);
            socket.send(text).await?;
        }
        Ok(())
    }

    /// Writes a delivery, and those behind it that are here already.
    async fn deliver(&mut self, mut text: String, socket: &mut Socket) -> Result<(), End> {
        for _ in 0..MOST_WRITTEN {
            socket.feed(Received::Text(text.into())).await?;
            match self.subscriptions.next().now_or_never().flatten() {
                Some(next) => text = next,
                None => return socket.flush().await,
            }
        }
        socket.send(text).await
    }

    /// Begins a call, or gives its answer at once.
    fn call(&mut self, text: &str) -> Option<String> {
        let (asked, fields) = match asked::read(text) {
            Ok(asked) => asked,
            Err((id, problem)) => return Some(self.error(&id, &problem)),
        };
        let held = match self.room.check(&asked.op).and_then(|()| self.hold(&asked.op, text)) {
            Ok(held) => held,
            Err(refusal) => return Some(self.error(&asked.id, &refusal.into())),
        };
        let (calls, caller) = (Arc::clone(&self.door.calls), self.door.caller("websocket"));
        let answered = match asked.op.as_str() {
            "publish" => asked::publish(&fields, calls, caller).map(Some),
            "request" => asked::request(&fields, calls, caller, asked.timeout).map(Some),
            "settle" => asked::settle(&fields, calls, caller).map(Some),
            "subscribe" => asked::subscribe(&fields, calls, caller)
                .and_then(|begun| self.subscriptions.room_for(&asked.id).map(|()| Some(begun))),
            "credit" => {
                asked::credit(&fields).and_then(|(id, events)| self.subscriptions.credit(&id, events)).map(|()| None)
            }
            "unsubscribe" => asked::unsubscribe(&fields).and_then(|id| self.subscriptions.end(&id)).map(|()| None),
            op => {
                let text = format!(
                    "there is no op {op:?}; there are publish, request, subscribe, settle, credit, unsubscribe"
                );
                Err(Problem::new(ErrorKind::Invalid, text))
            }
        };
        match answered {
            Ok(Some(answering)) => {
                let ends = asked.timeout.map(|time| Instant::now() + time);
                let done = async move {
                    let _held = held;
                    match ends {
                        None => answering.await,
                        Some(ends) => access::within(ends, answering).await.unwrap_or_else(|_| Err(late().into())),
                    }
                };
                self.room.begun(&asked.op);
                self.calls.push(Box::pin(done.map(|done| (asked, done))));
                None
            }
            Ok(None) => Some(answer(&asked.id, "{}")),
            Err(problem) => Some(self.error(&asked.id, &problem)),
        }
    }

    /// What a call holds until it is answered: what is made of its text is as much. Of a request the mesh has a copy, which it counts.
    fn hold(&self, op: &str, text: &str) -> Result<Held, Refusal> {
        let mut held = self.door.share.hold();
        if op != "request" {
            held.grow_to(text.len() as u64)?;
        }
        Ok(held)
    }

    fn error(&self, id: &str, problem: &Problem) -> String {
        self.door.native.mesh().counts().told(problem.kind());
        asked::error(id, problem)
    }

    fn done(&mut self, (asked, done): (PageCall, Result<Done, Problem>)) -> String {
        self.room.answered(&asked.op);
        match done {
            Ok(Done::Answer(ok)) => answer(&asked.id, &ok),
            Ok(Done::Joined(consumer)) => {
                self.subscriptions.add(&asked.id, Arc::clone(&self.door.calls), *consumer);
                answer(&asked.id, "{}")
            }
            Err(problem) => {
                if asked.op == "subscribe" {
                    self.subscriptions.give_back(&asked.id);
                }
                self.error(&asked.id, &problem)
            }
        }
    }
}
