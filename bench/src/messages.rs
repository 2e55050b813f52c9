//! Real Debezium messages, of which ids, contents, times and durations are made anew.

use anyhow::{Context, Result};
use deltafan::decode::timestamp::format_micros;
use deltafan::generate::Zipf;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::Range;
use uuid::Uuid;

const BARE: &str = include_str!("../../processor/tests/fixtures/json/engagement_events.jsonl");
const WITH_SCHEMA: &str =
    include_str!("../../processor/tests/fixtures/json-with-schema/engagement_events.jsonl");

/// What is made.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The exponent of the law of Zipf by which contents are chosen; at 0 each is as likely as the other.
    pub exponent: f64,
    /// Whether each message carries its schema, as the converter writes it by default.
    pub with_schema: bool,
    /// The transaction that all of them come from.
    pub transaction: u32,
    /// The order of contents, durations and users.
    pub seed: u64,
}

/// Inserts of rows whose contents are chosen by Zipf's law.
pub struct Messages {
    text: String,
    parts: Vec<Part>,
    transaction: u32,
    contents: Vec<Uuid>,
    popularity: Zipf,
    random: StdRng,
    /// The last one's key.
    pub key: Vec<u8>,
    /// The last one's value.
    pub value: Vec<u8>,
}

const TRANSACTION: &str = r#"{"id":"69014:268548976","total_order":1,"data_collection_order":1}"#;

/// A part of a message.
#[derive(Debug, Clone)]
enum Part {
    Text(Range<usize>),
    Id,
    Content,
    User,
    Time,
    Duration,
    Lsn,
    Transaction,
}

impl Messages {
    /// Contents are chosen in the order given, the first most often.
    ///
    /// # Errors
    /// The messages to copy have another form, or there is no content.
    pub fn new(kind: Kind, contents: &[Uuid]) -> Result<Self> {
        let text = message(kind.with_schema)?;
        Ok(Self {
            parts: cut(&text)?,
            text,
            transaction: kind.transaction,
            contents: contents.to_vec(),
            popularity: Zipf::new(NonZeroUsize::new(contents.len()).context("no contents")?, kind.exponent),
            random: StdRng::seed_from_u64(kind.seed),
            key: Vec::new(),
            value: Vec::new(),
        })
    }

    /// Makes the insert of row `id` at `at_us` (microseconds since 1970); its content and its duration in milliseconds.
    ///
    /// # Errors
    /// None that a buffer in memory has.
    pub fn make(&mut self, id: u64, at_us: i64) -> Result<(Uuid, i64)> {
        let Self { random, value, key, .. } = self;
        let content = *self.contents.get(self.popularity.rank(random.random())).context("no contents")?;
        let (user, ms) = (Uuid::from_u128(random.random()), random.random_range(1..60_000_i64));
        value.clear();
        for part in &self.parts {
            match part {
                Part::Text(range) => {
                    value.extend_from_slice(self.text.get(range.clone()).context("no text")?.as_bytes());
                }
                Part::Id => write!(value, "{id}")?,
                Part::Content => write!(value, "{content}")?,
                Part::User => write!(value, "{user}")?,
                Part::Time => value.extend_from_slice(format_micros(at_us).as_bytes()),
                Part::Duration => write!(value, "{ms}")?,
                Part::Lsn => write!(value, "{}", 268_548_976 + 120 * id)?,
                Part::Transaction => write!(value, "{}", self.transaction)?,
            }
        }
        key.clear();
        write!(key, "{{\"id\":{id}}}")?;
        Ok((content, ms))
    }
}

/// The first insert among the recorded messages.
fn message(with_schema: bool) -> Result<String> {
    let line = if with_schema { WITH_SCHEMA } else { BARE }.lines().next().context("no message")?;
    let record: Value = serde_json::from_str(line)?;
    let value = record.get("value").and_then(Value::as_str).context("no value")?;
    // Our connector writes no metadata of transactions.
    Ok(value.replace(TRANSACTION, "null"))
}

/// Cuts the message where something is put in anew.
fn cut(text: &str) -> Result<Vec<Part>> {
    const PLACES: [(&str, &str, Part); 8] = [
        ("\"id\":", "1", Part::Id),
        ("\"content_id\":\"", "2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e", Part::Content),
        ("\"user_id\":\"", "a4593837-703a-4cd7-b71f-dfac080c5c46", Part::User),
        ("\"event_ts\":\"", "2026-11-21T03:00:00.123456Z", Part::Time),
        ("\"duration_ms\":", "8000", Part::Duration),
        ("\\\"", "268548976", Part::Lsn),
        ("\"txId\":", "69014", Part::Transaction),
        ("\"lsn\":", "268548976", Part::Lsn),
    ];
    let mut parts = Vec::new();
    // The schema, where there is one, has fields of the same names.
    let (mut from, mut rest) = (0, text.find("\"after\":{").context("the message is no insert")?);
    for (before, old, part) in PLACES {
        let place = format!("{before}{old}");
        let found = text.get(rest..).and_then(|text| text.find(&place));
        let start = rest + found.with_context(|| format!("the message has no {place}"))? + before.len();
        parts.push(Part::Text(from..start));
        parts.push(part);
        from = start + old.len();
        rest = from;
    }
    parts.push(Part::Text(from..text.len()));
    Ok(parts)
}
