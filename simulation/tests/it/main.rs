//! Seeds that once found a defect, and stay.
#![allow(clippy::panic, missing_docs, reason = "tests fail by panicking")]

use meshwire_simulation::run;

#[test]
fn seeds_that_once_failed_pass() {
    // 24: deliveries for a number that a resume had given up dropped the connection.
    // 1043: a program whose new group found no space did not ask again.
    // 20267699230454: a log could not be opened when the segment behind a mark
    // was all that was left of it.
    // 33943149242631: the check took a delivery that a stalled wire had held back for a new one.
    // 900355, 902932: it did not know of a refusal that never reached its publisher.
    // 931: the ack of a dead letter that was given back was confirmed before it was kept.
    // 5550385: the check did not know of a delivery that was taken back and under way as its gateway ended.
    // 3100031: a request was sent again under the same number, and its connection refused.
    for seed in [24, 931, 1043, 20_267_699_230_454, 33_943_149_242_631, 900_355, 902_932, 5_550_385, 3_100_031] {
        let broken = run(seed).broken;
        assert!(broken.is_empty(), "seed {seed}: {:?}", broken.first());
    }
}
