//! Hello and Welcome.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use meshwire_proto::ErrorKind;
use meshwire_proto::frame::VERSION;
use meshwire_proto::wire::session as wire;
use sha2::{Digest as _, Sha256};

use super::outbox::End;
use super::protocol::Protocol;
use super::session::Session;
use super::sessions::lock;
use crate::mesh::{Action, Caller, Refusal, stopping};

fn invalid(message: impl Into<String>) -> Refusal {
    Refusal::new(ErrorKind::Invalid, message)
}

/// Checks a Hello; gives the session, new or resumed, and the Welcome.
pub(super) fn login(protocol: &Protocol, hello: &wire::Hello) -> Result<(Arc<Mutex<Session>>, wire::Welcome), Refusal> {
    let native = &protocol.native;
    let producer = check(protocol, hello)?;
    let first = hello.first_unanswered.max(1);
    let (kept_through, known) = native.mesh.kept_through(&producer, hello.producer_epoch, first)?;

    let (session, resumed) = match resume(protocol, hello, &producer) {
        Some(session) => (session, true),
        // Who holds leases may come back and settle; a new session would only wait for the end.
        None if native.mesh.is_stopping() => return Err(stopping()),
        None => (create(protocol, producer, hello.producer_epoch)?, false),
    };
    let mut welcome = welcome(protocol, &lock(&session));
    welcome.resumed = resumed;
    welcome.kept_through = kept_through;
    welcome.producer_known = known || hello.first_unanswered <= 1;
    Ok((session, welcome))
}

/// Refuses what cannot be served; gives the producer's id.
fn check(protocol: &Protocol, hello: &wire::Hello) -> Result<[u8; 16], Refusal> {
    if !(hello.min_version..=hello.max_version).contains(&VERSION) {
        let text = format!(
            "the client speaks protocol versions {} to {}, this gateway {VERSION}; update the older of both",
            hello.min_version, hello.max_version
        );
        return Err(Refusal::new(ErrorKind::Unsupported, text));
    }
    if !hello.auth_scheme.is_empty() {
        let text = "this gateway verifies no credentials; connect without them";
        return Err(Refusal::new(ErrorKind::Unauthenticated, text));
    }
    if !matches!(hello.tenant.as_str(), "" | "default") {
        return Err(Refusal::new(ErrorKind::Denied, format!("there is no tenant {:?}", hello.tenant)));
    }
    let least = protocol.native.mesh.max_run_bytes();
    if (1..least).contains(&u64::from(hello.max_frame_bytes)) {
        let text = format!(
            "Hello.max_frame_bytes is {}; deliveries of this gateway have up to {least} bytes: accept those, or lower max_event_bytes there",
            hello.max_frame_bytes
        );
        return Err(Refusal::new(ErrorKind::Invalid, text));
    }
    let id = hello.producer_id.as_ref().try_into().map_err(|_| invalid("Hello.producer_id must have 16 bytes"))?;
    protocol.native.mesh.authorize(&protocol.caller, Action::Connect, "")?;
    Ok(producer(&protocol.caller, id))
}

/// The producer that is meant by an id of this caller. Each has ids of its own: who learns another's can neither fence it nor publish under
/// its sequences. So nobody has to remember whose an id is, not across a restart either.
fn producer(caller: &Caller, id: [u8; 16]) -> [u8; 16] {
    let mut digest = Sha256::new();
    for name in [&caller.tenant, &caller.principal] {
        digest.update((name.len() as u64).to_le_bytes());
        digest.update(name.as_bytes());
    }
    digest.update(id);
    let mut producer = [0; 16];
    producer.iter_mut().zip(digest.finalize()).for_each(|(to, from)| *to = from);
    producer
}

/// What does not depend on how the session came about.
fn welcome(protocol: &Protocol, session: &Session) -> wire::Welcome {
    let native = &protocol.native;
    let config = &native.config;
    let limits = native.mesh.limits();
    let millis = |d: std::time::Duration| u32::try_from(d.as_millis()).unwrap_or(u32::MAX);
    wire::Welcome {
        version: VERSION,
        session: Bytes::copy_from_slice(&session.id),
        secret: Bytes::copy_from_slice(&session.secret),
        resume_window_ms: millis(config.resume_window),
        gateway_id: config.gateway_id.clone(),
        max_event_bytes: limits.max_event_bytes,
        max_attribute_bytes: limits.max_attribute_bytes,
        max_frame_bytes: config.max_frame_bytes,
        publish_window_events: config.publish_window.0,
        publish_window_bytes: config.publish_window.1,
        heartbeat_ms: millis(config.heartbeat),
        gateway_time_unix_ms: native.mesh.now().wall.0,
        gateway_version: env!("CARGO_PKG_VERSION").to_owned(),
        settled_through: session.settled_through,
        ..wire::Welcome::default()
    }
}

