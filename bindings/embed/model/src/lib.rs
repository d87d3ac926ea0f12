//! Every order in which threads can meet in a queue, played by loom: nothing is lost, nothing comes twice, nobody waits for ever.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p meshwire-embed-model --release
//! ```
#![cfg(loom)]
#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

#[path = "../../src/rendezvous.rs"]
#[allow(dead_code, reason = "the queue uses all of it")]
mod rendezvous;

#[cfg(test)]
mod tests {
    use loom::sync::Arc;
    use loom::thread;

    use crate::rendezvous::{Refused, Rendezvous};

    fn queue(most: usize, begun: usize) -> Arc<Rendezvous<u32>> {
        let queue = Arc::new(Rendezvous::new(most));
        (0..begun).for_each(|_| queue.begin().unwrap());
        queue
    }

    fn complete(queue: &Arc<Rendezvous<u32>>, came: Vec<u32>) -> thread::JoinHandle<bool> {
        let queue = Arc::clone(queue);
        thread::spawn(move || queue.complete(came.into_iter()))
    }

    fn take(queue: &Arc<Rendezvous<u32>>, most: usize) -> thread::JoinHandle<Vec<u32>> {
        let queue = Arc::clone(queue);
        thread::spawn(move || {
            let mut taken = Vec::new();
            while taken.is_empty() && queue.take(most, None, &mut taken) {}
            taken
        })
    }

    #[test]
    fn what_two_threads_bring_comes_once_to_who_waits() {
        loom::model(|| {
            let queue = queue(2, 2);
            let brought = [complete(&queue, vec![1]), complete(&queue, vec![2])];
            let mut taken = Vec::new();
            while taken.len() < 2 {
                assert!(queue.take(2, None, &mut taken));
            }
            taken.sort_unstable();
            assert_eq!((taken, queue.begun()), (vec![1, 2], 0));
            let firsts = brought.into_iter().map(|thread| thread.join().unwrap());
            assert!((1..=2).contains(&firsts.filter(|first| *first).count()));
        });
    }

    #[test]
    fn two_who_take_one_by_one_share_what_came_together() {
        loom::model(|| {
            let queue = queue(2, 2);
            let takers = [take(&queue, 1), take(&queue, 1)];
            queue.complete(vec![1, 2].into_iter());
            let mut taken: Vec<u32> = takers.into_iter().flat_map(|taker| taker.join().unwrap()).collect();
            taken.sort_unstable();
            assert_eq!((taken, queue.begun()), (vec![1, 2], 0));
        });
    }

    #[test]
    fn a_wake_ends_one_wait_whenever_it_comes() {
        loom::model(|| {
            let queue = queue(1, 0);
            let waiter = {
                let queue = Arc::clone(&queue);
                thread::spawn(move || queue.take(1, None, &mut Vec::new()))
            };
            queue.wake();
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn an_end_reaches_who_waits_and_what_comes_then_gives_its_place_back() {
        loom::model(|| {
            let queue = queue(2, 2);
            let (brought, taker) = (complete(&queue, vec![1]), take(&queue, 2));
            let left = queue.close();
            let taken = taker.join().unwrap();
            brought.join().unwrap();
            assert!(taken.len() + left.len() <= 1);
            assert_eq!((queue.begin(), queue.begun()), (Err(Refused::Closed), 1), "one never came to anything");
            queue.withdraw();
        });
    }

    #[test]
    fn a_place_is_free_when_what_came_into_it_was_taken() {
        loom::model(|| {
            let queue = queue(1, 1);
            let brought = complete(&queue, vec![1]);
            let began = queue.begin();
            assert!(began == Err(Refused::Full), "it is taken until then");
            assert_eq!(take(&queue, 1).join().unwrap(), [1]);
            brought.join().unwrap();
            assert_eq!(queue.begin(), Ok(()));
        });
    }
}
