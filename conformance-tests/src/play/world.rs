//! What stands around the testee: a gateway behind the fault proxy, or a scripted peer.

use std::net::SocketAddr;

use anyhow::Context as _;
use meshwire::testing::Gateway;
use tempfile::TempDir;

use crate::bridge::Bridge;
use crate::case::{Cell, Store};
use crate::certificate::certificate;
use crate::frames::{Frames, LOG_LEVEL};
use crate::peer::Peer;
use crate::proxy::Proxy;
use crate::transport::Transport;

/// The surroundings of one cell.
pub(super) enum World {
    Real(Box<Real>),
    Scripted(Peer, Option<Bridge>),
}

/// A gateway process, its folder, and the way to it.
pub(super) struct Real {
    gateway: Option<Gateway>,
    pub(super) proxy: Proxy,
    /// What it tells of frames, if the case asks.
    pub(super) frames: Frames,
    arguments: Vec<String>,
    /// Removed with the cell.
    _folder: TempDir,
}

impl World {
    pub(super) fn start(cell: Cell<'_>) -> anyhow::Result<Self> {
        let Some(store) = cell.store else {
            let peer = Peer::start()?;
            let plain = cell.transport == Transport::Tcp;
            let bridge = if plain { None } else { Some(Bridge::start(cell.transport, peer.address())?) };
            return Ok(Self::Scripted(peer, bridge));
        };
        let folder = tempfile::tempdir().context("there is no place for the gateway's log")?;
        let mut arguments = match store {
            Store::Memory => vec!["--memory".to_owned()],
            Store::Log => vec!["--data-dir".to_owned(), folder.path().join("data").display().to_string()],
        };
        arguments.extend(cell.case.gateway.iter().cloned());
        if cell.transport.is_secure() {
            let files = certificate();
            let (certificate, key) = (files.certificate.display(), files.key.display());
            arguments.extend(["--tls-certificate".to_owned(), certificate.to_string()]);
            arguments.extend(["--tls-key".to_owned(), key.to_string()]);
        }
        if cell.case.steps.iter().any(|step| step.get("op").is_some_and(|op| op == "proxy.arm")) {
            arguments.extend(["--log-level".to_owned(), LOG_LEVEL.to_owned()]);
        }
        let frames = Frames::default();
        let gateway = start(&arguments, &frames)?;
        let proxy = Proxy::start(address(&gateway)?)?;
        Ok(Self::Real(Box::new(Real { gateway: Some(gateway), proxy, frames, arguments, _folder: folder })))
    }

    /// Where the testee is to connect.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Real(real) => real.proxy.address(),
            Self::Scripted(peer, bridge) => bridge.as_ref().map_or(peer.address(), Bridge::address),
        }
    }

    pub(super) fn real(&mut self) -> anyhow::Result<&mut Real> {
        match self {
            Self::Real(real) => Ok(real),
            Self::Scripted(..) => anyhow::bail!("a scripted peer has no gateway and no proxy"),
        }
    }

    pub(super) fn peer(&mut self) -> anyhow::Result<&mut Peer> {
        match self {
            Self::Scripted(peer, _) => Ok(peer),
            Self::Real(_) => anyhow::bail!("the case does not say `peer = true`"),
        }
    }
}

impl Real {
    /// Where the gateway itself is, past the proxy.
    pub(super) fn gateway(&self) -> anyhow::Result<SocketAddr> {
        address(self.gateway.as_ref().context("no gateway runs")?)
    }

    /// Whether a gateway runs.
    pub(super) const fn runs(&self) -> bool {
        self.gateway.is_some()
    }

    /// Ends the gateway with `kill -9`.
    pub(super) fn kill(&mut self) {
        self.proxy.lead_to(None);
        if let Some(gateway) = self.gateway.take() {
            gateway.kill();
        }
    }

    /// Asks the gateway to stop.
    pub(super) fn stop(&mut self) -> anyhow::Result<()> {
        if let Some(gateway) = self.gateway.take() {
            gateway.stop()?;
        }
        self.proxy.lead_to(None);
        Ok(())
    }

    /// Starts it again, with what it kept, behind the same address.
    pub(super) fn start(&mut self) -> anyhow::Result<()> {
        let gateway = start(&self.arguments, &self.frames)?;
        self.proxy.lead_to(Some(address(&gateway)?));
        self.gateway = Some(gateway);
        Ok(())
    }
}

fn start(arguments: &[String], frames: &Frames) -> anyhow::Result<Gateway> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let frames = frames.clone();
    Ok(Gateway::with_log(&arguments, move |line| frames.hear(line))?)
}

fn address(gateway: &Gateway) -> anyhow::Result<SocketAddr> {
    gateway.address().parse().with_context(|| format!("{} is no address", gateway.address()))
}
