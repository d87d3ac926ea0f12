//! Whom to play, over which ways, some at once.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use anyhow::{Context as _, anyhow};

use crate::install::{self, Folders, Missing};
use crate::plan::{Client, Route};
use crate::play::{Way, World};
use crate::program::{self, Program};
use crate::route;
use crate::table::{self, Row};

/// Clients or routes at once: they wait for each other little.
const AT_ONCE: usize = 2;
/// A program with cells of its own may be so much longer silent than one with a task: one that tries thousands of requests is silent for 20 s,
/// and for two minutes beside all that `cargo xtask test` runs.
const LONGER: u32 = 15;

/// What a run gave.
#[derive(Default)]
pub(crate) struct Results {
    pub(crate) rows: Vec<Row>,
    /// Who did not take part, and what was missing.
    pub(crate) skipped: Vec<(String, String)>,
}

/// Each client without anything between it and the gateway.
pub(crate) fn direct(
    world: &World<'_>,
    folders: &Folders,
    clients: &[&Client],
    address: &str,
) -> anyhow::Result<Results> {
    let way = Way { name: "direct", address, authority: None };
    let play = |client: &&Client| {
        let began = Instant::now();
        let part = straight(world, folders, client, way)?;
        println!("{:<20} {:>5.1} s", client.name, began.elapsed().as_secs_f64());
        Ok(part)
    };
    at_once(clients, play)
}

/// The rows that go through TLS and the proxies of others, of clients that are not left out already.
pub(crate) fn others(
    world: &World<'_>,
    folders: &Folders,
    clients: &[&Client],
    gateway: &str,
    results: &mut Results,
) -> anyhow::Result<()> {
    let there = |client: &&&Client| results.skipped.iter().all(|(who, _)| *who != client.name);
    let clients: Vec<&Client> = clients.iter().filter(there).copied().collect();
    let play = |route: &Route| {
        let began = Instant::now();
        let part = through(world, folders, &clients, route, gateway)?;
        println!("{:<20} {:>5.1} s", route.name, began.elapsed().as_secs_f64());
        Ok(part)
    };
    let part = at_once(&world.plan.route, play)?;
    results.rows.extend(part.rows);
    results.skipped.extend(part.skipped);
    Ok(())
}

/// Plays all of them, some at once; what they gave is in their order.
fn at_once<T: Sync>(all: &[T], play: impl Fn(&T) -> anyhow::Result<Results> + Sync) -> anyhow::Result<Results> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut parts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(one) = all.get(at) else { return anyhow::Ok(parts) };
            parts.push((at, play(one)?));
        }
    };
    let parts: anyhow::Result<Vec<Vec<(usize, Results)>>> = thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().map_err(|_| anyhow!("a client's thread panicked"))?).collect()
    });
    let mut parts: Vec<(usize, Results)> = parts?.into_iter().flatten().collect();
    parts.sort_by_key(|(at, _)| *at);
    let mut results = Results::default();
    for (_, part) in parts {
        results.rows.extend(part.rows);
        results.skipped.extend(part.skipped);
    }
    Ok(results)
}

fn straight(world: &World<'_>, folders: &Folders, client: &Client, way: Way<'_>) -> anyhow::Result<Results> {
    let mut results = Results::default();
    let place = match install::client(folders, client).with_context(|| format!("{} was not built", client.name))? {
        Ok(place) => place,
        Err(Missing(what)) => {
            results.skipped.push((client.name.clone(), what));
            return Ok(results);
        }
    };
    if !client.own.is_empty() {
        let mut words = folders.filled(&client.own, &place);
        words.iter_mut().for_each(|word| *word = word.replace("{address}", way.address));
        let printed = program::printed(&words, &place, world.patience * LONGER)?;
        let row = table::own(&client.name, &printed);
        if row.has_failed() {
            println!("{} printed:\n{printed}", client.name);
        }
        results.rows.push(row);
    }
    if !client.run.is_empty() {
        results.rows.extend(tasks(world, folders, client, (&place, None), way)?);
    }
    Ok(results)
}

fn through(
    world: &World<'_>,
    folders: &Folders,
    clients: &[&Client],
    route: &Route,
    gateway: &str,
) -> anyhow::Result<Results> {
    let mut results = Results::default();
    let rows = clients.iter().filter_map(|client| Some((client, route.rows.get(&client.name)?)));
    let rows: Vec<(&&Client, &Vec<String>)> = rows.collect();
    if rows.is_empty() {
        return Ok(results);
    }
    let running = match &route.proxy {
        None => None,
        Some(proxy) => {
            if let Err(Missing(what)) = install::require(&proxy.needs, &proxy.apt) {
                results.skipped.push((route.name.clone(), what));
                return Ok(results);
            }
            Some(route::start(folders, proxy, gateway)?)
        }
    };
    let address = running.as_ref().map_or_else(|| gateway.to_owned(), |running| running.address.to_string());
    let authority = route.tls.then_some(folders.tls.authority.as_path());
    let way = Way { name: &route.name, address: &address, authority };
    for (client, modes) in rows {
        // It was installed without a route.
        if let Ok(place) = install::client(folders, client)? {
            results.rows.extend(tasks(world, folders, client, (&place, Some(modes.as_slice())), way)?);
        }
    }
    Ok(results)
}

/// The rows of one program, all or those of some modes.
fn tasks(
    world: &World<'_>,
    folders: &Folders,
    client: &Client,
    (place, modes): (&Path, Option<&[String]>),
    way: Way<'_>,
) -> anyhow::Result<Vec<Row>> {
    let mut program = Program::start(&folders.filled(&client.run, place), place)?;
    let rows = world.rows(client, &mut program, modes, way);
    let said = program.end();
    if rows.iter().any(Row::has_failed) && !said.is_empty() {
        println!("{} said:\n{said}", client.name);
    }
    Ok(rows)
}
