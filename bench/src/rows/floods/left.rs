//! What a gateway has open: from the system, and as it says itself.

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;

use crate::http::{Version, dial};
use crate::ours::Gateway;
use crate::process::{open_files, resident_bytes};

/// What is there at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) files: u64,
    pub(super) tasks: u64,
    /// Bytes that wait, by the gateway's own account.
    pub(super) waiting: u64,
    pub(super) resident: u64,
}

impl Open {
    pub(super) async fn of(gateway: &Gateway) -> anyhow::Result<Self> {
        let text = metrics(gateway).await?;
        // Behind the answer, so that its connection is gone or counts each time.
        let (files, resident) = (open_files(gateway.pid())?, resident_bytes(gateway.pid())?);
        Ok(Self {
            files,
            tasks: sum(&text, "meshwire_tasks"),
            waiting: sum(&text, "meshwire_memory_used_bytes"),
            resident,
        })
    }
}

async fn metrics(gateway: &Gateway) -> anyhow::Result<String> {
    let address = gateway.address()?;
    let request = Request::get(format!("http://{address}/metrics")).header("host", address.to_string());
    let mut connection = dial(address, Version::Http1).await?;
    let body = connection.ask(request.body(Full::<Bytes>::default())?).await?.into_body().collect().await?.to_bytes();
    String::from_utf8(body.to_vec()).context("the metrics are not text")
}

/// Of all samples of this name.
fn sum(text: &str, name: &str) -> u64 {
    let samples = text.lines().filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
    samples.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::sum;

    #[test]
    fn samples_of_one_name_are_summed_up() {
        let text = "# TYPE a gauge\na{of=\"x\"} 3\na{of=\"y\"} 4\na_b 5\n";
        assert_eq!((sum(text, "a"), sum(text, "a_b"), sum(text, "c")), (7, 5, 0));
    }
}
