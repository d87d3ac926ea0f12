//! The bare server's one subscriber: reads the stream of payloads and answers in ranges.

use std::net::SocketAddr;

use anyhow::Context;
use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Incoming;
use tokio::sync::watch;

use crate::flow::Arrivals;
use crate::http::{Dialed, Version, dial};

/// A stream of payloads.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Holds the connection of the stream.
    _stream: Dialed,
    pieces: Incoming,
    answers: Dialed,
    address: SocketAddr,
}

/// Subscribes: one connection for the stream, one for the answers.
///
/// # Errors
/// The server cannot be reached, or has a subscriber.
pub(crate) async fn subscribe(address: SocketAddr, version: Version) -> anyhow::Result<Subscription> {
    let mut stream = dial(address, version).await?;
    let request = Request::get(format!("http://{address}/subscription")).header("host", address.to_string());
    let pieces = stream.ask(request.body(Full::default())?).await?.into_body();
    Ok(Subscription { _stream: stream, pieces, answers: dial(address, version).await?, address })
}

/// Verifies and answers each payload, until it is aborted.
///
/// # Errors
/// The first that is not right; a lost connection.
pub(crate) async fn receive(subscription: Subscription, arrivals: Arrivals) -> anyhow::Result<()> {
    let Subscription { _stream: _held, pieces, answers, address } = subscription;
    let (through, told) = watch::channel(0);
    tokio::try_join!(read(pieces, arrivals, through), answer(answers, address, told))?;
    Ok(())
}

async fn read(mut pieces: Incoming, mut arrivals: Arrivals, through: watch::Sender<u64>) -> anyhow::Result<()> {
    let (mut input, mut count) = (BytesMut::new(), 0);
    loop {
        let piece = pieces.frame().await.context("the bare server ended the stream")??;
        let Ok(piece) = piece.into_data() else { continue };
        input.extend_from_slice(&piece);
        while let Some(payload) = payload(&mut input) {
            arrivals.take(&payload)?;
            count += 1;
        }
        through.send_replace(count);
    }
}

fn payload(input: &mut BytesMut) -> Option<Bytes> {
    let length = u32::from_le_bytes(*input.first_chunk()?) as usize;
    if input.len() < 4 + length {
        return None;
    }
    input.advance(4);
    Some(input.split_to(length).freeze())
}

/// One answer at a time, for all that came meanwhile.
async fn answer(mut answers: Dialed, address: SocketAddr, mut told: watch::Receiver<u64>) -> anyhow::Result<()> {
    while told.changed().await.is_ok() {
        let through = *told.borrow_and_update();
        let request = Request::post(format!("http://{address}/answers/{through}")).header("host", address.to_string());
        answers.ask(request.body(Full::default())?).await?.into_body().collect().await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::payload;

    #[test]
    fn payloads_are_cut_out_where_their_lengths_say() {
        let mut input = BytesMut::from(&b"\x02\0\0\0ab\x01\0\0\0c\x03\0\0\0d"[..]);
        assert_eq!(payload(&mut input).as_deref(), Some(&b"ab"[..]));
        assert_eq!(payload(&mut input).as_deref(), Some(&b"c"[..]));
        assert_eq!(payload(&mut input), None);
    }
}
