//! `/`: what a person sees who opens the port in a browser. Tables, readable without script and by curl.

mod html;
mod rates;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, Uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use axum::{Extension, Router};
use meshwire_proto::wire::admin::answer::Answer;
use meshwire_proto::wire::admin::command::Command;
use meshwire_proto::wire::admin::{DeadLetter, Durability, ListDeadLetters, ListTopics, Topic, TopicList};
use meshwire_proto::{ErrorKind, excerpt};

use super::admin::{carry_out, paging, show};
use super::query::Query;
use super::{Door, Problem, health};
use crate::mesh::Spoken;
use html::{bytes, escape, segment};
use rates::Rates;

/// Topics of a page.
const TOPICS: u32 = 100;

/// Groups whose last dead letters are shown, and how many of each.
const GROUPS: usize = 5;
const LETTERS: u32 = 5;

/// Characters of an event or an error that are shown.
const EXCERPT: usize = 300;

const STYLE: &str = include_str!("page.css");

/// Nothing is loaded or run but the page's own style.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

fn headers(media: &'static str) -> [(HeaderName, &'static str); 6] {
    [
        (CONTENT_TYPE, media),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ]
}

pub(super) fn routes() -> Router {
    let rates = Arc::new(Rates::default());
    let page = move |Extension(door): Extension<Door>, uri: Uri| {
        let rates = Arc::clone(&rates);
        async move { page(&door, &rates, &uri).await }
    };
    let style = || async { (headers("text/css; charset=utf-8"), STYLE) };
    Router::new().route("/", get(page)).route("/page.css", get(style))
}

async fn page(door: &Door, rates: &Rates, uri: &Uri) -> Result<Response, Problem> {
    let query = Query::read(uri, &["cursor"])?;
    let list = ListTopics { cursor: paging::cursor(&query).to_owned(), limit: TOPICS, topic: String::new() };
    let Answer::Topics(TopicList { topics, next }) = carry_out(door, Command::ListTopics(list)).await? else {
        return Err(Problem::new(ErrorKind::Internal, "another answer than a list"));
    };
    let mut html = String::with_capacity(16 << 10);
    head(&mut html, door);
    topics_table(&mut html, &topics, &rates.look(door.native.mesh().now().mono, &topics));
    groups_table(&mut html, &topics);
    letters_table(&mut html, &letters(door, &topics).await?);
    let first = paging::cursor(&query).is_empty();
    pages(&mut html, first, &next, door);
    html.push_str("</body>\n</html>\n");
    Ok((headers("text/html; charset=utf-8"), html).into_response())
}

/// The way to the other pages of the list.
fn pages(html: &mut String, first: bool, next: &str, door: &Door) {
    if first && next.is_empty() {
        return;
    }
    let of = door.native.mesh().population();
    let all = of.iter().find(|of| of.of == "topics").map_or(0, |of| of.used);
    let _ = write!(html, "<p id=\"pages\">A page of a list of {all} topics, with their groups and dead letters.");
    if !first {
        html.push_str(" <a href=\"/\">First page</a>");
    }
    if !next.is_empty() {
        let _ = write!(html, " <a href=\"/?cursor={}\">More topics</a>", segment(next));
    }
    html.push_str("</p>\n");
}

/// What this is, its state, and what it has done.
fn head(html: &mut String, door: &Door) {
    let mesh = door.native.mesh();
    let counts = mesh.counts();
    let reasons = health::reasons(*door.shutdown.borrow(), *mesh.failed().borrow());
    let state = match reasons.join("; ") {
        ready if ready.is_empty() => "<span id=\"state\">ready</span>".to_owned(),
        bad => format!("<span id=\"state\" class=\"bad\">{}</span>", escape(bad)),
    };
    let connections: Vec<String> =
        Spoken::ALL.map(|spoken| format!("{} {}", counts.connections(spoken).0, spoken.name())).to_vec();
    let ([new, duplicate, refused], _) = counts.publishes();
    // Writing to a string does not fail.
    let _ = write!(
        html,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Meshwire</title>\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<meta http-equiv=\"refresh\" content=\"10\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/page.css\">\n</head>\n<body>\n\
         <h1>Meshwire</h1>\n<p>An event gateway: programs publish CloudEvents to its topics and consume them, over TCP, HTTP, \
         gRPC and WebSocket on this one port. The operations of HTTP are in <a href=\"/openapi.json\">openapi.json</a>, \
         numbers for a monitor in <a href=\"/metrics\">metrics</a>.</p>\n\
         <p>State: {state}. Version <span id=\"version\">{}</span>. Open connections: {}. Published since the start: {new}, \
         {duplicate} duplicates and {refused} refused. Delivered: {}.</p>\n",
        env!("CARGO_PKG_VERSION"),
        connections.join(", "),
        counts.deliveries().0,
    );
}

