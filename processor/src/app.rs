//! The processor as a whole: the only place that knows every part. Starts the lanes of the configuration, and stops them
//! in order.

mod incomplete;
mod settings;

pub(crate) use self::settings::redis_settings;
use self::settings::{files_settings, uses_content, wants_content, webhook_settings};
use crate::admin;
use crate::config::{self, Config, Pipeline, Target};
use crate::connector;
use crate::control::{self, Orders};
use crate::deliver::{Breaker, DeadLetters, Lane, Rate, Reads, UnknownContent};
use crate::enrich::cache::Cache;
use crate::enrich::fence::Fence;
use crate::enrich::lookup::Lookup;
use crate::enrich::{Enricher, feed};
use crate::health::{Health, State, WorkerHealth};
use crate::lane::{self, Plan, Worker};
use crate::metrics::{self, LaneMetrics};
use crate::past::TopicAndTable;
use crate::position::FirstStart;
use crate::sink::discard::Discard;
use crate::sink::file::Files;
use crate::sink::redis_window::{self, RedisWindow, Ticker};
use crate::sink::webhook::Webhook;
use crate::source::Limits;
use crate::source::client::Cluster;
use crate::source::reader::Reading;
use crate::source::watch::{self, Seen};
use crate::transform::Content;
use anyhow::Context;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::sync::watch::{Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// Beyond the time that a stop may take, this long until the process gives up on a thread that hangs.
const LAST_PATIENCE: Duration = Duration::from_secs(2);
/// How often something that is not there yet is asked for.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// What one worker reads ahead at a time. What is on its way to the sink holds its records too: two requests, each within the bounds of
/// its own.
const CHUNK_MAX_RECORDS: usize = 4000;
const CHUNK_MAX_BYTES: usize = 1024 * 1024;
/// How often the end of the workers is looked for.
const LOOK: Duration = Duration::from_millis(10);

/// Runs until `stop`, or until the source refuses us.
///
/// # Errors
/// Cause and remedy: the configuration or the source is not as it must be.
pub async fn run(config: Config, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
    let health = Arc::new(Health::default());
    let handle = metrics::install().context("metrics")?;
    let listen = config.admin.listen;
    admin::serve(listen, Arc::clone(&health), handle).with_context(|| {
        format!(
            "the admin port {listen} can't be served; free it or set another by ADMIN_LISTEN (`admin.listen`)"
        )
    })?;
    if let Some(connect) = &config.connect {
        let settings = connector::Settings {
            url: connect.url.expose().to_owned(),
            connector: connect.connector.to_string(),
        };
        tokio::spawn(connector::watch(settings, Arc::clone(&health)));
    }
    let (failures, mut failed) = mpsc::unbounded_channel();
    let process = Arc::new(Process {
        cluster: cluster(&config),
        config,
        health,
        workers: Mutex::default(),
        stopping: Arc::new(AtomicBool::new(false)),
        orders: Sender::new(control::Known {
            missing: Some("reading what operators have ordered".to_owned()),
            ..control::Known::default()
        }),
        failed: Arc::new(move |why| {
            // Once the process is stopping nobody listens any more.
            let _ = failures.send(why);
        }),
    });
    process.follow_orders()?;
    let mut starting = JoinSet::new();
    for (name, pipeline) in process.config.pipelines.iter() {
        starting.spawn(Arc::clone(&process).pipeline(name.to_string(), pipeline.clone()));
    }
    let ended = tokio::select! {
        error = first_error(&mut starting) => Err(error),
        why = failed.recv() => Err(anyhow::anyhow!(why.unwrap_or_default())),
        () = stop => Ok(()),
    };
    starting.shutdown().await;
    process.stop().await;
    ended
}

/// Waits for a pipeline that could not be started; for ever if all could.
async fn first_error(starting: &mut JoinSet<anyhow::Result<()>>) -> anyhow::Error {
    while let Some(started) = starting.join_next().await {
        match started {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return error,
            Err(error) => return error.into(),
        }
    }
    std::future::pending().await
}

/// Where Kafka is, and how to reach it.
#[must_use]
pub fn cluster(config: &Config) -> Cluster {
    let properties = config.kafka.properties.iter();
    Cluster {
        brokers: config.kafka.brokers.to_string(),
        properties: properties.map(|(key, value)| (key.to_owned(), value.expose().to_owned())).collect(),
    }
}

/// A pipeline: its name, its settings, and what is seen of its topics.
type Road<'p> = (&'p str, &'p Pipeline, &'p Watched);

