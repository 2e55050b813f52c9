//! The contents that events are enriched with: rows of the real table, which Debezium carries to the processor.

use anyhow::Result;
use tokio_postgres::Client;
use uuid::Uuid;

/// Makes `count` contents; the first is to be the most popular.
///
/// # Errors
/// The database refuses.
pub async fn make(database: &Client, count: u32) -> Result<Vec<Uuid>> {
    let rows = database
        .query(
            "INSERT INTO content (id, slug, title, content_type, length_seconds, publish_ts) \
             SELECT uuid_generate_v4(), 'bench-' || uuid_generate_v4(), 'Content ' || n, \
             (ARRAY['podcast', 'newsletter', 'video'])[1 + n % 3], 60 + n % 3000, now() \
             FROM generate_series(1, $1) n RETURNING id",
            &[&i32::try_from(count)?],
        )
        .await?;
    rows.iter().map(|row| row.try_get(0).map_err(Into::into)).collect()
}

/// A transaction that the database knows, by the lower half of its id: events can't come from one that never was.
///
/// # Errors
/// The database refuses.
pub async fn transaction(database: &Client) -> Result<u32> {
    let row = database.query_one("SELECT pg_current_xact_id()::text::bigint & 4294967295", &[]).await?;
    Ok(u32::try_from(row.try_get::<_, i64>(0)?)?)
}

/// Deletes them.
///
/// # Errors
/// The database refuses.
pub async fn take_back(database: &Client, contents: &[Uuid]) -> Result<()> {
    database.execute("DELETE FROM content WHERE id = ANY($1)", &[&contents]).await?;
    Ok(())
}
