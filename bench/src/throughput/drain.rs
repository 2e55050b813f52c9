//! One run: a new processor with groups and a leaderboard of its own drains the topic.

use super::Options;
use crate::cost::Watched;
use crate::neutral::Neutral;
use crate::pipeline::Addresses;
use crate::processor::{Lanes, Running};
use crate::receiver::EVENT_ID;
use crate::topic::{self, Filled};
use anyhow::{Context, Result, bail, ensure};
use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, AsyncConnectionConfig};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often the sinks are asked. It bounds the error of a run's time.
const ASK: Duration = Duration::from_millis(10);
/// Memory is told for stretches of this length.
const LOOK: Duration = Duration::from_secs(10);
/// No run takes longer.
const PATIENCE: Duration = Duration::from_secs(1800);
/// A leaderboard's score is a double next to a thousandth.
const TOLERANCE: f64 = 0.000_5;

pub(super) struct Drain<'a> {
    pub addresses: &'a Addresses,
    pub options: &'a Options,
    pub filled: &'a Filled,
    pub contents_topic: &'a str,
    pub parts: &'a [Watched],
}

/// What a processor holds in the course of a run.
#[derive(Debug, Default)]
struct Memory {
    /// The sum of what was seen in each stretch of [`LOOK`], and how often that was.
    seen: Vec<(f64, u32)>,
}

impl Memory {
    fn look(&mut self, processor: &Watched, since: Duration) -> Result<()> {
        let stretch = usize::try_from(since.as_secs() / LOOK.as_secs())?;
        if self.seen.len() <= stretch {
            self.seen.resize(stretch + 1, (0.0, 0));
        }
        if let Some((sum, looks)) = self.seen.get_mut(stretch) {
            *sum += processor.resident_mib()?;
            *looks += 1;
        }
        Ok(())
    }

    /// The mean of each whole stretch.
    fn stretches(&self) -> Vec<f64> {
        let whole = self.seen.iter().take(self.seen.len().saturating_sub(1)).skip(1);
        whole.filter(|(_, looks)| *looks > 0).map(|(sum, looks)| sum / f64::from(*looks)).collect()
    }
}

/// How a run went.
#[derive(Debug)]
pub(super) struct Drained {
    records: f64,
    /// From the first effect in either sink until the last one in both.
    pub seconds: f64,
    pub redis_seconds: f64,
    pub receiver_seconds: f64,
    /// From the start of the processor to the first effect.
    start_seconds: f64,
    /// CPU-seconds per million records, by process.
    pub costs: Vec<(&'static str, f64)>,
    /// What the processor held at most.
    pub peak_mib: f64,
    /// What it held in each stretch of [`LOOK`] on average, but for the first and the last one.
    resident_mib: Vec<f64>,
    /// Events that came to the receiver more than once.
    pub repeats: usize,
}

impl Drain<'_> {
    pub(super) async fn run(&self) -> Result<Drained> {
        let name = format!("bench-{:08x}", rand::random::<u32>());
        let receiver = Neutral::start(&self.options.receiver, EVENT_ID).await?;
        let mut watched = self.parts.to_vec();
        watched.push(receiver.watched.clone());
        let before = cpu(&watched)?;
        let began = Instant::now();
        let (running, processor) = self.processor(&name)?;
        let mut memory = Memory::default();
        let (first, redis, posted) =
            self.until_drained(&name, &receiver, began, || memory.look(&processor, began.elapsed())).await?;
        self.until_discarded(&name).await?;
        let after = cpu(&watched)?;
        let own = processor.cpu_seconds()?;
        let peak_mib = processor.peak_mib()?;
        drop(running);
        let repeats = self.check(&name, &receiver).await?;
        let records = as_f64(self.records()?);
        let million = records / 1_000_000.0;
        let mut costs = vec![("processor", own / million)];
        for ((watched, before), after) in watched.iter().zip(before).zip(after) {
            costs.push((watched.name, (after - before) / million));
        }
        let since = |at: Instant| at.saturating_duration_since(first).as_secs_f64();
        Ok(Drained {
            records,
            seconds: since(redis).max(since(posted)),
            redis_seconds: since(redis),
            receiver_seconds: since(posted),
            start_seconds: first.saturating_duration_since(began).as_secs_f64(),
            costs,
            peak_mib,
            resident_mib: memory.stretches(),
            repeats,
        })
    }

    fn wants(&self, sink: &str) -> bool {
        self.options.only.as_deref().is_none_or(|only| only == sink)
    }

    fn records(&self) -> Result<usize> {
        Ok(usize::try_from(self.options.records)?)
    }

    fn processor(&self, name: &str) -> Result<(Running, Watched)> {
        let Options { workers, window, receiver, discards, .. } = self.options;
        let lanes = Lanes {
            name,
            topic: &self.filled.topic,
            contents_topic: self.contents_topic,
            brokers: &self.addresses.kafka_brokers,
            redis_url: self.wants("redis").then_some(&self.addresses.redis_url),
            receiver: self.wants("webhook").then_some(receiver),
            workers: *workers,
            window,
            discards: *discards,
        };
        lanes.run(&self.options.deltafan)
    }

