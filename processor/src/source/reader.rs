//! The reader: the thread of a worker that is a member of the consumer group.
//!
//! It polls the group, fills the handoff from the queues of its partitions while there is room, and commits what the
//! writer has made durable. It never waits for the sink: when the handoff is full the queues are left unread and the
//! consumer is polled on, so the group keeps its member however long the sink is away.

use super::client::Cluster;
use super::group::{Membership, belongs_to};
use super::handoff::{Handoff, Limits};
use super::topic::{self, Topic};
use super::{Chunk, Record};
use crate::health::{SinkState, State, WorkerHealth};
use crate::position::{FirstStart, Held, LogId, Offset, Partition, Positions, Span, Start, start_of};
use metrics::Counter;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use rdkafka_sys as sys;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// The longest sleep while nothing happens: bounds how late a rebalance is noticed should no queue ring.
const IDLE: Duration = Duration::from_millis(100);
/// Commits are made about this often, and not with every write: a synchronous one takes milliseconds.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Unchanged offsets are committed again this often, because those of a quiet group expire.
const REFRESH_EVERY: Duration = Duration::from_secs(3600);
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
    /// The lane's consumer group.
    pub group: String,
    /// How many workers this process runs in that group.
    pub workers: usize,
    /// Where a lane begins that has no position at all.
    pub first: FirstStart,
    /// How much may be read ahead.
    pub limits: Limits,
}

/// Why a reader can't go on: nothing that waiting mends.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The broker refuses us.
    #[error("kafka refuses access to {what}: {error}; {remedy}")]
    Refused {
        /// The topic or group.
        what: String,
        /// What it says.
        error: KafkaError,
        /// What to do.
        remedy: &'static str,
    },
    /// librdkafka does not take a property.
    #[error("kafka client: {0}; check `kafka.properties`")]
    Client(KafkaError),
}

type Member = BaseConsumer<Membership>;

/// One member of a lane's consumer group.
pub struct Reader {
    reading: Reading,
    consumer: Arc<Member>,
    handoff: Arc<Handoff>,
    health: WorkerHealth,
    records_read: Counter,
    phase: Phase,
    /// When to ask again whether Kafka is there, while it is not.
    kafka_missing: Option<Instant>,
    committed: BTreeMap<Partition, (Offset, Instant)>,
    commit_due: Instant,
}

/// What the reader is doing.
enum Phase {
    /// It owns no partition.
    Unassigned,
    /// It owns partitions and wants to know where to begin; a question that failed waits until the instant given.
    Finding { partitions: Vec<Partition>, log: Option<LogId>, held: Option<Held>, not_before: Instant },
    /// It reads.
    Reading { queues: Vec<Queue>, lost: Vec<Partition> },
}

