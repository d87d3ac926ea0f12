//! Every code of the catalogue, provoked over every door for real: its number, its status and its name are the same thing everywhere.
#![allow(clippy::print_stdout, reason = "a table prints its cells")]

mod ends;
mod login;
mod names;
mod requests;
mod room;
mod row;

use std::path::Path;

use meshwire_proto::ErrorKind;

use crate::doors::Door;
use crate::rig::Rig;
pub(crate) use requests::responder;
use row::{Cell, Row};

/// How often a code was provoked.
const PROVOKED: usize = 167;

/// What a gateway says, so that each door of it has it, or says why not.
fn of_gateways() -> impl Iterator<Item = ErrorKind> {
    ErrorKind::ALL.iter().copied().filter(|kind| !kind.is_client_made())
}

async fn row(kind: ErrorKind) -> Row {
    match kind {
        ErrorKind::Invalid => names::invalid().await,
        ErrorKind::Unauthenticated => login::unauthenticated().await,
        ErrorKind::Denied => login::denied().await,
        ErrorKind::OriginRefused => login::origin_refused().await,
        ErrorKind::NotFound => names::not_found().await,
        ErrorKind::TopicNotFound => names::topic_not_found().await,
        ErrorKind::GroupConflict => names::group_conflict().await,
        ErrorKind::LeaseLost => names::lease_lost().await,
        ErrorKind::TooLarge => room::too_large().await,
        ErrorKind::Busy => requests::busy().await,
        ErrorKind::DiskFull => room::disk_full().await,
        ErrorKind::TopicFull => room::topic_full().await,
        ErrorKind::Unavailable => ends::unavailable().await,
        ErrorKind::StoreFailed => room::store_failed().await,
        ErrorKind::NoResponders => requests::no_responders().await,
        ErrorKind::Timeout => requests::timeout().await,
        ErrorKind::Unsupported => names::unsupported().await,
        ErrorKind::Closed => ends::closed().await,
        ErrorKind::ProducerFenced => login::producer_fenced().await,
        ErrorKind::AlreadyExists => names::already_exists().await,
        ErrorKind::Cancelled => ends::cancelled().await,
        ErrorKind::TlsRequired => login::tls_required().await,
        ErrorKind::Internal => {
            Row::new(kind).cannot(&Door::ALL, "a defect, which nothing from outside can bring about")
        }
        ErrorKind::ResponderLost => requests::responder_lost().await,
        ErrorKind::ResponderFailed => requests::responder_failed().await,
        _ => panic!("{kind} has no row: provoke it, or say why it cannot be"),
    }
}

#[tokio::test]
async fn every_code_is_the_same_over_every_door() {
    let (mut provoked, mut cannot, mut wrong) = (0, 0, Vec::new());
    println!("{:>18} {:?}", "", Door::ALL);
    for kind in of_gateways() {
        let row = row(kind).await;
        assert_eq!(row.kind, kind);
        let mut line = format!("{:>18}", kind.code());
        for door in Door::ALL {
            let mark = match row.cells.get(&door) {
                None => {
                    wrong.push(format!("{kind} over {door:?} is neither provoked nor said to be impossible"));
                    "?"
                }
                Some(Cell::CannotBe(_)) => "-",
                Some(Cell::Told { said, want }) => {
                    let right = want.as_ref().map_or_else(|| said.is(kind), |want| said == want);
                    if !right {
                        wrong.push(format!("{kind} over {door:?}: {said:?}"));
                    }
                    if right { "ok" } else { "WRONG" }
                }
            };
            match mark {
                "-" => cannot += 1,
                _ => provoked += 1,
            }
            line += &format!(" {mark:>5}");
        }
        wrong.extend(row.disagreement());
        println!("{line}   {}", row.reasons().join("; "));
    }
    println!("code x door: {provoked} provoked, {cannot} cannot be");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert_eq!((provoked, provoked + cannot), (PROVOKED, of_gateways().count() * Door::ALL.len()));
}

#[tokio::test]
async fn more_at_once_than_is_taken_is_too_large_over_every_door() {
    let rig = Rig::start().await;
    for door in Door::ALL {
        for said in room::too_many(door, &rig).await.into_iter().flatten() {
            assert!(said.is(ErrorKind::TooLarge), "{door:?}: {said:?}");
        }
    }
}

/// All text of a folder's sources.
fn sources(folder: &Path) -> String {
    let mut all = String::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all += &sources(&path);
        } else {
            all += &std::fs::read_to_string(path).unwrap();
        }
    }
    all
}

#[test]
fn no_gateway_says_what_only_clients_make_and_every_other_code_has_its_place_in_one() {
    let sources = sources(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    for kind in ErrorKind::ALL {
        let name = format!("{kind:?}");
        let said = sources.split("ErrorKind::").skip(1).any(|behind| {
            behind.strip_prefix(&name).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric()))
        });
        assert_ne!(said, kind.is_client_made(), "{kind}");
    }
}
