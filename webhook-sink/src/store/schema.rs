//! The database file: its settings, its tables, and the refusal of files that are not ours.

use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::{OpenError, prune::ROW_BYTES};

/// Names the file as ours in its header ("DfnR").
const APPLICATION_ID: i32 = 0x4466_6e52;
/// The version of the tables below; a step up comes with a migration here.
pub const VERSION: i32 = 2;

/// `ids` is apart from `events` so that ids can outlive events: an event that is pruned is still known. It holds what
/// is random (a B-tree of 16-byte keys), `events` only grows at its end and shrinks at its beginning. `seq` is the place
/// in the order of arrival.
///
/// Columns without a type keep what is put in: a UUID is a BLOB of 16 bytes, any other id a TEXT.
const TABLES: &str = "
CREATE TABLE ids (event_id PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    seq INTEGER PRIMARY KEY,
    event_id NOT NULL,
    received_at INTEGER NOT NULL,
    committed_at INTEGER,
    op TEXT NOT NULL,
    event_type TEXT,
    content_type TEXT,
    content_id,
    device TEXT,
    body TEXT NOT NULL
);
CREATE INDEX events_by_device ON events (device);
CREATE INDEX events_by_content_id ON events (content_id);
CREATE INDEX events_by_event_type ON events (event_type);
CREATE TABLE counters (kind TEXT, name TEXT, value INTEGER NOT NULL, PRIMARY KEY (kind, name)) WITHOUT ROWID;
CREATE TABLE probe (only INTEGER PRIMARY KEY CHECK (only = 1), at INTEGER NOT NULL, filler BLOB NOT NULL);
";

/// New in version 2: the ids that outlive their events, in the order in which they are forgotten.
const PRUNED: &str =
    "CREATE TABLE pruned (seq INTEGER PRIMARY KEY, event_id NOT NULL, received_at INTEGER NOT NULL);";
/// Version 1 kept everything and did not count how much that is.
const COUNT_KEPT: &str = "
INSERT INTO counters (kind, name, value) SELECT 'kept', 'events', count(*) FROM events;
INSERT INTO counters (kind, name, value)
    SELECT 'kept', 'bytes', coalesce(sum(octet_length(body)), 0) + count(*) * ";

/// 64 MiB, in KiB: the upper pages of `ids` and the ends of the indexes stay in memory.
const CACHE_KIB: i64 = 65_536;
/// When a commit moves the log into the file: often enough that it stays small, and seldom enough that a page
/// written by many commits is moved once.
const CHECKPOINT_PAGES: i64 = 8_192;

/// Opens the file for the one writer, and makes the tables where there are none.
pub(super) fn open_writer(path: &Path) -> Result<Connection, OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let named = |source| OpenError::of(path, source);
    let mut connection =
        Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(named)?;
    refuse_foreign(path, &connection)?;
    configure(&connection).map_err(named)?;
    create_tables(&mut connection).map_err(named)?;
    Ok(connection)
}

/// Opens the file for queries; the writer must have opened it.
pub(super) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
}

fn configure(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Each commit waits for the disk: what is answered is durable.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    let found = user_version(&transaction)?;
    if found == 0 {
        transaction.execute_batch(TABLES)?;
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    }
    if found < 2 {
        transaction.execute_batch(PRUNED)?;
        transaction.execute_batch(&format!("{COUNT_KEPT} {ROW_BYTES} FROM events"))?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()
}

fn user_version(connection: &Connection) -> rusqlite::Result<i32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Changes nothing: a file of another program is left as it was.
fn refuse_foreign(path: &Path, connection: &Connection) -> Result<(), OpenError> {
    let path_buf = || path.to_owned();
    let look = || -> rusqlite::Result<(i32, i32, i64)> {
        let application = connection.pragma_query_value(None, "application_id", |row| row.get(0))?;
        let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
        Ok((application, user_version(connection)?, tables))
    };
    match look() {
        Ok((0, 0, 0)) => Ok(()),
        Ok((APPLICATION_ID, found, _)) if found > VERSION => {
            Err(OpenError::Newer { path: path_buf(), found, known: VERSION })
        }
        Ok((APPLICATION_ID, _, _)) => Ok(()),
        Ok(_) => Err(OpenError::Foreign { path: path_buf() }),
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            Err(OpenError::Foreign { path: path_buf() })
        }
        Err(source) => Err(OpenError::of(path, source)),
    }
}
