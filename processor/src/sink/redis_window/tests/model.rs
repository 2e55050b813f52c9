//! Random histories against a naive model: several workers that know nothing of each other write the same log to two
//! windows, again and again, from wherever they happen to stand, while time passes, ticks do little at a time, and
//! things are removed by hand. Whatever happens, a window holds each record below its position exactly once.

use super::*;
use crate::position::Held;
use proptest::prelude::*;
use std::collections::BTreeMap;

const WINDOWS: [(&str, u64); 2] = [("short", 4), ("{long}", 25)];
const PARTITIONS: [Partition; 3] = [0, 1, 2];
const START: i64 = 1_000_000;

/// What happens next.
#[derive(Debug, Clone)]
enum Step {
    /// A worker writes so many records of these partitions, from where it believes to stand.
    Write { worker: usize, partitions: Vec<Partition>, records: usize },
    /// The last write is made again, by another worker.
    Again { worker: usize },
    /// A worker goes back by so many records.
    Back { worker: usize, partition: Partition, records: usize },
    /// A worker has missed records, by a bug elsewhere.
    Ahead { worker: usize, partition: Partition, records: usize },
    /// Time passes, or goes back.
    Pass { seconds: i64 },
    /// A tick of little.
    Tick { times: usize },
    /// The public key is removed by hand.
    HidePublic { window: usize },
    /// A key without which the window is lost is removed by hand.
    Lose { window: usize, key: usize },
    /// Everything is.
    Flush,
    /// All that is due is done: now it is compared.
    Settle,
}

const COMPANIONS: [&str; 4] = ["meta", "positions", "totals", "buckets"];

fn step() -> impl Strategy<Value = Step> {
    let worker = || 0usize..3;
    let partition = || prop::sample::select(&PARTITIONS[..]);
    let subset = prop::sample::subsequence(&PARTITIONS[..], 1..=3);
    prop_oneof![
        12 => (worker(), subset, 0usize..25)
            .prop_map(|(worker, partitions, records)| Step::Write { worker, partitions, records }),
        3 => worker().prop_map(|worker| Step::Again { worker }),
        3 => (worker(), partition(), 1usize..20)
            .prop_map(|(worker, partition, records)| Step::Back { worker, partition, records }),
        1 => (worker(), partition(), 1usize..9)
            .prop_map(|(worker, partition, records)| Step::Ahead { worker, partition, records }),
        6 => (-3i64..9).prop_map(|seconds| Step::Pass { seconds }),
        8 => (1usize..4).prop_map(|times| Step::Tick { times }),
        2 => (0usize..2).prop_map(|window| Step::HidePublic { window }),
        1 => (0usize..2, 0usize..4).prop_map(|(window, key)| Step::Lose { window, key }),
        1 => Just(Step::Flush),
        4 => Just(Step::Settle),
    ]
}

/// Numbers that a seed determines (splitmix64): a failing history is told by its seed and its steps.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> i64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        i64::try_from((mixed ^ (mixed >> 31)) % n).expect("small")
    }

    fn image(&mut self) -> Image {
        let second = match self.below(10) {
            0 => 0,
            1 => 9_224_318_015_999,
            _ => START - 10 + self.below(70),
        };
        let ms = match self.below(10) {
            0 => -7,
            1 => 0,
            2 => i64::from(i32::MAX),
            _ => 1 + self.below(100_000),
        };
        Image::new(self.below(12).unsigned_abs().into(), second, ms)
    }
}

/// The logs of all partitions; offsets have holes.
fn logs(seed: u64) -> Vec<Vec<Record>> {
    let mut dice = Dice(seed);
    let mut log = || {
        let mut offset = 0;
        let mut record = |_| {
            offset += 1 + dice.below(2);
            let before = (dice.below(10) < 4).then(|| dice.image());
            let after = (dice.below(10) < 8).then(|| dice.image());
            Record { offset, before, after }
        };
        (0..60).map(&mut record).collect()
    };
    PARTITIONS.iter().map(|_| log()).collect()
}

