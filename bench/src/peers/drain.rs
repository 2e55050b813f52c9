//! One turn of one contender: it drains the topic, and what it did is looked at from outside, the same way for all.

use super::contender::{Contender, Program, Task};
use super::line::{Costs, Line};
use super::{Options, board};
use crate::cost::Watched;
use crate::neutral::Neutral;
use crate::pipeline::Addresses;
use crate::topic::Filled;
use anyhow::{Context, Result, ensure};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How often the receiver is asked. It bounds the error of a run's time.
const ASK: Duration = Duration::from_millis(10);
/// How often Redis is asked too while the receiver has not everything: a leaderboard is dear to read.
const ASK_REDIS: Duration = Duration::from_millis(500);
/// No turn takes longer.
const PATIENCE: Duration = Duration::from_secs(600);
/// Users differ in every record and every contender sends them on: they serve as ids.
const BEFORE_ID: &str = "\"user_id\":\"";

pub(super) struct Drain<'a> {
    pub addresses: &'a Addresses,
    pub options: &'a Options,
    pub filled: &'a Filled,
    pub contents_topic: &'a str,
    pub parts: &'a [Watched],
    pub run: u32,
}

/// Where to look, since when.
struct Looks<'a> {
    contender: Contender,
    name: &'a str,
    receiver: &'a Neutral,
    began: Instant,
}

/// When it began to show, and when both sinks had everything.
struct Moments {
    began: Instant,
    first: Instant,
    last: Instant,
}

impl Drain<'_> {
    /// A line for each time that the contender drained the topic: twice, cold and warm, for Kafka Streams.
    pub(super) async fn run(
        &self,
        contender: Contender,
        tell: &mut impl FnMut(Line) -> Result<()>,
    ) -> Result<()> {
        let mut program = None;
        if contender == Contender::KafkaStreams {
            tell(self.once(contender, "kafka-streams-cold", &mut program).await?)?;
        }
        tell(self.once(contender, contender.name(), &mut program).await?)
    }

    async fn once(&self, contender: Contender, called: &str, program: &mut Option<Program>) -> Result<Line> {
        let name = format!("bench-{:08x}", rand::random::<u32>());
        let mut redis = self.redis().await?;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await?;
        let receiver = Neutral::start(&self.options.receiver, BEFORE_ID).await?;
        let load_average = load_average()?;
        let mut watched = vec![];
        if let Some(program) = program {
            watched.push(program.watched.clone());
        }
        watched.extend(self.parts.iter().cloned());
        watched.push(receiver.watched.clone());
        let before = watched.iter().map(Watched::cpu_seconds).collect::<Result<Vec<_>>>()?;
        let task = self.task(&name);
        let began = Instant::now();
        let (program, started) = match program {
            Some(program) => {
                task.goes_on(program)?;
                (program, before)
            }
            None => {
                let program = program.insert(task.start(contender)?);
                watched.insert(0, program.watched.clone());
                (program, [vec![0.0], before].concat())
            }
        };
        let looks = Looks { contender, name: &name, receiver: &receiver, began };
        let moments = self.until_drained(&looks, program, &mut redis).await?;
        let spent = watched.iter().zip(started).map(|(watched, before)| Ok(watched.cpu_seconds()? - before));
        let spent = spent.collect::<Result<Vec<_>>>()?;
        let peak_mib = watched.first().context("nothing is watched")?.peak_mib()?;
        let scores = self.scores(contender, &name, &mut redis).await?;
        let (events, ids) = (receiver.posted().await?, receiver.distinct().await?);
        let records = self.records()?;
        let fault = board::fault(&scores, &self.filled.totals).or_else(|| {
            (ids != records).then(|| format!("the receiver has {ids} distinct ids of {records}"))
        });
        let seconds = moments.last.duration_since(moments.first).as_secs_f64();
        let million = f64::from(self.options.records) / 1_000_000.0;
        Ok(Line {
            measured: "peers".to_owned(),
            contender: called.to_owned(),
            run: self.run,
            records: self.options.records,
            partitions: self.options.partitions,
            contents: self.options.contents,
            with_schema: self.options.with_schema,
            events_per_second: f64::from(self.options.records) / seconds,
            seconds,
            start_seconds: moments.first.saturating_duration_since(moments.began).as_secs_f64(),
            cpu_seconds_per_million: Costs::of(&spent, million)?,
            peak_mib,
            repeats: events.saturating_sub(ids),
            cores: std::thread::available_parallelism()?.get(),
            load_average,
            fault,
        })
    }

    fn task<'t>(&'t self, name: &'t str) -> Task<'t> {
        Task {
            addresses: self.addresses,
            options: self.options,
            topic: &self.filled.topic,
            contents_topic: self.contents_topic,
            name,
        }
    }

    fn records(&self) -> Result<usize> {
        Ok(usize::try_from(self.options.records)?)
    }

    async fn redis(&self) -> Result<MultiplexedConnection> {
        let client = redis::Client::open(self.addresses.redis_url.as_str())?;
        // On a machine with both cores busy an answer takes longer than the half second that is the default.
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }

    async fn scores(
        &self,
        contender: Contender,
        name: &str,
        redis: &mut MultiplexedConnection,
    ) -> Result<board::Scores> {
        if contender.is_deltafan() {
            board::of_deltafan(redis, name).await
        } else {
            board::of_peer(redis, name).await
        }
    }

    async fn until_drained(
        &self,
        looks: &Looks<'_>,
        program: &mut Program,
        redis: &mut MultiplexedConnection,
    ) -> Result<Moments> {
        let Looks { contender, name, receiver, began } = *looks;
        let all = self.records()?;
        let (mut before, mut first, mut asked_redis) = (began, None, began);
        let (mut full, mut posted) = (false, false);
        loop {
            let now = Instant::now();
            let at_receiver = receiver.posted().await?;
            // Until something shows, a leaderboard is empty and costs nothing to read.
            if !full && (first.is_none() || posted || now.duration_since(asked_redis) > ASK_REDIS) {
                let scores = self.scores(contender, name, redis).await?;
                full = board::is_full(&scores, &self.filled.totals);
                asked_redis = now;
                if first.is_none() && !scores.is_empty() {
                    first = Some(before);
                }
            }
            if first.is_none() && at_receiver > 0 {
                // It came after the sinks were asked the time before.
                first = Some(before);
            }
            // What was sent again counts as well: as many events as records need not be all records.
            posted = posted || at_receiver >= all && receiver.distinct().await? >= all;
            if let (Some(first), true, true) = (first, full, posted) {
                return Ok(Moments { began, first, last: Instant::now() });
            }
            ensure!(
                !program.running.has_ended()? && now.duration_since(began) < PATIENCE,
                "it has ended, or takes longer than {PATIENCE:?}: the receiver has {at_receiver} events of {all} and redis {}; its log is {name}.log in {}",
                if full { "everything" } else { "not everything" },
                std::env::temp_dir().display()
            );
            before = now;
            sleep(ASK).await;
        }
    }
}

/// How many processes wanted a core in the last minute: above two, others worked on this machine too.
fn load_average() -> Result<f64> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split_whitespace().next().context("an empty load average")?.parse()?)
}
