//! Peers side by side: programs that one might use instead drain the same topic into the same Redis and the same neutral
//! receiver, in turn.
//!
//! Before each one Redis is emptied and the receiver started anew; each reads the topic from its beginning with a group of its
//! own; each one's sums and ids are checked against the topic.

mod bare;
mod board;
mod chart;
mod contender;
mod drain;
mod line;
mod report;
mod summary;

use crate::contents::{self, Contents};
use crate::cost::Watched;
use crate::messages::Kind;
use crate::pipeline::{Addresses, say};
use crate::topic::{self, Compression, Filled, Shape};
use anyhow::{Result, ensure};
use clap::Args;
use contender::Contender;
use drain::Drain;
use line::Line;
use std::path::PathBuf;
use tokio_postgres::Client;

pub use bare::Bare;
pub use report::Report;

/// What is to be measured.
#[derive(Debug, Args)]
pub struct Options {
    /// Only this one; can be repeated.
    #[arg(long)]
    only: Vec<Contender>,
    /// Records in the topic.
    #[arg(long, default_value_t = 2_000_000)]
    records: u32,
    /// Partitions of the topic.
    #[arg(long, default_value_t = 4)]
    partitions: i32,
    /// Contents, chosen by Zipf's law with exponent 1.
    #[arg(long, default_value_t = 1000)]
    contents: u32,
    /// Messages with the schema that the converter writes by default.
    #[arg(long)]
    with_schema: bool,
    /// How often each one drains the topic; every second time in the opposite order.
    #[arg(long, default_value_t = 3)]
    runs: u32,
    /// The folder of the stack's state.
    #[arg(long, env = "BENCH_STATE")]
    state: PathBuf,
    /// The processor.
    #[arg(long, env = "BENCH_DELTAFAN")]
    deltafan: PathBuf,
    /// Redpanda Connect, built from bench/peers/redpanda-connect.
    #[arg(long, env = "BENCH_REDPANDA_CONNECT")]
    redpanda_connect: Option<PathBuf>,
    /// The folder of its configurations.
    #[arg(long, env = "BENCH_REDPANDA_CONNECT_CONFIG")]
    redpanda_connect_config: Option<PathBuf>,
    /// The jars built from bench/peers/kafka-streams.
    #[arg(long, env = "BENCH_KAFKA_STREAMS")]
    kafka_streams: Option<PathBuf>,
    /// Java.
    #[arg(long, env = "BENCH_JAVA", default_value = "java")]
    java: PathBuf,
    /// Where the neutral receiver listens.
    #[arg(long, default_value = "127.0.0.1:5099")]
    receiver: String,
    /// Where raw results are added, a line of JSON for each run.
    #[arg(long)]
    results: Option<PathBuf>,
}

/// Fills a topic, lets each contender drain it, prints a line for each run and a table at the end.
///
/// # Errors
/// Something does not answer, or a run failed or left something out or doubled it.
pub async fn measure(addresses: &Addresses, options: &Options) -> Result<()> {
    let database = addresses.database().await?;
    let contents = contents::make(&database, &addresses.kafka_brokers, options.contents).await?;
    let measured = fill_and_run(addresses, options, &database, &contents).await;
    let taken_back = contents::take_back(&database, &addresses.kafka_brokers, &contents).await;
    measured.and(taken_back)
}

async fn fill_and_run(
    addresses: &Addresses,
    options: &Options,
    database: &Client,
    contents: &Contents,
) -> Result<()> {
    let Options { records, partitions, .. } = *options;
    let transaction = contents::transaction(database).await?;
    let kind = Kind { exponent: 1.0, with_schema: options.with_schema, transaction, seed: 1 };
    let shape =
        Shape { records, partitions, compression: Compression::None, batch_bytes: topic::BATCH_BYTES, kind };
    let filled = topic::fill(&addresses.kafka_brokers, shape, &contents.ids).await?;
    let bytes = filled.bytes / u64::from(records.max(1));
    say(&format!("{records} records of {bytes} bytes in {partitions} partitions"))?;
    let measured = runs(addresses, options, &filled, &contents.topic).await;
    let deleted = topic::delete(&addresses.kafka_brokers, &filled.topic).await;
    measured.and(deleted)
}

async fn runs(addresses: &Addresses, options: &Options, filled: &Filled, contents_topic: &str) -> Result<()> {
    let parts = [Watched::part("kafka", &options.state)?, Watched::part("redis", &options.state)?];
    let (mut lines, mut failed) = (Vec::new(), Vec::new());
    for run in 1..=options.runs {
        for contender in turns(run, &options.only) {
            let drain = Drain { addresses, options, filled, contents_topic, parts: &parts, run };
            let mut take = |line: Line| {
                say(&line.told())?;
                if let Some(path) = &options.results {
                    line.keep(path)?;
                }
                failed.extend(
                    line.fault.as_ref().map(|fault| format!("{}, run {run}: {fault}", line.contender)),
                );
                lines.push(line);
                Ok(())
            };
            // The others are measured all the same.
            if let Err(error) = drain.run(contender, &mut take).await {
                let failure = format!("{}, run {run}: {error:#}", contender.name());
                say(&failure)?;
                failed.push(failure);
            }
        }
    }
    say(&report::table(&lines))?;
    say("What can't be compared fairly, all to the peers' favour: bench/peers/README.md")?;
    ensure!(failed.is_empty(), "{}", failed.join("\n"));
    Ok(())
}

/// Who comes one after the other in this run: back and forth, so that nobody always follows the same one.
fn turns(run: u32, only: &[Contender]) -> Vec<Contender> {
    let mut turns = Contender::ALL.to_vec();
    turns.retain(|one| only.is_empty() || only.contains(one));
    if run.is_multiple_of(2) {
        turns.reverse();
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_run_goes_backwards() {
        let forth = turns(1, &[]);
        let mut back = turns(2, &[]);
        assert_eq!(forth.len(), Contender::ALL.len());
        assert_ne!(forth, back);
        back.reverse();
        assert_eq!(forth, back);
        let only = [Contender::BareLoop, Contender::Deltafan];
        assert_eq!(turns(3, &only), [Contender::Deltafan, Contender::BareLoop]);
    }
}
