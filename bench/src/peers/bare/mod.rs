//! A bare handler of the crates that our doors are made of, with our topology and nothing else: it hands each payload to one
//! subscriber over the same protocol, which answers in ranges. It is this program, started once more.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use tokio::net::TcpListener;

use crate::server::{Says, Server};

mod grpc;
mod http;
mod subscriber;

pub(crate) use grpc::{Answer, PUBLISH, Payload, SUBSCRIBE};
pub(crate) use subscriber::{receive, subscribe};

/// What starts a line with its address.
const LISTENING: &str = "listening ";

/// Most payloads that were handed to the subscriber and not answered: what our subscriber's prefetch is.
const WINDOW: u64 = 8192;

/// A running bare server.
#[derive(Debug)]
pub(crate) struct Bare {
    server: Server,
    address: SocketAddr,
}

impl Bare {
    /// Starts it on a free port.
    ///
    /// # Errors
    /// As [`Server::start_and_wait`].
    pub(crate) fn start(folder: &Path) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("bare");
        let ready = Server::start_and_wait(command, Says::Stdout, &folder.join("bare.log"), |line| {
            line.strip_prefix(LISTENING)?.parse().ok()
        })?;
        Ok(Self { server: ready.server, address: ready.said })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.server.pid()
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Is the bare server, until it is killed.
///
/// # Errors
/// It cannot listen.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("no port is free")?;
    let address = listener.local_addr()?;
    crate::report::say(&format!("{LISTENING}{address}"));
    http::serve(listener).await
}
