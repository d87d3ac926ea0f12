//! Requests and replies: asking, and answering as the runner says.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use meshwire::{Error, Event, Replies, ReplySender, Request};
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::command;
use crate::event::{self, EventSpec};
use crate::room::{Room, absent};

/// What the runner wants of the handler of a request.
enum Say {
    Reply(Event, oneshot::Sender<Result<(), Error>>),
    End(Result<(), String>),
}

/// What the runner says to one request that it has not ended; more of it waits.
const AHEAD: usize = 64;

/// Requests that came to one who serves, by rising number.
pub(crate) struct Serving {
    name: String,
    lines: mpsc::Sender<Value>,
    open: Mutex<Table>,
    stop: Semaphore,
}

#[derive(Default)]
struct Table {
    last: u64,
    handlers: HashMap<u64, mpsc::Sender<Say>>,
}

/// Tells when a handler is dropped before the runner has ended its request.
struct Watch<'a> {
    serving: &'a Serving,
    n: u64,
    ended: bool,
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        self.serving.table().handlers.remove(&self.n);
        if !self.ended {
            // A full queue of lines is that of a runner that reads nothing.
            let line = json!({"ev": "cancelled", "on": self.serving.name, "n": self.n});
            let _ = self.serving.lines.try_send(line);
        }
    }
}

impl Serving {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn handle(&self, request: &Request, replies: &ReplySender) -> Result<(), String> {
        let (handler, mut said) = mpsc::channel(AHEAD);
        let n = {
            let mut table = self.table();
            table.last += 1;
            let n = table.last;
            table.handlers.insert(n, handler);
            n
        };
        let mut watch = Watch { serving: self, n, ended: false };
        let mut line = event::event(&request.event());
        line.insert("ev".to_owned(), "asked".into());
        line.insert("on".to_owned(), self.name.as_str().into());
        line.insert("n".to_owned(), n.into());
        line.insert("stream".to_owned(), request.wants_stream().into());
        let _ = self.lines.send(line.into()).await;
        loop {
            match said.recv().await {
                Some(Say::Reply(event, answer)) => drop(answer.send(replies.send(event).await)),
                Some(Say::End(how)) => {
                    watch.ended = true;
                    return how;
                }
                None => return Err("the runner let go of the request".to_owned()),
            }
        }
    }
}

/// A reply stream that is read, or a request that may be cancelled.
pub(crate) enum Asked {
    Stream(Arc<tokio::sync::Mutex<Option<Replies>>>),
    One(oneshot::Sender<()>),
}

impl Room {
    pub(crate) fn serve(&self, spec: command::Serve) -> Result<Value, Error> {
        let mut serve = self.client(&spec.on)?.serve(&spec.topic).concurrency(spec.concurrency.unwrap_or(16));
        if let Some(group) = spec.group {
            serve = serve.group(group);
        }
        let serving = Arc::new(Serving {
            name: spec.name.clone(),
            lines: self.lines().clone(),
            open: Mutex::default(),
            stop: Semaphore::new(0),
        });
        self.add_serving(spec.name, Arc::clone(&serving));
        tokio::task::spawn_local(async move {
            let stop = async { drop(serving.stop.acquire().await) };
            let handler = async |request: &Request, replies: &ReplySender| serving.handle(request, replies).await;
            let ended = serve.until(stop).run_stream(handler).await;
            let err = ended.err().map(|error| event::error(&error));
            let _ = serving.lines.send(json!({"ev": "end", "on": serving.name, "err": err})).await;
        });
        Ok(json!({}))
    }

    pub(crate) fn stop_serving(&self, on: &str) -> Result<Value, Error> {
        self.serving(on)?.stop.add_permits(1);
        Ok(json!({}))
    }

    fn handlers(&self, on: &str, n: &[u64]) -> Result<Vec<mpsc::Sender<Say>>, Error> {
        let serving = self.serving(on)?;
        let table = serving.table();
        let over = |n: &u64| Error::from(meshwire::EventError::Json(format!("request {n} is over")));
        n.iter().map(|n| table.handlers.get(n).cloned().ok_or_else(|| over(n))).collect()
    }

    /// Answered once the requester takes it.
    pub(crate) async fn reply(&self, on: &str, n: &[u64], spec: EventSpec) -> Result<Value, Error> {
        let event = spec.event()?;
        for handler in self.handlers(on, n)? {
            let (answer, sent) = oneshot::channel();
            let _ = handler.send(Say::Reply(event.clone(), answer)).await;
            sent.await.unwrap_or_else(|_| Err(absent("handler that is not dropped")))?;
        }
        Ok(json!({}))
    }

    pub(crate) async fn end(&self, on: &str, n: &[u64], reason: Option<String>) -> Result<Value, Error> {
        for handler in self.handlers(on, n)? {
            let _ = handler.send(Say::End(reason.clone().map_or(Ok(()), Err))).await;
        }
        Ok(json!({}))
    }

    pub(crate) async fn request(&self, spec: command::Request) -> Result<Value, Error> {
        let mut request = self.client(&spec.on)?.request(&spec.topic, spec.event.event()?).retry(spec.retry);
        if let Some(timeout) = spec.timeout_ms {
            request = request.timeout(Duration::from_millis(timeout));
        }
        let (cancel, mut cancelled) = oneshot::channel();
        match spec.name {
            Some(name) => self.add_asked(name, Asked::One(cancel)),
            // Nobody cancels it.
            None => cancelled.close(),
        }
        let reply = async { request.await };
        tokio::pin!(reply);
        let reply = tokio::select! {
            reply = &mut reply => reply?,
            Ok(()) = cancelled => return Ok(json!({"cancelled": true})),
        };
        Ok(event::event(&reply.event()).into())
    }

    pub(crate) async fn request_stream(&self, spec: command::Request) -> Result<Value, Error> {
        let mut request = self.client(&spec.on)?.request_stream(&spec.topic, spec.event.event()?).retry(spec.retry);
        if let Some(timeout) = spec.timeout_ms {
            request = request.timeout(Duration::from_millis(timeout));
        }
        if let Some(credit) = spec.credit {
            request = request.credit(credit);
        }
        let replies = Arc::new(tokio::sync::Mutex::new(Some(request.await?)));
        self.add_asked(spec.name.unwrap_or_default(), Asked::Stream(replies));
        Ok(json!({}))
    }

    /// The next reply of a stream, or that it has ended.
    pub(crate) async fn next_reply(&self, on: &str) -> Result<Value, Error> {
        let stream = self.stream(on)?;
        let mut stream = stream.lock().await;
        let replies = stream.as_mut().ok_or_else(|| absent(on))?;
        Ok(match replies.try_next().await? {
            Some(reply) => event::event(&reply.event()).into(),
            None => json!({"end": true}),
        })
    }

    /// Lets go of a request before its last reply.
    pub(crate) async fn cancel(&self, on: &str) -> Result<Value, Error> {
        match self.take_asked(on)? {
            Asked::One(cancel) => drop(cancel.send(())),
            Asked::Stream(stream) => drop(stream.lock().await.take()),
        }
        Ok(json!({}))
    }
}
