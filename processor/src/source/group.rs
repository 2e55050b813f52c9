//! The consumer group's side of a reader: what happens inside librdkafka's rebalance callback.
//!
//! Given partitions are only noted: the reader asks the sink where it stands before it reads any. Before partitions are
//! taken away the callback waits a moment for the write in flight and commits what is durable, because this is the
//! last moment at which the group takes our commit. Nothing depends on that wait: what was written and not committed is
//! delivered again by the next owner and changes nothing in the sink.

use super::handoff::Handoff;
use crate::position::{LogId, Partition, Positions};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use rdkafka::types::RDKafkaRespErr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a rebalance waits for the write in flight.
const REVOKE_PATIENCE: Duration = Duration::from_millis(500);

/// What the group has said since the reader last looked.
#[derive(Debug, Default)]
pub(super) struct Notices {
    /// Partitions given.
    pub assigned: Option<Vec<Partition>>,
    /// Whether partitions were taken away.
    pub revoked: bool,
    /// Commits that the group refused.
    pub failed_commit: Option<RDKafkaErrorCode>,
}

/// librdkafka's context of one reader's consumer.
pub(super) struct Membership {
    topic: String,
    handoff: Arc<Handoff>,
    notices: Mutex<Notices>,
    /// Names the positions in the commits' metadata.
    stretch: Mutex<Stretch>,
}

/// What a stretch of reading commits under.
#[derive(Debug, Clone, Default)]
pub(super) struct Stretch {
    /// The log being read.
    pub log: Option<LogId>,
    /// The last reset obeyed, of each partition that ever was.
    pub resets: BTreeMap<Partition, i64>,
}

impl Membership {
    pub(super) fn new(topic: String, handoff: Arc<Handoff>) -> Self {
        Self { topic, handoff, notices: Mutex::default(), stretch: Mutex::default() }
    }

    /// Takes what was noted.
    pub(super) fn take_notices(&self) -> Notices {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_stretch(&self, stretch: Stretch) {
        *self.stretch.lock().unwrap_or_else(PoisonError::into_inner) = stretch;
    }

    /// The log that is being read.
    pub(super) fn log(&self) -> Option<LogId> {
        self.stretch.lock().unwrap_or_else(PoisonError::into_inner).log.clone()
    }

    fn note(&self, change: impl FnOnce(&mut Notices)) {
        change(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The list that commits `positions`, each with the log that it belongs to and the last reset obeyed.
    ///
    /// # Errors
    /// librdkafka refuses an offset.
    pub(super) fn commit_list(&self, positions: &Positions) -> KafkaResult<TopicPartitionList> {
        let Stretch { log, resets } = self.stretch.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(*offset))?;
            if let Some(log) = &log {
                element.set_metadata(commit_metadata(log, resets.get(partition).copied()));
            }
        }
        Ok(list)
    }

    fn commit_last(&self, consumer: &BaseConsumer<Self>) {
        let durable = self.handoff.durable();
        if durable.is_empty() || consumer.assignment_lost() {
            return;
        }
        let committed = self.commit_list(&durable).and_then(|list| consumer.commit(&list, CommitMode::Sync));
        if let Err(error) = committed {
            tracing::warn!(topic = self.topic, %error, "last commit before giving partitions back failed; they are delivered again, without effect");
        }
    }
}

/// The metadata of a commit: format, log, and the last reset obeyed, if there ever was one.
fn commit_metadata(log: &LogId, reset: Option<i64>) -> String {
    match reset {
        Some(id) => format!("{FORMAT} {log} {id}"),
        None => format!("{FORMAT} {log}"),
    }
}

const FORMAT: &str = "deltafan/1";

/// Who made a commit, by its metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// A lane that read this log, and the last reset that it had obeyed.
    Us(Option<i64>),
    /// Somebody with Kafka's tools: an order.
    Hand,
    /// A lane that read an earlier log of the same name, or something unknown: it means nothing here.
    Other,
}

/// Whether a committed offset with this metadata means something in `log`.
pub(crate) fn belongs_to(metadata: &str, log: &LogId) -> bool {
    committed_by(metadata, log) != By::Other
}

/// Who made a commit with this metadata, seen from a reader of `log`.
pub(super) fn committed_by(metadata: &str, log: &LogId) -> By {
    if metadata.is_empty() {
        return By::Hand;
    }
    let mut words = metadata.split(' ');
    if (words.next(), words.next()) != (Some(FORMAT), Some(log.as_str())) {
        return By::Other;
    }
    match words.next().map(str::parse) {
        None => By::Us(None),
        Some(Ok(id)) => By::Us(Some(id)),
        Some(Err(_)) => By::Other,
    }
}

impl ClientContext for Membership {}

impl ConsumerContext for Membership {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, err: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let nothing = TopicPartitionList::new();
        let answered = match err {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                let partitions = list.elements().iter().map(|element| element.partition()).collect();
                self.note(|notices| notices.assigned = Some(partitions));
                // Accepted, but nothing is fetched yet: the reader assigns the offsets once the sink has answered.
                consumer.assign(&nothing)
            }
            _ => {
                self.handoff.settle(REVOKE_PATIENCE);
                self.commit_last(consumer);
                self.handoff.abandon();
                self.note(|notices| {
                    notices.assigned = None;
                    notices.revoked = true;
                });
                consumer.unassign()
            }
        };
        if let Err(error) = answered {
            tracing::error!(topic = self.topic, %error, "the group's assignment could not be answered");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result
            && let Some(code) = error.rdkafka_error_code()
        {
            self.note(|notices| notices.failed_commit = Some(code));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_tells_its_log_and_a_commit_by_hand_is_an_order() {
        let (ours, other) = (LogId::new("c", "t1"), LogId::new("c", "t2"));
        assert_eq!(committed_by(&commit_metadata(&ours, None), &ours), By::Us(None));
        assert_eq!(committed_by(&commit_metadata(&ours, Some(7)), &ours), By::Us(Some(7)));
        assert_eq!(committed_by(&commit_metadata(&other, Some(7)), &ours), By::Other);
        assert_eq!(committed_by("something else", &ours), By::Other);
        assert_eq!(committed_by("", &ours), By::Hand);
    }
}
