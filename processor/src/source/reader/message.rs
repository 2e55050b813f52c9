//! From librdkafka's messages to our records, many at a time: taken one by one, a message costs an event, two looks at the clock and
//! four allocations more.

use crate::position::{Offset, Partition};
use crate::source::group::Membership;
use crate::source::{Chunk, Record};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{IsError, KafkaError};
use rdkafka::message::BorrowedMessage;
use rdkafka_sys as sys;
use std::ffi::{CStr, CString};
use std::ptr::{self, NonNull};
use std::slice;

/// Messages taken at a time: so far may a chunk go beyond its bounds, of what librdkafka has fetched anyway.
const AT_A_TIME: usize = 64;

/// The messages of a partition that librdkafka has fetched.
pub(super) struct Fetched {
    queue: NonNull<sys::rd_kafka_queue_t>,
}

// SAFETY: librdkafka's queues may be used from any thread.
unsafe impl Send for Fetched {}

impl Fetched {
    /// Those of a partition of `topic`; the consumer has to outlive it. `None` where the name is none.
    pub(super) fn of(consumer: &BaseConsumer<Membership>, topic: &str, partition: Partition) -> Option<Self> {
        let topic = CString::new(topic).ok()?;
        // SAFETY: the consumer is there; the queue is ours to destroy.
        let queue = unsafe {
            sys::rd_kafka_queue_get_partition(consumer.client().native_ptr(), topic.as_ptr(), partition)
        };
        NonNull::new(queue).map(|queue| Self { queue })
    }

    /// Copies some into the chunk, in order, and moves `at` behind the last one. Answers how many there were, errors included, which go to
    /// `failed`.
    pub(super) fn take(
        &self,
        chunk: &mut Chunk,
        at: &mut Offset,
        mut failed: impl FnMut(KafkaError),
    ) -> usize {
        let mut messages = [ptr::null_mut(); AT_A_TIME];
        // SAFETY: the queue lives as long as `self`, and there is room for as many as are asked for.
        let taken = unsafe {
            sys::rd_kafka_consume_batch_queue(self.queue.as_ptr(), 0, messages.as_mut_ptr(), AT_A_TIME)
        };
        // Below zero where the queue can't be read; the next poll of the group says why.
        let taken = usize::try_from(taken).unwrap_or_default();
        for message in messages.into_iter().take(taken).filter_map(NonNull::new) {
            // SAFETY: a message is ours until it is destroyed, just once, and nothing of it is kept.
            unsafe {
                if message.as_ref().err.is_error() {
                    failed(KafkaError::MessageConsumption(message.as_ref().err.into()));
                } else {
                    let record = borrow(*at, message);
                    *at = record.offset.saturating_add(1);
                    chunk.push(&record);
                }
                sys::rd_kafka_message_destroy(message.as_ptr());
            }
        }
        taken
    }
}

impl Drop for Fetched {
    fn drop(&mut self) {
        // SAFETY: nobody else has this handle.
        unsafe { sys::rd_kafka_queue_destroy(self.queue.as_ptr()) };
    }
}

/// A message as a record, borrowed from it.
pub(crate) fn record<'m>(from: Offset, message: &'m BorrowedMessage<'_>) -> Record<'m> {
    // SAFETY: a borrowed message is there, no error, and lives for `'m`.
    unsafe { borrow(from, NonNull::from(&*message.ptr())) }
}

/// # Safety
/// The message is no error and is not destroyed within `'m`.
unsafe fn borrow<'m>(from: Offset, message: NonNull<sys::rd_kafka_message_t>) -> Record<'m> {
    // SAFETY: as promised; key and value are as long as it says, or null.
    unsafe {
        let bytes = |start: *mut std::ffi::c_void, length| {
            (!start.is_null()).then(|| slice::from_raw_parts(start.cast::<u8>().cast_const(), length))
        };
        let is = message.as_ref();
        Record {
            partition: is.partition,
            from,
            offset: is.offset,
            timestamp_ms: timestamp_ms(message),
            key: bytes(is.key, is.key_len),
            value: bytes(is.payload, is.len),
            headers: headers(message),
        }
    }
}

/// # Safety
/// The message is there.
unsafe fn timestamp_ms(message: NonNull<sys::rd_kafka_message_t>) -> Option<i64> {
    let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
    // SAFETY: as promised.
    let ms = unsafe { sys::rd_kafka_message_timestamp(message.as_ptr(), &mut kind) };
    (ms != -1 && kind != sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE).then_some(ms)
}

/// The headers as bytes. The client's own reading panics where a name is no UTF-8, and names are whatever the producer wrote.
///
/// # Safety
/// The message is there for `'m`.
unsafe fn headers<'m>(message: NonNull<sys::rd_kafka_message_t>) -> Vec<(&'m [u8], Option<&'m [u8]>)> {
    let mut headers = Vec::new();
    // SAFETY: the message lives as long as `'m` and owns its headers; librdkafka hands out pointers into them, the name
    // ended by a zero byte, the value `size` bytes long or null.
    unsafe {
        let mut list = std::ptr::null_mut();
        let found = sys::rd_kafka_message_headers(message.as_ptr(), &mut list);
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR || list.is_null() {
            return headers;
        }
        for index in 0..sys::rd_kafka_header_cnt(list) {
            let (mut name, mut value, mut size) = (std::ptr::null(), std::ptr::null(), 0);
            let got = sys::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size);
            if got != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            let value = (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            headers.push((CStr::from_ptr(name).to_bytes(), value));
        }
    }
    headers
}
