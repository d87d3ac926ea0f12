//! Sessions, whatever carries them.

use meshwire_proto::EventRunBuilder;
use meshwire_proto::frame::{ClientFrame, Publish, PublishRun, ServerFrame, Settle, SettleKind, SettleRange};
use meshwire_proto::wire::admin::{self, command};
use meshwire_proto::wire::session as wire;
use prost::Message as _;

use super::{Ask, Door, Said, Sent, Visit, carriers, sent};
use crate::rig::{Peer, Rig, earliest};

/// A peer behind its login; what it is told if it gets none.
pub(crate) async fn log_in(door: Door, rig: &Rig, visit: &Visit<'_>) -> Result<Peer, Said> {
    let mut peer = Peer::over(carriers::open(door, rig, visit.headers).await?).await;
    peer.send(ClientFrame::Hello(visit.hello.clone())).await;
    match peer.next().await {
        Some(ServerFrame::Welcome(_)) => Ok(peer),
        Some(ServerFrame::Error(error)) => Err(Said::frame(error.code, error.retry_after_ms)),
        other => panic!("neither a welcome nor an error: {other:?}"),
    }
}

/// What answers what was sent last.
pub(crate) async fn answer(peer: &mut Peer) -> Said {
    loop {
        return match peer.next().await.expect("an answer") {
            ServerFrame::Receipts(receipts) if !receipts.receipts.is_empty() => {
                let receipt = &receipts.receipts[0];
                Said::frame(receipt.code, receipt.retry_after_ms)
            }
            ServerFrame::Error(error) => Said::frame(error.code, error.retry_after_ms),
            ServerFrame::Reply(reply) => Said::frame(reply.code, reply.retry_after_ms),
            ServerFrame::Admin(answer) => Said::frame(answer.code, answer.retry_after_ms),
            ServerFrame::Subscribed(_) => Said::Fine,
            ServerFrame::Settled(settled) if !settled.results.is_empty() => Said::frame(settled.results[0].code, 0),
            _ => continue,
        };
    }
}

pub(crate) fn publishing(topic: &str, event: &Sent) -> ClientFrame {
    let mut run = EventRunBuilder::default();
    run.push(&event.protobuf);
    let run =
        PublishRun { alias: 1, topic: topic.into(), first_sequence: 1, events: run.take(), ..PublishRun::default() };
    ClientFrame::Publish(Publish { runs: vec![run], answered_through: 0 })
}

pub(crate) fn commanding(command: command::Command) -> ClientFrame {
    let command = admin::Command { command: Some(command) }.encode_to_vec().into();
    ClientFrame::Admin(wire::Admin { number: 1, command })
}

fn settling(sequence: u64, kind: SettleKind) -> ClientFrame {
    let range = SettleRange { subscription: 1, first_delivery: 1, count: 1, kind, ..SettleRange::default() };
    ClientFrame::Settle(Settle { sequence, ranges: vec![range], confirm: true })
}

pub(super) async fn ask(door: Door, rig: &Rig, visit: &Visit<'_>, ask: &Ask<'_>) -> Said {
    let mut peer = match log_in(door, rig, visit).await {
        Ok(peer) => peer,
        Err(said) => return said,
    };
    let frame = match *ask {
        Ask::Publish { topic, ref event } => publishing(topic, event),
        Ask::Request { topic, timeout_ms } => {
            let event = sent("1", 1).protobuf;
            ClientFrame::Request(wire::Request {
                number: 1,
                topic: topic.into(),
                timeout_ms,
                event,
                ..wire::Request::default()
            })
        }
        Ask::Join { topic, group, member } => ClientFrame::Subscribe(wire::Subscribe {
            member: member.into(),
            mode: wire::GroupMode::Broadcast.into(),
            ..earliest(1, topic, group)
        }),
        Ask::SettleTwice { topic } => {
            peer.send(publishing(topic, &sent(&format!("{door:?}"), 1))).await;
            assert_eq!(answer(&mut peer).await, Said::Fine);
            peer.subscribe(earliest(1, topic, &format!("{door:?}"))).await;
            peer.deliveries(1).await;
            peer.send(settling(1, SettleKind::Ack)).await;
            assert_eq!(answer(&mut peer).await, Said::Fine);
            settling(2, SettleKind::Reject)
        }
        Ask::Create { topic, durability, retention_ms } => {
            commanding(command::Command::CreateTopic(admin::CreateTopic {
                name: topic.into(),
                durability: durability.into(),
                retention_ms,
                ..admin::CreateTopic::default()
            }))
        }
        Ask::GetGroup { topic, group } => {
            commanding(command::Command::GetGroup(admin::GetGroup { topic: topic.into(), group: group.into() }))
        }
    };
    peer.send(frame).await;
    answer(&mut peer).await
}
