//! Throughput: a topic is drained into Redis and a neutral receiver, and counted there.
//!
//! A run counts only if nothing is missing and nothing is there twice: afterwards the leaderboard shows the sum of each
//! content, and the receiver knows as many ids as there are records.

mod drain;

use crate::contents::{self, Contents};
use crate::cost::Watched;
use crate::messages::Kind;
use crate::pipeline::{Addresses, say};
use crate::topic::{self, Compression, Filled, Shape};
use anyhow::Result;
use clap::Args;
use drain::{Drain, Drained};
use std::path::PathBuf;
use tokio_postgres::Client;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Records in the topic.
    #[arg(long, default_value_t = 2_000_000)]
    records: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Contents, chosen by Zipf's law.
    #[arg(long, default_value_t = 1000)]
    contents: u32,
    /// The law's exponent; at 0 each content is as likely as the other.
    #[arg(long, default_value_t = 1.0, value_parser = exponent)]
    exponent: f64,
    /// How the topic's batches are compressed.
    #[arg(long, value_enum, default_value_t)]
    compression: Compression,
    /// How large they are at most before that. A producer that is behind makes large ones; Connect's default is 16384.
    #[arg(long, default_value_t = topic::BATCH_BYTES)]
    batch_bytes: u32,
    /// Messages with the schema that the converter writes by default.
    #[arg(long)]
    with_schema: bool,
    /// How often the topic is drained, each time by a new processor from its beginning.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// How far back the leaderboard reaches.
    #[arg(long, default_value = "1h")]
    window: String,
    /// The processor's workers in each lane.
    #[arg(long, default_value_t = 2)]
    workers: u32,
    /// Only this sink: redis or webhook.
    #[arg(long)]
    only: Option<String>,
    /// So many lanes more, each of which decodes everything and keeps nothing.
    #[arg(long, default_value_t = 0)]
    discards: u32,
    /// The folder of the stack's state.
    #[arg(long, env = "BENCH_STATE")]
    state: PathBuf,
    /// The processor.
    #[arg(long, env = "BENCH_DELTAFAN")]
    deltafan: PathBuf,
    /// Where the neutral receiver listens.
    #[arg(long, default_value = "127.0.0.1:5099")]
    receiver: String,
    /// Where raw results are added, a line of JSON for each run.
    #[arg(long)]
    results: Option<PathBuf>,
}

fn exponent(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(exponent) if (0.0..=10.0).contains(&exponent) => Ok(exponent),
        _ => Err("a number from 0 to 10 is wanted".to_owned()),
    }
}

/// Fills a topic, drains it, prints a line for each run.
///
/// # Errors
/// Something does not answer, or a run leaves something out or doubles it.
pub async fn measure(addresses: &Addresses, options: &Options) -> Result<()> {
    let database = addresses.database().await?;
    let contents = contents::make(&database, &addresses.kafka_brokers, options.contents).await?;
    let measured = drains(addresses, options, &database, &contents).await;
    let taken_back = contents::take_back(&database, &addresses.kafka_brokers, &contents).await;
    measured.and(taken_back)
}

async fn drains(
    addresses: &Addresses,
    options: &Options,
    database: &Client,
    contents: &Contents,
) -> Result<()> {
    let Options { records, partitions, exponent, compression, batch_bytes, with_schema, .. } = *options;
    let transaction = contents::transaction(database).await?;
    let shape = Shape {
        records,
        partitions,
        compression,
        batch_bytes,
        kind: Kind { exponent, with_schema, transaction, seed: 1 },
    };
    let filled = topic::fill(&addresses.kafka_brokers, shape, &contents.ids).await?;
    say(&format!(
        "{records} records of {} bytes in {partitions} partitions",
        filled.bytes / u64::from(records.max(1))
    ))?;
    let measured = runs(addresses, options, &filled, &contents.topic).await;
    let deleted = topic::delete(&addresses.kafka_brokers, &filled.topic).await;
    measured.and(deleted)
}

async fn runs(addresses: &Addresses, options: &Options, filled: &Filled, contents_topic: &str) -> Result<()> {
    let parts = [Watched::part("kafka", &options.state)?, Watched::part("redis", &options.state)?];
    for run in 1..=options.runs {
        let drained = Drain { addresses, options, filled, contents_topic, parts: &parts }.run().await?;
        say(&drained.line(run))?;
        if let Some(memory) = drained.memory() {
            say(&format!("  {memory}"))?;
        }
        if let Some(path) = &options.results {
            drained.keep(path, run, options)?;
        }
    }
    Ok(())
}

impl Drained {
    fn line(&self, run: u32) -> String {
        let costs: Vec<_> = self.costs.iter().map(|(name, seconds)| format!("{name} {seconds:.2}")).collect();
        format!(
            "run {run}: {:.0} events/s in both sinks ({:.2} s; redis after {:.2}, receiver after {:.2}); CPU-seconds per \
             million: {}; at most {:.0} MiB; {} events sent again",
            self.rate(),
            self.seconds,
            self.redis_seconds,
            self.receiver_seconds,
            costs.join(", "),
            self.peak_mib,
            self.repeats
        )
    }
}
