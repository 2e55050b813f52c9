//! Latency: rows at a steady rate, timed from the moment the client learns of the commit. Each row is one second of the
//! same content, so the score is the number of rows that are visible; the receiver counts what it has stored; and the moment
//! at which either count passes k is the moment at which row k was there.
//!
//! Several clients commit in turns. The k-th of all commits is held against the k-th arrival, so a row that overtakes another is not seen
//! to. The time counts from the commit: one that comes late because Postgres was slow is not the pipeline's.

use crate::bare::Bare;
use crate::pipeline::{Addresses, Pipeline, quantile, say};
use anyhow::{Context, Result, bail};
use std::cell::Cell;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::sleep_until;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

/// Seconds at the beginning that are not counted: connections are made, caches filled.
const WARM_UP_S: u32 = 3;
const INSERT: &str = "INSERT INTO engagement_events (user_id, content_id, event_type, duration_ms, device) \
     SELECT uuid_generate_v4(), $1, 'play', 1000, 'bench' FROM generate_series(1, $2)";
/// Pause between two looks at a count.
const LOOK: Duration = Duration::from_micros(300);
/// Nothing that works takes longer.
const PATIENCE: Duration = Duration::from_secs(20);
/// So many commits a second are left to one client.
const COMMITS_EACH: u32 = 100;
/// Postgres has a hundred connections for everybody.
const MOST_CLIENTS: u32 = 40;

/// What is written.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Rows per second.
    pub rate: u32,
    /// For how long.
    pub seconds: u32,
    /// Rows in each transaction.
    pub together: u32,
}

impl Load {
    fn commits(self) -> u32 {
        self.rate * (self.seconds + WARM_UP_S) / self.together
    }

    /// The commits of one of `clients`: the number of rows of each is told at the moment at which it was known to be committed.
    async fn client(
        self,
        (client, insert): (Client, Statement),
        content: Uuid,
        (which, clients): (u32, u32),
        began: tokio::time::Instant,
    ) -> Result<Vec<Instant>> {
        let rows = i32::try_from(self.together)?;
        let mut commits = Vec::new();
        for number in (which..self.commits()).step_by(usize::try_from(clients)?) {
            let due = f64::from(number) * f64::from(self.together) / f64::from(self.rate);
            sleep_until(began + Duration::from_secs_f64(due)).await;
            client.execute(&insert, &[&content, &rows]).await?;
            commits.push(Instant::now());
        }
        Ok(commits)
    }
}

/// Inserts the rows and prints the quantiles, and how long each stretch of the way to Kafka took.
///
/// # Errors
/// Something does not answer.
pub async fn measure(pipeline: &Pipeline, addresses: &Addresses, wanted: Load) -> Result<()> {
    let (rows, together) =
        (usize::try_from(wanted.commits() * wanted.together)?, usize::try_from(wanted.together)?);
    let bare = Bare::at_the_end(&addresses.kafka_brokers)?.arrivals(rows, true);
    let stored_before = pipeline.stored().await?;
    let clients = (wanted.rate / wanted.together).div_ceil(COMMITS_EACH).clamp(1, MOST_CLIENTS);
    let mut connected = Vec::new();
    for _ in 0..clients {
        let client = addresses.database().await?;
        let insert = client.prepare(INSERT).await?;
        connected.push((client, insert));
    }
    let began = tokio::time::Instant::now();
    let mut writing = JoinSet::new();
    for (which, client) in (0..).zip(connected) {
        writing.spawn(wanted.client(client, pipeline.content, (which, clients), began));
    }
    let load = async {
        let mut commits = Vec::with_capacity(rows);
        while let Some(client) = writing.join_next().await {
            commits.extend(client??.into_iter().flat_map(|at| std::iter::repeat_n(at, together)));
        }
        commits.sort_unstable();
        anyhow::Ok(commits)
    };
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
    let warm_up = usize::try_from(wanted.rate * WARM_UP_S)?;
    let tell = |what: &str, took: Vec<Duration>| {
        let mut took = took.get(warm_up..).unwrap_or_default().to_vec();
        took.sort_unstable();
        let [p50, p90, p99, p999, max] = [0.5, 0.9, 0.99, 0.999, 1.0].map(|share| quantile(&took, share));
        say(&format!(
            "{what:44} p50 {p50:5.1} ms, p90 {p90:5.1}, p99 {p99:5.1}, p99.9 {p999:5.1}, max {max:5.1}"
        ))
    };
    say(&format!(
        "{} rows at {}/s, {} in each transaction",
        rows.saturating_sub(warm_up),
        wanted.rate,
        wanted.together
    ))?;
    let came: Vec<_> = arrived.iter().map(|arrival| arrival.at).collect();
    for (what, moments) in [
        ("in Kafka (a bare consumer)", came),
        ("visible in Redis", visible),
        ("stored at the receiver", stored),
    ] {
        let took = moments.iter().zip(&commits).map(|(at, commit)| at.saturating_duration_since(*commit));
        tell(&format!("commit → {what}"), took.collect())?;
    }
    for (stage, what) in STAGES.iter().enumerate() {
        tell(what, arrived.iter().filter_map(|arrival| Some(between(arrival.way_us?, stage))).collect())?;
    }
    Ok(())
}

/// The stretches between the times of an [`crate::bare::Arrival`]; they begin before the client learns of the commit.
const STAGES: [&str; 3] = [
    "  Postgres' commit → the connector",
    "  the connector → Kafka's client in Connect",
    "  Kafka's client → a bare consumer",
];

/// How long a stage took. Kafka's client counts whole milliseconds: the stage before it seems up to one too short, the one after it too long.
fn between(way_us: [i64; 4], stage: usize) -> Duration {
    let at = |stage: usize| way_us.get(stage).copied().unwrap_or_default();
    Duration::from_micros(u64::try_from(at(stage + 1) - at(stage)).unwrap_or_default())
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
