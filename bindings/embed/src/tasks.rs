//! The threads that the runtime's tasks run on.

use std::time::Duration;

use crate::signals;

/// How long the last client waits for the runtime's threads.
const PARTING: Duration = Duration::from_secs(1);

#[cfg(not(feature = "threads"))]
pub(crate) use one::Tasks;
#[cfg(feature = "threads")]
pub(crate) use several::Tasks;

/// What each of them begins with.
fn begin_thread() {
    signals::leave_alone();
    #[cfg(feature = "planted")]
    {
        use meshwire::session::defect::{Defect, set};

        set(std::env::var("MESHWIRE_PLANTED").ok().as_deref().and_then(Defect::named));
    }
}

/// As a rule.
#[cfg(feature = "threads")]
mod several {
    use std::io;

    use tokio::runtime::{Builder, Handle, Runtime};

    use super::{PARTING, begin_thread};
    use crate::signals;

    /// A client needs no more: its session is one task.
    const MOST_THREADS: usize = 2;

    /// A runtime with as many threads as are of use.
    #[derive(Debug)]
    pub(crate) struct Tasks(Runtime);

    impl Tasks {
        pub(crate) fn begin() -> io::Result<Self> {
            let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_THREADS);
            let mut builder = Builder::new_multi_thread();
            builder.worker_threads(threads).thread_name("meshwire").on_thread_start(begin_thread);
            signals::apart(|| builder.enable_all().build()).map(Self)
        }

        pub(crate) fn handle(&self) -> &Handle {
            self.0.handle()
        }

        /// Drops all tasks, and waits a while for the threads.
        pub(crate) fn end(self) {
            self.0.shutdown_timeout(PARTING);
        }

        /// The same without a wait: a thread of its own would wait for itself.
        pub(crate) fn let_go(self) {
            self.0.shutdown_background();
        }
    }
}

/// For small devices: every task is compiled for each kind of runtime there is, and this is the smaller one.
#[cfg(not(feature = "threads"))]
mod one {
    use std::io;
    use std::sync::mpsc::{Receiver, sync_channel};
    use std::thread;

    use tokio::runtime::{Builder, Handle};
    use tokio::sync::oneshot;

    use super::{PARTING, begin_thread};
    use crate::signals;

    /// A runtime with one thread, which lives in it.
    #[derive(Debug)]
    pub(crate) struct Tasks {
        handle: Handle,
        /// Dropped, it ends the thread.
        stop: oneshot::Sender<()>,
        /// Ends with the thread.
        ended: Receiver<()>,
    }

    impl Tasks {
        pub(crate) fn begin() -> io::Result<Self> {
            let runtime = Builder::new_current_thread().on_thread_start(begin_thread).enable_all().build()?;
            let handle = runtime.handle().clone();
            let (stop, stopped) = oneshot::channel::<()>();
            let (end, ended) = sync_channel(1);
            let run = move || {
                begin_thread();
                let _: Result<(), _> = runtime.block_on(stopped);
                runtime.shutdown_timeout(PARTING);
                drop(end);
            };
            signals::apart(|| thread::Builder::new().name("meshwire".to_owned()).spawn(run))?;
            Ok(Self { handle, stop, ended })
        }

        pub(crate) const fn handle(&self) -> &Handle {
            &self.handle
        }

        /// Drops all tasks, and waits a while for the thread.
        pub(crate) fn end(self) {
            let Self { stop, ended, .. } = self;
            drop(stop);
            let _: Result<(), _> = ended.recv_timeout(PARTING);
        }

        /// The same without a wait: the thread would wait for itself.
        pub(crate) fn let_go(self) {
            drop(self.stop);
        }
    }
}
