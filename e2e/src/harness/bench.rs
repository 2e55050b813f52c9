//! The bench of one scenario: a folder, a clean stack, and processes of its own.

use super::config::{By, Plan, SINKS};
use super::connect::Connect;
use super::db::{CONTENT_PREFIX, Db};
use super::disk;
use super::effects;
use super::kafka::{DEAD_LETTERS, EVENTS, Kafka, Offsets};
use super::process::Recipe;
use super::processor::Processor;
use super::receiver::{Event, Receiver, Stats};
use super::redis::Redis;
use super::stack::Stack;
use super::wait::{self, seen_if};
use super::{Measured, check};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What a scenario works with.
pub struct Bench {
    /// The scenario's name, from which names of pipelines and keys are made.
    pub name: String,
    /// The stack.
    pub stack: Arc<Stack>,
    /// Logs, configurations and stores.
    pub folder: PathBuf,
    /// Postgres.
    pub db: Db,
    /// Redis.
    pub redis: Redis,
    /// Kafka.
    pub kafka: Kafka,
    /// Where the dead-letter topic ended when the scenario began.
    pub letters_from: Offsets,
}

/// How long the effects of a load may take to be complete. Generous: this is no measurement.
pub const COMPLETE: Duration = Duration::from_secs(180);

impl Bench {
    /// A bench on a stack that is emptied first: table, topic, Redis. No processor may run.
    pub async fn new(stack: &Arc<Stack>, folder: PathBuf, name: &str) -> Result<Self> {
        disk::unmount_below(&folder);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let kafka = Kafka::new(stack.get("KAFKA_BROKERS")?);
        let bench = Self {
            // Unique, so that a scenario run twice on one stack has new groups.
            name: format!("{name}-{:08x}", rand::random::<u32>()),
            stack: Arc::clone(stack),
            folder,
            db: Db::connect(stack.get("POSTGRES_URL")?).await?,
            redis: Redis::new(stack.get("REDIS_URL")?)?,
            letters_from: kafka.ends(DEAD_LETTERS).await?,
            kafka,
        };
        bench.reset().await?;
        Ok(bench)
    }

    async fn reset(&self) -> Result<()> {
        // No processor runs that would do it: Kafka can fail a task for reasons of its own (docs/adr/0108).
        Connect::new(&self.stack)?.restart_failed().await?;
        self.kafka.caught_up(&self.db).await?;
        // A truncate is not replicated: neither topic nor sinks hear of it.
        self.db.run("TRUNCATE engagement_events").await?;
        self.db.execute("DELETE FROM content WHERE starts_with(slug, $1)", &[&CONTENT_PREFIX]).await?;
        self.kafka.empty(EVENTS).await?;
        self.redis.run(&["FLUSHALL"]).await
    }

    /// A receiver with a fresh store.
    pub async fn receiver(&self) -> Result<Receiver> {
        self.receiver_on(&self.folder).await
    }

    /// A receiver whose store is in `folder`.
    pub async fn receiver_on(&self, folder: &Path) -> Result<Receiver> {
        let address = self.stack.free_address()?;
        let mut env = self.stack.env().clone();
        env.insert("WEBHOOK_LISTEN".to_owned(), address.clone());
        env.insert("WEBHOOK_STORE".to_owned(), folder.join("receiver.db").display().to_string());
        let recipe = Recipe {
            name: "the receiver".to_owned(),
            program: self.stack.binary("webhook-sink"),
            arguments: Vec::new(),
            env,
            log: self.folder.join("receiver.log"),
        };
        Receiver::start(recipe, &address).await
    }

    /// A pipeline of this scenario's own, with one window of an hour.
    pub fn plan(&self, receiver: &Receiver) -> Result<Plan> {
        Plan::new(&self.stack, &self.name, &receiver.address)
    }

    /// How to run `deltafan` with these arguments; its output goes to `<log>.log`.
    pub fn deltafan(&self, log: &str, arguments: &[&str]) -> Recipe {
        Recipe {
            name: format!("deltafan ({log})"),
            program: self.stack.binary("deltafan"),
            arguments: arguments.iter().map(Into::into).collect(),
            env: self.stack.env().clone(),
            log: self.folder.join(format!("{log}.log")),
        }
    }