/// What is seen of the topics of a pipeline.
struct Watched {
    source: Receiver<Seen>,
    replays: Receiver<Seen>,
}

struct Process {
    cluster: Cluster,
    config: Config,
    health: Arc<Health>,
    workers: Mutex<Vec<Worker>>,
    stopping: Arc<AtomicBool>,
    failed: Arc<dyn Fn(String) + Send + Sync>,
    /// What operators order.
    orders: Sender<control::Known>,
}

impl Process {
    /// Starts to read what operators order.
    fn follow_orders(self: &Arc<Self>) -> anyhow::Result<()> {
        let process = Arc::clone(self);
        thread::Builder::new().name("control".to_owned()).spawn(move || {
            let topic = process.config.kafka.control_topic.to_string();
            let followed = control::follow::run(&process.cluster, &topic, &process.orders, &process.stopping);
            if let Err(error) = followed {
                (process.failed)(format!("orders can't be read from topic `{topic}`: {error}"));
            }
        })?;
        Ok(())
    }

    /// Starts the lanes of a pipeline: those that wait for no content at once, the others when the contents are loaded.
    async fn pipeline(self: Arc<Self>, name: String, pipeline: Pipeline) -> anyhow::Result<()> {
        let enabled = || pipeline.sinks.iter().filter(|(_, sink)| sink.enabled);
        let fed = pipeline.content.as_ref().filter(|_| enabled().any(|(_, sink)| uses_content(&sink.target)));
        let cache = fed.map(|content| self.feed(content)).transpose()?;
        let start = |topic: &str| watch::start(&self.cluster, topic, Arc::clone(&self.stopping));
        let source = start(&pipeline.topic.to_string())?;
        let watch = Watched { source, replays: start(&pipeline.replay_topic())? };
        let contents = Contents { cache: cache.clone(), enricher: None };
        let mut enriching = Vec::new();
        for (sink, settings) in enabled() {
            let health = self.health.workers(&format!("{name}/{sink}"), settings.workers.get());
            if wants_content(&settings.target) {
                enriching.push((sink, settings, health));
            } else {
                self.lane((&name, &pipeline, &watch), (sink.as_str(), settings), health, &contents)?;
            }
        }
        if let (Some(content), Some(cache), false) = (fed, cache, enriching.is_empty()) {
            let waits = |why: &str| {
                for worker in enriching.iter().flat_map(|(.., health)| health) {
                    worker.set(State::Waiting { why: why.to_owned() });
                }
            };
            let enricher = self.enricher(&name, content, Arc::clone(&cache), &waits).await?;
            let contents = Contents { cache: Some(cache), enricher: Some(enricher) };
            for (sink, settings, health) in enriching {
                self.lane((&name, &pipeline, &watch), (sink.as_str(), settings), health, &contents)?;
            }
        }
        Ok(())
    }

    /// Starts the feed of contents.
    fn feed(&self, content: &config::Content) -> anyhow::Result<Arc<Cache>> {
        let name = content.topic.to_string();
        let cache = Arc::new(Cache::default());
        let (cluster, fed, stopping) = (self.cluster.clone(), Arc::clone(&cache), Arc::clone(&self.stopping));
        let watch = watch::start(&cluster, &name, Arc::clone(&stopping))?;
        let failed = Arc::clone(&self.failed);
        thread::Builder::new().name("content".to_owned()).spawn(move || {
            if let Err(error) = feed::run(&cluster, (&name, watch), &fed, &stopping) {
                failed(format!("contents can't be read from topic `{name}`: {error}"));
            }
        })?;
        Ok(cache)
    }

