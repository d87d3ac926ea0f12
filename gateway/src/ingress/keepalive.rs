//! What the system looks after: peers that are gone without a word, also of protocols that have no ping.

use std::io;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpStream;

/// Probes without an answer after which a peer is gone, where the system has no better bound.
const PROBES: u32 = 5;

/// For so many heartbeats a peer may answer nothing, or take nothing of what it is sent. More than sessions have: who reads HTTP
/// may stop for a while.
#[cfg(target_os = "linux")]
const HEARTBEATS: u32 = 6;

/// Has the system end a connection whose peer is gone.
///
/// # Errors
/// What the system says.
pub(super) fn watch(stream: &TcpStream, heartbeat: Duration) -> io::Result<()> {
    // The system counts in seconds.
    let every = heartbeat.max(Duration::from_secs(1));
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, every)?;
    sockopt::set_tcp_keepintvl(stream, every)?;
    sockopt::set_tcp_keepcnt(stream, PROBES)?;
    #[cfg(target_os = "linux")]
    sockopt::set_tcp_user_timeout(stream, u32::try_from((every * HEARTBEATS).as_millis()).unwrap_or(u32::MAX))?;
    Ok(())
}
