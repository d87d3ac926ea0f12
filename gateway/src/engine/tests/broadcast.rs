//! Broadcast groups: every member gets every event; a durable one has its own place.

use super::*;

fn broadcast() -> admin::GroupSettings {
    admin::GroupSettings {
        ack_wait_ms: Some(30_000),
        mode: Some(admin::GroupMode::Broadcast.into()),
        ..admin::GroupSettings::default()
    }
}

/// Subscribes to a group, `g`, or as a durable member of it, `g/m`.
fn try_join(rig: &mut Rig, n: u64, name: &str, start: Option<Position>) -> Result<Subscribed, SubscribeError> {
    let group = group_spec(name, 100 * n as u32, broadcast());
    let joined =
        rig.engine.subscribe(rig.now, TOPIC, sub(n), SubscribeSpec { group: Some(group), start, credit: MANY });
    rig.commit();
    joined
}

fn join(rig: &mut Rig, n: u64, name: &str) {
    try_join(rig, n, name, Some(1)).unwrap();
}

fn summary(rig: &Rig, name: &str) -> GroupSummary {
    rig.engine.group((TOPIC, 0), &key(name)).unwrap()
}

#[test]
fn every_member_gets_every_event_in_log_order() {
    let mut rig = Rig::new();
    for (n, name) in [(1, "g/a"), (2, "g/b"), (3, "g"), (4, "g")] {
        join(&mut rig, n, name);
    }
    rig.publish_keys(10, 3);
    for n in 1..=4 {
        assert_eq!(positions(&rig.take(n)), (1..=10).collect::<Vec<_>>(), "member {n}");
    }
    assert_eq!(rig.engine.groups(TOPIC, 0).len(), 1, "a member is no group of its own");
}

#[test]
fn each_durable_member_settles_and_retries_for_itself() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    join(&mut rig, 2, "g/b");
    rig.publish(3, None);
    assert_eq!((rig.take(1).len(), rig.take(2).len()), (3, 3));
    rig.settle(1, 1, 3, Ack);
    rig.settle(2, 1, 1, Ack);
    rig.settle(2, 2, 1, Nack);
    assert_eq!(rig.take(1), [], "what another one failed with is nothing to it");
    assert_eq!(rig.take(2), [(4, 2, 2)]);
    let group = summary(&rig, "g");
    let each: Vec<_> = group.durable.iter().map(|m| (m.name.to_string(), m.floor, m.lag)).collect();
    assert_eq!(each, [("g/a".to_owned(), 4, 0), ("g/b".to_owned(), 2, 2)]);
    assert_eq!((group.members, group.in_flight, group.lag, group.floor), (2, 2, 2, 2));
}

#[test]
fn a_durable_member_goes_on_where_it_was_and_gets_what_came_meanwhile() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    rig.publish(3, None);
    rig.take(1);
    rig.settle(1, 1, 2, Ack);
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    rig.publish(2, None);
    let joined = try_join(&mut rig, 2, "g/a", Some(1)).unwrap();
    assert_eq!((joined.next_position, joined.new_group, joined.made), (4, false, 0), "3 was delivered before");
    assert_eq!(positions(&rig.take(2)), [3, 4, 5]);
}

#[test]
fn an_unnamed_member_begins_where_it_is_told_and_its_settles_only_return_credit() {
    let mut rig = Rig::new();
    rig.publish(2, None);
    let group = try_join(&mut rig, 1, "g", None).unwrap();
    assert_eq!((group.ack_wait, group.new_group, group.made), (Duration::ZERO, true, 1));
    rig.publish(2, None);
    assert_eq!(positions(&rig.take(1)), [3, 4]);
    assert_eq!(rig.settle(1, 1, 1, Nack), [true]);
    assert_eq!(rig.take(1), []);
    rig.advance(WAIT * 2);
    assert_eq!(rig.take(1), [], "it has no lease that ends");
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Lost);
    assert_eq!(try_join(&mut rig, 1, "g", None).unwrap().next_position, 5, "nothing is kept of it");
}

#[test]
fn the_mode_is_fixed_by_who_makes_the_group() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    let mut cluster = group_spec("g", 7, admin::GroupSettings::default());
    cluster.settings.mode = Some(admin::GroupMode::Cluster.into());
    let spec = SubscribeSpec { group: Some(cluster), start: None, credit: MANY };
    let refused = rig.engine.subscribe(rig.now, TOPIC, sub(2), spec).unwrap_err().to_string();
    assert!(refused.contains("mode broadcast, not cluster"), "{refused}");
    let changed = rig.engine.update_group(
        TOPIC,
        &key("g"),
        &admin::GroupSettings { mode: Some(admin::GroupMode::Cluster.into()), ..admin::GroupSettings::default() },
    );
    assert!(changed.unwrap().is_err_and(|problem| problem.contains("fixed")));
}

