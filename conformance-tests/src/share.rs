//! How many cases each transport plays: a case may leave some out with a reason, and few may.

use anyhow::ensure;

use crate::case::Case;
use crate::transport::Transport;

/// Most cases of a hundred that a transport may leave out.
const MOST_LEFT_OUT: usize = 15;

/// A line for each transport. An error where one leaves out too many.
pub(crate) fn shares(cases: &[Case]) -> anyhow::Result<Vec<String>> {
    Transport::ALL.into_iter().map(|transport| share(cases, transport)).collect()
}

fn share(cases: &[Case], transport: Transport) -> anyhow::Result<String> {
    let left_out: Vec<&Case> = cases.iter().filter(|case| case.cells(transport).is_empty()).collect();
    let (count, name) = (left_out.len(), transport.name());
    ensure!(
        count * 100 <= cases.len() * MOST_LEFT_OUT,
        "{name} leaves out {count} of {} cases, over {MOST_LEFT_OUT} %: {}",
        cases.len(),
        left_out.iter().map(|case| case.id.as_str()).collect::<Vec<_>>().join(", ")
    );
    let reasons: String = left_out.iter().map(|case| format!("\n  not {}: {}", case.id, case.transports_why)).collect();
    Ok(format!("{name}: {} of {} cases{reasons}", cases.len() - count, cases.len()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests fail by panicking")]
    use super::shares;
    use crate::case::Case;

    /// So many cases, of which the first few are for TCP alone.
    fn cases(count: usize, few: usize) -> Vec<Case> {
        let case = |n| {
            let narrow = if n < few { "transports = [\"tcp\"]\ntransports_why = \"because\"\n" } else { "" };
            toml::from_str(&format!("name = \"n\"\nsource = \"s\"\n{narrow}steps = []")).unwrap()
        };
        (0..count).map(case).collect()
    }

    #[test]
    fn a_transport_may_leave_out_fifteen_cases_of_a_hundred_and_says_why() {
        let lines = shares(&cases(100, 15)).unwrap();
        assert_eq!(lines[0], "tcp: 100 of 100 cases");
        assert!(lines[7].starts_with("https: 85 of 100 cases\n  not : because"), "{}", lines[7]);
    }

    #[test]
    fn one_more_is_too_many() {
        let error = shares(&cases(100, 16)).unwrap_err().to_string();
        assert!(error.starts_with("tcps leaves out 16 of 100 cases"), "{error}");
    }
}
