//! R9: clients that are there before a flood of connections keep what they had, and nothing is left of it.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::time::{Instant, sleep};

use crate::flooder::{self, Flooder, Kind};
use crate::options::Options;
use crate::ours::Gateway;
use crate::report::Report;

mod files;
mod good;
mod left;
mod seen;
mod struck;

use good::Good;
use left::Open;
use struck::{Struck, judge};

/// Of their capacity, what is offered.
const OFFERED: f64 = 0.25;
/// Of what is offered, the part that is answered.
const PART_BAR: f64 = 0.8;
/// Of the p99 alone, at most; or this.
const TIMES_BAR: u32 = 2;
const P99_BAR: Duration = Duration::from_millis(20);
/// So often a flood comes until the p99 is within its bar: a machine that is shared stops for some milliseconds at times.
const TRIES: usize = 3;
const NORMAL_BAR: Duration = Duration::from_secs(2);
/// What a gateway may have grown by when all floods are over: what its allocator keeps.
const GROWN_BAR: u64 = 16_000_000;
/// A flood lasts longer than a login may take (5 s), so that connections are ended and come again.
const FLOOD: Duration = Duration::from_secs(7);
const AFTER: Duration = Duration::from_secs(4);
/// How long files and tasks may take to be as before.
const RETURN: Duration = Duration::from_secs(10);
/// How long memory may: it is given back some seconds after the last connection.
const MEMORY_RETURN: Duration = Duration::from_secs(20);
const LOOK_EVERY: Duration = Duration::from_millis(50);

const FLOODS: [(Kind, &str); 4] = [
    (Kind::Silent, "silent"),
    (Kind::Slow, "a byte a second"),
    (Kind::Storm, "come, log in, go"),
    (Kind::Tls, "TLS handshakes"),
];

pub(crate) async fn run(options: &Options, report: &mut Report) {
    let connections = options.connections;
    report.note(&format!(
        "R9  {connections} connections against 4 sessions over TCP and 4 HTTP/1.1 connections, each with one publish in"
    ));
    report
        .note("    flight, a quarter of their capacity offered, one subscriber; topic `memory`, every event verified");
    if let Err(problem) = floods(options, report).await {
        report.missed("R9 floods", &format!("{problem:#}"));
    }
    if let Err(problem) = files::run(options, report).await {
        report.missed("R9 file limit", &format!("{problem:#}"));
    }
}

async fn floods(options: &Options, report: &mut Report) -> anyhow::Result<()> {
    flooder::make_room(options.connections)?;
    let folder = options.folder()?;
    let certificate = certificate(folder.path())?;
    let gateway = Gateway::with_tls(folder.path(), &certificate, &folder.path().join("key.pem"))?;
    let mut good = Good::connect(&gateway).await?;
    good.capacity(options.warm_up()).await?;
    let capacity = good.capacity(options.counted()).await?;
    let rate = capacity * OFFERED;
    report.note(&format!("    alone and as fast as they can {capacity:.0}/s; offered {rate:.0}/s"));
    let before = Open::of(&gateway).await?;
    for (kind, name) in FLOODS {
        let flood = Flood { kind, name, certificate: &certificate, log: &folder.path().join("flooder.log") };
        flood.play(options, &gateway, (&mut good, rate), report).await.with_context(|| format!("{name} flood"))?;
        good.verify().await?;
        returned(report, &gateway, before, name).await?;
    }
    let (began, mut grown) = (Instant::now(), u64::MAX);
    while grown > GROWN_BAR && began.elapsed() < MEMORY_RETURN {
        sleep(LOOK_EVERY).await;
        grown = Open::of(&gateway).await?.resident.saturating_sub(before.resident);
    }
    let (value, bar) = (format!("{:.1} MB more", grown as f64 / 1e6), format!("<= {:.0} MB", GROWN_BAR as f64 / 1e6));
    report.bar("memory after all floods", &value, &bar, grown <= GROWN_BAR);
    Ok(())
}

