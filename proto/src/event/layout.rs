//! A validated event by offsets: what owns the bytes can keep it beside them.

use super::{Data, EventView};

/// Where the parts of one event are in its bytes; from [`EventView::layout`].
#[derive(Clone, Copy, Debug)]
pub struct EventLayout {
    id: Part,
    source: Part,
    kind: Part,
    key: Option<Part>,
    data: Form,
}

#[derive(Clone, Copy, Debug)]
struct Part {
    start: u32,
    len: u32,
}

#[derive(Clone, Copy, Debug)]
enum Form {
    Absent,
    Binary(Part),
    Text(Part),
    Proto(Part),
}

impl Part {
    fn of(part: &[u8], whole: &[u8]) -> Self {
        let start = (part.as_ptr() as usize).wrapping_sub(whole.as_ptr() as usize);
        // Larger than any frame; then `of` fails to find it, which is safe.
        let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        Self { start: narrow(start), len: narrow(part.len()) }
    }

    const fn place(self) -> [u32; 2] {
        [self.start, self.len]
    }

    fn bytes(self, whole: &[u8]) -> Option<&[u8]> {
        let start = self.start as usize;
        whole.get(start..start.checked_add(self.len as usize)?)
    }

    fn text(self, whole: &[u8]) -> Option<&str> {
        std::str::from_utf8(self.bytes(whole)?).ok()
    }
}

impl EventLayout {
    pub(super) fn of(view: &EventView<'_>) -> Self {
        let part = |part: &[u8]| Part::of(part, view.bytes);
        Self {
            id: part(view.id),
            source: part(view.source),
            kind: part(view.kind),
            key: view.key.map(part),
            data: match view.data {
                Data::Absent => Form::Absent,
                Data::Binary(bytes) => Form::Binary(part(bytes)),
                Data::Text(text) => Form::Text(part(text.as_bytes())),
                Data::Proto(bytes) => Form::Proto(part(bytes)),
            },
        }
    }

    /// Where id, source, type, key and data begin, and how many bytes each has; 0 and 0: there is none.
    #[must_use]
    pub const fn parts(&self) -> [[u32; 2]; 5] {
        let none = Part { start: 0, len: 0 };
        let key = match self.key {
            Some(key) => key,
            None => none,
        };
        let data = match self.data {
            Form::Absent => none,
            Form::Binary(part) | Form::Text(part) | Form::Proto(part) => part,
        };
        [self.id.place(), self.source.place(), self.kind.place(), key.place(), data.place()]
    }

    /// The data, of an event with no bytes at hand: which kind it is, and nothing in it.
    #[must_use]
    pub const fn data_kind(&self) -> Data<'static> {
        match self.data {
            Form::Absent => Data::Absent,
            Form::Binary(_) => Data::Binary(&[]),
            Form::Text(_) => Data::Text(""),
            Form::Proto(_) => Data::Proto(&[]),
        }
    }

    /// The event again. `None` when `bytes` are not those the layout is of, as
    /// far as that can be seen by their length: of others the attributes are any bytes, or "" where they are no text.
    #[must_use]
    pub fn view<'a>(&self, bytes: &'a [u8]) -> Option<EventView<'a>> {
        Some(EventView {
            bytes,
            id: self.id.bytes(bytes)?,
            source: self.source.bytes(bytes)?,
            kind: self.kind.bytes(bytes)?,
            key: match self.key {
                Some(key) => Some(key.bytes(bytes)?),
                None => None,
            },
            data: match self.data {
                Form::Absent => Data::Absent,
                Form::Binary(part) => Data::Binary(part.bytes(bytes)?),
                Form::Text(part) => Data::Text(part.text(bytes)?),
                Form::Proto(part) => Data::Proto(part.bytes(bytes)?),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
    use super::*;
    use crate::{Event, EventLimits};

    #[test]
    fn an_event_is_the_same_read_again_by_its_layout() {
        let bare = Event::new("t").id("1").source("//s");
        let events = [
            bare.clone(),
            bare.clone().key("k").text_data("text"),
            bare.clone().key("").binary_data(vec![0, 255]),
            bare.subject("s").text_data(""),
        ];
        for event in events.iter().filter_map(|e| e.encode().ok()) {
            let Ok(view) = EventView::parse(&event, EventLimits::default()) else {
                continue;
            };
            let again = view.layout().view(&event).unwrap();
            assert_eq!(
                (again.id(), again.source(), again.kind(), again.key(), again.data()),
                (view.id(), view.source(), view.kind(), view.key(), view.data())
            );
            assert_eq!(again.attributes().count(), view.attributes().count());
        }
    }

    #[test]
    fn a_layout_says_where_the_parts_are() {
        let event = Event::new("type").id("1").source("//s").key("k").text_data("data").encode().unwrap();
        let layout = EventView::parse(&event, EventLimits::default()).unwrap().layout();
        let parts = layout.parts().map(|[start, len]| event.get(start as usize..(start + len) as usize).unwrap());
        assert_eq!(parts, [&b"1"[..], b"//s", b"type", b"k", b"data"]);
        assert_eq!(layout.data_kind(), Data::Text(""));
        let bare = Event::new("t").id("1").source("//s").encode().unwrap();
        let layout = EventView::parse(&bare, EventLimits::default()).unwrap().layout();
        assert_eq!((layout.data_kind(), layout.parts()[3], layout.parts()[4]), (Data::Absent, [0, 0], [0, 0]));
    }

    #[test]
    fn a_layout_of_other_bytes_reads_nothing_outside_them() {
        let event = Event::new("type").id("1").source("//s").text_data("data");
        let event = event.encode().unwrap();
        let layout = EventView::parse(&event, EventLimits::default()).unwrap().layout();
        assert!(layout.view(&[]).is_none());
        assert!(layout.view(event.split_last().unwrap().1).is_none());
    }
}
