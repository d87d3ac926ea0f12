//! Three members of a group share its jobs; each job is done once, and the jobs of one
//! customer stay in order.
//!
//! ```sh
//! cargo run -p meshwire-examples --bin consumer_group -- mesh://127.0.0.1:7400
//! ```
#![expect(clippy::print_stdout, reason = "an example shows what happens")]

use std::collections::BTreeMap;
use std::sync::Mutex;

use meshwire::{Delivery, Event};
use tokio::sync::Notify;

const JOBS: usize = 12;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    // Without an argument: MESHWIRE_URL, else mesh://127.0.0.1:7400.
    let url = std::env::args().nth(1).unwrap_or_default();
    let mesh = meshwire::connect(&url).await?;
    for (job, customer) in (1..=JOBS).zip(["ada", "ben", "cy"].into_iter().cycle()) {
        mesh.publish("jobs", Event::json("job.asked", &job)?.key(customer)).await?;
    }

    let done: Mutex<BTreeMap<String, Vec<usize>>> = Mutex::default();
    let finished = Notify::new();
    // `Ok` acks; an error is a nack, and the job comes again after a while.
    let work = async |delivery: &Delivery| -> anyhow::Result<()> {
        let customer = delivery.event().key().unwrap_or_default().to_owned();
        let mut done = done.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        done.entry(customer).or_default().push(delivery.json()?);
        if done.values().map(Vec::len).sum::<usize>() == JOBS {
            finished.notify_waiters();
        }
        Ok(())
    };
    // What a member is sent ahead of its handlers no other one can have meanwhile.
    let member = || mesh.consume("jobs").group("workers").prefetch(2, 1 << 20).until(finished.notified()).run(work);
    tokio::try_join!(member(), member(), member())?;

    for (customer, jobs) in done.into_inner().unwrap_or_default() {
        println!("{customer}: {jobs:?}");
    }
    mesh.close().await?;
    Ok(())
}
