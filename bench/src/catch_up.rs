//! Catching up: a lane has a million records behind it, alone and beside another lane that gets new ones at a steady rate.

use crate::pipeline::{Addresses, say};
use crate::steady::{Common, Manner, Scene, Sink, Watch};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

/// The steady records are looked at for so long before the lane begins to catch up.
const SETTLE: Duration = Duration::from_secs(5);
/// How often it is looked whether anything has come.
const LOOK: Duration = Duration::from_millis(1);

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// The sink that is behind.
    #[arg(long)]
    behind: Sink,
    /// By how many records.
    #[arg(long, default_value_t = 1_000_000)]
    records: usize,
    /// Records per second that come meanwhile.
    #[arg(long, default_value_t = 200)]
    rate: u32,
    #[command(flatten)]
    common: Common,
}

/// Measures the lane alone, then beside the other one, and prints a line.
///
/// # Errors
/// Something does not answer, or a record is missing.
pub async fn measure(addresses: &Addresses, options: &Options) -> Result<()> {
    let scene = Scene::set(&options.common, addresses, "1h").await?;
    let alone = alone(&scene, options).await;
    scene.take_back().await?;
    let alone = alone?;
    let scene = Scene::set(&options.common, addresses, "1h").await?;
    let beside = beside(&scene, options, alone).await;
    scene.take_back().await?;
    beside
}

/// Records per second of a processor that has this lane only.
async fn alone(scene: &Scene<'_>, options: &Options) -> Result<f64> {
    let watch = scene.watch().await?;
    scene.fill(options.records).await?;
    let (_running, _) = scene.processor(&[options.behind])?;
    caught_up(&watch, options).await
}

/// Records per second from the first to the last of those that lay behind.
async fn caught_up(watch: &Watch, options: &Options) -> Result<f64> {
    let sink = watch.sink(options.behind);
    while sink.count() == 0 {
        tokio::time::sleep(LOOK).await;
    }
    let began = Instant::now();
    watch.all_in(&[options.behind], options.records).await?;
    #[allow(clippy::cast_precision_loss, reason = "some million")]
    let records = options.records as f64;
    Ok(records / began.elapsed().as_secs_f64())
}

async fn beside(scene: &Scene<'_>, options: &Options, alone: f64) -> Result<()> {
    let other = options.behind.other();
    let watch = scene.watch().await?;
    scene.fill(options.records).await?;
    scene.proxy(options.behind).set(Manner::Dead);
    let (_running, processor) = scene.processor(&Sink::ALL)?;
    watch.all_in(&[other], options.records).await?;
    let load = scene.load(options.records, options.rate)?;
    tokio::time::sleep(SETTLE).await;
    let (from, before) = (Instant::now(), processor.resident_mib()?);
    tokio::time::sleep(SETTLE).await;
    let begins = Instant::now();
    scene.proxy(options.behind).set(Manner::Sound);
    let rate = caught_up(&watch, options).await?;
    let ends = Instant::now();
    let grown = processor.resident_mib()? - before;
    watch.all_in(&Sink::ALL, load.next()).await?;
    let (quiet, busy) =
        (watch.own_share(&load, other, from, begins), watch.own_share(&load, other, begins, ends));
    watch.finish(&load).await?;
    let share = rate / alone * 100.0;
    say(&format!(
        "{} alone {alone:.0} records/s, beside {} {rate:.0} records/s ({share:.0} %); memory {grown:+.1} MiB",
        options.behind.name(),
        other.name()
    ))?;
    say(&format!("  {}'s own share before     {quiet}", other.name()))?;
    say(&format!("  {}'s own share meanwhile  {busy}", other.name()))?;
    let Some(path) = &options.common.results else { return Ok(()) };
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let line = json!({
        "measured": "catch-up", "behind": options.behind.name(), "records": options.records, "alone_per_second": alone,
        "beside_per_second": rate, "other_p99_ms_before": quiet.p99, "other_p99_ms_meanwhile": busy.p99,
        "grown_mib": grown,
    });
    Ok(writeln!(file, "{line}")?)
}
