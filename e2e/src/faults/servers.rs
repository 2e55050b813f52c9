//! What happens to the servers: killed, frozen, restarted, emptied, and set back by hand.

use super::plan::{How, Part, Sink};
use super::strike::Struck;
use super::world::World;
use crate::harness::bench::COMPLETE;
use crate::harness::wait::{self, Look, seen_if};
use anyhow::{Result, ensure};
use reqwest::StatusCode;
use std::time::Duration;
use tokio::net::TcpStream;

const STOP: Duration = Duration::from_secs(30);

impl Part {
    /// As the stack calls it; none for the one that a run starts by itself.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Receiver => None,
            Self::Redis => Some("redis"),
            Self::Postgres => Some("postgres"),
            Self::Kafka => Some("kafka"),
            Self::Connect => Some("kafka-connect"),
        }
    }

    /// What its address is called in the stack's environment.
    fn url(self) -> &'static str {
        match self {
            Self::Redis => "REDIS_URL",
            Self::Receiver | Self::Connect => "CONNECT_URL",
            Self::Postgres => "POSTGRES_URL",
            Self::Kafka => "KAFKA_BROKERS",
        }
    }
}

/// Takes a server away.
pub(super) async fn strike(world: &mut World<'_>, part: Part, how: How) -> Result<()> {
    let verb = match how {
        How::Killed => "kill",
        How::Frozen => "freeze",
        How::Restarted => "stop",
        How::Full => return fill(world).await,
    };
    let Some(name) = part.name() else {
        let receiver = &mut world.receiver.process;
        return match how {
            How::Killed => receiver.kill(),
            How::Frozen => receiver.freeze(STOP).await,
            How::Restarted | How::Full => receiver.terminate(STOP).await.map(drop),
        };
    };
    if part == Part::Kafka {
        committed(world).await?;
    }
    world.bench.stack.run(&[verb, name]).await?;
    if how == How::Frozen {
        return Ok(());
    }
    let address = world.bench.stack.address(part.url())?;
    wait::until(&format!("{name} is gone"), STOP, async || {
        let listens = TcpStream::connect(&address).await.is_ok();
        Ok(seen_if(!listens, || format!("somebody listens on {address}")))
    })
    .await
}

/// Lets Redis run out of memory: it refuses what writes, and answers what reads. Waits until somebody was refused.
async fn fill(world: &World<'_>) -> Result<()> {
    let before = errors(world, Sink::Redis).await?;
    world.bench.redis.run(&["CONFIG", "SET", "maxmemory", "1"]).await?;
    wait::until("Redis refuses writes", COMPLETE, async || {
        let now = errors(world, Sink::Redis).await?;
        Ok(seen_if(now > before, || format!("{now} errors")))
    })
    .await
}

/// Lets the receiver run out of disk, and waits until it refuses what is sent, and whoever sends it knows.
pub(super) async fn fill_disk(world: &World<'_>) -> Result<Struck> {
    let disk = match &world.disk {
        Ok(disk) => disk,
        Err(why) => return Ok(Struck::Skipped(why.clone())),
    };
    let before = errors(world, Sink::Webhook).await?;
    let bytes = disk.fill()?;
    wait::until("the receiver refuses writes", COMPLETE, async || {
        let (status, _) = world.receiver.remote.ask("/health").await?;
        let now = errors(world, Sink::Webhook).await?;
        Ok(seen_if(status == StatusCode::SERVICE_UNAVAILABLE && now > before, || {
            format!("/health says {status}, {now} errors")
        }))
    })
    .await?;
    Ok(Struck::DiskFull { bytes })
}

/// Makes room again, and waits until the receiver takes something, as the same process as before.
pub(super) async fn free_disk(world: &mut World<'_>, bytes: usize) -> Result<String> {
    let stored = world.receiver.remote.stats().await?.total_events;
    if let Ok(disk) = &world.disk {
        disk.free()?;
    }
    wait::until("the receiver takes writes again", COMPLETE, async || {
        let now = world.receiver.remote.stats().await?.total_events;
        Ok(seen_if(now > stored, || format!("{now} events")))
    })
    .await?;
    ensure!(world.receiver.process.runs(), "the receiver has ended");
    Ok(format!("{bytes} bytes filled it; {stored} events were stored by then"))
}

/// Writes to a sink that failed, as the instances tell it.
async fn errors(world: &World<'_>, sink: Sink) -> Result<f64> {
    let mut errors = 0.0;
    for instance in &world.instances {
        errors += instance.errors(&world.plan.pipeline, sink).await?;
    }
    Ok(errors)
}

