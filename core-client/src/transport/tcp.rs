//! TCP: below everything.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// Longest wait for one address. A guess: above any round trip, below the
/// five seconds that `connect` takes.
const ADDRESS_TIMEOUT: Duration = Duration::from_secs(2);

/// A socket to `host:port`, at the first of its addresses that takes one.
///
/// # Errors
/// What became of each address.
pub(super) async fn connect(address: &str) -> Result<TcpStream, Vec<(String, io::Error)>> {
    let mut failed = Vec::new();
    let found = match lookup_host(address).await {
        Ok(found) => found,
        Err(cause) => return Err(vec![(address.to_owned(), cause)]),
    };
    for address in found {
        let connecting = timeout(ADDRESS_TIMEOUT, TcpStream::connect(address)).await;
        match connecting.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(stream) => {
                // The driver writes batches; waiting for more only adds delay.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(cause) => failed.push((address.to_string(), cause)),
        }
    }
    if failed.is_empty() {
        failed.push((address.to_owned(), io::Error::other("the name has no address")));
    }
    Err(failed)
}
