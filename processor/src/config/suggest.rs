//! "Did you mean": the nearest of the words that are known.

/// The known word that was probably meant: at most a third of its letters wrong, and at least one may be.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let near = |candidate: &'a str| {
        let distance = edit_distance(word, candidate);
        let allowed = (candidate.chars().count() / 3).max(1);
        (distance <= allowed).then_some((distance, candidate))
    };
    known.into_iter().filter_map(near).min().map(|(_, candidate)| candidate)
}

/// How many letters to insert, remove, replace or swap with their neighbour to get from one word to the other.
fn edit_distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before_last: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=to.len()).collect();
    let mut previous = None;
    for (row, letter) in from.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, other) in to.iter().enumerate() {
            let at = |cells: &[usize], column: usize| cells.get(column).copied().unwrap_or(usize::MAX / 2);
            let replaced = at(&last, column) + usize::from(letter != *other);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let left = column.checked_sub(1);
            if previous == Some(*other) && left.and_then(|left| to.get(left)) == Some(&letter) {
                best = best.min(left.map_or(usize::MAX, |left| at(&before_last, left) + 1));
            }
            current.push(best);
        }
        before_last = std::mem::replace(&mut last, current);
        previous = Some(letter);
    }
    last.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{edit_distance, nearest};

    #[test]
    fn distances() {
        for (from, to, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("window", "windows", 1),
            ("lenght", "length", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(edit_distance(from, to), distance, "{from} to {to}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        assert_eq!(nearest("window", ["url", "windows", "workers"]), Some("windows"));
        assert_eq!(nearest("colour", ["url", "windows", "workers"]), None);
    }
}