struct Worker {
    sink: RedisWindow,
    stands: Positions,
}

struct World {
    redis: MultiplexedConnection,
    logs: Vec<Vec<Record>>,
    workers: Vec<Worker>,
    ticker: Ticker,
    clock: i64,
    last: Option<(Spans, WindowBatch)>,
    /// How often each kind of thing happened, so that the test knows what it has seen.
    happened: BTreeMap<&'static str, usize>,
}

fn key_of(partition: Partition) -> usize {
    usize::try_from(partition).expect("small")
}

impl World {
    async fn new(server: &Server, logs: Vec<Vec<Record>>) -> Self {
        let mut redis = server.connect().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
        set_clock(&mut redis, START).await;
        let settings = settings(server, &WINDOWS);
        let worker = |_| Worker { sink: lane(&settings, 1).0, stands: Positions::new() };
        let (workers, ticker) = ((0..3).map(worker).collect(), lane(&settings, 2).1);
        let mut world =
            Self { redis, logs, workers, ticker, clock: START, last: None, happened: BTreeMap::new() };
        for worker in 0..3 {
            world.ask(worker).await;
        }
        world
    }

    fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A worker asks where to go on.
    async fn ask(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let held = worker.sink.positions(&log(), &PARTITIONS).await.expect("positions");
        worker.stands = PARTITIONS.iter().map(|p| (*p, held.of(*p).unwrap_or(0))).collect();
    }

    async fn step(&mut self, step: Step) {
        match step {
            Step::Write { worker, partitions, records } => self.write(worker, &partitions, records).await,
            Step::Again { worker } => {
                if let Some((spans, batch)) = self.last.clone() {
                    self.send(worker, spans, batch).await;
                }
            }
            Step::Back { worker, partition, records } => self.shift(worker, partition, records, true),
            Step::Ahead { worker, partition, records } => self.shift(worker, partition, records, false),
            Step::Pass { seconds } => {
                set_clock(&mut self.redis, self.clock + seconds).await;
                self.clock = self.clock.max(self.clock + seconds);
            }
            Step::Tick { times } => {
                for _ in 0..times {
                    self.ticker.tick().await.expect("a tick");
                }
            }
            Step::HidePublic { window } => self.remove(WINDOWS[window].0.to_owned()).await,
            Step::Lose { window, key } => {
                let prefix = ["{short}:", "{long}:"][window];
                self.remove(format!("{prefix}{}", COMPANIONS[key])).await;
            }
            Step::Flush => {
                redis::cmd("FLUSHALL").exec_async(&mut self.redis).await.expect("flush");
                set_clock(&mut self.redis, self.clock).await;
            }
            Step::Settle => drain(&mut self.ticker).await,
        }
    }

    async fn remove(&mut self, key: String) {
        redis::cmd("DEL").arg(key).exec_async(&mut self.redis).await.expect("del");
    }

    /// Moves a worker by records, not by offsets.
    fn shift(&mut self, worker: usize, partition: Partition, records: usize, back: bool) {
        let log = &self.logs[key_of(partition)];
        let stands = self.workers[worker].stands.get_mut(&partition).expect("asked");
        let at = log.partition_point(|record| record.offset < *stands);
        let to = if back { at.saturating_sub(records) } else { (at + records).min(log.len() - 1) };
        *stands = log[to].offset;
    }

    async fn write(&mut self, worker: usize, partitions: &[Partition], records: usize) {
        let (mut spans, mut batch) = (Spans::default(), self.workers[worker].sink.batch());
        for partition in partitions {
            let from = self.workers[worker].stands[partition];
            let rest = self.logs[key_of(*partition)].iter().filter(|record| record.offset >= from);
            for record in rest.take(records) {
                spans.extend(*partition, from, record.offset);
                push(&mut batch, *partition, record).expect("taken");
            }
        }
        self.send(worker, spans, batch).await;
    }

