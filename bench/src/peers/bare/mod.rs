//! The limit: loops without any guarantee, retry, signature or window that moves, as fast as one writes them with the libraries
//! that the processor stands on. Whatever is strange ends them.

mod event;
mod lookup;
mod pipelined;

use anyhow::{Context, Result};
use clap::Args;
use event::{Row, after};
use lookup::Contents;
use pipelined::{Post, Scores};
use rdkafka::ClientConfig;
use rdkafka::Message;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use std::thread;
use std::time::Duration;

/// A batch that does not fill up waits no longer.
const PATIENCE: Duration = Duration::from_millis(50);
const TIMEOUT: Duration = Duration::from_secs(10);
/// Events of one POST.
const POST_EVENTS: usize = 1000;
/// Events that are summed up before Redis gets them.
const REDIS_EVENTS: usize = 4000;

/// What it is to do, until it is killed.
#[derive(Debug, Clone, Args)]
pub struct Bare {
    /// 1: one loop does both. 2: two loops, each reads the topic for itself.
    #[arg(long)]
    lanes: u8,
    #[arg(long, env = "TOPIC")]
    topic: String,
    /// What the leaderboard's keys begin with.
    #[arg(long, env = "BOARD")]
    board: String,
    #[arg(long, env = "KAFKA_BROKERS")]
    brokers: String,
    #[arg(long, env = "REDIS_URL")]
    redis_url: String,
    #[arg(long, env = "WEBHOOK_URL")]
    webhook_url: String,
    #[arg(long, env = "POSTGRES_URL", hide_env_values = true)]
    postgres_url: String,
}

impl Bare {
    /// Drains the topic, and waits for more.
    ///
    /// # Errors
    /// Anything that is not as it should be.
    pub async fn run(self) -> Result<()> {
        let scores = Scores::connect(&self.redis_url, &self.board)?;
        let post = Post::connect(&self.webhook_url)?;
        let contents = Contents::connect(&self.postgres_url).await?;
        let (first, second) = match self.lanes {
            1 => (Sinks { scores: Some(scores), posts: Some((post, contents)) }, None),
            _ => (
                Sinks { scores: Some(scores), posts: None },
                Some(Sinks { scores: None, posts: Some((post, contents)) }),
            ),
        };
        let other = self.clone();
        let second = second.map(|sinks| thread::spawn(move || other.drain(sinks)));
        tokio::task::spawn_blocking(move || self.drain(first)).await??;
        if let Some(second) = second {
            second.join().ok().context("the second lane has panicked")??;
        }
        Ok(())
    }

    fn drain(&self, mut sinks: Sinks) -> Result<()> {
        let consumer = self.consumer()?;
        loop {
            match consumer.poll(PATIENCE) {
                Some(message) => {
                    if let Some(after) = message?.payload().map(after).transpose()?.flatten() {
                        sinks.add(after)?;
                    }
                }
                None => sinks.flush()?,
            }
        }
    }

    /// Stands at the beginning of every partition.
    fn consumer(&self) -> Result<BaseConsumer> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &self.brokers)
            .set("group.id", "bench")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("isolation.level", "read_committed")
            .set("check.crcs", "false")
            // Its default of a second stands still whenever the queue was full.
            .set("fetch.queue.backoff.ms", "2")
            .set("queued.max.messages.kbytes", "32768")
            .create()?;
        let metadata = consumer.fetch_metadata(Some(&self.topic), TIMEOUT)?;
        let topic = metadata.topics().first().context("no topic")?;
        let mut list = TopicPartitionList::new();
        for partition in topic.partitions() {
            list.add_partition_offset(&self.topic, partition.id(), Offset::Beginning)?;
        }
        consumer.assign(&list)?;
        Ok(consumer)
    }
}

struct Sinks {
    scores: Option<Scores>,
    posts: Option<(Post, Contents)>,
}

impl Sinks {
    fn add(&mut self, after: &str) -> Result<()> {
        let row = Row::read(after)?;
        if let Some(scores) = &mut self.scores {
            scores.add(&row)?;
            if scores.events() == REDIS_EVENTS {
                scores.send()?;
            }
        }
        if let Some((post, contents)) = &mut self.posts {
            row.write(after, contents.of(row.content_id)?, post.next())?;
            if post.events() == POST_EVENTS {
                post.send()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(scores) = &mut self.scores {
            scores.send()?;
        }
        if let Some((post, _)) = &mut self.posts {
            post.send()?;
        }
        Ok(())
    }
}
