//! What JavaScript says in one turn of its loop, in order: records of words (32 bits, of this machine's kind), each with what it is and
//! how many words it has, and bytes behind them.

use meshwire_embed::{Error, ErrorKind, Result, Room};

use crate::bridge::Bridge;
use crate::event::{self, Reader, duration, text};
use crate::guard::invalid;
use crate::held::Word;

const PUBLISH: u32 = 1;
const ACK: u32 = 2;
const NACK: u32 = 3;
const NACK_AFTER: u32 = 4;
const REJECT: u32 = 5;
const EXTEND: u32 = 6;
const DROP: u32 = 7;
const FAIL: u32 = 8;
const ANSWER: u32 = 9;
const RELEASE: u32 = 10;
const CLAIM: u32 = 11;
const GIVE_BACK_FROM: u32 = 12;

pub(crate) fn closed(operation: &'static str) -> Error {
    Error::of_host(ErrorKind::Closed, operation, "the client was closed; connect a new one")
}

impl Bridge {
    /// Carries out the records. What is wrong with a publish is the completion of its tag.
    pub(crate) fn carry_out(&mut self, packed: &[u8]) -> Result<()> {
        let mut left = Reader::new(packed);
        // The first failure is told, and the rest is carried out.
        let mut done = Ok(());
        while !left.is_empty() {
            let (what, words) = (left.word()?, left.word()?);
            let length = (words as usize).checked_mul(4).and_then(|bytes| bytes.checked_sub(8));
            let length = length.ok_or_else(|| invalid("send", "a packed call has no length"))?;
            let record = Reader::new(left.bytes(length)?);
            done = done.and(self.record(what, record));
        }
        done
    }

    fn record(&mut self, what: u32, mut record: Reader<'_>) -> Result<()> {
        let (first, second) = (record.word()?, record.word()?);
        if what == PUBLISH {
            if let Err(error) = self.publish(first, second, record) {
                self.failed.push((second, error.of_call("publish")));
            }
            return Ok(());
        }
        let word = match what {
            ACK => return self.batches.ack(first, second, record.word()?),
            NACK => Word::Nack,
            NACK_AFTER => Word::NackAfter(duration(record.number()?)),
            REJECT => Word::Reject(record.text()?.to_owned()),
            EXTEND => Word::Extend,
            FAIL => Word::Fail(record.text()?.to_owned()),
            ANSWER => match event::draft(record.run()?).and_then(meshwire_embed::Draft::finish_now) {
                Ok(event) => Word::Answer(Box::new(event)),
                Err(error) => Word::Fail(error.message().to_owned()),
            },
            DROP => return self.batches.let_go(first, second),
            RELEASE => {
                self.batches.release(first);
                return Ok(());
            }
            CLAIM => {
                // It may be settled by now, which claims it too.
                self.batches.claim_anyhow(first, second);
                return Ok(());
            }
            GIVE_BACK_FROM => return self.batches.give_back_from(first, second),
            _ => return Err(invalid("send", format!("{what} is no packed call"))),
        };
        self.batches.say(first, second, word)
    }

    fn publish(&mut self, client: u32, tag: u32, mut record: Reader<'_>) -> Result<()> {
        let (topic, event) = (record.word()?, record.word()?);
        let topic = text(record.bytes(topic as usize)?)?;
        let event = event::draft(record.bytes(event as usize)?)?.finish()?;
        let client = self.clients.get(&client).ok_or_else(|| closed("publish"))?;
        client.begin_publish(topic, event, Room::Wait, &self.queue, tag.into())
    }
}
