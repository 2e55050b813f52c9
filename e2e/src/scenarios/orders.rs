//! What operators order, under load and with two instances: a paused lane stands still in both, also in one that is killed
//! and comes back, while the other lane goes on; resumed and reset lanes go on, and no effect is lost or doubled.

use crate::harness::bench::COMPLETE;
use crate::harness::config::Plan;
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, Processor, Receiver, check};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::time::Duration;

const LOAD: Flow = Flow { rate: 800, copy_rows: 500, copy_every: Duration::from_secs(2) };
/// Rows that the other lane takes while one is paused, at least.
const MEANWHILE: f64 = 2000.0;
const REASON: &str = "receiver is being moved";
const COMMAND: Duration = Duration::from_secs(30);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let scene = Scene { bench, plan, receiver };
    let instances = [bench.start(&scene.plan, "one")?, bench.start(&scene.plan, "two")?];
    for instance in &instances {
        instance.admin.ready().await?;
    }
    let load = Load::start(bench, LOAD).await?;
    let mut measured = Measured::default();
    let instances = scene.pause(instances, &mut measured).await?;
    let rows = load.finish(0).await?;
    bench.complete(&scene.plan, &scene.receiver, &mut measured).await?;
    scene.reset(rows, &mut measured).await?;
    scene.reset_by_hand(instances, &mut measured).await?;
    bench.complete(&scene.plan, &scene.receiver, &mut Measured::default()).await?;
    Ok(measured)
}

struct Scene<'b> {
    bench: &'b Bench,
    plan: Plan,
    receiver: Receiver,
}

impl Scene<'_> {
    /// Runs `deltafan` with the configuration of the first instance; what it said.
    async fn order(&self, words: &[&str]) -> Result<String> {
        let config = self.bench.folder.join("one.yaml");
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let words: Vec<_> = words.iter().copied().chain(["--config", config]).collect();
        let (status, said) = self.bench.deltafan("order", &words).run(COMMAND).await?;
        ensure!(status.success(), "{words:?} ended with {status}: {said}");
        Ok(said)
    }

    /// Every worker of the webhook's lane that could read stands still.
    async fn all_paused(&self, instances: &[Processor]) -> Result<()> {
        wait::until("both instances have paused the lane", COMPLETE, async || {
            let mut states = Vec::new();
            for instance in instances {
                for worker in instance.admin.workers(&self.plan.pipeline, "webhook").await? {
                    states.push(worker.get("reader").cloned().unwrap_or_default());
                }
            }
            let is_paused = |state: &Value| {
                state.get("state") == Some(&"paused".into()) && state.get("reason") == Some(&REASON.into())
            };
            Ok(seen_if(states.iter().all(is_paused), || format!("{states:?}")))
        })
        .await
    }

    async fn pause(&self, mut instances: [Processor; 2], measured: &mut Measured) -> Result<[Processor; 2]> {
        wait::until("rows are stored", COMPLETE, async || {
            let stored = self.receiver.remote.stats().await?.total_events;
            Ok(seen_if(stored > 0, || "none".to_owned()))
        })
        .await?;
        self.order(&["pause", "webhook", "--reason", REASON]).await?;
        self.all_paused(&instances).await?;
        let stored = self.receiver.remote.stats().await?.total_events;
        let [first, second] = &mut instances;
        second.process.kill()?;
        second.process.start_again()?;
        self.others_go_on(first).await?;
        second.admin.ready().await?;
        self.all_paused(&instances).await?;
        let [first, _] = &instances;
        self.others_go_on(first).await?;
        let stats = self.receiver.remote.stats().await?;
        check::equal("events stored while the lane was paused", stats.total_events - stored, 0)?;
        let waiting = self.bench.db.count_events().await? - stored;
        check::at_least("rows that wait for the paused lane", waiting, 1)?;
        let said = self.order(&["pause", "webhook"]).await?;
        ensure!(said.contains("paused already"), "a second pause said: {said}");
        self.order(&["resume", "webhook"]).await?;
        measured.add(format!("{waiting} rows waited for a paused lane, over a kill"));
        Ok(instances)
    }

    /// Waits until the leaderboard's lane has delivered more through this instance.
    async fn others_go_on(&self, instance: &Processor) -> Result<()> {
        let [before, _] = instance.admin.done(&self.plan.pipeline).await?;
        wait::until("the other lane goes on", COMPLETE, async || {
            let [now, _] = instance.admin.done(&self.plan.pipeline).await?;
            let more = now.events - before.events;
            Ok(seen_if(more >= MEANWHILE, || format!("{more} events")))
        })
        .await
    }

    /// Both lanes begin anew, and nothing changes by it.
    async fn reset(&self, rows: i64, measured: &mut Measured) -> Result<()> {
        let before = self.receiver.remote.stats().await?.duplicates;
        let emptied = self.emptied().await?;
        self.order(&["reset", "webhook", "--to", "earliest"]).await?;
        self.order(&["reset", "redis", "--to", "earliest"]).await?;
        let refused = self.refused(before + rows).await? - before;
        let anew = self.counted_anew(emptied).await?;
        self.bench.complete(&self.plan, &self.receiver, &mut Measured::default()).await?;
        check::equal("resets of the window since", self.emptied().await?, anew)?;
        measured.add(format!("reset: {refused} repeats refused, the window counted anew"));
        Ok(())
    }

    /// Offsets that are set by Kafka's own tools while nobody runs are an order, too.
    async fn reset_by_hand(&self, instances: [Processor; 2], measured: &mut Measured) -> Result<()> {
        for mut instance in instances {
            instance.process.terminate(COMMAND).await?;
        }
        let before = self.receiver.remote.stats().await?.duplicates;
        let emptied = self.emptied().await?;
        for sink in ["webhook", "redis"] {
            self.bench.kafka.set_group(&self.plan.group(sink), &self.plan.topic).await?;
        }
        let rows = self.bench.db.count_events().await?;
        let again = self.bench.processor(&self.plan).await?;
        let refused = self.refused(before + rows).await? - before;
        self.counted_anew(emptied).await?;
        self.bench.complete(&self.plan, &self.receiver, &mut Measured::default()).await?;
        measured.add(format!("reset by Kafka's tools: {refused} repeats refused"));
        drop(again);
        Ok(())
    }

    /// The number of the last reset that the window has obeyed.
    async fn emptied(&self) -> Result<i64> {
        let meta = format!("{{{}}}:meta", self.plan.key()?);
        self.bench.redis.number(&["HGET", &meta, "reset"]).await
    }

    async fn counted_anew(&self, before: i64) -> Result<i64> {
        wait::until("the window is counted anew", COMPLETE, async || {
            let now = self.emptied().await?;
            Ok(if now > before { Look::Seen(now) } else { Look::NotYet(format!("still {now}")) })
        })
        .await
    }

    /// Waits until the receiver has refused so many repeats in all.
    async fn refused(&self, expected: i64) -> Result<i64> {
        wait::until(&format!("{expected} repeats are refused"), COMPLETE, async || {
            let now = self.receiver.remote.stats().await?.duplicates;
            Ok(if now >= expected { Look::Seen(now) } else { Look::NotYet(format!("{now} are")) })
        })
        .await
    }
}
