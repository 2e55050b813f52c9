//! Topics: whether they are there, and the ids that tell one log from another of the same name.

use super::client::Cluster;
use crate::position::{LogId, Partition, Positions};
use rdkafka::client::Client;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use rdkafka_sys as sys;
use std::ffi::{CStr, CString, c_char};
use std::ops::Range;
use std::time::Duration;

/// How long a broker may take to describe a topic.
const DESCRIBE_TIMEOUT: Duration = Duration::from_secs(5);

/// A topic as the broker describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// The log that now bears the name.
    pub log: LogId,
    /// How many partitions it has.
    pub partitions: usize,
}

/// Asks the broker for a topic; `None` where there is none of that name.
///
/// # Errors
/// The broker can't be reached or refuses.
pub fn describe<C: ConsumerContext>(consumer: &BaseConsumer<C>, name: &str) -> KafkaResult<Option<Topic>> {
    let metadata = consumer.fetch_metadata(Some(name), DESCRIBE_TIMEOUT)?;
    let Some(topic) = metadata.topics().iter().find(|topic| topic.name() == name) else {
        return Ok(None);
    };
    match topic.error().map(RDKafkaErrorCode::from) {
        None => {}
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => return Ok(None),
        Some(code) => return Err(KafkaError::MetadataFetch(code)),
    }
    let cluster = consumer
        .client()
        .fetch_cluster_id(DESCRIBE_TIMEOUT)
        .ok_or(KafkaError::MetadataFetch(RDKafkaErrorCode::OperationTimedOut))?;
    let id = topic_id(consumer.client(), name)?;
    Ok(id.map(|id| Topic { log: LogId::new(&cluster, &id), partitions: topic.partitions().len() }))
}

/// Its partitions.
#[must_use]
pub fn partitions(topic: &Topic) -> Range<Partition> {
    0..Partition::try_from(topic.partitions).unwrap_or(Partition::MAX)
}

/// The first offset of each partition with a record of this time (milliseconds since 1970) or later; missing where there is
/// none.
///
/// # Errors
/// The broker can't be reached or refuses.
pub fn offsets_at(
    asker: &BaseConsumer,
    name: &str,
    partitions: Range<Partition>,
    ms: i64,
    timeout: Duration,
) -> KafkaResult<Positions> {
    let mut list = TopicPartitionList::with_capacity(partitions.len());
    for partition in partitions {
        list.add_partition_offset(name, partition, ListOffset::Offset(ms))?;
    }
    let found = asker.offsets_for_times(list, timeout)?;
    let offset = |offset| if let ListOffset::Offset(offset) = offset { Some(offset) } else { None };
    let elements = found.elements();
    Ok(elements.iter().filter_map(|one| Some((one.partition(), offset(one.offset())?))).collect())
}

/// A handle that only asks: it joins no group and reads nothing.
///
/// # Errors
/// librdkafka refuses a property.
pub fn asker(cluster: &Cluster, name: &str) -> KafkaResult<BaseConsumer> {
    // A committed reader is told the last stable offset in place of the high watermark.
    cluster.client(name).set("isolation.level", "read_uncommitted").create()
}

/// The topic's id in base64. librdkafka knows it, its Rust wrapper does not yet pass it on: hence the raw calls.
fn topic_id<C: ConsumerContext>(client: &Client<C>, name: &str) -> KafkaResult<Option<String>> {
    let timed_out = KafkaError::AdminOp(RDKafkaErrorCode::OperationTimedOut);
    let name = CString::new(name).map_err(KafkaError::from)?;
    let mut names: [*const c_char; 1] = [name.as_ptr()];
    let timeout_ms = i32::try_from(DESCRIBE_TIMEOUT.as_millis()).unwrap_or(i32::MAX);
    // SAFETY: every object is made here, used only while it lives, and destroyed once: `Owned` destroys in reverse
    // order at the end of the block. The client outlives the call, which is synchronous. `names` outlives the
    // collection's construction, which copies it.
    unsafe {
        let rk = client.native_ptr();
        let topics = Owned(
            sys::rd_kafka_TopicCollection_of_topic_names(names.as_mut_ptr(), 1),
            sys::rd_kafka_TopicCollection_destroy,
        );
        let queue = Owned(sys::rd_kafka_queue_new(rk), sys::rd_kafka_queue_destroy);
        sys::rd_kafka_DescribeTopics(rk, topics.0, std::ptr::null(), queue.0);
        let event = Owned(sys::rd_kafka_queue_poll(queue.0, timeout_ms), sys::rd_kafka_event_destroy);
        if event.0.is_null() {
            return Err(timed_out);
        }
        let error = sys::rd_kafka_event_error(event.0);
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return Err(KafkaError::AdminOp(error.into()));
        }
        let result = sys::rd_kafka_event_DescribeTopics_result(event.0);
        if result.is_null() {
            return Err(timed_out);
        }
        let mut count = 0;
        let described = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        if count == 0 || described.is_null() {
            return Ok(None);
        }
        let topic = *described;
        let error = sys::rd_kafka_error_code(sys::rd_kafka_TopicDescription_error(topic));
        if error != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return match RDKafkaErrorCode::from(error) {
                RDKafkaErrorCode::UnknownTopicOrPartition => Ok(None),
                code => Err(KafkaError::AdminOp(code)),
            };
        }
        let id = sys::rd_kafka_Uuid_base64str(sys::rd_kafka_TopicDescription_topic_id(topic));
        if id.is_null() {
            return Ok(None);
        }
        Ok(Some(CStr::from_ptr(id).to_string_lossy().into_owned()))
    }
}

/// A native object with the function that destroys it.
struct Owned<T>(*mut T, unsafe extern "C" fn(*mut T));

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        if !self.0.is_null() {
            // SAFETY: the pointer came from librdkafka together with this destructor and is destroyed only here.
            unsafe { (self.1)(self.0) }
        }
    }
}
