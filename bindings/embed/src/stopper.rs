//! Stops what consumes or serves, from anywhere.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use meshwire::Result;
use tokio::sync::oneshot;

use crate::local::Local;

/// What a consume or serve, the call of that name, is stopped with.
#[derive(Debug)]
pub(crate) struct Stop {
    operation: &'static str,
    used: AtomicBool,
    stop: Local<Mutex<Option<oneshot::Sender<()>>>>,
}

impl Stop {
    /// It, and what ends when it is used.
    pub(crate) fn new(operation: &'static str) -> (Arc<Self>, impl Future<Output = ()> + Send + 'static) {
        let (stop, stopped) = oneshot::channel();
        let stopped = async {
            // An error means that it was used, or the host has closed it.
            let _ = stopped.await;
        };
        (Arc::new(Self { operation, used: AtomicBool::new(false), stop: Local::new(Mutex::new(Some(stop))) }), stopped)
    }

    pub(crate) const fn operation(&self) -> &'static str {
        self.operation
    }

    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub(crate) fn stop(&self) -> Result<()> {
        let stop = self.stop.get(self.operation)?;
        self.used.store(true, Ordering::Release);
        drop(stop.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }

    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }
}

/// Stops a [`Consumer`](crate::Consumer) or [`Responder`](crate::Responder) while there is one, and does not keep it.
#[derive(Clone, Debug)]
pub struct Stopper(pub(crate) Weak<Stop>);

impl Stopper {
    /// As [`Held::stop`](crate::Held::stop). Nothing where it is gone.
    ///
    /// # Errors
    /// `CLOSED` in a child of `fork`.
    pub fn stop(&self) -> Result<()> {
        self.0.upgrade().map_or(Ok(()), |stop| stop.stop())
    }

    /// Whether what it stops is gone.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}
