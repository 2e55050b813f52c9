//! A stretch of the topic is written once more, byte for byte, while rows come in. It is named, the leaderboards are made anew, and in
//! the end every sink has each row once.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Window};
use crate::harness::kafka::{EVENTS, Offsets};
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, seen_if};
use crate::harness::{Bench, Measured, Plan, Processor, check, effects};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

const LOAD: Flow = Flow { rate: 300, copy_rows: 200, copy_every: Duration::from_secs(1) };
/// Rows that are in before something happens.
const BEFORE: i64 = 1000;
/// Rows that come in altogether, at least.
const ROWS: i64 = 3000;
/// Of each partition so many of the first records come again.
const STRETCH: usize = 150;
const COMMAND: Duration = Duration::from_secs(60);
const REPLAYS: &str = "deltafan_source_replays_total";
const MADE: &str = "a leaderboard was made anew";

struct Scene<'b> {
    bench: &'b Bench,
    plan: Plan,
    processor: Processor,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    plan.windows.push(Window { key: format!("{}:devices", bench.name), length: "1h", by: By::Device });
    let processor = bench.processor(&plan).await?;
    let mut scene = Scene { bench, plan, processor };
    let mut measured = Measured::default();
    let mut load = Load::start(bench, LOAD).await?;
    scene.comes_in(BEFORE).await?;
    let copied = scene.write_again(&mut load).await?;
    measured.add(format!("{copied} records written again: {}", scene.told().await?));
    load.finish(ROWS).await?;
    scene.is_well(&receiver, &mut measured).await?;
    let duplicates = receiver.remote.stats().await?.duplicates;
    check::at_least("repeats that the receiver refused", duplicates, i64::try_from(copied)?)?;
    Ok(measured)
}

impl Scene<'_> {
    async fn comes_in(&self, rows: i64) -> Result<()> {
        wait::until("rows are in the leaderboard", COMPLETE, async || {
            let has = self.bench.db.count_events().await?;
            let counted: i64 = self.bench.redis.board(self.plan.key()?).await?.values().sum();
            Ok(seen_if(has >= rows && counted > 0, || format!("{has} rows, {counted} ms")))
        })
        .await
    }

    async fn replays(&self) -> Result<f64> {
        let labels = [("pipeline", self.plan.pipeline.as_str()), ("sink", "redis")];
        Ok(self.processor.admin.metrics().await?.sum(REPLAYS, &labels))
    }

    /// How often a leaderboard was made anew.
    fn made(&self) -> Result<usize> {
        Ok(std::fs::read_to_string(self.bench.folder.join("deltafan.log"))?.matches(MADE).count())
    }

    /// What `/readyz` says of it.
    async fn told(&self) -> Result<String> {
        let report = self.processor.admin.report().await?;
        let lane = format!("{}/redis", self.plan.pipeline);
        let told = report.get("lanes").and_then(|lanes| lanes.get(lane)).context("no such lane")?;
        let said = told
            .get("replayed")
            .and_then(serde_json::Value::as_str)
            .context("it says nothing of a replay")?;
        ensure!(said.contains("source replayed"), "{said}");
        Ok(said.to_owned())
    }

    /// Writes the first records of each partition once more.
    async fn write_again(&self, load: &mut Load) -> Result<usize> {
        check::equal("replays before", self.replays().await?, 0.0)?;
        let mut copied = 0;
        for partition in self.bench.kafka.ends(EVENTS).await?.into_keys() {
            let mut records = self.bench.kafka.records(EVENTS, Offsets::from([(partition, 0)])).await?;
            records.truncate(STRETCH);
            copied += records.len();
            self.bench.kafka.produce(EVENTS, partition, &records).await?;
        }
        ensure!(load.runs(), "the load has ended by itself");
        check::at_least("records written again", copied, STRETCH)?;
        wait::until("it is noticed, and the leaderboards are made anew", COMPLETE, async || {
            let (replays, made) = (self.replays().await?, self.made()?);
            Ok(seen_if(replays > 0.0 && made >= self.plan.windows.len(), || {
                format!("{replays} replays, {made} made")
            }))
        })
        .await?;
        Ok(copied)
    }

    /// Both sinks hold each row once, and `verify` says so too.
    async fn is_well(&mut self, receiver: &crate::harness::Receiver, measured: &mut Measured) -> Result<()> {
        let rows = self.bench.db.count_events().await?;
        self.bench.receiver_holds(receiver, rows).await?;
        for Window { key, by, .. } in &self.plan.windows {
            let (bench, board) = (self.bench, (key.as_str(), *by));
            effects::board_equals_sql(&bench.db, &bench.redis, board, "1 hour", COMPLETE).await?;
        }
        self.bench.complete(&self.plan, receiver, measured).await?;
        ensure!(self.processor.process.runs(), "the processor has ended");
        measured.add(format!(
            "{} replays told, leaderboards made anew {} times",
            self.replays().await?,
            self.made()?
        ));
        let config = self.bench.folder.join("deltafan.yaml");
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let (status, said) =
            self.bench.deltafan("verify", &["verify", "--config", config]).run(COMMAND).await?;
        ensure!(status.success(), "verify ended with {status}: {said}");
        Ok(())
    }
}
