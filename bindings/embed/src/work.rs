//! Work for handlers of the host: what [`meshwire::Consume::run`] and [`meshwire::Serve::run_stream`] give to a function, asked for in
//! batches. Everything else of them, one key at a time, leases, deadlines, stays where it is.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use futures_util::Stream;
use meshwire::{Bytes, EventView, Result};
use meshwire_proto::EventLayout;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::operation::caught;
use crate::stopper::Stop;

/// For the highest concurrency there is; a higher one is refused where it begins.
const MOST_PLACES: usize = 2 * 65_536;

/// Something for the host's handlers.
#[derive(Debug)]
pub enum Work<T> {
    /// A handler is to begin with it.
    Begin(T),
    /// What was begun under this number is wanted no more: its lease or its requester is gone. Its handler should stop; what it still says
    /// of it is not heard.
    Lost(u64),
}

/// What handlers are given.
pub trait Given: Send + Sized + 'static {
    /// Gives it back, as no handler has begun with it; or it is this when that cannot be.
    fn give_back(self) -> Option<Self>;
}

/// Where work comes from.
#[derive(Debug)]
pub(crate) struct Workshop<T> {
    out: mpsc::Sender<Work<T>>,
    number: AtomicU64,
    open: Open,
}

/// Whether the host still has where the work comes from.
#[derive(Clone, Debug)]
pub(crate) struct Open(Arc<AtomicBool>);

impl Open {
    pub(crate) fn is_open(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// One piece of work that a handler has; dropped before its end, the host is told.
#[derive(Debug)]
pub(crate) struct Bench<T> {
    number: u64,
    /// The place for that word. `None`: it ended, or the host has closed it.
    lost: Option<mpsc::OwnedPermit<Work<T>>>,
}

impl<T> Workshop<T> {
    /// Hands out a piece of work, made with its number.
    pub(crate) async fn begin(&self, make: impl FnOnce(u64) -> T) -> Bench<T> {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        // An error means that the host has closed it: then what is waited for is dropped here.
        let lost = self.out.clone().reserve_owned().await.ok();
        if let Ok(place) = self.out.reserve().await {
            place.send(Work::Begin(make(number)));
        }
        Bench { number, lost }
    }

    pub(crate) fn open(&self) -> Open {
        self.open.clone()
    }

    /// What a handler says, heard while the host holds the work. Behind that this waits for its end, which is on its way: it may say
    /// nothing any more, even if it was just being polled.
    pub(crate) async fn hear<S>(&self, says: impl Future<Output = S>) -> S {
        let said = says.await;
        if self.out.is_closed() {
            std::future::pending::<()>().await;
        }
        said
    }
}

impl<T> Bench<T> {
    /// The handler has said what there is to say.
    pub(crate) fn end(mut self) {
        self.lost = None;
    }
}

impl<T> Drop for Bench<T> {
    fn drop(&mut self) {
        if let Some(place) = self.lost.take() {
            place.send(Work::Lost(self.number));
        }
    }
}

/// The work of one consume or serve, and what that came to.
#[derive(Debug)]
pub(crate) struct Works<T> {
    work: mpsc::Receiver<Work<T>>,
    outcome: oneshot::Receiver<Result<()>>,
    stop: Arc<Stop>,
    open: Open,
    over: bool,
    run: AbortHandle,
}

impl<T: Given> Works<T> {
    /// Runs, in a task, what calls the workshop, at most so often at once.
    pub(crate) fn begin<F>(stop: &Arc<Stop>, on: &Handle, concurrency: u64, run: impl FnOnce(Workshop<T>) -> F) -> Self
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        // A piece of work begins, and may be lost.
        let places = usize::try_from(concurrency.saturating_mul(2)).unwrap_or(usize::MAX);
        let (out, work) = mpsc::channel(places.clamp(2, MOST_PLACES));
        let (say, outcome) = oneshot::channel();
        let open = Open(Arc::new(AtomicBool::new(true)));
        let shop = Workshop { out, number: AtomicU64::new(1), open: open.clone() };
        let run = caught(stop.operation(), run(shop));
        // An error means that the host has closed it.
        let mut run = Box::pin(async move { drop(say.send(run.await)) });
        // It says here what it says first, that it consumes or serves: what one client says arrives in its order.
        let begun = {
            let _inside = on.enter();
            run.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        };
        let task = on.spawn(async move {
            if begun.is_pending() {
                run.await;
            }
        });
        Self { work, outcome, stop: Arc::clone(stop), open, over: false, run: task.abort_handle() }
    }
}

impl<T: Given> Stream for Works<T> {
    type Item = Result<Work<T>>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        while let Some(work) = ready!(self.work.poll_recv(cx)) {
            let work = match work {
                Work::Begin(given) if self.stop.is_used() => given.give_back().map(Work::Begin),
                work => Some(work),
            };
            if let Some(work) = work {
                return Poll::Ready(Some(Ok(work)));
            }
        }
        if self.over {
            return Poll::Ready(None);
        }
        let outcome = ready!(Pin::new(&mut self.outcome).poll(cx));
        self.over = true;
        Poll::Ready(match outcome {
            Ok(Err(error)) => Some(Err(error)),
            // An error means that the runtime ends.
            Ok(Ok(())) | Err(_) => None,
        })
    }
}

