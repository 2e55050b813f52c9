//! Those who see records arrive: a bare consumer, somebody who asks Redis for its positions, a receiver that stores nothing.

use super::Moments;
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use memchr::memmem::Finder;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::{ClientConfig, Message};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;

const TIMEOUT: Duration = Duration::from_secs(5);
/// How often Redis is asked: it bounds what is seen too late.
const ASK: Duration = Duration::from_micros(300);
/// More than the processor puts into one body.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// What stands before the id of an event's row.
const ROW_ID: &str = "\"id\":";

/// Where each record lies: one after the other in all partitions, behind what was there.
#[derive(Debug, Clone)]
pub struct Places {
    /// Of each partition, the offset of the first.
    firsts: Vec<i64>,
    /// The row's id in the first record.
    pub first_id: u64,
}

impl Places {
    /// Behind all that the topic has now.
    pub fn behind(brokers: &str, topic: &str, partitions: i32) -> Result<Self> {
        let consumer: BaseConsumer = ClientConfig::new().set("bootstrap.servers", brokers).create()?;
        let ends = (0..partitions).map(|partition| consumer.fetch_watermarks(topic, partition, TIMEOUT));
        let firsts = ends.map(|ends| Ok(ends?.1)).collect::<Result<Vec<_>>>()?;
        let first_id = u64::try_from(firsts.iter().sum::<i64>())? + 1;
        Ok(Self { firsts, first_id })
    }

    /// Of a record's number.
    pub fn partition(&self, index: usize) -> Result<i32> {
        Ok(i32::try_from(index % self.firsts.len())?)
    }

    /// How many records of a partition lie before this offset.
    fn before(&self, partition: usize, offset: i64) -> usize {
        let first = self.firsts.get(partition).copied().unwrap_or(offset);
        usize::try_from(offset - first).unwrap_or(0)
    }

    /// The number of a partition's record.
    fn index(&self, partition: usize, nth: usize) -> usize {
        nth * self.firsts.len() + partition
    }
}

/// A thread that watches.
pub struct Watcher {
    stops: Arc<AtomicBool>,
    thread: JoinHandle<Result<()>>,
}

impl Watcher {
    fn start(mut look: impl FnMut() -> Result<()> + Send + 'static) -> Self {
        let stops = Arc::new(AtomicBool::new(false));
        let theirs = Arc::clone(&stops);
        let thread = thread::spawn(move || {
            while !theirs.load(Ordering::Acquire) {
                look()?;
            }
            Ok(())
        });
        Self { stops, thread }
    }

    /// Ends it.
    ///
    /// # Errors
    /// It had to give up before.
    pub fn stop(self) -> Result<()> {
        self.stops.store(true, Ordering::Release);
        self.thread.join().ok().context("a watcher has panicked")?
    }
}

/// A consumer that does nothing with what it reads.
pub fn bare(brokers: &str, topic: &str, places: Places, moments: Arc<Moments>) -> Result<Watcher> {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers)
        .set("group.id", "bench")
        .set("enable.auto.commit", "false")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "2")
        .create()?;
    let mut list = TopicPartitionList::new();
    for (partition, first) in places.firsts.iter().enumerate() {
        list.add_partition_offset(topic, i32::try_from(partition)?, Offset::Offset(*first))?;
    }
    consumer.assign(&list)?;
    Ok(Watcher::start(move || {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { return Ok(()) };
        let message = message?;
        let partition = usize::try_from(message.partition())?;
        moments.see(std::iter::once(places.index(partition, places.before(partition, message.offset()))));
        Ok(())
    }))
}

/// Asks for the positions that stand beside the leaderboard: what lies before them is in it.
pub fn redis(url: &str, name: &str, places: Places, moments: Arc<Moments>) -> Result<Watcher> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let positions = format!("{{{name}}}:positions");
    let mut reached: Vec<usize> = vec![0; places.firsts.len()];
    Ok(Watcher::start(move || {
        let held: BTreeMap<String, String> = redis::cmd("HGETALL").arg(&positions).query(&mut connection)?;
        for (partition, reached) in reached.iter_mut().enumerate() {
            let field = format!("/{partition}");
            let offset = held
                .iter()
                .find(|(key, _)| key.ends_with(&field))
                .and_then(|(_, offset)| offset.parse().ok());
            let Some(offset) = offset else { continue };
            let now = places.before(partition, offset);
            moments.see((*reached..now).map(|nth| places.index(partition, nth)));
            *reached = now.max(*reached);
        }
        thread::park_timeout(ASK);
        Ok(())
    }))
}

/// A port that nobody listens on.
pub async fn free_port() -> Result<String> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.to_string())
}

struct Receiving {
    finder: Finder<'static>,
    first_id: u64,
    moments: Arc<Moments>,
}

/// Takes everything that is posted and answers at once.
pub async fn receiver(
    listen: &str,
    first_id: u64,
    moments: Arc<Moments>,
) -> Result<tokio::task::JoinHandle<()>> {
    let receiving = Arc::new(Receiving { finder: Finder::new(ROW_ID).into_owned(), first_id, moments });
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let router = Router::new()
        .route("/{*any}", post(take))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(receiving);
    Ok(tokio::spawn(async move {
        // It ends with the measurement.
        let _ = axum::serve(listener, router).await;
    }))
}

async fn take(State(receiving): State<Arc<Receiving>>, body: Bytes) -> StatusCode {
    match indexes(&receiving, &body) {
        Ok(indexes) => {
            receiving.moments.see(indexes.into_iter());
            StatusCode::NO_CONTENT
        }
        Err(_) => StatusCode::BAD_REQUEST,
    }
}

/// The numbers of the records; those written before the steady ones have none.
fn indexes(receiving: &Receiving, body: &[u8]) -> Result<Vec<usize>> {
    let mut indexes = Vec::new();
    for at in receiving.finder.find_iter(body) {
        let rest = body.get(at + ROW_ID.len()..).context("no id")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id: u64 = std::str::from_utf8(rest.get(..digits).context("no id")?)?.parse()?;
        if let Some(index) = id.checked_sub(receiving.first_id) {
            indexes.push(usize::try_from(index)?);
        }
    }
    ensure!(receiving.finder.find(body).is_some(), "no event");
    Ok(indexes)
}