fn certificate(folder: &Path) -> anyhow::Result<std::path::PathBuf> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(vec!["localhost".to_owned()])?;
    std::fs::write(folder.join("key.pem"), signing_key.serialize_pem())?;
    let path = folder.join("certificate.pem");
    std::fs::write(&path, cert.pem())?;
    Ok(path)
}

struct Flood<'a> {
    kind: Kind,
    name: &'a str,
    certificate: &'a Path,
    log: &'a Path,
}

impl Flood<'_> {
    /// Strikes, again if what the machine did just then made the p99 too large, and tells what was seen each time.
    async fn play(
        &self,
        options: &Options,
        gateway: &Gateway,
        (good, rate): (&mut Good, f64),
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let tries = if self.kind == Kind::Tls { 1 } else { TRIES };
        let mut all: Vec<Struck> = Vec::new();
        while all.len() < tries && !all.last().is_some_and(Struck::is_in_time) {
            all.push(self.strike(options, gateway, (good, rate), report).await?);
        }
        let (name, verdicts) = (self.name, judge(&all));
        if self.kind == Kind::Tls {
            let told = verdicts.map(|(what, value, ..)| format!("{what} {value}"));
            report.note(&format!("    {name}: {}; no bar", told.join(", ")));
            return Ok(());
        }
        for (what, value, bar, met) in verdicts {
            report.bar(&format!("{name}: {what}"), &value, &bar, met);
        }
        Ok(())
    }

    /// Offers without a break: before, during and after.
    async fn strike(
        &self,
        options: &Options,
        gateway: &Gateway,
        (good, rate): (&mut Good, f64),
        report: &mut Report,
    ) -> anyhow::Result<Struck> {
        let offering = good.offer(rate);
        sleep(options.warm_up()).await;
        let alone = Instant::now();
        sleep(options.counted()).await;
        let begin = Instant::now();
        let flooder = self.start(gateway, options.connections).await?;
        let came = begin.elapsed();
        sleep(FLOOD.saturating_sub(came)).await;
        let most = Open::of(gateway).await;
        let end = Instant::now();
        drop(flooder);
        sleep(AFTER).await;
        let last = Instant::now();
        let seen = offering.stop(good).await?;

        let p99 = |span| seen::p99(&seen, span).context("nothing was answered");
        let (quiet, during) = (p99((alone, begin))?, p99((begin, end))?);
        let bar = (quiet * TIMES_BAR).max(P99_BAR);
        let (part, normal) = (seen::part(&seen, (begin, end)), seen::normal_after(&seen, (end, last), bar));
        let most = most.map_or_else(
            |e| format!("{e:#}"),
            |open| format!("{} tasks, {} MB", open.tasks, open.resident / 1_000_000),
        );
        report.note(&format!(
            "    {}: all had come after {came:.1?}; at its end {most}; p99 alone {quiet:.2?}",
            self.name
        ));
        Ok(Struck { part, p99: during, bar, normal })
    }

    /// Starting waits for a line of the process: not on a thread of those who measure.
    async fn start(&self, gateway: &Gateway, connections: u32) -> anyhow::Result<Flooder> {
        let (kind, address, certificate, log) =
            (self.kind, gateway.address()?, self.certificate.to_owned(), self.log.to_owned());
        let starting = move || Flooder::start(kind, (address, Some(&certificate)), connections, &log);
        tokio::task::spawn_blocking(starting).await?
    }
}

/// Waits until files and tasks are what they were, and what waits in memory.
async fn returned(report: &mut Report, gateway: &Gateway, before: Open, name: &str) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut now = Open::of(gateway).await?;
    let is_as_before = |now: Open| now.files <= before.files && now.tasks <= before.tasks;
    while !is_as_before(now) && began.elapsed() < RETURN {
        sleep(LOOK_EVERY).await;
        now = Open::of(gateway).await?;
    }
    let value = format!("{} files, {} tasks", now.files, now.tasks);
    let bar = format!("<= {}, {}", before.files, before.tasks);
    report.bar(&format!("{name}: left"), &value, &bar, is_as_before(now));
    report.note(&format!(
        "    resident {:.1} MB, before all {:.1}",
        now.resident as f64 / 1e6,
        before.resident as f64 / 1e6
    ));
    Ok(())
}
