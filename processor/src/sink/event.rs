//! From a change to the JSON of one event, the same for every sink that sends whole events. The row's own text is
//! spliced in as it came: it has been read once and is not parsed again.

use super::{Event, Refusal};
use crate::decode::row::{COMPUTED_FIELDS, EngagementRow};
use crate::transform::{Content, Decimal, Engagement};
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::json;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use uuid::Uuid;
use webhook_protocol::{fields, instant_text};

/// Appends the JSON of `event` to `out`, and answers the event's id. What was written is undefined after an error.
///
/// # Errors
/// The event can't be delivered by its own values.
pub(super) fn encode(out: &mut Vec<u8>, event: &Event<'_>) -> Result<Uuid, Refusal> {
    let refuse = |reason: String| Refusal { reason };
    let no_row = || refuse("the change holds no row".to_owned());
    let row = event.change.row().ok_or_else(no_row)?;
    if let Some(duration_ms) = row.duration_ms.filter(|ms| *ms < 0) {
        return Err(refuse(format!("the duration is negative (`duration_ms` is {duration_ms})")));
    }
    let event_id = event.change.event_id().ok_or_else(no_row)?;
    write_event(out, event, event_id, row)
        .map_err(|error| refuse(format!("the row can't be written as JSON: {error}")))?;
    Ok(event_id)
}

fn write_event(
    out: &mut Vec<u8>,
    event: &Event<'_>,
    event_id: Uuid,
    row: &EngagementRow<'_>,
) -> io::Result<()> {
    let change = event.change;
    out.push(b'{');
    name(out, fields::EVENT_ID);
    text(out, event_id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()).as_bytes());
    next(out, fields::OP);
    text(out, change.op.letter().as_bytes());
    write_columns(out, row)?;
    let content = event.content;
    let length_seconds = content.and_then(|content| content.length_seconds);
    let engagement = Engagement::of(row.duration_ms, length_seconds);
    match content {
        Some(content) => out.extend_from_slice(content.written.get(|| written(content)).as_bytes()),
        None => out.extend_from_slice(written(&Content::default()).as_bytes()),
    }
    next(out, fields::ENGAGEMENT_SECONDS);
    decimal(out, engagement.seconds);
    next(out, fields::ENGAGEMENT_PCT);
    decimal(out, engagement.pct);
    next(out, fields::COMMITTED_AT);
    text(out, &instant_text(change.source.committed_us));
    out.push(b'}');
    Ok(())
}

/// What a content adds to an event, each field preceded by a comma.
fn written(content: &Content) -> String {
    let fields = [
        (fields::CONTENT_TYPE, json!(content.content_type)),
        (fields::CONTENT_TITLE, json!(content.title)),
        (fields::LENGTH_SECONDS, json!(content.length_seconds)),
        (fields::CONTENT_VERSION, json!(content.version)),
    ];
    fields.map(|(name, value)| format!(",\"{name}\":{value}")).concat()
}

fn name(out: &mut Vec<u8>, name: &str) {
    text(out, name.as_bytes());
    out.push(b':');
}

fn next(out: &mut Vec<u8>, next: &str) {
    out.push(b',');
    name(out, next);
}

/// A text that needs no escape.
fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b'"');
    out.extend_from_slice(text);
    out.push(b'"');
}

fn decimal(out: &mut Vec<u8>, value: Option<Decimal>) {
    match value {
        Some(value) => value.write(out),
        None => out.extend_from_slice(b"null"),
    }
}

/// The columns of a row, each preceded by a comma.
fn write_columns(out: &mut Vec<u8>, row: &EngagementRow<'_>) -> io::Result<()> {
    if row.clashes {
        return write_renamed(out, row.json);
    }
    let columns =
        inside(row.json).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is no object"))?;
    if columns.is_empty() {
        return Ok(());
    }
    out.push(b',');
    out.write_all(columns.as_bytes())
}

/// What stands between the braces of an object.
fn inside(object: &str) -> Option<&str> {
    Some(object.trim_ascii().strip_prefix('{')?.strip_suffix('}')?.trim_ascii())
}

/// The rare row with a column that is named like a computed field: that column travels as `row_<name>`.
fn write_renamed(out: &mut Vec<u8>, row: &str) -> io::Result<()> {
    let Columns(columns) = serde_json::from_str(row)?;
    for (name, value) in &columns {
        out.push(b',');
        serde_json::to_writer(&mut *out, &free_name(name, &columns))?;
        write!(out, ":{}", value.get())?;
    }
    Ok(())
}

/// The name under which a column travels: its own, or with `row_` before it, once more where that is taken as well.
fn free_name<'a>(name: &'a str, columns: &[Column<'_>]) -> Cow<'a, str> {
    let mut free = Cow::Borrowed(name);
    while COMPUTED_FIELDS.contains(&&*free)
        || (free != name && columns.iter().any(|(other, _)| *other == free))
    {
        free = Cow::Owned(format!("row_{free}"));
    }
    free
}

/// A column's name and its value as it is written.
type Column<'a> = (Cow<'a, str>, &'a RawValue);

/// The columns of a row in their order; of two with one name the last counts.
struct Columns<'a>(Vec<Column<'a>>);

impl<'de> Deserialize<'de> for Columns<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ColumnsVisitor)
    }
}

/// A name that is borrowed unless it holds an escape.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

struct ColumnsVisitor;

impl<'de> Visitor<'de> for ColumnsVisitor {
    type Value = Columns<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a row as an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut columns: Vec<Column<'de>> = Vec::new();
        while let Some((Text(name), value)) = map.next_entry()? {
            columns.retain(|(other, _)| *other != name);
            columns.push((name, value));
        }
        Ok(Columns(columns))
    }
}
