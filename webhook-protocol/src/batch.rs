//! The body of a POST, `{"events":[{…},{…}]}`, its name, its limits, and the receiver's answer.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

/// The largest body a receiver takes, in bytes: a single event made of a 16 MiB record (the limit along the whole
/// way) fits with room for escaping and enrichment.
pub const MAX_BODY_BYTES: usize = 32 * 1024 * 1024;
/// The most events one body holds; bounds the time of one transaction at the receiver.
pub const MAX_EVENTS: usize = 10_000;
/// The most characters of a title that travel with each event of its content; a longer one is cut.
pub const MAX_TITLE_CHARS: usize = 200;
/// What a sender that splices raw events writes before the first; events are separated by `,`.
pub const BODY_PREFIX: &str = "{\"events\":[";
/// What it writes after the last.
pub const BODY_SUFFIX: &str = "]}";
/// The operations an event may have: create, read (snapshot or backfill), update, delete.
pub const OPS: [&str; 4] = ["c", "r", "u", "d"];

/// Names of an event's fields, beside the row's own columns, which lie flat among them.
pub mod fields {
    /// What happened; unique, the same however often it is sent. A string. A UUID whose first 48 bits are a time that
    /// grows is stored several times cheaper than a random one.
    pub const EVENT_ID: &str = "event_id";
    /// One of [`crate::OPS`].
    pub const OP: &str = "op";
    /// `podcast`, `newsletter`, `video`, or null where the content is unknown.
    pub const CONTENT_TYPE: &str = "content_type";
    /// The content's title, cut to [`crate::MAX_TITLE_CHARS`], or null.
    pub const CONTENT_TITLE: &str = "content_title";
    /// Length of the content in seconds, or null.
    pub const LENGTH_SECONDS: &str = "length_seconds";
    /// LSN of the content row the event was enriched with, or null.
    pub const CONTENT_VERSION: &str = "content_version";
    /// `duration_ms / 1000`, or null.
    pub const ENGAGEMENT_SECONDS: &str = "engagement_seconds";
    /// `engagement_seconds / length_seconds`, to four decimals, or null.
    pub const ENGAGEMENT_PCT: &str = "engagement_pct";
    /// When the source committed the change: RFC 3339, UTC, microseconds ([`crate::format_instant`]).
    pub const COMMITTED_AT: &str = "committed_at";
    /// When the receiver took it up to store it, in the same form; added by the receiver.
    pub const RECEIVED_AT: &str = "received_at";
    /// The row's column that names the content.
    pub const CONTENT_ID: &str = "content_id";
    /// The row's column `play`, `pause`, `finish` or `click`.
    pub const EVENT_TYPE: &str = "event_type";
    /// The row's column that names the device.
    pub const DEVICE: &str = "device";
}

/// A body as the receiver reads it: each event still raw, so that one bad event spoils no other.
#[derive(Debug, Deserialize)]
pub struct Batch<'a> {
    /// In the order of the source.
    #[serde(borrow)]
    pub events: Vec<&'a RawValue>,
}

/// The body of a 2xx answer. Every field may be absent: a receiver that answers nothing has accepted all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Answer {
    /// Events stored now.
    pub accepted: u64,
    /// Events that were stored before, or stood in the batch twice.
    pub duplicates: u64,
    /// Events that will never be accepted as they are; all others are stored.
    pub rejected: Vec<Rejected>,
}

/// An event that the receiver refuses for good.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// Its `event_id`; empty where it has none.
    #[serde(default, deserialize_with = "or_empty")]
    pub event_id: String,
    /// Why, for people.
    #[serde(default, deserialize_with = "or_empty")]
    pub reason: String,
    /// Its place in the batch, counted from 0; names an event without an id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<usize>,
}

/// A text, empty where it is null.
fn or_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// The `webhook-id` of a batch: `msg_` and the first 16 bytes of SHA-256, in hex, over its event ids in order. Each is
/// preceded by its length, so that no two lists look alike.
pub fn webhook_id<I>(event_ids: I) -> String
where
    I: IntoIterator,
    I::Item: AsRef<str>,
{
    let mut hash = Sha256::new();
    for id in event_ids {
        let id = id.as_ref().as_bytes();
        // A `usize` never has more than 64 bits where this runs, so the prefix is always eight bytes.
        let length = u64::try_from(id.len()).unwrap_or(u64::MAX);
        hash.update(length.to_be_bytes());
        hash.update(id);
    }
    let mut name = String::from("msg_");
    for byte in hash.finalize().iter().take(16) {
        for nibble in [byte >> 4, byte & 0x0f] {
            name.push(char::from_digit(u32::from(nibble), 16).unwrap_or_default());
        }
    }
    name
}
