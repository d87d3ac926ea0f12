//! What protocols without a session call, without a protocol, by a clock of the test's own.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use meshwire_gateway::clock::Clock;
use meshwire_gateway::config::Config;
use meshwire_gateway::delivery::Sink;
use meshwire_gateway::engine::Now;
use meshwire_gateway::ingress::calls::{
    Calls, CallsConfig, Consumer, ConsumerRequest, FetchRequest, Fetched, Offer, Settlement, Start,
};
use meshwire_gateway::mesh::{
    Action, AllowAll, Caller, Credit, Mesh, SoFar, Stores, SubscribeRequest, SubscriptionKey,
};
use meshwire_gateway::recover::open_mesh;
use meshwire_gateway::store::memory::{MemoryConfig, MemoryStore};
use meshwire_proto::frame::{DeliverRun, SettleKind};
use meshwire_proto::wire::admin::{GroupMode, GroupSettings, ListTopics};
use meshwire_proto::{ErrorKind, GroupKey, Moment, Timing, UnixMillis};

use crate::rig::event;

/// Microseconds.
#[derive(Default)]
struct ByHand(AtomicU64);

impl Clock for ByHand {
    fn now(&self) -> Now {
        let micros = self.0.load(Ordering::Relaxed);
        Now { mono: Moment(micros), wall: UnixMillis(1_700_000_000_000 + i64::try_from(micros / 1000).unwrap()) }
    }
}

struct Bench {
    calls: Arc<Calls>,
    clock: Arc<ByHand>,
    caller: Caller,
    group: GroupKey,
}

impl Bench {
    fn new() -> Self {
        Self::with_rings(1 << 20)
    }

    fn with_rings(ring_bytes: usize) -> Self {
        let clock = Arc::new(ByHand::default());
        let memory = Arc::new(MemoryStore::new(MemoryConfig { ring_bytes, total_bytes: 1 << 22 }));
        let (stores, mut config) = (Stores { memory, log: None }, Config::default());
        config.memory = true;
        let mesh = open_mesh(config.mesh([7; 16]), clock.clone(), Arc::new(AllowAll), stores, None).unwrap();
        let config =
            CallsConfig { max_fetch_members: 10, session_bytes: 1 << 20, stop_timeout: Duration::from_secs(10) };
        let calls = Calls::new(mesh, config, [1; 24]);
        let group = GroupKey { group: meshwire_proto::GroupName::parse("g").unwrap(), member: None };
        Self { calls, clock, caller: Caller::anonymous("test", None), group }
    }

    fn mesh(&self) -> &Mesh {
        self.calls.mesh()
    }

    fn pass(&self, time: Duration) {
        self.clock.0.fetch_add(u64::try_from(time.as_micros()).unwrap(), Ordering::Relaxed);
        self.mesh().tick();
    }

    async fn publish(&self, ids: &[&str]) {
        let mut offer = Offer::default();
        ids.iter().for_each(|id| offer.event(Ok(event(id))));
        let taken = self.calls.publish(&self.caller, "t", offer, Timing::default()).await.unwrap();
        assert!(taken.iter().all(Result::is_ok), "{taken:?}");
    }

    async fn consume(&self) -> Consumer {
        let credit = Credit { events: 100, bytes: 1 << 20 };
        let (group, settings) = (Some(self.group.clone()), GroupSettings::default());
        let asked = ConsumerRequest { group, start: Start::Default, settings, credit };
        self.calls.consume(&self.caller, "t", asked).await.unwrap()
    }

    async fn fetch(&self, member: Option<&str>) -> Fetched {
        let (topic, group, wait) = ("t", &self.group, Duration::ZERO);
        let asked = FetchRequest { topic, group, member, max_events: 10, max_bytes: 1 << 20, wait };
        self.calls.fetch(&self.caller, asked).await.unwrap()
    }

    fn held(&self) -> u64 {
        self.mesh().held()
    }

    async fn ack(&self, lease: &str) -> Result<(), ErrorKind> {
        let settlement = Settlement { lease, kind: SettleKind::Ack, delay: None, reason: "" };
        let settled = self.calls.settle(&self.caller, ("t", &self.group), &[settlement], true).await.unwrap();
        settled[0].clone().map_err(|refusal| refusal.kind)
    }
}

fn attempts(fetched: &Fetched) -> Vec<(u64, u32)> {
    fetched.deliveries().iter().map(|d| (d.position, d.attempt)).collect()
}

