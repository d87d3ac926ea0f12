//! Reading a request's body: so many bytes at most, and no slower than a floor.

use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use meshwire_proto::ErrorKind;
use tokio::time::timeout;

use super::Problem;

/// A body comes with at least so many bytes in each period, or it is given up.
const PERIOD: Duration = Duration::from_secs(10);
const LEAST: usize = 10 * 1024;

/// The whole body.
///
/// # Errors
/// `TOO_LARGE`, naming the option that sets the limit; `TIMEOUT` with status 408 when it comes too slowly; `INVALID` when it breaks off.
pub(in crate::ingress) async fn read(mut body: Body, limit: u64, option: &str) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(ErrorKind::TooLarge, format!("the body is over {limit} bytes (option {option})"));
    if axum::body::HttpBody::size_hint(&body).lower() > limit {
        return Err(too_large());
    }
    let (mut first, mut more) = (Bytes::new(), BytesMut::new());
    loop {
        let before = first.len() + more.len();
        // Data that comes in one piece is not copied.
        let period = async {
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| Problem::new(ErrorKind::Invalid, format!("the body broke off: {e}")))?;
                let Ok(data) = frame.into_data() else { continue };
                if first.is_empty() && more.is_empty() {
                    first = data;
                } else {
                    if more.is_empty() {
                        more.extend_from_slice(&first);
                        first = Bytes::new();
                    }
                    more.extend_from_slice(&data);
                }
                if (first.len() + more.len()) as u64 > limit {
                    return Err(too_large());
                }
            }
            Ok(())
        };
        match timeout(PERIOD, period).await {
            Ok(read) => {
                read?;
                return Ok(if more.is_empty() { first } else { more.freeze() });
            }
            Err(_) if first.len() + more.len() - before < LEAST => {
                let text = format!("less than {LEAST} bytes of the body came in {} s", PERIOD.as_secs());
                return Err(Problem::new(ErrorKind::Timeout, text).with(StatusCode::REQUEST_TIMEOUT));
            }
            Err(_) => {}
        }
    }
}
