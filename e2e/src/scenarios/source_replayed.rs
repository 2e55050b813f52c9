//! A stretch of the topic is written once more, byte for byte, while rows come in. It is named, once, and the leaderboards are made anew,
//! also where the processor is killed in the middle of that. The same stretch a second time is known. In the end every sink has each
//! row once.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Window};
use crate::harness::kafka::{EVENTS, Offsets};
use crate::harness::load::{Flow, Load};
use crate::harness::proxy::{Kind, Proxy, Speaks};
use crate::harness::stack::host_of;
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
const TOLD: &str = "source replayed: changes come again";
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
    let redis = host_of(&plan.redis_url)?;
    let proxy = Proxy::start(&bench.stack.free_address()?, &redis, Speaks::Redis).await?;
    plan.redis_url = plan.redis_url.replace(&redis, &proxy.address);
    let processor = bench.processor(&plan).await?;
    let mut scene = Scene { bench, plan, processor };
    let mut measured = Measured::default();
    let mut load = Load::start(bench, LOAD).await?;
    scene.comes_in(BEFORE).await?;
    check::equal("replays told before", scene.said(TOLD)?, 0)?;
    let made = scene.said(MADE)?;
    let (copied, killed) =
        tokio::join!(write_again(bench), strike(bench, &scene.plan, &proxy, &mut scene.processor));
    let copied = copied?;
    measured.add(format!(
        "{copied} records written again, killed while the leaderboards were made anew ({} in)",
        killed?
    ));
    ensure!(load.runs(), "the load has ended by itself");
    check::equal("replays told", scene.said(TOLD)?, 1)?;
    scene.processor.process.start_again()?;
    scene.made(made + scene.plan.windows.len()).await?;
    check::at_least("records written a third time", write_again(bench).await?, copied)?;
    load.finish(ROWS).await?;
    scene.is_well(&receiver, &mut measured).await?;
    check::equal("replays told in all", scene.said(TOLD)?, 1)?;
    let duplicates = receiver.remote.stats().await?.duplicates;
    check::at_least("repeats that the receiver refused", duplicates, 2 * i64::try_from(copied)?)?;
    Ok(measured)
}

/// Writes the first records of each partition once more.
async fn write_again(bench: &Bench) -> Result<usize> {
    let mut copied = 0;
    for partition in bench.kafka.ends(EVENTS).await?.into_keys() {
        let mut records = bench.kafka.records(EVENTS, Offsets::from([(partition, 0)])).await?;
        records.truncate(STRETCH);
        copied += records.len();
        bench.kafka.produce(EVENTS, partition, &records).await?;
    }
    check::at_least("records written again", copied, STRETCH)?;
    Ok(copied)
}

/// Kills the processor when a piece of the table is on its way into a leaderboard; how many were in.
async fn strike(bench: &Bench, plan: &Plan, proxy: &Proxy, processor: &mut Processor) -> Result<i64> {
    let positions = format!("{{{}}}:positions", plan.key()?);
    let pieces = async || -> Result<Option<i64>> {
        let is_there = bench.redis.number(&["HEXISTS", &positions, "pieces"]).await? == 1;
        let pieces =
            if is_there { Some(bench.redis.number(&["HGET", &positions, "pieces"]).await?) } else { None };
        Ok(pieces.filter(|pieces| *pieces < i64::MAX))
    };
    loop {
        let held = proxy.hold(Kind::Write).struck(COMPLETE).await?;
        let Some(before) = pieces().await? else {
            held.release()?;
            continue;
        };
        processor.process.kill()?;
        drop(held);
        check::equal("pieces that are in after the kill", pieces().await?, Some(before))?;
        return Ok(before);
    }
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

    /// How often the log says something.
    fn said(&self, what: &str) -> Result<usize> {
        Ok(std::fs::read_to_string(self.bench.folder.join("deltafan.log"))?.matches(what).count())
    }

    async fn made(&self, wanted: usize) -> Result<()> {
        wait::until("every leaderboard is made anew", COMPLETE, async || {
            let made = self.said(MADE)?;
            Ok(seen_if(made >= wanted, || format!("{made} were, of {wanted}")))
        })
        .await
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
        let config = self.bench.folder.join("deltafan.yaml");
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let (status, said) =
            self.bench.deltafan("verify", &["verify", "--config", config]).run(COMMAND).await?;
        ensure!(status.success(), "verify ended with {status}: {said}");
        Ok(())
    }
}
