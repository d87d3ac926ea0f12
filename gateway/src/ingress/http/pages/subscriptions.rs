//! The subscriptions of one connection.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{AbortHandle, SelectAll, abortable, unfold};
use futures_util::{Stream, StreamExt as _};
use meshwire_proto::{ErrorKind, options};

use crate::ingress::calls::{Calls, Consumer, Crediting};
use crate::ingress::http::{Problem, delivery};
use crate::mesh::Credit;

/// A message, or `None`: this subscription has ended.
type Item = (String, Option<String>);

pub(super) struct Subscriptions {
    most: usize,
    /// Those that are asked for among them.
    known: BTreeMap<String, Option<(AbortHandle, Crediting)>>,
    streams: SelectAll<Pin<Box<dyn Stream<Item = Item> + Send>>>,
}

impl Subscriptions {
    pub(super) fn new(most: usize) -> Self {
        Self { most, known: BTreeMap::new(), streams: SelectAll::new() }
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
        let (crediting, name) = (consumer.crediting(), id.to_owned());
        let stream = unfold(Some(consumer), move |consumer| {
            let (calls, id) = (Arc::clone(&calls), name.clone());
            async move {
                let mut consumer = consumer?;
                match consumer.next_to_the_end().await {
                    Ok(Some(delivered)) => {
                        let mut object = String::new();
                        delivery::write(&calls, &delivered, &mut object);
                        let members = object.get(1..).unwrap_or_default();
                        Some((Some(format!("{{\"subscription\":{id},{members}")), Some(consumer)))
                    }
                    // The connection is told.
                    Ok(None) => None,
                    Err(refusal) => {
                        calls.mesh().counts().told(refusal.kind);
                        let problem = Problem::from(refusal).json();
                        Some((Some(format!("{{\"subscription\":{id},\"error\":{problem}}}")), None))
                    }
                }
            }
        });
        let (stream, abort) = abortable(stream);
        let (of, end) = (id.to_owned(), id.to_owned());
        let ended = futures_util::stream::once(async move { (end, None) });
        self.known.insert(id.to_owned(), Some((abort, crediting)));
        self.streams.push(Box::pin(stream.map(move |text| (of.clone(), text)).chain(ended)));
    }

    /// The next message; `None`: there is no subscription.
    pub(super) async fn next(&mut self) -> Option<String> {
        loop {
            match self.streams.next().await? {
                (_, Some(text)) => return Some(text),
                (id, None) => drop(self.known.remove(&id)),
            }
        }
    }

    fn find(&self, id: &str) -> Result<&(AbortHandle, Crediting), Problem> {
        let found = self.known.get(id).and_then(Option::as_ref);
        found.ok_or_else(|| Problem::new(ErrorKind::NotFound, format!("there is no subscription {id}")))
    }

    /// Sets a subscription's credit anew.
    ///
    /// # Errors
    /// `NOT_FOUND`, `DENIED`.
    pub(super) fn credit(&self, id: &str, events: u32) -> Result<(), Problem> {
        let (_, crediting) = self.find(id)?;
        crediting.set(Credit { events, bytes: options::PREFETCH_BYTES.default }).map_err(Problem::from)
    }

    /// Ends a subscription: what it held goes back.
    ///
    /// # Errors
    /// `NOT_FOUND`.
    pub(super) fn end(&self, id: &str) -> Result<(), Problem> {
        self.find(id).map(|(abort, _)| abort.abort())
    }
}
