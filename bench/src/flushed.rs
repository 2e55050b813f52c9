//! An emptied Redis: how long it takes until the leaderboard is complete again, with no restart.

use crate::pipeline::{Addresses, say};
use crate::steady::{Common, Scene, Sink};
use anyhow::{Context, Result, ensure};
use clap::Args;
use redis::AsyncCommands;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often Redis is asked: it bounds the error of the time.
const ASK: Duration = Duration::from_millis(5);
/// Nothing that works takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// A leaderboard's score is a double next to a thousandth.
const TOLERANCE: f64 = 0.5;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Rows in the window.
    #[arg(long, default_value_t = 500_000)]
    records: usize,
    /// How often it is emptied.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    #[command(flatten)]
    common: Common,
}

/// Fills a window, empties all of Redis, prints a line for each time.
///
/// # Errors
/// Something does not answer, or the window does not become what it was.
pub async fn measure(addresses: &Addresses, options: &Options) -> Result<()> {
    let scene = Scene::set(&options.common, addresses, "1h").await?;
    let measured = runs(&scene, options).await;
    let taken_back = scene.take_back().await;
    measured.and(taken_back)
}

async fn runs(scene: &Scene<'_>, options: &Options) -> Result<()> {
    let watch = scene.watch().await?;
    let sum_ms = scene.fill(options.records).await?;
    let (_running, _) = scene.processor(&[Sink::Redis])?;
    watch.all_in(&[Sink::Redis], options.records).await?;
    complete(scene, options.records, sum_ms).await?;
    for run in 1..=options.runs {
        let mut redis = scene.redis().await?;
        let began = Instant::now();
        redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
        complete(scene, options.records, sum_ms).await?;
        let took = began.elapsed().as_secs_f64();
        say(&format!(
            "run {run}: {} rows are in the window again {took:.2} s after FLUSHALL",
            options.records
        ))?;
    }
    Ok(())
}

/// Waits until the window has all records, and checks what it says.
async fn complete(scene: &Scene<'_>, records: usize, sum_ms: i64) -> Result<()> {
    let mut redis = scene.redis().await?;
    let (positions, began) = (format!("{{{}}}:positions", scene.name), Instant::now());
    loop {
        let held: BTreeMap<String, String> = redis.hgetall(&positions).await?;
        // Beside the positions stand marks, which are no numbers.
        let counted: usize = held.values().filter_map(|offset| offset.parse::<usize>().ok()).sum();
        if counted >= records {
            break;
        }
        ensure!(
            began.elapsed() < PATIENCE,
            "after {PATIENCE:?} the window has {counted} of {records} records"
        );
        tokio::time::sleep(ASK).await;
    }
    let board: Vec<(String, f64)> = redis.zrange_withscores(&scene.name, 0, -1).await?;
    let seconds: f64 = board.iter().map(|(_, score)| score).sum();
    let expected =
        std::time::Duration::from_millis(u64::try_from(sum_ms).context("a negative sum")?).as_secs_f64();
    ensure!(
        (seconds - expected).abs() < TOLERANCE,
        "the window shows {seconds} s where {expected} s is right"
    );
    Ok(())
}
