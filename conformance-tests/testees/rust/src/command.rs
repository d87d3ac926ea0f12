//! What the runner can ask for.

use std::time::{Duration, SystemTime};

use meshwire::{Event, GroupSettings, TimedEvent, TopicSettings, UnixMillis};
use serde::Deserialize;

use crate::event::EventSpec;

/// A command and the number of its answer.
#[derive(Debug, Deserialize)]
pub(crate) struct Envelope {
    pub(crate) id: u64,
    #[serde(flatten)]
    pub(crate) command: Command,
}

impl Envelope {
    pub(crate) const fn is_exit(&self) -> bool {
        matches!(self.command, Command::Exit {})
    }
}

/// `on` names a client or a subscription, `as` gives the new one its name.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum Command {
    Hello {},
    Connect(Connect),
    Publish {
        on: String,
        topic: String,
        event: EventSpec,
        #[serde(flatten)]
        timing: Timing,
    },
    PublishBatch {
        on: String,
        topic: String,
        events: Vec<EventSpec>,
    },
    Flush {
        on: String,
    },
    Subscribe(Subscribe),
    Consume(Subscribe),
    Gate {
        on: String,
        open: u32,
        /// They are taken at once, as far as they are here.
        #[serde(default)]
        batch: bool,
    },
    Unsubscribe {
        on: String,
        #[serde(default)]
        left: bool,
    },
    Ack(Settle),
    Nack(Settle),
    Reject(Settle),
    Extend(Settle),
    Forget(Settle),
    Stats {
        on: String,
    },
    State {
        on: String,
    },
    CreateTopic {
        on: String,
        topic: String,
        #[serde(flatten)]
        settings: TopicSpec,
    },
    UpdateTopic {
        on: String,
        topic: String,
        #[serde(flatten)]
        settings: TopicSpec,
    },
    DeleteTopic {
        on: String,
        topic: String,
        #[serde(default)]
        force: bool,
    },
    Topics {
        on: String,
    },
    Groups {
        on: String,
        topic: String,
    },
    UpdateGroup {
        on: String,
        topic: String,
        group: String,
        settings: Settings,
    },
    CreateGroup(CreateGroup),
    SeekGroup {
        on: String,
        topic: String,
        group: String,
        to: StartSpec,
    },
    /// Notes what time it is, under a name.
    Mark {
        #[serde(rename = "as")]
        name: String,
    },
    DeleteGroup {
        on: String,
        topic: String,
        group: String,
    },
    Serve(Serve),
    StopServing {
        on: String,
    },
    Reply {
        on: String,
        n: Vec<u64>,
        event: EventSpec,
    },
    End {
        on: String,
        n: Vec<u64>,
        /// Why it fails; absent: all was said.
        reason: Option<String>,
    },
    Request(Request),
    RequestStream(Request),
    NextReply {
        on: String,
    },
    Cancel {
        on: String,
    },
    DeadLetters(DeadLetters),
    DeadLetter(DeadLetters),
    Redrive(DeadLetters),
    Purge(DeadLetters),
    Drain {
        on: String,
        deadline_ms: u64,
    },
    Close {
        on: String,
    },
    /// Lets go of a client without a word.
    Abandon {
        on: String,
    },
    Exit {},
}

#[derive(Debug, Deserialize)]
pub(crate) struct Connect {
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) client_name: Option<String>,
    pub(crate) timeout_ms: Option<u64>,
    pub(crate) wait_ms: Option<u64>,
    pub(crate) window_events: Option<u64>,
    /// Whom to trust, as a PEM file.
    pub(crate) tls_roots: Option<String>,
    /// First and longest wait before a reconnect.
    pub(crate) reconnect_ms: Option<(u64, u64)>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Subscribe {
    pub(crate) on: String,
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) group: Option<String>,
    #[serde(default)]
    pub(crate) broadcast: bool,
    pub(crate) member: Option<String>,
    pub(crate) start: Option<StartSpec>,
    pub(crate) prefetch: Option<(u64, u64)>,
    pub(crate) concurrency: Option<u64>,
    /// How many deliveries may be taken; without it all.
    pub(crate) gate: Option<u32>,
    #[serde(default)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Deserialize)]
