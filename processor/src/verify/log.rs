//! The topics, read without a group: from one offset to another, each record handed on. Blocking.

use super::VerifyError;
use crate::position::{Offset, Partition, Positions};
use crate::source::client::Cluster;
use crate::source::topic::{self, Topic};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use std::time::{Duration, Instant};

/// How long the broker may take to answer a question.
const ASK: Duration = Duration::from_secs(5);
/// How long nothing may come while there is something to read.
const SILENCE: Duration = Duration::from_secs(15);
/// How long one poll waits.
const POLL: Duration = Duration::from_millis(50);
/// What librdkafka may fetch ahead.
const FETCH_AHEAD_KIB: usize = 8 * 1024;

/// A topic that can be read.
#[derive(Clone)]
pub(super) struct Log {
    cluster: Cluster,
    pub name: String,
    pub topic: Topic,
}

impl Log {
    /// Looks at the topic `name`; `None` where there is none.
    pub(super) fn open(cluster: &Cluster, name: &str) -> Result<Option<Self>, VerifyError> {
        let asker = topic::asker(cluster, "deltafan.verify.ask").map_err(|error| unreadable(name, error))?;
        let found = topic::describe(&asker, name).map_err(|error| unreadable(name, error))?;
        Ok(found.map(|topic| Self { cluster: cluster.clone(), name: name.to_owned(), topic }))
    }

    fn failed(&self, error: KafkaError) -> VerifyError {
        unreadable(&self.name, error)
    }

    fn partitions(&self) -> impl Iterator<Item = Partition> + use<> {
        0..Partition::try_from(self.topic.partitions).unwrap_or(Partition::MAX)
    }

    /// The first offset of each partition, and the one behind the last record that is written, committed or not.
    pub(super) fn ends(&self) -> Result<(Positions, Positions), VerifyError> {
        let asker = topic::asker(&self.cluster, "deltafan.verify.ask").map_err(|error| self.failed(error))?;
        self.watermarks(&asker)
    }

    fn watermarks(&self, consumer: &BaseConsumer) -> Result<(Positions, Positions), VerifyError> {
        let (mut lows, mut highs) = (Positions::new(), Positions::new());
        for partition in self.partitions() {
            let marks = consumer.fetch_watermarks(&self.name, partition, ASK);
            let (low, high) = marks.map_err(|error| self.failed(error))?;
            lows.insert(partition, low);
            highs.insert(partition, high);
        }
        Ok((lows, highs))
    }

    /// The first offset of each partition that was written at `at_ms` (since 1970) or later; the end where none was.
    pub(super) fn since(&self, at_ms: i64) -> Result<Positions, VerifyError> {
        let consumer = self.consumer("")?;
        let (_, highs) = self.watermarks(&consumer)?;
        let mut list = TopicPartitionList::with_capacity(self.topic.partitions);
        for partition in self.partitions() {
            let added = list.add_partition_offset(&self.name, partition, ListOffset::Offset(at_ms.max(0)));
            added.map_err(|error| self.failed(error))?;
        }
        let found = consumer.offsets_for_times(list, ASK).map_err(|error| self.failed(error))?;
        let mut since = highs;
        for element in found.elements() {
            if let (ListOffset::Offset(offset), Ok(())) = (element.offset(), element.error()) {
                since.insert(element.partition(), offset);
            }
        }
        Ok(since)
    }

    /// What `group` has committed for this very log.
    pub(super) fn committed(&self, group: &str) -> Result<Positions, VerifyError> {
        let consumer = self.consumer(group)?;
        let mut list = TopicPartitionList::with_capacity(self.topic.partitions);
        for partition in self.partitions() {
            list.add_partition(&self.name, partition);
        }
        let committed = consumer.committed_offsets(list, ASK).map_err(|error| self.failed(error))?;
        let of_this = committed
            .elements()
            .into_iter()
            .filter(|element| crate::source::group::belongs_to(element.metadata(), &self.topic.log));
        Ok(of_this
            .filter_map(|element| Some((element.partition(), element.offset().to_raw()?)))
            .filter(|(_, at)| *at >= 0)
            .collect())
    }

