//! What comes by the batch and is looked at one by one: deliveries, replies, work for handlers.

use std::collections::VecDeque;
use std::time::Duration;

use meshwire_embed::{
    Consumer, Delivery, Error, ErrorKind, Inquiry, Job, Operation, Outcome, Queue, Replies, Responder, Result,
    Subscription, Work,
};
use pyo3::exceptions::{PyStopAsyncIteration, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyList, PyString};

use crate::delivery;
use crate::draft::duration;
use crate::errors::Raise as _;
use crate::message::Reply;
use crate::outcome::Home;
use crate::pending::Pending;
use crate::pump::{Of, lost};
use crate::wait::{self, Cancel};
use crate::work;

/// Asked for at once: what is sent ahead by default, and what the client gives at most.
const ASKED: usize = 256;
const MOST: usize = 4096;

/// `meshwire._waiting.fill`.
static FILL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// Where it comes from. Clones are the same.
#[derive(Clone)]
pub(crate) enum Source {
    Subscription(Subscription),
    Replies(Replies),
    Consumer(Consumer),
    Responder(Responder),
}

impl Source {
    fn begin(&self, most: usize, wait: Option<Duration>, queue: &Queue, tag: u64) -> Result<Operation> {
        match self {
            Self::Subscription(source) => source.begin_next(most, wait, queue, tag),
            Self::Replies(source) => source.begin_next(most, wait, queue, tag),
            Self::Consumer(source) => source.begin_next(most, wait, queue, tag),
            Self::Responder(source) => source.begin_next(most, wait, queue, tag),
        }
    }

    fn close(&self) -> Result<()> {
        match self {
            Self::Subscription(source) => source.close(),
            Self::Replies(source) => source.close(),
            Self::Consumer(source) => source.stop(),
            Self::Responder(source) => source.stop(),
        }
    }

    /// The program leaves its loop: what it was handed and has not settled has failed.
    fn leave(&self) -> Result<()> {
        match self {
            Self::Subscription(source) => source.leave(),
            other => other.close(),
        }
    }
}

enum Item {
    Delivery(Delivery),
    Reply(meshwire_embed::Reply),
    Job(Job),
    Request(Inquiry),
    Lost(u64),
}

impl Item {
    fn made(self, py: Python<'_>, topic: &Py<PyString>, home: &Home) -> PyResult<Py<PyAny>> {
        match self {
            Self::Delivery(delivery) => delivery::make(py, delivery, topic, home),
            Self::Reply(reply) => Reply::make(py, reply),
            Self::Job(job) => work::Job::make(py, job),
            Self::Request(inquiry) => work::Request::make(py, inquiry, home),
            Self::Lost(number) => Ok(number.into_pyobject(py)?.into_any().unbind()),
        }
    }
}

/// A stream of them.
#[pyclass(module = "meshwire._native", weakref)]
pub(crate) struct Stream {
    /// Before what came of it: what is dropped behind its end is not given back once more.
    source: Option<Source>,
    items: VecDeque<Item>,
    topic: Py<PyString>,
    home: Home,
    /// The batch that is asked for.
    asked: Option<Py<Pending>>,
    ended: bool,
    /// What comes once more is given back: it was closed.
    closed: bool,
    failed: Option<Error>,
}

impl Stream {
    pub(crate) fn make(py: Python<'_>, source: Source, home: Home) -> PyResult<Py<PyAny>> {
        let topic = match &source {
            Source::Subscription(subscription) => subscription.topic().raise(py)?.to_owned(),
            _ => String::new(),
        };
        let topic = PyString::new(py, &topic).unbind();
        let stream = Self {
            source: Some(source),
            items: VecDeque::new(),
            topic,
            home,
            asked: None,
            ended: false,
            closed: false,
            failed: None,
        };
        Ok(Py::new(py, stream)?.into_any())
    }

    /// Takes in what came of asking; whether the question was taken back.
    pub(crate) fn filled(&mut self, result: Result<Outcome>) -> Result<bool> {
        self.asked = None;
        let is_taken_back = matches!(&result, Err(error) if error.kind() == ErrorKind::Cancelled);
        if !is_taken_back {
            self.take_in(result)?;
        }
        Ok(is_taken_back)
    }

