//! Where to begin: names the log, asks the group what it committed and the sink where it stands, and assigns the offsets.

use super::message::Fetched;
use super::{ASK_AGAIN, ASK_TIMEOUT, Phase, Queue, Reader};
use crate::health::State;
use crate::position::{FirstStart, Held, Offset, Partition, Positions, Reset, Span, Start, start_of};
use crate::source::group::{By, Stretch, committed_by};
use crate::source::reset::{self, Committed};
use crate::source::topic::{self, Topic};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// What Kafka has told before the sink is asked.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) topic: Topic,
    /// Of every partition of the topic that the group ever committed.
    committed: BTreeMap<Partition, Committed>,
    /// The order that is due.
    reset: Option<Reset>,
    /// Whether the sink was told that Kafka no longer has what comes next.
    missing_told: bool,
}

impl Reader {
    /// Begins to find out where to read these partitions from.
    pub(super) fn find(&mut self, partitions: Vec<Partition>) {
        self.handoff.abandon();
        self.committed.clear();
        // Nothing of the former stretch is fetched any more, and its positions are forgotten.
        self.unassign();
        if partitions.is_empty() {
            self.forget();
        } else {
            match &self.pause {
                Some(pause) => self.stand_still(partitions, pause.clone()),
                None => {
                    self.health.set(State::Waiting { why: "finding out where to begin".to_owned() });
                    self.phase =
                        Phase::Finding { partitions, found: None, held: None, not_before: Instant::now() };
                }
            }
        }
    }

    /// What was prefetched is dropped; the group's assignment stays.
    pub(super) fn unassign(&self) {
        if let Err(error) = self.consumer.assign(&TopicPartitionList::new()) {
            tracing::error!(group = self.reading.group, %error, "the assignment could not be taken back");
        }
    }

    /// Takes the next step towards reading: names the log, asks the sink, assigns the offsets.
    pub(super) fn find_start(&mut self) {
        let Phase::Finding { partitions, found, held, not_before } = &mut self.phase else { return };
        if Instant::now() < *not_before {
            return;
        }
        let Some(known) = found.clone() else {
            let partitions = partitions.clone();
            match self.look_up(&partitions) {
                Ok(looked_up) => {
                    let log = looked_up.topic.log.clone();
                    self.handoff.ask(log, partitions, looked_up.reset.clone(), Vec::new());
                    if let Phase::Finding { found, .. } = &mut self.phase {
                        *found = Some(looked_up);
                    }
                }
                Err(why) => self.find_later(why),
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
                self.find_later(format!("can't begin to read topic `{}` yet: {error}", self.reading.topic));
            }
        }
    }

    fn find_later(&mut self, why: String) {
        self.waits(why);
        if let Phase::Finding { not_before, .. } = &mut self.phase {
            *not_before = Instant::now() + ASK_AGAIN;
        }
    }

    /// Asks Kafka for the log and for what the group has committed, or says why it can't yet.
    fn look_up(&mut self, partitions: &[Partition]) -> Result<Found, String> {
        let name = &self.reading.topic.clone();
        let topic = topic::describe(&self.consumer, name)
            .map_err(|error| format!("topic `{name}` can't be described: {error}"))?
            .ok_or_else(|| self.topic_is_missing())?;
        let committed = self.committed_offsets(&topic).map_err(|error| {
            format!(
                "the offsets that group `{}` has committed can't be asked for yet: {error}",
                self.reading.group
            )
        })?;
        // Until the sink has answered, what it had delivered by the last commit is the best guess.
        let known = committed.iter().filter(|(_, committed)| committed.by != By::Other);
        self.stands = known.map(|(partition, committed)| (*partition, committed.offset)).collect();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let reset = reset::due(self.reset.as_ref(), &topic.log, partitions, &committed, now_ms);
        Ok(Found { topic, committed, reset, missing_told: false })
    }

