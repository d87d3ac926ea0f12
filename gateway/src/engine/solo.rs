//! A subscription without a group, or an unnamed member of a broadcast group: its own
//! position, nothing durable. A settle only returns credit.

use super::readers::Waits;
use super::subscriber::Subscriber;
use super::{Output, Source};
use crate::store::{Expiries, GroupId, Lookup, Position, TopicId};
use meshwire_proto::UnixMillis;

pub(super) struct Solo {
    pub(super) subscriber: Subscriber,
    /// The broadcast group that it is a member of.
    pub(super) group: Option<GroupId>,
    /// Next position to deliver.
    pub(super) next: Position,
    /// Nothing was delivered yet: what retention took before is no gap.
    pub(super) fresh: bool,
}

impl Solo {
    /// Delivers what credit and blocks allow. It skips what is below `floor`, and is told.
    pub(super) fn dispatch(
        &mut self,
        topic: TopicId,
        (floor, head): (Position, Position),
        (expiries, now): (&Expiries, UnixMillis),
        (source, out): (&mut dyn Source, &mut Vec<Output>),
    ) -> Waits {
        let mut for_block = false;
        if self.next < head && self.subscriber.wants_more() {
            self.subscriber.ask_room(source);
        }
        while self.next < head && self.subscriber.is_available() {
            if let Some(end) = expiries.expired_before(self.next, now) {
                self.next = end.min(head);
                continue;
            }
            match source.block(topic, self.next) {
                Lookup::Ready(_) if self.next < floor => self.skip_to(floor, out),
                Lookup::Ready(block) => {
                    let end = block.next().min(head);
                    if end <= self.next {
                        break;
                    }
                    while self.next < end && self.subscriber.is_available() {
                        #[cfg(feature = "testing")]
                        if self.group.is_some()
                            && self.next.is_multiple_of(2)
                            && super::planted::is(super::planted::Defect::BroadcastHalved)
                        {
                            self.next += 1;
                            continue;
                        }
                        if let Some(end) = expiries.expired_before(self.next, now) {
                            self.next = end.min(head);
                            continue;
                        }
                        self.subscriber.deliver(&block, (self.next, self.next), (1, expiries.at(self.next)), out);
                        self.next += 1;
                    }
                    self.fresh = false;
                }
                Lookup::Gone(first) if first > self.next => {
                    if self.fresh {
                        self.next = first;
                    } else {
                        self.skip_to(first, out);
                    }
                }
                _ => {
                    for_block = true;
                    break;
                }
            }
        }
        let for_events = self.subscriber.is_available();
        self.subscriber.end_pass(topic, source, out);
        Waits { for_events, for_block, again: false }
    }

    fn skip_to(&mut self, position: Position, out: &mut Vec<Output>) {
        self.fresh = false;
        self.subscriber.flush(out);
        self.subscriber.gap += position - self.next;
        self.next = position;
    }

    /// Continues behind the last delivery that arrived.
    pub(super) fn rewind(&mut self, next_delivery: u64) -> bool {
        let told = self.subscriber.told_with(next_delivery);
        let Some(undone) = self.subscriber.rewind(next_delivery) else {
            return false;
        };
        if let Some((_, position)) = undone.first() {
            self.next = *position;
            // What was missing behind it will be found missing again, and more by then.
            self.subscriber.gap = told;
        }
        true
    }
}
