//! Redelivery, retry, dead letters, rebalance and drain: the table.
//!
//! A redelivery is due at a moment that its case names; it may be late by a tenth of its
//! wait or 50 ms, whichever is more, and never early. At the end of each case every event
//! is settled or exactly one dead letter, and nothing comes any more.

use meshwire_gateway::engine::planted::{Defect, plant};

use super::play::Case;
use super::stage::Keeps;

macro_rules! cases {
    ($($says:literal, $group:literal, $play:literal, $letters:literal;)*) => {
        &[$(Case { says: $says, group: $group, play: $play, letters: $letters }),*]
    };
}

#[rustfmt::skip]
const REDELIVERY: &[Case] = cases![
    "what is not settled comes again when its lease ends",
    "wait 10000", "a joins; publish 1; a gets 1; +10000 a gets 1#2; a acks 1", "";

    "what was acked does not come again, and its neighbours do",
    "wait 10000", "a joins; publish 1..3; a gets 1..3; a acks 2; +10000 a gets 1#2 3#2; a acks 1 3", "";

    "a lease that ends again and again is an attempt more each time",
    "wait 5000 failures 0",
    "a joins; publish 1; a gets 1; +5000 a gets 1#2; +5000 a gets 1#3; +5000 a gets 1#4; a acks 1", "";

    "a member that hangs holds up its own event only",
    "wait 10000",
    "a joins credit 1; publish 1; a gets 1; b joins; publish 2..9; b gets 2..9; b acks 2..9; +10000 any gets 1#2;
     any acks 1", "";

    "an extension begins the lease anew",
    "wait 10000", "a joins; publish 1; a gets 1; wait 6000; a extends 1; +10000 a gets 1#2; a acks 1", "";

    "an event that is extended in time never comes again",
    "wait 10000",
    "a joins; publish 1; a gets 1; wait 9000; a extends 1; wait 9000; a extends 1; wait 9000; a extends 1; quiet 9000;
     a acks 1 surely", "";

    "what was extended too late comes again, and the extension is lost",
    "wait 5000",
    "a joins; publish 1; a gets 1; a drains; b joins; +5000 b gets 1#2; a extends 1 lost; b acks 1", "";

    "an ack after the lease counts while nobody else has the event",
    "wait 5000", "a joins; publish 1; a gets 1; a drains; wait 20000; a acks 1 surely; b joins", "";

    "an ack after somebody else got the event is lost",
    "wait 5000", "a joins; publish 1; a gets 1; a drains; b joins; +5000 b gets 1#2; a acks 1 lost; b acks 1", "";

    "the first settlement wins, and the same again is good",
    "", "a joins; publish 1 2; a gets 1 2; a acks 1 surely; a acks 1 surely; a nacks 1 lost; a rejects 1 lost;
         a rejects 2 surely; a acks 2 lost", "2 rejected 1";

    "after a change to a shorter wait leases of a member last as long as it was told, over a lost connection too",
    "wait 20000",
    "a joins; update wait 5000; publish 1; a gets 1; +20000 a gets 1#2; wait 9000; a extends 1; a is cut; wait 5000;
     quiet 14000; a acks 1 surely", "";

    "a shorter wait is for members that join after it, beside one that was told a longer wait",
    "wait 20000",
    "a joins credit 1; publish 1; a gets 1; update wait 5000; b joins whatever; publish 2; b gets 2; +5000 b gets 2#2; b acks 2;
     +20000 any gets 1#2; any acks 1", "";

    "a longer wait counts from the next delivery on",
    "wait 5000",
    "a joins; publish 1; a gets 1; update wait 20000; +5000 a gets 1#2; +20000 a gets 1#3; a acks 1", "";
];

