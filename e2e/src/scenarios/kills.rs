//! kill -9 of the processor and of Redis while rows come in: no loss, no double effect.

use crate::harness::bench::COMPLETE;
use crate::harness::load::{Flow, Load};
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, Plan, Processor, Receiver, check};
use anyhow::{Context, Result, ensure};
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Kills that strike a pipeline under way; one whose order takes so long that all is through by then is not counted.
const KILLS: usize = 3;
/// A COPY every five seconds, which is about as long as the group takes to notice a death.
const LOAD: Flow = Flow { rate: 800, copy_rows: 6000, copy_every: Duration::from_secs(5) };
/// What has to come in altogether.
const LEAST_ROWS: i64 = 50_000;
/// Rows that are committed and not yet in both sinks when a kill is ordered: enough that some still are when it strikes.
const LEAST_WAITING: i64 = 4000;
/// Looks follow each other closely: a COPY is through within half a second.
const PAUSE: Duration = Duration::from_millis(10);
/// What was killed stays dead this long.
const DEAD: Duration = Duration::from_millis(300);
const BEFORE: Duration = Duration::from_secs(1);

/// How things stood when a kill was ordered.
struct Moment {
    committed: i64,
    per_second: i64,
}

/// What is killed.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Processor,
    Redis,
}

pub async fn processor(bench: &Bench) -> Result<Measured> {
    run(bench, Victim::Processor).await
}

pub async fn redis(bench: &Bench) -> Result<Measured> {
    run(bench, Victim::Redis).await
}

async fn run(bench: &Bench, victim: Victim) -> Result<Measured> {
    let receiver = bench.receiver().await?;
    let plan = bench.plan(&receiver)?;
    let mut processor = bench.processor(&plan).await?;
    let mut load = Load::start(bench, LOAD).await?;
    let mut measured = Measured::default();
    let mut kills = 0;
    while kills < KILLS {
        let moment =
            moment(bench, &plan, async || victim.delivered(&plan, &receiver, &processor).await).await?;
        ensure!(load.runs(), "the load has ended by itself after {kills} kills");
        victim.kill(bench, &mut processor).await?;
        let in_flight = moment.committed - victim.delivered(&plan, &receiver, &processor).await?;
        let committed = bench.db.count_events().await?;
        tokio::time::sleep(DEAD).await;
        victim.start_again(bench, &mut processor).await?;
        if in_flight > 0 {
            kills += 1;
            measured.add(format!("kill {kills}: {in_flight} in flight, {}/s before", moment.per_second));
        } else {
            measured.add("one too late");
        }
        moves_on(bench, &plan, &receiver, committed, &mut measured).await?;
    }
    ensure!(processor.process.runs(), "the processor has ended");
    load.finish(LEAST_ROWS).await?;
    bench.complete(&plan, &receiver, &mut measured).await?;
    Ok(measured)
}

impl Victim {
    /// Rows whose effect is in the sink by whose progress the kill is timed.
    async fn delivered(self, plan: &Plan, receiver: &Receiver, processor: &Processor) -> Result<i64> {
        match self {
            Self::Processor => Ok(receiver.remote.stats().await?.total_events),
            Self::Redis => {
                let [redis, _] = processor.admin.done(&plan.pipeline).await?;
                whole(redis.events)
            }
        }
    }

    /// Kills it and makes sure that it is dead.
    async fn kill(self, bench: &Bench, processor: &mut Processor) -> Result<()> {
        match self {
            Self::Processor => processor.process.kill(),
            Self::Redis => {
                bench.stack.run(&["kill", "redis"]).await?;
                ensure!(bench.redis.run(&["PING"]).await.is_err(), "Redis answers though it was killed");
                Ok(())
            }
        }
    }

    async fn start_again(self, bench: &Bench, processor: &mut Processor) -> Result<()> {
        match self {
            Self::Processor => processor.process.start_again(),
            Self::Redis => bench.stack.run(&["start", "redis"]).await.map(drop),
        }
    }
}

/// Waits for a moment at which a kill hurts: rows wait on the way to both sinks, and in the second before some got there.
async fn moment(
    bench: &Bench,
    plan: &Plan,
    mut delivered: impl AsyncFnMut() -> Result<i64>,
) -> Result<Moment> {
    let mut history: VecDeque<(Instant, i64)> = VecDeque::new();
    wait::until_every(PAUSE, "rows are on their way", COMPLETE, async || {
        let (committed, sum_ms) = table(bench).await?;
        let counted: i64 = bench.redis.board(plan.key()?).await?.values().sum();
        let delivered = delivered().await?;
        let now = Instant::now();
        history.push_back((now, delivered));
        while history.get(1).is_some_and(|(at, _)| now - *at >= BEFORE) {
            history.pop_front();
        }
        let (since, delivered_then) = history.front().copied().unwrap_or((now, delivered));
        let (waiting, per_second) = (committed - delivered, delivered - delivered_then);
        let is_moment =
            now - since >= BEFORE && waiting >= LEAST_WAITING && counted < sum_ms && per_second > 0;
        Ok(if is_moment {
            Look::Seen(Moment { committed, per_second })
        } else {
            Look::NotYet(format!("{waiting} wait, {per_second}/s were delivered"))
        })
    })
    .await
}

/// Rows that are committed, and the sum of their durations.
async fn table(bench: &Bench) -> Result<(i64, i64)> {
    let sql = "SELECT count(*), coalesce(sum(duration_ms), 0)::bigint FROM engagement_events";
    let rows = bench.db.rows(sql, &[]).await?;
    let row = rows.first().context("no answer")?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Waits until rows that were committed after the kill, when there were `committed`, are in both sinks.
async fn moves_on(
    bench: &Bench,
    plan: &Plan,
    receiver: &Receiver,
    committed: i64,
    measured: &mut Measured,
) -> Result<()> {
    let (began, key) = (Instant::now(), plan.key()?);
    let before: i64 = wait::until("Redis answers", COMPLETE, async || {
        Ok(Look::Seen(bench.redis.board(key).await?.values().sum()))
    })
    .await?;
    wait::until("both sinks move again", COMPLETE, async || {
        let stored = receiver.remote.stats().await?.total_events;
        let counted: i64 = bench.redis.board(key).await?.values().sum();
        let moves = stored > committed && counted > before;
        Ok(seen_if(moves, || format!("{stored} rows stored, {committed} were committed at the kill")))
    })
    .await?;
    let after = bench.db.count_events().await? - committed;
    check::at_least("rows committed after the kill", after, 1)?;
    measured.add(format!(
        "moving {:.1} s later, {after} rows committed meanwhile",
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

/// A counter as a whole number.
fn whole(counter: f64) -> Result<i64> {
    format!("{counter:.0}").parse().context("a counter beyond all numbers")
}
