//! Queries: stored events, newest first, on connections that only read.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, ErrorCode, OptionalExtension, Row, ToSql, types::ValueRef};
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use webhook_protocol::{fields, format_instant};

use super::{Key, schema};

/// The most events of one answer.
pub const MAX_LIMIT: usize = 10_000;
/// The most bytes of one answer; then it ends early, and `before_seq` goes on.
const MAX_PAGE_BYTES: usize = 64 * 1024 * 1024;
/// A query that takes longer is ended: two filters that are each common and together rare read much.
const MAX_QUERY_TIME: Duration = Duration::from_secs(10);
/// Queries at a time whose answers may be large, and as many whose are not; more wait. So those who read everything do
/// not hold up those who look at the newest.
const MAX_QUERIES: usize = 4;
/// An answer of no more events counts as small.
const SMALL_LIMIT: usize = 200;
/// How long a query waits for its turn.
const MAX_WAIT: Duration = Duration::from_secs(10);
/// How many steps of the database lie between two looks at the clock.
const STEPS_PER_LOOK: i32 = 10_000;

/// Which events; all given conditions hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// The row's device.
    pub device: Option<String>,
    /// The row's content.
    pub content_id: Option<Key>,
    /// The row's event type.
    pub event_type: Option<String>,
    /// Received at or after, in microseconds since the epoch.
    pub since_us: Option<i64>,
    /// Arrived after the event with this `seq`.
    pub after_seq: Option<i64>,
    /// Arrived before the event with this `seq`.
    pub before_seq: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Events, newest first: each as it came, with `received_at` and `seq` added.
#[derive(Debug, Default)]
pub struct Page {
    /// `{"events":[…]}`.
    pub json: Vec<u8>,
    /// How many they are.
    pub count: usize,
    /// Bounds how many pages are in memory: to be held as long as this one is.
    pub slot: Option<OwnedSemaphorePermit>,
}

/// Why a query has no answer.
#[derive(Debug, Error)]
pub enum ReadError {
    /// Ended after [`MAX_QUERY_TIME`].
    #[error("the query took too long; ask for fewer events or add the filter since")]
    TooSlow,
    /// Its turn did not come within [`MAX_WAIT`].
    #[error("too much is being asked at once; try again")]
    Busy,
    /// The database refuses.
    #[error("the store cannot be read: {0}")]
    Database(#[from] rusqlite::Error),
    /// The program is ending.
    #[error("the store is closed")]
    Closed,
}

#[derive(Debug)]
pub(super) struct Reader {
    path: PathBuf,
    /// Idle connections, at most [`MAX_QUERIES`].
    idle: Arc<Mutex<Vec<Connection>>>,
    large: Arc<Semaphore>,
    small: Arc<Semaphore>,
}

impl Reader {
    pub(super) fn new(path: PathBuf) -> Self {
        let slots = || Arc::new(Semaphore::new(MAX_QUERIES));
        Self { path, idle: Arc::default(), large: slots(), small: slots() }
    }