/// Begins a table, or says that there is nothing in it.
fn table(html: &mut String, (id, title, empty): (&str, &str, bool), columns: &[&str]) -> bool {
    let _ = writeln!(html, "<h2>{title}</h2>");
    if empty {
        let _ = writeln!(html, "<p id=\"{id}\">None.</p>");
        return false;
    }
    let _ = write!(html, "<table id=\"{id}\">\n<thead><tr>");
    for column in columns {
        let (class, name) = column.strip_prefix('#').map_or(("", *column), |name| (" class=\"number\"", name));
        let _ = write!(html, "<th scope=\"col\"{class}>{name}</th>");
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    true
}

fn end(html: &mut String) {
    html.push_str("</tbody>\n</table>\n");
}

fn number(html: &mut String, value: impl std::fmt::Display) {
    let _ = write!(html, "<td class=\"number\">{value}</td>");
}

fn topics_table(html: &mut String, topics: &[Topic], rates: &BTreeMap<String, f64>) {
    let columns = ["Topic", "Durability", "#Events", "#Bytes", "#Stored a second"];
    if !table(html, ("topics", "Topics", topics.is_empty()), &columns) {
        return;
    }
    for topic in topics {
        let (name, path) = (&topic.name, segment(&topic.name));
        let served = topic.durability() == Durability::Unspecified;
        let durability = if served { "requests only" } else { show::durability(topic.durability()) };
        let _ = write!(html, "<tr><td><a href=\"/v1/topics/{path}\">{}</a></td><td>{durability}</td>", escape(name));
        number(html, topic.next_position.saturating_sub(topic.first_position));
        number(html, bytes(topic.bytes));
        match rates.get(name) {
            Some(rate) => number(html, format_args!("{rate:.1}")),
            None => number(html, "-"),
        }
        html.push_str("</tr>\n");
    }
    end(html);
}

fn groups_table(html: &mut String, topics: &[Topic]) {
    let empty = topics.iter().all(|topic| topic.groups.is_empty());
    let columns = ["Topic", "Group", "#Members", "#In flight", "#Lag", "#Oldest", "#Dead letters"];
    if !table(html, ("groups", "Groups", empty), &columns) {
        return;
    }
    for (topic, group) in topics.iter().flat_map(|topic| topic.groups.iter().map(move |group| (topic, group))) {
        let path = format!("/v1/topics/{}/groups/{}", segment(&topic.name), segment(&group.name));
        let _ =
            write!(html, "<tr><td>{}</td><td><a href=\"{path}\">{}</a></td>", escape(&topic.name), escape(&group.name));
        number(html, group.members);
        number(html, group.in_flight);
        number(html, group.lag);
        match group.oldest_ms {
            Some(ms) => number(html, format_args!("{} s", ms / 1000)),
            None => number(html, "-"),
        }
        let letters = group.dead_letters;
        number(html, format_args!("<a href=\"{path}/dead-letters?events=true\">{letters}</a>"));
        html.push_str("</tr>\n");
    }
    end(html);
}

/// The first dead letters of a few groups, with their topics; none of them to who may not read them.
async fn letters(door: &Door, topics: &[Topic]) -> Result<Vec<(String, DeadLetter)>, Problem> {
    let mut of: Vec<(String, String)> = Vec::new();
    for topic in topics {
        let groups = topic.groups.iter().filter(|group| group.dead_letters > 0);
        of.extend(groups.take(GROUPS - of.len()).map(|group| (topic.name.clone(), group.name.clone())));
    }
    let mut found = Vec::new();
    for (topic, group) in of {
        let name = topic.clone();
        let list = ListDeadLetters { topic, group, limit: LETTERS, events: true, ..ListDeadLetters::default() };
        match carry_out(door, Command::ListDeadLetters(list)).await {
            Ok(Answer::DeadLetters(list)) => {
                found.extend(list.letters.into_iter().map(|letter| (name.clone(), letter)));
            }
            Err(problem)
                if !matches!(problem.kind(), ErrorKind::Denied | ErrorKind::NotFound | ErrorKind::TopicNotFound) =>
            {
                return Err(problem);
            }
            _ => {}
        }
    }
    Ok(found)
}

fn letters_table(html: &mut String, letters: &[(String, DeadLetter)]) {
    let columns = ["Topic", "Group", "#Number", "#Failures", "Error", "Event"];
    if !table(html, ("dead-letters", "Dead letters", letters.is_empty()), &columns) {
        return;
    }
    for (topic, letter) in letters {
        let _ = write!(html, "<tr><td>{}</td><td>{}</td>", escape(topic), escape(&letter.group));
        let path = format!("/v1/topics/{}/groups/{}", segment(topic), segment(&letter.group));
        number(html, format_args!("<a href=\"{path}/dead-letters/{}\">{}</a>", letter.number, letter.number));
        number(html, letter.failures);
        let event = show::event(&letter.event).unwrap_or_default();
        let _ = writeln!(
            html,
            "<td>{}</td><td><code>{}</code></td></tr>",
            escape(excerpt(&letter.error, EXCERPT)),
            escape(excerpt(&event, EXCERPT))
        );
    }
    end(html);
}