#[test]
fn a_cluster_group_has_no_named_members_and_none_is_made() {
    let mut rig = Rig::new();
    rig.join(1, MANY);
    for name in ["g/a", "other/a"] {
        let group = group_spec(name, 7, admin::GroupSettings::default());
        let spec = SubscribeSpec { group: Some(group), start: None, credit: MANY };
        let refused = rig.engine.subscribe(rig.now, TOPIC, sub(2), spec);
        assert!(matches!(refused, Err(SubscribeError::NotBroadcast { .. })), "{name}: {refused:?}");
    }
    assert_eq!(rig.engine.groups(TOPIC, 0).len(), 1);
}

#[test]
fn a_durable_member_has_one_subscription_unless_the_first_ones_connection_is_lost() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    rig.publish(3, None);
    rig.take(1);
    rig.settle(1, 1, 1, Ack);
    let refused = try_join(&mut rig, 2, "g/a", Some(1)).unwrap_err();
    assert!(matches!(&refused, SubscribeError::MemberInUse { member, .. } if member.as_str() == "a"), "{refused}");
    rig.engine.suspend(TOPIC, sub(1));
    try_join(&mut rig, 2, "g/a", Some(1)).unwrap();
    assert_eq!(rig.take(2), [(1, 2, 2), (2, 3, 2)], "what the lost one held counts as lost with it");
    assert!(!rig.engine.resume(TOPIC, sub(1), 4), "somebody else has the member");
    assert_eq!(rig.settle(1, 2, 1, Ack), [false]);
    assert_eq!(rig.settle(2, 1, 2, Ack), [true, true]);
}

#[test]
fn a_member_that_is_only_held_back_is_not_taken_over() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    rig.engine.hold_back(TOPIC, sub(1));
    assert!(try_join(&mut rig, 2, "g/a", Some(1)).is_err());
    rig.engine.suspend(TOPIC, sub(1));
    assert!(rig.engine.resume(TOPIC, sub(1), 1));
    assert!(try_join(&mut rig, 2, "g/a", Some(1)).is_err(), "it has come back");
}

#[test]
fn what_never_arrived_comes_before_what_is_new_also_when_it_must_be_read_first() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    rig.publish(3, None);
    rig.take(1);
    rig.engine.suspend(TOPIC, sub(1));
    rig.publish(2, None);
    let (first, rest) = rig.blocks.blocks.split_first().map(|(first, rest)| (first.clone(), rest.to_vec())).unwrap();
    rig.blocks.blocks = rest;
    assert!(rig.engine.resume(TOPIC, sub(1), 2));
    rig.commit();
    assert_eq!(rig.take(1), [], "2 and 3 are not there yet");
    rig.blocks.blocks.insert(0, first);
    rig.engine.wake(TOPIC);
    rig.commit();
    assert_eq!(rig.take(1), [(2, 2, 1), (3, 3, 1), (4, 4, 1), (5, 5, 1)]);
}

#[test]
fn a_dead_letter_of_a_durable_member_goes_back_to_that_member() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    join(&mut rig, 2, "g/b");
    rig.publish(2, None);
    rig.got.clear();
    rig.settle_as(2, 1, 1, SettleKind::Reject.into());
    rig.settle(1, 1, 2, Ack);
    let letters = TOPIC.dead_letters(true);
    let block = rig.blocks.blocks.iter().find(|(topic, _)| *topic == letters).unwrap().1.clone();
    assert_eq!(super::super::group::letter(&block, 1).unwrap().group, "g/b");
    let of = |rig: &Rig, name: &str| rig.engine.letters(TOPIC, Some(&key(name)), 0, 10).letters.len();
    assert_eq!((of(&rig, "g"), of(&rig, "g/a"), of(&rig, "g/b")), (1, 0, 1));
    assert_eq!((summary(&rig, "g").dead_letters, summary(&rig, "g/b").dead_letters), (1, 1));
    rig.engine.redrive(TOPIC, 1, &block).unwrap();
    rig.commit();
    assert_eq!((rig.take(1).len(), positions(&rig.take(2))), (0, vec![1]));
}

#[test]
fn a_group_goes_with_its_durable_members_and_a_member_alone_once_nobody_has_them() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    join(&mut rig, 2, "g/b");
    join(&mut rig, 3, "g");
    let in_use = |name: &str, members| Err(DeleteError::InUse { group: key(name), members });
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g/a")), in_use("g/a", 1));
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g")), in_use("g", 3));
    rig.engine.leave(rig.now, TOPIC, sub(1), Leaving::Clean);
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g/a")), Ok(1));
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g/a")), Err(DeleteError::NotFound(key("g/a"))));
    for n in [2, 3] {
        rig.engine.leave(rig.now, TOPIC, sub(n), Leaving::Clean);
    }
    assert_eq!(rig.engine.delete_group(TOPIC, &key("g")), Ok(2));
    assert_eq!(rig.engine.groups(TOPIC, 0), []);
    rig.publish(1, None);
    assert_eq!(rig.engine.deadline(), None, "nothing is left of them");
}