    fn take_in(&mut self, result: Result<Outcome>) -> Result<()> {
        match result {
            // It goes on behind an error, if it is not the last one.
            Err(error) => {
                self.failed = Some(error);
                Ok(())
            }
            Ok(Outcome::Ended) => {
                self.ended = true;
                Ok(())
            }
            // Behind its end they are dropped, and come again.
            Ok(_) if self.closed && self.gives_back() => Ok(()),
            Ok(Outcome::Deliveries(batch)) => {
                self.items.extend(batch.ahead()?.into_iter().map(Item::Delivery));
                Ok(())
            }
            Ok(Outcome::Replies(batch)) => {
                self.items.extend(batch.into_iter().map(Item::Reply));
                Ok(())
            }
            Ok(Outcome::Jobs(batch)) => {
                self.items.extend(batch.into_iter().map(|work| match work {
                    Work::Begin(job) => Item::Job(job),
                    Work::Lost(number) => Item::Lost(number),
                }));
                Ok(())
            }
            Ok(Outcome::Inquiries(batch)) => {
                self.items.extend(batch.into_iter().map(|work| match work {
                    Work::Begin(inquiry) => Item::Request(inquiry),
                    Work::Lost(number) => Item::Lost(number),
                }));
                Ok(())
            }
            Ok(_) => Err(lost("receive")),
        }
    }

    /// Whether its end is at once; handlers that have begun may end.
    const fn gives_back(&self) -> bool {
        matches!(self.source, None | Some(Source::Subscription(_) | Source::Replies(_)))
    }

    fn end_now(&mut self, end: impl FnOnce(&Source) -> Result<()>) -> Result<()> {
        self.closed = true;
        if let Some(source) = &self.source {
            end(source)?;
        }
        if self.gives_back() {
            // What was not handed to the program goes back by that, and has not failed.
            self.items.clear();
            self.ended = true;
            self.source = None;
        }
        Ok(())
    }

    /// The next that is here, which the program begins with or has in a batch. Nothing of Python's is made under the borrow: other threads
    /// run meanwhile, the pump too.
    fn take(&mut self, hand: impl Fn(&mut Delivery) -> Result<bool>) -> Result<Option<Item>> {
        while let Some(item) = self.items.pop_front() {
            match item {
                Item::Delivery(mut delivery) => {
                    // Else it comes again: handling this one would be once too often.
                    if hand(&mut delivery)? {
                        return Ok(Some(Item::Delivery(delivery)));
                    }
                }
                item => return Ok(Some(item)),
            }
        }
        Ok(None)
    }

    /// The end, if this is it: its error once.
    fn end(&mut self) -> Result<bool> {
        match self.failed.take() {
            Some(error) => Err(error),
            None => Ok(self.ended),
        }
    }

    fn next(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        let py = slf.py();
        let (item, topic, home) = {
            let mut this = slf.borrow_mut();
            (this.take(Delivery::claim), this.topic.clone_ref(py), this.home.clone())
        };
        item.raise(py)?.map(|item| item.made(py, &topic, &home)).transpose()
    }

    /// Asks, and waits for what comes.
    fn ask_now(slf: &Bound<'_, Self>, most: usize, wait: Option<Duration>) -> PyResult<()> {
        let py = slf.py();
        let Some(source) = slf.borrow().source.clone() else { return Ok(()) };
        // An outcome that it cannot have is dropped.
        let late = |_: Python<'_>, outcome| drop(slf.borrow_mut().filled(Ok(outcome)));
        match wait::call(py, "receive", |queue| source.begin(most, wait, queue, 0).map(Cancel::By), late) {
            Ok(outcome) => {
                let filled = slf.borrow_mut().filled(Ok(outcome));
                filled.map(drop).raise(py)
            }
            Err(raised) => Err(raised),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(source @ Source::Subscription(_)) = &self.source {
            // Nobody can go on with it, so its loop was left. In a child of fork it is the parent's.
            drop(source.leave());
        }
    }
}

#[pymethods]
impl Stream {
    #[getter]
    fn topic(&self, py: Python<'_>) -> Py<PyString> {
        self.topic.clone_ref(py)
    }

    /// Whether nothing comes any more.
    #[getter]
    fn ended(&self) -> bool {
        self.ended && self.items.is_empty() && self.failed.is_none()
    }

    /// Whether somebody waits for more.
    #[getter]
    fn asking(&self) -> bool {
        self.asked.is_some()
    }

    /// How many are here, an error counted as one.
    fn __len__(&self) -> usize {
        self.items.len() + usize::from(self.failed.is_some())
    }

    fn __bool__(&self) -> bool {
        true
    }

    /// Begins to ask for more, unless that is on its way.
    #[pyo3(signature = (most=ASKED, wait=None))]
    fn ask(slf: &Bound<'_, Self>, most: usize, wait: Option<&Bound<'_, PyAny>>) -> PyResult<Py<Pending>> {
        let py = slf.py();
        if let Some(asked) = &slf.borrow().asked {
            return Ok(asked.clone_ref(py));
        }
        let wait = wait.map(|wait| duration(py, "wait", wait)).transpose()?;
        let (source, pump) = {
            let this = slf.borrow();
            let Some(source) = this.source.clone() else {
                return Err(Error::of_host(ErrorKind::Closed, "receive", "it was closed")).raise(py);
            };
            (source, std::sync::Arc::clone(&this.home.0.pump))
        };
        let of = Of::Stream(slf.clone().unbind());
        let pending =
            pump.begin(py, "receive", Some(of), |queue, tag| source.begin(most, wait, queue, tag).map(Some))?;
        // It may have come to something by now.
        if !pending.borrow(py).is_done() {
            slf.borrow_mut().asked = Some(pending.clone_ref(py));
        }
        Ok(pending)
    }

