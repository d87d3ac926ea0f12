//! A log driven by hand, in virtual time, on a disk in memory.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use meshwire_proto::{Event, EventRunBuilder, GroupKey, Moment, TopicName, UnixMillis};

use crate::store::log::{Ended, LogOptions, LogStore, OpenError, Recovered, SimDisk, Task};
use crate::store::{
    Append, Block, Completions, Durability, Entry, GroupId, GroupSettings, Lookup, Op, Outcome, Position, ProducerMark,
    Store, StoreError, TopicId, Watermark, key_hash,
};

/// Wall-clock time of moment 0.
pub(super) const EPOCH_MS: i64 = 1_700_000_000_000;

/// A read that has ended.
pub(super) type Fetched = (TopicId, Position, Result<Block, StoreError>);

#[derive(Default)]
pub(super) struct Reports {
    pub(super) watermark: Mutex<Watermark>,
    pub(super) heads: Mutex<BTreeMap<TopicId, Position>>,
    pub(super) fetched: Mutex<Vec<Fetched>>,
    pub(super) looked_up: AtomicU64,
}

impl Completions for Reports {
    fn kept(&self, watermark: Watermark, heads: &[(TopicId, Position)]) {
        let mut last = self.watermark.lock().unwrap();
        assert!(last.written <= watermark.written && last.synced <= watermark.synced, "a watermark only rises");
        *last = watermark;
        for (topic, head) in heads {
            let before = self.heads.lock().unwrap().insert(*topic, *head);
            assert!(before.is_none_or(|b| b < *head), "a head only rises");
        }
    }

    fn fetched(&self, topic: TopicId, from: Position, result: Result<Vec<Block>, StoreError>) {
        let holds = |block: &Block| (block.first..block.next()).contains(&from);
        let result = result.map(|blocks| blocks.into_iter().find(holds).expect("the block that was asked for"));
        self.fetched.lock().unwrap().push((topic, from, result));
    }

    fn looked_up(&self) {
        self.looked_up.fetch_add(1, Ordering::Relaxed);
    }
}

/// Segments of a few records, so that little data does much.
pub(super) fn small() -> LogOptions {
    LogOptions {
        first_segment_bytes: 8 << 10,
        segment_bytes: 16 << 10,
        largest_write: 0,
        max_disk: 1 << 30,
        cache_bytes: 64 << 10,
        dedup_window_ms: 120_000,
        dedup_ids: 1000,
        salt: 0x5a17,
    }
}