impl<T> Drop for Works<T> {
    fn drop(&mut self) {
        // What is said from here on is not heard.
        self.open.0.store(false, Ordering::Release);
        // Not before a poll that goes on has ended: that hears nothing either, as the channel is closed with this.
        self.run.abort();
    }
}

/// An event that lives on without what it came in, as a delivery that was settled. It keeps the buffer that it was received in, about
/// 128 KiB.
#[derive(Clone, Debug)]
pub struct Readable {
    bytes: Bytes,
    layout: EventLayout,
}

impl Readable {
    /// Of an event that was read before.
    pub(crate) fn new(bytes: Bytes, view: EventView<'_>) -> Self {
        let layout = view.layout();
        Self { bytes, layout }
    }

    /// The event.
    #[must_use]
    #[expect(clippy::unreachable, reason = "the layout is that of these bytes")]
    pub fn event(&self) -> EventView<'_> {
        match self.layout.view(&self.bytes) {
            Some(view) => view,
            None => unreachable!("the layout of an event is not that of its bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use std::sync::mpsc::{SyncSender, sync_channel};

    use futures_util::StreamExt as _;
    use tokio::runtime::Builder;

    use super::*;

    /// Tells, when it is dropped, whether something was heard.
    struct Told(bool, SyncSender<bool>);

    impl Drop for Told {
        fn drop(&mut self) {
            self.1.send(self.0).unwrap();
        }
    }

    impl Given for oneshot::Sender<()> {
        fn give_back(self) -> Option<Self> {
            self.send(()).unwrap();
            None
        }
    }

    #[test]
    fn what_no_handler_has_begun_with_when_it_stops_is_given_back() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let ((stop, stopped), (tell, both)) = (Stop::new("consume"), sync_channel(1));
        let mut works = Works::begin(&stop, runtime.handle(), 2, |shop| async move {
            let ((first, _first), (second, given_back)) = (oneshot::channel(), oneshot::channel());
            let benches = [shop.begin(|_| first).await, shop.begin(|_| second).await];
            tell.send(()).unwrap();
            stopped.await;
            given_back.await.unwrap();
            benches.into_iter().for_each(Bench::end);
            Ok(())
        });
        let Some(Ok(Work::Begin(_begun))) = runtime.block_on(works.next()) else { panic!("no work") };
        both.recv().unwrap();
        stop.stop().unwrap();
        assert!(runtime.block_on(works.next()).is_none());
    }

    #[test]
    fn what_a_handler_says_when_its_work_is_gone_is_not_heard_though_it_was_just_polled() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let ((go_on, wait), (tell, heard)) = (sync_channel::<()>(1), sync_channel(1));
        let (stop, _) = Stop::new("consume");
        let mut works = Works::begin(&stop, runtime.handle(), 1, |shop| async move {
            let mut told = Told(false, tell);
            // The first poll is this thread's.
            tokio::task::yield_now().await;
            let (end, ended) = oneshot::channel::<()>();
            let bench = shop.begin(|_| end).await;
            wait.recv().unwrap();
            told.0 = shop.hear(ended).await.is_ok();
            bench.end();
            Ok(())
        });
        let Some(Ok(Work::Begin(end))) = runtime.block_on(works.next()) else { panic!("no work") };
        drop(works);
        end.send(()).unwrap();
        go_on.send(()).unwrap();
        assert!(!heard.recv().unwrap());
    }
}
