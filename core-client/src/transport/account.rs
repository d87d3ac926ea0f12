//! What became of all that was tried, in words: each thing once, and what may help behind it.

use std::fmt;

/// What became of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// A sentence that names the address.
    pub(super) what: String,
    /// In what it was tried, where that makes a difference.
    pub(super) carrier: Option<&'static str>,
    pub(super) advice: Advice,
}

/// What may help, beside what the sentence says itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Advice {
    Nothing,
    /// Nobody listens there: a gateway is to be started.
    Start,
    /// Somebody else answers there: the URL is to be looked at.
    CheckUrl,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "",
            Self::Start => "; start one with: meshwire serve",
            Self::CheckUrl => "; look at host, port and scheme of the URL",
        })
    }
}

/// What became of all of them. What is the same of several is said once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account(Vec<Told>);

impl Account {
    /// Of something that is no attempt.
    pub(crate) fn said(what: String) -> Self {
        Self(vec![Told { what, carrier: None, advice: Advice::Nothing }])
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What helps with all of them: a gateway need not be started where somebody answers.
    pub(crate) fn advice(&self) -> Advice {
        let mut each = self.0.iter().map(|told| told.advice);
        if !self.is_empty() && each.clone().all(|advice| advice == Advice::Start) {
            Advice::Start
        } else if each.any(|advice| advice == Advice::CheckUrl) {
            Advice::CheckUrl
        } else {
            Advice::Nothing
        }
    }
}

impl FromIterator<Told> for Account {
    fn from_iter<T: IntoIterator<Item = Told>>(all: T) -> Self {
        Self(all.into_iter().collect())
    }
}

impl From<Told> for Account {
    fn from(told: Told) -> Self {
        Self(vec![told])
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<(&str, Vec<&str>)> = Vec::new();
        for Told { what, carrier, .. } in &self.0 {
            if !parts.iter().any(|(known, _)| known == what) {
                parts.push((what, Vec::new()));
            }
            let part = parts.iter_mut().find(|(known, _)| known == what);
            if let Some((_, carriers)) = part
                && let Some(carrier) = carrier.filter(|carrier| !carriers.contains(carrier))
            {
                carriers.push(carrier);
            }
        }
        for (index, (what, carriers)) in parts.into_iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{what}")?;
            if !carriers.is_empty() {
                write!(f, " ({})", carriers.join(", "))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(what: &str, carrier: Option<&'static str>, advice: Advice) -> Told {
        Told { what: what.to_owned(), carrier, advice }
    }

    #[test]
    fn what_is_the_same_in_several_carriers_is_said_once() {
        let all = [
            told("a is silent", Some("tcp"), Advice::Nothing),
            told("b is silent", Some("tcp"), Advice::Nothing),
            told("a is silent", Some("grpc"), Advice::Nothing),
            told("a is silent", Some("grpc"), Advice::Nothing),
            told("a is odd", None, Advice::Nothing),
        ];
        let account: Account = all.into_iter().collect();
        assert_eq!(account.to_string(), "a is silent (tcp, grpc); b is silent (tcp); a is odd");
        assert_eq!(Account::default().to_string(), "");
    }

    #[test]
    fn a_gateway_is_to_be_started_where_nobody_listens_and_nowhere_else() {
        let advice = |all: &[Advice]| all.iter().map(|advice| told("", None, *advice)).collect::<Account>().advice();
        use Advice::{CheckUrl, Nothing, Start};
        assert_eq!(advice(&[Start, Start]), Start);
        assert_eq!(advice(&[Start, Nothing]), Nothing);
        assert_eq!(advice(&[Start, CheckUrl, Nothing]), CheckUrl);
        assert_eq!(advice(&[]), Nothing);
    }
}
