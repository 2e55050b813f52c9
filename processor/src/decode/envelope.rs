//! Debezium's JSON envelope, with or without the converter's `schema`.

use super::row::ColumnParts;
use super::scan::{Scan, set};
use super::{Change, Decoded, Image, Op, Place, Source, WithoutEffect};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// Why a record can't be decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// There is a value, but of no bytes.
    #[error("the value is empty: neither JSON nor a tombstone (a tombstone has no value at all)")]
    Empty,
    /// Not JSON, cut off, or a field of the wrong type.
    #[error(
        "the value is not the JSON that Debezium writes: {0}; the connector needs JsonConverter as its value.converter"
    )]
    Json(#[from] serde_json::Error),
    /// JSON, but nothing that Debezium writes.
    #[error(
        "the value is JSON but no Debezium message: {0}; is this the connector's topic, and does no transform of it unwrap rows?"
    )]
    NotDebezium(&'static str),
    /// An operation that is not known.
    #[error("unknown operation `{0}`: known are c, r, u, d, t and m")]
    UnknownOp(String),
    /// A row image that should be there is missing.
    #[error("operation `{op}` without `{image}`: {remedy}")]
    MissingImage {
        /// The operation.
        op: &'static str,
        /// `before` or `after`.
        image: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A row image in which only the key is true.
    #[error(
        "the row image holds nothing but its key: the table needs REPLICA IDENTITY FULL, else what was deleted is unknown"
    )]
    KeyOnly,
    /// A column that is needed can't be read.
    #[error("column `{column}`: {problem}")]
    Column {
        /// The column's name.
        column: &'static str,
        /// What is wrong.
        problem: String,
    },
}

impl DecodeError {
    /// The kind of error in one word, for dead letters.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Json(_) => "json",
            Self::NotDebezium(_) => "not_debezium",
            Self::UnknownOp(_) => "unknown_op",
            Self::MissingImage { .. } => "missing_image",
            Self::KeyOnly => "key_only",
            Self::Column { .. } => "column",
        }
    }
}

/// All fields of every message kind that Debezium writes, each one optional: which are there says what it is.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default, deserialize_with = "raw")]
    pub payload: Option<&'a str>,
    #[serde(borrow, default)]
    pub op: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "image_or_null")]
    pub before: Option<Image<'a>>,
    #[serde(borrow, default, deserialize_with = "image_or_null")]
    pub after: Option<Image<'a>>,
    #[serde(borrow, default)]
    pub source: Option<SourceBlock<'a>>,
    #[serde(borrow, default)]
    pub status: Option<Text<'a>>,
    #[serde(default)]
    pub ts_ms: Option<i64>,
}

/// Text that is borrowed unless it holds an escape, also within an `Option`.
#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub Cow<'a, str>);

#[derive(Debug, PartialEq, Deserialize)]
pub(super) struct SourceBlock<'a> {
    #[serde(borrow)]
    db: Cow<'a, str>,
    #[serde(borrow)]
    schema: Cow<'a, str>,
    #[serde(borrow)]
    table: Cow<'a, str>,
    #[serde(default)]
    lsn: Option<u64>,
    #[serde(default, rename = "txId")]
    tx_id: Option<u64>,
    /// As text in a text: read where it stands.
    #[serde(borrow, default, deserialize_with = "raw_or_null")]
    sequence: Option<&'a str>,
    /// What `sequence` says, where that was read on the way.
    #[serde(skip)]
    place: Option<Place>,
    ts_ms: i64,
    #[serde(default)]
    ts_us: Option<i64>,
}

/// A value that is there though it is null, which an `Option` takes for absence.
fn raw<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(|raw| Some(raw.get()))
}

fn raw_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Ok(raw(deserializer)?.filter(|text| *text != "null"))
}

fn image_or_null<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Image<'de>>, D::Error> {
    Ok(raw_or_null(deserializer)?.map(Image::from))
}

