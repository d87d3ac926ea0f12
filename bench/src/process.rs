//! Processor time and memory of a process, as Linux tells them.

use std::time::Duration;

use anyhow::Context;

/// Seconds of processor that a process used so far, user and system, in steps of
/// the kernel's clock (10 ms as a rule).
pub(crate) fn processor_time(pid: u32) -> anyhow::Result<Duration> {
    let stat = read(pid, "stat")?;
    let ticks = ticks(&stat).with_context(|| format!("/proc/{pid}/stat is not understood: {stat}"))?;
    let a_second = rustix::param::clock_ticks_per_second();
    Ok(Duration::from_secs_f64(ticks as f64 / a_second as f64))
}

/// Bytes of memory that a process holds in RAM.
pub(crate) fn resident_bytes(pid: u32) -> anyhow::Result<u64> {
    let status = read(pid, "status")?;
    resident(&status).with_context(|| format!("/proc/{pid}/status does not tell VmRSS"))
}

/// Files, sockets among them, that a process has open.
pub(crate) fn open_files(pid: u32) -> anyhow::Result<u64> {
    let files =
        std::fs::read_dir(format!("/proc/{pid}/fd")).with_context(|| format!("/proc/{pid}/fd cannot be read"))?;
    Ok(files.count() as u64)
}

fn read(pid: u32, what: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{pid}/{what}");
    std::fs::read_to_string(&path)
        .with_context(|| format!("{path} cannot be read; the bench needs Linux and a running process"))
}

/// Fields 14 and 15, counted behind the name, which may hold blanks and brackets.
fn ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

fn resident(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_read_behind_any_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 10 0 0 0 120 30 0 0 20 0 1 0 5";
        assert_eq!(ticks(stat), Some(150));
        assert_eq!(ticks("7 (a"), None);
    }

    #[test]
    fn resident_memory_is_in_bytes() {
        assert_eq!(resident("Name:\tx\nVmRSS:\t    9164 kB\n"), Some(9164 * 1024));
        assert_eq!(resident("Name:\tx\n"), None);
    }
}
