//! What the processor adds: how much later than with a bare consumer each record is in Redis and at a neutral receiver.

use crate::pipeline::{Addresses, say};
use crate::steady::{Common, Scene, Sink};
use anyhow::Result;
use clap::Args;
use serde_json::json;
use std::fs::OpenOptions;
use std::io::Write;
use std::time::{Duration, Instant};

/// At the beginning nothing is counted.
const WARM_UP: Duration = Duration::from_secs(10);

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Records per second, one after the other.
    #[arg(long, value_delimiter = ',', default_values_t = [200, 1000, 10_000])]
    rates: Vec<u32>,
    /// For how long each.
    #[arg(long, default_value_t = 60)]
    seconds: u32,
    #[command(flatten)]
    common: Common,
}

/// Sets the scene, prints three lines for each rate.
///
/// # Errors
/// Something does not answer, or a record is missing.
pub async fn measure(addresses: &Addresses, options: &Options) -> Result<()> {
    for rate in &options.rates {
        let scene = Scene::set(&options.common, addresses, "10min").await?;
        let measured = at_rate(&scene, options, *rate).await;
        let taken_back = scene.take_back().await;
        measured.and(taken_back)?;
    }
    Ok(())
}

async fn at_rate(scene: &Scene<'_>, options: &Options, rate: u32) -> Result<()> {
    let (_running, processor) = scene.processor(&Sink::ALL)?;
    let watch = scene.watch().await?;
    let load = scene.load(0, rate)?;
    tokio::time::sleep(WARM_UP).await;
    watch.all_in(&Sink::ALL, load.next()).await?;
    let (from, cpu) = (Instant::now(), processor.cpu_seconds()?);
    tokio::time::sleep(Duration::from_secs(u64::from(options.seconds))).await;
    let (to, cpu) = (Instant::now(), processor.cpu_seconds()? - cpu);
    watch.all_in(&Sink::ALL, load.next()).await?;
    let share = cpu / (to - from).as_secs_f64() * 100.0;
    say(&format!("{rate}/s, the processor busy for {share:.1} % of a core"))?;
    say(&format!("  due → at a bare consumer    {}", watch.bare_share(&load, from, to)))?;
    for sink in Sink::ALL {
        let quantiles = watch.own_share(&load, sink, from, to);
        say(&format!("  … → {:24} {quantiles}", sink.name()))?;
        if let Some(path) = &options.common.results {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            let line = json!({
                "measured": "share", "sink": sink.name(), "rate": rate, "seconds": options.seconds, "p50_ms": quantiles.p50,
                "p90_ms": quantiles.p90, "p99_ms": quantiles.p99, "p999_ms": quantiles.p999, "max_ms": quantiles.max,
                "records": quantiles.count, "processor_core_percent": share,
            });
            writeln!(file, "{line}")?;
        }
    }
    watch.finish(&load).await.map(drop)
}
