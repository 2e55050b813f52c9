//! The way of a record: decoded, transformed, encoded for the sinks. Whatever our sender makes of it, our receiver can read.

use super::{Outcome, Target};
use crate::mutate;
use anyhow::{Context, Result, ensure};
use deltafan::decode::{Decoded, decode};
use deltafan::sink::webhook::Events;
use deltafan::sink::{Batch as _, Event};
use deltafan::transform::{Content, transform};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use serde::de::IgnoredAny;
use serde_json::Value;
use webhook_protocol::Batch;

const RECORDED: [&str; 6] = [
    include_str!("../../../processor/tests/fixtures/json/engagement_events.jsonl"),
    include_str!("../../../processor/tests/fixtures/json-with-schema/engagement_events.jsonl"),
    include_str!("../../../processor/tests/fixtures/json/content.jsonl"),
    include_str!("../../../processor/tests/fixtures/json/debezium-heartbeat.jsonl"),
    include_str!("../../../processor/tests/fixtures/json/message.jsonl"),
    include_str!("../../../processor/tests/fixtures/json/transaction.jsonl"),
];
const MAX_EVENTS: usize = 10;
const MAX_BODY_BYTES: usize = 1 << 20;

pub struct Decode {
    values: Vec<String>,
    content: Content,
}

impl Decode {
    pub fn new() -> Result<Self> {
        let content = Content {
            content_type: Some("video".into()),
            title: Some("A \"title\"".into()),
            length_seconds: Some(600),
            version: Some(7),
            ..Content::default()
        };
        Ok(Self { values: recorded()?, content })
    }
}

/// The values of all recorded messages.
pub fn recorded() -> Result<Vec<String>> {
    let mut values = Vec::new();
    for line in RECORDED.iter().flat_map(|file| file.lines()) {
        let record: Value = serde_json::from_str(line)?;
        values.extend(record.get("value").and_then(Value::as_str).map(str::to_owned));
    }
    Ok(values)
}

impl Target for Decode {
    fn make(&mut self, random: &mut StdRng) -> Vec<u8> {
        let value = self.values.choose(random).map(String::as_str).unwrap_or_default();
        mutate::json(value, random)
    }

    fn throw(&mut self, input: &[u8]) -> Result<Outcome> {
        let parsed = serde_json::from_slice::<IgnoredAny>(input).is_ok();
        let Ok(Decoded::Change(change)) = decode(Some(input)) else {
            return Ok(Outcome { parsed, accepted: false });
        };
        ensure!(parsed, "a change was read from what is no JSON");
        let Ok(change) = transform(change) else { return Ok(Outcome { parsed, accepted: false }) };
        let mut batch = Events::new(MAX_EVENTS, MAX_BODY_BYTES);
        let event = Event { partition: 0, offset: 0, change: &change, content: Some(&self.content) };
        if batch.push(&event).is_err() {
            ensure!(batch.is_empty(), "a refused event stayed in the batch");
            return Ok(Outcome { parsed, accepted: false });
        }
        let body = batch.body();
        let sent: Batch<'_> = serde_json::from_slice(&body).context("our own body is no batch")?;
        ensure!(sent.events.len() == 1, "{} events were made of one", sent.events.len());
        let sorted = webhook_sink::event::sort(&body).context("our receiver can't read it")?;
        ensure!(sorted.rejected.is_empty(), "our receiver rejects it: {:?}", sorted.rejected);
        Ok(Outcome { parsed, accepted: true })
    }
}