    /// Decides where each partition begins and assigns it.
    fn start(&self, found: &Found, partitions: &[Partition], held: &Held) -> KafkaResult<Phase> {
        let Found { committed, reset, missing_told, .. } = found;
        // Only a lane that never ran may begin at the end: to one that ran, records that it does not know are missing.
        let first = if committed.is_empty() { self.reading.first } else { FirstStart::Earliest };
        let ordered = |partition| reset.as_ref().and_then(|reset| reset.positions.get(&partition).copied());
        let mut starts = Positions::new();
        let mut lost = Vec::new();
        let mut tail_lost = false;
        for &partition in partitions {
            let (low, high) = self.consumer.fetch_watermarks(&self.reading.topic, partition, ASK_TIMEOUT)?;
            let before = committed.get(&partition).filter(|committed| committed.by != By::Other);
            let before = ordered(partition).or(before.map(|committed| committed.offset));
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
        if matches!(held, Held::At(_)) && !lost.is_empty() && !tail_lost && !missing_told {
            return Ok(self.tell_missing(found, partitions, &lost));
        }
        self.consumer.context().set_stretch(self.stretch(found, partitions));
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
        if let Some(reset) = reset {
            // Obeyed, and never again: before anything is read from there.
            let obeyed = self.consumer.context().commit_list(&starts)?;
            self.consumer.commit(&obeyed, CommitMode::Sync)?;
            tracing::warn!(group = self.reading.group, order = reset.id, positions = ?reset.positions, "reset by order");
        }
        self.consumer.assign(&list)?;
        tracing::info!(group = self.reading.group, ?starts, "reading");
        self.report_lost(&lost, tail_lost);
        Ok(Phase::Reading { queues, lost: lost.iter().map(|(partition, ..)| *partition).collect() })
    }

    /// Tells the sink what Kafka no longer has, and asks it again: one that can be made anew from elsewhere is.
    fn tell_missing(
        &self,
        found: &Found,
        partitions: &[Partition],
        lost: &[(Partition, Offset, Offset)],
    ) -> Phase {
        let stretches = in_words(lost);
        tracing::warn!(
            lane = self.reading.lane,
            "lost {stretches}: kafka no longer has these records; asking the sink whether it can be made anew without them"
        );
        let missing =
            lost.iter().map(|(partition, from, to)| Span { partition: *partition, from: *from, to: *to });
        let (log, partitions) = (found.topic.log.clone(), partitions.to_vec());
        // An order was obeyed with the first question.
        self.handoff.ask(log, partitions.clone(), None, missing.collect());
        let found = Some(Found { missing_told: true, ..found.clone() });
        Phase::Finding { partitions, found, held: None, not_before: Instant::now() }
    }

    /// What the commits of this stretch say: the log, and for each partition the last reset obeyed, this one included.
    fn stretch(&self, found: &Found, partitions: &[Partition]) -> Stretch {
        let newest = self.reset.as_ref().map(|reset| reset.id);
        let resets = partitions.iter().filter_map(|partition| {
            let before = match found.committed.get(partition).map(|committed| committed.by) {
                Some(By::Us(id)) => id,
                _ => None,
            };
            let is_reset = found.reset.as_ref().is_some_and(|reset| reset.positions.contains_key(partition));
            // What was set by hand is younger than every order that was there.
            let obeyed = if is_reset { newest.max(before) } else { before };
            Some((*partition, obeyed?))
        });
        Stretch { log: Some(found.topic.log.clone()), resets: resets.collect() }
    }

    fn report_lost(&self, lost: &[(Partition, Offset, Offset)], tail_lost: bool) {
        if lost.is_empty() {
            self.health.set(State::Running);
            return;
        }
        let stretches = in_words(lost);
        // Where the log has lost its end, what follows comes behind what is there now.
        let to = if tail_lost { "latest" } else { "earliest" };
        let why = format!(
            "lost {}: kafka no longer has these records; no record is jumped over by itself. To go on without them: deltafan \
             reset {} --to {to}",
            stretches, self.reading.lane,
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
                let fetched = Fetched::of(&self.consumer, &self.reading.topic, partition);
                let fetched = fetched.ok_or_else(|| unknown.clone())?;
                Ok(Queue { partition, at, fetched, _bell: messages })
            })
            .collect()
    }

    /// What the group has committed for the partitions of this topic, or of an earlier one of its name.
    fn committed_offsets(&self, topic: &Topic) -> KafkaResult<BTreeMap<Partition, Committed>> {
        let mut list = TopicPartitionList::with_capacity(topic.partitions);
        for partition in 0..Partition::try_from(topic.partitions).unwrap_or(Partition::MAX) {
            list.add_partition(&self.reading.topic, partition);
        }
        let asked = self.consumer.committed_offsets(list, ASK_TIMEOUT)?;
        let mut committed = BTreeMap::new();
        for element in asked.elements() {
            element.error()?;
            let ListOffset::Offset(offset) = element.offset() else { continue };
            let by = committed_by(element.metadata(), &topic.log);
            if by == By::Other {
                tracing::warn!(
                    topic = self.reading.topic,
                    partition = element.partition(),
                    offset,
                    "the committed offset belongs to an earlier topic of this name and means nothing here"
                );
            }
            committed.insert(element.partition(), Committed { offset, by });
        }
        Ok(committed)
    }
}

fn in_words(lost: &[(Partition, Offset, Offset)]) -> String {
    let stretch = |(partition, from, to): &(_, _, _)| format!("[{from}, {to}) of partition {partition}");
    lost.iter().map(stretch).collect::<Vec<_>>().join(", ")
}
