//! The subscriptions of one connection.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{AbortHandle, SelectAll, abortable, once, unfold};
use futures_util::{Stream, StreamExt as _};
use meshwire_proto::{ErrorKind, options};

use crate::ingress::calls::{Calls, Consumer, ConsumerHandle};
use crate::ingress::http::{Problem, delivery};
use crate::mesh::Credit;

/// A message.
enum Item {
    Text(String),
    /// This subscription has ended.
    Ended(String, u64),
}

/// A subscription that stands.
struct Standing {
    /// Which one of those that had its id.
    number: u64,
    abort: AbortHandle,
    handle: ConsumerHandle,
}

pub(super) struct Subscriptions {
    most: usize,
    /// Of the next one.
    number: u64,
    /// By id; those that are asked for among them.
    known: BTreeMap<String, Option<Standing>>,
    streams: SelectAll<Pin<Box<dyn Stream<Item = Item> + Send>>>,
}

impl Subscriptions {
    pub(super) fn new(most: usize) -> Self {
        Self { most, number: 0, known: BTreeMap::new(), streams: SelectAll::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// Takes room for one more.
    ///
    /// # Errors
    /// `INVALID`: its id is in use. `TOO_LARGE`: there are as many as may be.
    pub(super) fn room_for(&mut self, id: &str) -> Result<(), Problem> {
        if self.known.contains_key(id) {
            return Err(Problem::new(ErrorKind::Invalid, format!("subscription {id} is there already")));
        }
        if self.known.len() >= self.most {
            let text = format!("this connection has {} subscriptions; end one, or raise max_subscriptions", self.most);
            return Err(Problem::new(ErrorKind::TooLarge, text));
        }
        self.known.insert(id.to_owned(), None);
        Ok(())
    }

    /// It was refused.
    pub(super) fn give_back(&mut self, id: &str) {
        if self.known.get(id).is_some_and(Option::is_none) {
            self.known.remove(id);
        }
    }

    pub(super) fn add(&mut self, id: &str, calls: Arc<Calls>, consumer: Consumer) {
        let (handle, name) = (consumer.handle(), id.to_owned());
        let stream = unfold(Some(consumer), move |consumer| {
            let (calls, id) = (Arc::clone(&calls), name.clone());
            async move {
                let mut consumer = consumer?;
                match consumer.next_to_the_end().await {
                    Ok(Some(delivered)) => {
                        let mut object = String::new();
                        delivery::write(&calls, &delivered, &mut object);
                        let members = object.get(1..).unwrap_or_default();
                        Some((format!("{{\"subscription\":{id},{members}"), Some(consumer)))
                    }
                    // The connection is told.
                    Ok(None) => None,
                    Err(refusal) => {
                        calls.mesh().counts().told(refusal.kind);
                        let problem = Problem::from(refusal).json();
                        Some((format!("{{\"subscription\":{id},\"error\":{problem}}}"), None))
                    }
                }
            }
        });
        let (stream, abort) = abortable(stream);
        let (id, number) = (id.to_owned(), self.number);
        self.number += 1;
        self.known.insert(id.clone(), Some(Standing { number, abort, handle }));
        let ended = once(async move { Item::Ended(id, number) });
        self.streams.push(Box::pin(stream.map(Item::Text).chain(ended)));
    }

    /// The next message; `None`: there is no subscription.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            match self.streams.next().await? {
                Item::Text(text) => return Some(text),
                // Another may have its id by now.
                Item::Ended(id, number) => {
                    let is_this = |known: &Option<Standing>| known.as_ref().is_some_and(|known| known.number == number);
                    if self.known.get(&id).is_some_and(is_this) {
                        self.known.remove(&id);
                    }
                }
            }
        }
    }

    fn find(&self, id: &str) -> Result<&Standing, Problem> {
        let found = self.known.get(id).and_then(Option::as_ref);
        found.ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("there is no subscription {id}")))
    }

    /// Sets a subscription's credit anew.
    ///
    /// # Errors
    /// `NOT_FOUND`, `DENIED`.
    pub(super) fn credit(&self, id: &str, events: u32) -> Result<(), Problem> {
        self.find(id)?
            .handle
            .set_credit(Credit { events, bytes: options::PREFETCH_BYTES.default })
            .map_err(Problem::from)
    }

    /// Ends a subscription in order: its id is free, and what it held has gone back.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub(super) fn end(&mut self, id: &str) -> Result<(), Problem> {
        let standing = self.find(id)?;
        standing.handle.leave();
        standing.abort.abort();
        self.known.remove(id);
        Ok(())
    }

    /// Ends all of them in order. Dropped, they were lost.
    pub(super) fn leave(&self) {
        self.known.values().flatten().for_each(|standing| standing.handle.leave());
    }
}
