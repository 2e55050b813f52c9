//! Layouts: a connector writes the messages of a table one like the other, with the same names in the same order, so most of a message is
//! known before it is read. Whoever has seen one compares the text between the values with the next one's, and reads the values alone.
//!
//! What is read so is what [`decode`] reads (a layout is kept only if it reads its own sample so, and a property test tries the rest);
//! everything else is left to it. The texts between the values are the sample's, byte for byte, so they are valid where the sample was.

use super::envelope::{DecodeError, Envelope, SourceParts, Text, classify, decode};
use super::row::{COMPUTED_FIELDS, ColumnParts, Columns};
use super::scan::Scan;
use super::{Change, Decoded, Image};
use std::ops::Range;

/// Layouts that are kept: some tables, and inserts, updates and deletes of each.
const MOST: usize = 8;
/// Once so many changes have been tried, a further one is tried only so many after the last one: whoever writes each message in another
/// way gains nothing, and pays little.
const PAUSE: u32 = 256;
/// A longer message is no sample.
const LONGEST: usize = 16 * 1024;

/// A decoder that remembers what messages look like: as [`decode`], but quicker where they are alike.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Those that are met often come first.
    layouts: Vec<Layout>,
    /// Changes of which a layout was to be learnt.
    tried: usize,
    /// Changes that no layout fitted since the last one was tried.
    strange: u32,
}

impl Decoder {
    /// Decodes the value of a record. `None` is a tombstone.
    ///
    /// # Errors
    /// As [`decode`].
    pub fn decode<'a>(&mut self, value: Option<&'a [u8]>) -> Result<Decoded<'a>, DecodeError> {
        let Some(text) = value.and_then(|bytes| std::str::from_utf8(bytes).ok()) else {
            return decode(value);
        };
        for (index, layout) in self.layouts.iter().enumerate() {
            if let Some(envelope) = layout.read(text) {
                self.layouts.swap(index, index / 2);
                return classify(envelope);
            }
        }
        let decoded = decode(value)?;
        if matches!(decoded, Decoded::Without(_)) {
            return Ok(decoded);
        }
        self.strange = self.strange.saturating_add(1);
        if self.tried < MOST || self.strange >= PAUSE {
            self.strange = 0;
            self.tried = self.tried.saturating_add(1);
            if let Some(layout) = Layout::learn(text, &decoded) {
                self.layouts.truncate(MOST - 1);
                self.layouts.push(layout);
            }
        }
        Ok(decoded)
    }
}

/// What a message looks like.
#[derive(Debug)]
struct Layout {
    sample: Box<str>,
    values: Vec<Value>,
    /// What follows the last value.
    end: usize,
}

/// A value within the sample, or a place between values.
#[derive(Debug)]
struct Value {
    /// The text between the value before and this one, within the sample.
    before: Range<usize>,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Not used; it differs from message to message all the same.
    Skipped,
    Op,
    WrittenMs,
    Db,
    Schema,
    Table,
    Lsn,
    TxId,
    Sequence,
    TsMs,
    TsUs,
    /// Within the row as it was, or as it is.
    Before(Column),
    After(Column),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    /// The row begins here.
    Open,
    /// It ended here.
    Close,
    /// The row in one piece: its columns are none of an engagement event.
    Whole,
    Skipped,
    Id,
    ContentId,
    EventTs,
    DurationMs,
    Device,
    UserId,
}

/// Which object a name stands in.
#[derive(Debug, Clone, Copy)]
enum Within {
    /// What the converter wraps a message in.
    Wrapper,
    Message,
    Source,
    Row(fn(Column) -> Role),
}

/// What a name means.
enum Meaning {
    Value(Role),
    Object(Within),
    /// Always the same, or part of what is always the same.
    Constant,
    /// Nothing that a layout is made of.
    Unfit,
}

