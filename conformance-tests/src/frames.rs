//! The frames that the gateway says it has read and written, whatever carries them: lines of its log.

use std::net::SocketAddr;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What a gateway is to log: these lines, and what is wrong.
pub(crate) const LOG_LEVEL: &str = "error,meshwire::frames=trace";

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Client,
    Gateway,
}

/// A frame that was whole at the gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) from: From,
    /// The client's end of the connection, as the gateway sees it.
    pub(crate) peer: Option<SocketAddr>,
    /// As the schema calls it.
    pub(crate) name: String,
    pub(crate) bytes: usize,
}

impl Frame {
    /// `TIME TRACE frame read connection=7 peer=127.0.0.1:40001 carrier="grpc" frame="publish" bytes=91`; any other line is none.
    fn parse(line: &str) -> Option<Self> {
        let (head, said) = line.split_once(" frame ")?;
        let (way, fields) = said.split_once(' ')?;
        let from = match way {
            "read" => From::Client,
            "written" => From::Gateway,
            _ => return None,
        };
        let field = |name: &str| {
            let value = fields.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
            value.map(|value| value.trim_matches('"'))
        };
        let peer = field("peer").and_then(|peer| peer.parse().ok());
        let found = Self { from, peer, name: field("frame")?.to_owned(), bytes: field("bytes")?.parse().ok()? };
        head.ends_with("TRACE").then_some(found)
    }
}

/// All of one cell, in the order in which they were told; clones see the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frames(Arc<(Mutex<Vec<Frame>>, Condvar)>);

impl Frames {
    /// A line of the gateway's log.
    pub(crate) fn hear(&self, line: &str) {
        if let Some(frame) = Frame::parse(line) {
            let (frames, changed) = &*self.0;
            frames.lock().unwrap_or_else(PoisonError::into_inner).push(frame);
            changed.notify_all();
        }
    }

    /// How many were told: where [`Frames::wait`] begins for what comes from now on.
    pub(crate) fn told(&self) -> usize {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The first of those told behind the first `told` that is meant; `None`: it was not told in time.
    pub(crate) fn wait(&self, told: usize, within: Duration, meant: impl Fn(&Frame) -> bool) -> Option<Frame> {
        let find = |frames: &[Frame]| frames.iter().skip(told).find(|frame| meant(frame)).cloned();
        let (frames, changed) = &*self.0;
        let frames = frames.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = changed.wait_timeout_while(frames, within, |frames| find(frames).is_none());
        let (frames, _) = waited.unwrap_or_else(PoisonError::into_inner);
        find(&frames)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Frame, Frames, From};

    const READ: &str = "2026-11-28T21:00:00.000001Z TRACE frame read connection=7 peer=127.0.0.1:40001 carrier=\"grpc\" frame=\"publish\" bytes=91";
    const WRITTEN: &str =
        "2026-11-28T21:00:00.000002Z TRACE frame written connection=7 carrier=\"http\" frame=\"receipts\" bytes=16";

    #[test]
    fn lines_of_frames_are_read_and_others_are_not() {
        let peer = "127.0.0.1:40001".parse().ok();
        let frame = Frame { from: From::Client, peer, name: "publish".to_owned(), bytes: 91 };
        assert_eq!(Frame::parse(READ), Some(frame));
        let frame = Frame { from: From::Gateway, peer: None, name: "receipts".to_owned(), bytes: 16 };
        assert_eq!(Frame::parse(WRITTEN), Some(frame));
        for line in [
            "",
            "T ERROR frame read frame=\"x\" bytes=1",
            "T TRACE frame lost frame=\"x\" bytes=1",
            "T TRACE frame read bytes=1",
        ] {
            assert_eq!(Frame::parse(line), None, "{line}");
        }
    }

    #[test]
    fn a_frame_is_found_behind_those_that_were_told_before_also_when_it_is_told_later() {
        let frames = Frames::default();
        frames.hear(READ);
        let told = frames.told();
        assert_eq!(frames.wait(told, Duration::ZERO, |_| true), None);
        let gateway = frames.clone();
        let telling = std::thread::spawn(move || gateway.hear(WRITTEN));
        let found = frames.wait(told, Duration::from_secs(20), |frame| frame.from == From::Gateway);
        assert_eq!(found.map(|frame| frame.name).as_deref(), Some("receipts"));
        assert!(telling.join().is_ok());
    }
}
