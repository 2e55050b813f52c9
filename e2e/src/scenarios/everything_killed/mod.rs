//! kill -9 of every part while rows are inserted, updated and deleted: each three times, then all in random order.
//!
//! Rows come by statements: those whose records share their place in the log are the matter of `places_killed`.

mod victim;

use crate::harness::bench::COMPLETE;
use crate::harness::changes::{self, Changes};
use crate::harness::config::{By, Window};
use crate::harness::kafka::{EVENTS, Offsets};
use crate::harness::process::Process;
use crate::harness::wait::{self, Look, seen_if};
use crate::harness::{Bench, Measured, Plan, Processor, Receiver, check, effects};
use anyhow::{Result, ensure};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};
use victim::Victim;

/// Kills of one part in its scenario.
const KILLS: usize = 3;
/// Names the order of the random kills, to run it again.
const SEED: &str = "DELTAFAN_E2E_SEED";
/// Kills of one part that may come too late before the scenario gives up.
const MOST_LATE: usize = 5;
/// What `deltafan generate` is told: every kind of change, at a rate at which some are always on their way.
const LOAD: [&str; 11] = [
    "generate",
    "--rate",
    "1000",
    "--null-share",
    "0.05",
    "--late-share",
    "0.05",
    "--update-share",
    "0.15",
    "--delete-share",
    "0.1",
];
/// Changes that are committed and not yet stored at the receiver when a kill is ordered.
const LEAST_WAITING: i64 = 10;
/// Changes in all, at least.
const LEAST_CHANGES: i64 = 10_000;
/// Looks follow each other closely: what waits is through within milliseconds.
const PAUSE: Duration = Duration::from_millis(10);
const BEFORE: Duration = Duration::from_secs(1);
const STOP: Duration = Duration::from_secs(30);

pub async fn receiver(bench: &Bench) -> Result<Measured> {
    run(bench, &[Victim::Receiver; KILLS]).await
}

pub async fn postgres(bench: &Bench) -> Result<Measured> {
    run(bench, &[Victim::Postgres; KILLS]).await
}

pub async fn kafka(bench: &Bench) -> Result<Measured> {
    run(bench, &[Victim::Kafka; KILLS]).await
}

pub async fn connect(bench: &Bench) -> Result<Measured> {
    run(bench, &[Victim::Connect; KILLS]).await
}

pub async fn at_random(bench: &Bench) -> Result<Measured> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse()?,
        Err(_) => rand::random::<u32>().into(),
    };
    let mut dice = StdRng::seed_from_u64(seed);
    let mut order = Victim::ALL;
    order.shuffle(&mut dice);
    let mut measured = run(bench, &order).await?;
    measured.add(format!("{SEED}={seed}"));
    Ok(measured)
}

/// A pipeline under way.
struct Scene<'b> {
    bench: &'b Bench,
    plan: Plan,
    receiver: Receiver,
    processor: Processor,
    changes: Changes<'b>,
    /// Where the topic ended before.
    begins: Offsets,
}

/// How things stood when a kill was ordered.
struct Moment {
    per_second: i64,
    /// Changes stored at the receiver, and how many the processor then knew of that were acknowledged in its life.
    stored: i64,
    acknowledged: i64,
}

async fn run(bench: &Bench, order: &[Victim]) -> Result<Measured> {
    let changes = Changes::watch(bench).await?;
    let receiver = bench.receiver().await?;
    let mut plan = bench.plan(&receiver)?;
    for (by, name) in [(By::ContentType, "types"), (By::Device, "devices")] {
        plan.windows.push(Window { key: format!("{}:1h:{name}", plan.pipeline), length: "1h", by });
    }
    let processor = bench.processor(&plan).await?;
    let begins = bench.kafka.ends(EVENTS).await?;
    let mut scene = Scene { bench, plan, receiver, processor, changes, begins };
    let mut generator = bench.deltafan("generate", &LOAD).start()?;
    let ended = scene.kills(order, &mut generator).await;
    let ended = match ended {
        Ok(measured) => scene.finish(generator, measured).await,
        Err(error) => {
            // It must not write while the trigger is taken away; and what went wrong first is what is told.
            generator.kill()?;
            Err(error)
        }
    };
    let forgotten = scene.changes.forget().await;
    let measured = ended?;
    forgotten.map(|()| measured)
}

