//! Which letters there are and what has become of each, from the records of the topic in any order. Pure.
//!
//! A letter may lie there several times under one id: written again after a kill, or refused again after a replay. The copy
//! of the latest replay counts, and of those the one that failed last.

use super::letter::Letter;
use crate::position::{Offset, Partition};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// A record of the dead-letter topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its partition.
    pub partition: Partition,
    /// Its offset.
    pub offset: Offset,
}

/// Tells one key from another, in a size that does not depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyDigest(u128);

impl KeyDigest {
    /// Half of the key's SHA-256.
    pub fn of(key: &[u8]) -> Self {
        let digest = Sha256::digest(key);
        Self(digest.iter().take(16).fold(0, |digest, byte| digest << 8 | u128::from(*byte)))
    }
}

/// One copy of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// What it says of itself.
    pub letter: Letter,
    /// Where it lies.
    pub place: Place,
    /// Its key, where it has one.
    pub key: Option<KeyDigest>,
    /// The size of its value, where it has one.
    pub value_bytes: Option<usize>,
}

/// What was done about a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "mark", rename_all = "snake_case")]
pub enum Marked {
    /// It was given to its sink again.
    Replayed {
        /// The how manieth time.
        replay: u32,
    },
    /// Nobody wants to see it any more.
    Purged,
}

/// A record that says what was done about a letter. Its key is the letter's id, its value this as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The letter.
    pub id: String,
    /// What was done.
    #[serde(flatten)]
    pub what: Marked,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
}

/// How a letter stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its sink does not have it.
    Open,
    /// It was given to its sink again, which has not refused it again (yet).
    Replayed {
        /// When, in milliseconds since 1970.
        at_ms: i64,
    },
    /// Nobody wants to see it any more.
    Purged,
}

impl State {
    /// The name in tables and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Replayed { .. } => "replayed",
            Self::Purged => "purged",
        }
    }
}

/// A letter and how it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The copy that counts.
    pub kept: Kept,
    /// How it stands.
    pub state: State,
}

/// Which letters are meant; without any condition all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Failed at this stage.
    pub stage: Option<String>,
    /// Refused by this sink.
    pub sink: Option<String>,
    /// The reason or the class holds this text, in any case.
    pub reason: Option<String>,
    /// Failed last at this time or later, in milliseconds since 1970.
    pub since_ms: Option<i64>,
    /// Failed last before this time.
    pub until_ms: Option<i64>,
}

impl Filter {
    /// Whether a letter is meant.
    pub fn takes(&self, letter: &Letter) -> bool {
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        let holds = |text: &String| {
            let text = text.to_lowercase();
            letter.reason.to_lowercase().contains(&text) || letter.class.contains(&text)
        };
        is(&self.stage, &letter.stage)
            && is(&self.sink, &letter.sink)
            && self.reason.as_ref().is_none_or(holds)
            && self.since_ms.is_none_or(|since| letter.last_ms >= since)
            && self.until_ms.is_none_or(|until| letter.last_ms < until)
    }

    /// Whether it has no condition.
    pub fn is_everything(&self) -> bool {
        *self == Self::default()
    }
}

#[derive(Debug, Clone, Default)]
struct Done {
    /// The latest replay and its time.
    replayed: Option<(u32, i64)>,
    purged: bool,
}

/// The letters of one pipeline.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    letters: BTreeMap<String, Kept>,
    done: BTreeMap<String, Done>,
}

impl Ledger {
    /// Takes in a copy of a letter.
    pub fn letter(&mut self, copy: Kept) {
        let rank = |copy: &Kept| (copy.letter.replay, copy.letter.last_ms, copy.place);
        match self.letters.get_mut(&copy.letter.id) {
            Some(known) if rank(known) >= rank(&copy) => {}
            Some(known) => *known = copy,
            None => {
                self.letters.insert(copy.letter.id.clone(), copy);
            }
        }
    }

    /// Takes in what was done about a letter.
    pub fn mark(&mut self, mark: &Mark) {
        let done = self.done.entry(mark.id.clone()).or_default();
        match mark.what {
            Marked::Purged => done.purged = true,
            Marked::Replayed { replay } => done.replayed = done.replayed.max(Some((replay, mark.at_ms))),
        }
    }