#[rustfmt::skip]
const KEYS: &[Case] = cases![
    "a lease that ends takes back what follows in its key, in order",
    "wait 10000",
    "a joins; publish 1@k 2@k 3; a gets 1..3; a acks 3; +10000 a gets 1#2 2#2; a acks 1 2", "";

    "only the first event of a key fails when its lease ends",
    "wait 10000 failures 1", "a joins; publish 1@k 2@k; a gets 1 2; +10000 a gets 2#2; a acks 2", "1 failures 1 why the ack wait ended";

    "a nack takes back what follows in its key, and acks of that are lost",
    "",
    "a joins; publish 1@k 2@k; a gets 1 2; a nacks 1 for 3000; a acks 2 lost; +3000 a gets 1#2 2#2; a acks 1 2", "";

    "an ack before the nack of a later event of its key stands",
    "", "a joins; publish 1@k 2@k 3@k; a gets 1..3; a acks 1; a nacks 2 for 1000; +1000 a gets 2#2 3#2; a acks 2 3", "";

    "what is said while there is no connection keeps its order, confirmed or not",
    "", "a joins; publish 1@k 2@k; a gets 1 2; a is cut; wait 2; a nacks 1 for 0 later; a acks 2; @0..1000 a gets 1#2 2#2; a acks 1 2", "";

    "a delayed event holds its key and no other",
    "",
    "a joins; publish 1@k 2@k 3@j; a gets 1..3; a nacks 1 for 2000; publish 4@k 5@j; a gets 5; a acks 3 5;
     +2000 a gets 1#2 2#2 4; a acks 1 2 4", "";

    "a delayed event without a key holds nothing",
    "", "a joins; publish 1 2; a gets 1 2; a nacks 1 for 5000; publish 3; a gets 3; a acks 2 3; +5000 a gets 1#2;
         a acks 1", "";

    "in strict order the next event of a key waits until the one before it is settled",
    "strict", "a joins; publish 1@k 2@k 3; a gets 1 3; quiet 5000; a acks 1; a gets 2; a acks 2 3", "";

    "in strict order a retry comes before what follows in its key",
    "strict",
    "a joins; publish 1@k 2@k; a gets 1; a nacks 1 for 1000; +1000 a gets 1#2; a acks 1; a gets 2; a acks 2", "";
];

#[rustfmt::skip]
const RETRY: &[Case] = cases![
    "with the defaults an event is tried five times with doubled waits, then it is one dead letter",
    "",
    "a joins; publish 1; a gets 1; a nacks 1; +1000..1200 a gets 1#2; a nacks 1; +2000..2400 a gets 1#3; a nacks 1;
     +4000..4800 a gets 1#4; a nacks 1; +8000..9600 a gets 1#5; a nacks 1", "1 failures 5 why the consumer nacked it, without a reason";

    "the wait grows up to its most",
    "backoff 1000 3000 failures 0",
    "a joins; publish 1; a gets 1; a nacks 1; +1000..1200 a gets 1#2; a nacks 1; +2000..2400 a gets 1#3; a nacks 1;
     +3000..3600 a gets 1#4; a nacks 1; +3000..3600 a gets 1#5; a acks 1", "";

    "without a wait it comes again at once",
    "backoff 0 0 failures 0", "a joins; publish 1; a gets 1; a nacks 1; +0 a gets 1#2; a nacks 1; +0 a gets 1#3; a acks 1", "";

    "a nack that names a delay is due after it, shorter or longer than the group's",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 100; +100 a gets 1#2; a nacks 1 for 60000; +60000 a gets 1#3; a acks 1", "";

    "a nack that names no wait at all comes again at once",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 0; +0 a gets 1#2; a acks 1", "";

    "a delay is kept over a kill of the gateway",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 20000 surely; kill; +20000 a gets 1#2; a acks 1", "";

    "a delay is kept over a loss of power",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 20000 surely; power; +20000 a gets 1#2; a acks 1", "";

    "a plain nack that the log had time for is kept over a kill",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 20000; wait 20; kill; +20000 a gets 1#2; a acks 1", "";

    "a delay goes on while the gateway is down",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 8000 surely; a leaves; down; wait 30000; up; b joins; b gets 1#2; b acks 1", "";

    "a group's own wait is kept over a kill, too",
    "backoff 20000 20000",
    "a joins; publish 1; a gets 1; a nacks 1 surely; kill; +20000..24000 a gets 1#2; a acks 1", "";

    "failures are counted over kills",
    "failures 3 backoff 0 0",
    "a joins; publish 1; a gets 1; a nacks 1 surely; a gets 1#2; a nacks 1 surely; a gets 1#3; kill;
     @0..1000 a gets 1#3; a nacks 1", "1 failures 3 why the consumer nacked it, without a reason";

    "a restart of the gateway is no failure",
    "failures 1", "a joins; publish 1; a gets 1; kill; @0..1000 a gets 1; kill; @0..1000 a gets 1; a acks 1", "";

    "other limits count at once: what failed too often by them is given up",
    "failures 0 backoff 0 0",
    "a joins; publish 1; a gets 1; a nacks 1; a gets 1#2; a nacks 1 for 60000; update failures 2; quiet 90000", "1 failures 2 why the consumer nacked it, without a reason";

    "an event that failed and is too old is given up when it is due",
    "age 60000", "a joins; publish 1 2; a gets 1 2; a acks 2; a nacks 1 for 40000; +40000 a gets 1#2; a nacks 1 for 40000;
                  quiet 60000", "1 age 2 why the consumer nacked it, without a reason";

    "what never failed is delivered however old it is",
    "age 60000", "publish 1; wait 300000; a joins; a gets 1; a acks 1", "";

    "a delayed event that nobody is there for waits for who comes",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 1000; wait 20; a leaves; wait 60000; b joins; b gets 1#2; b acks 1", "";
];