    /// The next that is here; `None`: none is. Behind the last one its error, once, and then `StopAsyncIteration`.
    fn pop(slf: &Bound<'_, Self>) -> PyResult<Option<Py<PyAny>>> {
        if let Some(item) = Self::next(slf)? {
            return Ok(Some(item));
        }
        let ended = slf.borrow_mut().end();
        if ended.raise(slf.py())? { Err(PyStopAsyncIteration::new_err(())) } else { Ok(None) }
    }

    /// Those that are here, up to so many. Behind the last one its error, once.
    #[pyo3(signature = (most=MOST))]
    fn batch<'py>(slf: &Bound<'py, Self>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let py = slf.py();
        let (taken, topic, home) = {
            let mut this = slf.borrow_mut();
            let mut taken = Vec::with_capacity(most.min(this.items.len()));
            let mut end = Ok(false);
            if this.items.is_empty() {
                end = this.end();
            }
            while end.is_ok() && taken.len() < most {
                match this.take(|delivery| delivery.hand(taken.is_empty())) {
                    Ok(Some(item)) => taken.push(item),
                    Ok(None) => break,
                    Err(error) => end = Err(error),
                }
            }
            (end.map(|_| taken), this.topic.clone_ref(py), this.home.clone())
        };
        let batch = PyList::empty(py);
        for item in taken.raise(py)? {
            batch.append(item.made(py, &topic, &home)?)?;
        }
        Ok(batch)
    }

    /// Waits for some, at most so long, unless some are here.
    #[pyo3(signature = (most=ASKED, wait=None))]
    fn wait(slf: &Bound<'_, Self>, most: usize, wait: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let wait = wait.map(|wait| duration(slf.py(), "wait", wait)).transpose()?;
        let is_here = {
            let this = slf.borrow();
            !this.items.is_empty() || this.ended || this.failed.is_some()
        };
        if is_here { Ok(()) } else { Self::ask_now(slf, most, wait) }
    }

    /// Ends it: what is here is given back, without a failure.
    fn close(slf: &Bound<'_, Self>) -> PyResult<()> {
        let closed = slf.borrow_mut().end_now(Source::close);
        closed.raise(slf.py())
    }

    /// The program leaves its loop: the same, and what it was handed and has not settled has failed.
    fn leave(slf: &Bound<'_, Self>) -> PyResult<()> {
        let left = slf.borrow_mut().end_now(Source::leave);
        left.raise(slf.py())
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(slf: &Bound<'_, Self>) -> PyResult<Py<PyAny>> {
        let py = slf.py();
        loop {
            if let Some(item) = Self::next(slf)? {
                return Ok(item);
            }
            let ended = slf.borrow_mut().end();
            if ended.raise(py)? {
                return Err(PyStopIteration::new_err(()));
            }
            Self::ask_now(slf, ASKED, None)?;
        }
    }

    fn __aiter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __anext__(slf: Bound<'_, Self>) -> Next {
        Next { stream: slf.unbind(), inner: None }
    }
}

/// Awaits the next one: at once if it is here, which costs nothing but this object.
#[pyclass(module = "meshwire._native")]
pub(crate) struct Next {
    stream: Py<Stream>,
    /// Python's wait for it.
    inner: Option<Py<PyAny>>,
}

#[pymethods]
impl Next {
    fn __await__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        if let Some(inner) = &self.inner {
            return inner.call_method0(py, "__next__");
        }
        let item = Stream::pop(self.stream.bind(py))?;
        if let Some(item) = item {
            return Err(PyStopIteration::new_err((item,)));
        }
        let fill = FILL.get_or_try_init(py, || py.import("meshwire._waiting")?.getattr("fill").map(Bound::unbind))?;
        let inner = fill.call1(py, (&self.stream,))?;
        self.inner = Some(inner.clone_ref(py));
        inner.call_method0(py, "__next__")
    }

    fn send(&mut self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.__next__(py)
    }

    #[pyo3(signature = (*args))]
    fn throw(&mut self, py: Python<'_>, args: &Bound<'_, pyo3::types::PyTuple>) -> PyResult<Py<PyAny>> {
        match &self.inner {
            Some(inner) => inner.call_method1(py, "throw", args),
            None => {
                let last = args.get_item(args.len().saturating_sub(1))?;
                let raised = if last.is_none() { args.get_item(0)? } else { last };
                Err(PyErr::from_value(raised))
            }
        }
    }

    fn close(&mut self, py: Python<'_>) -> PyResult<()> {
        match &self.inner {
            Some(inner) => inner.call_method0(py, "close").map(drop),
            None => Ok(()),
        }
    }
}
