//! Records at a steady rate, which we write to a topic ourselves, and for each the moments at which a bare consumer had it, at
//! which it was in Redis, and at which a receiver had it. So Postgres and Debezium, whose pauses are longer than what is
//! measured, take no part.

mod load;
mod moments;
mod proxy;
mod watch;

pub use moments::{Moments, Quantiles};
pub use proxy::{Manner, Proxy};

use crate::contents::{self, Contents};
use crate::cost::Watched;
use crate::messages::{Kind, Messages};
use crate::pipeline::Addresses;
use crate::processor::{Lanes, Running};
use crate::topic;
use anyhow::{Result, bail, ensure};
use clap::Args;
pub use load::Load;
use load::Writer;
use redis::aio::MultiplexedConnection;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::Client;
use watch::{Places, Watcher};

/// A look at what has arrived, while something is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// Nothing that works takes longer.
const PATIENCE: Duration = Duration::from_secs(120);
/// Records that are written as fast as it goes wait this long for others.
const FILLING_LINGER_MS: u32 = 20;
const PARTITIONS: i32 = 4;
const CONTENTS: u32 = 1000;

/// What all measurements at a steady rate have in common.
#[derive(Debug, Args)]
pub struct Common {
    /// The folder of the stack's state.
    #[arg(long, env = "BENCH_STATE")]
    pub state: PathBuf,
    /// The processor.
    #[arg(long, env = "BENCH_DELTAFAN")]
    pub deltafan: PathBuf,
    /// The processor's workers in each lane.
    #[arg(long, default_value_t = 2)]
    pub workers: u32,
    /// Where raw results are added, a line of JSON for each figure.
    #[arg(long)]
    pub results: Option<PathBuf>,
}

/// A sink that is watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Sink {
    /// The leaderboard.
    Redis,
    /// The neutral receiver.
    Webhook,
}

impl Sink {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Redis, Self::Webhook];

    /// The one that this is not.
    pub fn other(self) -> Self {
        match self {
            Self::Redis => Self::Webhook,
            Self::Webhook => Self::Redis,
        }
    }

    /// As users write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Redis => "redis",
            Self::Webhook => "webhook",
        }
    }
}

/// A topic, a processor with both lanes behind proxies, and everybody who watches.
pub struct Scene<'a> {
    common: &'a Common,
    addresses: &'a Addresses,
    database: Client,
    contents: Contents,
    transaction: u32,
    /// The pipeline and the leaderboard.
    pub name: String,
    /// What it reads.
    pub topic: String,
    /// In front of each sink.
    proxies: [Proxy; 2],
    /// The window's length.
    window: &'static str,
}

impl<'a> Scene<'a> {
    /// Makes an empty topic, contents, proxies.
    ///
    /// # Errors
    /// Something is not there.
    pub async fn set(common: &'a Common, addresses: &'a Addresses, window: &'static str) -> Result<Self> {
        let database = addresses.database().await?;
        let contents = contents::make(&database, &addresses.kafka_brokers, CONTENTS).await?;
        let transaction = contents::transaction(&database).await?;
        let name = format!("bench-{:08x}", rand::random::<u32>());
        let topic = format!("bench.{name}");
        topic::make(&addresses.kafka_brokers, &topic, PARTITIONS).await?;
        let redis = host_and_port(&addresses.redis_url)?;
        let receiver = watch::free_port().await?;
        let proxies = [Proxy::start(&redis).await?, Proxy::start(&receiver).await?];
        Ok(Self { common, addresses, database, contents, transaction, name, topic, proxies, window })
    }

    /// The proxy in front of a sink.
    pub fn proxy(&self, sink: Sink) -> &Proxy {
        let [redis, webhook] = &self.proxies;
        match sink {
            Sink::Redis => redis,
            Sink::Webhook => webhook,
        }
    }

    /// Messages of this scene.
    ///
    /// # Errors
    /// The messages to copy have another form.
    pub fn messages(&self) -> Result<Messages> {
        Messages::new(
            Kind { exponent: 1.0, with_schema: false, transaction: self.transaction, seed: 2 },
            &self.contents.ids,
        )
    }

    /// Starts a processor with these lanes.
    ///
    /// # Errors
    /// It can't be started.
    pub fn processor(&self, sinks: &[Sink]) -> Result<(Running, Watched)> {
        let receiver = self.proxy(Sink::Webhook).address.clone();
        let redis_url = self.redis_url()?;
        let lanes = Lanes {
            name: &self.name,
            topic: &self.topic,
            contents_topic: &self.contents.topic,
            brokers: &self.addresses.kafka_brokers,
            redis_url: sinks.contains(&Sink::Redis).then_some(&redis_url),
            receiver: sinks.contains(&Sink::Webhook).then_some(&receiver),
            workers: self.common.workers,
            window: self.window,
            discards: 0,
        };
        lanes.run(&self.common.deltafan)
    }

    /// The address of Redis, by way of its proxy.
    fn redis_url(&self) -> Result<String> {
        let direct = host_and_port(&self.addresses.redis_url)?;
        Ok(self.addresses.redis_url.replace(&direct, &self.proxy(Sink::Redis).address))
    }

