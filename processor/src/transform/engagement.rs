//! The engagement transform: how long a content was engaged with, in seconds and as a share of its length.

use super::Decimal;
use crate::decode::event_id::event_id;
use crate::decode::row::{EngagementRow, engagement_row};
use crate::decode::{Change, DecodeError, Op, Source};
use std::sync::OnceLock;
use uuid::Uuid;
use webhook_protocol::MAX_TITLE_CHARS;

/// What enrichment knows of a content.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Content {
    /// `podcast`, `newsletter`, `video`.
    pub content_type: Option<Box<str>>,
    /// Its title, by [`shown`].
    pub title: Option<Box<str>>,
    /// Its length in seconds.
    pub length_seconds: Option<i64>,
    /// The LSN of the change that made it so; none where Postgres was asked directly.
    pub version: Option<u64>,
    /// How it stands in an event.
    pub written: Written,
}

/// A text that is made of a content when it is first asked for, and kept with it: many events are of one content.
#[derive(Debug, Clone, Default)]
pub struct Written(OnceLock<Box<str>>);

impl Written {
    /// The text, made by `write` the first time.
    pub fn get(&self, write: impl FnOnce() -> String) -> &str {
        self.0.get_or_init(|| write().into_boxed_str())
    }
}

/// It follows from the content, so it makes no difference.
impl PartialEq for Written {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Written {}

/// A title as far as it travels: it is kept for every content and sent with every event.
pub fn shown(title: Box<str>) -> Box<str> {
    match title.char_indices().nth(MAX_TITLE_CHARS) {
        Some((end, _)) => title.get(..end).unwrap_or_default().into(),
        None => title,
    }
}

/// A change of an engagement event with its rows read.
#[derive(Debug, Clone)]
pub struct Transformed<'a> {
    /// What happened.
    pub op: Op,
    /// Where it comes from.
    pub source: Source<'a>,
    /// The row before: of updates and deletes.
    pub before: Option<EngagementRow<'a>>,
    /// The row after: of all but deletes.
    pub after: Option<EngagementRow<'a>>,
}

impl<'a> Transformed<'a> {
    /// The row that the event is about: as it is now, or as it last was.
    pub fn row(&self) -> Option<&EngagementRow<'a>> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// Names what happened; the same at every delivery. Made when it is asked for: a leaderboard does without. None without a row.
    pub fn event_id(&self) -> Option<Uuid> {
        self.row().map(|row| event_id(self.op, &self.source, row))
    }
}

/// The computed values of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Engagement {
    /// `duration_ms / 1000`, exact.
    pub seconds: Option<Decimal>,
    /// `seconds / length_seconds` to four places; none without a length above zero.
    pub pct: Option<Decimal>,
}

/// Reads the rows of a change.
///
/// # Errors
/// A row image that is no engagement event.
pub fn transform(change: Change<'_>) -> Result<Transformed<'_>, DecodeError> {
    // Before an insert there was nothing, after a delete there is nothing, whatever a message claims.
    let before = matches!(change.op, Op::Update | Op::Delete).then_some(change.before).flatten();
    let after = (change.op != Op::Delete).then_some(change.after).flatten();
    let before = before.map(engagement_row).transpose()?;
    let after = after.map(engagement_row).transpose()?;
    if after.is_none() && before.is_none() {
        return Err(DecodeError::NotDebezium("it has no row image"));
    }
    Ok(Transformed { op: change.op, source: change.source, before, after })
}

impl Engagement {
    /// Computes both values from a duration in milliseconds and a length in seconds. Null in, null out.
    pub fn of(duration_ms: Option<i64>, length_seconds: Option<i64>) -> Self {
        let seconds = duration_ms.map(|units| Decimal { units, places: 3 });
        let pct = match (duration_ms, length_seconds) {
            (Some(ms), Some(length)) => {
                length.checked_mul(1000).and_then(|length_ms| Decimal::ratio(ms, length_ms, 4))
            }
            _ => None,
        };
        Self { seconds, pct }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_title_is_cut_between_characters() {
        for (title, chars) in [("", 0), ("Bread", 5), (&"ü".repeat(MAX_TITLE_CHARS), MAX_TITLE_CHARS)] {
            assert_eq!(&*shown(title.into()), title);
            assert_eq!(title.chars().count(), chars);
        }
        assert_eq!(&*shown("ü".repeat(MAX_TITLE_CHARS + 1).into()), "ü".repeat(MAX_TITLE_CHARS));
    }
}