    /// Waits until the feed has loaded what there is; `waits` is told why.
    async fn enricher(
        &self,
        pipeline: &str,
        content: &config::Content,
        cache: Arc<Cache>,
        waits: &(dyn Fn(&str) + Sync),
    ) -> anyhow::Result<Arc<Enricher>> {
        let topic = content.topic.to_string();
        waits(&format!("loading contents from topic `{topic}`"));
        let fence = Fence::start(&self.cluster, &topic).context("contents")?;
        let mut said = false;
        let watermarks = loop {
            match fence.watermarks().await {
                Some(watermarks) => break watermarks,
                None if std::mem::replace(&mut said, true) => {}
                None => {
                    let why = format!(
                        "kafka or the topic `{topic}` of the contents is not there yet; waiting for it: see whether kafka \
                         runs, and check the topic's name, or make it (stack/stack topics makes those of the stack)"
                    );
                    waits(&why);
                    tracing::warn!(pipeline, "the lanes that send contents wait: {why}");
                }
            }
            sleep(ASK_AGAIN).await;
        };
        waits(&format!("loading contents from topic `{topic}`"));
        cache.reach(&watermarks).await;
        tracing::info!(pipeline, topic, contents = cache.len(), "contents loaded");
        let database = self.config.postgres.url.expose().parse().context("`postgres.url`")?;
        let lookup = Lookup::new(database, self.config.postgres.lookup_timeout, Handle::current());
        Ok(Arc::new(Enricher::new(cache, fence, lookup, content.fence_timeout)))
    }

    /// Starts one lane.
    fn lane(
        &self,
        (pipeline, settings, watch): Road<'_>,
        (sink, target): (&str, &config::Sink),
        health: Vec<WorkerHealth>,
        contents: &Contents,
    ) -> anyhow::Result<()> {
        let plan =
            |reads| self.plan((pipeline, settings, watch), (sink, target), reads, contents.enricher.clone());
        let (plan, mut again) = (plan(Reads::Source), plan(Reads::Replays));
        // One sink, one rate: what is delivered again is sent to it too.
        again.lane.rate.clone_from(&plan.lane.rate);
        let replays = vec![self.health.replays(&plan.lane.name)];
        let mut workers = Vec::new();
        match &target.target {
            Target::RedisWindow(redis) => {
                let mut settings = redis_settings(redis).with_context(|| format!("sink `{sink}`"))?;
                if let Some(cache) = &contents.cache {
                    settings.contents = Arc::clone(cache) as _;
                }
                let database = self.config.postgres.url.expose().parse().context("`postgres.url`")?;
                let past = TopicAndTable::new(&self.cluster, &plan.reading.topic, database);
                settings.past = Arc::new(past.context("kafka client")?);
                let (ticker, seen) = Ticker::new(&settings);
                let lane = (plan.lane.name.clone(), plan.lane.metrics.clone(), health.first().cloned());
                let replayed = lane.clone();
                settings.replayed = Arc::new(move |replay| incomplete::tell_replayed(&replayed, replay));
                let ticker = ticker.telling(Box::new(move |windows| incomplete::tell(&lane, windows)));
                tokio::spawn(ticker.run(std::future::pending()));
                let sink = |is_ordered| {
                    let mut settings = settings.clone();
                    settings.is_ordered = is_ordered;
                    let seen = seen.clone();
                    move || Ok(RedisWindow::new(&settings, seen.clone()))
                };
                workers.extend(lane::start(&plan, health, sink(true), &self.failed)?);
                workers.extend(lane::start(&again, replays, sink(false), &self.failed)?);
            }
            Target::Webhook(webhook) => {
                let settings = webhook_settings(webhook).with_context(|| format!("sink `{sink}`"))?;
                let sink = || Webhook::new(settings.clone()).map_err(anyhow::Error::from);
                workers.extend(lane::start(&plan, health, sink, &self.failed)?);
                workers.extend(lane::start(&again, replays, sink, &self.failed)?);
            }
            Target::Files(files) => {
                let sink = |reads| move || Ok(Files::new(files_settings(files, reads)));
                workers.extend(lane::start(&plan, health, sink(Reads::Source), &self.failed)?);
                workers.extend(lane::start(&again, replays, sink(Reads::Replays), &self.failed)?);
            }
            Target::Discard => {
                workers.extend(lane::start(&plan, health, || Ok(Discard), &self.failed)?);
                workers.extend(lane::start(&again, replays, || Ok(Discard), &self.failed)?);
            }
        }
        self.workers.lock().unwrap_or_else(PoisonError::into_inner).extend(workers);
        Ok(())
    }

