//! A burst: many rows in one statement. A bare consumer tells when Kafka has delivered the last of them; the sinks should not
//! be later than that by more than a write takes.

use crate::bare::Bare;
use crate::pipeline::{Pipeline, say, until};
use anyhow::{Context, Result, ensure};
use std::time::Instant;

const INSERT: &str = "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
     SELECT uuid_generate_v4(), $1, 'play', 1000, 'bench' FROM generate_series(1, $2)";

/// Inserts `rows` rows at once and prints when they were where.
///
/// # Errors
/// Something does not answer.
pub async fn measure(pipeline: &Pipeline, rows: u32, brokers: &str) -> Result<()> {
    let bare = Bare::at_the_end(brokers)?.arrivals(usize::try_from(rows)?, false);
    let before = pipeline.stored().await?;
    pipeline.database.execute(INSERT, &[&pipeline.content, &i32::try_from(rows)?]).await?;
    let commit = Instant::now();
    let visible = until(commit, async || Ok(pipeline.score().await? >= f64::from(rows)));
    let stored = until(commit, async || Ok(pipeline.stored().await? >= before + u64::from(rows)));
    let (visible, stored) = tokio::join!(visible, stored);
    let arrived = bare.join().ok().context("the bare consumer has panicked")??;
    ensure!(arrived.len() == usize::try_from(rows)?, "the bare consumer got {} rows only", arrived.len());
    let bare = arrived.last().context("no row")?.at.saturating_duration_since(commit);
    for (what, took) in [("Kafka (a bare consumer)", bare), ("Redis", visible?), ("the receiver", stored?)] {
        let rate = f64::from(rows) / took.as_secs_f64();
        say(&format!(
            "all {rows} rows in {what:24} {:6.0} ms after the commit  ({rate:.0}/s)",
            took.as_secs_f64() * 1000.0
        ))?;
    }
    Ok(())
}