    pub(super) async fn events(&self, filter: Filter) -> Result<Page, ReadError> {
        let slots = if filter.limit <= SMALL_LIMIT { &self.small } else { &self.large };
        let turn = tokio::time::timeout(MAX_WAIT, Arc::clone(slots).acquire_owned());
        let slot = turn.await.map_err(|_| ReadError::Busy)?.map_err(|_| ReadError::Closed)?;
        let (path, idle) = (self.path.clone(), Arc::clone(&self.idle));
        let query = move || -> Result<Page, ReadError> {
            let spare = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut connection = match spare {
                Some(connection) => connection,
                None => schema::open_reader(&path)?,
            };
            let page = read_in_time(&mut connection, &filter);
            // After an error the file may have been exchanged: open it anew.
            if page.is_ok() {
                idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            page.map(|page| Page { slot: Some(slot), ..page })
        };
        tokio::task::spawn_blocking(query).await.map_err(|_| ReadError::Closed)?
    }
}

fn read_in_time(connection: &mut Connection, filter: &Filter) -> Result<Page, ReadError> {
    let end = Instant::now() + MAX_QUERY_TIME;
    connection.progress_handler(STEPS_PER_LOOK, Some(move || Instant::now() > end))?;
    read(connection, filter).map_err(|error| match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => ReadError::TooSlow,
        _ => ReadError::Database(error),
    })
}

fn read(connection: &Connection, filter: &Filter) -> rusqlite::Result<Page> {
    // One view of the data for all statements.
    let snapshot = connection.unchecked_transaction()?;
    let first_seq = filter.since_us.map(|since_us| first_since(&snapshot, since_us)).transpose()?;
    let after_seq = filter.after_seq.max(first_seq.map(|seq| seq - 1));
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let conditions: [(&str, Option<&dyn ToSql>); 6] = [
        ("device = ?", filter.device.as_ref().map(|value| value as &dyn ToSql)),
        ("content_id = ?", filter.content_id.as_ref().map(|value| value as &dyn ToSql)),
        ("event_type = ?", filter.event_type.as_ref().map(|value| value as &dyn ToSql)),
        ("seq > ?", after_seq.as_ref().map(|value| value as &dyn ToSql)),
        ("seq < ?", filter.before_seq.as_ref().map(|value| value as &dyn ToSql)),
        ("received_at >= ?", filter.since_us.as_ref().map(|value| value as &dyn ToSql)),
    ];
    let (mut clauses, mut values) = (Vec::new(), Vec::new());
    for (clause, value) in conditions {
        let Some(value) = value else { continue };
        clauses.push(clause);
        values.push(value);
    }
    let condition = if clauses.is_empty() { "true".to_owned() } else { clauses.join(" AND ") };
    values.push(&limit);
    let sql =
        format!("SELECT seq, received_at, body FROM events WHERE {condition} ORDER BY seq DESC LIMIT ?");
    let mut statement = snapshot.prepare_cached(&sql)?;
    let mut rows = statement.query(values.as_slice())?;
    let mut page = Page { json: b"{\"events\":[".to_vec(), ..Page::default() };
    while let Some(row) = rows.next()?
        && page.json.len() < MAX_PAGE_BYTES
    {
        push(&mut page, row)?;
    }
    page.json.extend_from_slice(b"]}");
    Ok(page)
}

fn push(page: &mut Page, row: &Row<'_>) -> rusqlite::Result<()> {
    let (seq, received_at_us): (i64, i64) = (row.get(0)?, row.get(1)?);
    let body = match row.get_ref(2)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => bytes,
        _ => return Ok(()),
    };
    if page.count > 0 {
        page.json.push(b',');
    }
    // At the end, where it wins over a column of the same name in most readers.
    page.json.extend_from_slice(body.strip_suffix(b"}").unwrap_or(body));
    let received_at = format_instant(received_at_us);
    page.json.extend_from_slice(
        format!(",\"{}\":\"{received_at}\",\"seq\":{seq}}}", fields::RECEIVED_AT).as_bytes(),
    );
    page.count += 1;
    Ok(())
}

/// The first `seq` received at or after an instant, by bisection: `received_at` grows with `seq`.
fn first_since(connection: &Connection, since_us: i64) -> rusqlite::Result<i64> {
    let bounds = "SELECT coalesce(min(seq), 0), coalesce(max(seq), -1) + 1 FROM events";
    let (mut low, mut high): (i64, i64) =
        connection.query_row(bounds, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut statement = connection
        .prepare_cached("SELECT seq, received_at FROM events WHERE seq >= ?1 ORDER BY seq LIMIT 1")?;
    while low < high {
        let middle = low + (high - low) / 2;
        let found: Option<(i64, i64)> =
            statement.query_row([middle], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        match found {
            Some((seq, received_at_us)) if received_at_us < since_us => low = seq + 1,
            _ => high = middle,
        }
    }
    Ok(low)
}
