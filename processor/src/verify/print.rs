//! Fingerprints of rows: small enough to keep a million, and column by column, so that a difference has a name. Pure.
//!
//! Table, topic and receiver write one value in different ways; each is brought to one form before it is hashed. Two
//! values of one column have the same hash by chance once in four thousand million times.

use crate::decode::row::COMPUTED_FIELDS;
use crate::decode::timestamp::Timestamp;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use uuid::Uuid;
use webhook_protocol::fields;

/// The columns that are compared with the table.
pub(super) const COLUMNS: [&str; 8] =
    ["id", "content_id", "user_id", "event_type", "event_ts", "duration_ms", "device", "raw_payload"];
/// What a receiver adds to an event.
const ADDED: [&str; 2] = [fields::RECEIVED_AT, "seq"];

/// The fingerprint of a row: a hash for each of [`COLUMNS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Print([u32; COLUMNS.len()]);

impl Print {
    /// The columns in which two rows differ.
    pub(super) fn differences(&self, other: &Self) -> Vec<&'static str> {
        let pairs = COLUMNS.iter().zip(self.0.iter().zip(&other.0));
        pairs.filter(|(_, (one, other))| one != other).map(|(name, _)| *name).collect()
    }

    fn set(&mut self, column: usize, hash: u32) {
        if let Some(slot) = self.0.get_mut(column) {
            *slot = hash;
        }
    }
}

/// A row's values, as the table has them.
#[derive(Debug, Clone, Default)]
pub(super) struct Values<'a> {
    pub id: i64,
    pub content_id: Option<Uuid>,
    pub user_id: Option<Uuid>,
    pub event_type: Option<&'a str>,
    pub event_ts: Option<Timestamp>,
    pub duration_ms: Option<i64>,
    pub device: Option<&'a str>,
    pub raw_payload: Option<&'a str>,
}

impl Values<'_> {
    pub(super) fn print(&self) -> Print {
        Print([
            hash(&self.id),
            hash(&self.content_id),
            hash(&self.user_id),
            hash(&self.event_type),
            hash(&self.event_ts.map(parts)),
            hash(&self.duration_ms),
            hash(&self.device),
            hash(&self.raw_payload),
        ])
    }
}

/// A row image of the topic, or an event of a receiver: the row with what was computed for it.
#[derive(Debug, Default)]
pub(super) struct Image<'a> {
    pub print: Print,
    /// All other columns, by name and JSON text, in any order.
    pub others: u32,
    pub id: Option<i64>,
    pub content_id: Option<Uuid>,
    pub event_ts: Option<Timestamp>,
    pub duration_ms: Option<i64>,
    /// What is neither a column nor added by a receiver, as JSON text.
    pub computed: Vec<(Cow<'a, str>, &'a str)>,
    /// The place in a receiver's order.
    pub seq: Option<i64>,
    /// When the receiver took it up, as JSON text.
    pub received_at: Option<&'a str>,
}

impl<'a> Image<'a> {
    /// Reads an object.
    ///
    /// # Errors
    /// It is no JSON object.
    pub(super) fn parse(json: &'a str) -> serde_json::Result<Self> {
        serde_json::from_str::<Fields<'a>>(json).map(|Fields(image)| image)
    }

    /// A computed field, as JSON text; `null` where it is missing.
    pub(super) fn computed(&self, name: &str) -> &'a str {
        self.computed.iter().find(|(has, _)| has == name).map_or("null", |(_, value)| value)
    }

    fn take(&mut self, name: Cow<'a, str>, value: &'a str) {
        if let Some(column) = COLUMNS.iter().position(|column| *column == name) {
            self.column(column, value);
        } else if COMPUTED_FIELDS.contains(&&*name) {
            self.computed.push((name, value));
        } else if !ADDED.contains(&&*name) {
            self.others = self.others.wrapping_add(hash(&(&*name, value)));
        } else if name == "seq" {
            self.seq = value.parse().ok();
        } else {
            self.received_at = Some(value);
        }
    }

    fn column(&mut self, column: usize, value: &'a str) {
        let hashed = match COLUMNS.get(column).copied() {
            Some("id") => number(value).map(|id| {
                self.id = Some(id);
                hash(&id)
            }),
            Some("content_id") => uuid(value).map(|id| {
                self.content_id = id;
                hash(&id)
            }),
            Some("user_id") => uuid(value).map(|id| hash(&id)),
            Some("event_ts") => text(value).and_then(|text| {
                self.event_ts = text.as_deref().and_then(Timestamp::parse);
                (self.event_ts.is_some() || text.is_none()).then(|| hash(&self.event_ts.map(parts)))
            }),
            Some("duration_ms") if value == "null" => Some(hash(&None::<i64>)),
            Some("duration_ms") => number(value).map(|ms| {
                self.duration_ms = Some(ms);
                hash(&Some(ms))
            }),
            _ => text(value).map(|text| hash(&text.as_deref())),
        };
        // What is not of the column's type is itself alone.
        self.print.set(column, hashed.unwrap_or_else(|| hash(&("no value of the column", value))));
    }
}

