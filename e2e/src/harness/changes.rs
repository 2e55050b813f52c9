//! The changes that happened, kept by a trigger in the transactions that make them, and what came of them.

use super::bench::Bench;
use super::check;
use super::receiver::Event;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::SystemTime;

const WATCH: &str = "
    DROP SCHEMA IF EXISTS e2e CASCADE;
    CREATE SCHEMA e2e;
    CREATE TABLE e2e.changes (op text, id bigint, duration_ms int, at timestamptz DEFAULT clock_timestamp());
    CREATE FUNCTION e2e.keep() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        IF TG_OP = 'UPDATE' AND NEW.id <> OLD.id THEN
            INSERT INTO e2e.changes VALUES ('d', OLD.id, OLD.duration_ms), ('c', NEW.id, NEW.duration_ms);
            RETURN NULL;
        END IF;
        INSERT INTO e2e.changes (op, id, duration_ms)
        SELECT CASE TG_OP WHEN 'INSERT' THEN 'c' WHEN 'UPDATE' THEN 'u' ELSE 'd' END, changed.id, changed.duration_ms
        FROM (SELECT (CASE TG_OP WHEN 'DELETE' THEN OLD ELSE NEW END).*) AS changed;
        RETURN NULL;
    END $$;
    CREATE TRIGGER e2e AFTER INSERT OR UPDATE OR DELETE ON engagement_events FOR EACH ROW EXECUTE FUNCTION e2e.keep()";
const FORGET: &str = "DROP SCHEMA IF EXISTS e2e CASCADE";

/// A change of a row: of a deleted one as it was before. One of its key is a delete and an insert.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// `c`, `u` or `d`.
    pub op: String,
    /// The row's key.
    pub id: i64,
    /// What was in the row.
    pub duration_ms: Option<i32>,
}

/// What happens to the table of events from the beginning of a scenario on.
pub struct Changes<'b>(&'b Bench);

impl<'b> Changes<'b> {
    /// Keeps every change from here on.
    pub async fn watch(bench: &'b Bench) -> Result<Self> {
        bench.db.run(WATCH).await?;
        Ok(Self(bench))
    }

    /// Forgets those that were kept so far.
    pub async fn start_over(&self) -> Result<()> {
        self.0.db.run("TRUNCATE e2e.changes").await
    }

    /// Keeps none any more.
    pub async fn forget(&self) -> Result<()> {
        self.0.db.run(FORGET).await
    }

    /// How many were committed.
    pub async fn count(&self) -> Result<i64> {
        self.0.db.value("SELECT count(*) FROM e2e.changes", &[]).await
    }

    /// How many of them were made before a moment.
    pub async fn count_until(&self, moment: SystemTime) -> Result<i64> {
        self.0.db.value("SELECT count(*) FROM e2e.changes WHERE at <= $1", &[&moment]).await
    }

    /// All of them.
    pub async fn all(&self) -> Result<Vec<Change>> {
        let rows = self.0.db.rows("SELECT op, id, duration_ms FROM e2e.changes", &[]).await?;
        let change = |row: &tokio_postgres::Row| -> Result<Change> {
            Ok(Change { op: row.try_get(0)?, id: row.try_get(1)?, duration_ms: row.try_get(2)? })
        };
        rows.iter().map(change).collect()
    }
}

#[derive(Deserialize)]
struct Body {
    duration_ms: Option<i32>,
}

/// Each change is at the receiver as often as it happened, and nothing else is.
pub fn compare(happened: Vec<Change>, events: Vec<Event>) -> Result<()> {
    let differences = differences(happened, arrived(events)?);
    let differences: Vec<_> = differences
        .into_iter()
        .map(|(change, count)| match count {
            1.. => format!("{change:?} is missing {count} times"),
            _ => format!("{change:?} is there {} times too often", -count),
        })
        .collect();
    check::no_differences("changes that happened and events at the receiver", &differences)
}

/// The changes that the receiver tells of.
pub fn arrived(events: Vec<Event>) -> Result<Vec<Change>> {
    let change = |event: Event| {
        let body: Body = serde_json::from_str(&event.json).context("an event")?;
        Ok(Change { op: event.op, id: event.id, duration_ms: body.duration_ms })
    };
    events.into_iter().map(change).collect()
}

/// The changes that arrived less often (counts above zero) or more often (below) than they happened.
pub fn differences(happened: Vec<Change>, arrived: Vec<Change>) -> Vec<(Change, i64)> {
    let mut missing: BTreeMap<Change, i64> = BTreeMap::new();
    for change in happened {
        *missing.entry(change).or_default() += 1;
    }
    for change in arrived {
        *missing.entry(change).or_default() -= 1;
    }
    missing.into_iter().filter(|(_, count)| *count != 0).collect()
}
