//! One event of a batch, read just far enough to store, count and find it; its own text is kept as it came.
//!
//! Pure. Knows neither HTTP nor the database.

use std::borrow::Cow;

use axum::body::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use webhook_protocol::{Batch, MAX_EVENTS, MAX_TITLE_CHARS, OPS, Rejected, parse_instant};

use crate::store::Key;

/// The longest `event_id`: it is a key, and a UUID has 36.
pub const MAX_EVENT_ID_BYTES: usize = 512;
/// A longer device, type or content id is stored with the event but cannot be filtered by.
pub const MAX_FILTER_BYTES: usize = 256;

/// An event fit to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// What happened: stored once.
    pub event_id: Key,
    /// One of [`OPS`].
    pub op: &'static str,
    /// The row's `event_type`.
    pub event_type: Option<String>,
    /// Of the content it was enriched with.
    pub content_type: Option<String>,
    /// The row's `content_id`.
    pub content_id: Option<Key>,
    /// The title of the content it was enriched with.
    pub content_title: Option<String>,
    /// The row's `device`.
    pub device: Option<String>,
    /// When the source committed it, in microseconds since the epoch.
    pub committed_at_us: Option<i64>,
    /// The JSON object as it came.
    pub body: Bytes,
}

/// A batch, sorted into what can be stored and what never will.
#[derive(Debug, Default)]
pub struct Sorted {
    /// In the order of the batch.
    pub events: Vec<Event>,
    /// Named in the answer.
    pub rejected: Vec<Rejected>,
}

/// Why a whole body is refused.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// No JSON, or another shape than a batch.
    #[error("the body is not {{\"events\":[…]}}: {0}")]
    Malformed(#[from] serde_json::Error),
    /// More events than one batch may hold.
    #[error("the batch holds {0} events, allowed are {MAX_EVENTS}; send fewer at once")]
    TooMany(usize),
}

/// What is read of an event; all else stays in its text.
#[derive(Deserialize)]
struct Fields<'a> {
    #[serde(borrow)]
    event_id: Option<&'a RawValue>,
    #[serde(borrow)]
    op: Option<&'a RawValue>,
    #[serde(borrow)]
    event_type: Option<&'a RawValue>,
    #[serde(borrow)]
    content_type: Option<&'a RawValue>,
    #[serde(borrow)]
    content_id: Option<&'a RawValue>,
    #[serde(borrow)]
    content_title: Option<&'a RawValue>,
    #[serde(borrow)]
    device: Option<&'a RawValue>,
    #[serde(borrow)]
    committed_at: Option<&'a RawValue>,
}

/// Reads a body; each event is judged alone.
///
/// # Errors
/// Only where the body as a whole is none.
pub fn sort(body: &Bytes) -> Result<Sorted, BodyError> {
    let batch: Batch<'_> = serde_json::from_slice(body)?;
    if batch.events.len() > MAX_EVENTS {
        return Err(BodyError::TooMany(batch.events.len()));
    }
    let mut sorted = Sorted { events: Vec::with_capacity(batch.events.len()), ..Sorted::default() };
    for (index, raw) in batch.events.iter().enumerate() {
        match read(body, raw.get()) {
            Ok(event) => sorted.events.push(event),
            Err(refusal) => sorted.rejected.push(Rejected { index: Some(index), ..refusal }),
        }
    }
    Ok(sorted)
}

fn read(body: &Bytes, text: &str) -> Result<Event, Rejected> {
    let refuse =
        |event_id: &str, reason: String| Rejected { event_id: event_id.to_owned(), reason, index: None };
    // A derived struct would read an array as well.
    if !text.starts_with('{') {
        return Err(refuse("", "the event is not a JSON object".to_owned()));
    }
    let fields: Fields<'_> = serde_json::from_str(text).map_err(|error| refuse("", error.to_string()))?;
    let event_id = fields.event_id.and_then(string).unwrap_or_default();
    if event_id.is_empty() {
        return Err(refuse("", "the event has no event_id, or it is not a string".to_owned()));
    }
    if event_id.len() > MAX_EVENT_ID_BYTES {
        return Err(refuse(&event_id, format!("the event_id is longer than {MAX_EVENT_ID_BYTES} bytes")));
    }
    let op = fields.op.and_then(string).unwrap_or_default();
    let Some(op) = OPS.into_iter().find(|known| *known == op) else {
        return Err(refuse(&event_id, "the op is none of c, r, u, d".to_owned()));
    };
    Ok(Event {
        event_id: Key::from_text(&event_id),
        op,
        event_type: filterable(fields.event_type),
        content_type: filterable(fields.content_type),
        content_id: filterable(fields.content_id).map(|text| Key::from_text(&text)),
        content_title: fields.content_title.and_then(string).map(title),
        device: filterable(fields.device),
        committed_at_us: fields.committed_at.and_then(string).and_then(|text| parse_instant(&text)),
        body: body.slice_ref(text.as_bytes()),
    })
}

fn string(raw: &RawValue) -> Option<Cow<'_, str>> {
    let text = raw.get();
    // The common case, without an allocation: nothing escaped.
    if let Some(inner) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'))
        && !inner.contains('\\')
    {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(text).ok().map(Cow::Owned)
}

/// A title as far as it is shown: a sender of ours has cut it already.
fn title(text: Cow<'_, str>) -> String {
    match text.char_indices().nth(MAX_TITLE_CHARS) {
        Some((end, _)) => text.get(..end).unwrap_or_default().to_owned(),
        None => text.into_owned(),
    }
}

/// A column to filter by: a string, or a number or boolean as it is written.
fn filterable(raw: Option<&RawValue>) -> Option<String> {
    let raw = raw?;
    let text = match raw.get().as_bytes().first()? {
        b'"' => string(raw)?,
        b'{' | b'[' => return None,
        _ => Cow::Borrowed(raw.get()),
    };
    (text.len() <= MAX_FILTER_BYTES).then(|| text.into_owned())
}
