//! A burst in, a constant rate out (virtual time).

use super::*;

const STEP: Duration = Duration::from_millis(10);

/// Lets a second pass; the member acks what it gets. Gives how much it got in each step.
fn a_second(rig: &mut Rig) -> Vec<u64> {
    let step = |_| {
        rig.advance(STEP);
        let got = rig.take(1);
        if let Some((first, ..)) = got.first().copied() {
            rig.settle(1, first, got.len() as u32, Ack);
        }
        got.len() as u64
    };
    (0..100).map(step).collect()
}

fn summary(rig: &Rig) -> GroupSummary {
    rig.engine.groups(TOPIC, 0).remove(0)
}

#[test]
fn a_burst_of_ten_times_the_rate_for_a_minute_comes_out_at_the_rate_and_nothing_is_lost() {
    const RATE: u64 = 50;
    let mut rig = Rig::new();
    rig.settings.max_rate = Some(RATE as u32);
    rig.now.mono = Moment(3_600_000_000);
    rig.join(1, MANY);
    let mut seen = 0;
    for second in 1..=60 {
        rig.publish(10 * RATE, None);
        let steps = a_second(&mut rig);
        let got: u64 = steps.iter().sum();
        // After the first one, in which a pause may be made up for by a tenth of a second.
        assert!(got == RATE || (second == 1 && got <= RATE + RATE / 10 + 1), "{got} in second {second}");
        assert!(steps.iter().skip(1).all(|step| *step <= 1), "evenly");
        seen += got;
        assert_eq!(summary(&rig).lag, 10 * RATE * second - seen, "the backlog is shown");
    }
    // Then it is worked off at the same rate, to the last one.
    let all = 600 * RATE;
    while seen < all {
        let got: u64 = a_second(&mut rig).iter().sum();
        assert!(got == RATE || seen + got == all, "{got} of {}", all - seen);
        seen += got;
    }
    let end = summary(&rig);
    assert_eq!((end.lag, end.in_flight, end.floor), (0, 0, all + 1));
}

#[test]
fn other_rates_and_other_numbers_in_flight_act_while_the_group_runs() {
    let mut rig = Rig::new();
    rig.now.mono = Moment(3_600_000_000);
    rig.settings.max_rate = Some(10);
    rig.join(1, MANY);
    rig.publish(1000, None);
    a_second(&mut rig);
    assert_eq!(a_second(&mut rig).iter().sum::<u64>(), 10);
    let update = |rig: &mut Rig, settings| {
        rig.engine.update_group(TOPIC, &key("g"), &settings).unwrap().unwrap();
        rig.commit();
    };
    update(&mut rig, admin::GroupSettings { max_rate: Some(100), ..admin::GroupSettings::default() });
    a_second(&mut rig);
    assert_eq!(a_second(&mut rig).iter().sum::<u64>(), 100);
    update(
        &mut rig,
        admin::GroupSettings { max_rate: Some(0), max_in_flight: Some(3), ..admin::GroupSettings::default() },
    );
    assert_eq!(rig.take(1).len(), 3, "no rate any more, and three at a time");
    rig.advance(STEP);
    assert_eq!(rig.take(1).len(), 0);
    update(&mut rig, admin::GroupSettings { max_in_flight: Some(0), ..admin::GroupSettings::default() });
    assert!(rig.take(1).len() > 500, "all the rest");
}
