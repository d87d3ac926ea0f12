//! What waits in a group, and what must not wait with it.

use super::*;

/// More than there are places for positions.
const PAST_A_WINDOW: u64 = 140_000;

fn later(delay: Duration) -> SettleAs<'static> {
    SettleAs { delay: Some(delay), ..Nack.into() }
}

fn positions(got: &[(u64, Position, u32)]) -> Vec<Position> {
    got.iter().map(|g| g.1).collect()
}

/// Everything that comes to a member, acked as it comes.
fn drain(rig: &mut Rig, member: u64) -> Vec<Position> {
    let mut all = Vec::new();
    loop {
        let got = rig.take(member);
        let (Some(first), Some(last)) = (got.first(), got.last()) else { return all };
        all.extend(positions(&got));
        rig.settle(member, first.0, (last.0 - first.0 + 1) as u32, Ack);
    }
}

#[test]
fn one_open_event_does_not_stop_its_group_however_much_is_settled_behind_it() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    rig.publish(1, None);
    rig.take(1);
    rig.settle_as(1, 1, 1, later(Duration::from_secs(600)));
    for round in 0..PAST_A_WINDOW / 1000 {
        rig.publish(1000, None);
        rig.blocks.blocks = rig.blocks.blocks.split_off(rig.blocks.blocks.len() - 1);
        assert_eq!(drain(&mut rig, 1).len(), 1000, "round {round}");
    }
    let group = &rig.engine.groups(TOPIC, 0)[0];
    assert_eq!((group.floor, group.lag, group.failing), (1, 1, 1));
    let places = rig.engine.topics[&TOPIC].groups[&GroupId(1)].window.places();
    assert!(places < 5000, "{places} places for one event");
}
