//! Layouts: a connector writes the messages of a table one like the other, with the same names in the same order, so most of a message is
//! known before it is read. Whoever has seen one compares the text between the values with the next one's, and reads the values alone.
//! What names the table and the operation is part of that text: a layout is of one table and one operation.
//!
//! What is read so is what [`decode`] reads (a layout is kept only if it reads its own sample so, and a property test tries the rest);
//! everything else is left to it. The texts between the values are the sample's, byte for byte, so they are valid where the sample was.

use super::envelope::{DecodeError, SourceParts, decode, require_images};
use super::row::{COMPUTED_FIELDS, ColumnParts, EngagementRow};
use super::scan::Scan;
use super::{Change, Decoded, Image, Op, Place};
use std::ops::Range;

/// Layouts that are kept: inserts, updates and deletes of some tables.
const MOST: usize = 16;
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
            if let Some(change) = layout.read(text) {
                self.layouts.swap(index, index / 2);
                return Ok(Decoded::Change(change));
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
    op: Op,
    values: Vec<Value>,
    /// What follows the last value.
    end: Box<[u8]>,
}

/// A value, or a place between values.
#[derive(Debug)]
struct Value {
    /// The text between the value before and this one; with the value itself, where that is part of the layout.
    text: Box<[u8]>,
    role: Role,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Not used; it differs from message to message all the same.
    Skipped,
    WrittenMs,
    /// A text that is part of the layout, and how long it is.
    Db(usize),
    Schema(usize),
    Table(usize),
    Lsn,
    TxId,
    Sequence,
    TsMs,
    TsUs,
    /// Within the row as it was, or as it is.
    Before(Column),
    After(Column),
}

impl Role {
    /// How long its value is, where that is part of the layout.
    fn known_length(self) -> Option<usize> {
        match self {
            Self::Db(length) | Self::Schema(length) | Self::Table(length) => Some(length),
            _ => None,
        }
    }
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
    /// Not used. Where it is null it nearly always is, so that is part of the layout.
    Unused,
    /// A text that is part of the layout.
    Known(fn(usize) -> Role),
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
                "ts_ms" => Meaning::Value(Role::WrittenMs),
                "ts_us" | "ts_ns" | "transaction" => Meaning::Unused,
                _ => Meaning::Constant,
            },
            Self::Source => match name {
                "version" | "connector" | "name" | "snapshot" => Meaning::Constant,
                "db" => Meaning::Known(Role::Db),
                "schema" => Meaning::Known(Role::Schema),
                "table" => Meaning::Known(Role::Table),
                "lsn" => Meaning::Value(Role::Lsn),
                "txId" => Meaning::Value(Role::TxId),
                "sequence" => Meaning::Value(Role::Sequence),
                "ts_ms" => Meaning::Value(Role::TsMs),
                "ts_us" => Meaning::Value(Role::TsUs),
                _ => Meaning::Unused,
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
        let row = match self.columns {
            // A row in which something is wrong is left to whoever says what.
            Some(columns) => Some(columns.row(json)?),
            None => None,
        };
        Some(Some(Image { json, row }))
    }
}

impl Layout {
    /// The layout of a message that was decoded the long way; none where there is none that reads it just so.
    fn learn(text: &str, decoded: &Decoded<'_>) -> Option<Self> {
        let Decoded::Change(expected) = decoded else { return None };
        if text.len() > LONGEST {
            return None;
        }
        let reads_so = |layout: &Self| {
            layout.read(text).is_some_and(|read| read == *expected && rows_of(&read) == rows_of(expected))
        };
        let whole = [
            (Within::Message, true),
            (Within::Wrapper, true),
            (Within::Message, false),
            (Within::Wrapper, false),
        ];
        let layouts = whole.into_iter().filter_map(|(whole, columns)| {
            // One with rows in one piece would fit all rows of the table: it is none for events of which this one is damaged.
            if !columns && values(text, whole, true).is_some_and(|(values, _)| is_of_events(&values)) {
                return None;
            }
            let (values, end) = values(text, whole, columns)?;
            Some(Self { op: expected.op, values, end })
        });
        layouts.into_iter().find(reads_so)
    }

