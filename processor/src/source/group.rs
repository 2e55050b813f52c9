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
    /// The log being read: names the positions in the commits' metadata.
    log: Mutex<Option<LogId>>,
}

impl Membership {
    pub(super) fn new(topic: String, handoff: Arc<Handoff>) -> Self {
        Self { topic, handoff, notices: Mutex::default(), log: Mutex::default() }
    }

    /// Takes what was noted.
    pub(super) fn take_notices(&self) -> Notices {
        std::mem::take(&mut *self.notices.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn set_log(&self, log: Option<LogId>) {
        *self.log.lock().unwrap_or_else(PoisonError::into_inner) = log;
    }

    fn note(&self, change: impl FnOnce(&mut Notices)) {
        change(&mut self.notices.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// The list that commits `positions`, each with the log that it belongs to.
    ///
    /// # Errors
    /// librdkafka refuses an offset.
    pub(super) fn commit_list(&self, positions: &Positions) -> KafkaResult<TopicPartitionList> {
        let log = self.log.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let metadata = log.map(|log| commit_metadata(&log)).unwrap_or_default();
        let mut list = TopicPartitionList::with_capacity(positions.len());
        for (partition, offset) in positions {
            let mut element = list.add_partition(&self.topic, *partition);
            element.set_offset(Offset::Offset(*offset))?;
            element.set_metadata(&metadata);
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

/// The metadata of a commit: format and log. A commit without it was made by hand.
pub(super) fn commit_metadata(log: &LogId) -> String {
    format!("deltafan/1 {log}")
}

/// Whether a committed offset with this metadata belongs to `log`. A commit made by hand has none and is an order.
pub(super) fn belongs_to(metadata: &str, log: &LogId) -> bool {
    metadata.is_empty() || metadata == commit_metadata(log)
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
        assert!(belongs_to(&commit_metadata(&ours), &ours));
        assert!(!belongs_to(&commit_metadata(&other), &ours));
        assert!(belongs_to("", &ours));
    }
}