impl Scene<'_> {
    async fn kills(&mut self, order: &[Victim], generator: &mut Process) -> Result<Measured> {
        let mut measured = Measured::default();
        for victim in order {
            let mut late = 0;
            while !self.one_kill(*victim, generator, &mut measured).await? {
                late += 1;
                ensure!(late < MOST_LATE, "{victim}: {late} kills came when nothing was in flight any more");
            }
        }
        Ok(measured)
    }

    /// Kills the victim and waits until all goes on. Whether it struck: between the moment and the kill itself all that
    /// waited may have come through.
    async fn one_kill(
        &mut self,
        victim: Victim,
        generator: &mut Process,
        measured: &mut Measured,
    ) -> Result<bool> {
        let moment = self.moment().await?;
        ensure!(generator.runs(), "the generator has ended by itself");
        victim.kill(self).await?;
        let killed = SystemTime::now();
        let delivered = self.delivered(victim, &moment).await?;
        victim.start_again(self).await?;
        let in_flight = self.changes.count_until(killed).await? - delivered;
        let committed = self.changes.count().await?;
        let began = Instant::now();
        let after = self.moves_on(committed).await?;
        if in_flight < 1 {
            measured.add(format!("{victim}: one too late"));
            return Ok(false);
        }
        check::at_least("changes stored in the second before a kill", moment.per_second, 1)?;
        check::at_least("changes committed after a kill", after, 1)?;
        measured.add(format!(
            "{victim}: {in_flight} in flight, {}/s before, moving {:.1} s later, {after} changes after",
            moment.per_second,
            began.elapsed().as_secs_f64()
        ));
        Ok(true)
    }

    /// Waits for a moment at which a kill hurts: changes wait on their way, and in the second before some got there.
    async fn moment(&self) -> Result<Moment> {
        let mut history: VecDeque<(Instant, i64)> = VecDeque::new();
        wait::until_every(PAUSE, "changes are on their way", COMPLETE, async || {
            let acknowledged = self.acknowledged().await?;
            let stored = self.receiver.remote.stats().await?.total_events;
            let waiting = self.changes.count().await? - stored;
            let now = Instant::now();
            history.push_back((now, stored));
            while history.get(1).is_some_and(|(at, _)| now - *at >= BEFORE) {
                history.pop_front();
            }
            let (since, stored_then) = history.front().copied().unwrap_or((now, stored));
            let per_second = stored - stored_then;
            Ok(if now - since >= BEFORE && waiting >= LEAST_WAITING && per_second > 0 {
                Look::Seen(Moment { per_second, stored, acknowledged })
            } else {
                Look::NotYet(format!("{waiting} wait, {per_second}/s were stored"))
            })
        })
        .await
    }

    /// Changes that had reached the receiver when the victim was dead. A dead receiver can't be asked: then by what it
    /// acknowledged.
    async fn delivered(&self, victim: Victim, moment: &Moment) -> Result<i64> {
        match victim {
            Victim::Receiver => Ok(moment.stored + self.acknowledged().await? - moment.acknowledged),
            _ => Ok(self.receiver.remote.stats().await?.total_events),
        }
    }

    /// Events that the receiver acknowledged in the processor's life.
    async fn acknowledged(&self) -> Result<i64> {
        let [_, webhook] = self.processor.admin.done(&self.plan.pipeline).await?;
        Ok(format!("{:.0}", webhook.events).parse()?)
    }

    /// Waits until changes that were committed after the victim was back are in both sinks; how many there are by then.
    async fn moves_on(&self, committed: i64) -> Result<i64> {
        let key = self.plan.key()?;
        let before = self.bench.redis.board(key).await?;
        wait::until("both sinks move again", COMPLETE, async || {
            let stored = self.receiver.remote.stats().await?.total_events;
            let moves = stored > committed && self.bench.redis.board(key).await? != before;
            Ok(seen_if(moves, || format!("{stored} changes stored, {committed} were committed")))
        })
        .await?;
        Ok(self.changes.count().await? - committed)
    }

    /// Ends the load, waits until both sinks are complete, and compares them with what happened.
    async fn finish(&mut self, mut generator: Process, mut measured: Measured) -> Result<Measured> {
        wait::until(&format!("{LEAST_CHANGES} changes"), COMPLETE, async || {
            let count = self.changes.count().await?;
            Ok(seen_if(count >= LEAST_CHANGES, || format!("{count} so far")))
        })
        .await?;
        let status = generator.terminate(STOP).await?;
        ensure!(status.success(), "deltafan generate ended with {status}");
        ensure!(self.processor.process.runs(), "the processor has ended");
        let bench = self.bench;
        let happened = self.changes.all().await?;
        let expected = i64::try_from(happened.len())?;
        let kinds = |op: &str| happened.iter().filter(|change| change.op == op).count();
        for op in ["c", "u", "d"] {
            check::at_least(format!("changes of kind {op}"), i64::try_from(kinds(op))?, 1)?;
        }
        bench.receiver_holds(&self.receiver, expected).await?;
        for Window { key, by, .. } in &self.plan.windows {
            effects::board_equals_sql(&bench.db, &bench.redis, (key, *by), "1 hour", COMPLETE).await?;
        }
        bench.no_lag(&self.plan).await?;
        let mut members = Vec::new();
        for Window { key, by, .. } in &self.plan.windows {
            // Again, now that nothing can come any more: an effect too many may have come last.
            let by_sql = effects::board_by_sql(&bench.db, "1 hour", *by).await?;
            let actual = bench.redis.board(key).await?;
            check::no_differences(format!("{key} and SQL"), &effects::board_differences(&actual, &by_sql))?;
            check::at_least(format!("members of {key}"), i64::try_from(actual.len())?, 2)?;
            members.push(format!("{} by {}", actual.len(), by.as_str()));
        }
        let records = self.bench.kafka.records(EVENTS, self.begins.clone()).await?.len();
        // A delete has a tombstone behind it. Sinks are right also where the topic has changes twice; but it should not.
        let too_many = records.saturating_sub(happened.len() + kinds("d"));
        if too_many > 0 {
            measured.add(format!("{too_many} of {records} records of the topic are there twice"));
        }
        changes::compare(happened, self.receiver.remote.events().await?)?;
        let stats = self.receiver.remote.stats().await?;
        check::equal("events at the receiver", stats.total_events, expected)?;
        measured.add(format!(
            "{expected} changes once at the receiver, {} in Redis to the ms, {} repeats refused",
            members.join(", "),
            stats.duplicates
        ));
        Ok(measured)
    }
}
