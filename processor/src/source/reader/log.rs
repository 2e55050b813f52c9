//! The log under the reader: whether it is still the one that was begun with, and whether Kafka is about to delete what
//! the lane has not delivered.

use super::{Phase, Reader};
use crate::position::{Offset, Partition, Positions};
use crate::source::watch::Seen;
use rdkafka::consumer::Consumer;

impl Reader {
    /// Begins anew where the topic was deleted and made again: positions of the former log mean nothing in this one.
    pub(super) fn look_at_log(&mut self) {
        if !self.reading.watch.has_changed().unwrap_or(false) {
            return;
        }
        let Some(now) = self.reading.watch.borrow_and_update().log.clone() else { return };
        let read = match &self.phase {
            Phase::Reading { .. } => self.consumer.context().log(),
            Phase::Finding { found, .. } => found.as_ref().map(|found| found.topic.log.clone()),
            Phase::Unassigned | Phase::Paused { .. } => None,
        };
        if read.is_some_and(|read| read != now) {
            tracing::warn!(
                topic = self.reading.topic,
                "the topic was deleted and made again: reading the new one from where the sink stands in it"
            );
            self.find(self.owned());
        }
    }

    /// Says how much of what is not delivered Kafka deletes soon: by metric for each partition, and once in words.
    pub(super) fn tell_expiring(&mut self) {
        let durable = self.handoff.durable();
        if !durable.is_empty() {
            self.stands = durable;
        }
        let owned = self.owned();
        for partition in self.stands.keys().filter(|partition| !owned.contains(partition)) {
            self.metrics.expiring(*partition, 0);
        }
        self.stands.retain(|partition, _| owned.contains(partition));
        let expiring = expiring(&self.stands, &self.reading.watch.borrow());
        for (partition, records) in &expiring {
            self.metrics.expiring(*partition, *records);
        }
        let worst =
            expiring.into_iter().filter(|(_, records)| *records > 0).max_by_key(|(_, records)| *records);
        let warning = worst.map(|(partition, records)| {
            format!(
                "kafka deletes up to {records} records of partition {partition} soon that are not delivered yet: they have \
                 reached four fifths of the topic's retention; bring the sink back, or raise retention.ms and \
                 retention.bytes of `{}`",
                self.reading.topic
            )
        });
        if self.health.set_expiring(warning.clone()) {
            match warning {
                Some(warning) => tracing::warn!(lane = self.reading.lane, "{warning}"),
                None => {
                    tracing::info!(lane = self.reading.lane, "no record that waits is about to be deleted")
                }
            }
        }
    }
}

/// How many offsets of each partition lie between where the lane stands and what Kafka keeps for longer.
fn expiring(stands: &Positions, seen: &Seen) -> Vec<(Partition, Offset)> {
    let behind = |(partition, at): (&Partition, &Offset)| {
        let soon = seen.soon.get(partition).copied().unwrap_or(0);
        (*partition, soon.saturating_sub(*at).max(0))
    };
    stands.iter().map(behind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_not_delivered_counts() {
        let stands = [(0, 10), (1, 40), (2, 7)].into();
        let seen = Seen { log: None, soon: [(0, 30), (1, 30)].into() };
        assert_eq!(expiring(&stands, &seen), [(0, 20), (1, 0), (2, 0)]);
    }
}
