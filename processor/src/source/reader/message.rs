//! From librdkafka's message to our record.

use crate::position::Offset;
use crate::source::{Chunk, Record};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka_sys as sys;
use std::ffi::CStr;

/// Copies a message into the chunk.
pub(super) fn push(chunk: &mut Chunk, from: Offset, message: &BorrowedMessage<'_>) {
    chunk.push(&record(from, message));
}

/// A message as a record, borrowed from it.
pub(crate) fn record<'m>(from: Offset, message: &'m BorrowedMessage<'_>) -> Record<'m> {
    Record {
        partition: message.partition(),
        from,
        offset: message.offset(),
        timestamp_ms: message.timestamp().to_millis(),
        key: message.key(),
        value: message.payload(),
        headers: headers(message),
    }
}

/// The headers as bytes. The client's own reading panics where a name is no UTF-8, and names are whatever the producer wrote.
fn headers<'m>(message: &'m BorrowedMessage<'_>) -> Vec<(&'m [u8], Option<&'m [u8]>)> {
    let mut headers = Vec::new();
    // SAFETY: the message lives as long as `'m` and owns its headers; librdkafka hands out pointers into them, the name
    // ended by a zero byte, the value `size` bytes long or null.
    unsafe {
        let mut list = std::ptr::null_mut();
        let found = sys::rd_kafka_message_headers(message.ptr(), &mut list);
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
