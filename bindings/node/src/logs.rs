//! What the client logs, for each environment that wants it: one thread of ours hands it round, and wakes their loops.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError, Weak};
use std::time::UNIX_EPOCH;

use meshwire_embed::{Level, Record, Result, keep_logs, keep_logs_from, take_logs};
use napi::bindgen_prelude::Function;
use napi::threadsafe_function::ThreadsafeFunctionCallMode;
use napi_derive::napi;
use serde_json::{Value, json};

use crate::bridge::Bridge;
use crate::guard::guarded;

/// Most records that wait for one environment; more push out the oldest.
const MOST: usize = 1024;

/// Records that wait for one environment.
pub(crate) struct Ear {
    least: Level,
    /// The program has no listener there: what goes wrong is a warning of the process.
    warns: bool,
    waits: Mutex<Waits>,
    wake: Box<dyn Fn() + Send + Sync>,
}

#[derive(Default)]
struct Waits {
    records: VecDeque<Record>,
    dropped: u64,
}

impl fmt::Debug for Ear {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ear").field("least", &self.least).finish_non_exhaustive()
    }
}

impl Ear {
    fn waits(&self) -> MutexGuard<'_, Waits> {
        self.waits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, records: &[Record], dropped: u64) {
        let mut waits = self.waits();
        waits.dropped += dropped;
        for record in records.iter().filter(|record| record.level >= self.least) {
            if waits.records.len() == MOST {
                waits.records.pop_front();
                waits.dropped += 1;
            }
            waits.records.push_back(record.clone());
        }
        let any = !waits.records.is_empty();
        drop(waits);
        if any {
            (self.wake)();
        }
    }
}

static EARS: Mutex<Vec<Weak<Ear>>> = Mutex::new(Vec::new());

fn ears() -> MutexGuard<'static, Vec<Weak<Ear>>> {
    EARS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Those who are told: the program's listeners, else one environment, which warns of it once for all.
fn audience() -> Vec<Arc<Ear>> {
    let mut ears = ears();
    ears.retain(|ear| ear.strong_count() > 0);
    let (warning, listening): (Vec<_>, Vec<_>) = ears.iter().filter_map(Weak::upgrade).partition(|ear| ear.warns);
    if listening.is_empty() { warning.into_iter().take(1).collect() } else { listening }
}

fn hand_round() {
    while let Some((records, dropped)) = take_logs(None) {
        for ear in audience() {
            ear.hear(&records, dropped);
        }
    }
}

/// Has the client keep what one of them hears: what it logs below that costs a look.
fn keep_what_is_heard() {
    // Under the lock: of two that change it the last one knows both.
    let ears = ears();
    let least = ears.iter().filter_map(Weak::upgrade).map(|ear| ear.least).min();
    // Where no logs can be kept, who listened first was told.
    drop(keep_logs_from(least.unwrap_or(Level::Error)));
}

fn shown(record: &Record) -> Value {
    let level = match record.level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    let time = record.time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let time = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    json!({"level": level, "time": time, "target": record.target, "text": record.text})
}

#[napi]
impl Bridge {
    /// Keeps from now on what the client logs at this level and above. `wake` is called when there is something to take. Who `warns` is told
    /// what no listener of the program's is.
    #[napi]
    pub fn listen(&mut self, least: String, wake: Function<'_, (), ()>, warns: bool) -> napi::Result<()> {
        let wake = wake.build_threadsafe_function::<()>().weak::<true>().max_queue_size::<1>();
        let wake = wake.callee_handled::<false>().build()?;
        guarded("logs", || {
            static BEGUN: Once = Once::new();
            let least = match least.as_str() {
                "trace" => Level::Trace,
                "debug" => Level::Debug,
                "warn" => Level::Warn,
                "error" => Level::Error,
                _ => Level::Info,
            };
            let mut begun: Result<()> = Ok(());
            BEGUN.call_once(|| {
                begun = keep_logs(least);
                // Without a thread there are no logs, and all else goes on.
                drop(std::thread::Builder::new().name("meshwire-logs".to_owned()).spawn(hand_round));
            });
            begun?;
            let wake = Box::new(move || {
                let _ = wake.call((), ThreadsafeFunctionCallMode::NonBlocking);
            });
            let ear = Arc::new(Ear { least, warns, waits: Mutex::default(), wake });
            ears().push(Arc::downgrade(&ear));
            self.ear = Some(ear);
            keep_what_is_heard();
            Ok(())
        })
    }

    /// What was logged, as JSON, and how many were pushed out.
    #[napi]
    pub fn logs(&mut self) -> napi::Result<String> {
        guarded("logs", || {
            let Some(ear) = &self.ear else { return Ok(r#"{"records":[],"dropped":0}"#.to_owned()) };
            let Waits { records, dropped } = std::mem::take(&mut *ear.waits());
            let records: Vec<_> = records.iter().map(shown).collect();
            Ok(json!({"records": records, "dropped": dropped}).to_string())
        })
    }
}
