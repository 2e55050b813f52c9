//! The scenarios, in the order in which they begin: each stack takes the next one that nobody has taken.

mod attach;
mod batching;
mod compressed;
mod config_errors;
mod connector_failed;
mod dashboard;
mod database_set_back;
mod dead_letters;
mod everything_killed;
mod files;
mod flushed;
mod generated;
mod graceful_stop;
mod kafka_refuses;
mod kill_at_points;
mod kills;
mod limited;
mod logs;
mod missing_topic;
mod mistakes;
mod offsets_lost;
mod open_transaction;
mod orders;
mod places_killed;
mod poison;
mod receiver_killed;
mod redis_moved;
mod redis_rebuilt;
mod rolling_restart;
mod seeded_faults;
mod source_replayed;
mod two_instances;
mod values;
mod verify;
mod webhook_paused;
mod window;
mod wrong_password;

use crate::harness::config::SINKS;
use crate::harness::kafka::Kafka;
use crate::harness::{Bench, Measured, Stack};
use crate::report::Report;
use anyhow::{Context, Result, bail};
use attach::Attached;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

type Ending<'a> = Pin<Box<dyn Future<Output = Result<Measured>> + 'a>>;

/// A scenario on a `Place`: a bench of its own, or a pipeline that somebody has started.
struct Scenario<Place> {
    name: &'static str,
    run: for<'a> fn(&'a Place) -> Ending<'a>,
}

macro_rules! scenarios {
    ($($name:literal => $function:path),* $(,)?) => {
        &[$(Scenario { name: $name, run: |place| Box::pin($function(place)) }),*]
    };
}

/// They change nothing but rows of their own; the last takes those back.
const ATTACHED: &[Scenario<Attached>] = scenarios![
    "health" => attach::health::run,
    "end-to-end" => attach::end_to_end::run,
    "latency" => attach::latency::run,
    "multi-sink" => attach::multi_sink::run,
    "enrichment" => attach::enrichment::run,
    "taken-back" => attach::taken_back::run,
];

/// The one that always comes last.
const TAKEN_BACK: &str = "taken-back";

/// Each begins on an emptied stack, with processes of its own. What makes a JVM work hard stands apart from its like: the stacks
/// share the processors.
const ON_BENCHES: &[Scenario<Bench>] = scenarios![
    "kill-kafka" => everything_killed::kafka,
    "values" => values::run,
    "window" => window::run,
    "open-transaction" => open_transaction::run,
    "generated" => generated::run,
    "verify" => verify::run,
    "kill-connect" => everything_killed::connect,
    "batching" => batching::run,
    "dashboard" => dashboard::run,
    "two-instances" => two_instances::run,
    "orders" => orders::run,
    "max-rate" => limited::run,
    "kill-at-random" => everything_killed::at_random,
    "kill-processor" => kills::processor,
    "kill-redis" => kills::redis,
    "seeded-faults" => seeded_faults::run,
    "rolling-restart" => rolling_restart::run,
    "files" => files::run,
    "kill-receiver" => everything_killed::receiver,
    "kill-postgres" => everything_killed::postgres,
    "kill-shared-places" => places_killed::run,
    "kill-at-points-1" => kill_at_points::one,
    "kill-at-points-3" => kill_at_points::three,
    "connector-failed" => connector_failed::run,
    "poison" => poison::run,
    "dead-letters" => dead_letters::run,
    "kill-dlq" => dead_letters::killed::run,
    "receiver-killed" => receiver_killed::run,
    "wrong-secret" => webhook_paused::wrong_secret,
    "missing-target" => webhook_paused::missing_target,
    "wrong-password" => wrong_password::run,
    "missing-topic" => missing_topic::run,
    "compressed-topic" => compressed::run,
    "topic-made-again" => logs::made_again,
    "retention" => logs::retention,
    "config-errors" => config_errors::run,
    "mistakes" => mistakes::run,
    "kafka-refuses" => kafka_refuses::run,
    "graceful-stop" => graceful_stop::run,
    "redis-flushed" => flushed::run,
    "redis-moved" => redis_moved::run,
    "redis-rebuilt" => redis_rebuilt::run,
    "source-replayed" => source_replayed::run,
    "offsets-lost" => offsets_lost::run,
    "database-set-back" => database_set_back::run,
];

