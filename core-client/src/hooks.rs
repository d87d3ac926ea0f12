//! What a program wants to see of every publish and every delivery of a client: tracing, stamps, checks.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

use meshwire_proto::{ErrorKind, Event, Retry, TimedEvent};

use crate::consume::panic_text;
use crate::{Delivery, Error, Result};

/// Any error; `?` makes it of all that are one.
pub(crate) type Refusal = Box<dyn std::error::Error + Send + Sync>;
type OnPublish = Box<dyn Fn(&str, Event) -> Result<Event, Refusal> + Send + Sync>;
type OnDelivery = Box<dyn Fn(&Delivery) + Send + Sync>;
type OnSettle = Box<dyn Fn(&Delivery, SettledAs) + Send + Sync>;

/// What became of a delivery, for [`Connect::on_settle`](crate::Connect::on_settle).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettledAs {
    /// Done.
    Ack,
    /// To come again.
    Nack,
    /// Never again.
    Reject,
    /// Nothing was said: it was dropped.
    Dropped,
}

/// The hooks of a client. Without one a call costs a look at a pointer.
#[derive(Default)]
pub(crate) struct Hooks {
    pub(crate) publish: Option<OnPublish>,
    pub(crate) delivery: Option<OnDelivery>,
    pub(crate) settle: Option<OnSettle>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let set = [self.publish.is_some(), self.delivery.is_some(), self.settle.is_some()];
        f.debug_tuple("Hooks").field(&set).finish()
    }
}

fn panicked(operation: &'static str, hook: &str, panic: &(dyn Any + Send)) -> Error {
    let text = panic_text(panic).replacen("the handler", hook, 1);
    Error::new(ErrorKind::Internal, operation, text)
}

impl Hooks {
    /// The event as it is to be published.
    pub(crate) fn publish(&self, topic: &str, event: TimedEvent) -> Result<TimedEvent> {
        let Some(hook) = &self.publish else {
            return Ok(event);
        };
        match catch_unwind(AssertUnwindSafe(|| event.try_map(|event| hook(topic, event)))) {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(refusal)) => Err(refused(refusal).with("topic", topic)),
            // The event is gone with it, and nothing of it left.
            Err(panic) => Err(panicked("publish", "the on_publish hook", &*panic)
                .with_retry(Retry::Never, None)
                .with("topic", topic)),
        }
    }

    pub(crate) fn delivery(&self, delivery: &Delivery) -> Result<()> {
        let Some(hook) = &self.delivery else {
            return Ok(());
        };
        catch_unwind(AssertUnwindSafe(|| hook(delivery))).map_err(|panic| {
            panicked("receive", "the on_delivery hook", &*panic)
                .with("topic", delivery.topic())
                .with("position", delivery.position().to_string())
        })
    }

    pub(crate) fn settle(&self, delivery: &Delivery, settled: SettledAs) {
        let Some(hook) = &self.settle else {
            return;
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| hook(delivery, settled))) {
            // What was said of the delivery holds.
            let error = panicked("settle", "the on_settle hook", &*panic);
            tracing::error!(%error, topic = delivery.topic(), "a hook failed");
        }
    }
}

/// A refusal that is one of our errors stays what it is.
fn refused(refusal: Refusal) -> Error {
    match refusal.downcast::<Error>() {
        Ok(error) => error.during("publish"),
        Err(other) => {
            let message = format!("the on_publish hook refused the event: {other}");
            Error::new(ErrorKind::Invalid, "publish", message).with_cause(other)
        }
    }
}