    /// The change in a message of this layout; `None` where it is of another one.
    fn read<'a>(&self, text: &'a str) -> Option<Change<'a>> {
        let mut scan = Scan::new(text);
        let mut source = SourceParts::default();
        let (mut before, mut after) = (Row::default(), Row::default());
        for value in &self.values {
            scan.literal(&value.text)?;
            match value.role {
                Role::Skipped => drop(scan.raw()?),
                Role::WrittenMs => drop(scan.integer_or_null()?),
                Role::Db(length) => source.db = Some(scan.last(length)?),
                Role::Schema(length) => source.schema = Some(scan.last(length)?),
                Role::Table(length) => source.table = Some(scan.last(length)?),
                Role::Lsn => source.lsn = Some(scan.integer_or_null()?),
                Role::TxId => source.tx_id = Some(scan.integer_or_null()?),
                Role::Sequence => match scan.sequence() {
                    Some((committed, lsn)) => source.place = Some(Place { committed: Some(committed), lsn }),
                    None => source.sequence = Some(scan.raw_or_null()?),
                },
                Role::TsMs => source.ts_ms = Some(scan.integer()?),
                Role::TsUs => source.ts_us = Some(scan.integer_or_null()?),
                Role::Before(column) => before.take(column, &mut scan)?,
                Role::After(column) => after.take(column, &mut scan)?,
            }
        }
        scan.literal(&self.end)?;
        if !scan.is_at_end() {
            return None;
        }
        let source = source.block()?.into_source(self.op).ok()?;
        let change = Change { op: self.op, before: before.image()?, after: after.image()?, source };
        require_images(&change).is_ok().then_some(change)
    }
}

/// Whether these are rows with columns that only engagement events have.
fn is_of_events(values: &[Value]) -> bool {
    let own = |column| matches!(column, Column::ContentId | Column::EventTs | Column::UserId);
    values.iter().any(|value| matches!(value.role, Role::Before(column) | Role::After(column) if own(column)))
}

/// The rows that were read with a change.
fn rows_of<'c, 'a>(change: &'c Change<'a>) -> [Option<&'c EngagementRow<'a>>; 2] {
    [&change.before, &change.after].map(|image| image.as_ref().and_then(|image| image.row.as_ref()))
}

/// The values of a text that is this as a whole, with the columns of its rows, or with rows in one piece, and what follows the last
/// one. None where a value that is used is there twice.
fn values(text: &str, whole: Within, columns: bool) -> Option<(Vec<Value>, Box<[u8]>)> {
    let mut found = Vec::new();
    let mut scan = Scan::new(text);
    members(&mut scan, whole, columns, &mut found)?;
    let used = |role: &Role| {
        !matches!(role, Role::Skipped | Role::Before(Column::Skipped) | Role::After(Column::Skipped))
    };
    let is_same = |one: &Role, other: &Role| std::mem::discriminant(one) == std::mem::discriminant(other);
    let is_twice = |(index, (_, role)): (usize, &(Range<usize>, Role))| {
        let same = |(_, other): &(Range<usize>, Role)| {
            if role.known_length().is_some() { is_same(role, other) } else { role == other }
        };
        used(role) && found.iter().skip(index + 1).any(same)
    };
    if found.iter().enumerate().any(is_twice) {
        return None;
    }
    let (mut end, mut values) = (0, Vec::with_capacity(found.len()));
    for (place, role) in found {
        let text_end = if role.known_length().is_some() { place.end } else { place.start };
        values.push(Value { text: text.get(end..text_end)?.as_bytes().into(), role });
        end = place.end;
    }
    Some((values, text.get(end..)?.as_bytes().into()))
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
            Meaning::Known(role) => {
                let length = scan.string()?.len();
                found.push((start..scan.at(), role(length)));
            }
            Meaning::Unused => {
                if scan.raw()? != "null" {
                    found.push((start..scan.at(), Role::Skipped));
                }
            }
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

    /// What is read, with its rows.
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
            let read = layout.read(&later).map(|change| Ok(Decoded::Change(change)));
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

    /// A few rows that can't be read leave nothing behind by which all others are read more slowly.
    #[test]
    fn damaged_rows_are_no_sample() {
        let good = |id: u32| {
            format!(
                r#"{{"op":"c","after":{{"id":{id},"content_id":"2059c50b-d9e9-4cfe-b0a6-3cd11a1b8e0e","event_ts":"2026-11-21T03:00:00Z"}},"source":{{"db":"d","schema":"s","table":"t","lsn":1,"txId":1,"ts_ms":1}}}}"#
            )
        };
        let bad = [good(1).replace("2026-11-21T03", "x"), good(1).replace("2059c50b", "x")];
        for first in [&good(1), &bad[0], &bad[1]] {
            let mut decoder = Decoder::default();
            for value in [first, &bad[0], &bad[1], &bad[0], &bad[1], &good(2), &good(3)] {
                assert_eq!(
                    told(decoder.decode(Some(value.as_bytes()))),
                    told(decode(Some(value.as_bytes())))
                );
            }
            assert_eq!(decoder.layouts.len(), 1, "{first}");
            let next = good(4);
            let change = decoder.layouts[0].read(&next).expect("of this layout");
            let row = change.after.and_then(|image| image.row);
            assert_eq!(row.map(|row| row.id), Some(4));
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
