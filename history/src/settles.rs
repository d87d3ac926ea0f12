//! What must hold of settles, and of every event at the end.

use crate::index::Index;
use crate::model::{Settle, SettleKind};
use crate::verdict::Forgiven;

/// An ack stands: its event does not come again, and is no dead letter.
pub(crate) fn ack_lost(index: &Index<'_>, forgiven: &mut Forgiven) -> Vec<String> {
    let acks = index.history.settles.iter().filter(|s| s.kind == SettleKind::Ack);
    acks.filter_map(|ack| confirmed_in_vain(index, ack).or_else(|| plain_in_vain(index, ack, forgiven))).collect()
}

/// A confirmed ack holds as well as an event that was acknowledged then.
fn confirmed_in_vain(index: &Index<'_>, ack: &Settle) -> Option<String> {
    let confirmed = ack.confirmed.filter(|at| index.history.is_for_good(*at))?;
    let (group, id) = (&ack.group, ack.event);
    if index.is_dead(group, id) {
        return Some(format!(
            "event {id} is a dead letter of group {group}, and its ack was confirmed at {confirmed:?}"
        ));
    }
    let again = index.deliveries(group, id).iter().find(|d| d.at > confirmed && !index.is_overtaken(group, d))?;
    let (member, at, life) = (&again.member, again.at, again.life);
    Some(format!(
        "event {id} came again to {member} of group {group} at {at:?} in life {life}: its ack was confirmed at {confirmed:?}"
    ))
}

/// A plain ack stands if it reached the log.
fn plain_in_vain(index: &Index<'_>, ack: &Settle, forgiven: &mut Forgiven) -> Option<String> {
    let (history, group, id) = (index.history, &ack.group, ack.event);
    if ack.excused || index.is_given_back(group, id) || !history.is_for_good(ack.at) {
        return None;
    }
    let again = index.deliveries(group, id).iter().find(|d| d.at > ack.at && !index.is_overtaken(group, d));
    let Some(again) = again else { return dead_in_vain(index, ack) };
    let came =
        format!("event {id} came again to {} of group {group} at {:?} in life {}", again.member, again.at, again.life);
    let acked = format!("it was acked at {:?} in life {}", ack.at, ack.life);
    let Some(death) = history.deaths.iter().find(|d| d.life == ack.life && again.life > ack.life) else {
        return Some(format!("{came}: {acked}, which went on"));
    };
    if ack.at >= death.at {
        forgiven.for_a_dead_life += 1;
    } else if ack.at + history.forgive.settle_before_death >= death.at {
        forgiven.just_before_a_death += 1;
    } else {
        return Some(format!("{came}: {acked}, which ended {:?} later", death.at - ack.at));
    }
    None
}

/// An event that was acked in time, while nothing went wrong, is no dead letter.
fn dead_in_vain(index: &Index<'_>, ack: &Settle) -> Option<String> {
    let (history, group, id) = (index.history, &ack.group, ack.event);
    let settings = history.groups.iter().find(|g| g.name == *group)?;
    let last = index.deliveries(group, id).last()?;
    let first = index.settles(group, id).iter().find(|s| s.at >= last.at)?;
    let in_time = first.at == ack.at && first.kind == SettleKind::Ack && ack.at - last.at < settings.ack_wait / 2;
    let gone = history.absences.iter().any(|a| a.member == last.member && a.at >= last.at);
    let logged = ack.at + history.forgive.settle_before_death;
    let died = history.deaths.iter().any(|death| death.life == ack.life && death.at <= logged);
    (in_time && index.is_dead(group, id) && !gone && !died && !last.excused)
        .then(|| format!("event {id} is a dead letter of group {group}, and was acked at {:?}, in time", ack.at))
}

/// An ack counts that was given behind the event's last delivery: an earlier one was forgotten.
pub(crate) fn left_open(index: &Index<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    if index.history.may_be_rewritten() {
        return sentences;
    }
    for group in index.history.groups.iter().filter(|g| g.finished) {
        let name = &group.name;
        for (id, position) in index.stored().filter(|(id, _)| !index.is_dead(name, *id)) {
            let last = index.deliveries(name, id).iter().rfind(|d| !index.is_overtaken(name, d));
            let holds = |s: &&Settle| s.kind == SettleKind::Ack && last.is_some_and(|d| s.at >= d.at);
            if index.settles(name, id).iter().copied().any(|s| holds(&s)) {
                continue;
            }
            let how = last.map_or("never came to".to_owned(), |d| {
                format!("came last to {} at {:?}, without an ack, in", d.member, d.at)
            });
            sentences.push(format!("event {id} at {position} {how} group {name}, and is no dead letter of it"));
        }
    }
    sentences
}

/// An event is given up once, and only where events are.
pub(crate) fn dead_twice(index: &Index<'_>) -> Vec<String> {
    let mut sentences = Vec::new();
    for (name, id, letters) in index.letters() {
        let rejected = index.settles(name, id).iter().any(|s| s.kind == SettleKind::Reject);
        let group = index.history.groups.iter().find(|g| &*g.name == name);
        if letters.len() > 1 {
            sentences.push(format!("event {id} is {} dead letters of group {name}", letters.len()));
        } else if !rejected && group.is_none_or(|g| g.max_failures.is_none()) {
            sentences.push(format!(
                "event {id} is a dead letter of group {name}, which gives nothing up, and was not rejected"
            ));
        }
    }
    sentences
}
