//! The columns of an engagement event that the journey needs; all others travel as they are.

use super::DecodeError;
use super::timestamp::Timestamp;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// A row of `engagement_events`.
#[derive(Debug, Clone)]
pub struct EngagementRow<'a> {
    /// The whole row as JSON text: an object, by column name.
    pub json: &'a str,
    /// Primary key.
    pub id: i64,
    /// The content that was engaged with.
    pub content_id: Option<Uuid>,
    /// When it happened, by the row's own account.
    pub event_ts: Option<Timestamp>,
    /// How long, in milliseconds; below zero is nonsense that a table may hold all the same.
    pub duration_ms: Option<i64>,
    /// Whether a column bears a name that Deltafan's own fields have ([`COMPUTED_FIELDS`]).
    pub clashes: bool,
}

/// The names of the fields that are added to a row; a column of such a name travels as `row_<name>`.
pub const COMPUTED_FIELDS: [&str; 8] = [
    "event_id",
    "op",
    "content_type",
    "length_seconds",
    "content_version",
    "engagement_seconds",
    "engagement_pct",
    "committed_at",
];

/// What serde reads; the names in the second half are there to notice a clash.
#[derive(Deserialize)]
struct Columns<'a> {
    id: i64,
    #[serde(borrow, default)]
    content_id: Option<Text<'a>>,
    #[serde(borrow, default)]
    event_ts: Option<Text<'a>>,
    #[serde(default)]
    duration_ms: Option<i64>,
    #[serde(default)]
    event_id: Option<IgnoredAny>,
    #[serde(default)]
    op: Option<IgnoredAny>,
    #[serde(default)]
    content_type: Option<IgnoredAny>,
    #[serde(default)]
    length_seconds: Option<IgnoredAny>,
    #[serde(default)]
    content_version: Option<IgnoredAny>,
    #[serde(default)]
    engagement_seconds: Option<IgnoredAny>,
    #[serde(default)]
    engagement_pct: Option<IgnoredAny>,
    #[serde(default)]
    committed_at: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Columns<'_> {
    fn clashes(&self) -> bool {
        self.event_id.is_some()
            || self.op.is_some()
            || self.content_type.is_some()
            || self.length_seconds.is_some()
            || self.content_version.is_some()
            || self.engagement_seconds.is_some()
            || self.engagement_pct.is_some()
            || self.committed_at.is_some()
    }
}

/// Reads the row image of an engagement event.
///
/// # Errors
/// A missing key, a column of another type, a content id that is no UUID, a time that is none.
pub fn engagement_row(image: &RawValue) -> Result<EngagementRow<'_>, DecodeError> {
    let columns: Columns<'_> = serde_json::from_str(image.get())?;
    let wrong = |column, text: &str, expected: &str| DecodeError::Column {
        column,
        problem: format!("`{}` is no {expected}", text.chars().take(64).collect::<String>()),
    };
    let content_id = columns
        .content_id
        .as_ref()
        .map(|Text(text)| Uuid::try_parse(text).map_err(|_| wrong("content_id", text, "UUID")))
        .transpose()?;
    let event_ts = columns
        .event_ts
        .as_ref()
        .map(|Text(text)| Timestamp::parse(text).ok_or_else(|| wrong("event_ts", text, "timestamp")))
        .transpose()?;
    Ok(EngagementRow {
        json: image.get(),
        id: columns.id,
        content_id,
        event_ts,
        duration_ms: columns.duration_ms,
        clashes: columns.clashes(),
    })
}
