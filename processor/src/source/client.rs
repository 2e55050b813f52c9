//! How we speak to Kafka: the settings that the guarantees rest on, each with its reason.

use rdkafka::ClientConfig;
use std::collections::BTreeMap;

/// Where Kafka is and how to reach it.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// `host:port,…`.
    pub brokers: String,
    /// Further librdkafka properties (security and the like), as the user gave them.
    pub properties: BTreeMap<String, String>,
}

/// Up to so many bytes librdkafka fetches further records of a partition, so that it may hold one answer more: our queues are split, and
/// its bound is for each.
const FETCH_AHEAD_KIB: usize = 1024;

/// How long a fetch may wait at the broker for records. While it waits nothing else is fetched, also not from a partition that has
/// records and was left out only because its queue was full: with librdkafka's half a second, a worker that is behind in one partition
/// and not in its others reads 1 or 2 MiB, then waits as long. Shorter would cost an idle broker more: at 50 ms it answers 20 fetches
/// a second of each worker.
const FETCH_WAIT_MS: u32 = 50;

/// So much of each partition comes with one answer of the broker; librdkafka's own is a MiB. Where batches are compressed, what is read
/// ahead is several times what came: with `zstd` an answer's MiB became a dozen, for each partition. Batches that are larger come one at a
/// time, of one partition after the other.
const FETCH_AT_ONCE_BYTES: usize = 256 * 1024;
/// Who sets one of these has his own idea of it: the names of that property, and how much there has to be before the broker answers.
const FETCH_AT_ONCE: [&str; 3] = ["fetch.message.max.bytes", "max.partition.fetch.bytes", "fetch.min.bytes"];

impl Cluster {
    /// The settings that every client shares.
    pub fn client(&self, name: &str) -> ClientConfig {
        let mut config = ClientConfig::new();
        for (key, value) in &self.properties {
            config.set(key, value);
        }
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", name)
            .set("allow.auto.create.topics", "false")
            .set("socket.nagle.disable", "true")
            .set("socket.keepalive.enable", "true")
            .set("log.connection.close", "false")
            // A broker that comes back is found within a second, not within the default ten.
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            // A topic that is made, or made again, is noticed soon.
            .set("topic.metadata.refresh.interval.ms", "10000");
        config
    }

    /// A consumer that reads committed records only and never begins anywhere by itself.
    pub fn reader(&self, name: &str, fetch_ahead_kib: usize) -> ClientConfig {
        let mut config = self.client(name);
        config
            .set("isolation.level", "read_committed")
            .set("auto.offset.reset", "error")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("enable.partition.eof", "false")
            // Whenever its queue is full librdkafka stops fetching for this long; its default is a second.
            .set("fetch.queue.backoff.ms", "2")
            .set("fetch.error.backoff.ms", "100")
            .set("queued.min.messages", "20000")
            .set("queued.max.messages.kbytes", fetch_ahead_kib.to_string());
        config
    }

    /// A member of a lane's consumer group.
    pub fn member(&self, group: &str, name: &str) -> ClientConfig {
        let mut config = self.reader(name, FETCH_AHEAD_KIB);
        if !self.properties.contains_key("fetch.wait.max.ms") {
            config.set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string());
        }
        if !FETCH_AT_ONCE.iter().any(|name| self.properties.contains_key(*name)) {
            config.set("fetch.message.max.bytes", FETCH_AT_ONCE_BYTES.to_string());
        }
        config
            .set("group.id", group)
            // Eager: commits of a cooperative member can reach partitions that it no longer owns.
            .set("partition.assignment.strategy", "range")
            // A killed instance's partitions move after this long.
            .set("session.timeout.ms", "6000")
            .set("heartbeat.interval.ms", "500");
        config
    }
}
