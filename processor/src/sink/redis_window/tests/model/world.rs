//! Those who act in a history: workers that know nothing of each other, a ticker, and somebody with redis-cli.

use super::*;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) struct Worker {
    sink: RedisWindow,
    stands: Positions,
}

/// A feed that is behind another one: it has learnt the first half of what that one has, or more.
pub(super) struct Behind {
    feed: Arc<Feed>,
    seen: AtomicU64,
}

impl Behind {
    fn last(&self) -> u64 {
        self.feed.learnt_after(0, usize::MAX).last().map_or(0, |last| last.seen)
    }

    fn seen(&self) -> u64 {
        let half = self.last() / 2;
        self.seen.fetch_max(half, Ordering::Relaxed).max(half)
    }

    fn catch_up(&self) {
        self.seen.store(self.last(), Ordering::Relaxed);
    }
}

impl Contents for Behind {
    fn get(&self, id: Uuid) -> Option<Arc<Content>> {
        let seen = self.seen();
        let learnt = self.feed.learnt_after(0, usize::MAX);
        learnt.into_iter().rfind(|learnt| learnt.id == id && learnt.seen <= seen).map(|learnt| learnt.content)
    }

    fn learnt_after(&self, seen: u64, limit: usize) -> Vec<Learnt> {
        let last = self.seen();
        self.feed.learnt_after(seen, limit).into_iter().filter(|learnt| learnt.seen <= last).collect()
    }
}

pub(super) struct World {
    pub(super) feed: Arc<Feed>,
    pub(super) redis: MultiplexedConnection,
    pub(super) logs: Vec<Vec<Record>>,
    pub(super) workers: Vec<Worker>,
    pub(super) ticker: Ticker,
    /// Of the instance whose feed is behind.
    other_ticker: Ticker,
    behind: Arc<Behind>,
    pub(super) clock: i64,
    last: Option<(Spans, WindowBatch)>,
    /// How often each kind of thing happened, so that the test knows what it has seen.
    pub(super) happened: BTreeMap<&'static str, usize>,
}

fn key_of(partition: Partition) -> usize {
    usize::try_from(partition).expect("small")
}

impl World {
    pub(super) async fn new(server: &Server, logs: Vec<Vec<Record>>) -> Self {
        let mut redis = server.connect().await;
        redis::cmd("FLUSHALL").exec_async(&mut redis).await.expect("flush");
        set_clock(&mut redis, START).await;
        let window = |(key, length, by): (&str, u64, By)| {
            Window::new(key, Duration::from_secs(length)).expect("a window").by(by)
        };
        let feed = Arc::new(Feed::default());
        let mut settings = Settings::new(&server.url(), WINDOWS.map(window).to_vec()).expect("settings");
        settings.contents = Arc::clone(&feed) as _;
        let behind = Arc::new(Behind { feed: Arc::clone(&feed), seen: AtomicU64::new(0) });
        let other = Settings { contents: Arc::clone(&behind) as _, ..settings.clone() };
        let worker = |settings| Worker { sink: lane(settings, 1).0, stands: Positions::new() };
        let workers = [&settings, &settings, &other].map(worker).into();
        let (ticker, other_ticker) = (lane(&settings, 2).1, lane(&other, 2).1);
        let (clock, last, happened) = (START, None, BTreeMap::new());
        let mut world =
            Self { feed, redis, logs, workers, ticker, other_ticker, behind, clock, last, happened };
        for worker in 0..3 {
            world.ask(worker).await;
        }
        world
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// A worker asks where to go on.
    pub(super) async fn ask(&mut self, worker: usize) {
        let worker = &mut self.workers[worker];
        let held = worker.sink.positions(&log(), &PARTITIONS).await.expect("positions");
        worker.stands = PARTITIONS.iter().map(|p| (*p, held.of(*p).unwrap_or(0))).collect();
    }

    pub(super) async fn step(&mut self, step: Step) {
        match step {
            Step::Write { worker, partitions, records } => self.write(worker, &partitions, records).await,
            Step::Again { worker } => {
                // A worker that was told that nothing is held begins anew: it has dropped what it had read.
                let stands = |span: &Span| self.workers[worker].stands[&span.partition] >= span.from;
                if let Some((spans, batch)) = self.last.clone().filter(|(spans, _)| spans.iter().all(stands))
                {
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
                for number in 0..times {
                    let ticker = if number % 2 == 0 { &mut self.ticker } else { &mut self.other_ticker };
                    ticker.tick().await.expect("a tick");
                }
            }
            Step::Turn { content, to } => self.feed.learn(content.into(), TYPES[to]),
            Step::HidePublic { window } => self.remove(WINDOWS[window].0.to_owned()).await,
            Step::Lose { window, key } => {
                self.remove(format!("{}{}", PREFIXES[window], COMPANIONS[key])).await;
            }
            Step::Flush => {
                redis::cmd("FLUSHALL").exec_async(&mut self.redis).await.expect("flush");
                set_clock(&mut self.redis, self.clock).await;
            }
            Step::Settle => self.settle().await,
        }
    }

    /// All that is due is done, and every instance has learnt and told what there is.
    pub(super) async fn settle(&mut self) {
        self.behind.catch_up();
        drain(&mut self.other_ticker).await;
        drain(&mut self.ticker).await;
    }

    async fn remove(&mut self, key: String) {
        redis::cmd("DEL").arg(key).exec_async(&mut self.redis).await.expect("del");
    }

    /// Moves a worker by records, not by offsets.
    fn shift(&mut self, worker: usize, partition: Partition, records: usize, back: bool) {
        let log = &self.logs[key_of(partition)];
        let stands = self.workers[worker].stands.get_mut(&partition).expect("asked");
        if *stands == 0 {
            return; // it may give a first position, and so decides where the log begins
        }
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
                let back = |span: &Span| held.get(&span.partition).copied();
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
}
