//! A pipeline under load, with a proxy between each instance and each sink: what faults strike.

use super::exact::{Exact, exact};
use super::load::Transactions;
use super::plan::{Shape, Sink};
use crate::harness::bench::COMPLETE;
use crate::harness::changes::Changes;
use crate::harness::config::{By, Window};
use crate::harness::disk::SmallDisk;
use crate::harness::group::Group;
use crate::harness::kafka::Offsets;
use crate::harness::process::Process;
use crate::harness::proxy::{Proxy, Speaks};
use crate::harness::stack::host_of;
use crate::harness::wait::{self, Look};
use crate::harness::{Bench, Plan, Processor, Receiver};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How long a request may take until the processor gives it up: shorter than by default, so that a run is short.
const WEBHOOK_TIMEOUT: &str = "3s";
const STOP: Duration = Duration::from_secs(60);
/// The lanes have four partitions: with three instances of one worker each has one or two.
const WORKERS: usize = 1;

/// All that a run works with.
pub struct World<'b> {
    /// The stack, and a folder of the run's own.
    pub bench: &'b Bench,
    /// The pipeline, without proxies: for whoever only looks.
    pub plan: Plan,
    /// The receiver itself.
    pub receiver: Receiver,
    /// What the receiver's store lies on, where that is to be filled; or why it can't be.
    pub disk: Result<SmallDisk, String>,
    /// The instances.
    pub instances: Vec<Instance>,
    /// What happens to the table.
    pub changes: Changes<'b>,
    /// Records that nobody can decode, put into the topic so far.
    pub poisoned: usize,
    generator: Process,
    transactions: Transactions,
}

/// An instance of the processor, and its ways to the sinks and to Postgres.
pub struct Instance {
    /// Its process and admin port.
    pub processor: Processor,
    redis: Proxy,
    webhook: Proxy,
    postgres: Proxy,
}

/// Where a way of an instance leads.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// To a sink.
    Sink(Sink),
    /// To Postgres.
    Postgres,
}

impl Way {
    /// Where it leads, in a word.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sink(sink) => sink.name(),
            Self::Postgres => "postgres",
        }
    }
}

impl Instance {
    /// The way to a sink.
    pub fn proxy(&self, sink: Sink) -> &Proxy {
        match sink {
            Sink::Redis => &self.redis,
            Sink::Webhook => &self.webhook,
        }
    }

    /// Writes to a sink that failed, as the instance tells it.
    pub async fn errors(&self, pipeline: &str, sink: Sink) -> Result<f64> {
        let labels = [("pipeline", pipeline), ("sink", sink.name())];
        Ok(self.processor.admin.metrics().await?.sum("deltafan_sink_errors_total", &labels))
    }
}

/// How far each sink is, in units of its own that only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Progress {
    /// The sum of the positions that the first window holds; none where Redis can't be asked.
    pub redis: Option<i64>,
    /// Events stored; none where the receiver can't be asked.
    pub webhook: Option<i64>,
}

impl Progress {
    /// That of one sink.
    pub fn of(self, sink: Sink) -> Option<i64> {
        match sink {
            Sink::Redis => self.redis,
            Sink::Webhook => self.webhook,
        }
    }

    /// How much the quicker one has got on since.
    pub fn since(self, before: Self) -> i64 {
        let grown = |sink| Some(self.of(sink)? - before.of(sink)?);
        Sink::ALL.into_iter().filter_map(grown).max().unwrap_or(0)
    }
}

impl<'b> World<'b> {
    /// Starts everything, and waits until all instances are ready and rows come in.
    pub async fn begin(bench: &'b Bench, instances: usize, load: &Shape) -> Result<Self> {
        Self::begin_on(bench, instances, load, Err("nobody wants to fill it".to_owned())).await
    }