#[rustfmt::skip]
const DEAD_LETTERS: &[Case] = cases![
    "after so many nacks there is one dead letter",
    "failures 3 backoff 0 0",
    "a joins; publish 1 2; a gets 1 2; a acks 2; a nacks 1; a gets 1#2; a nacks 1; a gets 1#3; a nacks 1; quiet 1000; letters 1",
    "1 failures 3 why the consumer nacked it, without a reason";

    "after so many ended leases there is one dead letter",
    "failures 2 wait 5000", "a joins; publish 1; a gets 1; +5000 a gets 1#2; quiet 20000", "1 failures 2 why the ack wait ended";

    "after so many lost members there is one dead letter",
    "failures 2", "a joins; publish 1; a gets 1; a dies; b joins; @5000 b gets 1#2; b dies; c joins; quiet 30000", "1 failures 2 why its consumer was lost";

    "a nack, an ended lease and a lost member each count once",
    "failures 3 wait 20000 backoff 0 0",
    "a joins; publish 1; a gets 1; a nacks 1; a gets 1#2; +20000 a gets 1#3; a dies; b joins; quiet 30000", "1 failures 3 why its consumer was lost";

    "a rejected event is a dead letter at once, with what the consumer said",
    "", "a joins; publish 1 2; a gets 1 2; a rejects 1 why broken; a acks 2; quiet 1000; letters 1", "1 rejected 1 why broken";

    "a rejection is one dead letter however often it is said",
    "", "a joins; publish 1; a gets 1; a rejects 1 surely; a rejects 1 surely; kill; quiet 5000; letters 1",
    "1 rejected 1";

    "the last words of the consumer are in the letter",
    "failures 2 backoff 0 0", "a joins; publish 1; a gets 1; a nacks 1 why first; a gets 1#2; a nacks 1 why second", "1 failures 2 why second";

    "each group has a dead letter of its own",
    "failures 1",
    "a joins; b joins of h; publish 1; a gets 1; b gets 1; b nacks 1; wait 20; a rejects 1", "1 failures 1 of h why the consumer nacked it, without a reason, 1 rejected 1";

    "after a dead letter its key goes on",
    "", "a joins; publish 1@k 2@k; a gets 1 2; a rejects 1; quiet 1000; a acks 2 surely; publish 3@k; a gets 3; a acks 3", "1 rejected 1";

    "a key that is held waits for its dead letter, which comes first when it is given back",
    "hold", "a joins; publish 1@k 2@k 3; a gets 1..3; a acks 3; a rejects 1; quiet 60000; redrive all; a gets 1;
             quiet 1000; a acks 1; a gets 2#2; a acks 2", "";

    "a key that is held goes on when its dead letter is removed",
    "hold", "a joins; publish 1@k 2@k; a gets 1 2; a rejects 1; quiet 60000; purge 1; a gets 2#2; a acks 2", "";

    "a key goes on when its group is told to wait for dead letters no more",
    "hold", "a joins; publish 1@k 2@k; a gets 1 2; a rejects 1; quiet 60000; update continue; a gets 2#2; a acks 2", "1 rejected 1";

    "a key that waits since before a kill goes on as well",
    "hold", "a joins; publish 1@k 2@k 3@k; a gets 1..3; a rejects 1; quiet 5000; kill; quiet 5000; update continue; a gets 2 3;
             a acks 2 3", "1 rejected 1";

    "a dead letter that is given back and acked is gone",
    "", "a joins; publish 1 2; a gets 1 2; a acks 2; a rejects 1; wait 20; redrive 1; a gets 1; a acks 1 surely; letters 0", "";

    "giving it back twice gives it back once",
    "", "a joins; publish 1; a gets 1; a rejects 1; wait 20; redrive 1; redrive all; a gets 1; quiet 1000; a acks 1", "";

    "a dead letter that is given back has all its attempts again, and is one letter when it fails again",
    "failures 2 backoff 1000 1000",
    "a joins; publish 1; a gets 1; a rejects 1; wait 20; redrive all; a gets 1; a nacks 1; +1000..1200 a gets 1#2; a nacks 1",
    "1 failures 2 why the consumer nacked it, without a reason";

    "a dead letter goes back to its own group alone",
    "", "a joins; b joins of h; publish 1; a gets 1; b gets 1; b acks 1; a rejects 1; wait 20; redrive all; a gets 1;
         quiet 1000; a acks 1", "";

    "one that is given back before it is kept is not lost: it can be given back once it is",
    "", "a joins; publish 1; a gets 1; a rejects 1; redrive all; redrive 1; wait 20; letters 1; redrive all; a gets 1; a acks 1", "";

    "many are given back in one go, in their order",
    "", "a joins; publish 1..20; a gets 1..20; a rejects 1..20; wait 20; letters 20; redrive all; a gets 1..20; a acks 1..20", "";

    "what is removed never comes again",
    "", "a joins; publish 1 2; a gets 1 2; a rejects 1 2; wait 20; purge 1; redrive all; a gets 2; a acks 2", "";

    "dead letters are kept over a kill",
    "", "a joins; publish 1 2; a gets 1 2; a rejects 1 surely; a acks 2 surely; kill; wait 5000; letters 1", "1 rejected 1";

    "dead letters are kept over a loss of power",
    "", "a joins; publish 1 2; a gets 1 2; a rejects 1 surely; a acks 2 surely; power; wait 5000; letters 1", "1 rejected 1";

    "what was given back comes again after a kill, and is a letter until it is acked",
    "", "a joins; publish 1; a gets 1; a rejects 1 surely; redrive all; a gets 1; kill; @0..1000 a gets 1; letters 1;
         a acks 1 surely; letters 0", "";

    "a full disk keeps a dead letter waiting, and it is made once there is room",
    "", "a joins; publish 1 2; a gets 1 2; a acks 2; disk full; a rejects 1; quiet 5000; disk free; quiet 3000; letters 1", "1 rejected 1";

    "a poison event does not take its neighbours with it",
    "failures 3",
    "a joins; publish 1..256; a gets 1..256; a dies; b joins; @5000 b gets 1..256#2; b dies; c joins; @5000 c works 1..99#3;
     c gets 100#3; c dies; d joins; @5000 d works 101..256#3", "100 failures 3 why its consumer was lost";
];