/// Decodes the value of a record. `None` is a tombstone.
///
/// # Errors
/// Whatever is not a message that Debezium writes; the caller keeps the bytes.
pub fn decode(value: Option<&[u8]>) -> Result<Decoded<'_>, DecodeError> {
    let Some(bytes) = value else {
        return Ok(Decoded::Without(WithoutEffect::Tombstone));
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(DecodeError::Empty);
    }
    let outer = parse(bytes)?;
    // With the converter's schema the message itself is the payload; a null payload is a tombstone in that dress.
    match outer.payload.filter(|_| outer.op.is_none()) {
        Some("null") => Ok(Decoded::Without(WithoutEffect::Tombstone)),
        Some(payload) => classify(parse(payload.as_bytes())?),
        None => classify(outer),
    }
}

fn parse(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    match scanned(bytes) {
        Some(envelope) => Ok(envelope),
        None => read(bytes),
    }
}

/// An envelope as Debezium writes it; [`read`] knows all others.
fn scanned(bytes: &[u8]) -> Option<Envelope<'_>> {
    let (mut payload, mut op, mut before, mut after) = (None, None, None, None);
    let (mut source, mut status, mut ts_ms) = (None, None, None);
    Scan::whole_object(std::str::from_utf8(bytes).ok()?, |scan, name| match name {
        "payload" => set(&mut payload, scan.raw()?),
        "op" => set(&mut op, scan.string()?),
        "before" => set(&mut before, scanned_image(scan)?),
        "after" => set(&mut after, scanned_image(scan)?),
        "source" => set(&mut source, scanned_source(scan)?),
        "status" => set(&mut status, scan.string()?),
        "ts_ms" => set(&mut ts_ms, scan.integer_or_null()?),
        _ => scan.raw().map(|_| ()),
    })?;
    Some(Envelope {
        payload,
        op: op.map(|text| Text(text.into())),
        before: before.flatten(),
        after: after.flatten(),
        source,
        status: status.map(|text| Text(text.into())),
        ts_ms: ts_ms.flatten(),
    })
}

fn scanned_image<'a>(scan: &mut Scan<'a>) -> Option<Option<Image<'a>>> {
    let image = scan.read_or_null(ColumnParts::scanned)?;
    Some(image.map(|(json, parts)| Image { json, row: parts.and_then(|parts| parts.row(json)) }))
}

fn scanned_source<'a>(scan: &mut Scan<'a>) -> Option<SourceBlock<'a>> {
    let mut parts = SourceParts::default();
    scan.object(|scan, name| match name {
        "db" => set(&mut parts.db, scan.string()?),
        "schema" => set(&mut parts.schema, scan.string()?),
        "table" => set(&mut parts.table, scan.string()?),
        "lsn" => set(&mut parts.lsn, scan.integer_or_null()?),
        "txId" => set(&mut parts.tx_id, scan.integer_or_null()?),
        "sequence" => set(&mut parts.sequence, scan.raw_or_null()?),
        "ts_ms" => set(&mut parts.ts_ms, scan.integer()?),
        "ts_us" => set(&mut parts.ts_us, scan.integer_or_null()?),
        _ => scan.raw().map(|_| ()),
    })?;
    parts.block()
}

/// What was found of a source block; the inner `None` is null.
#[derive(Default)]
pub(super) struct SourceParts<'a> {
    pub db: Option<&'a str>,
    pub schema: Option<&'a str>,
    pub table: Option<&'a str>,
    pub lsn: Option<Option<i64>>,
    pub tx_id: Option<Option<i64>>,
    pub sequence: Option<Option<&'a str>>,
    /// In place of `sequence`.
    pub place: Option<Place>,
    pub ts_ms: Option<i64>,
    pub ts_us: Option<Option<i64>>,
}

impl<'a> SourceParts<'a> {
    /// The block, where nothing is missing or out of bounds.
    pub(super) fn block(self) -> Option<SourceBlock<'a>> {
        let unsigned = |number: Option<Option<i64>>| number.flatten().map(u64::try_from).transpose().ok();
        Some(SourceBlock {
            db: self.db?.into(),
            schema: self.schema?.into(),
            table: self.table?.into(),
            lsn: unsigned(self.lsn)?,
            tx_id: unsigned(self.tx_id)?,
            sequence: self.sequence.flatten(),
            place: self.place,
            ts_ms: self.ts_ms?,
            ts_us: self.ts_us.flatten(),
        })
    }
}

