//! Names of topics and groups: parsed once, valid ever after.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

/// Longest name in bytes.
const MAX_NAME_BYTES: usize = 120;

/// Why a name was refused; the text states the whole rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} name {name:?} {problem}; a name has 1 to 120 bytes of A-Z a-z 0-9 . _ - ~ % : and does not begin with $ (the gateway's own)"
)]
pub struct NameError {
    what: &'static str,
    name: String,
    problem: String,
}

fn check(what: &'static str, name: &str) -> Result<Arc<str>, NameError> {
    let problem = if name.is_empty() {
        "is empty".to_owned()
    } else if name.len() > MAX_NAME_BYTES {
        format!("has {} bytes", name.len())
    } else if let Some(c) = name.chars().find(|c| !(c.is_ascii_alphanumeric() || "._-~%:".contains(*c))) {
        format!("holds {c:?}")
    } else {
        return Ok(name.into());
    };
    let shown: String = name.chars().take(40).collect();
    Err(NameError { what, name: shown, problem })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(Arc<str>);

        impl $type {
            /// Parses a name.
            ///
            /// # Errors
            /// [`NameError`], stating the rule.
            pub fn parse(name: &str) -> Result<Self, NameError> {
                check($what, name).map(Self)
            }

            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a topic.
    TopicName,
    "topic"
);
name!(
    /// The name of a consumer group.
    GroupName,
    "group"
);

name!(
    /// The name of a durable member of a broadcast group.
    MemberName,
    "member"
);

/// What has a place in a topic under a name: a group, or a durable member of a broadcast group. It is written `group`
/// or `group/member`; no name holds a slash.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupKey {
    /// The group.
    pub group: GroupName,
    /// The member, if it is one.
    pub member: Option<MemberName>,
}

impl GroupKey {
    /// Parses `group` or `group/member`.
    ///
    /// # Errors
    /// [`NameError`] of the part that is none.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let (group, member) = text.split_once('/').map_or((text, None), |(group, member)| (group, Some(member)));
        Ok(Self { group: GroupName::parse(group)?, member: member.map(MemberName::parse).transpose()? })
    }

    /// Whether it is `other`, or a member of it.
    #[must_use]
    pub fn is_within(&self, other: &Self) -> bool {
        self.group == other.group && (other.member.is_none() || self.member == other.member)
    }
}

impl From<GroupName> for GroupKey {
    fn from(group: GroupName) -> Self {
        Self { group, member: None }
    }
}

impl fmt::Display for GroupKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.member {
            Some(member) => write!(f, "{}/{member}", self.group),
            None => self.group.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_name_says_what_is_wrong_and_the_whole_rule() {
        let long = "a".repeat(121);
        for (name, problem) in [
            ("", "is empty"),
            ("a b", "holds ' '"),
            ("a/b", "holds '/'"),
            ("a*", "holds '*'"),
            ("$sys", "holds '$'"),
            ("prix€", "holds '€'"),
            (long.as_str(), "has 121 bytes"),
        ] {
            let refused = TopicName::parse(name).err().map(|e| e.to_string()).unwrap_or_default();
            assert!(refused.contains(problem) && refused.contains("1 to 120 bytes"), "{name}: {refused}");
        }
    }

    #[test]
    fn a_member_is_written_behind_its_group() {
        let read = |text: &str| GroupKey::parse(text).map(|key| (key.to_string(), key.member.is_some()));
        assert_eq!(read("audit"), Ok(("audit".to_owned(), false)));
        assert_eq!(read("audit/m1"), Ok(("audit/m1".to_owned(), true)));
        for (text, what) in [("audit/", "member name"), ("/m1", "group name"), ("a/b/c", "member name")] {
            assert!(read(text).is_err_and(|e| e.to_string().contains(what)), "{text}");
        }
    }

    #[test]
    fn every_allowed_byte_is_accepted() {
        let name = "Az09._-~%:";
        assert_eq!(TopicName::parse(name).map(|n| n.to_string()), Ok(name.to_owned()));
        assert!(GroupName::parse(&"g".repeat(120)).is_ok());
    }
}