    /// Starts an instance called `name`; does not wait until it is ready.
    pub fn start(&self, plan: &Plan, name: &str) -> Result<Processor> {
        let admin = self.stack.free_address()?;
        let config = plan.write(&self.stack, &self.folder, name, &admin)?;
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        Processor::start(self.deltafan(name, &["run", "--config", config]), &admin)
    }

    /// Starts an instance and waits until it is ready.
    pub async fn processor(&self, plan: &Plan) -> Result<Processor> {
        let processor = self.start(plan, "deltafan")?;
        processor.admin.ready().await?;
        Ok(processor)
    }

    /// Waits until no lane of the plan is behind.
    pub async fn no_lag(&self, plan: &Plan) -> Result<()> {
        wait::until("the lag is zero", COMPLETE, async || {
            let mut lags = Vec::new();
            for sink in SINKS {
                lags.push(self.kafka.lag(&plan.group(sink), &plan.topic).await?);
            }
            Ok(seen_if(lags.iter().all(|lag| *lag == 0), || format!("{lags:?}")))
        })
        .await
    }

    /// Waits until the receiver holds `expected` events; its figures.
    pub async fn receiver_holds(&self, receiver: &Receiver, expected: i64) -> Result<Stats> {
        wait::until(&format!("the receiver holds {expected} events"), COMPLETE, async || {
            let stored = receiver.remote.stats().await?.total_events;
            Ok(seen_if(stored >= expected, || format!("{stored} are there")))
        })
        .await?;
        receiver.remote.stats().await
    }

    /// For a table that only had inserts, none with a negative duration: waits until both sinks are complete and no lane
    /// is behind, then compares both with the table at one instant: Redis to the millisecond, the receiver row by row.
    pub async fn complete(&self, plan: &Plan, receiver: &Receiver, measured: &mut Measured) -> Result<()> {
        let rows = self.db.count_events().await?;
        self.receiver_holds(receiver, rows).await?;
        effects::board_equals_sql(&self.db, &self.redis, (plan.key()?, By::Content), "1 hour", COMPLETE)
            .await?;
        self.no_lag(plan).await?;
        // Again, now that nothing can come any more: an effect too many may have come last.
        let expected = effects::board_by_sql(&self.db, "1 hour", By::Content).await?;
        let actual = self.redis.board(plan.key()?).await?;
        check::no_differences("Redis and SQL", &effects::board_differences(&actual, &expected))?;
        let stats = self.each_row_once(receiver).await?;
        measured
            .add(format!("{rows} rows once at the receiver, {} contents in Redis to the ms", actual.len()));
        if stats.duplicates > 0 {
            measured.add(format!("{} repeats refused", stats.duplicates));
        }
        Ok(())
    }

    async fn each_row_once(&self, receiver: &Receiver) -> Result<Stats> {
        let rows = self.db.rows("SELECT id FROM engagement_events", &[]).await?;
        let expected: BTreeSet<i64> = rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?;
        let events = receiver.remote.events().await?;
        let stats = receiver.remote.stats().await?;
        check::equal("events listed and counted", i64::try_from(events.len())?, stats.total_events)?;
        let ids: BTreeSet<_> = events.iter().map(|event| event.event_id.as_str()).collect();
        check::equal("distinct event ids", ids.len(), events.len())?;
        let other: Vec<_> =
            events.iter().filter(|event| event.op != "c").map(|event| event.json.clone()).collect();
        check::no_differences("events that are no inserts", &other)?;
        check::no_differences("rows at the receiver and in the table", &id_differences(&events, &expected))?;
        check::equal("events at the receiver", events.len(), expected.len())?;
        check::equal("rejected by the receiver", stats.rejected, 0)?;
        Ok(stats)
    }
}

fn id_differences(events: &[Event], expected: &BTreeSet<i64>) -> Vec<String> {
    let has: BTreeSet<i64> = events.iter().map(|event| event.id).collect();
    let missing = expected.difference(&has).map(|id| format!("row {id} is not at the receiver"));
    let strange = has.difference(expected).map(|id| format!("row {id} is not in the table"));
    missing.chain(strange).collect()
}
