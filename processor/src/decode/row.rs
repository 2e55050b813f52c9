//! The columns of an engagement event that the journey needs; all others travel as they are.

use super::scan::{Scan, set};
use super::timestamp::Timestamp;
use super::{DecodeError, Image};
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use uuid::Uuid;

/// A row of `engagement_events`.
#[derive(Debug, Clone, PartialEq)]
pub struct EngagementRow<'a> {
    /// The whole row as JSON text: an object, by column name.
    pub json: &'a str,
    /// Primary key.
    pub id: i64,
    /// The content that was engaged with.
    pub content_id: Option<Uuid>,
    /// When it happened, by the row's own account.
    pub event_ts: Option<Timestamp>,
    /// Whether there is a column `event_ts` at all, be it null.
    pub has_event_ts: bool,
    /// How long, in milliseconds; below zero is nonsense that a table may hold all the same.
    pub duration_ms: Option<i64>,
    /// What it happened on, by the row's own account: a JSON value, see [`EngagementRow::device`].
    pub device: Option<&'a str>,
    /// Whether a column bears a name that Deltafan's own fields have ([`COMPUTED_FIELDS`]).
    pub clashes: bool,
}

impl<'a> EngagementRow<'a> {
    /// The device as text: what a text column holds, or the JSON of a column of another type; none where it is null.
    pub fn device(&self) -> Option<Cow<'a, str>> {
        let json = self.device.filter(|json| *json != "null")?;
        match serde_json::from_str::<Text<'a>>(json) {
            Ok(Text(text)) => Some(text),
            Err(_) => Some(Cow::Borrowed(json)),
        }
    }
}

/// The names of the fields that are added to a row; a column of such a name travels as `row_<name>`.
pub const COMPUTED_FIELDS: [&str; 9] = [
    "event_id",
    "op",
    "content_type",
    "content_title",
    "length_seconds",
    "content_version",
    "engagement_seconds",
    "engagement_pct",
    "committed_at",
];

/// What serde reads; the names in the second half are there to notice a clash.
#[derive(Debug, Default, Deserialize)]
struct Columns<'a> {
    id: i64,
    #[serde(borrow, default)]
    content_id: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "also_null")]
    event_ts: Option<Option<Text<'a>>>,
    #[serde(default)]
    duration_ms: Option<i64>,
    #[serde(borrow, default, deserialize_with = "raw_or_null")]
    device: Option<&'a str>,
    #[serde(borrow, default, deserialize_with = "raw_or_null")]
    user_id: Option<&'a str>,
    #[serde(default)]
    event_id: There,
    #[serde(default)]
    op: There,
    #[serde(default)]
    content_type: There,
    #[serde(default)]
    content_title: There,
    #[serde(default)]
    length_seconds: There,
    #[serde(default)]
    content_version: There,
    #[serde(default)]
    engagement_seconds: There,
    #[serde(default)]
    engagement_pct: There,
    #[serde(default)]
    committed_at: There,
}

#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A column that is there and null is told from one that is not there.
fn also_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<Text<'de>>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn raw_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(deserializer)?;
    Ok(raw.map(RawValue::get))
}

/// Whether a column is there, whatever its value: a null, which an `Option` takes for absence, counts as well.
#[derive(Debug, Default)]
struct There(bool);

impl<'de> Deserialize<'de> for There {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Self(true))
    }
}

impl Columns<'_> {
    fn clashes(&self) -> bool {
        self.event_id.0
            || self.op.0
            || self.content_type.0
            || self.content_title.0
            || self.length_seconds.0
            || self.content_version.0
            || self.engagement_seconds.0
            || self.engagement_pct.0
            || self.committed_at.0
    }
}

/// What was found of a row without a column that clashes; the inner `None` is null.
#[derive(Default)]
pub(super) struct ColumnParts<'a> {
    pub id: Option<i64>,
    pub content_id: Option<Option<&'a str>>,
    pub event_ts: Option<Option<&'a str>>,
    pub duration_ms: Option<Option<i64>>,
    pub device: Option<Option<&'a str>>,
    pub user_id: Option<Option<&'a str>>,
}

