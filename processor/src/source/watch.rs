//! Watching a topic: whether it is still the same log, and which of its records Kafka is about to delete.
//!
//! One thread for each topic asks, for all who read it: a reader must not wait for such answers. librdkafka takes a topic
//! that was deleted and made again for the same one, and reads on at an offset that means nothing there.

use super::client::Cluster;
use super::topic;
use crate::position::{LogId, Offset, Partition, Positions};
use rdkafka::admin::{AdminClient, AdminOptions, ConfigEntry, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// How often the topic's id is asked for.
const ASK_EVERY: Duration = Duration::from_secs(1);
/// How often it is asked which records go soon: a question of some ten milliseconds.
const SOON_EVERY: Duration = Duration::from_secs(10);
/// How long the broker may take for one answer.
const BROKER_TIMEOUT: Duration = Duration::from_secs(5);
/// A record goes soon when it has reached this share of its retention, in hundredths.
const SOON_PERCENT: i64 = 80;

/// What was seen of a topic last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// The log that bears the name now; `None` before the first answer.
    pub log: Option<LogId>,
    /// For each partition the first offset that does not go soon; none where records do not go by age or size.
    pub soon: Positions,
}

/// Starts to watch the topic `name`, until `stop` is set.
///
/// # Errors
/// librdkafka refuses a property, or the system gives no thread.
pub fn start(cluster: &Cluster, name: &str, stop: Arc<AtomicBool>) -> anyhow::Result<watch::Receiver<Seen>> {
    let watcher = Watcher {
        name: name.to_owned(),
        asker: topic::asker(cluster, "deltafan.watch")?,
        admin: cluster.client("deltafan.watch").create()?,
        runtime: tokio::runtime::Builder::new_current_thread().enable_all().build()?,
    };
    let (sender, receiver) = watch::channel(Seen::default());
    thread::Builder::new().name("watch".to_owned()).spawn(move || watcher.run(&sender, &stop))?;
    Ok(receiver)
}

struct Watcher {
    name: String,
    asker: BaseConsumer,
    admin: AdminClient<DefaultClientContext>,
    /// For the administrator's answers, which come asynchronously.
    runtime: Runtime,
}

impl Watcher {
    fn run(&self, seen: &watch::Sender<Seen>, stop: &AtomicBool) {
        let mut soon_due = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            // What can't be answered now is asked again; the readers themselves say when Kafka is in trouble.
            if let Ok(Some(found)) = topic::describe(&self.asker, &self.name) {
                tell(seen, |seen| seen.log = Some(found.log));
                if Instant::now() >= soon_due {
                    soon_due = Instant::now() + SOON_EVERY;
                    match self.soon(found.partitions) {
                        Ok(soon) => tell(seen, |seen| seen.soon = soon),
                        Err(error) => tracing::debug!(topic = self.name, %error, "retention not answered"),
                    }
                }
            }
            thread::park_timeout(ASK_EVERY);
        }
    }

    fn soon(&self, partitions: usize) -> KafkaResult<Positions> {
        let retention = self.retention()?;
        let partitions = 0..Partition::try_from(partitions).unwrap_or(Partition::MAX);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_ms = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
        let at = |ms| topic::offsets_at(&self.asker, &self.name, partitions.clone(), ms, BROKER_TIMEOUT);
        let old = retention.old_ms(now_ms).map(at).transpose()?;
        let mut soon = Positions::new();
        for partition in partitions {
            let (low, high) = self.asker.fetch_watermarks(&self.name, partition, BROKER_TIMEOUT)?;
            // Where no record is as young as that, all of them are old.
            let by_age = old.as_ref().map(|old| old.get(&partition).copied().unwrap_or(high));
            soon.extend(retention.soon((low, high), by_age).map(|offset| (partition, offset)));
        }
        Ok(soon)
    }

    fn retention(&self) -> KafkaResult<Retention> {
        let topic = ResourceSpecifier::Topic(&self.name);
        let options = AdminOptions::new().request_timeout(Some(BROKER_TIMEOUT));
        let answers = self.runtime.block_on(self.admin.describe_configs([&topic], &options))?;
        let answer = answers.into_iter().next().ok_or(KafkaError::Canceled)?;
        let config = answer.map_err(KafkaError::AdminOp)?;
        let value = |name| config.get(name).and_then(|entry: &ConfigEntry| entry.value.as_deref());
        let number =
            |name| value(name).and_then(|value| value.parse::<i64>().ok()).filter(|value| *value >= 0);
        Ok(Retention {
            deletes: value("cleanup.policy").is_none_or(|policy| policy.contains("delete")),
            ms: number("retention.ms"),
            bytes: number("retention.bytes"),
        })
    }
}

fn tell(seen: &watch::Sender<Seen>, change: impl FnOnce(&mut Seen)) {
    seen.send_if_modified(|seen| {
        let before = seen.clone();
        change(seen);
        *seen != before
    });
}

/// What a topic keeps.
#[derive(Debug, Clone, Copy)]
struct Retention {
    /// Whether it deletes at all.
    deletes: bool,
    /// For how long, if bounded.
    ms: Option<i64>,
    /// How much of each partition, if bounded.
    bytes: Option<i64>,
}

impl Retention {
    /// The time before which a record goes soon, if records go by age.
    fn old_ms(self, now_ms: i64) -> Option<i64> {
        let ms = self.ms.filter(|_| self.deletes)?;
        Some(now_ms.saturating_sub(ms / 100 * SOON_PERCENT))
    }

    /// The first offset that does not go soon, between the watermarks; `by_age` is what age alone says. By size nothing
    /// goes before something has gone: from then on the oldest fifth is next.
    fn soon(self, (low, high): (Offset, Offset), by_age: Option<Offset>) -> Option<Offset> {
        let of_size = self.bytes.filter(|_| self.deletes);
        let by_size = of_size.filter(|_| low > 0).map(|_| {
            let kept = high.saturating_sub(low);
            low.saturating_add(kept / 100 * (100 - SOON_PERCENT))
        });
        by_age.filter(|_| self.deletes).max(by_size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_about_to_go_by_age_or_by_size() {
        let keeps = |ms, bytes| Retention { deletes: true, ms, bytes };
        assert_eq!(keeps(Some(1000), None).old_ms(5000), Some(4200));
        assert_eq!(keeps(None, None).old_ms(5000), None);
        assert_eq!(keeps(Some(1000), None).soon((100, 1100), Some(300)), Some(300));
        assert_eq!(keeps(None, Some(7)).soon((100, 1100), None), Some(300), "the oldest fifth");
        assert_eq!(keeps(None, Some(7)).soon((0, 1100), None), None, "nothing has gone by size yet");
        assert_eq!(keeps(Some(1000), Some(7)).soon((100, 1100), Some(900)), Some(900), "whichever is first");
        let compacted = Retention { deletes: false, ms: Some(1000), bytes: Some(7) };
        assert_eq!((compacted.old_ms(5000), compacted.soon((100, 1100), Some(300))), (None, None));
    }
}