    async fn send(&mut self, worker: usize, spans: Spans, batch: WindowBatch) {
        let write = Write { log: &log(), spans: &spans, batch: &batch };
        let written = self.workers[worker].sink.write(write).await.expect("an answer");
        match written {
            Written::Durable { .. } => {
                self.count("durable");
                let stands = &mut self.workers[worker].stands;
                stands.extend(spans.iter().map(|span| (span.partition, span.to)));
                self.last = Some((spans, batch));
            }
            Written::Behind(Held::At(held)) => {
                self.count("behind");
                let back = |span: &crate::position::Span| held.get(&span.partition).copied();
                if spans.iter().all(|span| back(span).is_some()) {
                    self.count("behind, told where");
                    let stands = &mut self.workers[worker].stands;
                    stands.extend(spans.iter().map(|span| (span.partition, held[&span.partition])));
                } else {
                    self.ask(worker).await;
                }
            }
            Written::Behind(Held::NotKept) => panic!("positions are kept"),
        }
    }

    async fn hash<T: std::str::FromStr>(&mut self, key: &str) -> BTreeMap<String, T> {
        let hash: BTreeMap<String, String> =
            redis::cmd("HGETALL").arg(key).query_async(&mut self.redis).await.expect("a hash");
        hash.into_iter().filter_map(|(field, value)| Some((field, value.parse().ok()?))).collect()
    }

    /// What holds after every step: totals are the sums of the cells, and the public key shows them, or is being made.
    async fn check_invariants(&mut self, window: usize) {
        let (key, prefix) = [("short", "{short}:"), ("{long}", "{long}:")][window];
        let meta = self.hash::<String>(&format!("{prefix}meta")).await;
        let Some(incarnation) = meta.get("incarnation") else { return };
        let sizes: String = {
            let mut sizes = Vec::new();
            for (command, name) in
                [("HLEN", "positions"), ("HLEN", "totals"), ("ZCARD", "buckets"), ("ZCARD", "future")]
            {
                let size: i64 = redis::cmd(command)
                    .arg(format!("{prefix}{name}"))
                    .query_async(&mut self.redis)
                    .await
                    .expect("a size");
                sizes.push(size.to_string());
            }
            sizes.join(":")
        };
        if meta["counts"] != sizes {
            return; // lost, and nobody has looked yet
        }
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        let cells: Vec<String> = redis::cmd("KEYS")
            .arg(format!("{prefix}b:{incarnation}:*"))
            .query_async(&mut self.redis)
            .await
            .expect("keys");
        for bucket in cells {
            for (member, ms) in self.hash::<i64>(&bucket).await {
                assert_ne!(ms, 0, "a cell of nothing");
                *sums.entry(member).or_default() += ms;
            }
        }
        sums.retain(|_, ms| *ms != 0);
        let totals = self.hash::<i64>(&format!("{prefix}totals")).await;
        assert_eq!(totals, sums, "the totals of {key} are the sums of its cells");
        let shown = board(&mut self.redis, key).await;
        if !meta.contains_key("cursor") && shown.len().to_string() == meta["visible"] {
            assert_eq!(shown, scores(&totals), "what clients see of {key}");
        }
    }

