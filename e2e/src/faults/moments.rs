//! An instance is killed at a named moment: a proxy holds back just what must not have happened yet.

use super::load;
use super::plan::{Does, Moment, Sink};
use super::strike::{Struck, WRITE};
use super::world::World;
use crate::harness::bench::COMPLETE;
use crate::harness::check;
use crate::harness::kafka::{EVENTS, Record};
use crate::harness::proxy::{Held, Kind};
use crate::harness::wait::{self, Look, seen_if};
use anyhow::{Context, Result, ensure};
use std::time::Duration;

/// Rows that come in at once so that a lane is far behind: more than one write of a sink takes.
const FAR: u32 = 6000;
/// How long the broker may stay frozen.
const FROZEN: Duration = Duration::from_secs(20);
/// Rows that come in at once so that there is one for each partition.
const FEW: u32 = 40;
/// What must still wait when it is killed.
const STILL_WAITING: i64 = 1000;
/// Writes of a lane among which there must be one of the kind that is waited for.
const MOST_WRITES: usize = 200;
const COMMAND: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(30);

/// Kills an instance at that moment in one of its lanes.
pub(super) async fn kill_at(
    world: &mut World<'_>,
    moment: Moment,
    sink: Sink,
    instance: usize,
) -> Result<Struck> {
    let at = At { sink, instance };
    match moment {
        Moment::BeforeWrite => at.before_write(world).await,
        Moment::AfterWrite => at.after_write(world).await,
        Moment::BeforeCommit => at.before_commit(world).await,
        Moment::Rebalance => at.rebalance(world).await,
        Moment::FarBehind => at.far_behind(world).await,
        Moment::Tick => at.tick(world).await,
        Moment::Rewinding => at.rewinding(world).await,
        Moment::Rebuilding => at.rebuilding(world).await,
        Moment::DeadLetter => at.dead_letter(world).await,
    }
}

struct At {
    sink: Sink,
    instance: usize,
}

impl At {
    /// Waits for a request of the instance, and holds it back.
    async fn request(&self, world: &mut World<'_>, kind: Kind) -> Result<Held> {
        let proxy = world.instance(self.instance)?.proxy(self.sink);
        proxy.hold(kind).struck(WRITE).await
    }

    async fn answer(&self, world: &mut World<'_>, kind: Kind) -> Result<Held> {
        self.request(world, kind).await?.hold_answer()?.struck(WRITE).await
    }

    fn kill(&self, world: &mut World<'_>) -> Result<()> {
        world.instance(self.instance)?.processor.process.kill()
    }

    fn gone(&self, why: impl Into<String>) -> Struck {
        Struck::Gone { instance: self.instance, why: why.into() }
    }

    async fn before_write(&self, world: &mut World<'_>) -> Result<Struck> {
        let request = self.request(world, Kind::Write).await?;
        let before = world.taken(self.sink).await?;
        self.kill(world)?;
        request.cut()?;
        if world.instances.len() == 1 {
            check::equal(
                "what the sink took of a write that never came",
                world.taken(self.sink).await?,
                before,
            )?;
        }
        Ok(self.gone("with a write that the sink never saw"))
    }

    async fn after_write(&self, world: &mut World<'_>) -> Result<Struck> {
        let mut request = self.request(world, Kind::Write).await?;
        for _ in 0..MOST_WRITES {
            let before = world.taken(self.sink).await?;
            let answer = request.hold_answer()?.struck(WRITE).await?;
            let effect = world.taken(self.sink).await? - before;
            if before > 0 && effect > 0 {
                self.kill(world)?;
                drop(answer);
                return Ok(self.gone(format!("with {effect} taken of which it never heard")));
            }
            // It is part of a window that is made anew, or was refused: it brought no record along.
            request = self.next_write(world, answer).await?;
        }
        anyhow::bail!("{MOST_WRITES} writes later no record has had an effect")
    }

    /// Lets what is held go on, and holds back the next write.
    async fn next_write(&self, world: &mut World<'_>, held: Held) -> Result<Held> {
        // Armed before the one before it goes on, so that none slips by.
        let mut next = world.instance(self.instance)?.proxy(self.sink).hold(Kind::Write);
        // The client may have given it up meanwhile.
        let _ = held.release();
        next.struck(WRITE).await
    }

