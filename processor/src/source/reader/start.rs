//! Where to begin: names the log, asks the sink where it stands and the group what it committed, and assigns the offsets.

use super::{ASK_AGAIN, ASK_TIMEOUT, Phase, Queue, Reader};
use crate::health::State;
use crate::position::{FirstStart, Held, Offset, Partition, Positions, Span, Start, start_of};
use crate::source::group::belongs_to;
use crate::source::topic::{self, Topic};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use std::sync::Arc;
use std::time::Instant;

impl Reader {
    /// Begins to find out where to read these partitions from.
    pub(super) fn find(&mut self, partitions: Vec<Partition>) {
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
            self.phase = Phase::Finding { partitions, topic: None, held: None, not_before: Instant::now() };
        }
    }

    /// Takes the next step towards reading: names the log, asks the sink, assigns the offsets.
    pub(super) fn find_start(&mut self) {
        let Phase::Finding { partitions, topic, held, not_before } = &mut self.phase else { return };
        if Instant::now() < *not_before {
            return;
        }
        let Some(known) = topic.clone() else {
            match topic::describe(&self.consumer, &self.reading.topic) {
                Ok(Some(found)) => {
                    self.handoff.ask(found.log.clone(), partitions.clone());
                    *topic = Some(found);
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
    fn start(&self, topic: &Topic, partitions: &[Partition], held: &Held) -> KafkaResult<Phase> {
        let (committed, ran_before) = self.committed_offsets(topic)?;
        // Only a lane that never ran may begin at the end: to one that ran, records that it does not know are missing.
        let first = if ran_before { FirstStart::Earliest } else { self.reading.first };
        let mut starts = Positions::new();
        let mut lost = Vec::new();
        let mut tail_lost = false;
        for &partition in partitions {
            let (low, high) = self.consumer.fetch_watermarks(&self.reading.topic, partition, ASK_TIMEOUT)?;
            let before = committed.get(&partition).copied();
            match start_of(held, partition, before, first, (low, high)) {
                Start::At(offset) => starts.insert(partition, offset),
                Start::Earliest => starts.insert(partition, low),
                Start::Latest => starts.insert(partition, high),
                Start::Lost { from, to } => {
                    lost.push((partition, from, to));
                    tail_lost |= from == high;
                    None
                }
            };
        }
        self.consumer.context().set_log(Some(topic.log.clone()));
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
        self.report_lost(&lost, tail_lost);
        Ok(Phase::Reading { queues, lost: lost.iter().map(|(partition, ..)| *partition).collect() })
    }

    fn report_lost(&self, lost: &[(Partition, Offset, Offset)], tail_lost: bool) {
        if lost.is_empty() {
            self.health.set(State::Running);
            return;
        }
        let stretches: Vec<_> =
            lost.iter().map(|(p, from, to)| format!("[{from}, {to}) of partition {p}")).collect();
        // Where the log has lost its end, what follows comes behind what is there now.
        let to = if tail_lost { "--to-latest" } else { "--to-earliest" };
        let partitions: Vec<_> = lost.iter().map(|(partition, ..)| partition.to_string()).collect();
        let why = format!(
            "lost {}: kafka no longer has these records; no record is jumped over by itself. To go on without them stop \
             every instance and reset the group: kafka-consumer-groups --bootstrap-server HOST:PORT --group {} --topic {}:{} --reset-offsets \
             {to} --execute (for a redis window also delete its keys, so that it is counted anew; for files also move those of \
             the partition away, with the manifest)",
            stretches.join(", "),
            self.reading.group,
            self.reading.topic,
            partitions.join(","),
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

    /// The offsets that the group has committed for this very log; and whether it ever committed one for any partition of
    /// any log of this name.
    fn committed_offsets(&self, topic: &Topic) -> KafkaResult<(Positions, bool)> {
        let mut list = TopicPartitionList::with_capacity(topic.partitions);
        for partition in 0..Partition::try_from(topic.partitions).unwrap_or(Partition::MAX) {
            list.add_partition(&self.reading.topic, partition);
        }
        let committed = self.consumer.committed_offsets(list, ASK_TIMEOUT)?;
        let mut positions = Positions::new();
        let mut ran_before = false;
        for element in committed.elements() {
            element.error()?;
            if let ListOffset::Offset(offset) = element.offset() {
                ran_before = true;
                if belongs_to(element.metadata(), &topic.log) {
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
        Ok((positions, ran_before))
    }
}