impl Within {
    fn meaning(self, name: &str) -> Meaning {
        match self {
            Self::Wrapper => match name {
                "payload" => Meaning::Object(Self::Message),
                "op" => Meaning::Unfit,
                _ => Meaning::Constant,
            },
            Self::Message => match name {
                "payload" => Meaning::Unfit,
                "source" => Meaning::Object(Self::Source),
                "before" => Meaning::Object(Self::Row(Role::Before)),
                "after" => Meaning::Object(Self::Row(Role::After)),
                "op" => Meaning::Value(Role::Op),
                "ts_ms" => Meaning::Value(Role::WrittenMs),
                "ts_us" | "ts_ns" | "transaction" => Meaning::Value(Role::Skipped),
                _ => Meaning::Constant,
            },
            Self::Source => match name {
                "version" | "connector" | "name" | "snapshot" => Meaning::Constant,
                "db" => Meaning::Value(Role::Db),
                "schema" => Meaning::Value(Role::Schema),
                "table" => Meaning::Value(Role::Table),
                "lsn" => Meaning::Value(Role::Lsn),
                "txId" => Meaning::Value(Role::TxId),
                "sequence" => Meaning::Value(Role::Sequence),
                "ts_ms" => Meaning::Value(Role::TsMs),
                "ts_us" => Meaning::Value(Role::TsUs),
                _ => Meaning::Value(Role::Skipped),
            },
            // Such a row is left to whoever notices the clash.
            Self::Row(_) if COMPUTED_FIELDS.contains(&name) => Meaning::Unfit,
            Self::Row(role) => Meaning::Value(role(match name {
                "id" => Column::Id,
                "content_id" => Column::ContentId,
                "event_ts" => Column::EventTs,
                "duration_ms" => Column::DurationMs,
                "device" => Column::Device,
                "user_id" => Column::UserId,
                _ => Column::Skipped,
            })),
        }
    }
}

/// What was read of a row.
#[derive(Default)]
struct Row<'a> {
    start: usize,
    json: Option<&'a str>,
    columns: Option<ColumnParts<'a>>,
}

impl<'a> Row<'a> {
    fn take(&mut self, column: Column, scan: &mut Scan<'a>) -> Option<()> {
        match column {
            Column::Open => {
                self.start = scan.at();
                self.columns = Some(ColumnParts::default());
                return Some(());
            }
            Column::Close => self.json = Some(scan.since(self.start)?),
            Column::Whole => self.json = scan.raw_or_null()?,
            Column::Skipped => drop(scan.raw()?),
            _ => {}
        }
        let Some(columns) = &mut self.columns else { return Some(()) };
        match column {
            Column::Id => columns.id = Some(scan.integer()?),
            Column::ContentId => columns.content_id = Some(scan.string_or_null()?),
            Column::EventTs => columns.event_ts = Some(scan.string_or_null()?),
            Column::DurationMs => columns.duration_ms = Some(scan.integer_or_null()?),
            Column::Device => columns.device = Some(scan.raw_or_null()?),
            Column::UserId => columns.user_id = Some(scan.raw_or_null()?),
            Column::Open | Column::Close | Column::Whole | Column::Skipped => {}
        }
        Some(())
    }

    fn image(self) -> Option<Option<Image<'a>>> {
        let Some(json) = self.json else { return Some(None) };
        let columns = match self.columns {
            Some(columns) => Some(columns.columns()?),
            None => None,
        };
        Some(Some(Image { json, columns }))
    }
}

impl Layout {
    /// The layout of a message that was decoded the long way; none where there is none that reads it just so.
    fn learn(text: &str, decoded: &Decoded<'_>) -> Option<Self> {
        let Decoded::Change(expected) = decoded else { return None };
        if text.len() > LONGEST {
            return None;
        }
        let reads_so = |layout: &Self| match layout.read(text).map(classify) {
            Some(Ok(Decoded::Change(change))) => {
                change == *expected && columns_of(&change) == columns_of(expected)
            }
            _ => false,
        };
        let whole = [
            (Within::Message, true),
            (Within::Wrapper, true),
            (Within::Message, false),
            (Within::Wrapper, false),
        ];
        whole.into_iter().filter_map(|(whole, columns)| Self::of(text, whole, columns)).find(reads_so)
    }

