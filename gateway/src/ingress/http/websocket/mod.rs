//! WebSocket. One handshake, one kind of connection and one meaning of close codes for all subprotocols; what each says is its own.
//!
//! - [`handshake`]: what must be in a request, and the answer;
//! - [`socket`]: the connection: messages, pings, a peer that is silent or takes nothing, the end;
//! - [`wire`], [`lengths`]: the bytes under it: memory for large messages;
//! - [`closing`]: why it ends, as a code;
//! - [`bytes`]: sessions, subprotocol `meshwire.v1`; the others are `pages` and `cloudevents`.

mod bytes;
mod closing;
mod handshake;
mod lengths;
mod socket;
mod wire;

use axum::Extension;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};

use super::query::Query;
use super::{Door, pages};
use crate::mesh::Spoken;
pub(super) use closing::End;
pub(super) use handshake::{NoUpgrade, agree, is_asked};
pub(super) use socket::{Limits, Received, Socket};

/// Where WebSocket is that is not about one topic.
pub(super) const PATH: &str = "/v1/ws";

/// The native protocol in binary messages.
const NATIVE: &str = "meshwire.v1";

/// Calls as JSON.
const PAGES: &str = "meshwire.v1.json";

/// Largest message of a session that is taken: a longer frame comes in several. Before login too, one in parts is held up to twice: what
/// came of it, and the part that is coming.
const SESSION_MESSAGE: usize = 64 * 1024;

/// `GET` of [`PATH`].
pub(super) async fn upgrade(Extension(door): Extension<Door>, request: Request) -> Response {
    let (mut parts, _) = request.into_parts();
    if let Err(problem) = Query::read(&parts.uri, &[]) {
        return problem.into_response();
    }
    match agree(&mut parts, &[NATIVE, PAGES]) {
        Err(refused) => refused.into_response(),
        Ok(handshake) if handshake.subprotocol == PAGES => {
            door.login.place().logged_in();
            let limits = of_events(&door);
            handshake.begin(door, (limits, Spoken::WebSocketJson), pages::serve)
        }
        Ok(handshake) => {
            let limits = Limits { most: SESSION_MESSAGE, pings: false };
            handshake.begin(door, (limits, Spoken::WebSocket), bytes::serve)
        }
    }
}

/// Where a message holds an event, whose bytes base64 or escapes make more.
pub(super) fn of_events(door: &Door) -> Limits {
    let most = usize::try_from(door.native.mesh().limits().max_event_bytes).unwrap_or(usize::MAX);
    Limits { most: most.saturating_mul(2), pings: true }
}
