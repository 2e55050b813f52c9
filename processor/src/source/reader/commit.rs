//! Committing what the writer has made durable, about once a second and when leaving.

use super::{Phase, Reader};
use crate::position::{Offset, Partition, Positions, Span};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::Offset as ListOffset;
use std::time::{Duration, Instant};

/// Commits are made about this often, and not with every write: a synchronous one takes milliseconds.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// Unchanged offsets are committed again this often, because those of a quiet group expire.
const REFRESH_EVERY: Duration = Duration::from_secs(3600);

impl Reader {
    pub(super) fn commit_if_due(&mut self) {
        if Instant::now() < self.commit_due {
            return;
        }
        self.commit_due = Instant::now() + COMMIT_EVERY;
        self.pass_markers();
        self.tell_expiring();
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

    /// Gives everything back in order.
    pub(super) fn leave(&mut self, patience: Duration) {
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