    /// The layout of a text that is this as a whole, with the columns of its rows, or with rows in one piece. None where a value
    /// that is used is there twice.
    fn of(text: &str, whole: Within, columns: bool) -> Option<Self> {
        let mut found = Vec::new();
        let mut scan = Scan::new(text);
        members(&mut scan, whole, columns, &mut found)?;
        let used = |role: &Role| {
            !matches!(role, Role::Skipped | Role::Before(Column::Skipped) | Role::After(Column::Skipped))
        };
        let is_twice = |(index, (_, role)): (usize, &(Range<usize>, Role))| {
            used(role) && found.iter().skip(index + 1).any(|(_, other)| other == role)
        };
        if found.iter().enumerate().any(is_twice) {
            return None;
        }
        let (mut end, mut values) = (0, Vec::with_capacity(found.len()));
        for (place, role) in found {
            values.push(Value { before: end..place.start, role });
            end = place.end;
        }
        Some(Self { sample: text.into(), values, end })
    }

    /// A message of this layout; `None` where it is of another one.
    fn read<'a>(&self, text: &'a str) -> Option<Envelope<'a>> {
        let mut scan = Scan::new(text);
        let (mut op, mut written_ms, mut source) = (None, None, SourceParts::default());
        let (mut before, mut after) = (Row::default(), Row::default());
        for value in &self.values {
            scan.literal(self.sample.get(value.before.clone())?)?;
            match value.role {
                Role::Skipped => drop(scan.raw()?),
                Role::Op => op = Some(scan.string()?),
                Role::WrittenMs => written_ms = scan.integer_or_null()?,
                Role::Db => source.db = Some(scan.string()?),
                Role::Schema => source.schema = Some(scan.string()?),
                Role::Table => source.table = Some(scan.string()?),
                Role::Lsn => source.lsn = Some(scan.integer_or_null()?),
                Role::TxId => source.tx_id = Some(scan.integer_or_null()?),
                Role::Sequence => source.sequence = Some(scan.raw_or_null()?),
                Role::TsMs => source.ts_ms = Some(scan.integer()?),
                Role::TsUs => source.ts_us = Some(scan.integer_or_null()?),
                Role::Before(column) => before.take(column, &mut scan)?,
                Role::After(column) => after.take(column, &mut scan)?,
            }
        }
        scan.literal(self.sample.get(self.end..)?)?;
        if !scan.is_at_end() {
            return None;
        }
        Some(Envelope {
            payload: None,
            op: Some(Text(op?.into())),
            before: before.image()?,
            after: after.image()?,
            source: Some(source.block()?),
            status: None,
            ts_ms: written_ms,
        })
    }
}

/// The columns that were read with the rows of a change.
fn columns_of<'c, 'a>(change: &'c Change<'a>) -> [Option<&'c Columns<'a>>; 2] {
    [&change.before, &change.after].map(|row| row.as_ref().and_then(|image| image.columns.as_ref()))
}