    /// After all that is due was done, a window holds just what lies in it, of each record below its position once.
    async fn check_against_model(&mut self, window: usize) {
        let ((key, length), prefix) = (WINDOWS[window], ["{short}:", "{long}:"][window]);
        if !self.hash::<String>(&format!("{prefix}meta")).await.contains_key("incarnation") {
            return;
        }
        let clock = self.hash::<i64>(&format!("{prefix}meta")).await["clock"];
        let first = clock - i64::try_from(length).expect("short");
        let mut expected: BTreeMap<String, i64> = BTreeMap::new();
        let positions = self.hash::<Offset>(&format!("{prefix}positions")).await;
        for (partition, records) in self.logs.iter().enumerate() {
            let held = positions.get(&format!("cluster/topic/{partition}")).copied().unwrap_or(0);
            for record in records.iter().filter(|record| record.offset < held) {
                for (image, sign) in [(record.before, -1), (record.after, 1)] {
                    let Some(Image { content: Some(content), ts: Some(ts), ms: Some(ms) }) = image else { continue };
                    let Timestamp::At { secs, .. } = ts else { continue };
                    if ms > 0 && (first..=clock).contains(&secs) {
                        *expected.entry(Uuid::from_u128(content).to_string()).or_default() += sign * ms;
                    }
                }
            }
        }
        expected.retain(|_, ms| *ms != 0);
        assert_eq!(self.hash::<i64>(&format!("{prefix}totals")).await, expected, "{key} at {clock}: {positions:?}");
        assert_eq!(board(&mut self.redis, key).await, scores(&expected), "{key} at {clock}");
        self.count("compared");
        if !expected.is_empty() {
            self.count("compared something");
        }
    }

    /// After all has left, nothing is left over.
    async fn check_empty(&mut self) {
        drain(&mut self.ticker).await;
        self.clock = 9_300_000_000_000;
        set_clock(&mut self.redis, self.clock).await;
        drain(&mut self.ticker).await;
        let mut keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut self.redis).await.expect("keys");
        // Of a window that was lost, the next opening clears the rest away.
        self.ask(0).await;
        drain(&mut self.ticker).await;
        keys = redis::cmd("KEYS").arg("*").query_async(&mut self.redis).await.unwrap_or(keys);
        keys.retain(|key| !["test:clock"].contains(&key.as_str()) && !key.ends_with(":positions"));
        keys.sort();
        let orphans = |key: &String| key.contains(":b:") || key.contains(":f:");
        let buckets_were_lost = self.happened.contains_key("lost buckets");
        keys.retain(|key| !(buckets_were_lost && orphans(key)));
        assert_eq!(keys, ["{long}:meta", "{short}:meta"]);
    }
}

fn scores(totals: &BTreeMap<String, i64>) -> Vec<(u128, f64)> {
    let visible = totals.iter().filter(|(_, ms)| **ms > 0);
    let score = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000).parse::<f64>().expect("a number");
    let mut scores: Vec<_> =
        visible.map(|(member, ms)| (Uuid::try_parse(member).expect("a UUID").as_u128(), score(*ms))).collect();
    scores.sort_by_key(|(member, _)| *member);
    scores
}

async fn history(server: &Server, logs: Vec<Vec<Record>>, steps: Vec<Step>) -> BTreeMap<&'static str, usize> {
    let mut world = World::new(server, logs).await;
    for step in steps {
        if matches!(&step, Step::Lose { key: 3, .. }) {
            world.count("lost buckets");
        }
        let settled = matches!(step, Step::Settle);
        world.step(step).await;
        for window in 0..WINDOWS.len() {
            world.check_invariants(window).await;
            if settled {
                world.check_against_model(window).await;
            }
        }
    }
    world.check_empty().await;
    world.happened
}

#[test]
fn any_history_leaves_each_record_in_the_windows_once() {
    let server = Server::start(&[]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let config = ProptestConfig { cases, failure_persistence: None, max_shrink_iters: 400, ..ProptestConfig::default() };
    let mut happened: BTreeMap<&str, usize> = BTreeMap::new();
    let seen = std::cell::RefCell::new(&mut happened);
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let result = runner.run(&(any::<u64>(), prop::collection::vec(step(), 1..60)), |(seed, steps)| {
        for (what, times) in runtime.block_on(history(&server, logs(seed), steps)) {
            *seen.borrow_mut().entry(what).or_default() += times;
        }
        Ok(())
    });
    result.expect("every history");
    for what in ["durable", "behind", "behind, told where", "compared", "compared something"] {
        assert!(happened.get(what).is_some_and(|times| *times >= 10), "too little of `{what}`: {happened:?}");
    }
}