    /// A lane as it reads the pipeline's topic, or the one with the dead letters that are to be delivered again: that has
    /// a group and a breaker of its own, and its records go the same way.
    fn plan(
        &self,
        (pipeline, settings, watch): Road<'_>,
        (sink, target): (&str, &config::Sink),
        reads: Reads,
        enricher: Option<Arc<Enricher>>,
    ) -> Plan {
        let name = format!("{pipeline}/{sink}");
        let group = format!("deltafan.{pipeline}.{sink}");
        let (topic, group, metrics) = match reads {
            Reads::Source => {
                let metrics = LaneMetrics::new(pipeline, sink);
                (settings.topic.to_string(), group, metrics)
            }
            Reads::Replays => {
                // What a person has looked at meanwhile is no measure of the lane.
                let metrics = LaneMetrics::new(pipeline, &format!("{sink}.replay"));
                (settings.replay_topic(), format!("{group}.replay"), metrics)
            }
        };
        let dead_letters = DeadLetters::new(
            self.cluster.clone(),
            &settings.dead_letters.to_string(),
            (&topic, reads),
            (pipeline, sink),
        );
        let lane = Lane {
            name: name.clone(),
            reads,
            enricher,
            unknown_content: match settings.content.as_ref().map(|content| content.unknown) {
                Some(config::UnknownContent::DeadLetter) => UnknownContent::DeadLetter,
                Some(config::UnknownContent::Nulls) | None => UnknownContent::Nulls,
            },
            dead_letters: Arc::new(dead_letters),
            breaker: Arc::new(Mutex::new(Breaker::new(
                target.max_condemned.get().try_into().unwrap_or(u32::MAX),
            ))),
            rate: target.max_rate.get().map(|rate| Arc::new(Mutex::new(Rate::new(rate)))),
            metrics,
        };
        let reading = Reading {
            topic,
            is_optional: reads == Reads::Replays,
            orders: Orders::new(&name, self.orders.subscribe()),
            lane: name,
            group,
            first: match (settings.start, reads) {
                (config::Start::Earliest, _) | (_, Reads::Replays) => FirstStart::Earliest,
                (config::Start::Latest, Reads::Source) => FirstStart::Latest,
            },
            limits: Limits { max_records: CHUNK_MAX_RECORDS, max_bytes: CHUNK_MAX_BYTES },
            watch: match reads {
                Reads::Source => watch.source.clone(),
                Reads::Replays => watch.replays.clone(),
            },
        };
        Plan { lane, reading, cluster: self.cluster.clone(), patience: self.config.shutdown_timeout }
    }

    /// Lets every worker finish its write in flight and commit, within the time that a stop may take.
    async fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        let workers = std::mem::take(&mut *self.workers.lock().unwrap_or_else(PoisonError::into_inner));
        workers.iter().for_each(Worker::stop);
        let deadline = Instant::now() + self.config.shutdown_timeout + LAST_PATIENCE;
        while workers.iter().any(|worker| !worker.has_ended()) {
            if Instant::now() >= deadline {
                tracing::warn!(
                    "a worker did not end in time; what it was doing is done again at the next start"
                );
                return;
            }
            sleep(LOOK).await;
        }
        tracing::info!("stopped");
    }
}

/// What the lanes of a pipeline know of contents.
struct Contents {
    cache: Option<Arc<Cache>>,
    /// For those whose events are enriched.
    enricher: Option<Arc<Enricher>>,
}

impl redis_window::Contents for Cache {
    fn get(&self, id: Uuid) -> Option<Arc<Content>> {
        self.get(&id).map(|known| known.content)
    }

    fn learnt_after(&self, seen: u64, limit: usize) -> Vec<redis_window::Learnt> {
        let learnt = |(seen, id, content)| redis_window::Learnt { seen, id, content };
        self.learnt_after(seen, limit).into_iter().map(learnt).collect()
    }
}