/// The values of the object that stands here, where they lie and what they mean.
fn members(
    scan: &mut Scan<'_>,
    within: Within,
    columns: bool,
    found: &mut Vec<(Range<usize>, Role)>,
) -> Option<()> {
    scan.object(|scan, name| {
        scan.space();
        let start = scan.at();
        match within.meaning(name) {
            Meaning::Object(within) if scan.is_object() => match within {
                Within::Row(role) if columns => {
                    found.push((start..start, role(Column::Open)));
                    members(scan, within, columns, found)?;
                    found.push((scan.at()..scan.at(), role(Column::Close)));
                }
                Within::Row(role) => {
                    scan.raw()?;
                    found.push((start..scan.at(), role(Column::Whole)));
                }
                _ => members(scan, within, columns, found)?,
            },
            Meaning::Object(_) | Meaning::Constant => drop(scan.raw()?),
            Meaning::Unfit => return None,
            Meaning::Value(role) => {
                scan.raw()?;
                found.push((start..scan.at(), role));
            }
        }
        Some(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::tests::{damaged, messages};
    use proptest::prelude::*;

    /// What is read, with the columns that were read on the way where both ways read some.
    fn told(decoded: Result<Decoded<'_>, DecodeError>) -> String {
        match decoded {
            Ok(Decoded::Change(change)) => {
                let row = |image: &Option<Image<'_>>| {
                    let row = image.clone().map(crate::decode::row::engagement_row);
                    row.map(|row| row.map_or_else(|error| error.to_string(), |row| format!("{row:?}")))
                };
                let json = |image: &Option<Image<'_>>| image.as_ref().map(|image| image.json.to_owned());
                let (before, after) = (&change.before, &change.after);
                format!(
                    "{:?} {:?} {:?} {:?} {:?} {:?}",
                    change.op,
                    change.source,
                    json(before),
                    json(after),
                    row(before),
                    row(after)
                )
            }
            other => format!("{other:?}"),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        /// Whatever came before, the next message is read as if it were the first.
        #[test]
        fn what_it_has_seen_makes_no_difference(
            seen in prop::collection::vec(prop::sample::select(messages()), 0..12),
            next in prop::collection::vec(damaged(messages()), 1..6),
        ) {
            let mut decoder = Decoder::default();
            for value in &seen {
                prop_assert_eq!(told(decoder.decode(Some(value.as_bytes()))), told(decode(Some(value.as_bytes()))));
            }
            for value in &next {
                prop_assert_eq!(told(decoder.decode(Some(value))), told(decode(Some(value))));
            }
        }
    }

    /// The same message with other numbers, and so of the same layout.
    fn later(value: &str) -> String {
        value.replace("\"lsn\":", "\"lsn\":1").replace("\"ts_ms\":", "\"ts_ms\":2")
    }

    #[test]
    fn messages_alike_are_read_by_their_layout() {
        let (mut by_layout, mut changes) = (0, 0);
        for value in messages() {
            let Ok(decoded @ Decoded::Change(_)) = decode(Some(value.as_bytes())) else { continue };
            changes += 1;
            let Some(layout) = Layout::learn(&value, &decoded) else { continue };
            let later = later(&value);
            let read = layout.read(&later).map(classify);
            assert_eq!(read.map(told), Some(told(decode(Some(later.as_bytes())))), "{later}");
            by_layout += 1;
        }
        assert!(by_layout * 10 > changes * 9 && by_layout > 50, "{by_layout} of {changes}");
    }

    /// Outside of a payload nothing counts that the payload has as well, and beside an `op` no payload does.
    #[test]
    fn what_stands_twice_is_read_the_long_way() {
        let rest =
            r#""after":{"id":1},"source":{"db":"d","schema":"s","table":"t","lsn":1,"txId":1,"ts_ms":1}"#;
        for (seen, next) in [
            (r#"{"op":"c",REST,"payload":{"op":"c"}}"#, r#"{"op":"c",REST,"payload":{"op":"r"}}"#),
            (
                r#"{"payload":{"op":"r",REST},"source":{"db":"d","lsn":null}}"#,
                r#"{"payload":{"op":"r",REST},"source":{"db":"e","lsn":7}}"#,
            ),
            (
                r#"{"payload":{"op":"c",REST,"payload":{"op":"c"}}}"#,
                r#"{"payload":{"op":"c",REST,"payload":{"op":"d"}}}"#,
            ),
            (r#"{"x":1,"op":"c",REST,"x":1}"#, r#"{"x":1,"op":"c",REST,"x":2}"#),
        ] {
            let mut decoder = Decoder::default();
            for value in [seen, next] {
                let value = value.replace("REST", rest);
                let value = Some(value.as_bytes());
                assert_eq!(told(decoder.decode(value)), told(decode(value)), "{next}");
            }
        }
    }

    #[test]
    fn what_is_always_new_is_learnt_now_and_then_only() {
        let mut decoder = Decoder::default();
        for number in 0..1000 {
            let value = format!(
                r#"{{"x{number}":1,"op":"c","after":{{"id":1}},"source":{{"db":"d","schema":"s","table":"t","lsn":1,"txId":1,"ts_ms":1}}}}"#
            );
            assert!(decoder.decode(Some(value.as_bytes())).is_ok());
        }
        assert_eq!((decoder.layouts.len(), decoder.tried), (MOST, MOST + 3));
    }
}