fn create(protocol: &Protocol, producer: [u8; 16], epoch: u32) -> Result<Arc<Mutex<Session>>, Refusal> {
    let mut random = [0; 32];
    let failed = |e| Refusal::new(ErrorKind::Internal, format!("no random numbers: {e}"));
    protocol.native.random.fill(&mut random).map_err(failed)?;
    let (mut id, mut secret) = ([0; 16], [0; 16]);
    for (to, from) in id.iter_mut().chain(&mut secret).zip(random) {
        *to = from;
    }
    let session = Session {
        number: protocol.number,
        id,
        secret,
        caller: protocol.caller.clone(),
        producer,
        epoch,
        aliases: BTreeMap::new(),
        subscriptions: BTreeMap::new(),
        taken: BTreeSet::new(),
        settled_through: 0,
        owner: protocol.number,
    };
    Ok(protocol.native.sessions.add(session, protocol.outbox.clone()))
}

/// Takes the session over if it is there and this caller's, the secret right, and every
/// subscription that is still there can go on from where the client stands.
fn resume(protocol: &Protocol, hello: &wire::Hello, producer: &[u8; 16]) -> Option<Arc<Mutex<Session>>> {
    let id: [u8; 16] = hello.resume_session.as_ref().try_into().ok()?;
    let native = &protocol.native;
    let session = native.sessions.take_over(&id, (&hello.resume_secret, &protocol.caller), protocol.outbox.clone())?;
    let mut state = lock(&session);
    state.owner = protocol.number;
    // The same caller, by another way.
    state.caller = protocol.caller.clone();
    let held: BTreeMap<u32, u64> = hello.held.iter().map(|h| (h.subscription, h.next_delivery)).collect();
    let same_producer = state.producer == *producer && state.epoch == hello.producer_epoch;
    let goes_on = same_producer
        && state.subscriptions.iter().all(|(number, subscription)| {
            let key = state.key(*number);
            native.mesh.suspend(subscription.topic, key);
            let next = held.get(number).copied().unwrap_or(1);
            native.mesh.resume(subscription.topic, key, next, protocol.outbox.clone())
                || !native.mesh.has_subscription(subscription.topic, key)
        });
    if !goes_on {
        super::sessions::leave_all(&native.mesh, &mut state, crate::mesh::Leaving::Lost);
        native.sessions.remove(&id);
        drop(state);
        return None;
    }
    tell_ended(protocol, &mut state, &held);
    drop(state);
    Some(session)
}

/// Of what ended meanwhile, or just before, the client may not have heard: subscriptions whose topic was deleted, and durable
/// members that somebody else has now.
fn tell_ended(protocol: &Protocol, state: &mut Session, held: &BTreeMap<u32, u64>) {
    let mesh = &protocol.native.mesh;
    state.taken.retain(|number| held.contains_key(number));
    let gone = state.subscriptions.iter().filter(|(number, s)| !mesh.has_subscription(s.topic, state.key(**number)));
    let (taken, deleted): (Vec<_>, Vec<_>) =
        gone.map(|(number, s)| (*number, s.topic)).partition(|(_, topic)| mesh.has_topic(*topic));
    for (number, topic) in taken {
        mesh.leave(topic, state.key(number), crate::mesh::Leaving::Clean);
        state.taken.insert(number);
    }
    let unheard = held.keys().copied().filter(|number| !state.subscriptions.contains_key(number));
    let ended: BTreeSet<u32> = deleted.into_iter().map(|(number, _)| number).chain(unheard).collect();
    ended.difference(&state.taken).for_each(|number| protocol.outbox.end(*number, End::TopicDeleted));
    state.taken.iter().for_each(|number| protocol.outbox.end(*number, End::TakenOver));
}
