//! WebSocket by the sections of RFC 6455, sent by hand, in each subprotocol. Each case is played against the gateway and against another
//! server (ratchet, which shares no code with ours): a case that only one of both passes is a mistake of the case or of the gateway.
#![allow(clippy::print_stdout, reason = "a table prints its counts")]

mod cases;
mod other;
mod spoken;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use meshwire_gateway::mesh::AllowAll;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::hostile::answers::messages;
use crate::rig::{Rig, memory};
use spoken::{ALL, Spoken};

/// How long a case may take; it only turns a hang into a failure.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// The least number of cases of a subprotocol.
const LEAST: usize = 120;

/// Played at once.
const AT_ONCE: usize = 32;

/// The last frame of a message, and the opcodes of messages.
const FIN: u8 = 0x80;
const TEXT: u8 = 1;
const BINARY: u8 = 2;

/// What must come of a case.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    /// This message arrives: the gateway answers it, the other server sends it back.
    Carried(Vec<u8>),
    /// A pong that holds this.
    Pong(Vec<u8>),
    /// A close with this code; 0: without one.
    Closes(u16),
    /// The gateway fails the connection with this code; the other server fails it too.
    Fails(u16),
    /// Text arrives, which means nothing to the gateway; the other server sends it back.
    Text(Vec<u8>),
    /// No upgrade: the gateway's status; the other server makes none either.
    Refused(u16),
    /// No upgrade either; the other server does not look so close.
    RefusedByUs(u16),
}

/// One case: section and number, and all that is sent.
pub(crate) struct Case {
    pub(crate) section: &'static str,
    pub(crate) name: String,
    pub(crate) spoken: Spoken,
    pub(crate) request: String,
    pub(crate) frames: Vec<u8>,
    pub(crate) want: Want,
}

/// What a server said.
#[derive(Debug, Default)]
struct Said {
    came: Vec<u8>,
    ended: bool,
}

impl Said {
    /// The status, and all behind the head.
    fn parts(&self) -> Option<(u16, &[u8])> {
        let at = self.came.windows(4).position(|w| w == b"\r\n\r\n")?;
        let status = std::str::from_utf8(self.came.get(9..12)?).ok()?.parse().ok()?;
        Some((status, &self.came[at + 4..]))
    }

    /// The code of its close frame.
    fn close(&self) -> Option<u16> {
        let (_, body) = self.parts()?;
        let close = messages(body).into_iter().find(|(opcode, _)| *opcode == 8)?.1;
        Some(close.get(..2).map_or(0, |code| u16::from_be_bytes([code[0], code[1]])))
    }

    /// Whether it fits; `None`: not yet.
    fn fits(&self, case: &Case, is_ours: bool) -> Option<bool> {
        let over = self.ended.then_some(false);
        let Some((status, body)) = self.parts() else {
            // Who makes no upgrade may also hang up.
            return self.ended.then_some(matches!(case.want, Want::Refused(_)) && !is_ours);
        };
        let messages = messages(body);
        let has = |kind: u8, bytes: &[u8]| messages.contains(&(kind, bytes)).then_some(true).or(over);
        match &case.want {
            Want::RefusedByUs(_) if !is_ours => Some(true),
            Want::Refused(expected) | Want::RefusedByUs(expected) => {
                Some(if is_ours { status == *expected } else { status >= 400 })
            }
            _ if status != 101 => Some(false),
            Want::Carried(_) if is_ours => case.spoken.answers(&messages, body).or(over),
            Want::Carried(bytes) => has(case.spoken.opcode(), bytes),
            Want::Pong(bytes) => has(10, bytes),
            Want::Text(_) if is_ours => match case.spoken.code_of_nonsense() {
                Some(expected) => self.close().map(|code| code == expected).or(over),
                None => messages.iter().any(|(kind, _)| *kind == TEXT).then_some(true).or(over),
            },
            Want::Text(bytes) => has(TEXT, bytes),
            // Both ends agree that it is over, and the server hangs up first (7.1.1).
            Want::Closes(code) => self.ended.then(|| self.close() == Some(*code)),
            Want::Fails(code) if is_ours => self.ended.then(|| self.close() == Some(*code)),
            Want::Fails(_) => self.ended.then(|| self.close().is_none_or(|code| code == 1002)),
        }
    }
}

/// Plays a case; what was wrong.
async fn play(address: SocketAddr, case: &Case, is_ours: bool) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let _ = stream.write_all(case.request.as_bytes()).await;
    let (mut said, mut begun) = (Said::default(), false);
    let hear = async {
        loop {
            if let Some(fits) = said.fits(case, is_ours) {
                return fits;
            }
            if !begun && said.parts().is_some() {
                begun = true;
                // The server may end it before all is sent.
                let _ = stream.write_all(&case.frames).await;
            }
            said.ended = matches!(stream.read_buf(&mut said.came).await, Ok(0) | Err(_));
        }
    };
    let fits = tokio::time::timeout(PATIENCE, hear).await.unwrap_or(false);
    let who = if is_ours { "the gateway" } else { "the other server" };
    let short = |text: String| text.chars().take(300).collect::<String>();
    let (came, want) = (short(said.came.escape_ascii().to_string()), short(format!("{:?}", case.want)));
    (!fits).then(|| {
        let (spoken, section, name, ended) = (case.spoken.name(), case.section, &case.name, said.ended);
        format!("{spoken} {section} {name} ({who}): not {want} but {came} (ended: {ended})")
    })
}

#[tokio::test]
async fn each_case_of_rfc_6455_is_passed_by_the_gateway_in_every_subprotocol_and_by_another_server() {
    let mut config = memory();
    // Twice as much is the largest message of those that hold events.
    config.limits.max_event_bytes = 70 << 10;
    let (rig, other) = (Rig::with(config, Arc::new(AllowAll)).await, other::start(ALL.map(Spoken::name)).await);
    let (mut played, mut wrong) = (0, Vec::new());
    let mut sections = BTreeSet::new();
    for spoken in ALL {
        let cases = cases::all(spoken);
        let names: BTreeSet<_> = cases.iter().map(|case| (case.section, &case.name)).collect();
        assert_eq!(names.len(), cases.len(), "each case has a name of its own");
        assert!(cases.len() >= LEAST, "{}: {} cases, fewer than {LEAST}", spoken.name(), cases.len());
        let both = cases.iter().flat_map(|case| [play(rig.address, case, true), play(other, case, false)]);
        let mut plays = stream::iter(both).buffer_unordered(AT_ONCE);
        while let Some(problem) = plays.next().await {
            wrong.extend(problem);
        }
        played += cases.len();
        sections.extend(cases.iter().map(|case| case.section));
    }
    println!(
        "RFC 6455: {played} cases of {} sections in {} subprotocols, each against two servers, {} wrong",
        sections.len(),
        ALL.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
