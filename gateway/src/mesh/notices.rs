//! What the engine wants told, as lines of the log.

use meshwire_proto::Moment;

use crate::engine::{Engine, Notice, NoticeKind};

/// Tells what there is to tell; each at most once a minute.
pub(super) fn tell(engine: &mut Engine, now: Moment) {
    engine.take_notices(now).into_iter().for_each(tell_one);
}

fn tell_one(Notice { kind, topic, group, count }: Notice) {
    let group = group.map(|group| group.to_string()).unwrap_or_default();
    match kind {
        NoticeKind::LettersWait => tracing::warn!(
            %topic, group, letters = count,
            "dead letters wait for room on the disk: their events are kept as long as retention keeps them (told once a minute)"
        ),
        NoticeKind::LettersLost => tracing::error!(
            %topic, group, events = count,
            "retention removed events that were given up before their dead letters had room on the disk; they are counted as \
             overtaken (told once a minute)"
        ),
        NoticeKind::EventsWait => tracing::warn!(
            %topic, events = count,
            "events whose deliver_at has come wait for room on the disk, and come when there is some (told once a minute)"
        ),
    }
}