#[rustfmt::skip]
const REBALANCE: &[Case] = cases![
    "what a member that leaves held comes to another one at once, and is no failure",
    "failures 1", "a joins; publish 1 2; a gets 1 2; b joins; a leaves; @0 b gets 1#2 2#2; b acks 1 2", "";

    "what a member that died held comes when its session can be resumed no more",
    "", "a joins; publish 1 2; a gets 1 2; b joins; a dies; @5000 b gets 1#2 2#2; b acks 1 2", "";

    "of a key only the first event of a member that died fails",
    "failures 1", "a joins; publish 1@k 2@k; a gets 1 2; b joins; a dies; @5000 b gets 2#2; b acks 2", "1 failures 1 why its consumer was lost";

    "a connection that is cut keeps its leases",
    "", "a joins; publish 1; a gets 1; b joins; a is cut; quiet 4000; a acks 1 surely", "";

    "an event lost with two members is delivered alone from then on",
    "failures 0",
    "a joins; publish 1 2; a gets 1 2; a dies; b joins; @5000 b gets 1#2 2#2; b dies; c joins; @5000 c gets 1#3; quiet 1000;
     c acks 1; c gets 2#3; c acks 2", "";

    "a key stays with its member while one of its events is there",
    "", "a joins; publish 1@k; a gets 1; b joins; publish 2..40@k; a gets 2..40; a acks 1..40", "";

    "the key of a member that leaves goes to another one whole and in order",
    "", "a joins; publish 1@k 2@k 3@k; a gets 1..3; b joins; a acks 1; a leaves; @0 b gets 2#2 3#2; publish 4@k; b gets 4;
         b acks 2 3 4", "";

    "a member without room gets nothing, another one does",
    "", "a joins credit 1; publish 1; a gets 1; b joins; publish 2 3; b gets 2 3; b acks 2 3; a acks 1", "";

    "no more than the group may have is in flight, whoever has it",
    "in_flight 2", "a joins; b joins; publish 1..3; any gets 1 2; quiet 5000; any acks 1; any gets 3; any acks 2 3", "";

    "what waits for a delay comes to whoever is there then",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 5000; wait 20; b joins; a leaves; +5000 b gets 1#2; b acks 1", "";

    "a group whose last member left goes on where it was",
    "", "a joins; publish 1..4; a gets 1..4; a acks 1 2; a leaves; wait 60000; b joins; b gets 3#2 4#2; b acks 3 4", "";

    "a group goes on where it was after a kill",
    "", "a joins; publish 1..4; a gets 1..4; a acks 1 surely; a acks 3 surely; kill; @0..1000 a gets 2 4; a acks 2 4", "";

    "a group that is sought back gets everything from there as if for the first time",
    "failures 1", "a joins; publish 1..3; a gets 1..3; a acks 1..3; wait 20; seek 2; a gets 2 3; a acks 2 3", "";

    "who joins and leaves at once disturbs nobody",
    "failures 1", "a joins; publish 1..3; a gets 1..3; b joins; b leaves; c joins; c leaves; quiet 5000; a acks 1..3 surely", "";
];

