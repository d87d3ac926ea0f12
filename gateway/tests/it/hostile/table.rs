//! The table: what is sent, byte by byte, and what must come of it. Each case is played in plain and inside TLS.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use meshwire_gateway::ingress::BoxIo;
use meshwire_gateway::ingress::tls::TlsConfig;
use meshwire_gateway::mesh::AllowAll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::answers::{Ear, Got, hear};
use super::{events, first, frames, http1, http2, websocket};
use crate::certificates::{Authority, handshake};
use crate::rig::{Peer, Rig, event, memory, run_of};

/// The least that the table holds.
const LEAST: usize = 120;

/// Cases between two looks whether others are served.
const LOOK_EVERY: usize = 10;

/// How long an answer may take; it only turns a hang into a failure.
const PATIENCE: Duration = Duration::from_secs(20);

/// Where a case is played.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Over {
    /// A plain connection, and then one inside TLS.
    Each,
    /// A plain connection to a gateway without TLS.
    Plain,
    /// A plain connection to a gateway that asks for TLS.
    NoTls,
}

/// One conversation.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) over: Over,
    pub(crate) sent: Vec<u8>,
    pub(crate) ear: Ear,
    /// Nothing more is sent, and the gateway is told so.
    pub(crate) hangs_up: bool,
    pub(crate) want: Got,
}

impl Case {
    pub(crate) fn new(name: impl Into<String>, sent: impl Into<Vec<u8>>, want: Got) -> Self {
        let (name, sent) = (name.into(), sent.into());
        Self { name, sent, want, over: Over::Each, ear: Ear::First, hangs_up: false }
    }

    pub(crate) fn over(self, over: Over) -> Self {
        Self { over, ..self }
    }

    /// Counts all answers until the end.
    pub(crate) fn until_the_end(self) -> Self {
        Self { ear: Ear::ToTheEnd, ..self }
    }

    pub(crate) fn hangs_up(self) -> Self {
        Self { hangs_up: true, ..self }
    }
}

/// Plays a case over a connection.
pub(crate) async fn play(stream: BoxIo, case: &Case) -> Got {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let write = async {
        // The gateway may have ended it before all was sent.
        let _ = writer.write_all(&case.sent).await;
        let _ = writer.flush().await;
        if case.hangs_up {
            let _ = writer.shutdown().await;
        }
        std::future::pending::<()>().await;
    };
    let read = async {
        let mut came = Vec::new();
        loop {
            let ended = matches!(reader.read_buf(&mut came).await, Ok(0) | Err(_));
            if let Some(got) = hear(&case.sent, &came, ended, case.ear) {
                return got;
            }
        }
    };
    let played = async {
        tokio::select! { () = write => Got::Closed, got = read => got }
    };
    tokio::time::timeout(PATIENCE, played).await.unwrap_or(Got::Silence)
}

/// The gateways that the cases are played against, and who is served meanwhile.
struct Stage {
    authority: Authority,
    plain: Rig,
    secure: Rig,
    guests: [Peer; 2],
}

impl Stage {
    async fn set() -> Self {
        let authority = Authority::new();
        let files = authority.gateway();
        let mut config = memory();
        // Guests do not answer pings while cases are played.
        config.heartbeat = Duration::from_secs(600);
        let plain = Rig::with(config.clone(), Arc::new(AllowAll)).await;
        config.tls =
            TlsConfig { mode: None, certificate: files.certificate, key: files.key, client_roots: PathBuf::new() };
        let secure = Rig::with(config, Arc::new(AllowAll)).await;
        let mut inside = Peer::over(Box::new(handshake(&secure, &authority.root(), None, &[]).await.unwrap())).await;
        inside.login(crate::rig::hello()).await;
        let guests = [plain.session().await, inside];
        Self { authority, plain, secure, guests }
    }

    /// Those who were there before are served, and so are new ones.
    async fn serves(&mut self, number: usize) {
        for guest in &mut self.guests {
            let id = format!("guest {number}");
            assert_eq!(guest.publish("guests", run_of(&[event(&id)])).await[0].code, 0, "after case {number}");
        }
        let hello = http1::publish("guests", &format!("new {number}"));
        let case = Case::new(format!("who comes after case {number}"), hello, Got::Http(200, String::new()));
        assert_eq!(play(Box::new(self.plain.socket().await), &case).await, case.want, "{}", case.name);
        assert_eq!(play(self.inside().await, &case).await, case.want, "{}", case.name);
    }

    async fn inside(&self) -> BoxIo {
        Box::new(handshake(&self.secure, &self.authority.root(), None, &[]).await.unwrap())
    }

    /// Plays a case wherever it is to be played; what was wrong.
    async fn play(&self, case: &Case) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut check = |at: &str, got: Got| {
            if got != case.want {
                wrong.push(format!("{} ({at}): {got:?}, not {:?}", case.name, case.want));
            }
        };
        match case.over {
            Over::NoTls => check("no TLS", play(Box::new(self.secure.socket().await), case).await),
            Over::Plain => check("plain", play(Box::new(self.plain.socket().await), case).await),
            Over::Each => {
                check("plain", play(Box::new(self.plain.socket().await), case).await);
                check("TLS", play(self.inside().await, case).await);
            }
        }
        wrong
    }
}

#[tokio::test]
async fn every_bad_input_of_the_table_gets_its_answer_and_others_are_served() {
    let mut cases = Vec::new();
    for (part, found) in [
        ("first bytes", first::cases()),
        ("HTTP/1.1", http1::cases()),
        ("events", events::cases()),
        ("HTTP/2", http2::cases()),
        ("WebSocket", websocket::cases()),
        ("frames", frames::cases()),
    ] {
        println!("{part}: {} cases", found.len());
        cases.extend(found);
    }
    let mut names: Vec<&str> = cases.iter().map(|case| case.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), cases.len(), "each case has a name of its own");
    assert!(cases.len() >= LEAST, "{} cases, fewer than {LEAST}", cases.len());

    let mut stage = Stage::set().await;
    let (mut wrong, mut played) = (Vec::new(), 0);
    for (number, case) in cases.iter().enumerate() {
        wrong.extend(stage.play(case).await);
        played += if case.over == Over::Each { 2 } else { 1 };
        if number % LOOK_EVERY == 0 {
            stage.serves(number).await;
        }
    }
    stage.serves(cases.len()).await;
    println!("bad input: {} cases, {played} played, {} wrong", cases.len(), wrong.len());
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
