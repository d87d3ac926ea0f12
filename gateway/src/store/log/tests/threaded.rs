use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use meshwire_proto::{Moment, TopicName, UnixMillis};

use super::rig::{EPOCH_MS, append_at, check_block};
use crate::store::log::{LogClock, LogOptions, LogStore};
use crate::store::{
    Block, Completions, Durability, Lookup, Op, Position, Store, StoreError, Ticket, TopicId, Watermark,
};

type Fetches = Vec<(Position, Result<Block, StoreError>)>;

#[derive(Default)]
struct Waiting {
    state: Mutex<(Watermark, Fetches)>,
    changed: Condvar,
}

impl Completions for Waiting {
    fn kept(&self, watermark: Watermark, _: &[(TopicId, Position)]) {
        self.state.lock().unwrap().0 = watermark;
        self.changed.notify_all();
    }

    fn fetched(&self, _: TopicId, from: Position, result: Result<Vec<Block>, StoreError>) {
        let holds = |block: &Block| (block.first..block.next()).contains(&from);
        let result = result.map(|blocks| blocks.into_iter().find(holds).unwrap());
        self.state.lock().unwrap().1.push((from, result));
        self.changed.notify_all();
    }
}

impl Waiting {
    fn wait(&self, batch: u64) {
        let ticket = Ticket { batch, level: Durability::Synced };
        drop(self.changed.wait_while(self.state.lock().unwrap(), |s| !s.0.covers(ticket)).unwrap());
    }

    fn block(&self, store: &LogStore, topic: TopicId, from: Position) -> Block {
        if let Lookup::Ready(block) = store.read(topic, from) {
            return block;
        }
        let mut state =
            self.changed.wait_while(self.state.lock().unwrap(), |s| s.1.iter().all(|(p, _)| *p != from)).unwrap();
        let at = state.1.iter().position(|(p, _)| *p == from).unwrap();
        state.1.swap_remove(at).1.unwrap()
    }
}

fn clock() -> LogClock {
    let origin = Instant::now();
    Arc::new(move || {
        let micros = origin.elapsed().as_micros() as u64;
        (Moment(micros), UnixMillis(EPOCH_MS + micros as i64 / 1000))
    })
}

#[test]
fn many_publishers_on_real_threads_get_their_answers_and_a_restart_finds_every_event() {
    let folder = tempfile::tempdir().unwrap();
    let options = LogOptions { first_segment_bytes: 64 << 10, segment_bytes: 256 << 10, ..LogOptions::default() };
    let (store, _) = LogStore::open(folder.path(), &options, clock()).unwrap();
    let waiting = Arc::new(Waiting::default());
    store.start(waiting.clone()).unwrap();
    std::thread::scope(|scope| {
        for id in 1..=8 {
            let (store, waiting) = (&store, &waiting);
            scope.spawn(move || {
                let topic = TopicId(id);
                let name = TopicName::parse(&format!("topic-{id}")).unwrap();
                store.commit(vec![Op::Topic { topic, name, durability: Durability::Synced, retention_ms: 1 << 40 }]);
                for first in 1..=100 {
                    let claim = store.reserve(500).unwrap();
                    let batch = store.commit(vec![append_at(topic, first, &[400], UnixMillis(EPOCH_MS))]);
                    drop(claim);
                    waiting.wait(batch);
                    assert!(matches!(store.read(topic, first), Lookup::Ready(_)), "shown when it is answered");
                }
            });
        }
    });
    store.close();
    drop(store);
    let (store, recovered) = LogStore::open(folder.path(), &options, clock()).unwrap();
    assert_eq!((recovered.events, recovered.torn_bytes, recovered.damage.len()), (800, 0, 0));
    let waiting = Arc::new(Waiting::default());
    store.start(waiting.clone()).unwrap();
    for id in 1..=8 {
        let mut from = 1;
        while from <= 100 {
            let block = waiting.block(&store, TopicId(id), from);
            check_block(TopicId(id), &block);
            from = block.next();
        }
    }
    store.close();
}
