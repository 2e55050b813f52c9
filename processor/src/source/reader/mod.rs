//! The reader: the thread of a worker that is a member of the consumer group.
//!
//! It polls the group, fills the handoff from the queues of its partitions while there is room, and commits what the
//! writer has made durable. It never waits for the sink: when the handoff is full the queues are left unread and the
//! consumer is polled on, so the group keeps its member however long the sink is away.

mod commit;
mod log;
pub(crate) mod message;
mod obey;
mod start;
mod trouble;

pub use trouble::SourceError;

use super::client::Cluster;
use super::group::Membership;
use super::handoff::{Handoff, Limits};
use super::watch::Seen;
use crate::control;
use crate::control::{Orders, Pause};
use crate::health::{SinkState, State, WorkerHealth};
use crate::metrics::LaneMetrics;
use crate::position::{FirstStart, Held, Offset, Partition, Positions};
use message::Fetched;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use start::Found;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// The longest sleep while nothing happens: bounds how late a rebalance is noticed should no queue ring.
const IDLE: Duration = Duration::from_millis(100);
/// Records taken from one partition before the next has its turn.
const TURN: usize = 512;
/// Events of the group taken at a time: an event that is left waits for the next ring or the end of a sleep.
const EVENTS: usize = 8;
/// How long a question to the broker may block the reader; well below the time after which the group forgets it.
const ASK_TIMEOUT: Duration = Duration::from_secs(3);
/// Pause before a question to the broker that failed is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// What a reader is to read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The topic.
    pub topic: String,
    /// Whether the topic need not be there: then there is nothing to do.
    pub is_optional: bool,
    /// The lane, as operators name it: `pipeline/sink`.
    pub lane: String,
    /// The lane's consumer group.
    pub group: String,
    /// Where a lane begins that has no position at all.
    pub first: FirstStart,
    /// How much may be read ahead.
    pub limits: Limits,
    /// What operators order.
    pub orders: Orders,
    /// What is seen of the topic from outside.
    pub watch: watch::Receiver<Seen>,
}

type Member = BaseConsumer<Membership>;

/// One member of a lane's consumer group.
pub struct Reader {
    reading: Reading,
    /// As configured, for messages.
    brokers: String,
    consumer: Arc<Member>,
    handoff: Arc<Handoff>,
    health: WorkerHealth,
    metrics: LaneMetrics,
    phase: Phase,
    /// When to ask again whether Kafka is there, while it is not.
    kafka_missing: Option<Instant>,
    committed: BTreeMap<Partition, (Offset, Instant)>,
    /// Where the lane stood last, also while it stands still.
    stands: Positions,
    commit_due: Instant,
    /// The orders in force.
    pause: Option<Pause>,
    reset: Option<control::Reset>,
}

/// What the reader is doing.
enum Phase {
    /// It owns no partition.
    Unassigned,
    /// It owns partitions and stands still by order.
    Paused { partitions: Vec<Partition> },
    /// It owns partitions and wants to know where to begin; a question that failed waits until the instant given.
    Finding { partitions: Vec<Partition>, found: Option<Found>, held: Option<Held>, not_before: Instant },
    /// It reads.
    Reading { queues: Vec<Queue>, lost: Vec<Partition> },
}

/// The queue of one partition.
struct Queue {
    partition: Partition,
    /// The position: behind the last record that went into the handoff.
    at: Offset,
    fetched: Fetched,
    /// Split off from the group's queue, and rings when something is in it.
    _bell: PartitionQueue<Membership>,
}

impl Reader {
    /// Makes the consumer; joins the group only once it runs.
    ///
    /// # Errors
    /// librdkafka refuses a property.
    pub fn new(
        cluster: &Cluster,
        name: &str,
        reading: Reading,
        handoff: Arc<Handoff>,
        health: WorkerHealth,
        metrics: LaneMetrics,
    ) -> Result<Self, SourceError> {
        let context = Membership::new(reading.topic.clone(), Arc::clone(&handoff));
        let mut consumer: Member =
            cluster.member(&reading.group, name).create_with_context(context).map_err(SourceError::Client)?;
        let doorbell = Arc::clone(&handoff);
        consumer.set_nonempty_callback(move || doorbell.wake_reader());
        let now = Instant::now();
        Ok(Self {
            reading,
            brokers: cluster.brokers.clone(),
            consumer: Arc::new(consumer),
            handoff,
            health,
            metrics,
            phase: Phase::Unassigned,
            kafka_missing: None,
            committed: BTreeMap::new(),
            stands: Positions::new(),
            commit_due: now,
            pause: None,
            reset: None,
        })
    }