    /// The same, with the receiver's store on a disk of its own.
    pub async fn begin_on(
        bench: &'b Bench,
        instances: usize,
        load: &Shape,
        disk: Result<SmallDisk, String>,
    ) -> Result<Self> {
        let changes = Changes::watch(bench).await?;
        let receiver = bench.receiver_on(disk.as_ref().map_or(&bench.folder, SmallDisk::folder)).await?;
        let mut plan = bench.plan(&receiver)?;
        plan.workers = WORKERS;
        plan.webhook_timeout = WEBHOOK_TIMEOUT;
        for (by, name) in [(By::ContentType, "types"), (By::Device, "devices")] {
            plan.windows.push(Window { key: format!("{}:1h:{name}", plan.pipeline), length: "1h", by });
        }
        let mut started = Vec::new();
        for number in 0..instances {
            started.push(instance(bench, &plan, number).await?);
        }
        for instance in &started {
            instance.processor.admin.ready().await?;
        }
        let words = generate(load);
        let words: Vec<_> = words.iter().map(String::as_str).collect();
        let generator = bench.deltafan("generate", &words).start()?;
        let transactions = Transactions::start(bench, load).await?;
        Ok(Self {
            bench,
            plan,
            receiver,
            disk,
            instances: started,
            changes,
            poisoned: 0,
            generator,
            transactions,
        })
    }

    /// An instance that there is.
    pub fn instance(&mut self, number: usize) -> Result<&mut Instance> {
        self.instances.get_mut(number).with_context(|| format!("there is no instance {number}"))
    }

    /// The ways of all instances to a server.
    pub fn proxies(&self, way: Way) -> impl Iterator<Item = &Proxy> {
        self.instances.iter().map(move |instance| match way {
            Way::Sink(sink) => instance.proxy(sink),
            Way::Postgres => &instance.postgres,
        })
    }

    /// How far each sink is. What can't be asked is left out.
    pub async fn progress(&self) -> Progress {
        // Not through the proxies: what they do is done to the processor alone.
        let (stats, positions) = tokio::join!(
            tokio::time::timeout(ASK, self.receiver.remote.stats()),
            tokio::time::timeout(ASK, self.positions())
        );
        Progress {
            redis: positions
                .ok()
                .and_then(Result::ok)
                .filter(|positions| !positions.is_empty())
                .map(|all| all.iter().sum()),
            webhook: stats.ok().and_then(Result::ok).map(|stats| stats.total_events),
        }
    }

    /// The positions that the first window holds, in the order of their partitions.
    pub async fn positions(&self) -> Result<Vec<i64>> {
        let key = format!("{{{}}}:positions", self.plan.key()?);
        let mut held = self.bench.redis.numbers_by_name(&key).await?;
        // How much of the table is in, where the window was made from it.
        held.remove("pieces");
        Ok(held.into_values().collect())
    }

    /// How much one sink has taken, which must answer: positions passed, or events stored and refused as known.
    pub async fn taken(&self, sink: Sink) -> Result<i64> {
        match sink {
            Sink::Redis => Ok(self.positions().await?.iter().sum()),
            Sink::Webhook => {
                let stats = self.receiver.remote.stats().await?;
                Ok(stats.total_events + stats.duplicates)
            }
        }
    }

    /// What the group of a lane has committed.
    pub async fn committed(&self, sink: Sink) -> Result<Offsets> {
        self.bench.kafka.committed(&self.plan.group(sink.name()), &self.plan.topic).await
    }

    /// The group of a lane, as the broker sees it.
    pub async fn group(&self, sink: Sink) -> Result<Group> {
        Group::watch(&self.bench.kafka, &self.plan.group(sink.name())).await
    }

    /// Waits until so many records more have had their effect in one of the sinks.
    pub async fn flows(&mut self, records: i64) -> Result<()> {
        let before = self.progress().await;
        self.still_comes_in()?;
        wait::until(&format!("{records} records flow"), COMPLETE, async || {
            let flowed = self.progress().await.since(before);
            Ok(if flowed >= records { Look::Seen(()) } else { Look::NotYet(format!("{flowed} have")) })
        })
        .await
    }

