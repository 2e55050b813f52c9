//! The counters behind `/stats`: in memory for reading, in the database so that they survive, changed in the same
//! transaction as the events they count. So `/stats` costs the same at ten events as at ten million.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use super::prune::{Piece, ROW_BYTES};
use crate::event::Event;

/// The most kinds counted apart; what comes after them is counted as [`OTHER`], so that a sender cannot grow the table
/// without end.
const MAX_KINDS: usize = 200;
/// Kinds beyond [`MAX_KINDS`].
pub const OTHER: &str = "(other)";
/// Events without the field.
pub const UNKNOWN: &str = "unknown";

/// All that has ever been counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events stored; also the `seq` of the last.
    pub total_events: i64,
    /// Events that came again.
    pub duplicates: i64,
    /// Events refused for good.
    pub rejected: i64,
    /// Requests not believed.
    pub invalid_signatures: i64,
    /// Events that are still kept.
    pub kept_events: i64,
    /// What they take, in bytes: their text and the rest of their rows.
    pub kept_bytes: i64,
    /// Stored events by `event_type`.
    pub by_event_type: BTreeMap<String, i64>,
    /// Stored events by `content_type`.
    pub by_content_type: BTreeMap<String, i64>,
}

impl Counters {
    /// Counts an event that is being stored and gives its `seq`.
    pub(super) fn count(&mut self, event: &Event) -> i64 {
        self.total_events += 1;
        self.kept_events += 1;
        self.kept_bytes += ROW_BYTES + i64::try_from(event.body.len()).unwrap_or(i64::MAX);
        add_one(&mut self.by_event_type, event.event_type.as_deref());
        add_one(&mut self.by_content_type, event.content_type.as_deref());
        self.total_events
    }

    /// After a piece of the events was deleted. What was ever counted stays counted.
    pub(super) fn without(&self, piece: Piece) -> Self {
        let mut counters = self.clone();
        counters.kept_events -= piece.events;
        counters.kept_bytes -= piece.bytes;
        counters
    }

    pub(super) fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let mut counters = Self::default();
        let mut statement = connection.prepare("SELECT kind, name, value FROM counters")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (kind, name, value): (String, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            match (kind.as_str(), name.as_str()) {
                ("total", "events") => counters.total_events = value,
                ("total", "duplicates") => counters.duplicates = value,
                ("total", "rejected") => counters.rejected = value,
                ("total", "invalid_signatures") => counters.invalid_signatures = value,
                ("kept", "events") => counters.kept_events = value,
                ("kept", "bytes") => counters.kept_bytes = value,
                ("event_type", _) => drop(counters.by_event_type.insert(name, value)),
                ("content_type", _) => drop(counters.by_content_type.insert(name, value)),
                _ => {}
            }
        }
        Ok(counters)
    }

    /// Writes what differs from `before`, which is what the database holds.
    pub(super) fn save(&self, before: &Self, connection: &Connection) -> rusqlite::Result<()> {
        let was: BTreeMap<_, _> = before.rows().collect();
        let mut statement = connection.prepare_cached(
            "INSERT INTO counters (kind, name, value) VALUES (?1, ?2, ?3)
             ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value",
        )?;
        for (key, value) in self.rows().filter(|(key, value)| was.get(key) != Some(value)) {
            statement.execute(params![key.0, key.1, value])?;
        }
        Ok(())
    }

    fn rows(&self) -> impl Iterator<Item = ((&'static str, &str), i64)> {
        let totals = [
            ("events", self.total_events),
            ("duplicates", self.duplicates),
            ("rejected", self.rejected),
            ("invalid_signatures", self.invalid_signatures),
        ];
        totals
            .into_iter()
            .map(|(name, value)| (("total", name), value))
            .chain([(("kept", "events"), self.kept_events), (("kept", "bytes"), self.kept_bytes)])
            .chain(tallies("event_type", &self.by_event_type))
            .chain(tallies("content_type", &self.by_content_type))
    }
}

fn tallies<'a>(
    kind: &'static str,
    tally: &'a BTreeMap<String, i64>,
) -> impl Iterator<Item = ((&'static str, &'a str), i64)> {
    tally.iter().map(move |(name, value)| ((kind, name.as_str()), *value))
}

fn add_one(tally: &mut BTreeMap<String, i64>, name: Option<&str>) {
    let name = name.unwrap_or(UNKNOWN);
    if let Some(count) = tally.get_mut(name) {
        *count += 1;
        return;
    }
    let name = if tally.len() < MAX_KINDS { name } else { OTHER };
    *tally.entry(name.to_owned()).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_bounded() {
        let mut tally = BTreeMap::new();
        for n in 0..1000 {
            add_one(&mut tally, Some(&n.to_string()));
        }
        add_one(&mut tally, Some("7"));
        assert_eq!((tally.len(), tally.get(OTHER), tally.get("7")), (MAX_KINDS + 1, Some(&800), Some(&2)));
    }
}