impl<'a> ColumnParts<'a> {
    /// Those of the row that stands here, as Debezium writes it; serde knows all others, and those with a column that clashes.
    pub(super) fn scanned(scan: &mut Scan<'a>) -> Option<Self> {
        let mut parts = ColumnParts::default();
        scan.object(|scan, name| match name {
            "id" => set(&mut parts.id, scan.integer()?),
            "content_id" => set(&mut parts.content_id, scan.string_or_null()?),
            "event_ts" => set(&mut parts.event_ts, scan.string_or_null()?),
            "duration_ms" => set(&mut parts.duration_ms, scan.integer_or_null()?),
            "device" => set(&mut parts.device, scan.raw_or_null()?),
            "user_id" => set(&mut parts.user_id, scan.raw_or_null()?),
            _ if COMPUTED_FIELDS.contains(&name) => None,
            _ => scan.raw().map(|_| ()),
        })?;
        Some(parts)
    }

    /// The row, where nothing is missing or wrong: what is, [`engagement_row`] says.
    pub(super) fn row(self, json: &'a str) -> Option<EngagementRow<'a>> {
        if self.user_id.flatten().is_some_and(is_key_only) {
            return None;
        }
        let content_id = match self.content_id.flatten() {
            Some(text) => Some(Uuid::try_parse(text).ok()?),
            None => None,
        };
        let event_ts = match self.event_ts.flatten() {
            Some(text) => Some(Timestamp::parse(text)?),
            None => None,
        };
        Some(EngagementRow {
            json,
            id: self.id?,
            content_id,
            event_ts,
            has_event_ts: self.event_ts.is_some(),
            duration_ms: self.duration_ms.flatten(),
            device: self.device.flatten(),
            clashes: false,
        })
    }
}

/// Where only the key was logged, Debezium makes the other columns null, or empty where they may not be: no UUID is.
fn is_key_only(user_id: &str) -> bool {
    user_id == r#""""#
}

/// Reads the row image of an engagement event.
///
/// # Errors
/// A missing key, a column of another type, a content id that is no UUID, a time that is none; an image that holds nothing
/// but the key.
pub fn engagement_row(image: Image<'_>) -> Result<EngagementRow<'_>, DecodeError> {
    let Image { json, row } = image;
    if let Some(row) = row {
        return Ok(row);
    }
    // An array would be taken column by column: only an object names what it holds.
    if !json.trim_ascii_start().starts_with('{') {
        return Err(DecodeError::NotDebezium("its row image is no object"));
    }
    let columns: Columns<'_> = serde_json::from_str(json)?;
    if columns.user_id.is_some_and(is_key_only) {
        return Err(DecodeError::KeyOnly);
    }
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
        .and_then(Option::as_ref)
        .map(|Text(text)| Timestamp::parse(text).ok_or_else(|| wrong("event_ts", text, "timestamp")))
        .transpose()?;
    Ok(EngagementRow {
        json,
        id: columns.id,
        content_id,
        event_ts,
        has_event_ts: columns.event_ts.is_some(),
        duration_ms: columns.duration_ms,
        clashes: columns.clashes(),
        device: columns.device,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::{damaged, rows};
    use proptest::prelude::*;

    fn scanned(row: &str) -> Option<EngagementRow<'_>> {
        let mut scan = Scan::new(row);
        let parts = ColumnParts::scanned(&mut scan)?;
        scan.is_at_end().then_some(parts)?.row(row)
    }

    #[test]
    fn every_real_row_is_scanned() {
        for row in rows() {
            assert_eq!(scanned(&row), engagement_row(row.as_str().into()).ok(), "{row}");
            assert!(scanned(&row).is_some(), "{row}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_is_scanned_is_what_serde_reads(row in damaged(rows())) {
            if let Ok(row) = std::str::from_utf8(&row)
                && let Some(scanned) = scanned(row)
            {
                prop_assert_eq!(Some(scanned), engagement_row(row.into()).ok());
            }
        }
    }
}
