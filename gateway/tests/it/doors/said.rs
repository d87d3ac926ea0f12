//! What a door says of an error, and whether that is what the catalogue says.

use meshwire_proto::ErrorKind;
use serde_json::Value;
use tonic::Status;

use crate::grpc::{RetryInfo, detail, reason};

/// What became of what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    Fine,
    /// A frame of a session with this number.
    Frame {
        number: u32,
        retry: bool,
    },
    /// An answer of HTTP that is a problem.
    Problem {
        status: u16,
        code: String,
        retry: bool,
    },
    /// A status of gRPC with its `ErrorInfo`.
    Status {
        status: String,
        reason: String,
        retry: bool,
    },
    /// One of many, in an answer that is well; its status, where it has one.
    Item {
        status: Option<u64>,
        code: String,
    },
    /// The error of a message over WebSocket.
    Object {
        status: u64,
        code: String,
        retry: bool,
    },
    /// The end of a WebSocket.
    Close {
        code: u16,
        reason: String,
    },
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Said {
    pub(crate) fn frame(number: u32, retry_after_ms: u32) -> Self {
        if number == 0 { Self::Fine } else { Self::Frame { number, retry: retry_after_ms > 0 } }
    }

    pub(crate) fn status(status: &Status) -> Self {
        let name = format!("{:?}", status.code());
        let retry = detail::<RetryInfo>(status, "RetryInfo").is_some_and(|info| info.delay.is_some());
        Self::Status { status: name, reason: reason(status), retry }
    }

    /// A problem in the body of an answer.
    pub(crate) fn problem(status: u16, retry_after: Option<&str>, body: &[u8]) -> Self {
        let problem: Value = serde_json::from_slice(body).unwrap_or_default();
        assert_eq!(problem["status"], status, "{problem}");
        let retry = retry_after.is_some_and(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds > 0));
        assert_eq!(retry, problem["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0), "{problem}");
        Self::Problem { status, code: text(&problem["code"]), retry }
    }

    /// The `error` of a message.
    pub(crate) fn object(error: &Value) -> Self {
        let status = error["status"].as_u64().unwrap_or_default();
        let retry = error["retry_after_ms"].as_u64().is_some_and(|ms| ms > 0);
        Self::Object { status, code: text(&error["code"]), retry }
    }

    /// A result in a list.
    pub(crate) fn item(result: &Value) -> Self {
        match text(&result["code"]) {
            code if code.is_empty() => Self::Fine,
            code => Self::Item { status: result["status"].as_u64(), code },
        }
    }

    /// Whether it says this and nothing else, as the catalogue has it for this door.
    pub(crate) fn is(&self, kind: ErrorKind) -> bool {
        let http = kind.http_status();
        match self {
            Self::Fine => false,
            Self::Frame { number, .. } => *number == kind.number(),
            Self::Problem { status, code, .. } => (*status, code.as_str()) == (http, kind.code()),
            Self::Status { status, reason, .. } => {
                let name = kind.grpc_status().replace('_', "");
                status.to_uppercase() == name && reason == kind.code()
            }
            Self::Item { status, code } => status.is_none_or(|s| s == u64::from(http)) && code == kind.code(),
            Self::Object { status, code, .. } => (*status, code.as_str()) == (u64::from(http), kind.code()),
            Self::Close { code, reason } => *code == kind.ws_close() && reason.starts_with(kind.code()),
        }
    }

    /// Whether a time to try again came with it; `None` where none can.
    pub(crate) fn retry(&self) -> Option<bool> {
        match self {
            Self::Frame { retry, .. }
            | Self::Problem { retry, .. }
            | Self::Status { retry, .. }
            | Self::Object { retry, .. } => Some(*retry),
            Self::Fine | Self::Item { .. } | Self::Close { .. } => None,
        }
    }
}
