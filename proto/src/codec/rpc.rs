//! What a gRPC status says beside number and text: `google.rpc.Status`, the bytes of `grpc-status-details-bin`.
//!
//! Its details name the code of the catalogue (`ErrorInfo`) and, where there is one, the time after which to try again
//! (`RetryInfo`).

use std::time::Duration;

use prost::{Message, Name};
use prost_types::Any;

use crate::ErrorKind;

/// In whose words a reason is: the domain of [`ErrorInfo`].
const DOMAIN: &str = "meshwire";

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// The number of the status.
    #[prost(int32, tag = "1")]
    pub code: i32,
    /// Its text.
    #[prost(string, tag = "2")]
    pub message: String,
    /// What else is said.
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.rpc.ErrorInfo`, without what nobody of us says.
#[derive(Clone, PartialEq, Message)]
pub struct ErrorInfo {
    /// The code.
    #[prost(string, tag = "1")]
    pub reason: String,
    /// Whose code.
    #[prost(string, tag = "2")]
    pub domain: String,
}

impl Name for ErrorInfo {
    const NAME: &'static str = "ErrorInfo";
    const PACKAGE: &'static str = "google.rpc";
}

/// `google.rpc.RetryInfo`.
#[derive(Clone, PartialEq, Message)]
pub struct RetryInfo {
    /// How long to wait before the same call.
    #[prost(message, optional, tag = "1")]
    pub retry_delay: Option<prost_types::Duration>,
}

impl Name for RetryInfo {
    const NAME: &'static str = "RetryInfo";
    const PACKAGE: &'static str = "google.rpc";
}

fn any<T: Message + Name>(message: &T) -> Any {
    let url = format!("type.googleapis.com/{}.{}", T::PACKAGE, T::NAME);
    Any { type_url: url, value: message.encode_to_vec() }
}

impl Status {
    /// What is said of a refusal of this kind, whose status has the number `code`; with a zero wait, none is named.
    #[must_use]
    pub fn of(code: i32, message: &str, kind: ErrorKind, retry_after: Duration) -> Self {
        let mut details = vec![any(&ErrorInfo { reason: kind.code().to_owned(), domain: DOMAIN.to_owned() })];
        if !retry_after.is_zero() {
            details.push(any(&RetryInfo { retry_delay: retry_after.try_into().ok() }));
        }
        Self { code, message: message.to_owned(), details }
    }

    /// The detail of this type, if there is one that can be read.
    #[must_use]
    pub fn detail<T: Message + Name + Default>(&self) -> Option<T> {
        let name = format!("{}.{}", T::PACKAGE, T::NAME);
        let found = self.details.iter().find(|any| any.type_url.rsplit('/').next() == Some(name.as_str()))?;
        T::decode(&*found.value).ok()
    }

    /// The code that it names, if it is in our words: one of the catalogue, or a newer one.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.detail::<ErrorInfo>().filter(|info| info.domain == DOMAIN).map(|info| info.reason)
    }

    /// The time after which to try again; zero if it names none, or none that could be waited for.
    #[must_use]
    pub fn retry_after(&self) -> Duration {
        let delay = self.detail::<RetryInfo>().and_then(|info| info.retry_delay);
        let delay = delay.and_then(|delay| Duration::try_from(delay).ok());
        delay.filter(|delay| delay.as_secs() <= u32::MAX.into()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "tests fail by panicking")]
    use super::*;

    #[test]
    fn what_is_said_is_read_again() {
        for (kind, wait) in [(ErrorKind::Denied, Duration::ZERO), (ErrorKind::Busy, Duration::from_millis(1500))] {
            let said = Status::of(7, "why", kind, wait);
            let read = Status::decode(&*said.encode_to_vec()).unwrap();
            assert_eq!((read.code, read.message.as_str(), &read), (7, "why", &said));
            assert_eq!((read.reason().as_deref(), read.retry_after()), (Some(kind.code()), wait));
            assert_eq!(read.details.len(), if wait.is_zero() { 1 } else { 2 });
        }
    }

    /// `google.rpc.Status{7, [ErrorInfo{reason, domain}, RetryInfo{seconds, nanos}]}` as its bytes are specified.
    fn by_hand(reason: &str, domain: &str, retry: &[u8]) -> Status {
        let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat();
        let any = |name: &str, value: &[u8]| {
            let url = format!("type.googleapis.com/google.rpc.{name}");
            field(3, &[field(1, url.as_bytes()), field(2, value)].concat())
        };
        let info = [field(1, reason.as_bytes()), field(2, domain.as_bytes())].concat();
        let bytes = [vec![0x08, 7], any("ErrorInfo", &info), any("RetryInfo", &field(1, retry))].concat();
        Status::decode(&*bytes).unwrap()
    }

    #[test]
    fn a_status_of_the_specification_is_read() {
        let status = by_hand("BUSY", "meshwire", &[0x08, 1, 0x10, 0x80, 0xCA, 0xB5, 0xEE, 0x01]);
        assert_eq!((status.code, status.reason().as_deref()), (7, Some("BUSY")));
        assert_eq!(status.retry_after(), Duration::from_millis(1500));
    }

    #[test]
    fn words_of_others_and_times_that_nobody_can_wait_for_are_none() {
        assert_eq!(by_hand("BUSY", "other.example", &[]).reason(), None);
        // Seconds below zero, and far over a century.
        let below = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        let over = [0x08, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01];
        for retry in [&below[..], &over] {
            assert_eq!(by_hand("BUSY", "meshwire", retry).retry_after(), Duration::ZERO);
        }
        assert_eq!(Status::default().retry_after(), Duration::ZERO);
        let unreadable = Any { type_url: "type.googleapis.com/google.rpc.ErrorInfo".to_owned(), value: vec![0xFF] };
        assert_eq!(Status { details: vec![unreadable], ..Status::default() }.reason(), None);
    }
}
