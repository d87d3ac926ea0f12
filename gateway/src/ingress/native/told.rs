//! Which errors a session is told: counted where its frames leave.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::ServerFrame;

use crate::mesh::Counts;

/// Counts the errors of a frame: one for each range of a receipt or a settlement.
pub(super) fn count(counts: &Counts, frame: &ServerFrame) {
    let told = |code: u32| {
        if code != 0 {
            counts.told(ErrorKind::from_number(code));
        }
    };
    match frame {
        ServerFrame::Error(error) => told(error.code),
        ServerFrame::Admin(answer) => told(answer.code),
        ServerFrame::Reply(reply) => told(reply.code),
        ServerFrame::Unsubscribed(ended) => told(ended.code),
        ServerFrame::Receipts(answers) => answers.receipts.iter().for_each(|receipt| told(receipt.code)),
        ServerFrame::Settled(answers) => answers.results.iter().for_each(|result| told(result.code)),
        _ => {}
    }
}