/// A scenario that takes longer hangs; unless it is one by name, or was told to be a long one.
const LONGEST: Duration = Duration::from_secs(600);
/// What makes scenarios long, and what they may then take.
const LONG: &str = "DELTAFAN_E2E_KILLS";
const LONGEST_LONG: Duration = Duration::from_secs(3600);

/// They run only where they are asked for by name: they take minutes.
const BY_NAME: &[&str] = &["kill-at-points-1", "kill-at-points-3"];

/// What is to be run, and where.
pub struct Run<'a> {
    /// Where the scenarios' folders go.
    pub folder: &'a Path,
    /// Only these, where there are any.
    pub only: &'a [String],
    /// How they ended.
    pub report: &'a Mutex<Report>,
    /// How many of those on benches have been taken.
    pub taken: AtomicUsize,
}

impl Run<'_> {
    /// Fails where a scenario is wanted that there is not.
    pub fn known(&self, attach: bool) -> Result<()> {
        let attached = ATTACHED.iter().map(|scenario| scenario.name);
        let on_benches = ON_BENCHES.iter().map(|scenario| scenario.name).filter(|_| !attach);
        let names: Vec<_> = attached.chain(on_benches).collect();
        match self.only.iter().find(|name| !names.contains(&name.as_str())) {
            Some(name) => bail!("there is no scenario {name:?}; there are: {}", names.join(", ")),
            None => Ok(()),
        }
    }

    fn wants(&self, name: &str) -> bool {
        let named = self.only.iter().any(|only| only == name);
        named || (self.only.is_empty() && !BY_NAME.contains(&name))
    }

    /// Runs those that look at a running pipeline, on `stack`. Unless `attach` is set, nobody has started one: then we
    /// do, with the default configuration, and stop it again.
    pub async fn attached(&self, stack: &Arc<Stack>, attach: bool) -> Result<()> {
        let wanted: Vec<_> = ATTACHED.iter().filter(|scenario| self.wants(scenario.name)).collect();
        if wanted.iter().all(|scenario| scenario.name == TAKEN_BACK) && !attach {
            return Ok(());
        }
        let parts = if attach { [].as_slice() } else { &["webhook-sink", "stream-processor"] };
        if !attach {
            // An earlier run on this stack has deleted the records that these positions are in front of.
            let kafka = Kafka::new(stack.get("KAFKA_BROKERS")?);
            for sink in SINKS {
                kafka.forget_group(&format!("deltafan.engagement.{sink}")).await?;
            }
        }
        for part in parts {
            stack.run(&["start", part]).await?;
        }
        let place = Attached::begin(Arc::clone(stack))
            .await
            .context("there is nothing to attach to (./quick_start.sh starts it)")?;
        for scenario in
            ATTACHED.iter().filter(|scenario| self.wants(scenario.name) || scenario.name == TAKEN_BACK)
        {
            self.one(scenario, &place).await;
        }
        for part in parts.iter().rev() {
            stack.run(&["stop", part]).await?;
        }
        Ok(())
    }

    /// Runs those that have a bench of their own on `stack`, until every one has been taken.
    pub async fn on_benches(&self, stack: &Arc<Stack>) -> Result<()> {
        while let Some(scenario) = self.next() {
            let bench = Bench::new(stack, self.folder.join(scenario.name), scenario.name).await;
            let bench =
                bench.with_context(|| format!("the stack can't be made ready for {}", scenario.name))?;
            self.one(scenario, &bench).await;
        }
        Ok(())
    }

    fn next(&self) -> Option<&'static Scenario<Bench>> {
        let mut wanted = ON_BENCHES.iter().filter(|scenario| self.wants(scenario.name));
        wanted.nth(self.taken.fetch_add(1, Ordering::Relaxed))
    }

    async fn one<Place>(&self, scenario: &Scenario<Place>, place: &Place) {
        let began = Instant::now();
        let is_long = std::env::var_os(LONG).is_some() || BY_NAME.contains(&scenario.name);
        let longest = if is_long { LONGEST_LONG } else { LONGEST };
        let ended = match tokio::time::timeout(longest, (scenario.run)(place)).await {
            Ok(ended) => ended,
            Err(_) => Err(anyhow::anyhow!("it has not ended after {} s", longest.as_secs())),
        };
        let mut report = self.report.lock().unwrap_or_else(PoisonError::into_inner);
        report.ended(scenario.name, began.elapsed(), ended, &self.folder.join(scenario.name));
    }
}