    async fn before_commit(&self, world: &mut World<'_>) -> Result<Struck> {
        // The next one is a second away: what is written now is known to Kafka only then.
        let old = world.committed(self.sink).await?;
        let committed = wait::until("a commit", COMPLETE, async || {
            let now = world.committed(self.sink).await?;
            Ok(if now == old { Look::NotYet(format!("{now:?}")) } else { Look::Seen(now) })
        })
        .await?;
        let answer = self.answer(world, Kind::Write).await?;
        let delivered = self.delivered(world).await?;
        answer.release()?;
        wait::until("the instance knows of its write", COMPLETE, async || {
            let now = self.delivered(world).await?;
            Ok(seen_if(now > delivered, || format!("{now} delivered")))
        })
        .await?;
        self.kill(world)?;
        let before = world.receiver.remote.stats().await?.duplicates;
        let known: i64 = world.committed(self.sink).await?.values().sum();
        if self.sink == Sink::Redis {
            let has = world.taken(Sink::Redis).await?;
            check::at_least("what Redis has and Kafka does not know of", has - known, 1)?;
            return Ok(self.gone(format!("{} offsets further than Kafka knows", has - known)));
        }
        let commits = known - committed.values().sum::<i64>();
        let why = format!("{commits} offsets committed since the last but one write");
        Ok(Struck::Repeats { gone: vec![self.instance], sink: self.sink, before, why })
    }

    async fn delivered(&self, world: &World<'_>) -> Result<f64> {
        let instance = world.instances.get(self.instance).context("no such instance")?;
        let [redis, webhook] = instance.processor.admin.done(&world.plan.pipeline).await?;
        Ok(if self.sink == Sink::Redis { redis.events } else { webhook.events })
    }

    /// With three instances another one leaves while this one has a write in flight; the third is frozen, so that the group
    /// waits for it, up to the session time-out, and shares nothing out before this one is killed. A single one is killed
    /// again while it joins, for which the group waits for its former self as long.
    async fn rebalance(&self, world: &mut World<'_>) -> Result<Struck> {
        let others = world.instances.len();
        let group = world.group(self.sink).await?;
        if others == 1 {
            self.kill(world)?;
            world.instance(self.instance)?.processor.process.start_again()?;
            let state = group.rebalances(COMPLETE).await?;
            self.kill(world)?;
            return Ok(self.gone(format!("twice, the second time while the group was {state}")));
        }
        ensure!(others == 3, "a rebalance is held up by a third instance; there are {others}");
        let [leaves, stands] = [1, 2].map(|further| (self.instance + further) % others);
        let request = self.request(world, Kind::Write).await?;
        world.instance(stands)?.processor.process.freeze(STOP).await?;
        world.instance(leaves)?.processor.process.ask_to_end()?;
        let state = group.rebalances(COMPLETE).await;
        let killed = self.kill(world);
        world.instance(stands)?.processor.process.thaw()?;
        let (state, ()) = (state?, killed?);
        request.cut()?;
        let left = &mut world.instance(leaves)?.processor.process;
        ensure!(left.ended(STOP).await?.success(), "it did not end in order");
        left.start_again()?;
        Ok(self.gone(format!("while the group was {state}, with a write in flight")))
    }

    async fn far_behind(&self, world: &mut World<'_>) -> Result<Struck> {
        let request = self.request(world, Kind::Write).await?;
        world.bench.db.run(&load::statements(Does::Insert, FAR)).await?;
        let (group, topic) = (world.plan.group(self.sink.name()), world.plan.topic.clone());
        wait::until("the lane is far behind", COMPLETE, async || {
            let lag = world.bench.kafka.lag(&group, &topic).await?;
            Ok(seen_if(lag >= i64::from(FAR) / 2, || format!("{lag} records")))
        })
        .await?;
        // The client may have given it up meanwhile: then it comes again, and is the one that is held next.
        request.release()?;
        let answer = self.answer(world, Kind::Write).await?;
        self.kill(world)?;
        drop(answer);
        let lag = world.bench.kafka.lag(&group, &topic).await?;
        check::at_least("records that still wait", lag, STILL_WAITING)?;
        Ok(self.gone(format!("with {lag} records behind it")))
    }

    async fn tick(&self, world: &mut World<'_>) -> Result<Struck> {
        let answer = self.answer(world, Kind::Tick).await?;
        self.kill(world)?;
        drop(answer);
        Ok(self.gone("with a window moved on of which it never heard"))
    }

