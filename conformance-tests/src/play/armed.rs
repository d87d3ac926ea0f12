//! A cut that takes one frame with it, whatever carries the session: all that its side says from the arming on is held, and goes nowhere
//! but for `pass_bytes` of it. Which frame it was, the gateway tells; if that is another one than the case means, the case fails.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

use super::{Play, text};
use crate::case::Step;
use crate::frames::{Frame, From};
use crate::proxy::Proxy;

/// So much is more than carriers of a client say by themselves: answers of HTTP/2, a request without a batch, the greeting of TLS. Less
/// could be held without any of the frame that is meant.
const LEAST: usize = 1000;

/// So long nothing may come before a side is held. Of what was said before, carriers have answers to give and to wait for: a batch in an HTTP
/// request is sent when that before it is answered. What is held must not begin with those. A guess; when it is too short, the case fails.
const QUIET: Duration = Duration::from_millis(200);

/// A cut that waits for its frame.
#[derive(Debug)]
pub(super) struct Armed {
    from: From,
    frame: String,
    /// Bytes of what is held that still pass.
    pass: usize,
    /// Bytes that must be held before it is struck.
    least: usize,
    /// Frames that the gateway had told before.
    told: usize,
}

impl Armed {
    fn is(&self, frame: &Frame, proxy: &Proxy) -> bool {
        let ours = |peer: SocketAddr| proxy.is_at(peer);
        frame.from == self.from && frame.name == self.frame && frame.peer.is_some_and(ours)
    }
}

impl Play {
    /// Holds one side, once all that was said before has come through.
    pub(super) fn arm(&mut self, step: &Step) -> anyhow::Result<()> {
        ensure!(self.armed.is_none(), "there is a cut already that waits for its frame");
        let from = match text(step, "from")? {
            "client" => From::Client,
            "gateway" => From::Gateway,
            other => bail!("{other:?} is neither client nor gateway"),
        };
        let number = |name: &str| step.get(name).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let (pass, least) = (number("pass_bytes").unwrap_or(0), number("bytes").unwrap_or(0));
        if from == From::Client {
            ensure!(
                least >= LEAST && pass < least,
                "of a frame that is to be lost on its way to the gateway, `bytes` says the size: at least {LEAST}"
            );
        }
        let frame = text(step, "frame")?.to_owned();
        let patience = self.patience;
        let real = self.world.real()?;
        ensure!(real.proxy.is_quiet(QUIET, patience), "something is always said on the way to the gateway");
        let told = real.frames.told();
        real.proxy.hold(from);
        self.armed = Some(Armed { from, frame, pass, least, told });
        Ok(())
    }

    /// Waits until what is held has the frame, and cuts.
    pub(super) fn struck(&mut self, within: Duration) -> anyhow::Result<()> {
        let armed = self.armed.take().context("nothing is armed")?;
        let real = self.world.real()?;
        let (proxy, frames) = (&real.proxy, &real.frames);
        let told = |from: usize, within: Duration| frames.wait(from, within, |frame| armed.is(frame, proxy));
        let name = &armed.frame;
        match armed.from {
            From::Gateway => {
                let written = told(armed.told, within);
                let written = written.with_context(|| format!("the gateway did not write {name}"))?;
                let least = written.bytes.max(armed.pass + 1);
                let held = proxy.holds(least, within);
                ensure!(held >= least, "of a {name} of {least} bytes only {held} are held: it went on before");
                proxy.cut_held(armed.pass);
            }
            From::Client => {
                let held = proxy.holds(armed.least, within);
                ensure!(held >= armed.least, "of {name} only {held} bytes came from the client, of {}", armed.least);
                let before = told(armed.told, Duration::ZERO);
                ensure!(before.is_none(), "{name} came to the gateway before the cut: {before:?}");
                let cut = frames.told();
                proxy.cut_held(armed.pass);
                // What was lost is said again.
                let again = told(cut, within);
                ensure!(
                    again.is_some(),
                    "{name} never came to the gateway: it was not said again, or another frame was cut off"
                );
            }
        }
        Ok(())
    }
}