    /// Begins to watch everything that comes to the topic.
    ///
    /// # Errors
    /// Something is not there.
    pub async fn watch(&self) -> Result<Watch> {
        let brokers = &self.addresses.kafka_brokers;
        let places = Places::new(PARTITIONS)?;
        let [bare, redis, webhook] = std::array::from_fn(|_| Arc::new(Moments::default()));
        let watchers = vec![
            watch::bare(brokers, &self.topic, places, Arc::clone(&bare))?,
            watch::redis(&self.addresses.redis_url, &self.name, places, Arc::clone(&redis))?,
        ];
        let receiver = watch::receiver(&self.proxy(Sink::Webhook).upstream, Arc::clone(&webhook)).await?;
        Ok(Watch { bare, sinks: [redis, webhook], watchers, receiver })
    }

    /// Writes so many records as fast as it goes; the sum of their durations in milliseconds.
    ///
    /// # Errors
    /// Kafka refuses.
    pub async fn fill(&self, records: usize) -> Result<i64> {
        let mut writer = self.writer(FILLING_LINGER_MS)?;
        tokio::task::spawn_blocking(move || {
            let mut sum_ms = 0;
            for index in 0..records {
                sum_ms += writer.write(index)?;
            }
            writer.finish()?;
            Ok(sum_ms)
        })
        .await?
    }

    /// Begins to write `rate` records a second, behind `written` ones.
    ///
    /// # Errors
    /// Kafka's client can't be made.
    pub fn load(&self, written: usize, rate: u32) -> Result<Load> {
        let linger_ms = u32::from(rate >= load::TOGETHER_FROM);
        Load::start(self.writer(linger_ms)?, written, rate)
    }

    fn writer(&self, linger_ms: u32) -> Result<Writer> {
        let (brokers, places) = (&self.addresses.kafka_brokers, Places::new(PARTITIONS)?);
        Writer::new(brokers, &self.topic, self.messages()?, places, linger_ms)
    }

    /// A connection to Redis, past the proxy.
    ///
    /// # Errors
    /// It is not there.
    pub async fn redis(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.addresses.redis_url.as_str())?;
        Ok(client.get_multiplexed_async_connection().await?)
    }

    /// Deletes what was made.
    ///
    /// # Errors
    /// Something does not answer.
    pub async fn take_back(self) -> Result<()> {
        topic::delete(&self.addresses.kafka_brokers, &self.topic).await?;
        let mut connection = self.redis().await?;
        let keys: Vec<String> =
            redis::cmd("KEYS").arg(format!("{{{}}}:*", self.name)).query_async(&mut connection).await?;
        redis::cmd("UNLINK").arg(&self.name).arg(keys).query_async::<()>(&mut connection).await?;
        contents::take_back(&self.database, &self.addresses.kafka_brokers, &self.contents).await
    }
}

/// Everybody who watches.
pub struct Watch {
    bare: Arc<Moments>,
    sinks: [Arc<Moments>; 2],
    watchers: Vec<Watcher>,
    receiver: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// When each record was in this sink.
    pub fn sink(&self, sink: Sink) -> &Moments {
        let [redis, webhook] = &self.sinks;
        match sink {
            Sink::Redis => redis,
            Sink::Webhook => webhook,
        }
    }

    /// What a sink took beyond what the bare consumer took, for the records that were due in this stretch of time.
    pub fn own_share(&self, load: &Load, sink: Sink, from: Instant, to: Instant) -> Quantiles {
        self.sink(sink).later_than(&self.bare, load.due(from)..load.due(to))
    }

    /// What the bare consumer took since the records were due.
    pub fn bare_share(&self, load: &Load, from: Instant, to: Instant) -> Quantiles {
        self.bare.later_than_due(|index| load.at(index), load.due(from)..load.due(to))
    }

    /// Waits until so many records are in these sinks.
    ///
    /// # Errors
    /// For two minutes nothing more comes.
    pub async fn all_in(&self, sinks: &[Sink], records: usize) -> Result<Duration> {
        let began = Instant::now();
        let (mut last, mut moved) = (0, began);
        loop {
            let counts: Vec<_> = sinks.iter().map(|sink| self.sink(*sink).count()).collect();
            if counts.iter().all(|count| *count >= records) {
                return Ok(began.elapsed());
            }
            let sum = counts.iter().sum();
            if sum > last {
                (last, moved) = (sum, Instant::now());
            }
            if moved.elapsed() > PATIENCE {
                bail!("{counts:?} of {records} records are in {sinks:?}, and no further ones come");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends the load and waits until everything is everywhere; how many records came to the receiver again.
    ///
    /// # Errors
    /// Something is missing.
    pub async fn finish(self, load: &Load) -> Result<u64> {
        load.stop()?;
        let written = load.next();
        self.all_in(&Sink::ALL, written).await?;
        let bare = self.bare.count();
        for watcher in self.watchers {
            watcher.stop()?;
        }
        self.receiver.abort();
        ensure!(bare == written, "the bare consumer had {bare} of {written} records");
        let [_, webhook] = &self.sinks;
        Ok(webhook.repeats())
    }
}

/// `host:port` within an address.
fn host_and_port(url: &str) -> Result<String> {
    let url = reqwest::Url::parse(url)?;
    let (Some(host), Some(port)) = (url.host_str(), url.port()) else { bail!("{url} has no host and port") };
    Ok(format!("{host}:{port}"))
}
