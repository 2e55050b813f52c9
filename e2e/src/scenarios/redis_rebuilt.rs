//! Redis is emptied when Kafka no longer has the beginning of its leaderboards: they are made anew from the database and what
//! Kafka has, under rows that come, change and go, and while nothing does. Where the database refuses, they are counted from Kafka
//! alone, and that is said.

use crate::harness::bench::COMPLETE;
use crate::harness::config::{By, Plan, SINKS, Window};
use crate::harness::effects::board_equals_sql;
use crate::harness::kafka::{EVENTS, Offsets};
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, Processor, check};
use anyhow::{Context, Result, ensure};
use std::time::{Duration, Instant};

const LOAD: Flow = Flow { rate: 500, copy_rows: 600, copy_every: Duration::from_secs(1) };
/// Rows that are in the leaderboards, and no longer in Kafka, when Redis is emptied.
const BEFORE: i64 = 2000;
/// Rows that come in altogether, at least.
const ROWS: i64 = 5000;
/// Rows are corrected, move to another content or device, and go, old ones and new ones.
const CHANGES: &str = "UPDATE engagement_events SET duration_ms = duration_ms + 7 WHERE id % 5 = 0; \
     UPDATE engagement_events SET content_id = (SELECT id FROM content ORDER BY id LIMIT 1), device = 'moved' WHERE id % 11 = 0; \
     DELETE FROM engagement_events WHERE id % 7 = 0";
const COMMAND: Duration = Duration::from_secs(30);
const MADE: &str = "made anew from the database";

struct Scene<'b> {
    bench: &'b Bench,
    plan: Plan,
}

pub async fn run(bench: &Bench) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    for (key, by) in [("types", By::ContentType), ("devices", By::Device)] {
        plan.windows.push(Window { key: format!("{}:{key}", bench.name), length: "1h", by });
    }
    let mut processor = bench.processor(&plan).await?;
    let scene = Scene { bench, plan };
    let mut measured = Measured::default();
    let load = Load::start(bench, LOAD).await?;
    scene.under_load(load, &mut measured).await?;
    scene.idle(&mut measured).await?;
    scene.without_the_database(&processor, &mut measured).await?;
    ensure!(processor.process.runs(), "the processor has ended");
    bench.no_lag(&scene.plan).await?;
    Ok(measured)
}