    /// The lane is ordered to begin anew, and is killed when the sink has the first of what it writes again.
    async fn rewinding(&self, world: &mut World<'_>) -> Result<Struck> {
        let request = self.request(world, Kind::Write).await?;
        let before = self.begun_anew(world).await?;
        let config = world.bench.folder.join(format!("instance-{}.yaml", self.instance));
        let config = config.to_str().context("the folder's name is no UTF-8")?;
        let words = ["reset", self.sink.name(), "--to", "earliest", "--config", config];
        let (status, said) = world.bench.deltafan("order", &words).run(COMMAND).await?;
        ensure!(status.success(), "the reset ended with {status}: {said}");
        let mut held = request;
        for _ in 0..MOST_WRITES {
            held = self.next_write(world, held).await?.hold_answer()?.struck(WRITE).await?;
            let now = self.begun_anew(world).await?;
            if now > before {
                self.kill(world)?;
                return Ok(self.gone(format!("beginning anew, {}", now - before)));
            }
        }
        anyhow::bail!("{MOST_WRITES} writes later the lane has not begun anew")
    }

    /// Something that grows when a lane has written what it had written before: the number of the order that the window obeys,
    /// or what the receiver has refused as known.
    async fn begun_anew(&self, world: &World<'_>) -> Result<i64> {
        match self.sink {
            Sink::Redis => {
                let meta = format!("{{{}}}:meta", world.plan.key()?);
                world.bench.redis.number(&["HGET", &meta, "reset"]).await
            }
            Sink::Webhook => Ok(world.receiver.remote.stats().await?.duplicates),
        }
    }

    /// Redis is emptied, and the instance is killed when the first of what was in it is there again.
    async fn rebuilding(&self, world: &mut World<'_>) -> Result<Struck> {
        let request = self.request(world, Kind::Write).await?;
        let before = world.taken(Sink::Redis).await?;
        world.bench.redis.run(&["FLUSHALL"]).await?;
        // It writes to a window that is gone, is refused, and begins anew.
        request.release()?;
        wait::until("a window is there again", COMPLETE, async || {
            let positions = world.positions().await?;
            Ok(seen_if(!positions.is_empty(), || "none".to_owned()))
        })
        .await?;
        let answer = self.answer(world, Kind::Write).await?;
        let now = world.taken(Sink::Redis).await?;
        self.kill(world)?;
        drop(answer);
        Ok(self.gone(format!("at {now} of {before}")))
    }

    /// Records that nobody can decode: their letters are on their way to a broker that is frozen.
    async fn dead_letter(&self, world: &mut World<'_>) -> Result<Struck> {
        // Nothing else lies before them.
        world.pause(true).await?;
        let killed = self.poison(world).await;
        world.pause(false).await?;
        killed?;
        Ok(self.gone("with dead letters on their way to a broker that was frozen"))
    }

    async fn poison(&self, world: &mut World<'_>) -> Result<()> {
        let (group, topic) = (world.plan.group(self.sink.name()), world.plan.topic.clone());
        wait::until("the lane has caught up", COMPLETE, async || {
            let lag = world.bench.kafka.lag(&group, &topic).await?;
            Ok(seen_if(lag == 0, || format!("{lag} records")))
        })
        .await?;
        let mut next = world.instance(self.instance)?.proxy(self.sink).hold(Kind::Write);
        world.bench.db.run(&load::statements(Does::Insert, FEW)).await?;
        let request = next.struck(WRITE).await?;
        let (before, delivered) = (self.read(world).await?, self.delivered(world).await?);
        let poison = Record {
            key: Some(b"{\"id\":0}".to_vec()),
            value: Some(b"poison".to_vec()),
            ..Record::default()
        };
        for partition in world.bench.kafka.ends(EVENTS).await?.into_keys() {
            world.bench.kafka.produce(EVENTS, partition, std::slice::from_ref(&poison)).await?;
            world.poisoned += 1;
        }
        wait::until("the poison is read", COMPLETE, async || {
            let read = self.read(world).await? - before;
            Ok(seen_if(read > 0, || "nothing came".to_owned()))
        })
        .await?;
        world.bench.stack.run(&["freeze", "kafka"]).await?;
        // The client may have given it up meanwhile: then it comes again.
        let _ = request.release();
        let known = wait::until("the write before it is known", FROZEN, async || {
            let now = self.delivered(world).await?;
            Ok(seen_if(now > delivered, || format!("{now} delivered")))
        });
        let killed = known.await.and_then(|()| self.kill(world));
        world.bench.stack.run(&["thaw", "kafka"]).await?;
        killed
    }

    /// Records that the instance has read.
    async fn read(&self, world: &World<'_>) -> Result<i64> {
        let instance = world.instances.get(self.instance).context("no such instance")?;
        let labels = [("pipeline", world.plan.pipeline.as_str()), ("sink", self.sink.name())];
        let read = instance.processor.admin.metrics().await?.sum("deltafan_records_read_total", &labels);
        Ok(format!("{read:.0}").parse()?)
    }
}
