//! Events for JavaScript: one buffer a batch, in which the other half reads what its program asks for.
//!
//! Words of 32 bits: how many entries there are, a word that means nothing, and for each entry [`WORDS`] words; behind them the bytes of
//! all entries, to which their words point.

use meshwire_embed::{AttributeValue, Data, Delivery, EventView, Inquiry, Job, Reply, Result, Work};

/// Words of an entry.
const WORDS: usize = 18;

const EXPIRES: u32 = 1 << 8;
const STREAM: u32 = 1 << 9;
const LOST: u32 = 1 << 10;

/// What is told of an event beside it.
#[derive(Debug, Default)]
struct About {
    flags: u32,
    position: u64,
    attempt: u32,
    gap: u64,
    stored: i64,
    /// Or how many milliseconds a request has left.
    expires: i64,
    number: u64,
}

#[derive(Debug)]
pub(crate) struct Writer {
    head: Vec<u32>,
    bytes: Vec<u8>,
    /// Where the bytes begin.
    base: usize,
}

fn low(number: u64) -> u32 {
    u32::try_from(number & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

fn high(number: u64) -> u32 {
    low(number >> 32)
}

fn size(length: usize) -> u32 {
    // A batch has as many bytes as a session may hold, far less than that.
    u32::try_from(length).unwrap_or(u32::MAX)
}

impl Writer {
    pub(crate) fn new(entries: usize) -> Self {
        let mut head = Vec::with_capacity(2 + entries * WORDS);
        head.extend([size(entries), 0]);
        Self { head, bytes: Vec::with_capacity(entries * 256), base: (2 + entries * WORDS) * 4 }
    }

    fn at(&self) -> u32 {
        size(self.base + self.bytes.len())
    }

    fn run(&mut self, bytes: &[u8]) {
        self.bytes.extend(size(bytes.len()).to_ne_bytes());
        self.bytes.extend(bytes);
    }

    fn attribute(&mut self, name: &str, value: &AttributeValue<'_>) {
        let kind = match value {
            AttributeValue::Integer(_) => 1,
            AttributeValue::Boolean(_) => 2,
            AttributeValue::Binary(_) => 3,
            _ => 0,
        };
        self.bytes.push(kind);
        self.run(name.as_bytes());
        match value {
            AttributeValue::Binary(value) => self.run(value),
            AttributeValue::String(value) | AttributeValue::Uri(value) | AttributeValue::UriReference(value) => {
                self.run(value.as_bytes());
            }
            other => self.run(other.to_string().as_bytes()),
        }
    }

    fn entry(&mut self, view: &EventView<'_>, about: &About) {
        let kind = match view.data() {
            Data::Absent => 0,
            Data::Text(_) => 1,
            Data::Binary(_) => 2,
            Data::Proto(_) => 3,
        };
        let start = self.at();
        let names = [view.id(), view.source(), view.kind()];
        for name in names {
            self.bytes.extend(name.as_bytes());
        }
        let attributes = self.at();
        for (name, value) in view.attributes() {
            self.attribute(name, &value);
        }
        let data = self.at();
        self.bytes.extend(view.data().bytes());
        let stored = about.stored.cast_unsigned();
        let expires = about.expires.cast_unsigned();
        self.head.extend([
            about.flags | kind,
            low(about.position),
            high(about.position),
            about.attempt,
            low(about.gap),
        ]);
        self.head.extend([low(stored), high(stored), low(expires), high(expires), start]);
        self.head.extend(names.map(|name| size(name.len())));
        self.head.extend([data, self.at() - data, low(about.number), high(about.number), attributes]);
    }

    fn lost(&mut self, number: u64) {
        let mut words = [0; WORDS];
        let [flags, .., low_word, high_word, _] = &mut words;
        (*flags, *low_word, *high_word) = (LOST, low(number), high(number));
        self.head.extend(words);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out: Vec<u8> = Vec::with_capacity(self.base + self.bytes.len());
        out.extend(self.head.iter().flat_map(|word| word.to_ne_bytes()));
        out.extend(self.bytes);
        out
    }

    pub(crate) fn delivery(&mut self, delivery: &Delivery) -> Result<()> {
        let of = delivery.get()?;
        let expires = of.expires_at();
        self.entry(
            &of.event(),
            &About {
                flags: if expires.is_some() { EXPIRES } else { 0 },
                position: of.position().number(),
                attempt: of.attempt(),
                gap: of.gap(),
                stored: of.stored().0,
                expires: expires.map_or(0, |at| at.0),
                number: 0,
            },
        );
        Ok(())
    }

    pub(crate) fn job(&mut self, work: &Work<Job>) {
        match work {
            Work::Lost(number) => self.lost(*number),
            Work::Begin(job) => {
                let expires = job.expires_at();
                self.entry(
                    &job.event(),
                    &About {
                        flags: if expires.is_some() { EXPIRES } else { 0 },
                        position: job.position().number(),
                        attempt: job.attempt(),
                        gap: job.gap(),
                        stored: job.stored().0,
                        expires: expires.map_or(0, |at| at.0),
                        number: job.number(),
                    },
                );
            }
        }
    }

    pub(crate) fn inquiry(&mut self, work: &Work<Inquiry>) {
        match work {
            Work::Lost(number) => self.lost(*number),
            Work::Begin(inquiry) => {
                let left = i64::try_from(inquiry.remaining().as_millis()).unwrap_or(i64::MAX);
                self.entry(
                    &inquiry.event(),
                    &About {
                        flags: if inquiry.wants_stream() { STREAM } else { 0 },
                        expires: left,
                        number: inquiry.number(),
                        ..About::default()
                    },
                );
            }
        }
    }

    pub(crate) fn reply(&mut self, reply: &Reply) {
        self.entry(&reply.event(), &About::default());
    }
}
