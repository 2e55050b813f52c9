//! Latency: single rows at a steady rate, timed from the moment the client learns of the commit. Each row is one second of the
//! same content, so the score is the number of rows that are visible; the receiver counts what it has stored; and the moment
//! at which either count passes k is the moment at which row k was there.

use crate::bare::Bare;
use crate::pipeline::{Pipeline, quantile, say};
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval};

/// Rows at the beginning that are not counted: connections are made, caches filled.
const WARM_UP: usize = 200;
const INSERT: &str = "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
     VALUES (uuid_generate_v4(), $1, 'play', 1000, 'bench')";
/// Pause between two looks at a count.
const LOOK: Duration = Duration::from_micros(300);
/// Nothing that works takes longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Inserts `rate` rows a second for `seconds` seconds and prints the quantiles.
///
/// # Errors
/// Something does not answer.
pub async fn measure(pipeline: &Pipeline, rate: u32, seconds: u32, brokers: &str) -> Result<()> {
    let rows = usize::try_from(rate * seconds)? + WARM_UP;
    let bare = Bare::at_the_end(brokers)?.arrivals(rows);
    let insert = pipeline.database.prepare(INSERT).await?;
    let (database, content) = (&pipeline.database, pipeline.content);
    let load = async {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut commits = Vec::with_capacity(rows);
        for _ in 0..rows {
            ticks.tick().await;
            database.execute(&insert, &[&content]).await?;
            commits.push(Instant::now());
        }
        anyhow::Ok(commits)
    };
    let stored_before = pipeline.stored().await?;
    let (visible_now, stored_now) = (Cell::new(0), Cell::new(0));
    let visible = watch(rows, async || {
        visible_now.set(pipeline.visible().await?);
        Ok(visible_now.get())
    });
    // Its answers cost something on a machine shared with all that is measured, so it is asked only while it is behind Redis.
    let stored = watch(rows, async || {
        if stored_now.get() < visible_now.get() {
            stored_now.set(pipeline.stored().await?.saturating_sub(stored_before));
        }
        Ok(stored_now.get())
    });
    let (commits, visible, stored) = tokio::try_join!(load, visible, stored)?;
    let arrived = bare.join().ok().context("the bare consumer has panicked")??;
    for (what, moments) in [
        ("in Kafka (a bare consumer)", arrived),
        ("visible in Redis", visible),
        ("stored at the receiver", stored),
    ] {
        let took = moments.iter().zip(&commits).map(|(at, commit)| at.saturating_duration_since(*commit));
        let mut took: Vec<_> = took.skip(WARM_UP).collect();
        took.sort_unstable();
        let ms = |share| quantile(&took, share);
        say(&format!(
            "commit → {what:27} p50 {:5.1} ms, p90 {:5.1} ms, p99 {:5.1} ms, max {:5.1} ms ({} rows at {rate}/s)",
            ms(0.5),
            ms(0.9),
            ms(0.99),
            ms(1.0),
            took.len(),
        ))?;
    }
    Ok(())
}

/// The moments at which `count` passed each of 1 to `rows`.
async fn watch(rows: usize, mut count: impl AsyncFnMut() -> Result<u64>) -> Result<Vec<Instant>> {
    let mut seen = Vec::with_capacity(rows);
    let mut last = Instant::now();
    while seen.len() < rows {
        let reached = usize::try_from(count().await?)?.min(rows);
        let now = Instant::now();
        if reached > seen.len() {
            last = now;
            seen.resize(reached, now);
        }
        if last.elapsed() > PATIENCE {
            bail!("{} of {rows} rows are there, and no further one for {PATIENCE:?}", seen.len());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(seen)
}
