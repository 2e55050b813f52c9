//! Measures a running pipeline from outside, as its users see it: `bench/run latency`, `bench/run burst`.
//!
//! Both insert rows of a content of their own and take them back at the end.

mod bare;
mod burst;
mod latency;
mod pipeline;

use anyhow::Result;
use clap::{Parser, Subcommand};
use pipeline::{Addresses, Pipeline};

#[derive(Parser)]
#[command(about = "Measures a running pipeline from outside")]
struct Cli {
    #[command(flatten)]
    addresses: Addresses,
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Single rows at a steady rate: from the commit until visible in Redis, and until stored at the receiver.
    Latency {
        /// Rows per second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// For how many seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
    /// Many rows in one statement: until Kafka has them (as a bare consumer sees it), and until both sinks have them.
    Burst {
        /// How many rows.
        #[arg(long, default_value_t = 20_000)]
        rows: u32,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    let cli = Cli::parse();
    let pipeline = Pipeline::connect(&cli.addresses).await?;
    let measured = match cli.measure {
        Measure::Latency { rate, seconds } => {
            latency::measure(&pipeline, rate, seconds, &cli.addresses.kafka_brokers).await
        }
        Measure::Burst { rows } => burst::measure(&pipeline, rows, &cli.addresses.kafka_brokers).await,
    };
    pipeline.take_back().await?;
    measured
}
