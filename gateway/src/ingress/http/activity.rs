//! Requests that are going on in one connection: without any for long, it is closed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Error;
use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

/// Two additions a request, and nobody is woken.
#[derive(Debug, Default)]
pub(super) struct Activity {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// A request that is going on until this is dropped.
#[derive(Debug)]
pub(super) struct Active(Arc<Activity>);

impl Activity {
    pub(super) fn begin(self: &Arc<Self>) -> Active {
        self.begun.fetch_add(1, Ordering::Relaxed);
        Active(Arc::clone(self))
    }

    /// Whether there ever was a request.
    pub(super) fn has_begun(&self) -> bool {
        self.begun.load(Ordering::Relaxed) > 0
    }

    /// Ends once there was none for so long, or half as long again.
    pub(super) async fn over(&self, limit: Duration) {
        let mut before = None;
        let mut looks = 0;
        loop {
            tokio::time::sleep(limit / 2).await;
            let ended = self.ended.load(Ordering::Relaxed);
            let begun = self.begun.load(Ordering::Relaxed);
            looks = if begun == ended && before == Some(begun) { looks + 1 } else { 0 };
            before = Some(begun);
            if looks >= 2 {
                return;
            }
        }
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

/// The body of an answer: until its end the request is going on.
pub(super) struct Answering {
    body: Body,
    _active: Active,
}

impl Answering {
    pub(super) const fn new(body: Body, active: Active) -> Self {
        Self { body, _active: active }
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_over_once_no_request_was_going_on_for_the_limit() {
        let (activity, limit) = (Arc::new(Activity::default()), Duration::from_secs(60));
        let long = activity.begin();
        let looking = Arc::clone(&activity);
        let over = tokio::spawn(async move { looking.over(limit).await });
        tokio::time::sleep(limit * 10).await;
        assert!(!over.is_finished(), "one is going on");
        drop(long);
        for _ in 0..20 {
            tokio::time::sleep(limit / 3).await;
            drop(activity.begin());
        }
        assert!(!over.is_finished(), "they come now and then");
        let began = tokio::time::Instant::now();
        assert!(over.await.is_ok());
        assert!((limit..=limit * 2).contains(&began.elapsed()), "{:?}", began.elapsed());
    }
}