#[tokio::test]
async fn what_a_consumer_had_not_handed_out_when_it_was_dropped_counts_as_never_delivered() {
    let bench = Bench::new();
    let mut consumer = bench.consume().await;
    bench.publish(&["1", "2", "3"]).await;
    assert_eq!(consumer.next().await.unwrap().unwrap().position, 1);
    assert_eq!(bench.held(), 3);
    drop(consumer);
    assert_eq!(bench.held(), 0);
    assert_eq!(attempts(&bench.fetch(None).await), [(1, 2), (2, 1), (3, 1)]);
}

/// What one subscriber was handed.
#[derive(Default)]
struct Handed(Mutex<Vec<(u64, u32, u64)>>);

impl Sink for Handed {
    fn deliver(&self, run: DeliverRun) {
        self.0.lock().unwrap().push((run.first_position, run.events.count(), run.gap));
    }

    fn ended(&self, _: u32) {}
}

impl Handed {
    /// First positions, counts and gaps of the runs since it was asked before.
    fn take(&self) -> Vec<(u64, u32, u64)> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Bench {
    /// A subscription without a group that waits with all credit.
    fn hand(&self) -> Arc<Handed> {
        let handed = Arc::new(Handed::default());
        let topic = self.mesh().open_topic(&self.caller, "t", Action::Subscribe).unwrap();
        let key = SubscriptionKey { session: self.mesh().new_session(), subscription: 1 };
        let asked = SubscribeRequest {
            group: None,
            start: Some(1),
            since: None,
            settings: GroupSettings::default(),
            credit: Credit { events: 100_000, bytes: 1 << 30 },
            plain: false,
        };
        let joined = self.mesh().subscribe(&self.caller, (topic, "t"), key, asked, handed.clone()).unwrap();
        assert!(joined.is_ok());
        self.mesh().start(topic, key);
        handed
    }
}

#[tokio::test]
async fn single_events_in_memory_are_delivered_in_one_run_by_a_task_if_there_is_one_and_large_runs_at_once() {
    let bench = Bench::new();
    let handed = bench.hand();
    bench.publish(&["1"]).await;
    assert_eq!(handed.take(), [(1, 1, 0)], "nobody else would");
    let tasks: Vec<_> = bench.mesh().deliver_late().into_iter().map(tokio::spawn).collect();
    bench.publish(&["2"]).await;
    assert_eq!(handed.take(), [(2, 1, 0)], "they have not begun");
    tokio::task::yield_now().await;
    bench.publish(&["3"]).await;
    bench.publish(&["4"]).await;
    assert_eq!(handed.take(), []);
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    assert_eq!(handed.take(), [(3, 2, 0)], "together");
    let many: Vec<String> = (10..2000).map(|id| id.to_string()).collect();
    bench.publish(&many.iter().map(String::as_str).collect::<Vec<_>>()).await;
    assert!(!handed.take().is_empty(), "at once");
    bench.publish(&["5"]).await;
    bench.mesh().stop();
    assert_eq!(handed.take().len(), 1, "it was taken before the stop");
    tasks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn what_is_left_to_a_task_is_less_than_any_ring_and_a_task_that_ends_is_left_nothing() {
    let bench = Bench::with_rings(64 << 10);
    let handed = bench.hand();
    let tasks: Vec<_> = bench.mesh().deliver_late().into_iter().map(tokio::spawn).collect();
    tokio::task::yield_now().await;
    // Nobody else runs meanwhile, and three times as much comes as the ring holds.
    for id in 0..200 {
        let mut offer = Offer::default();
        offer.event(Ok(event(&id.to_string()).text_data("x".repeat(1000))));
        assert!(bench.calls.publish(&bench.caller, "t", offer, Timing::default()).await.unwrap()[0].is_ok());
    }
    tokio::task::yield_now().await;
    tokio::task::yield_now().await;
    let runs = handed.take();
    assert_eq!(runs.iter().map(|(_, count, _)| count).sum::<u32>(), 200);
    assert!(runs.iter().all(|(.., gap)| *gap == 0) && runs.len() < 50, "{runs:?}");
    for task in tasks {
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
    }
    bench.publish(&["a"]).await;
    assert_eq!(handed.take().len(), 1);
}

#[tokio::test]
async fn a_fetch_that_was_never_handed_out_comes_to_the_next_as_if_never_delivered() {
    for member in [None, Some("m")] {
        let bench = Bench::new();
        bench.publish(&["1", "2"]).await;
        for _ in 0..2 {
            let fetched = bench.fetch(member).await;
            assert_eq!(attempts(&fetched), [(1, 1), (2, 1)], "{member:?}");
            drop(fetched);
            assert_eq!(bench.held(), 0);
        }
        let mut fetched = bench.fetch(member).await;
        fetched.handed_out();
        let leases: Vec<String> = fetched.deliveries().iter().filter_map(|d| d.lease.clone()).collect();
        drop(fetched);
        assert_eq!(bench.held(), 2);
        assert_eq!(bench.ack(&leases[1]).await, Ok(()));
        assert_eq!((bench.held(), bench.ack(&leases[0]).await), (1, Ok(())));
    }
}

#[tokio::test]
async fn a_lease_is_its_callers_alone() {
    let bench = Bench::new();
    bench.publish(&["1"]).await;
    let mut consumer = bench.consume().await;
    let lease = consumer.next().await.unwrap().unwrap().lease.unwrap();
    let other = Bench { caller: Caller::known("test", None, Some("other".into())), ..bench };
    assert_eq!(other.ack(&lease).await, Err(ErrorKind::Invalid));
    let same = Bench { caller: Caller::anonymous("another protocol", None), ..other };
    assert_eq!(same.ack(&lease).await, Ok(()));
}

#[tokio::test]
async fn a_fetch_by_name_of_which_nothing_comes_leaves_nothing_behind() {
    let bench = Bench::new();
    let by_name = |calls: &Calls| format!("{calls:?}").split("members_by_name: ").nth(1).unwrap()[..1].to_owned();
    let broadcast = GroupSettings { mode: Some(GroupMode::Broadcast.into()), ..GroupSettings::default() };
    let credit = Credit { events: 0, bytes: 0 };
    let asked = ConsumerRequest { group: Some(bench.group.clone()), start: Start::Latest, settings: broadcast, credit };
    let _broadcast = bench.calls.consume(&bench.caller, "b", asked).await.unwrap();
    let fetch = async |topic: &str, member: &str, wait: Duration| {
        let (group, member) = (&bench.group, Some(member));
        let asked = FetchRequest { topic, group, member, max_events: 10, max_bytes: 1 << 20, wait };
        bench.calls.fetch(&bench.caller, asked).await.map(drop).map_err(|refusal| refusal.kind)
    };
    for n in 0..5 {
        assert_eq!(fetch("b", &format!("m{n}"), Duration::ZERO).await, Err(ErrorKind::Unsupported));
    }
    assert_eq!(by_name(&bench.calls), "0", "they were refused");
    assert_eq!(fetch("t", "m", Duration::ZERO).await, Ok(()));
    assert_eq!(by_name(&bench.calls), "1", "one that got nothing may come again");
    // One that waits for the same member, and one that has joined when it is dropped, end with it or leave it as it is.
    let (held, waits) = (bench.fetch(Some("m")).await, fetch("t", "m", Duration::from_secs(9)));
    assert!(futures_util::FutureExt::now_or_never(waits).is_none());
    drop(held);
    assert_eq!(by_name(&bench.calls), "1");
    for n in 0..20 {
        let fetched = fetch("t", &format!("full{n}"), Duration::ZERO).await;
        assert_eq!(fetched, if n < 9 { Ok(()) } else { Err(ErrorKind::Busy) }, "{n}");
    }
    assert!(format!("{:?}", bench.calls).contains("members_by_name: 10,"), "{:?}", bench.calls);
}

#[tokio::test(start_paused = true)]
async fn members_that_hold_nothing_leave_after_half_a_minute_and_those_with_leases_stay() {
    let bench = Bench::new();
    let keeping = tokio::spawn({
        let calls = bench.calls.clone();
        async move { calls.keep_time().await }
    });
    bench.publish(&["1"]).await;
    bench.fetch(None).await.handed_out();
    drop(bench.fetch(Some("idle")).await);
    assert_eq!(members(&bench), 2);
    // A lease of the default lasts 30 s.
    for _ in 0..5 {
        bench.pass(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!((members(&bench), bench.held()), (2, 1));
    for _ in 0..4 {
        bench.pass(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!((members(&bench), bench.held()), (1, 0));
    for _ in 0..8 {
        bench.pass(Duration::from_secs(5));
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    assert_eq!(members(&bench), 0);
    keeping.abort();
}

#[tokio::test]
async fn when_the_gateway_stops_what_was_handed_out_stays_leased_until_it_closes_and_nothing_else() {
    let bench = Bench::new();
    bench.publish(&["1", "2"]).await;
    let mut fetched = bench.fetch(None).await;
    fetched.handed_out();
    let leases: Vec<String> = fetched.deliveries().iter().filter_map(|d| d.lease.clone()).collect();
    drop(fetched);
    let mut consumer = bench.consume().await;
    bench.publish(&["3", "4", "5"]).await;
    let third = consumer.next().await.unwrap().unwrap();
    assert_eq!((third.position, bench.held()), (3, 5));
    bench.mesh().stop();
    bench.calls.stop();
    let left = bench.calls.left_to_stop();
    bench.pass(Duration::from_secs(9));
    assert_eq!((left, bench.calls.left_to_stop()), (Duration::from_secs(10), Duration::from_secs(1)));
    assert_eq!(bench.held(), 3, "what nobody has seen is not waited for, though nobody asks for more");
    assert_eq!((consumer.ready(), consumer.next().await), (Ok(None), Ok(None)));
    assert_eq!(bench.held(), 3);
    let next = consumer.next();
    assert!(futures_util::FutureExt::now_or_never(next).is_none(), "it may be settled still");
    assert_eq!((bench.ack(&leases[0]).await, bench.ack(&third.lease.unwrap()).await), (Ok(()), Ok(())));
    assert_eq!(bench.held(), 1);
    bench.calls.close();
    assert_eq!((bench.held(), consumer.next().await), (0, Ok(None)));
    assert_eq!(bench.ack(&leases[1]).await, Err(ErrorKind::LeaseLost));
}

#[tokio::test]
async fn a_gateway_that_stops_begins_nothing_new_and_still_shows_what_there_is() {
    use meshwire_gateway::ingress::calls::RequestCall;
    use meshwire_proto::wire::admin::{CreateTopic, command::Command};
    let bench = Bench::new();
    bench.publish(&["1"]).await;
    drop(bench.fetch(Some("m")).await);
    bench.mesh().stop();
    bench.calls.stop();
    let (calls, caller) = (&bench.calls, &bench.caller);
    let credit = Credit { events: 1, bytes: 1 };
    let asked = ConsumerRequest { group: None, start: Start::Latest, settings: GroupSettings::default(), credit };
    let fetch = async |member| {
        let asked =
            FetchRequest { topic: "t", group: &bench.group, member, max_events: 1, max_bytes: 1, wait: Duration::ZERO };
        calls.fetch(caller, asked).await.map(drop)
    };
    let mut offer = Offer::default();
    offer.event(Ok(event("2")));
    let request =
        RequestCall { topic: "t", event: event("3").encode().unwrap(), timeout: None, stream: false, retry: false };
    let create = Command::CreateTopic(CreateTopic { name: "new".into(), ..CreateTopic::default() });
    let refused = [
        calls.consume(caller, "t", asked).await.map(drop),
        fetch(None).await,
        fetch(Some("m")).await,
        calls.publish(caller, "t", offer, Timing::default()).await.map(drop),
        calls.request(caller, request).map(drop),
        calls.admin(caller, create).await.map(drop),
    ];
    for refused in refused {
        let refusal = refused.unwrap_err();
        assert_eq!((refusal.kind, refusal.retry_after_ms > 0), (ErrorKind::Unavailable, true), "{refusal:?}");
    }
    assert!(calls.admin(caller, Command::ListTopics(ListTopics::default())).await.is_ok());
}

#[tokio::test]
async fn a_consumer_that_takes_nothing_lets_no_more_wait_than_its_part_of_the_memory() {
    let bench = Bench::new();
    let consumer = bench.consume().await;
    let before = bench.mesh().memory().allowance();
    for id in 0..40 {
        let mut offer = Offer::default();
        offer.event(Ok(event(&id.to_string()).text_data("x".repeat(100_000))));
        bench.calls.publish(&bench.caller, "t", offer, Timing::default()).await.unwrap();
    }
    let used = bench.mesh().memory().used();
    // One event may pass over its credit of 1 MiB, and over its part.
    assert!(used > 0 && used <= before.min(1 << 20) + 101_000, "{used} of {before}");
    drop(consumer);
    assert_eq!(bench.mesh().memory().used(), 0);
}

fn members(bench: &Bench) -> u32 {
    use meshwire_proto::wire::admin::{Command, answer, command};
    let command = Command { command: Some(command::Command::ListTopics(ListTopics::default())) };
    let (answer, _) = bench.mesh().admin(&bench.caller, &command, &mut SoFar::default()).unwrap().unwrap();
    let Some(answer::Answer::Topics(topics)) = answer.answer else { panic!("{answer:?}") };
    topics.topics[0].groups.iter().map(|group| group.members).sum()
}