    /// How many ids it knows: what it costs in memory.
    pub fn len(&self) -> usize {
        self.letters.len().max(self.done.len())
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How a letter stands.
    fn state(&self, copy: &Kept) -> State {
        match self.done.get(&copy.letter.id) {
            Some(done) if done.purged => State::Purged,
            Some(Done { replayed: Some((replay, at_ms)), .. }) if *replay > copy.letter.replay => {
                State::Replayed { at_ms: *at_ms }
            }
            _ => State::Open,
        }
    }

    /// The letters that their sinks do not have, whether anybody wants to see them or not.
    pub fn undelivered(&self) -> impl Iterator<Item = &Letter> {
        let replayed = |letter: &Letter| self.done.get(&letter.id).and_then(|done| done.replayed);
        let delivered =
            move |letter: &Letter| replayed(letter).is_some_and(|(replay, _)| replay > letter.replay);
        self.letters.values().map(|kept| &kept.letter).filter(move |letter| !delivered(letter))
    }

    /// Whether somebody has purged the letter of this id.
    pub fn is_purged(&self, id: &str) -> bool {
        self.done.get(id).is_some_and(|done| done.purged)
    }

    /// Whether it knows the letter of this id.
    pub fn has(&self, id: &str) -> bool {
        self.letters.contains_key(id)
    }

    /// All letters, those that failed first before the others.
    pub fn letters(&self) -> Vec<Known> {
        let known = |copy: &Kept| Known { state: self.state(copy), kept: copy.clone() };
        let mut letters: Vec<_> = self.letters.values().map(known).collect();
        letters.sort_by_key(|known| (known.kept.letter.first_ms, known.kept.place));
        letters
    }

    /// The letters whose ids begin so.
    pub fn find(&self, prefix: &str) -> Vec<Known> {
        self.letters().into_iter().filter(|known| known.kept.letter.id.starts_with(prefix)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dlq::letter::Origin;
    use proptest::prelude::*;

    fn copy(number: u8, replay: u32, last_ms: i64, offset: i64) -> Kept {
        let origin = Origin { topic: "t".to_owned(), log: "c/t".to_owned(), partition: 0, offset: 0 };
        let text = |text: &str| text.to_owned();
        let letter = Letter {
            id: format!("{number:02}"),
            pipeline: text("p"),
            sink: text("webhook"),
            stage: text("sink"),
            class: text("refused"),
            reason: text("It answered 422"),
            attempts: 1,
            first_ms: 0,
            last_ms,
            replay,
            edited: false,
            origin,
        };
        Kept { letter, place: Place { partition: 0, offset }, key: None, value_bytes: None }
    }

    /// A record of the topic: a copy of a letter or a mark.
    type Taken = Result<Box<Kept>, Mark>;

    fn history() -> impl Strategy<Value = Vec<Taken>> {
        let record = (0u8..3, 0u32..3, 0i64..3, 0u8..8);
        prop::collection::vec(record, 0..12).prop_map(|history| {
            let records = (0..).zip(history);
            let record = |(offset, (number, replay, at_ms, kind))| match kind {
                0 => Err(Mark { id: format!("{number:02}"), what: Marked::Purged, at_ms }),
                1..=3 => {
                    let what = Marked::Replayed { replay: replay + 1 };
                    Err(Mark { id: format!("{number:02}"), what, at_ms })
                }
                _ => Ok(Box::new(copy(number, replay, at_ms, offset))),
            };
            records.map(record).collect()
        })
    }

    fn ledger(history: &[Taken]) -> Ledger {
        let mut ledger = Ledger::default();
        for taken in history {
            match taken {
                Ok(copy) => ledger.letter((**copy).clone()),
                Err(mark) => ledger.mark(mark),
            }
        }
        ledger
    }

    /// The naive model: looks at everything anew for each id.
    fn state_of(history: &[Taken], id: &str) -> Option<&'static str> {
        let refused = history.iter().filter_map(|taken| match taken {
            Ok(copy) if copy.letter.id == id => Some(copy.letter.replay),
            _ => None,
        });
        let refused = refused.max()?;
        let marks = || {
            history.iter().filter_map(|taken| match taken {
                Err(mark) if mark.id == id => Some(mark.what),
                _ => None,
            })
        };
        if marks().any(|what| what == Marked::Purged) {
            return Some("purged");
        }
        let replayed = marks().any(|what| matches!(what, Marked::Replayed { replay } if replay > refused));
        Some(if replayed { "replayed" } else { "open" })
    }

    proptest! {
        #[test]
        fn a_letter_is_open_unless_a_later_replay_or_a_purge_is_marked(history in history()) {
            let ledger = ledger(&history);
            let letters = ledger.letters();
            let undelivered: Vec<_> = ledger.undelivered().map(|letter| letter.id.clone()).collect();
            for known in &letters {
                let is_undelivered = undelivered.contains(&known.kept.letter.id);
                match known.state {
                    State::Open => prop_assert!(is_undelivered),
                    State::Replayed { .. } => prop_assert!(!is_undelivered),
                    State::Purged => {}
                }
            }
            for number in 0u8..3 {
                let id = format!("{number:02}");
                let found: Vec<_> = letters.iter().filter(|known| known.kept.letter.id == id).collect();
                prop_assert!(found.len() <= 1, "listed twice");
                prop_assert_eq!(found.first().map(|known| known.state.name()), state_of(&history, &id));
            }
        }

        #[test]
        fn the_order_of_the_records_does_not_matter(history in history()) {
            let backwards: Vec<_> = history.iter().rev().cloned().collect();
            prop_assert_eq!(ledger(&history).letters(), ledger(&backwards).letters());
        }
    }

    #[test]
    fn a_filter_takes_what_fits_every_condition() {
        let letter = copy(1, 0, 50, 0).letter;
        let filter = |change: fn(&mut Filter)| {
            let mut filter = Filter::default();
            change(&mut filter);
            filter.takes(&letter)
        };
        assert!(filter(|_| {}));
        assert!(filter(|filter| filter.reason = Some("ANSWERED 4".to_owned())));
        assert!(filter(|filter| filter.reason = Some("refused".to_owned())), "the class counts as well");
        assert!(!filter(|filter| filter.reason = Some("timeout".to_owned())));
        assert!(!filter(|filter| filter.sink = Some("redis".to_owned())));
        assert!(!filter(|filter| filter.stage = Some("decode".to_owned())));
        assert!(filter(|filter| filter.since_ms = Some(50)) && !filter(|filter| filter.since_ms = Some(51)));
        assert!(filter(|filter| filter.until_ms = Some(51)) && !filter(|filter| filter.until_ms = Some(50)));
    }

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let mark = Mark { id: "a".to_owned(), what: Marked::Replayed { replay: 2 }, at_ms: 7 };
        let text = serde_json::to_string(&mark).unwrap();
        assert_eq!(text, r#"{"id":"a","mark":"replayed","replay":2,"at_ms":7}"#);
        assert_eq!(serde_json::from_str::<Mark>(&text).unwrap(), mark);
    }
}
