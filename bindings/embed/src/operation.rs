//! A call on its way.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt as _;
use meshwire::{Error, ErrorKind, Result, Retry};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::ask::Outcome;
use crate::queue::Ticket;

/// A call that was begun. Dropping it lets the call go on.
#[derive(Debug)]
pub struct Operation {
    cancel: oneshot::Sender<()>,
}

impl Operation {
    /// Ends the call with `CANCELLED`, unless it has come to something already: either way there is one completion. What had been
    /// handed to the session goes on, and the error then says that its outcome is not known.
    pub fn cancel(self) {
        // An error means that it is over.
        let _ = self.cancel.send(());
    }
}

/// Begins a call, which ends with its ticket. `leaves`: bytes may have left when it is cancelled.
pub(crate) fn begin<F>(on: &Handle, ticket: Ticket, leaves: bool, call: F) -> Operation
where
    F: Future<Output = Result<Outcome>> + Send + 'static,
{
    let (cancel, cancelled) = oneshot::channel();
    let operation = ticket.operation();
    on.spawn(async move {
        let cancelled = async {
            if cancelled.await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let result = tokio::select! {
            biased;
            result = caught(operation, call) => result,
            () = cancelled => Err(by_host(operation, leaves)),
        };
        ticket.end(result);
    });
    Operation { cancel }
}

fn by_host(operation: &'static str, leaves: bool) -> Error {
    if leaves {
        let text = "the call was cancelled; outcome unknown: what the session had taken goes on";
        return Error::of_host(ErrorKind::Cancelled, operation, text).with_retry_class(Retry::UnknownOutcome);
    }
    Error::of_host(ErrorKind::Cancelled, operation, "the call was cancelled").with_retry_class(Retry::Now)
}

/// A call on its way whose panic is an error.
pub(crate) async fn caught<T>(operation: &'static str, call: impl Future<Output = Result<T>>) -> Result<T> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(internal(operation, &*panic)))
}

/// What a host does by a call that ends in its own thread: a panic may not reach the host, and is an error.
///
/// # Errors
/// Those of the call; `INTERNAL` when it panics.
pub fn guarded<T>(operation: &'static str, call: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or_else(|panic| Err(internal(operation, &*panic)))
}

fn internal(operation: &'static str, panic: &(dyn Any + Send)) -> Error {
    let said = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    let said = said.unwrap_or("it said nothing");
    let text = format!("{operation} panicked, which is a defect of this library: {said}");
    Error::of_host(ErrorKind::Internal, operation, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]
    use tokio::runtime::Builder;

    use super::*;
    use crate::queue::Queue;

    #[test]
    fn a_panic_is_the_completion_of_its_call_and_the_runtime_goes_on() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let queue = Queue::new(2).unwrap();
        let begin_call = |tag, call| begin(runtime.handle(), queue.begin(tag, "publish").unwrap(), true, call);
        let panics: std::pin::Pin<Box<dyn Future<Output = Result<Outcome>> + Send>> =
            Box::pin(async { panic!("{} it", "planned") });
        drop(begin_call(1, panics));
        drop(begin_call(2, Box::pin(async { Ok(Outcome::Done) })));
        let mut taken = Vec::new();
        while taken.len() < 2 {
            queue.take(2, None, &mut taken).unwrap();
        }
        taken.sort_by_key(|completion| completion.tag);
        let error = taken.remove(0).result.unwrap_err();
        assert_eq!((error.kind(), error.operation()), (ErrorKind::Internal, "publish"));
        assert!(error.message().contains("planned it"), "{error}");
        assert!(matches!(taken.remove(0).result, Ok(Outcome::Done)));
    }

    #[test]
    fn a_call_whose_runtime_ends_first_is_closed() {
        let runtime = Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let queue = Queue::new(1).unwrap();
        let operation = begin(runtime.handle(), queue.begin(1, "flush").unwrap(), false, std::future::pending());
        runtime.shutdown_background();
        let mut taken = Vec::new();
        while taken.is_empty() {
            queue.take(1, None, &mut taken).unwrap();
        }
        assert_eq!(taken.remove(0).result.unwrap_err().kind(), ErrorKind::Closed);
        operation.cancel();
    }
}
