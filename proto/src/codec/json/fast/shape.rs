//! Events one behind the other as a source writes them: the same members in the same order, most of them with the same value. What is known
//! of the one before is not read again.

use std::borrow::Cow;

use super::{Reader, set_data};
use crate::EventParts;

/// Members that are remembered: of events with more nothing is.
const MOST_MEMBERS: usize = 32;

/// So many in a row that were of another shape: the others of the batch are as well, and trying costs time.
const MOST_MISSES: u8 = 4;

/// The members of an event, in their order.
#[derive(Default)]
pub(super) struct Shape<'a> {
    members: Vec<Member<'a>>,
    misses: u8,
}

struct Member<'a> {
    /// From the first quotation mark of its name to the end of its value.
    text: &'a str,
    /// So much of that stands before the value.
    value: usize,
    slot: Slot<'a>,
}

/// Where a value belongs.
pub(super) enum Slot<'a> {
    Version,
    Id,
    Source,
    Kind,
    Attribute(Cow<'a, str>, usize),
    Data,
    Base64,
}

impl<'a> Shape<'a> {
    /// Adds a member to an event that is being read.
    pub(super) fn add(&mut self, text: &'a str, value: usize, slot: Slot<'a>) {
        if self.members.len() <= MOST_MEMBERS {
            self.members.push(Member { text, value, slot });
        }
    }

    /// That event is read, and its attributes have their places.
    pub(super) fn settle(&mut self, event: &EventParts<'a>) {
        for member in &mut self.members {
            if let Slot::Attribute(name, at) = &mut member.slot {
                *at = event.attributes.binary_search_by(|(other, _)| other.cmp(name)).unwrap_or(usize::MAX);
            }
        }
    }

    /// Whether another event may be of this shape.
    fn is_tried(&self) -> bool {
        (1..=MOST_MEMBERS).contains(&self.members.len()) && self.misses < MOST_MISSES
    }
}

impl Member<'_> {
    /// Whether it comes next, and says what it said before: its value is still where it was put.
    fn is_repeated(&self, rest: &str) -> bool {
        let stays = !matches!(self.slot, Slot::Id | Slot::Data | Slot::Base64);
        // With the quotation mark at its end, the value is not longer here.
        stays && self.text.ends_with('"') && rest.as_bytes().starts_with(self.text.as_bytes())
    }
}

impl<'a> Reader<'a> {
    /// The next event of a batch, in the place of the one before.
    pub(super) fn next(&mut self, event: &mut EventParts<'a>, shape: &mut Shape<'a>) -> Option<()> {
        if shape.is_tried() {
            let begins = self.at;
            if self.alike(event, shape).is_some() {
                shape.misses = 0;
                return Some(());
            }
            shape.misses += 1;
            self.at = begins;
        }
        shape.members.clear();
        self.event(event, (shape.misses < MOST_MISSES).then_some(shape))
    }

    /// An event of this shape, or with something of it.
    fn alike(&mut self, event: &mut EventParts<'a>, shape: &mut Shape<'a>) -> Option<()> {
        let (mut data, mut base64) = (None, None);
        let mut left = shape.members.len();
        self.pass(b'{')?;
        for member in &mut shape.members {
            self.peek()?;
            let (begins, rest) = (self.at, self.rest());
            if member.is_repeated(rest) {
                self.at += member.text.len();
            } else {
                let name = member.text.as_bytes().get(..member.value)?;
                rest.as_bytes().starts_with(name).then_some(())?;
                self.at += member.value;
                match &member.slot {
                    Slot::Version => return None,
                    Slot::Id => event.id = self.required()?,
                    Slot::Source => event.source = self.required()?,
                    Slot::Kind => event.kind = self.required()?,
                    Slot::Attribute(name, at) => event.attributes.get_mut(*at)?.1 = self.attribute(name)?,
                    Slot::Data => data = Some(self.raw()?),
                    Slot::Base64 => base64 = Some(self.string()?),
                }
                member.text = self.text.get(begins..self.at)?;
            }
            left -= 1;
            (self.goes_on(b'}')? == (left > 0)).then_some(())?;
        }
        set_data(event, data, base64)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::super::parse;
    use super::*;

    /// Reads events one behind the other, and each alone; gives how many in a row were of another shape at the end.
    fn misses(events: &[String]) -> u8 {
        let text = events.join(",") + "]";
        let (mut reader, mut event, mut shape) = (Reader::new(&text), EventParts::default(), Shape::default());
        for (n, alone) in events.iter().enumerate() {
            reader.next(&mut event, &mut shape).unwrap();
            assert_eq!(Some(event.clone().into_event()), parse(alone).map(EventParts::into_event), "{n}");
            assert_eq!(reader.goes_on(b']'), Some(n + 1 < events.len()));
        }
        shape.misses
    }

    fn event(id: &str, source: &str, rest: &str) -> String {
        format!(r#"{{"specversion":"1.0", "id":"{id}","source" : "{source}","type":"t","b":"x"{rest} }}"#)
    }

    #[test]
    fn events_of_one_shape_are_read_as_each_alone_whatever_their_values_are() {
        let ends = [
            ("/s", r#","a":"1","time":"2020-01-02T03:04:05.5Z","data":{"n":1}"#),
            ("/s/longer", r#","a":"1","time":"2020-01-02T03:04:05.5Z","data":"text""#),
            ("/\\u0073", r#","a":"12","time":"2020-01-02T03:04:06Z","data":[1, 2]"#),
            ("/s", r#","a":-7,"time":"2020-01-02T03:04:06Z","data":null"#),
            ("/s", r#","a":-70,"time":"2020-01-02T03:04:06Z","data":0"#),
            ("é", r#","a":true,"time":"2020-01-02T03:04:06Z","data":0"#),
            ("/s", r#","a":"\u00e9\"","time":"2020-01-02T03:04:06Z","data":"\\""#),
            ("/s", r#","a":"\u00e9\"","time":"2020-01-02T03:04:06Z","data":1"#),
        ];
        let events = ends.iter().enumerate().map(|(n, (source, end))| event(&n.to_string(), source, end));
        assert_eq!(misses(&events.collect::<Vec<_>>()), 0);
        let binary = ["AP8=", "", "AA==", "AAAA"].map(|data| event("1", "/s", &format!(r#","data_base64":"{data}""#)));
        assert_eq!(misses(&binary), 0);
    }

    #[test]
    fn events_of_another_shape_are_read_as_each_alone_and_after_some_no_shape_is_tried() {
        let with = |rest: &str| event("1", "/s", rest);
        let (short, long) = (with(""), with(r#","data":1"#));
        assert_eq!(misses(&[short.clone(), long.clone()]), 1);
        assert_eq!(misses(&[long.clone(), short.clone()]), 1);
        assert_eq!(misses(&[short.clone(), long.clone(), long.clone()]), 0);
        let turn: Vec<String> = [short.clone(), long].into_iter().cycle().take(20).collect();
        assert_eq!(misses(&turn), MOST_MISSES);
        let many: String = (0..2 * MOST_MEMBERS).map(|n| format!(r#","x{n}":"{n}""#)).collect();
        assert_eq!(misses(&[with(&many), with(&many), short]), 0, "nothing is remembered of so many");
    }
}