pub(super) struct Rig {
    pub(super) disk: Arc<SimDisk>,
    pub(super) store: Arc<LogStore>,
    pub(super) recovered: Recovered,
    pub(super) reports: Reports,
    pub(super) micros: Arc<AtomicU64>,
    /// What the next append of each topic gets.
    pub(super) next: BTreeMap<TopicId, Position>,
    writing: Option<Ended>,
    working: Option<Ended>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self::open(Arc::new(SimDisk::new()), small(), Arc::default()).unwrap()
    }

    #[allow(clippy::needless_pass_by_value, reason = "tests give options they make on the spot")]
    pub(super) fn open(disk: Arc<SimDisk>, options: LogOptions, micros: Arc<AtomicU64>) -> Result<Self, OpenError> {
        let time = micros.clone();
        let clock = Arc::new(move || {
            let now = time.load(Ordering::Relaxed);
            (Moment(now), UnixMillis(EPOCH_MS + now as i64 / 1000))
        });
        let (store, recovered) = LogStore::open_on(disk.clone(), &options, clock)?;
        let next = recovered.fold.topics.iter().map(|(id, t)| (*id, t.next)).collect();
        let reports = Reports { watermark: Mutex::new(recovered.watermark), ..Reports::default() };
        Ok(Self { disk, store, recovered, reports, micros, next, writing: None, working: None })
    }

    /// The process is killed and started again.
    pub(super) fn restart(self) -> Self {
        let Self { disk, store, micros, .. } = self;
        drop(store);
        Self::open(disk, small(), micros).unwrap()
    }

    pub(super) fn wall(&self) -> UnixMillis {
        UnixMillis(EPOCH_MS + self.micros.load(Ordering::Relaxed) as i64 / 1000)
    }

    pub(super) fn advance_ms(&self, ms: u64) {
        self.micros.fetch_add(ms * 1000, Ordering::Relaxed);
    }

    pub(super) fn reopen_sim_disk(&self) -> Arc<SimDisk> {
        Arc::new(self.disk.duplicate())
    }

    /// Begins what the log wants done; its effects are on the disk, its end is not told yet.
    pub(super) fn begin(&mut self) -> bool {
        let mut begun = false;
        if self.writing.is_none() {
            self.writing = self.store.next_write().map(|t| t.run(&*self.disk));
            begun |= self.writing.is_some();
        }
        if self.working.is_none() {
            self.working = self.store.next_job().map(|t| t.run(&*self.disk));
            begun |= self.working.is_some();
        }
        begun
    }

    /// The writer's next task, not carried out.
    pub(super) fn next_write(&mut self) -> Option<Task> {
        if self.writing.is_some() { None } else { self.store.next_write() }
    }

    /// Tells the ends of what was begun.
    pub(super) fn end(&mut self) {
        for ended in self.writing.take().into_iter().chain(self.working.take()) {
            self.store.ended(ended);
        }
        self.store.report(&self.reports);
    }

    /// Does everything there is to do now.
    pub(super) fn settle(&mut self) {
        self.store.report(&self.reports);
        while self.begin() {
            self.end();
        }
    }

    /// Lets time pass until the log is idle.
    pub(super) fn idle(&mut self) {
        for _ in 0..40 {
            self.settle();
            self.advance_ms(100);
            self.store.tick();
        }
        self.settle();
    }

    pub(super) fn topic(&mut self, id: u32, durability: Durability) -> TopicId {
        let topic = TopicId(id);
        let name = TopicName::parse(&format!("topic-{id}")).unwrap();
        self.store.commit(vec![Op::Topic { topic, name, durability, retention_ms: 7 * 86_400_000 }]);
        self.next.insert(topic, 1);
        topic
    }

    pub(super) fn group(&mut self, topic: TopicId, id: u32) -> GroupId {
        let group = GroupId(id);
        let name = GroupKey::parse(&format!("group-{id}")).unwrap();
        self.store.commit(vec![Op::Group { topic, group, name, start: 1, settings: GroupSettings::default() }]);
        group
    }

    /// An append of events of these sizes, for the next positions.
    pub(super) fn append(&mut self, topic: TopicId, sizes: &[usize]) -> Op {
        let first = self.next[&topic];
        self.next.insert(topic, first + sizes.len() as u64);
        append_at(topic, first, sizes, self.wall())
    }

    pub(super) fn publish(&mut self, topic: TopicId, sizes: &[usize]) -> u64 {
        let op = self.append(topic, sizes);
        self.store.commit(vec![op])
    }

    pub(super) fn ack(&self, topic: TopicId, group: GroupId, first: Position, count: u32) -> u64 {
        self.store.commit(vec![Op::Settle { topic, group, ranges: vec![(first, count, Outcome::Acked)] }])
    }

    pub(super) fn watermark(&self) -> Watermark {
        *self.reports.watermark.lock().unwrap()
    }

    /// The block at a position, fetched if need be.
    pub(super) fn read(&mut self, topic: TopicId, from: Position) -> Result<Block, Lookup> {
        match self.store.read(topic, from) {
            Lookup::Ready(block) => return Ok(block),
            Lookup::Pending(_) => {}
            other => return Err(other),
        }
        self.settle();
        let fetched = std::mem::take(&mut *self.reports.fetched.lock().unwrap());
        let answer = fetched.into_iter().find(|(t, p, _)| (*t, *p) == (topic, from)).expect("a fetch is answered");
        answer.2.map_err(|_| Lookup::Pending(from + 1))
    }

    /// Reads positions `from..to`, checks each event's bytes, and gives the positions that could be read.
    pub(super) fn read_all(&mut self, topic: TopicId, from: Position, to: Position) -> Vec<Position> {
        self.read_sizes(topic, from, to).into_iter().map(|(position, _)| position).collect()
    }

    /// The same, with the size of each event's data.
    pub(super) fn read_sizes(&mut self, topic: TopicId, mut from: Position, to: Position) -> Vec<(Position, usize)> {
        let mut found = Vec::new();
        while from < to {
            match self.read(topic, from) {
                Ok(block) => {
                    let sizes = check_block(topic, &block);
                    found.extend((block.first..).zip(sizes).filter(|(p, _)| (from..to).contains(p)));
                    from = block.next();
                }
                Err(Lookup::Gone(next)) => {
                    assert!(next > from, "a hole leads on");
                    from = next;
                }
                // Damaged: named once, then a hole.
                Err(Lookup::Pending(_)) => {}
                Err(other) => panic!("position {from} of {to}: {other:?}"),
            }
        }
        found
    }
}

/// Every byte of an event follows from its topic and position; its size is in the event.
pub(super) fn event(topic: TopicId, position: Position, size: usize) -> Bytes {
    let data = vec![(position * 7 + u64::from(topic.0)) as u8; size];
    let event = Event::bytes("test", data).id(format!("{}-{position}", topic.0)).source("/rig");
    event.key(format!("key-{}", position % 3)).encode().unwrap()
}

pub(super) fn append_at(topic: TopicId, first: Position, sizes: &[usize], stored: UnixMillis) -> Op {
    let mut run = EventRunBuilder::default();
    let mut index = Vec::new();
    for (position, size) in (first..).zip(sizes) {
        run.push(&event(topic, position, *size));
        index.push(Entry { end: run.len() as u32, key: key_hash(format!("key-{}", position % 3).as_bytes()) });
    }
    // One producer a topic, whose sequences are the positions.
    let mark = ProducerMark { producer: [topic.0 as u8; 16], epoch: 1, first_sequence: first, answered_through: 0 };
    let bytes = run.take().as_bytes().clone();
    Op::Append(Append { topic, first, stored, bytes, index, producer: Some(mark) })
}

/// A block is exactly what was appended, index included. Gives the sizes of its events' data.
pub(super) fn check_block(topic: TopicId, block: &Block) -> Vec<usize> {
    let mut sizes = Vec::new();
    let run = block.run(block.first, block.count()).unwrap();
    let mut end = 0;
    for (n, (framed, bytes)) in run.framed().enumerate() {
        let position = block.first + n as u64;
        let view = meshwire_proto::EventView::parse(bytes, meshwire_proto::EventLimits::default()).unwrap();
        sizes.push(view.data().bytes().len());
        assert_eq!(bytes, event(topic, position, view.data().bytes().len()), "position {position}");
        end += framed.len() as u32;
        let key = key_hash(format!("key-{}", position % 3).as_bytes());
        assert_eq!(block.index[n], Entry { end, key }, "position {position}");
    }
    assert_eq!(end as usize, block.bytes.len());
    sizes
}
