//! Generates engagement events in Postgres: something to watch, and the load of tests and benchmarks.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_postgres::{Client, NoTls};
use uuid::Uuid;

/// What to generate.
#[derive(Debug, Clone)]
pub struct Load {
    /// Rows per second.
    pub rate: f64,
    /// When to stop, at the latest.
    pub duration: Option<Duration>,
    /// After how many rows to stop, at the latest.
    pub rows: Option<u64>,
    /// The same seed gives the same rows (but for their times and users).
    pub seed: u64,
    /// What `device` says.
    pub device: String,
}

/// Why nothing could be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    /// Postgres said no.
    #[error("postgres: {0}; the user needs INSERT on engagement_events and SELECT on content")]
    Postgres(#[from] tokio_postgres::Error),
    /// There is nothing to engage with.
    #[error("the table `content` is empty; insert at least one content first")]
    NoContent,
    /// The rate is no rate.
    #[error("a rate of {0} rows per second is not possible; give one from 0.01 to 1000000")]
    Rate(f64),
}

/// Pauses between two inserts are at least this long; above 100 rows per second an insert has several rows.
const TICK: Duration = Duration::from_millis(10);

const INSERT: &str = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms, device) \
     SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::int[], $5::text[])";

/// Inserts rows until the load is done; returns how many.
///
/// # Errors
/// Postgres can't be reached or refuses, or there is no content.
pub async fn run(database_url: &str, load: &Load) -> Result<u64, GenerateError> {
    if !(0.01..=1_000_000.0).contains(&load.rate) {
        return Err(GenerateError::Rate(load.rate));
    }
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await?;
    tokio::spawn(connection);
    let contents = contents(&client).await?;
    if contents.is_empty() {
        return Err(GenerateError::NoContent);
    }
    let insert = client.prepare(INSERT).await?;
    let mut random = StdRng::seed_from_u64(load.seed);
    let pause = TICK.max(Duration::from_secs_f64(1.0 / load.rate));
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let began = Instant::now();
    let mut inserted = 0u64;
    loop {
        ticks.tick().await;
        let elapsed = began.elapsed();
        let target = due(load.rate, load.duration.map_or(elapsed, |end| elapsed.min(end)) + pause);
        let target = load.rows.map_or(target, |rows| target.min(rows));
        while inserted < target {
            let count = usize::try_from(target - inserted).unwrap_or(usize::MAX).min(1000);
            let Rows { content, user, kind, duration, device } =
                rows(&mut random, &contents, count, &load.device);
            inserted += client.execute(&insert, &[&content, &user, &kind, &duration, &device]).await?;
        }
        let over = load.duration.is_some_and(|end| elapsed >= end);
        if over || load.rows.is_some_and(|rows| inserted >= rows) {
            return Ok(inserted);
        }
    }
}

/// How many rows should be there after `elapsed`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float cast saturates, and the rate is checked"
)]
fn due(rate: f64, elapsed: Duration) -> u64 {
    (rate * elapsed.as_secs_f64()) as u64
}

async fn contents(client: &Client) -> Result<Vec<Uuid>, tokio_postgres::Error> {
    client.query("SELECT id FROM content ORDER BY id", &[]).await?.iter().map(|row| row.try_get(0)).collect()
}

#[derive(Default)]
struct Rows {
    content: Vec<Uuid>,
    user: Vec<Uuid>,
    kind: Vec<&'static str>,
    duration: Vec<Option<i32>>,
    device: Vec<String>,
}

fn rows(random: &mut StdRng, contents: &[Uuid], count: usize, device: &str) -> Rows {
    const KINDS: [&str; 4] = ["play", "pause", "finish", "click"];
    let mut rows = Rows::default();
    for _ in 0..count {
        // The square favours the first contents: some are more popular than others.
        let draw: f64 = random.random();
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index drawn from 0 to the length, which is small"
        )]
        let index = (draw * draw * contents.len() as f64) as usize;
        rows.content.extend(contents.get(index).or(contents.last()));
        rows.user.push(Uuid::from_u128(random.random()));
        let kind = random.random_range(0..KINDS.len());
        rows.kind.extend(KINDS.get(kind));
        let without = random.random_bool(0.1);
        rows.duration.push((!without).then(|| random.random_range(0..600_000)));
        rows.device.push(device.to_owned());
    }
    rows
}
