//! Those who see records arrive: a bare consumer, somebody who asks Redis for its positions, a receiver that stores nothing.

use super::Moments;
use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::post;
use memchr::memmem::Finder;
use rdkafka::Message;
use rdkafka::consumer::Consumer;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::net::TcpListener;

/// How often Redis is asked: it bounds what is seen too late.
const ASK: Duration = Duration::from_micros(500);
/// More than the processor puts into one body.
const MAX_BODY_BYTES: usize = 64 * 1024 * 1024;
/// What stands before the id of an event's row.
const ROW_ID: &str = "\"id\":";

/// Where each record lies: one after the other in all partitions of a topic that was empty.
#[derive(Debug, Clone, Copy)]
pub struct Places {
    partitions: usize,
}

impl Places {
    /// Of a topic with so many partitions.
    pub fn new(partitions: i32) -> Result<Self> {
        Ok(Self { partitions: usize::try_from(partitions)? })
    }

    /// Of a record's number.
    pub fn partition(&self, index: usize) -> Result<i32> {
        Ok(i32::try_from(index % self.partitions)?)
    }

    /// The number of a partition's record.
    fn index(&self, partition: usize, nth: usize) -> usize {
        nth * self.partitions + partition
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
    let consumer = crate::bare::consumer(brokers)?;
    let mut list = TopicPartitionList::new();
    for partition in 0..places.partitions {
        list.add_partition_offset(topic, i32::try_from(partition)?, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    Ok(Watcher::start(move || {
        let Some(message) = consumer.poll(Duration::from_millis(100)) else { return Ok(()) };
        let message = message?;
        let partition = usize::try_from(message.partition())?;
        moments.see(std::iter::once(places.index(partition, usize::try_from(message.offset())?)));
        Ok(())
    }))
}

/// Asks for the positions that stand beside the leaderboard: what lies before them is in it.
pub fn redis(url: &str, name: &str, places: Places, moments: Arc<Moments>) -> Result<Watcher> {
    let mut connection = redis::Client::open(url)?.get_connection()?;
    let positions = format!("{{{name}}}:positions");
    let mut reached: Vec<usize> = vec![0; places.partitions];
    Ok(Watcher::start(move || {
        let held: BTreeMap<String, String> = redis::cmd("HGETALL").arg(&positions).query(&mut connection)?;
        for (partition, reached) in reached.iter_mut().enumerate() {
            let field = format!("/{partition}");
            let offset = held
                .iter()
                .find(|(key, _)| key.ends_with(&field))
                .and_then(|(_, offset)| offset.parse().ok());
            let Some(now) = offset else { continue };
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
    moments: Arc<Moments>,
}

/// Takes everything that is posted and answers at once.
pub async fn receiver(listen: &str, moments: Arc<Moments>) -> Result<tokio::task::JoinHandle<()>> {
    let receiving = Arc::new(Receiving { finder: Finder::new(ROW_ID).into_owned(), moments });
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

/// The numbers of the records: ids begin with 1.
fn indexes(receiving: &Receiving, body: &[u8]) -> Result<Vec<usize>> {
    let mut indexes = Vec::new();
    for at in receiving.finder.find_iter(body) {
        let rest = body.get(at + ROW_ID.len()..).context("no id")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let id: u64 = std::str::from_utf8(rest.get(..digits).context("no id")?)?.parse()?;
        indexes.push(usize::try_from(id.saturating_sub(1))?);
    }
    ensure!(receiving.finder.find(body).is_some(), "no event");
    Ok(indexes)
}
