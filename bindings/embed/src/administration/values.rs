//! Values of arguments: numbers, places and names.

use std::fmt;

use meshwire::Start;
use meshwire_proto::{GroupName, MemberName, TopicName};
use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// A whole number, or a string of its digits: numbers of JavaScript end at 2^53.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whole(pub(super) u64);

struct WholeVisitor;

impl Visitor<'_> for WholeVisitor {
    type Value = Whole;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number or a string of its digits")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Whole, E> {
        Ok(Whole(number))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Whole, E> {
        u64::try_from(number).map(Whole).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }

    /// As languages write them that know one kind of number.
    fn visit_f64<E: Error>(self, number: f64) -> Result<Whole, E> {
        /// From here on not every whole number can be told from its neighbours.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        if (0.0..EXACT).contains(&number) && number.fract() == 0.0 {
            return Ok(Whole(number as u64));
        }
        Err(E::invalid_value(Unexpected::Float(number), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Whole, E> {
        let digits = text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|_| digits);
        number.map(Whole).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(WholeVisitor)
    }
}

/// Where to begin, or go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(pub(super) Start);

struct PlaceVisitor;

impl Visitor<'_> for PlaceVisitor {
    type Value = Place;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("earliest, latest, a position or a time such as 2026-11-28T06:30:00Z")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Place, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Place, E> {
        text.parse().map(Place).map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(PlaceVisitor)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $of:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub(super) struct $type(pub(super) $of);

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                $of::parse(&String::deserialize(from)?).map(Self).map_err(D::Error::custom)
            }
        }
    };
}

name!(
    /// The name of a topic.
    Topic,
    TopicName
);
name!(
    /// The name of a group.
    Group,
    GroupName
);
name!(
    /// The name of a durable member.
    Member,
    MemberName
);
