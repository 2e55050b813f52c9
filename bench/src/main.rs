//! Measures a running pipeline from outside, as its users see it: `bench/run latency`, `bench/run burst`; and what a processor
//! can do, on a topic, a leaderboard and a receiver of its own: `bench/run throughput`.
//!
//! All insert rows of contents of their own and take them back at the end.

mod bare;
mod burst;
mod catch_up;
mod contents;
mod cost;
mod flushed;
mod isolation;
mod latency;
mod messages;
mod neutral;
mod peers;
mod pipeline;
mod processor;
mod receiver;
mod receiving;
mod share;
mod steady;
mod throughput;
mod topic;

use anyhow::Result;
use clap::{Parser, Subcommand};
use pipeline::{Addresses, Pipeline};

#[derive(Parser)]
#[command(about = "Measures a running pipeline from outside")]
struct Cli {
    #[command(subcommand)]
    measure: Measure,
}

#[derive(Subcommand)]
enum Measure {
    /// Single rows at a steady rate: from the commit until visible in Redis, and until stored at the receiver.
    Latency {
        #[command(flatten)]
        addresses: Addresses,
        /// Rows per second.
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// For how many seconds.
        #[arg(long, default_value_t = 60)]
        seconds: u32,
        /// Rows in each transaction.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        together: u32,
    },
    /// Many rows in one statement: until Kafka has them (as a bare consumer sees it), and until both sinks have them.
    Burst {
        #[command(flatten)]
        addresses: Addresses,
        /// How many rows.
        #[arg(long, default_value_t = 20_000)]
        rows: u32,
    },
    /// A topic drained into Redis and a neutral receiver, as fast as it goes.
    Throughput {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        options: throughput::Options,
    },
    /// Deltafan, Redpanda Connect, Kafka Streams and bare loops, one after the other on the same topic, into the same sinks. It
    /// empties the stack's Redis.
    Peers {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        options: peers::Options,
    },
    /// A table and charts made from the raw results of `peers`.
    PeersReport(peers::Report),
    /// A loop without any guarantee, the limit that `peers` compares with.
    #[command(hide = true)]
    Bare(peers::Bare),
    /// What the processor adds to the latency that a bare consumer sees, in Redis and at a neutral receiver.
    Share {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        options: share::Options,
    },
    /// What becomes of one sink while the other one is dead, frozen, slow.
    Isolation {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        options: isolation::Options,
    },
    /// A lane with a million records behind it, alone and beside one that is not.
    CatchUp {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        options: catch_up::Options,
    },
    /// How long a leaderboard takes to be complete again after FLUSHALL. It empties the stack's Redis.
    Flushed {
        #[command(flatten)]
        addresses: Addresses,
        #[command(flatten)]
        options: flushed::Options,
    },
    /// What the receiver that we ship stores and acknowledges, by itself.
    Receiver(receiving::Options),
    /// The neutral receiver alone, for other senders.
    Receive {
        /// Host and port.
        #[arg(long, default_value = "127.0.0.1:5099")]
        listen: String,
        /// What stands before the id of each event.
        #[arg(long, default_value = receiver::EVENT_ID)]
        before_id: String,
    },
}

#[tokio::main]
async fn main() -> Result<()> {
    match Cli::parse().measure {
        Measure::Latency { addresses, rate, seconds, together } => {
            let pipeline = Pipeline::connect(&addresses).await?;
            let load = latency::Load { rate, seconds, together };
            let measured = latency::measure(&pipeline, &addresses, load).await;
            pipeline.take_back().await?;
            measured
        }
        Measure::Burst { addresses, rows } => {
            let pipeline = Pipeline::connect(&addresses).await?;
            let measured = burst::measure(&pipeline, rows, &addresses.kafka_brokers).await;
            pipeline.take_back().await?;
            measured
        }
        Measure::Throughput { addresses, options } => throughput::measure(&addresses, &options).await,
        Measure::Peers { addresses, options } => peers::measure(&addresses, &options).await,
        Measure::PeersReport(report) => report.write(),
        Measure::Bare(bare) => bare.run().await,
        Measure::Share { addresses, options } => share::measure(&addresses, &options).await,
        Measure::Isolation { addresses, options } => isolation::measure(&addresses, &options).await,
        Measure::CatchUp { addresses, options } => catch_up::measure(&addresses, &options).await,
        Measure::Flushed { addresses, options } => flushed::measure(&addresses, &options).await,
        Measure::Receiver(options) => receiving::measure(&options).await,
        Measure::Receive { listen, before_id } => receiver::serve(&listen, &before_id).await,
    }
}
