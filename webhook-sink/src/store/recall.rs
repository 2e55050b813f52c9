//! The last minutes as the database tells them, so that the page shows after a restart what it showed before.

use std::collections::HashMap;

use rusqlite::{Connection, types::ValueRef};
use serde::Deserialize;

use super::Key;
use crate::stats::{SERIES_S, Seen, Series, Top};

/// The most events that are looked at, the newest: about a tenth of a second.
const MAX_EVENTS: i64 = 20_000;

const NEWEST: &str = "SELECT received_at, committed_at, op, content_id, content_type, body FROM
    (SELECT * FROM events WHERE seq > (SELECT max(seq) FROM events) - ?1 AND received_at >= ?2) ORDER BY seq";
const LAST: &str = "SELECT max(received_at) FROM (SELECT received_at FROM events ORDER BY seq DESC LIMIT 1)";

/// What the last minutes were.
#[derive(Debug, Default)]
pub(super) struct Recalled {
    pub series: Series,
    pub top: Top,
    pub last_stored_at_us: Option<i64>,
}

#[derive(Deserialize)]
struct Titled {
    content_title: Option<String>,
}

/// Reads the newest events.
pub(super) fn recall(connection: &Connection, now_us: i64) -> rusqlite::Result<Recalled> {
    let mut recalled = Recalled {
        last_stored_at_us: connection.query_row(LAST, [], |row| row.get(0))?,
        ..Recalled::default()
    };
    let mut statement = connection.prepare(NEWEST)?;
    let mut rows = statement.query([MAX_EVENTS, now_us.saturating_sub(SERIES_S * 1_000_000)])?;
    while let Some(row) = rows.next()? {
        let (received_at_us, committed_at_us): (i64, Option<i64>) = (row.get(0)?, row.get(1)?);
        let op: String = row.get(2)?;
        let committed_at_us = committed_at_us.filter(|_| op != "r");
        recalled.series.add(1, committed_at_us.as_slice(), received_at_us);
        let Some(content_id) = row.get::<_, Option<Key>>(3)? else { continue };
        let title = match row.get_ref(5)? {
            ValueRef::Text(body) => serde_json::from_slice::<Titled>(body).ok(),
            _ => None,
        };
        let title = title.and_then(|titled| titled.content_title);
        let seen = Seen { events: 1, title, content_type: row.get(4)? };
        recalled.top.add(HashMap::from([(content_id, seen)]), received_at_us);
    }
    Ok(recalled)
}
