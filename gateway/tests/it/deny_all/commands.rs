//! The commands of administration, for topic `t` or one that is not there.

use meshwire_proto::wire::admin::{self, command::Command};
use prost::Message as _;

use super::schema;

/// One of them, alone and as a frame has it.
pub(super) struct Asked {
    /// As gRPC names it.
    pub(super) name: &'static str,
    pub(super) command: Command,
    pub(super) bytes: Vec<u8>,
}

/// `CreateTopic` is `create_topic`.
fn snake(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('_');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}

macro_rules! commands {
    ($($name:ident { $($field:ident: $value:expr),* })+) => {
        vec![$({
            #[allow(clippy::needless_update, reason = "some have no other fields")]
            let message = admin::$name { $($field: $value,)* ..Default::default() };
            let bytes = message.encode_to_vec();
            Asked { name: stringify!($name), command: Command::$name(message), bytes }
        }),+]
    };
}

/// All there are.
pub(super) fn all() -> Vec<Asked> {
    let topic = || "t".to_owned();
    let group = || "g".to_owned();
    let rate = Some(admin::GroupSettings { max_rate: Some(1), ..admin::GroupSettings::default() });
    let limits = Some(admin::Limits { deliver_rate: Some(1), ..admin::Limits::default() });
    let commands = commands! {
        ListTopics {}
        GetGroup { topic: topic(), group: group() }
        GetLimits {}
        SetLimits { limits: limits }
        CreateTopic { name: "new".to_owned() }
        UpdateTopic { name: topic(), retention_ms: 60_000 }
        CreateGroup { topic: topic(), group: "new".to_owned() }
        UpdateGroup { topic: topic(), group: group(), settings: rate }
        SeekGroup { topic: topic(), group: group(), to: 1 }
        ListDeadLetters { topic: topic(), group: group() }
        RedriveDeadLetters { topic: topic(), group: group() }
        PurgeDeadLetters { topic: topic(), group: group() }
        DeleteGroup { topic: topic(), group: group() }
        DeleteTopic { name: topic(), force: true }
    };
    let names = commands.iter().map(|asked| snake(asked.name)).collect();
    assert_eq!(schema::fields("meshwire.admin.v1", "Command"), names, "each command has a row");
    commands
}