    fn consumer(&self, group: &str) -> Result<BaseConsumer, VerifyError> {
        let mut config = self.cluster.reader("deltafan.verify", FETCH_AHEAD_KIB);
        // Assigned by hand and never committed: a group exists in name only, because librdkafka wants one.
        let group = if group.is_empty() { "deltafan.verify" } else { group };
        let created = config.set("group.id", group).set("enable.partition.eof", "true").create();
        created.map_err(|error| self.failed(error))
    }

    /// Reads the committed records of each partition from `from` up to `to`, and hands each one to `take`, which answers
    /// whether to go on.
    pub(super) fn read(
        &self,
        from: &Positions,
        to: &Positions,
        mut take: impl FnMut(&BorrowedMessage<'_>) -> bool,
    ) -> Result<(), VerifyError> {
        let mut open: Positions = Positions::new();
        for (partition, to) in to {
            if from.get(partition).is_some_and(|from| from < to) {
                open.insert(*partition, *to);
            }
        }
        let consumer = self.consumer("")?;
        self.wait_stable(&consumer, &open)?;
        self.assign(&consumer, from, &open)?;
        let mut heard = Instant::now();
        while !open.is_empty() {
            let partition = match consumer.poll(POLL) {
                None if heard.elapsed() > SILENCE => return Err(self.silent(&open)),
                None => continue,
                Some(Ok(message)) => {
                    let (partition, offset) = (message.partition(), message.offset());
                    let is_in = open.get(&partition).is_some_and(|to| offset < *to);
                    if is_in && !take(&message) {
                        return Ok(());
                    }
                    open.get(&partition)
                        .is_some_and(|to| offset.saturating_add(1) >= *to)
                        .then_some(partition)
                }
                // All below the end was stable before reading began, so it has been handed on.
                Some(Err(KafkaError::PartitionEOF(partition))) => Some(partition),
                Some(Err(error)) => return Err(self.failed(error)),
            };
            heard = Instant::now();
            if let Some(partition) = partition {
                open.remove(&partition);
            }
        }
        Ok(())
    }

    /// Waits until no transaction is open below the ends: the marker that ends one comes to each partition by itself.
    fn wait_stable(&self, consumer: &BaseConsumer, ends: &Positions) -> Result<(), VerifyError> {
        let began = Instant::now();
        for (partition, end) in ends {
            loop {
                let marks = consumer.fetch_watermarks(&self.name, *partition, ASK);
                // A committed reader is told the last stable offset.
                if marks.map_err(|error| self.failed(error))?.1 >= *end {
                    break;
                }
                if began.elapsed() > SILENCE {
                    return Err(self.silent(ends));
                }
                std::thread::park_timeout(POLL);
            }
        }
        Ok(())
    }

    fn assign(&self, consumer: &BaseConsumer, from: &Positions, open: &Positions) -> Result<(), VerifyError> {
        let mut list = TopicPartitionList::with_capacity(open.len());
        for partition in open.keys() {
            let at: Offset = from.get(partition).copied().unwrap_or_default();
            let added = list.add_partition_offset(&self.name, *partition, ListOffset::Offset(at));
            added.map_err(|error| self.failed(error))?;
        }
        consumer.assign(&list).map_err(|error| self.failed(error))
    }

    fn silent(&self, open: &Positions) -> VerifyError {
        let (topic, seconds) = (&self.name, SILENCE.as_secs());
        VerifyError::Away(format!(
            "topic `{topic}` can't be read up to {open:?}: nothing came for {seconds} s; see whether kafka is well, and whether a \
             producer has left a transaction open"
        ))
    }
}

fn unreadable(name: &str, error: KafkaError) -> VerifyError {
    VerifyError::Away(format!(
        "topic `{name}` can't be read: {error}; see whether kafka runs, and check `kafka:`"
    ))
}
