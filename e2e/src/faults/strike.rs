//! Faults as they are done, each with the evidence that it struck while records flowed.

use super::moments;
use super::plan::{Fault, How, Part, Sink, Step};
use super::servers;
use super::world::{Way, World};
use crate::harness::bench::COMPLETE;
use crate::harness::check;
use crate::harness::kafka::Offsets;
use crate::harness::proxy::{Counts, Held, Kind, Manner, Proxy};
use crate::harness::wait::{self, Look, seen_if};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// How long a write may take to come by: as long as a group takes to notice a death, and a restart.
pub const WRITE: Duration = Duration::from_secs(45);
/// Answers that may be held back until one of them must be of a write that brought records along.
const MOST_ANSWERS: u32 = 20;
const STOP: Duration = Duration::from_secs(30);

/// A fault that has struck and may still last.
pub enum Struck {
    /// It is over.
    Over(String),
    /// An instance is gone until it is started again.
    Gone { instance: usize, why: String },
    /// An instance is frozen, and a write that it had sent has not arrived.
    Zombie { instance: usize, sink: Sink, late: Held, members: usize },
    /// Instances to be started again, after which a sink's receiver refuses repeats.
    Repeats { gone: Vec<usize>, sink: Sink, before: i64, why: String },
    /// The network is not what it was; what each proxy had done before.
    Network { way: Way, manner: Manner, before: Vec<Counts> },
    /// Redis was emptied, and the network to Postgres is not what it was.
    Emptied { manner: Manner, before: Vec<Counts> },
    /// A server is not there.
    Server { part: Part, how: How },
    /// The receiver has no room.
    DiskFull { bytes: usize },
    /// It can't strike here, and why.
    Skipped(String),
}

/// Waits until records flow, and strikes.
pub async fn strike(world: &mut World<'_>, step: &Step) -> Result<Struck> {
    world.flows(step.after).await.with_context(|| format!("before {}", step.fault))?;
    match step.fault {
        Fault::Instance(instance, How::Frozen) => freeze(world, instance).await,
        Fault::Instance(instance, how) => {
            let process = &mut world.instance(instance)?.processor.process;
            match how {
                How::Killed => process.kill()?,
                _ => ensure!(process.terminate(STOP).await?.success(), "it did not end in order"),
            }
            Ok(Struck::Gone { instance, why: "gone".to_owned() })
        }
        Fault::KilledAt(moment, sink, instance) => moments::kill_at(world, moment, sink, instance).await,
        Fault::Network(sink, manner) => network(world, Way::Sink(sink), manner).await,
        Fault::AnswersLost(sink, instance, times) => lose_answers(world, sink, instance, times).await,
        Fault::RequestsLost(sink, instance, times) => lose_requests(world, sink, instance, times).await,
        Fault::Server(part, how) => {
            servers::strike(world, part, how).await?;
            Ok(Struck::Server { part, how })
        }
        Fault::Flushed => servers::flush(world).await.map(Struck::Over),
        Fault::FlushedBehind(manner) => flush_behind(world, manner).await,
        Fault::DiskFull => servers::fill_disk(world).await,
        Fault::OffsetsReset(sink) => servers::reset_offsets(world, sink).await,
    }
}

/// Ends a fault; what was seen of it.
pub async fn end(world: &mut World<'_>, struck: Struck) -> Result<String> {
    match struck {
        Struck::Over(evidence) | Struck::Skipped(evidence) => Ok(evidence),
        Struck::DiskFull { bytes } => servers::free_disk(world, bytes).await,
        Struck::Gone { instance, why } => {
            world.instance(instance)?.processor.process.start_again()?;
            Ok(why)
        }
        Struck::Zombie { instance, sink, late, members } => thaw(world, instance, sink, late, members).await,
        Struck::Repeats { gone, sink, before, why } => {
            for instance in gone {
                world.instance(instance)?.processor.process.start_again()?;
            }
            if sink == Sink::Redis {
                return Ok(why);
            }
            let repeats = wait::until("what was written before comes again", COMPLETE, async || {
                let now = world.receiver.remote.stats().await?.duplicates - before;
                Ok(if now > 0 { Look::Seen(now) } else { Look::NotYet("no repeat".to_owned()) })
            });
            Ok(format!("{why}; at once {} repeats", repeats.await?))
        }
        Struck::Network { way, manner, before } => {
            set(world, way, Manner::Pass);
            hit(world, way, manner, &before).await
        }
        Struck::Emptied { manner, before } => refill(world, manner, &before).await,
        Struck::Server { part, how } => servers::end(world, part, how).await,
    }
}