#[rustfmt::skip]
const CLOCKS: &[Case] = cases![
    "a wall clock that jumps forward changes no wait and ends no lease",
    "wait 20000",
    "a joins; publish 1 2; a gets 1 2; a nacks 1 for 10000; wait 1000; clock 86400000; +10000 a gets 1#2; +20000 a gets 2#2;
     a acks 1 2 surely", "";

    "a wall clock that jumps back changes no wait and ends no lease",
    "wait 20000",
    "a joins; publish 1 2; a gets 1 2; a nacks 1 for 10000; wait 1000; clock -86400000; +10000 a gets 1#2; +20000 a gets 2#2;
     a acks 1 2 surely", "";

    "events stay in order, and duplicates are told apart, whatever the wall clock says",
    "", "a joins; publish 1@k; clock -3600000; publish 2@k; again 1 2; clock 3700000; publish 3@k; again 3; clock -100000; publish 4@k;
         a gets 1..4; a acks 1..4", "";

    "over a restart with a clock set back a wait is not longer than it was",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 20000 surely; clock -3600000; kill; @0..20000 a gets 1#2; a acks 1", "";

    "over a restart with a clock set forward an event comes, and only once",
    "", "a joins; publish 1; a gets 1; a nacks 1 for 20000 surely; clock 3600000; kill; @0..20000 a gets 1#2; quiet 20000; a acks 1", "";

    "dead letters are made and given back whatever the wall clock says",
    "failures 2 backoff 1000 1000",
    "a joins; publish 1; a gets 1; a nacks 1; clock -3600000; +1000..1200 a gets 1#2; a nacks 1; wait 20; clock 7200000; redrive all;
     a gets 1; a acks 1", "";
];

