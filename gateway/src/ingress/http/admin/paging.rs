//! Parameters that lists share.

use super::super::{Problem, query::Query};

/// Items of a page unless it says, and at most.
const ITEMS: u32 = 100;
const MOST_ITEMS: u32 = 1000;

/// Most items of a page.
pub(super) fn limit(query: &Query) -> Result<u32, Problem> {
    let limit = query.number("limit", (1, MOST_ITEMS.into()))?;
    Ok(limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(ITEMS))
}

/// Where a page begins; empty: with the first item.
pub(in crate::ingress::http) fn cursor(query: &Query) -> &str {
    query.get("cursor").unwrap_or_default()
}