async fn network(world: &mut World<'_>, way: Way, manner: Manner) -> Result<Struck> {
    let before = set(world, way, manner);
    hit(world, way, manner, &before).await?;
    Ok(Struck::Network { way, manner, before })
}

/// Empties Redis: what was in it is asked of Postgres, and that does not go as ever.
async fn flush_behind(world: &mut World<'_>, manner: Manner) -> Result<Struck> {
    let before = set(world, Way::Postgres, manner);
    servers::empty(world).await?;
    hit(world, Way::Postgres, manner, &before).await?;
    Ok(Struck::Emptied { manner, before })
}

/// The network is so from now on; what its proxies had done before.
fn set(world: &World<'_>, way: Way, manner: Manner) -> Vec<Counts> {
    let before = world.proxies(way).map(Proxy::counts).collect();
    for proxy in world.proxies(way) {
        proxy.set(manner);
    }
    before
}

/// Lets Postgres be reached again: only then are there leaderboards where nothing of it got through.
async fn refill(world: &World<'_>, manner: Manner, before: &[Counts]) -> Result<String> {
    if matches!(manner, Manner::Cut | Manner::HalfClose | Manner::Frozen) {
        check::equal(
            "positions of a window that nobody could make",
            world.positions().await?,
            Vec::<i64>::new(),
        )?;
    }
    set(world, Way::Postgres, Manner::Pass);
    servers::made_anew(world).await?;
    hit(world, Way::Postgres, manner, before).await
}

/// Waits until the network has done its worst to something; to how much.
async fn hit(world: &World<'_>, way: Way, manner: Manner, before: &[Counts]) -> Result<String> {
    let done = |counts: Counts| match manner {
        Manner::Pass => counts.passed,
        Manner::Slow(_) | Manner::Throttle(_) => counts.slowed,
        Manner::Cut => counts.cut,
        Manner::HalfClose => counts.half_closed.min(counts.answers_lost),
        Manner::Frozen => counts.frozen,
    };
    let what = format!("{} feels that it is {manner:?}", way.name());
    let hits = wait::until(&what, WRITE, async || {
        let now: u64 = world.proxies(way).map(|proxy| done(proxy.counts())).sum();
        let hits = now - before.iter().copied().map(done).sum::<u64>();
        Ok(if hits > 0 { Look::Seen(hits) } else { Look::NotYet("nothing was hit".to_owned()) })
    });
    Ok(format!("hit {} times", hits.await?))
}

async fn lose_requests(world: &mut World<'_>, sink: Sink, instance: usize, times: u32) -> Result<Struck> {
    let pipeline = world.plan.pipeline.clone();
    for _ in 0..times {
        let instance = world.instance(instance)?;
        let errors = instance.errors(&pipeline, sink).await?;
        instance.proxy(sink).hold(Kind::Write).struck(WRITE).await?.cut()?;
        sees_error(world, sink, errors).await?;
    }
    Ok(Struck::Over(format!("{times} lost, {times} errors seen")))
}

/// The sink has done what it was asked and says so, and the client sees a connection that broke.
async fn lose_answers(world: &mut World<'_>, sink: Sink, instance: usize, times: u32) -> Result<Struck> {
    let (pipeline, single) = (world.plan.pipeline.clone(), world.instances.len() == 1);
    let mut effects = 0;
    for _ in 0..times {
        let lost = world.instance(instance)?.proxy(sink).counts().answers_lost;
        // With a single instance it was this one's write that had the effect, as nobody else writes.
        let (answer, effect) = answered(world, sink, instance, single && effects == 0).await?;
        effects += i64::from(effect);
        let errors = world.instance(instance)?.errors(&pipeline, sink).await?;
        answer.cut()?;
        sees_error(world, sink, errors).await?;
        let proxy = world.instance(instance)?.proxy(sink);
        check::at_least("answers lost", proxy.counts().answers_lost, lost + 1)?;
    }
    Ok(Struck::Over(format!("{times} lost, {effects} had an effect, {times} errors seen")))
}