    /// Reads until the worker is stopped; then waits for the write in flight, at most for `patience`, commits and
    /// leaves the group.
    ///
    /// # Errors
    /// The broker refuses us.
    pub fn run(mut self, patience: Duration) -> Result<(), SourceError> {
        self.handoff.attach_reader(thread::current());
        self.await_topic()?;
        self.await_orders()?;
        self.consumer.subscribe(&[&self.reading.topic]).map_err(SourceError::Client)?;
        while !self.handoff.is_stopping() {
            self.serve_group()?;
            self.look_for_kafka();
            self.obey();
            self.look_at_log();
            self.restart_if_asked();
            self.find_start();
            let taken = self.read()?;
            self.commit_if_due();
            if taken == 0 {
                thread::park_timeout(IDLE);
            }
        }
        self.leave(patience);
        Ok(())
    }

    /// Polls the group: callbacks run in here, errors come out of it.
    fn serve_group(&mut self) -> Result<(), SourceError> {
        let mut stray = false;
        for _ in 0..EVENTS {
            let failed = match self.consumer.poll(Duration::ZERO) {
                None => continue,
                Some(Ok(_)) => {
                    stray = true;
                    continue;
                }
                Some(Err(error)) => error,
            };
            self.broker_error(failed)?;
        }
        let notices = self.consumer.context().take_notices();
        if notices.revoked {
            tracing::info!(group = self.reading.group, "partitions given back");
            self.forget();
            self.health.set(State::Waiting { why: "the group shares its partitions out anew".to_owned() });
        }
        if let Some(partitions) = notices.assigned {
            tracing::info!(group = self.reading.group, ?partitions, "partitions assigned");
            self.find(partitions);
        }
        if let Some(code) = notices.failed_commit {
            tracing::warn!(group = self.reading.group, error = %code, "offsets not committed; the next commit repeats them");
            self.committed.clear();
            if code == RDKafkaErrorCode::TopicAuthorizationFailed {
                self.broker_error(KafkaError::ConsumerCommit(code))?;
            }
        }
        if stray {
            // A record outside the queues of the partitions: to keep the order, read again from where the sink stands.
            tracing::warn!(
                group = self.reading.group,
                "a record came past its partition's queue; reading again"
            );
            self.find(self.owned());
        }
        Ok(())
    }

    fn forget(&mut self) {
        self.phase = Phase::Unassigned;
        self.committed.clear();
        self.health.set(State::Idle);
        self.health.set_sink(SinkState::Working);
    }

    fn owned(&self) -> Vec<Partition> {
        match &self.phase {
            Phase::Unassigned => Vec::new(),
            Phase::Paused { partitions } | Phase::Finding { partitions, .. } => partitions.clone(),
            Phase::Reading { queues, lost } => {
                queues.iter().map(|queue| queue.partition).chain(lost.iter().copied()).collect()
            }
        }
    }

    fn restart_if_asked(&mut self) {
        if matches!(self.phase, Phase::Reading { .. }) && self.handoff.must_restart() {
            let owned = self.owned();
            tracing::warn!(
                group = self.reading.group,
                "the sink stands elsewhere; asking it and reading again from there"
            );
            self.find(owned);
        }
    }

    /// Fills the handoff from the partitions' queues, a turn each.
    fn read(&mut self) -> Result<usize, SourceError> {
        let Phase::Reading { queues, .. } = &mut self.phase else { return Ok(0) };
        let mut taken = 0;
        let mut failed = Vec::new();
        // The handoff may be full before all had their turn: each time another one is the first.
        if !queues.is_empty() {
            queues.rotate_left(1);
        }
        for Queue { partition, at, fetched, .. } in queues {
            let mut turn = 0;
            taken += self.handoff.fill(|chunk| {
                if turn >= TURN {
                    return false;
                }
                let found = fetched.take(chunk, at, |error| failed.push((*partition, error)));
                turn += found;
                found > 0
            });
        }
        self.metrics.records_read.increment(u64::try_from(taken).unwrap_or_default());
        for (partition, error) in failed {
            self.read_error(partition, error)?;
        }
        Ok(taken)
    }

    /// An error in place of a record. Passing ones librdkafka mends itself; an offset that is no longer there is not.
    fn read_error(&mut self, partition: Partition, error: KafkaError) -> Result<(), SourceError> {
        tracing::warn!(topic = self.reading.topic, partition, %error, "reading failed");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
            // The start is decided anew, which names what is lost.
            let owned = self.owned();
            self.find(owned);
            return Ok(());
        }
        self.broker_error(error)
    }
}
