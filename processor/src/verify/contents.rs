//! Which content an event may have been enriched with. Pure.
//!
//! The promise: content at least as new as the event, maybe newer. So each version that the log of contents has is a
//! candidate, and only one that was replaced before the event committed is too old.

use std::collections::HashMap;
use uuid::Uuid;

/// Commit times of two transactions may stand in the other order than their commits by a moment: times are taken before
/// the places in the log are.
const COMMIT_ORDER_US: i64 = 10_000;

/// How the content of an event stands to the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Enriched {
    /// As it was when the event committed.
    AsOf,
    /// Newer: it changed before the event was delivered.
    Newer,
    /// It had been replaced before the event committed.
    Older,
    /// No version of it.
    Wrong,
    /// Nobody knows any more: the log of contents keeps the latest version of each alone.
    Untold,
}

/// A version of a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Version {
    /// Where its change stands in the WAL; none for what the table says.
    pub lsn: Option<u64>,
    /// When it committed, in microseconds since 1970; the beginning of time for a row of the first snapshot.
    pub committed_us: i64,
    /// A hash of type, title and length; none where the content was deleted.
    pub values: Option<u32>,
}

/// What an event says of its content.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said {
    pub version: Option<u64>,
    /// A hash of type, title and length; none where all of them are null.
    pub values: Option<u32>,
    pub committed_us: i64,
}

/// The versions of contents, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Contents(HashMap<Uuid, Vec<Version>>);

impl Contents {
    pub(super) fn add(&mut self, id: Uuid, version: Version) {
        self.0.entry(id).or_default().push(version);
    }

    /// Adds a row that a snapshot read; its time is when it did. It has been so for nobody knows how long: the first version
    /// since ever, a later one since some moment before, so that an event until then may have the version before it.
    pub(super) fn add_read(&mut self, id: Uuid, version: Version) {
        let versions = self.0.entry(id).or_default();
        let committed_us = if versions.is_empty() { i64::MIN } else { version.committed_us };
        versions.push(Version { committed_us, ..version });
    }

    /// Adds what the table says, where no version says it yet.
    pub(super) fn add_unknown(&mut self, id: Uuid, version: Version) {
        let versions = self.0.entry(id).or_default();
        if !versions.iter().any(|known| known.values == version.values) {
            versions.push(version);
        }
    }