fn parts(ts: Timestamp) -> (i8, i64, u32) {
    match ts {
        Timestamp::NegativeInfinity => (-1, 0, 0),
        Timestamp::At { secs, micros } => (0, secs, micros),
        Timestamp::Infinity => (1, 0, 0),
    }
}

fn number(json: &str) -> Option<i64> {
    json.parse().ok()
}

/// A string or null; `None` for anything else.
pub(super) fn text(json: &str) -> Option<Option<Cow<'_, str>>> {
    if json == "null" {
        return Some(None);
    }
    let inner = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    if let Some(inner) = inner.filter(|inner| !inner.contains('\\')) {
        return Some(Some(Cow::Borrowed(inner)));
    }
    serde_json::from_str::<String>(json).ok().map(|text| Some(Cow::Owned(text)))
}

fn uuid(json: &str) -> Option<Option<Uuid>> {
    match text(json)? {
        None => Some(None),
        Some(text) => Uuid::try_parse(&text).ok().map(Some),
    }
}

/// A hash that means something within this process alone.
pub(super) fn hash(value: &impl Hash) -> u32 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// What serde reads an [`Image`] as.
struct Fields<'a>(Image<'a>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

/// A name that is borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // A column that is missing is as one that is null.
        let mut image = Image { print: Values::default().print(), ..Image::default() };
        while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
            image.take(name, value.get());
        }
        Ok(Fields(image))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e";

    fn image(json: &str) -> Image<'_> {
        Image::parse(json).expect("an object")
    }

    #[test]
    fn a_row_has_one_fingerprint_however_it_is_written() {
        let values = Values {
            id: 7,
            content_id: None,
            user_id: USER.parse().ok(),
            event_type: Some("play"),
            event_ts: Some(Timestamp::At { secs: 1_795_230_000, micros: 120_000 }),
            duration_ms: Some(8000),
            device: Some("té\"l"),
            raw_payload: Some(r#"{"a": 1}"#),
        };
        let topic = format!(
            r#"{{"id":7,"content_id":null,"user_id":"{USER}","event_type":"play","event_ts":"2026-11-21T03:00:00.12Z",
            "duration_ms":8000,"device":"t\u00e9\"l","raw_payload":"{{\"a\": 1}}"}}"#
        );
        let receiver = format!(
            r#"{{"event_id":"x","op":"c","raw_payload":"{{\"a\": 1}}","id":7,"user_id":"{}","event_type":"play",
            "event_ts":"2026-11-21T05:00:00.120000+02:00","duration_ms":8000,"device":"té\"l","seq":3,"received_at":"now"}}"#,
            USER.to_uppercase()
        );
        let (topic, receiver) = (image(&topic), image(&receiver));
        assert_eq!(topic.print, values.print());
        assert_eq!(receiver.print, values.print(), "a missing column is as one that is null");
        assert_eq!((topic.others, receiver.others), (0, 0), "nothing else is a column");
        assert_eq!((receiver.seq, receiver.computed("op")), (Some(3), r#""c""#));
        assert_eq!(receiver.computed("content_type"), "null");
    }

    #[test]
    fn each_column_that_differs_is_named() {
        let base =
            r#"{"id":7,"event_type":"play","event_ts":"2026-11-21T03:00:00Z","duration_ms":5,"device":"tv"}"#;
        for (from, to, column) in [
            ("7", "8", "id"),
            ("play", "click", "event_type"),
            ("03:00:00Z", "03:00:00.000001Z", "event_ts"),
            ("03:00:00Z", "nonsense", "event_ts"),
            (":5", ":6", "duration_ms"),
            (":5", ":null", "duration_ms"),
            (":5", r#":"5""#, "duration_ms"),
            (r#""tv""#, "null", "device"),
            (r#""tv""#, r#""""#, "device"),
        ] {
            let other = base.replace(from, to);
            assert_eq!(image(base).print.differences(&image(&other).print), [column], "{other}");
        }
        let (one, other) = (r#"{"id":7,"more":1,"b":2}"#, r#"{"b":2,"id":7,"more":1}"#);
        assert_eq!(image(one).others, image(other).others, "columns have no order");
        assert_ne!(image(one).others, image(r#"{"id":7,"more":2,"b":2}"#).others);
        assert!(Image::parse("[]").is_err() && Image::parse("{").is_err());
    }
}