/// Waits until every lane has committed something of every partition: one that never has begins at the first record, and a
/// broker that is killed may bring some back that were deleted.
async fn committed(world: &World<'_>) -> Result<()> {
    let partitions = world.bench.kafka.ends(&world.plan.topic).await?.len();
    for sink in Sink::ALL {
        wait::until("the lane has committed", COMPLETE, async || {
            let committed = world.committed(sink).await?;
            Ok(seen_if(committed.len() == partitions, || format!("{committed:?}")))
        })
        .await?;
    }
    Ok(())
}

/// Brings a server back, and what it took along when it went.
pub(super) async fn end(world: &mut World<'_>, part: Part, how: How) -> Result<String> {
    // Postgres can't be asked while it is away.
    let before = if part == Part::Postgres { None } else { Some(world.changes.count().await?) };
    // What takes its time to come back must not find more than it was to find.
    world.pause(true).await?;
    match (part.name(), how) {
        (None, How::Frozen) => world.receiver.process.thaw()?,
        (None, _) => world.receiver.process.start_again()?,
        (Some(_), How::Full) => world.bench.redis.run(&["CONFIG", "SET", "maxmemory", "0"]).await?,
        (Some(name), How::Frozen) => drop(world.bench.stack.run(&["thaw", name]).await?),
        (Some(name), _) => drop(world.bench.stack.run(&["start", name]).await?),
    }
    if matches!(part, Part::Postgres | Part::Kafka | Part::Connect) {
        // A task that failed meanwhile is restarted.
        world.bench.stack.run(&["connector"]).await?;
    }
    if part == Part::Receiver {
        world.receiver.answers().await?;
    }
    world.pause(false).await?;
    let waiting = match before {
        Some(before) => format!("{before} changes by then"),
        None => "Postgres was away".to_owned(),
    };
    Ok(format!("{part:?} {how:?}, {waiting}"))
}

/// Empties Redis, and waits until a leaderboard is there again.
pub(super) async fn flush(world: &mut World<'_>) -> Result<String> {
    let before = empty(world).await?;
    made_anew(world).await?;
    Ok(format!("{} s of the leaderboard gone", before / 1000))
}

/// Empties Redis; how many milliseconds were in the leaderboard.
pub(super) async fn empty(world: &World<'_>) -> Result<i64> {
    let before = wait::until("there is something in Redis to lose", COMPLETE, async || {
        let before: i64 = world.bench.redis.board(world.plan.key()?).await?.values().sum();
        Ok(if before > 0 { Look::Seen(before) } else { Look::NotYet("nothing".to_owned()) })
    });
    let before = before.await?;
    world.bench.redis.run(&["FLUSHALL"]).await?;
    Ok(before)
}

/// Waits until a window is there.
pub(super) async fn made_anew(world: &World<'_>) -> Result<()> {
    wait::until("a window is there again", COMPLETE, async || {
        let positions = world.positions().await?;
        Ok(seen_if(!positions.is_empty(), || "none".to_owned()))
    })
    .await
}

/// Stops all instances, and sets the group of a lane to the first record, as Kafka's own tools do.
pub(super) async fn reset_offsets(world: &mut World<'_>, sink: Sink) -> Result<Struck> {
    let first: i64 = world.bench.kafka.begins(&world.plan.topic).await?.values().sum();
    // One that has just begun has nothing to be set back by.
    wait::until("the lane has committed something", COMPLETE, async || {
        let committed: i64 = world.committed(sink).await?.values().sum();
        Ok(seen_if(committed > first, || format!("it stands at {committed}, the first records at {first}")))
    })
    .await?;
    for instance in &mut world.instances {
        ensure!(instance.processor.process.terminate(STOP).await?.success(), "it did not end in order");
    }
    let before = world.receiver.remote.stats().await?.duplicates;
    let (group, topic) = (world.plan.group(sink.name()), &world.plan.topic);
    let was: i64 = world.committed(sink).await?.values().sum();
    // The broker may still count one as a member that was killed.
    let is: i64 = wait::until("the group lets itself be set", COMPLETE, async || {
        world.bench.kafka.set_group(&group, topic).await?;
        Ok(Look::Seen(world.committed(sink).await?.values().sum()))
    })
    .await?;
    ensure!(is < was, "the offsets were not set back: {was} and {is}");
    let why = format!("set back by {} offsets", was - is);
    Ok(Struck::Repeats { gone: (0..world.instances.len()).collect(), sink, before, why })
}