/// The queue of one partition.
struct Queue {
    partition: Partition,
    /// The position: behind the last record that went into the handoff.
    at: Offset,
    messages: PartitionQueue<Membership>,
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
        records_read: Counter,
    ) -> Result<Self, SourceError> {
        let context = Membership::new(reading.topic.clone(), Arc::clone(&handoff));
        let mut consumer: Member = cluster
            .member(&reading.group, name, reading.workers)
            .create_with_context(context)
            .map_err(SourceError::Client)?;
        let doorbell = Arc::clone(&handoff);
        consumer.set_nonempty_callback(move || doorbell.wake_reader());
        let now = Instant::now();
        Ok(Self {
            reading,
            consumer: Arc::new(consumer),
            handoff,
            health,
            records_read,
            phase: Phase::Unassigned,
            kafka_missing: None,
            committed: BTreeMap::new(),
            commit_due: now,
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
        self.consumer.subscribe(&[&self.reading.topic]).map_err(SourceError::Client)?;
        while !self.handoff.is_stopping() {
            self.serve_group()?;
            self.look_for_kafka();
            self.find_start();
            self.restart_if_asked();
            let taken = self.read();
            self.commit_if_due();
            if taken == 0 {
                thread::park_timeout(IDLE);
            }
        }
        self.leave(patience);
        Ok(())
    }

    /// Waits until the topic is there.
    fn await_topic(&mut self) -> Result<(), SourceError> {
        while !self.handoff.is_stopping() {
            match topic::describe(&self.consumer, &self.reading.topic) {
                Ok(Some(_)) => return Ok(()),
                Ok(None) => self.waits(self.topic_is_missing()),
                Err(error) => self.broker_error(error)?,
            }
            // Polled on, so that what librdkafka has to say is heard.
            self.serve_group()?;
            thread::park_timeout(ASK_AGAIN);
        }
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
        }
        if let Some(partitions) = notices.assigned {
            tracing::info!(group = self.reading.group, ?partitions, "partitions assigned");
            self.find(partitions);
        }
        if let Some(code) = notices.failed_commit {
            tracing::warn!(group = self.reading.group, error = %code, "offsets not committed; the next commit repeats them");
            self.committed.clear();
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

    /// After trouble: asks from time to time whether Kafka and the topic are there again.
    fn look_for_kafka(&mut self) {
        if self.kafka_missing.is_none_or(|due| Instant::now() < due) {
            return;
        }
        self.kafka_missing = Some(Instant::now() + ASK_AGAIN);
        let trouble = match topic::describe(&self.consumer, &self.reading.topic) {
            Ok(Some(_)) => None,
            Ok(None) => Some(self.topic_is_missing()),
            Err(error) => Some(error.to_string()),
        };
        if trouble.is_none() {
            self.kafka_missing = None;
        }
        let well = trouble.is_none();
        if self.health.set_kafka(trouble) && well {
            tracing::info!(group = self.reading.group, "kafka is well again");
        }
    }

    fn topic_is_missing(&self) -> String {
        format!("topic `{}` does not exist; waiting for it", self.reading.topic)
    }

    /// Says what the reader waits for; logged when it is new.
    fn waits(&self, why: String) {
        if self.health.set(State::Waiting { why: why.clone() }) {
            tracing::warn!(group = self.reading.group, "{why}");
        }
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
            Phase::Finding { partitions, .. } => partitions.clone(),
            Phase::Reading { queues, lost } => {
                queues.iter().map(|queue| queue.partition).chain(lost.iter().copied()).collect()
            }
        }
    }

    /// Begins to find out where to read these partitions from.
    fn find(&mut self, partitions: Vec<Partition>) {
        self.handoff.abandon();
        self.committed.clear();
        // Nothing of the former stretch is fetched any more, and its positions are forgotten.
        if let Err(error) = self.consumer.assign(&TopicPartitionList::new()) {
            tracing::error!(group = self.reading.group, %error, "the assignment could not be taken back");
        }
        if partitions.is_empty() {
            self.forget();
        } else {
            self.health.set(State::Waiting { why: "finding out where to begin".to_owned() });
            self.phase = Phase::Finding { partitions, log: None, held: None, not_before: Instant::now() };
        }
    }

    /// Takes the next step towards reading: names the log, asks the sink, assigns the offsets.
    fn find_start(&mut self) {
        let Phase::Finding { partitions, log, held, not_before } = &mut self.phase else { return };
        if Instant::now() < *not_before {
            return;
        }
        let Some(known) = log.clone() else {
            match topic::describe(&self.consumer, &self.reading.topic) {
                Ok(Some(Topic { log: found, .. })) => {
                    self.handoff.ask(found.clone(), partitions.clone());
                    *log = Some(found);
                }
                Ok(None) => {
                    *not_before = Instant::now() + ASK_AGAIN;
                    self.waits(self.topic_is_missing());
                }
                Err(error) => {
                    *not_before = Instant::now() + ASK_AGAIN;
                    self.waits(format!("topic `{}` can't be described: {error}", self.reading.topic));
                }
            }
            return;
        };
        if let Some(answer) = self.handoff.take_answer() {
            *held = Some(answer);
        }
        let (Some(answer), partitions) = (held.clone(), partitions.clone()) else { return };
        match self.start(&known, &partitions, &answer) {
            Ok(reading) => self.phase = reading,
            Err(error) => {
                self.waits(format!("can't begin to read topic `{}` yet: {error}", self.reading.topic));
                if let Phase::Finding { not_before, .. } = &mut self.phase {
                    *not_before = Instant::now() + ASK_AGAIN;
                }
            }
        }
    }

    /// Decides where each partition begins and assigns it.
    fn start(&self, log: &LogId, partitions: &[Partition], held: &Held) -> KafkaResult<Phase> {
        let committed = self.committed_offsets(log, partitions)?;
        let mut starts = Positions::new();
        let mut lost = Vec::new();
        for &partition in partitions {
            let (low, high) = self.consumer.fetch_watermarks(&self.reading.topic, partition, ASK_TIMEOUT)?;
            let before = committed.get(&partition).copied();
            match start_of(held, partition, before, self.reading.first, (low, high)) {
                Start::At(offset) => starts.insert(partition, offset),
                Start::Earliest => starts.insert(partition, low),
                Start::Latest => starts.insert(partition, high),
                Start::Lost { from, to } => {
                    lost.push((partition, from, to));
                    None
                }
            };
        }
        self.consumer.context().set_log(Some(log.clone()));
        let queues = self.queues(&starts)?;
        self.handoff.start_at(starts.clone());
        for (&partition, &at) in &starts {
            // A sink that holds no position yet takes its first one at once, not with the first record.
            if matches!(held, Held::At(_)) && held.of(partition).is_none() {
                self.handoff.pass(Span { partition, from: at, to: at });
            }
        }
        let mut list = TopicPartitionList::with_capacity(starts.len());
        for (partition, offset) in &starts {
            list.add_partition_offset(&self.reading.topic, *partition, ListOffset::Offset(*offset))?;
        }
        self.consumer.assign(&list)?;
        tracing::info!(group = self.reading.group, ?starts, "reading");
        self.report_lost(&lost);
        Ok(Phase::Reading { queues, lost: lost.iter().map(|(partition, ..)| *partition).collect() })
    }

    fn report_lost(&self, lost: &[(Partition, Offset, Offset)]) {
        if lost.is_empty() {
            self.health.set(State::Running);
            return;
        }
        let stretches: Vec<_> =
            lost.iter().map(|(p, from, to)| format!("[{from}, {to}) of partition {p}")).collect();
        let why = format!(
            "lost {}: kafka no longer has these records; no record is jumped over by itself. To go on behind them stop \
             every instance and reset the group: kafka-consumer-groups --group {} --topic {} --reset-offsets \
             --to-earliest --execute (for a redis window also delete its keys, so that it is counted anew)",
            stretches.join(", "),
            self.reading.group,
            self.reading.topic,
        );
        tracing::error!("{why}");
        self.health.set(State::Lost { why });
    }

    /// The queues of the partitions, split off before they are assigned, so that no record takes another way.
    fn queues(&self, starts: &Positions) -> KafkaResult<Vec<Queue>> {
        let unknown =
            KafkaError::Subscription(format!("no queue for a partition of `{}`", self.reading.topic));
        starts
            .iter()
            .map(|(&partition, &at)| {
                let mut messages = self
                    .consumer
                    .split_partition_queue(&self.reading.topic, partition)
                    .ok_or_else(|| unknown.clone())?;
                let doorbell = Arc::clone(&self.handoff);
                messages.set_nonempty_callback(move || doorbell.wake_reader());
                Ok(Queue { partition, at, messages })
            })
            .collect()
    }

    /// The offsets that the group has committed for this very log.
    fn committed_offsets(&self, log: &LogId, partitions: &[Partition]) -> KafkaResult<Positions> {
        let mut list = TopicPartitionList::with_capacity(partitions.len());
        for &partition in partitions {
            list.add_partition(&self.reading.topic, partition);
        }
        let committed = self.consumer.committed_offsets(list, ASK_TIMEOUT)?;
        let mut positions = Positions::new();
        for element in committed.elements() {
            element.error()?;
            if let ListOffset::Offset(offset) = element.offset() {
                if belongs_to(element.metadata(), log) {
                    positions.insert(element.partition(), offset);
                } else {
                    tracing::warn!(
                        topic = self.reading.topic,
                        partition = element.partition(),
                        offset,
                        "the committed offset belongs to an earlier topic of this name and means nothing here"
                    );
                }
            }
        }
        Ok(positions)
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
    fn read(&mut self) -> usize {
        let Phase::Reading { queues, .. } = &mut self.phase else { return 0 };
        let mut taken = 0;
        let mut failed = None;
        for Queue { partition, at, messages } in queues {
            let mut turn = 0;
            taken += self.handoff.fill(|chunk| {
                if turn == TURN {
                    return false;
                }
                turn += 1;
                match messages.poll(Duration::ZERO) {
                    None => false,
                    Some(Ok(message)) => {
                        push(chunk, *at, &message);
                        *at = message.offset().saturating_add(1);
                        true
                    }
                    Some(Err(error)) => {
                        failed = Some((*partition, error));
                        false
                    }
                }
            });
        }
        self.records_read.increment(u64::try_from(taken).unwrap_or_default());
        if let Some((partition, error)) = failed {
            self.read_error(partition, &error);
        }
        taken
    }

    /// An error in place of a record. Passing ones librdkafka mends itself; an offset that is no longer there is not.
    fn read_error(&mut self, partition: Partition, error: &KafkaError) {
        tracing::warn!(topic = self.reading.topic, partition, %error, "reading failed");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::AutoOffsetReset) {
            // The start is decided anew, which names what is lost.
            let owned = self.owned();
            self.find(owned);
        }
    }

    fn commit_if_due(&mut self) {
        if Instant::now() < self.commit_due {
            return;
        }
        self.commit_due = Instant::now() + COMMIT_EVERY;
        self.pass_markers();
        let positions = self.positions_to_commit();
        if positions.is_empty() {
            return;
        }
        let list = self.consumer.context().commit_list(&positions);
        match list.and_then(|list| self.consumer.commit(&list, CommitMode::Async)) {
            Ok(()) => {
                let now = Instant::now();
                self.committed
                    .extend(positions.into_iter().map(|(partition, offset)| (partition, (offset, now))));
            }
            Err(error) => tracing::warn!(group = self.reading.group, %error, "offsets not committed"),
        }
    }

    /// Where nothing lies ahead of what is durable, the consumer's own position counts: it has passed the transaction
    /// markers behind the last record. The sink passes them as well, so that lag ends at zero and a position never
    /// lies before what Kafka keeps only because nothing has happened for long.
    fn pass_markers(&mut self) {
        let Phase::Reading { queues, .. } = &mut self.phase else { return };
        let durable = self.handoff.durable();
        let Ok(own) = self.consumer.position() else { return };
        for queue in queues {
            let passed =
                own.find_partition(&self.reading.topic, queue.partition).map(|element| element.offset());
            let Some(ListOffset::Offset(passed)) = passed else { continue };
            if durable.get(&queue.partition) == Some(&queue.at) && passed > queue.at {
                self.handoff.pass(Span { partition: queue.partition, from: queue.at, to: passed });
                queue.at = passed;
            }
        }
    }

    /// The positions that have changed since they were committed, or were committed long ago.
    fn positions_to_commit(&self) -> Positions {
        let fresh = |partition: &Partition, position: Offset| {
            let committed = self.committed.get(partition);
            committed.is_some_and(|(offset, at)| *offset == position && at.elapsed() < REFRESH_EVERY)
        };
        let mut positions = self.handoff.durable();
        positions.retain(|partition, position| !fresh(partition, *position));
        positions
    }

    /// What librdkafka reports: passing trouble is said and waited out, a refusal ends the reader.
    fn broker_error(&mut self, error: KafkaError) -> Result<(), SourceError> {
        use RDKafkaErrorCode as Code;
        let refused = |what: String, error, remedy| Err(SourceError::Refused { what, error, remedy });
        match error.rdkafka_error_code() {
            Some(Code::TopicAuthorizationFailed) => refused(
                format!("topic `{}`", self.reading.topic),
                error,
                "grant this user READ and DESCRIBE on it",
            ),
            Some(Code::GroupAuthorizationFailed) => refused(
                format!("consumer group `{}`", self.reading.group),
                error,
                "grant this user READ on it",
            ),
            Some(Code::Authentication | Code::SaslAuthenticationFailed) => refused(
                "the cluster".to_owned(),
                error,
                "check user, password and mechanism in `kafka.properties`",
            ),
            _ => {
                self.kafka_missing.get_or_insert(Instant::now() + ASK_AGAIN);
                if self.health.set_kafka(Some(error.to_string())) {
                    tracing::warn!(group = self.reading.group, %error, "kafka is in trouble");
                }
                Ok(())
            }
        }
    }

    /// Gives everything back in order.
    fn leave(&mut self, patience: Duration) {
        let settled = self.handoff.settle(patience);
        if !settled {
            tracing::warn!(
                group = self.reading.group,
                "the write in flight did not end in time; it will be made again"
            );
        }
        let positions = self.positions_to_commit();
        if !positions.is_empty() {
            let list = self.consumer.context().commit_list(&positions);
            if let Err(error) = list.and_then(|list| self.consumer.commit(&list, CommitMode::Sync)) {
                tracing::warn!(group = self.reading.group, %error, "last commit failed; what was written is delivered again, without effect");
            }
        }
        // So that the revocation which follows has nothing left to commit.
        self.handoff.abandon();
        self.forget();
    }
}

/// Copies a message into the chunk.
fn push(chunk: &mut Chunk, from: Offset, message: &BorrowedMessage<'_>) {
    chunk.push(&Record {
        partition: message.partition(),
        from,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: headers(message),
    });
}

/// The headers as bytes. The client's own reading panics where a name is no UTF-8, and names are whatever the producer wrote.
fn headers<'m>(message: &'m BorrowedMessage<'_>) -> Vec<(&'m [u8], Option<&'m [u8]>)> {
    let mut headers = Vec::new();
    // SAFETY: the message lives as long as `'m` and owns its headers; librdkafka hands out pointers into them, the name
    // ended by a zero byte, the value `size` bytes long or null.
    unsafe {
        let mut list = std::ptr::null_mut();
        let found = sys::rd_kafka_message_headers(message.ptr(), &mut list);
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return headers;
        }
        for index in 0..sys::rd_kafka_header_cnt(list) {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            let got = sys::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size);
            if got != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            headers.push((CStr::from_ptr(name).to_bytes(), value));
        }
    }
    headers
}