impl Scene<'_> {
    /// Deletes from Kafka what both lanes have done.
    async fn forget(&self) -> Result<Offsets> {
        let mut done = Offsets::new();
        for sink in SINKS {
            for (partition, offset) in self.bench.kafka.committed(&self.plan.group(sink), EVENTS).await? {
                done.entry(partition).and_modify(|at| *at = offset.min(*at)).or_insert(offset);
            }
        }
        self.bench.kafka.delete_before(EVENTS, &done).await?;
        Ok(done)
    }

    /// How often a leaderboard was made anew.
    fn made(&self) -> Result<usize> {
        let text = std::fs::read_to_string(self.bench.folder.join("deltafan.log"))?;
        Ok(text.matches(MADE).count())
    }

    async fn equal_sql(&self) -> Result<()> {
        for Window { key, by, .. } in &self.plan.windows {
            let board = (key.as_str(), *by);
            let (members, _) =
                board_equals_sql(&self.bench.db, &self.bench.redis, board, "1 hour", COMPLETE).await?;
            check::at_least(format!("members of {key}"), members, 1)?;
        }
        Ok(())
    }

    /// Empties Redis, and waits until every leaderboard was made anew.
    async fn empty(&self, made: usize) -> Result<()> {
        self.bench.redis.run(&["FLUSHALL"]).await?;
        let wanted = made + self.plan.windows.len();
        wait::until("every leaderboard is made anew from the database", COMPLETE, async || {
            let made = self.made()?;
            Ok(seen_if(made >= wanted, || format!("{made} were, of {wanted}")))
        })
        .await
    }

    async fn under_load(&self, mut load: Load, measured: &mut Measured) -> Result<()> {
        let db = &self.bench.db;
        let began = self.bench.kafka.ends(EVENTS).await?;
        wait::until("rows are in, and their commits as well", COMPLETE, async || {
            let committed = self.bench.kafka.committed(&self.plan.group("redis"), EVENTS).await?;
            let counted: i64 = self.bench.redis.board(self.plan.key()?).await?.values().sum();
            let rows = db.count_events().await?;
            let ready = rows >= BEFORE && counted > 0 && committed.len() == 4;
            Ok(seen_if(ready, || format!("{rows} rows, {committed:?}")))
        })
        .await?;
        db.run(CHANGES).await?;
        let gone = self.forget().await?;
        let made = self.made()?;
        let (emptied, changed) = tokio::join!(self.empty(made), async {
            for _ in 0..3 {
                db.run(CHANGES).await?;
            }
            anyhow::Ok(())
        });
        emptied?;
        changed?;
        ensure!(load.runs(), "the load has ended by itself");
        load.finish(ROWS).await?;
        db.run(CHANGES).await?;
        self.equal_sql().await?;
        let offsets: i64 = gone.iter().map(|(p, end)| end - began.get(p).copied().unwrap_or(0)).sum();
        measured.add(format!("3 leaderboards made anew under load, {offsets} offsets gone from Kafka"));
        Ok(())
    }

    async fn idle(&self, measured: &mut Measured) -> Result<()> {
        self.bench.no_lag(&self.plan).await?;
        self.forget().await?;
        let (began, made) = (Instant::now(), self.made()?);
        self.empty(made).await?;
        self.equal_sql().await?;
        measured.add(format!("idle: back after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(())
    }

    async fn without_the_database(&self, processor: &Processor, measured: &mut Measured) -> Result<()> {
        self.bench.db.run("REVOKE SELECT ON engagement_events FROM processor").await?;
        let refused = self.counted_alone(processor).await;
        self.bench.db.run("GRANT SELECT ON engagement_events TO processor").await?;
        measured.add(format!("said without the database: {}", refused?));
        let config = self.bench.folder.join("deltafan.yaml");
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let order = ["reset", "redis", "--to", "earliest", "--config", config];
        let (status, said) = self.bench.deltafan("order", &order).run(COMMAND).await?;
        ensure!(status.success(), "{order:?} ended with {status}: {said}");
        self.equal_sql().await?;
        wait::until("nothing is incomplete any more", COMPLETE, async || {
            let what = self.incomplete(processor).await?;
            Ok(seen_if(what.is_none(), || format!("{what:?}")))
        })
        .await
    }

    async fn incomplete(&self, processor: &Processor) -> Result<Option<String>> {
        let report = processor.admin.report().await?;
        let lane = format!("{}/redis", self.plan.pipeline);
        let told = report.get("lanes").and_then(|lanes| lanes.get(lane)).context("no such lane")?;
        Ok(told.get("incomplete").and_then(serde_json::Value::as_str).map(str::to_owned))
    }

    async fn counted_alone(&self, processor: &Processor) -> Result<String> {
        self.bench.redis.run(&["FLUSHALL"]).await?;
        let what = wait::until("it says that the leaderboards are incomplete", COMPLETE, async || {
            let what = self.incomplete(processor).await?;
            let whole = what.filter(|what| self.plan.windows.iter().all(|window| what.contains(&window.key)));
            Ok(whole.map_or(Look::NotYet("it does not".to_owned()), Look::Seen))
        })
        .await?;
        let labels = [("pipeline", self.plan.pipeline.as_str()), ("sink", "redis")];
        let seconds = processor.admin.metrics().await?.sum("deltafan_window_incomplete_seconds", &labels);
        check::at_least("seconds, by metric", seconds, 3.0)?;
        Ok(what)
    }
}
