//! From an envelope to the webhook's JSON: the row's own bytes, and behind them what it is enriched with.

use super::lookup::Content;
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::io::Write;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    after: Option<&'a RawValue>,
    /// The message, where the converter puts its schema beside it.
    #[serde(borrow)]
    payload: Option<Message<'a>>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow)]
    after: Option<&'a RawValue>,
}

/// What is used of a row.
#[derive(Debug, Deserialize)]
pub(super) struct Row<'a> {
    pub content_id: &'a str,
    pub event_ts: &'a str,
    pub duration_ms: i64,
}

/// The row after the change, as it stands in the envelope.
pub(super) fn after(value: &[u8]) -> Result<Option<&str>> {
    let envelope: Envelope<'_> = serde_json::from_slice(value)?;
    let after = envelope.payload.map_or(envelope.after, |message| message.after);
    Ok(after.map(RawValue::get))
}

impl<'a> Row<'a> {
    pub(super) fn read(after: &'a str) -> Result<Self> {
        serde_json::from_str(after).context("not a row as the benchmark makes them")
    }

    /// `after` is what this was read from.
    pub(super) fn write(&self, after: &str, content: &Content, body: &mut Vec<u8>) -> Result<()> {
        body.extend_from_slice(after.strip_suffix('}').context("a row is an object")?.as_bytes());
        body.extend_from_slice(content.fields.as_bytes());
        write!(body, ",\"engagement_seconds\":{}.{:03}", self.duration_ms / 1000, self.duration_ms % 1000)?;
        if let Some(length) = content.length_seconds {
            // To four decimals, rounded down.
            let share = self.duration_ms * 10 / i64::from(length).max(1);
            write!(body, ",\"engagement_pct\":{}.{:04}", share / 10_000, share % 10_000)?;
        }
        body.push(b'}');
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn a_row_is_carried_over_and_enriched() -> Result<()> {
        let value = br#"{"before":null,"after":{"id":1,"content_id":"c","event_ts":"2026-11-21T03:00:00Z","duration_ms":1500},"op":"c"}"#;
        let with_schema = [br#"{"schema":{"fields":[]},"payload":"#, value.as_slice(), b"}"].concat();
        let after = after(value)?.context("no row")?;
        assert_eq!(super::after(&with_schema)?, Some(after));
        let content = Content { fields: ",\"content_title\":\"t\"".to_owned(), length_seconds: Some(60) };
        let mut body = Vec::new();
        Row::read(after)?.write(after, &content, &mut body)?;
        let event: Value = serde_json::from_slice(&body)?;
        let expected = json!({
            "id": 1, "content_id": "c", "event_ts": "2026-11-21T03:00:00Z", "duration_ms": 1500,
            "content_title": "t", "engagement_seconds": 1.5, "engagement_pct": 0.025,
        });
        assert_eq!(event, expected);
        Ok(())
    }

    #[test]
    fn a_deletion_has_no_row() -> Result<()> {
        assert_eq!(after(br#"{"before":{"id":1},"after":null,"op":"d"}"#)?, None);
        Ok(())
    }
}
