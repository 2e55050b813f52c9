//! What newcomers do wrong: each mistake of a table is made, and must be answered by a message that names cause and remedy;
//! none by a panic, a hang or silence, and none with a secret in it.

mod files;
mod lanes;
mod letters;
mod machine;
#[cfg(test)]
mod page;
mod place;
mod row;
mod servers;
mod tools;
mod trial;

use crate::harness::{Bench, Measured};
use anyhow::{Context, Result, bail};
use place::{PASSWORD, Place};
use row::Mistake;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

/// All of it, part by part as on the page.
pub const TABLE: &[(&str, &[Mistake])] = &[
    ("Before it starts", files::FILES),
    ("While it runs", lanes::LANES),
    ("In single records", letters::LETTERS),
    ("Beside the processor", tools::TOOLS),
    ("On the machine", machine::MACHINE),
];

/// The least number of mistakes that the table holds.
const LEAST: usize = 40;
/// How many are made at a time: most of them wait for something.
const AT_ONCE: usize = 6;
const ROWS: i64 = 5;

pub async fn run(bench: &Bench) -> Result<Measured> {
    prepare(bench).await?;
    let place = Arc::new(Place::new(bench).await?);
    let ended = LocalSet::new().run_until(try_all(&place)).await;
    take_back(bench).await?;
    ended
}

async fn try_all(place: &Arc<Place>) -> Result<Measured> {
    let mistakes: Vec<Mistake> = TABLE.iter().flat_map(|(_, mistakes)| mistakes.iter().copied()).collect();
    let tried = mistakes.len();
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut trials = JoinSet::new();
    for (number, mistake) in mistakes.into_iter().enumerate() {
        let (place, slots) = (Arc::clone(place), Arc::clone(&slots));
        trials.spawn_local(async move {
            let _slot = slots.acquire().await?;
            trial::made(&place, number, &mistake).await
        });
    }
    let mut unanswered = Vec::new();
    while let Some(ended) = trials.join_next().await {
        if let Err(error) = ended.context("a trial broke")? {
            unanswered.push(format!("{error:#}"));
        }
    }
    let figures = format!("{tried} tried, {} answered", tried.saturating_sub(unanswered.len()));
    if tried < LEAST || !unanswered.is_empty() {
        bail!("{figures}\n    {}", unanswered.join("\n    "));
    }
    let mut measured = Measured::default();
    measured.add(figures);
    Ok(measured)
}

/// Events to deliver, a topic without contents, a user without rights, a table that lacks a column, a key of another type.
async fn prepare(bench: &Bench) -> Result<()> {
    take_back(bench).await?;
    bench.kafka.create_topic(&format!("{}-no-contents", bench.name), 1, &[]).await?;
    bench.redis.run(&["SET", &format!("{}:text", bench.name), "something else"]).await?;
    bench.db.run(&format!("CREATE ROLE e2e_mistakes LOGIN PASSWORD '{PASSWORD}'")).await?;
    bench.db.run("CREATE DATABASE e2e_mistakes").await?;
    let (without_database, _) =
        bench.stack.get("POSTGRES_URL")?.rsplit_once('/').context("POSTGRES_URL has no database")?;
    let other = crate::harness::db::Db::connect(&format!("{without_database}/e2e_mistakes")).await?;
    other.run("CREATE TABLE content (id uuid PRIMARY KEY)").await?;
    let insert = "INSERT INTO engagement_events (content_id, user_id, event_type, duration_ms) \
                  SELECT (SELECT id FROM content ORDER BY id LIMIT 1), uuid_generate_v4(), 'play', n::int \
                  FROM generate_series(1, $1::bigint) AS n";
    bench.db.execute(insert, &[&ROWS]).await?;
    bench.kafka.caught_up(&bench.db).await
}

async fn take_back(bench: &Bench) -> Result<()> {
    // The topic is missing at the first time.
    let _ = bench.kafka.delete_topic(&format!("{}-no-contents", bench.name)).await;
    bench.db.run("DROP DATABASE IF EXISTS e2e_mistakes WITH (FORCE)").await?;
    bench.db.run("DROP ROLE IF EXISTS e2e_mistakes").await
}