fn read(bytes: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    // An array would be taken field by field: only an object is an envelope.
    if bytes.iter().find(|b| !b.is_ascii_whitespace()) != Some(&b'{') {
        serde_json::from_slice::<serde::de::IgnoredAny>(bytes)?;
        return Err(DecodeError::NotDebezium("it is no object"));
    }
    Ok(serde_json::from_slice(bytes)?)
}

fn classify(envelope: Envelope<'_>) -> Result<Decoded<'_>, DecodeError> {
    let Some(Text(op)) = envelope.op else {
        // A row without an operation is a damaged change, whatever else it looks like.
        if envelope.before.is_some() || envelope.after.is_some() {
            return Err(DecodeError::NotDebezium("it has no `op`"));
        }
        return match (envelope.status, envelope.ts_ms) {
            (Some(Text(status)), _) if status == "BEGIN" || status == "END" => {
                Ok(Decoded::Without(WithoutEffect::Transaction))
            }
            (None, Some(_)) if envelope.source.is_none() => Ok(Decoded::Without(WithoutEffect::Heartbeat)),
            _ => Err(DecodeError::NotDebezium("it has no `op`")),
        };
    };
    let op = match op.as_ref() {
        "c" => Op::Create,
        "r" => Op::Read,
        "u" => Op::Update,
        "d" => Op::Delete,
        "t" => return Ok(Decoded::Without(WithoutEffect::Truncate)),
        "m" => return Ok(Decoded::Without(WithoutEffect::Message)),
        other => return Err(DecodeError::UnknownOp(other.chars().take(32).collect())),
    };
    let source = envelope.source.ok_or(DecodeError::NotDebezium("it has no `source`"))?;
    let change =
        Change { op, before: envelope.before, after: envelope.after, source: source.into_source(op)? };
    require_images(&change)?;
    Ok(Decoded::Change(change))
}

pub(super) fn require_images(change: &Change<'_>) -> Result<(), DecodeError> {
    let op = change.op.letter();
    if change.op != Op::Delete && change.after.is_none() {
        return Err(DecodeError::MissingImage { op, image: "after", remedy: "the message is damaged" });
    }
    if matches!(change.op, Op::Update | Op::Delete) && change.before.is_none() {
        let remedy = "the table needs REPLICA IDENTITY FULL, else what it replaces is unknown";
        return Err(DecodeError::MissingImage { op, image: "before", remedy });
    }
    Ok(())
}

impl<'a> SourceBlock<'a> {
    pub(super) fn into_source(self, op: Op) -> Result<Source<'a>, DecodeError> {
        let missing = |column: &'static str| DecodeError::Column {
            column,
            problem: "missing from the `source` block".to_owned(),
        };
        // A row read by a snapshot has a position too, but one made by hand or a backfill need not.
        let lsn = match (self.lsn, op) {
            (Some(lsn), _) => lsn,
            (None, Op::Read) => 0,
            (None, _) => return Err(missing("source.lsn")),
        };
        // A snapshot writes the 64-bit id, the WAL its lower half.
        let tx_id = match (self.tx_id, op) {
            (Some(tx_id), _) => u32::try_from(tx_id & u64::from(u32::MAX)).ok(),
            (None, Op::Read) => None,
            (None, _) => return Err(missing("source.txId")),
        };
        Ok(Source {
            db: self.db,
            schema: self.schema,
            table: self.table,
            lsn,
            tx_id,
            place: self.place.or_else(|| Place::parse(self.sequence?)).filter(|_| op != Op::Read),
            committed_us: self.ts_us.unwrap_or_else(|| self.ts_ms.saturating_mul(1000)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::{damaged, messages};
    use proptest::prelude::*;

    #[test]
    fn every_real_message_is_scanned() {
        for value in messages() {
            assert_eq!(scanned(value.as_bytes()), Some(read(value.as_bytes()).expect("read")), "{value}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn what_is_scanned_is_what_serde_reads(value in damaged(messages())) {
            if let Some(envelope) = scanned(&value) {
                prop_assert_eq!(Some(envelope), read(&value).ok());
            }
        }
    }
}