#[rustfmt::skip]
const SEEKS: &[Case] = cases![
    "a seek beyond the end passes over what is there and holds nobody up",
    "", "a joins; publish 1..3; a gets 1..3; seek 1000; a acks 1 lost; publish 4; a gets 4; a acks 4", "";

    "a seek before the start begins with the first event",
    "", "a joins; publish 1..3; a gets 1..3; a acks 1..3; wait 20; seek 0; a gets 1..3; a acks 1..3", "";

    "a seek while events wait for their delay forgets the wait",
    "", "a joins; publish 1..3; a gets 1..3; a acks 2 3; a nacks 1 for 60000; wait 20; seek 1; a gets 1..3; a acks 1..3", "";

    "a seek is kept over a kill",
    "", "a joins; publish 1..3; a gets 1..3; a acks 1..3 surely; seek 2; a gets 2 3; kill; @0..1000 a gets 2 3; a acks 2 3", "";
];

#[rustfmt::skip]
const DRAIN: &[Case] = cases![
    "a member that drains finishes what it has and gets nothing new",
    "", "a joins credit 2; publish 1..4; a gets 1 2; a drains; a acks 1 2 surely; quiet 5000; b joins; b gets 3 4; b acks 3 4", "";

    "what a member that drained has not finished comes to others when it leaves",
    "failures 1", "a joins; publish 1 2; a gets 1 2; a drains; a acks 1; a leaves; b joins; b gets 2#2; b acks 2", "";

    "a gateway that stops waits for what is in flight, and nothing of it comes again",
    "", "a joins; publish 1 2; a gets 1 2; stop; wait 3000; a acks 1 2; stopped 100; up; quiet 10000", "";

    "a gateway that stops delivers nothing new",
    "", "a joins credit 1; publish 1 2; a gets 1; stop; quiet 1000; a acks 1; quiet 1000; stopped 100; up; @0..6000 a gets 2; a acks 2", "";

    "a gateway that stops with nothing in flight does so at once",
    "", "a joins; publish 1; a gets 1; a acks 1 surely; stop; stopped 10; up", "";

    "what is in flight at the deadline of the stop comes again and is no failure",
    "failures 1", "a joins; publish 1; a gets 1; stop; stopped 10000; up; @0..6000 a gets 1; a acks 1", "";

    "a retry while the gateway stops waits for the next one",
    "", "a joins; publish 1; a gets 1; stop; a nacks 1 for 500; quiet 1000; stopped 100; up; @0..6000 a gets 1#2; a acks 1", "";

    "a drain loses nothing of many",
    "", "a joins credit 100; publish 1..500; a gets 1..100; stop; wait 500; a acks 1..60; stopped 10000; up;
         @0..6000 a gets 61..160; a acks 61..160; a gets 161..260; a acks 161..260; a gets 261..360; a acks 261..360;
         a gets 361..460; a acks 361..460; a gets 461..500; a acks 461..500", "";
];

#[test]
fn redelivery_comes_when_it_is_due_and_never_early() {
    play(REDELIVERY);
}

#[test]
fn keys_keep_their_order_over_retries() {
    play(KEYS);
}

#[test]
fn a_retry_is_due_when_its_nack_or_its_group_says() {
    play(RETRY);
}

