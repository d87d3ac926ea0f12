//! The name that was meant by one that does not exist.

/// Most single-letter edits between a wrong name and the one that is proposed.
/// A guess: more, or more than half of the name, and the proposal has little to do
/// with what was meant.
const MAX_EDITS: usize = 4;

/// The known name next to a wrong one, unless none is near.
pub(crate) fn nearest<N: AsRef<str> + Ord>(wrong: &str, known: impl Iterator<Item = N>) -> Option<N> {
    let (distance, name) = known.map(|name| (edits(wrong, name.as_ref()), name)).min()?;
    (distance <= MAX_EDITS.min(wrong.len() / 2)).then_some(name)
}

/// Least number of single-letter insertions, removals and replacements.
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let (mut corner, mut left) = (i, i + 1);
        for (y, cell) in b.chars().zip(row.iter_mut().skip(1)) {
            let above = *cell;
            *cell = (above + 1).min(left + 1).min(corner + usize::from(x != y));
            (corner, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}