    /// Waits until so many changes more have been committed; how many were.
    pub async fn comes_in(&mut self, changes: i64) -> Result<i64> {
        let before = self.changes.count().await?;
        self.still_comes_in()?;
        wait::until(&format!("{changes} changes come in"), COMPLETE, async || {
            let came = self.changes.count().await? - before;
            Ok(if came >= changes { Look::Seen(came) } else { Look::NotYet(format!("{came} have")) })
        })
        .await
    }

    fn still_comes_in(&mut self) -> Result<()> {
        ensure!(self.generator.runs(), "the generator has ended by itself");
        ensure!(self.transactions.run(), "the transactions have ended by themselves");
        Ok(())
    }

    /// Ends the load.
    async fn quiet(&mut self) -> Result<()> {
        self.transactions.finish().await?;
        let status = self.generator.terminate(STOP).await?;
        ensure!(status.success(), "deltafan generate ended with {status}");
        Ok(())
    }

    /// Lets no rows come in, or lets them come in again.
    pub async fn pause(&mut self, is_paused: bool) -> Result<()> {
        self.transactions.pause(is_paused);
        if is_paused { self.generator.freeze(STOP).await } else { self.generator.thaw() }
    }

    /// Ends the load and compares what happened with both sinks.
    pub async fn finish(&mut self) -> Result<Exact> {
        self.quiet().await?;
        for instance in &mut self.instances {
            ensure!(instance.processor.process.runs(), "an instance has ended by itself");
        }
        let happened = self.changes.all().await?;
        let mut exact = exact(self.bench, &self.plan, &self.receiver, happened).await?;
        exact.verify(self.bench, &self.plan).await?;
        Ok(exact)
    }

    /// Takes away what must not outlive a run that has failed: whoever writes while the trigger goes.
    pub async fn give_up(&mut self) {
        // It may have ended by itself, which is then what is told already.
        let _ = self.generator.kill();
        let _ = self.transactions.finish().await;
    }
}

/// How long a look at a sink may take.
const ASK: Duration = Duration::from_millis(500);

/// Starts an instance behind proxies of its own.
pub async fn instance(bench: &Bench, plan: &Plan, number: usize) -> Result<Instance> {
    let mut own = plan.clone();
    let (to_redis, to_webhook) = (host_of(&plan.redis_url)?, host_of(&plan.webhook_url)?);
    let redis = Proxy::start(&bench.stack.free_address()?, &to_redis, Speaks::Redis).await?;
    let webhook = Proxy::start(&bench.stack.free_address()?, &to_webhook, Speaks::Http).await?;
    own.redis_url = plan.redis_url.replace(&to_redis, &redis.address);
    own.webhook_url = plan.webhook_url.replace(&to_webhook, &webhook.address);
    let database = bench.stack.get("PROCESSOR_DATABASE_URL")?;
    let to_postgres = host_of(database)?;
    let postgres = Proxy::start(&bench.stack.free_address()?, &to_postgres, Speaks::Bytes).await?;
    own.postgres_url = database.replace(&to_postgres, &postgres.address);
    let processor = bench.start(&own, &format!("instance-{number}"))?;
    Ok(Instance { processor, redis, webhook, postgres })
}

fn generate(load: &Shape) -> Vec<String> {
    let share = |percent: u32| format!("{:.2}", f64::from(percent) / 100.0);
    let words = [
        ("--rate", load.rate.to_string()),
        ("--seed", load.seed.to_string()),
        ("--null-share", share(5)),
        ("--late-share", share(5)),
        ("--update-share", share(load.updates)),
        ("--delete-share", share(load.deletes)),
    ];
    let options = words.into_iter().flat_map(|(name, value)| [name.to_owned(), value]);
    std::iter::once("generate".to_owned()).chain(options).collect()
}