#[test]
fn settings_and_seeks_of_a_broadcast_group_are_those_of_its_durable_members() {
    let mut rig = Rig::new();
    join(&mut rig, 1, "g/a");
    join(&mut rig, 2, "g/b");
    rig.publish(4, None);
    rig.got.clear();
    rig.settle(1, 1, 4, Ack);
    assert_eq!(rig.engine.seek_group(TOPIC, &key("g"), 3), Some(3));
    rig.commit();
    assert_eq!((positions(&rig.take(1)), positions(&rig.take(2))), (vec![3, 4], vec![3, 4]));
    assert_eq!(rig.engine.seek_group(TOPIC, &key("g/b"), 2), Some(2));
    rig.commit();
    assert_eq!((rig.take(1).len(), positions(&rig.take(2))), (0, vec![2, 3, 4]));
    let asked = admin::GroupSettings { max_failures: Some(1), ..admin::GroupSettings::default() };
    assert!(rig.engine.update_group(TOPIC, &key("g/a"), &asked).unwrap().is_err_and(|p| p.contains("group g")));
    assert_eq!(rig.engine.update_group(TOPIC, &key("g"), &asked), Some(Ok(())));
    assert!(["g", "g/a", "g/b"].iter().all(|name| summary(&rig, name).settings.max_failures == 1));
}

#[test]
fn groups_and_durable_members_are_counted_together() {
    let mut rig = Rig::new();
    let subscribe = |rig: &mut Rig, n: u64, name: &str, (most, room)| {
        let group = GroupSpec { most, room, ..group_spec(name, 100 * n as u32, broadcast()) };
        rig.engine.subscribe(rig.now, TOPIC, sub(n), SubscribeSpec { group: Some(group), start: None, credit: MANY })
    };
    assert_eq!(subscribe(&mut rig, 1, "g/a", (2, 2)).unwrap().made, 2);
    assert_eq!(subscribe(&mut rig, 2, "g", (2, 0)).unwrap().made, 0);
    let full = |joined| matches!(joined, Err(SubscribeError::Full { has: 2, .. }));
    assert!(full(subscribe(&mut rig, 3, "g/b", (2, 9))));
    assert!(full(subscribe(&mut rig, 3, "h/b", (3, 9))), "a group and a member would be two");
    assert!(matches!(subscribe(&mut rig, 3, "g/b", (9, 0)), Err(SubscribeError::GatewayFull { .. })));
    assert_eq!(summary(&rig, "g").durable.len(), 1, "nothing was made of what was refused");
}

#[test]
fn a_durable_member_can_be_made_before_it_connects() {
    let mut rig = Rig::new();
    rig.publish(3, None);
    assert_eq!(rig.engine.create_group(rig.now, TOPIC, &group_spec("g/a", 1, broadcast()), 2), Ok(2));
    assert_eq!(rig.engine.create_group(rig.now, TOPIC, &group_spec("g/b", 5, broadcast()), 3), Ok(1));
    join(&mut rig, 1, "g/a");
    join(&mut rig, 2, "g/b");
    assert_eq!((positions(&rig.take(1)), positions(&rig.take(2))), (vec![2, 3], vec![3]));
}

#[test]
fn pages_of_one_line_list_every_group_and_member_once() {
    let mut rig = Rig::new();
    let names = ["a", "g", "g/m", "g/n", "g/o", "h/m", "i"];
    for (n, name) in names.iter().enumerate().filter(|(_, name)| **name != "a" && **name != "i") {
        join(&mut rig, n as u64, name);
    }
    for (n, name) in [(8, "a"), (9, "i")] {
        let group = group_spec(name, n, rig.settings);
        rig.engine.create_group(rig.now, TOPIC, &group, 1).unwrap();
    }
    rig.commit();
    let all = rig.engine.groups(TOPIC, 1);
    assert_eq!(all.iter().map(|g| g.durable.len()).collect::<Vec<_>>(), [0, 3, 1, 0]);
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = rig.engine.groups_after((TOPIC, 1), after.as_ref(), &mut 0);
        assert!(page.groups.len() == 1 && page.groups[0].durable.len() <= 1, "{page:?}");
        let group = &page.groups[0];
        let whole = all.iter().find(|g| g.name == group.name).unwrap();
        assert_eq!((group.members, group.lag), (whole.members, whole.lag), "its numbers are of all its members");
        seen.push(group.durable.first().unwrap_or(group).name.to_string());
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(seen, ["a", "g", "g/m", "g/n", "g/o", "h", "h/m", "i"]);
    // Behind one that is gone by now is behind its name.
    let behind = rig.engine.groups_after((TOPIC, 1), Some(&key("g/mm")), &mut 0);
    assert_eq!(behind.groups[0].durable[0].name, key("g/n"));
    assert_eq!(rig.engine.group_within((TOPIC, 1), &key("g"), &mut 0).unwrap().1, Some(key("g")));
    assert_eq!(rig.engine.group_within((TOPIC, 1), &key("g/m"), &mut 0).unwrap().1, None);
}