    async fn redis(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.addresses.redis_url.as_str())?;
        // On a machine with both cores busy an answer takes longer than the half second that is the default.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    /// When the first effect was there, and when Redis and the receiver had everything.
    async fn until_drained(
        &self,
        name: &str,
        receiver: &Neutral,
        began: Instant,
        mut look: impl FnMut() -> Result<()>,
    ) -> Result<(Instant, Instant, Instant)> {
        let all = self.records()?;
        let mut connection = self.redis().await?;
        let positions = format!("{{{name}}}:positions");
        let (mut asked, mut first, mut redis, mut posted) = (began, None, None, None);
        loop {
            let held: BTreeMap<String, usize> = connection.hgetall(&positions).await?;
            look()?;
            let (in_redis, at_receiver) = (held.values().sum::<usize>(), receiver.posted().await?);
            let now = Instant::now();
            if first.is_none() && in_redis + at_receiver > 0 {
                // It came after the sinks were asked the time before.
                first = Some(asked);
            }
            if now.duration_since(began) > PATIENCE {
                bail!("after {PATIENCE:?} Redis has {in_redis} of {all} records, the receiver {at_receiver}");
            }
            if redis.is_none() && (in_redis >= all || !self.wants("redis")) {
                redis = Some(now);
            }
            // What was sent again counts as well: as many events as records need not be all records.
            if posted.is_none()
                && (!self.wants("webhook") || at_receiver >= all && receiver.distinct().await? >= all)
            {
                posted = Some(now);
            }
            if let (Some(first), Some(redis), Some(posted)) = (first, redis, posted) {
                return Ok((first, redis, posted));
            }
            asked = now;
            sleep(ASK).await;
        }
    }

    /// Waits until the lanes that keep nothing have committed all.
    async fn until_discarded(&self, name: &str) -> Result<()> {
        for number in 1..=self.options.discards {
            let group = format!("deltafan.{name}.discard{number}");
            let (all, began) = (self.records()?, Instant::now());
            while topic::committed(&self.addresses.kafka_brokers, &group, &self.filled.topic).await? < all {
                ensure!(began.elapsed() < PATIENCE, "lane discard{number} has not come to the end");
                sleep(ASK).await;
            }
        }
        Ok(())
    }

    /// Nothing missing, nothing counted twice; how many events were sent again, as the wire is at least once (when the group
    /// shares its partitions out, for instance), which a receiver tells by their ids.
    async fn check(&self, name: &str, receiver: &Neutral) -> Result<usize> {
        let mut repeats = 0;
        let mut connection = self.redis().await?;
        if self.wants("redis") {
            let board: Vec<(String, f64)> = connection.zrange_withscores(name, 0, -1).await?;
            ensure!(board.len() == self.filled.totals.len(), "{} contents on the board", board.len());
            for (content, score) in board {
                let ms = self.filled.totals.get(&content.parse()?).with_context(|| content.clone())?;
                let expected = as_f64(usize::try_from(*ms)?) / 1000.0;
                ensure!((score - expected).abs() < TOLERANCE, "{content}: {score} where {expected} is right");
            }
        }
        if self.wants("webhook") {
            let (events, ids) = (receiver.posted().await?, receiver.distinct().await?);
            ensure!(ids == self.records()?, "{ids} distinct ids at the receiver");
            repeats = events.saturating_sub(ids);
        }
        let mut keys: Vec<String> = connection.keys(format!("{{{name}}}:*")).await?;
        keys.push(name.to_owned());
        connection.unlink::<_, ()>(keys).await?;
        Ok(repeats)
    }
}

#[allow(clippy::cast_precision_loss, reason = "far below 2^52")]
fn as_f64(count: usize) -> f64 {
    count as f64
}

fn cpu(watched: &[Watched]) -> Result<Vec<f64>> {
    watched.iter().map(Watched::cpu_seconds).collect()
}

impl Drained {
    /// What it held in the first and in the last tenth of a run of minutes, and in the stretch in which it held most.
    pub(super) fn memory(&self) -> Option<String> {
        let stretches = &self.resident_mib;
        let tenth = (stretches.len() / 10).max(1);
        if stretches.len() < 3 {
            return None;
        }
        let mean = |part: &[f64]| part.iter().sum::<f64>() / part.iter().map(|_| 1.0).sum::<f64>();
        let (first, last) = (stretches.get(..tenth)?, stretches.get(stretches.len() - tenth..)?);
        let most = stretches.iter().copied().fold(0.0, f64::max);
        Some(format!(
            "resident {:.0} MiB in the first tenth, {:.0} in the last, {most:.0} in the stretch with most",
            mean(first),
            mean(last)
        ))
    }

    /// Events per second, each in both sinks.
    pub(super) fn rate(&self) -> f64 {
        self.records / self.seconds
    }

    /// Adds a line of JSON to the file of raw results.
    pub(super) fn keep(&self, path: &Path, run: u32, options: &Options) -> Result<()> {
        let costs: BTreeMap<_, _> = self.costs.iter().copied().collect();
        let line = json!({
            "run": run, "records": options.records, "partitions": options.partitions, "contents": options.contents,
            "exponent": options.exponent, "compression": options.compression.name(),
            "with_schema": options.with_schema, "window": options.window, "workers": options.workers,
            "only": options.only, "discards": options.discards, "events_per_second": self.rate(), "seconds": self.seconds,
            "redis_seconds": self.redis_seconds, "receiver_seconds": self.receiver_seconds,
            "start_seconds": self.start_seconds, "cpu_seconds_per_million": costs, "peak_mib": self.peak_mib,
            "resident_mib": self.resident_mib, "repeats": self.repeats,
        });
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        writeln!(file, "{line}")?;
        Ok(())
    }
}