#[test]
fn an_exhausted_event_is_exactly_one_dead_letter() {
    play(DEAD_LETTERS);
}

#[test]
fn events_move_with_the_members_that_come_and_go() {
    play(REBALANCE);
}

#[test]
fn clocks_that_jump_both_ways_change_no_wait() {
    play(CLOCKS);
}

#[test]
fn a_seek_beyond_either_end_goes_to_that_end() {
    play(SEEKS);
}

#[test]
fn a_drain_loses_nothing() {
    play(DRAIN);
}

/// Mistakes of the engine that the table is there for: each is caught by a case of it.
#[test]
fn a_mistake_of_the_engine_is_caught_by_the_table() {
    let planted = [
        (Defect::LeaseGivenTwice, DRAIN),
        (Defect::KeyIgnored, REBALANCE),
        (Defect::TakeBackForgotten, KEYS),
        (Defect::FailuresForgotten, RETRY),
        (Defect::LetterForgotten, DEAD_LETTERS),
        (Defect::DelayIgnored, RETRY),
        (Defect::AckForgotten, REDELIVERY),
        (Defect::ExtendIgnored, REDELIVERY),
        (Defect::LateSettleTaken, REDELIVERY),
        (Defect::AttemptUncounted, REDELIVERY),
        (Defect::LeavingKeeps, REBALANCE),
        (Defect::RedriveForgotten, DEAD_LETTERS),
        (Defect::PurgeForgotten, DEAD_LETTERS),
        (Defect::ReasonForgotten, DEAD_LETTERS),
        (Defect::UpdateIgnored, RETRY),
    ];
    for (defect, cases) in planted {
        plant(Some(defect));
        let caught = cases.iter().any(|case| case.play(Keeps::Log).is_err());
        plant(None);
        assert!(caught, "no case sees {defect:?}");
    }
}

/// What is not so is refused: the words of a case say something.
#[test]
fn a_case_that_is_not_so_fails() {
    #[rustfmt::skip]
    let forged: &[(Case, &str)] = &[
        (case("", "a joins; publish 1; a gets 1; a nacks 1 for 1000; +1100 a gets 1#2; a acks 1", ""), "due from"),
        (case("", "a joins; publish 1; a gets 1; a nacks 1 for 1000; +900 a gets 1#2; a acks 1", ""), "did not come by"),
        (case("", "a joins; publish 1; a gets 1; a nacks 1 for 0; a gets 1", ""), "1#2 came instead of 1"),
        (case("", "a joins; publish 1@k 2@k; a gets 2 1", ""), "1 came instead of 2"),
        (case("", "a joins; publish 1 2; a gets 1; a acks 1", ""), "came at"),
        (case("", "a joins; publish 1; a gets 1; a rejects 1", ""), "the dead letters are `1 rejected 1`, not ``"),
        (case("", "a joins; publish 1; a gets 1; a acks 1", "1 rejected 1"), "the dead letters are ``"),
        (case("", "a joins; publish 1; a gets 1; a acks 1 lost", ""), "1 was answered"),
        (case("", "a joins; publish 1; a gets 1; a acks 1; a leaves; publish 2", ""), "left open"),
        (case("hold", "a joins; publish 1@k 2@k; a gets 1 2; a rejects 1; wait 20; redrive 1; a gets 1; a acks 1", ""), "came at"),
    ];
    for (case, expected) in forged {
        for keeps in Keeps::ALL {
            let wrong = case.play(keeps).expect_err(case.play);
            assert!(wrong.contains(expected), "{}: {wrong}", case.play);
        }
    }
}

const fn case(group: &'static str, play: &'static str, letters: &'static str) -> Case {
    Case { says: "forged", group, play, letters }
}

/// Plays every case on both stores; names all that fail.
fn play(cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        for keeps in Keeps::ALL {
            if (keeps == Keeps::Log || !case.needs_log())
                && let Err(sentence) = case.play(keeps)
            {
                wrong.push(format!("{} ({keeps:?}): {sentence}", case.says));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