/// A write that the sink has done and whose answer is held back, and whether it brought records along. Where one that did is wanted, those
/// that did not are let go on: pieces of a window that is made anew, what was tried before, further windows of a write that was under way.
async fn answered(world: &mut World<'_>, sink: Sink, instance: usize, wanted: bool) -> Result<(Held, bool)> {
    let mut request = world.instance(instance)?.proxy(sink).hold(Kind::Write).struck(WRITE).await?;
    for _ in 0..MOST_ANSWERS {
        let before = world.taken(sink).await?;
        let answer = request.hold_answer()?.struck(WRITE).await?;
        let effect = world.taken(sink).await? > before;
        if effect || !wanted {
            return Ok((answer, effect));
        }
        // Armed before this one goes on, so that none slips by; the client may have given it up meanwhile.
        let mut next = world.instance(instance)?.proxy(sink).hold(Kind::Write);
        let _ = answer.release();
        request = next.struck(WRITE).await?;
    }
    anyhow::bail!("none of {MOST_ANSWERS} writes whose answers were held back had an effect")
}

/// Waits until some instance tells of more failed writes than `before`.
async fn sees_error(world: &World<'_>, sink: Sink, before: f64) -> Result<()> {
    wait::until("the client sees an error", WRITE, async || {
        let mut most: f64 = 0.0;
        for instance in &world.instances {
            // One that is just gone has nothing to tell.
            most = most.max(instance.errors(&world.plan.pipeline, sink).await.unwrap_or_default());
        }
        Ok(seen_if(most > before, || format!("{most} errors")))
    })
    .await
}

/// Freezes an instance for longer than the group waits for it, with a write on its way that has not arrived.
async fn freeze(world: &mut World<'_>, number: usize) -> Result<Struck> {
    let sink = if number.is_multiple_of(2) { Sink::Redis } else { Sink::Webhook };
    let group = world.group(sink).await?;
    let instance = world.instance(number)?;
    let late = instance.proxy(sink).hold(Kind::Write).struck(WRITE).await?;
    // It writes, so it is a member.
    let (members, _) = group.members().await?;
    instance.processor.process.freeze(STOP).await?;
    wait::until("the group gives up on the frozen one", COMPLETE, async || {
        let (now, state) = group.members().await?;
        Ok(seen_if(now < members, || format!("{now} members, {state}")))
    })
    .await?;
    if world.instances.len() > 1 {
        others_own_all(world, sink, number).await?;
    }
    Ok(Struck::Zombie { instance: number, sink, late, members })
}

/// Waits until the others have caught up in all partitions.
async fn others_own_all(world: &World<'_>, sink: Sink, frozen: usize) -> Result<()> {
    let then = world.bench.kafka.ends(&world.plan.topic).await?;
    wait::until(&format!("others take over what instance {frozen} had"), COMPLETE, async || {
        let committed = world.committed(sink).await?;
        let passed = then.iter().all(|(partition, end)| committed.get(partition) >= Some(end));
        Ok(seen_if(passed, || format!("{committed:?} of {then:?}")))
    })
    .await
}

/// Lets the write of the zombie arrive and the zombie itself live again: nothing goes back.
async fn thaw(
    world: &mut World<'_>,
    number: usize,
    sink: Sink,
    late: Held,
    members: usize,
) -> Result<String> {
    let positions = world.positions().await?;
    let committed = world.committed(sink).await?;
    let group = world.group(sink).await?;
    late.release()?;
    world.instance(number)?.processor.process.thaw()?;
    wait::until("the frozen one is a member again", COMPLETE, async || {
        let (now, state) = group.members().await?;
        Ok(seen_if(now >= members && state == "Stable", || format!("{now} members, {state}")))
    })
    .await?;
    never_back("position of the window", &numbered(&positions), &numbered(&world.positions().await?))?;
    never_back("offset committed", &committed, &world.committed(sink).await?)?;
    Ok(format!("given up by the group, thawed; a late write to {}, no position went back", sink.name()))
}

fn numbered(positions: &[i64]) -> Offsets {
    (0..).zip(positions.iter().copied()).collect()
}

fn never_back(what: &str, before: &Offsets, after: &Offsets) -> Result<()> {
    for (partition, before) in before {
        check::at_least(format!("{what} in {partition}"), after.get(partition), Some(before))?;
    }
    Ok(())
}
