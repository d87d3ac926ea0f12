//! Answers that wait until what they answer is kept.

use meshwire_proto::ErrorKind;
use meshwire_proto::frame::{Receipt, Receipts, ServerFrame, SettleResult, Settled};
use meshwire_proto::wire::session::{AdminAnswer, Error};

use crate::mesh::{Ticket, Watermark};

#[derive(Debug)]
enum Answer {
    Receipt(Receipt),
    Settle(SettleResult),
    Frame(ServerFrame),
}

/// Answers of one connection, in order of asking. Those with one ticket and
/// neighbouring numbers are one.
#[derive(Debug, Default)]
pub(super) struct Pending {
    answers: Vec<(Ticket, Answer)>,
    /// Memory of the answers, about.
    bytes: u64,
    /// Tickets that nobody is woken for yet.
    fresh: Vec<Ticket>,
}

/// Memory of an answer, about.
fn weight(answer: &Answer) -> u64 {
    let more = match answer {
        Answer::Receipt(receipt) => receipt.message.len(),
        Answer::Frame(ServerFrame::Admin(answer)) => answer.answer.len() + answer.message.len(),
        Answer::Settle(_) | Answer::Frame(_) => 0,
    };
    (size_of::<(Ticket, Answer)>() + more) as u64
}

impl Pending {
    pub(super) fn receipt(&mut self, ticket: Ticket, receipt: Receipt) {
        if let Some((last, Answer::Receipt(before))) = self.answers.last_mut()
            && *last == ticket
            && follows(before, &receipt)
        {
            before.count += receipt.count;
            return;
        }
        self.push(ticket, Answer::Receipt(receipt));
    }

    pub(super) fn settle(&mut self, ticket: Ticket, result: SettleResult) {
        self.push(ticket, Answer::Settle(result));
    }

    pub(super) fn frame(&mut self, ticket: Ticket, frame: ServerFrame) {
        self.push(ticket, Answer::Frame(frame));
    }

    fn push(&mut self, ticket: Ticket, answer: Answer) {
        if self.answers.last().is_none_or(|(last, _)| *last != ticket) {
            self.fresh.push(ticket);
        }
        self.bytes += weight(&answer);
        self.answers.push((ticket, answer));
    }

    /// What nobody is woken for yet; from now on the caller sees to that.
    pub(super) fn fresh(&mut self) -> impl Iterator<Item = Ticket> {
        self.fresh.drain(..)
    }

    /// Memory of what waits, about: its owner processes nothing more when it is too much.
    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether settlements wait, which are told when the disk is full.
    pub(super) fn has_settles(&self) -> bool {
        self.answers.iter().any(|(_, answer)| matches!(answer, Answer::Settle(_)))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.answers.is_empty()
    }

    /// Takes out what is kept, and settlements that there is no space for: they hold all the same. `settled_through` goes with settle
    /// results.
    pub(super) fn kept(&mut self, watermark: Watermark, settled_through: u64) -> Vec<ServerFrame> {
        let (mut receipts, mut settled, mut frames) = (Vec::new(), Vec::new(), Vec::new());
        self.fresh.retain(|ticket| !watermark.covers(*ticket));
        let is_told = |(ticket, answer): &mut (Ticket, Answer)| {
            watermark.covers(*ticket) || (watermark.stuck && matches!(answer, Answer::Settle(_)))
        };
        for (ticket, answer) in self.answers.extract_if(.., is_told) {
            self.bytes -= weight(&answer);
            match answer {
                Answer::Settle(result) if result.code == 0 && !watermark.covers(ticket) => {
                    settled.push(SettleResult { code: ErrorKind::DiskFull.number(), ..result });
                }
                Answer::Receipt(receipt) => match receipts.last_mut() {
                    Some(last) if follows(last, &receipt) => last.count += receipt.count,
                    _ => receipts.push(receipt),
                },
                Answer::Settle(result) => settled.push(result),
                Answer::Frame(frame) => frames.push(frame),
            }
        }
        if !receipts.is_empty() {
            frames.push(ServerFrame::Receipts(Receipts { receipts }));
        }
        if !settled.is_empty() {
            frames.push(ServerFrame::Settled(Settled { through: settled_through, results: settled }));
        }
        frames
    }

    /// Everything that waits has failed with this code and text.
    pub(super) fn failed(&mut self, code: u32, message: &str) -> Vec<ServerFrame> {
        let (mut receipts, mut settled, mut others) = (Vec::new(), Vec::new(), Vec::new());
        self.bytes = 0;
        for (_, answer) in self.answers.drain(..) {
            match answer {
                Answer::Receipt(receipt) => {
                    let message = message.to_owned();
                    receipts.push(Receipt { code, message, first_position: 0, duplicate: false, ..receipt });
                }
                Answer::Settle(result) => settled.push(SettleResult { code, ..result }),
                Answer::Frame(ServerFrame::Admin(answer)) => others.push(ServerFrame::Admin(AdminAnswer {
                    number: answer.number,
                    code,
                    message: message.to_owned(),
                    ..AdminAnswer::default()
                })),
                Answer::Frame(ServerFrame::Subscribed(answer)) => others.push(ServerFrame::Error(Error {
                    code,
                    message: message.to_owned(),
                    subscription: answer.subscription,
                    operation: "subscribe".to_owned(),
                    ..Error::default()
                })),
                Answer::Frame(frame) => others.push(frame),
            }
        }
        let mut frames = vec![ServerFrame::Receipts(Receipts { receipts })];
        if !settled.is_empty() {
            frames.push(ServerFrame::Settled(Settled { through: 0, results: settled }));
        }
        frames.append(&mut others);
        frames
    }
}

/// Whether a receipt goes on where another ends.
fn follows(before: &Receipt, next: &Receipt) -> bool {
    let count = u64::from(before.count);
    let positions = match (before.first_position, next.first_position) {
        (0, 0) => true,
        (0, _) | (_, 0) => false,
        (first, second) => first + count == second,
    };
    before.code == 0
        && next.code == 0
        && before.duplicate == next.duplicate
        && before.first_sequence + count == next.first_sequence
        && positions
}