pub(crate) struct TopicSpec {
    pub(crate) durability: Option<String>,
    retention_ms: Option<u64>,
    retention_bytes: Option<u64>,
    pub(crate) lagging: Option<String>,
}

impl TopicSpec {
    /// What stands as a number.
    pub(crate) fn settings(&self) -> TopicSettings {
        let mut settings = TopicSettings::new();
        settings.retention = self.retention_ms.map(Duration::from_millis);
        settings.retention_bytes = self.retention_bytes;
        settings
    }
}

#[derive(Debug, Deserialize)]
pub(crate) struct CreateGroup {
    pub(crate) on: String,
    pub(crate) topic: String,
    pub(crate) group: String,
    pub(crate) start: Option<StartSpec>,
    #[serde(default)]
    pub(crate) settings: Settings,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum StartSpec {
    Earliest,
    Latest,
    Position(u64),
    /// So many milliseconds before now; less than 0: in the future.
    AgoMs(i64),
    /// At a time that was noted.
    Mark(String),
}

/// When a published event is delivered.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Timing {
    /// RFC 3339.
    deliver_at: Option<String>,
    deliver_after_ms: Option<u64>,
    expires_in_ms: Option<u64>,
}

impl Timing {
    /// A time that is none is a wrong case: the event comes at once.
    pub(crate) fn of(self, event: Event) -> TimedEvent {
        let mut event = TimedEvent::from(event);
        if let Some(at) = self.deliver_at.and_then(|at| at.parse::<UnixMillis>().ok()) {
            let since = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
            event = event.deliver_at(SystemTime::UNIX_EPOCH + since);
        }
        if let Some(delay) = self.deliver_after_ms {
            event = event.deliver_after(Duration::from_millis(delay));
        }
        if let Some(time) = self.expires_in_ms {
            event = event.expires_in(Duration::from_millis(time));
        }
        event
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    ack_wait_ms: Option<u64>,
    max_failures: Option<u32>,
    backoff_ms: Option<(u64, u64)>,
    hold_after_dead_letter: Option<bool>,
    strict_order: Option<bool>,
    max_in_flight: Option<u32>,
    max_rate: Option<u32>,
}

impl From<Settings> for GroupSettings {
    fn from(said: Settings) -> Self {
        let mut settings = Self::new();
        settings.ack_wait = said.ack_wait_ms.map(Duration::from_millis);
        settings.max_failures = said.max_failures;
        settings.backoff_min = said.backoff_ms.map(|(first, _)| Duration::from_millis(first));
        settings.backoff_max = said.backoff_ms.map(|(_, most)| Duration::from_millis(most));
        settings.hold_after_dead_letter = said.hold_after_dead_letter;
        settings.strict_order = said.strict_order;
        settings.max_in_flight = said.max_in_flight;
        settings.max_rate = said.max_rate;
        settings
    }
}

/// Deliveries by the numbers under which they were told.
#[derive(Debug, Deserialize)]
pub(crate) struct Settle {
    pub(crate) on: String,
    pub(crate) n: Vec<u64>,
    #[serde(default)]
    pub(crate) confirmed: bool,
    pub(crate) delay_ms: Option<u64>,
    #[serde(default)]
    pub(crate) reason: String,
}

#[derive(Debug, Deserialize)]
pub(crate) struct DeadLetters {
    pub(crate) on: String,
    pub(crate) topic: String,
    pub(crate) group: Option<String>,
    /// Without numbers all are meant.
    #[serde(default)]
    pub(crate) numbers: Vec<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Serve {
    pub(crate) on: String,
    #[serde(rename = "as")]
    pub(crate) name: String,
    pub(crate) topic: String,
    pub(crate) group: Option<String>,
    pub(crate) concurrency: Option<u64>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Request {
    pub(crate) on: String,
    /// By which it is read, or cancelled.
    #[serde(rename = "as")]
    pub(crate) name: Option<String>,
    pub(crate) topic: String,
    pub(crate) event: EventSpec,
    pub(crate) timeout_ms: Option<u64>,
    #[serde(default)]
    pub(crate) retry: bool,
    /// Of a stream: replies ahead of who reads them.
    pub(crate) credit: Option<u64>,
}
