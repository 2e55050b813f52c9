//! Three instances are restarted one after the other, in order, and then one of them is killed: how long each partition stands
//! still, by the positions in Redis. Nothing is lost or doubled; the times are figures, not assertions.

use crate::faults::World;
use crate::faults::plan::{Burst, Does, Shape};
use crate::harness::redis::Redis;
use crate::harness::{Bench, Measured, check};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::watch;
use tokio::task::JoinHandle;

const INSTANCES: usize = 3;
/// Every partition gets some hundred changes a second, so that one that stands still is seen at once.
const RATE: u32 = 1200;
/// Changes that come in before, between and after.
const BETWEEN: i64 = 2500;
/// So many that the group has noticed a death in the meantime.
const AFTER_KILL: i64 = 12_000;
const STOP: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

pub async fn run(bench: &Bench) -> Result<Measured> {
    let burst = Burst { does: Does::Insert, rows: 40, pause: Duration::from_millis(100) };
    let load = Shape { seed: 7, rate: RATE, updates: 10, deletes: 5, bursts: vec![burst] };
    let mut world = World::begin(bench, INSTANCES, &load).await?;
    let mut measured = Measured::default();
    let ended = scene(&mut world, &mut measured).await;
    if ended.is_err() {
        world.give_up().await;
    }
    let forgotten = world.changes.forget().await;
    ended?;
    forgotten?;
    Ok(measured)
}

async fn scene(world: &mut World<'_>, measured: &mut Measured) -> Result<()> {
    let partitions = world.bench.kafka.ends(&world.plan.topic).await?.len();
    world.flows(BETWEEN).await?;
    let watch = Watch::begin(world)?;
    world.comes_in(BETWEEN).await?;
    let quiet = watch.end(partitions).await?;

    let watch = Watch::begin(world)?;
    for number in 0..INSTANCES {
        let instance = world.instance(number)?;
        ensure!(instance.processor.process.terminate(STOP).await?.success(), "it did not end in order");
        instance.processor.process.start_again()?;
        instance.processor.admin.ready().await?;
        world.comes_in(BETWEEN).await?;
    }
    let rolling = watch.end(partitions).await?;

    let watch = Watch::begin(world)?;
    world.instance(1)?.processor.process.kill()?;
    world.comes_in(AFTER_KILL).await?;
    world.flows(BETWEEN).await?;
    let killed = watch.end(partitions).await?;
    world.instance(1)?.processor.process.start_again()?;

    let exact = world.finish().await?;
    ensure!(exact.is_well(), "{exact:?}");
    check::at_least("changes", exact.records, 1)?;
    measured.add(format!(
        "the longest that a partition stood still: {:.2} s undisturbed, {:.2} s while three were restarted, {:.2} s after a kill",
        quiet.as_secs_f64(),
        rolling.as_secs_f64(),
        killed.as_secs_f64()
    ));
    measured.add(format!("{} changes once in each sink", exact.records));
    Ok(())
}

/// Looks at the positions in Redis all the while.
struct Watch {
    looking: JoinHandle<Result<BTreeMap<String, Duration>>>,
    stop: watch::Sender<bool>,
}

impl Watch {
    fn begin(world: &World<'_>) -> Result<Self> {
        let key = format!("{{{}}}:positions", world.plan.key()?);
        let (stop, stopped) = watch::channel(false);
        Ok(Self { looking: tokio::spawn(look(world.bench.redis.clone(), key, stopped)), stop })
    }

    /// The longest time that one of the partitions stood still; all of them must have moved.
    async fn end(self, partitions: usize) -> Result<Duration> {
        self.stop.send_replace(true);
        let longest = self.looking.await.context("the look-out")??;
        check::equal("partitions that moved", longest.len(), partitions)?;
        longest.into_values().max().context("no partition")
    }
}

/// For each partition the longest time between two moves.
async fn look(
    redis: Redis,
    key: String,
    mut stopped: watch::Receiver<bool>,
) -> Result<BTreeMap<String, Duration>> {
    let mut last: BTreeMap<String, (i64, Instant)> = BTreeMap::new();
    let mut longest = BTreeMap::new();
    while !*stopped.borrow_and_update() {
        for (partition, position) in redis.numbers_by_name(&key).await? {
            let now = Instant::now();
            let (before, since) = last.entry(partition.clone()).or_insert((position, now));
            if *before != position {
                let stood = longest.entry(partition).or_default();
                *stood = now.duration_since(*since).max(*stood);
                (*before, *since) = (position, now);
            }
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(longest)
}
