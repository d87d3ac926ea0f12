//! Connections that are there and do not get on; one that the gateway ends is followed by the next.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

/// Between two bytes of a slow one.
const BETWEEN: Duration = Duration::from_secs(1);
/// Before the next try, when the gateway takes no more connections.
const PAUSE: Duration = Duration::from_millis(500);

/// How logins begin: nothing, our preface and a frame of 64 KiB, the head of a request, the first record of TLS.
const BEGINNINGS: [&[u8]; 4] = [
    b"",
    b"\xf3meshw\0\x01\0\0\x01\0\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a\x0a",
    b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: yyyyyyyyyyyyyyyyyyyyyyyyyyyy",
    b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
];
/// Of a beginning that is sent at once.
const AT_ONCE: usize = 8;

fn beginning(n: u32, of: &[&'static [u8]]) -> &'static [u8] {
    of.get(n as usize % of.len().max(1)).copied().unwrap_or_default()
}

/// Sends the first bytes of a login and waits for the end.
pub(super) async fn silent(mut stream: TcpStream, n: u32) {
    let first = beginning(n, &BEGINNINGS);
    if stream.write_all(first.get(..AT_ONCE).unwrap_or(first)).await.is_ok() {
        let _ = stream.read_to_end(&mut Vec::new()).await;
    }
}

/// Sends a login byte by byte; the last one for ever.
pub(super) async fn slow(mut stream: TcpStream, n: u32) {
    let bytes = beginning(n, BEGINNINGS.get(1..).unwrap_or_default());
    let last = bytes.last().copied().into_iter().cycle();
    // Not all in the same moment.
    let mut wait = BETWEEN.mul_f64(fastrand::f64());
    for byte in bytes.iter().copied().chain(last) {
        let mut rest = [0; 64];
        match timeout(wait, stream.read(&mut rest)).await {
            Ok(Ok(0) | Err(_)) => return,
            _ => wait = BETWEEN,
        }
        if stream.write_all(&[byte]).await.is_err() {
            return;
        }
    }
}

/// Keeps so many connections, each doing `wait` with its number.
pub(super) async fn run<F>(
    address: SocketAddr,
    connections: u32,
    wait: impl Fn(TcpStream, u32) -> F + Copy + Send + 'static,
) -> anyhow::Result<()>
where
    F: Future<Output = ()> + Send,
{
    let (came, mut coming) = mpsc::channel(1024);
    for n in 0..connections {
        let came = came.clone();
        tokio::spawn(async move {
            let mut came = Some(came);
            loop {
                let Ok(stream) = TcpStream::connect(address).await else {
                    sleep(PAUSE).await;
                    continue;
                };
                if let Some(came) = came.take() {
                    // Nobody counts any more: the process ends.
                    let _ = came.send(()).await;
                }
                let began = tokio::time::Instant::now();
                wait(stream, n).await;
                // Of one that is refused at once.
                sleep(PAUSE.saturating_sub(began.elapsed())).await;
            }
        });
    }
    drop(came);
    while coming.recv().await.is_some() {}
    super::all_have_come();
    std::future::pending().await
}
