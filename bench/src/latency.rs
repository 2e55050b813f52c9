//! Latency: single rows at a steady rate. Each row is one second of the same content, so the score is the number of rows that
//! are visible, and the moment at which it passes k is the moment at which row k became visible.

use crate::pipeline::{LEADERBOARD, Pipeline, quantile, say};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::time::{MissedTickBehavior, interval};

/// Rows at the beginning that are not counted: connections are made, caches filled.
const WARM_UP: usize = 200;
const INSERT: &str = "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
     VALUES (uuid_generate_v4(), $1, 'play', 1000, 'bench')";

/// Inserts `rate` rows a second for `seconds` seconds and prints the quantiles.
///
/// # Errors
/// Something does not answer.
pub async fn measure(pipeline: &Pipeline, rate: u32, seconds: u32) -> Result<()> {
    let rows = usize::try_from(rate * seconds)? + WARM_UP;
    let (commits, mut committed) = mpsc::unbounded_channel();
    let insert = pipeline.database.prepare(INSERT).await?;
    let (database, content) = (&pipeline.database, pipeline.content);
    let load = async {
        let mut ticks = interval(Duration::from_secs(1) / rate);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..rows {
            ticks.tick().await;
            database.execute(&insert, &[&content]).await?;
            // The moment at which the client learns of the commit: some hundredths of a millisecond after it.
            let _ = commits.send(Instant::now());
        }
        anyhow::Ok(())
    };
    let mut watched = Watched::of(pipeline).await?;
    let (loaded, seen) = tokio::join!(load, watched.watch(rows, &mut committed));
    loaded?;
    let mut visible: Vec<_> = seen?.into_iter().skip(WARM_UP).collect();
    visible.sort_unstable();
    say(&format!(
        "commit → visible in Redis:       p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} rows at {rate}/s)",
        quantile(&visible, 0.5),
        quantile(&visible, 0.9),
        quantile(&visible, 0.99),
        quantile(&visible, 1.0),
        visible.len(),
    ))?;
    let stats = pipeline.stats().await?;
    let ms = |name: &str| {
        stats.pointer(&format!("/latency_ms/{name}")).and_then(Value::as_f64).unwrap_or(f64::NAN)
    };
    say(&format!(
        "commit → stored at the receiver: p50 {:.1} ms, p90 {:.1} ms, p99 {:.1} ms, max {:.1} ms (its own account of the last minute)",
        ms("p50"),
        ms("p90"),
        ms("p99"),
        ms("max"),
    ))
}

/// A connection of its own for watching.
struct Watched {
    redis: redis::aio::MultiplexedConnection,
    content: String,
}

impl Watched {
    async fn of(pipeline: &Pipeline) -> Result<Self> {
        Ok(Self { redis: pipeline.another_redis().await?, content: pipeline.content.to_string() })
    }

    /// How long each of `rows` rows took from its commit until it was visible.
    async fn watch(
        &mut self,
        rows: usize,
        committed: &mut mpsc::UnboundedReceiver<Instant>,
    ) -> Result<Vec<Duration>> {
        let mut took = Vec::with_capacity(rows);
        let mut last = Instant::now();
        while took.len() < rows {
            let score: Option<f64> =
                redis::cmd("ZSCORE").arg(LEADERBOARD).arg(&self.content).query_async(&mut self.redis).await?;
            let now = Instant::now();
            #[allow(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count of some thousand"
            )]
            let visible = score.unwrap_or_default().round() as usize;
            if visible > took.len() {
                last = now;
            }
            while took.len() < visible {
                let commit = committed.recv().await.context("the load has ended early")?;
                took.push(now.saturating_duration_since(commit));
            }
            if last.elapsed() > Duration::from_secs(20) {
                bail!("{} of {rows} rows are visible, and no further one for 20 s", took.len());
            }
            tokio::time::sleep(Duration::from_micros(300)).await;
        }
        Ok(took)
    }
}