    /// Judges what an event says of the content `id`.
    pub(super) fn judge(&self, id: Option<Uuid>, said: Said) -> Enriched {
        let versions = id.and_then(|id| self.0.get(&id)).map(Vec::as_slice).unwrap_or_default();
        let (Some(oldest), Some(_)) = (versions.first(), id) else {
            // Without a content, or with one that never was, there is nothing to say.
            return if said.values.is_none() { Enriched::AsOf } else { Enriched::Wrong };
        };
        let is_before =
            |version: &Version| version.committed_us.saturating_add(COMMIT_ORDER_US) < said.committed_us;
        let named =
            said.version.and_then(|lsn| versions.iter().rposition(|version| version.lsn == Some(lsn)));
        // Without a number its values must say which one it is: the newest that can be.
        let found = match (said.version, named) {
            (Some(_), Some(at)) if versions.get(at).is_some_and(|version| version.values != said.values) => {
                return Enriched::Wrong;
            }
            (Some(_), found) => found,
            (None, _) => versions.iter().rposition(|version| version.values == said.values),
        };
        let Some(at) = found else {
            let is_all_known = oldest.committed_us < said.committed_us && said.version.is_none();
            let replaced = said.version.is_some()
                && versions.iter().any(|version| version.lsn > said.version && is_before(version));
            return match (replaced, is_all_known) {
                (true, _) => Enriched::Older,
                (false, true) => Enriched::Wrong,
                (false, false) => Enriched::Untold,
            };
        };
        let Some(version) = versions.get(at) else { return Enriched::Untold };
        // A version that says the same replaces nothing: a snapshot that was taken once more has read it again.
        let next = versions.iter().skip(at).find(|next| next.values != version.values);
        match next {
            Some(next) if is_before(next) => Enriched::Older,
            _ if version.committed_us > said.committed_us => Enriched::Newer,
            _ => Enriched::AsOf,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: Uuid = Uuid::from_u128(1);

    fn contents(versions: &[(u64, i64, u32)]) -> Contents {
        let mut contents = Contents::default();
        for (lsn, committed_us, values) in versions {
            let values = (*values > 0).then_some(*values);
            contents.add(ID, Version { lsn: Some(*lsn), committed_us: *committed_us, values });
        }
        contents
    }

    fn judge(contents: &Contents, version: Option<u64>, values: u32, committed_us: i64) -> Enriched {
        contents.judge(Some(ID), Said { version, values: (values > 0).then_some(values), committed_us })
    }

    #[test]
    fn newer_content_is_right_and_older_is_not() {
        let second = 1_000_000;
        let all = contents(&[(10, second, 1), (20, 2 * second, 2), (30, 3 * second, 3)]);
        let event = 2 * second + second / 2;
        assert_eq!(judge(&all, Some(20), 2, event), Enriched::AsOf);
        assert_eq!(judge(&all, Some(30), 3, event), Enriched::Newer);
        assert_eq!(judge(&all, Some(10), 1, event), Enriched::Older);
        assert_eq!(judge(&all, Some(20), 3, event), Enriched::Wrong, "another version's values");
        assert_eq!(judge(&all, None, 3, event), Enriched::Newer, "asked of the database");
        assert_eq!(judge(&all, None, 9, event), Enriched::Wrong);
        assert_eq!(judge(&all, None, 0, event), Enriched::Wrong, "nulls for want of an answer");
        assert_eq!(judge(&all, Some(10), 1, 2 * second + 1), Enriched::AsOf, "two commits at about one time");
    }

    #[test]
    fn a_row_that_is_read_again_replaces_only_what_differs_and_from_then_on() {
        let second = 1_000_000;
        let mut all = Contents::default();
        for (lsn, read, values) in [(10, 1, 1), (20, 2, 1), (30, 4, 2)] {
            all.add_read(ID, Version { lsn: Some(lsn), committed_us: read * second, values: Some(values) });
        }
        assert_eq!(judge(&all, Some(10), 1, 0), Enriched::AsOf, "of the first nobody knows since when");
        assert_eq!(judge(&all, Some(10), 1, 3 * second), Enriched::AsOf, "read again, and the same");
        assert_eq!(
            judge(&all, Some(20), 1, 3 * second),
            Enriched::AsOf,
            "changed some time before it was read"
        );
        assert_eq!(judge(&all, Some(20), 1, 5 * second), Enriched::Older);
        assert_eq!(judge(&all, Some(30), 2, 3 * second), Enriched::Newer);
    }

    #[test]
    fn what_compaction_has_taken_is_not_judged_by_guessing() {
        let second = 1_000_000;
        let rest = contents(&[(30, 3 * second, 3)]);
        assert_eq!(judge(&rest, Some(20), 2, 2 * second), Enriched::Untold);
        assert_eq!(judge(&rest, Some(20), 2, 4 * second), Enriched::Older, "it was replaced before");
        assert_eq!(judge(&rest, None, 2, 2 * second), Enriched::Untold);
    }

    #[test]
    fn an_event_without_content_has_no_fields_of_one() {
        let said = |values| Said { version: None, values, committed_us: 5 };
        for id in [None, Some(Uuid::from_u128(9))] {
            assert_eq!(Contents::default().judge(id, said(None)), Enriched::AsOf);
            assert_eq!(Contents::default().judge(id, said(Some(1))), Enriched::Wrong);
        }
        let deleted = contents(&[(10, 1, 1), (20, 2, 0)]);
        assert_eq!(deleted.judge(Some(ID), said(None)), Enriched::AsOf);
    }
}
