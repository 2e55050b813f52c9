//! The fence: asks how far the `content` topic reaches, by one thread for all lanes.
//!
//! Whoever asks while a question to the broker is under way waits for the next one, so an answer is never older than the
//! question. The handle reads uncommitted: a committed reader would be told the last stable offset, which does not cover a
//! change of content whose transaction is just about to commit together with the event.

use crate::position::Positions;
use crate::source::client::Cluster;
use crate::source::topic;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long the broker may take; the lanes wait much shorter and then ask Postgres.
const BROKER_TIMEOUT: Duration = Duration::from_secs(1);

type Reply = oneshot::Sender<Option<Positions>>;

/// The lanes' side.
#[derive(Debug)]
pub struct Fence {
    questions: mpsc::Sender<Reply>,
}

impl Fence {
    /// Starts the thread. It ends with the last `Fence`.
    ///
    /// # Errors
    /// librdkafka refuses a property, or the system gives no thread.
    pub fn start(cluster: &Cluster, content_topic: &str) -> anyhow::Result<Self> {
        let consumer = topic::asker(cluster, "deltafan.content.fence")?;
        let (questions, inbox) = mpsc::channel();
        let name = content_topic.to_owned();
        let thread = thread::Builder::new().name("fence".to_owned());
        thread.spawn(move || answer(&consumer, &name, &inbox))?;
        Ok(Self { questions })
    }

    /// The high watermark of each partition of the topic, asked after this call was made; `None` if it can't be had.
    pub async fn watermarks(&self) -> Option<Positions> {
        let (reply, answer) = oneshot::channel();
        self.questions.send(reply).ok()?;
        answer.await.ok().flatten()
    }
}

fn answer(consumer: &BaseConsumer, name: &str, inbox: &mpsc::Receiver<Reply>) {
    let mut partitions = None;
    while let Ok(first) = inbox.recv() {
        let waiting: Vec<Reply> = std::iter::once(first).chain(inbox.try_iter()).collect();
        let marks = watermarks(consumer, name, &mut partitions);
        if let Err(error) = &marks {
            tracing::debug!(topic = name, %error, "watermarks not answered");
            partitions = None;
        }
        let marks = marks.ok().flatten();
        for reply in waiting {
            // Who no longer waits does not mind.
            let _ = reply.send(marks.clone());
        }
    }
}

/// `None` where the topic is not there. The number of partitions is asked for once and again after an error: Kafka can
/// only add some, and the feed notices those when it starts.
fn watermarks(
    consumer: &BaseConsumer,
    name: &str,
    partitions: &mut Option<usize>,
) -> KafkaResult<Option<Positions>> {
    let count = match *partitions {
        Some(count) => count,
        None => match topic::describe(consumer, name)? {
            Some(topic) => *partitions.insert(topic.partitions),
            None => return Ok(None),
        },
    };
    let mut wanted = TopicPartitionList::new();
    for partition in 0..i32::try_from(count).unwrap_or(i32::MAX) {
        wanted.add_partition_offset(name, partition, Offset::End)?;
    }
    // For the end in place of a time: one request, where a question for watermarks makes two for each partition.
    let mut marks = Positions::new();
    for element in consumer.offsets_for_times(wanted, BROKER_TIMEOUT)?.elements() {
        element.error()?;
        let Offset::Offset(end) = element.offset() else { return Ok(None) };
        marks.insert(element.partition(), end);
    }
    Ok(Some(marks))
}
