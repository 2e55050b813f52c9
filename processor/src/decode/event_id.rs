//! Event ids: they name what happened, not where it lies in Kafka.
//!
//! A row that came to be has one id, whether it was seen live, in a snapshot or by a backfill: it is made of database,
//! schema, table, key and identity columns alone. A change of a row (update, delete) adds where and when it happened.
//! The id is a UUID of version 8: a time in milliseconds in the first 48 bits, so that a store which keeps ids in order
//! writes new ones side by side, and behind it the SHA-256 of these parts (74 bits of it). All is taken from canonical
//! values and never from bytes of Kafka, so SQL can compute it as well.

use super::row::EngagementRow;
use super::timestamp::Timestamp;
use super::{Op, Source};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Computes the id of what happened to `row`.
///
/// The parts are hashed one after the other, each preceded by its length in bytes as a 32-bit big-endian number:
/// database, schema, table, `id` in decimal, `event_ts` ([its text](Parts::add_time)); for an update or a delete also the operation's
/// letter, the LSN in decimal and the commit's time in microseconds since 1970 in decimal. The time in front is `event_ts`
/// of a row that came to be, the commit's of a change ([`milliseconds`]).
pub fn event_id(op: Op, source: &Source<'_>, row: &EngagementRow<'_>) -> Uuid {
    let mut hash = Parts::new();
    hash.add(source.db.as_bytes());
    hash.add(source.schema.as_bytes());
    hash.add(source.table.as_bytes());
    hash.add_number(row.id);
    hash.add_time(row.event_ts);
    if matches!(op, Op::Update | Op::Delete) {
        hash.add(op.letter().as_bytes());
        hash.add_number(source.lsn);
        hash.add_number(source.committed_us);
        return hash.finish(milliseconds(source.committed_us.div_euclid(1000)));
    }
    hash.finish(match row.event_ts {
        Some(Timestamp::At { secs, micros }) => {
            milliseconds(secs.saturating_mul(1000).saturating_add(i64::from(micros / 1000)))
        }
        Some(Timestamp::Infinity) => milliseconds(i64::MAX),
        Some(Timestamp::NegativeInfinity) | None => 0,
    })
}

/// Milliseconds since 1970 in 48 bits: earlier is 0, later than the year 10889 is the largest.
fn milliseconds(ms: i64) -> u64 {
    const MOST: u64 = (1 << 48) - 1;
    u64::try_from(ms).unwrap_or(0).min(MOST)
}

/// More than the parts of most events come to.
const MOST_PENDING: usize = 192;

/// The parts as they are hashed. They are short, so they are put together before: the hash takes them in at once.
struct Parts {
    hash: Sha256,
    pending: [u8; MOST_PENDING],
    filled: usize,
}

impl Parts {
    fn new() -> Self {
        Self { hash: Sha256::new(), pending: [0; MOST_PENDING], filled: 0 }
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.filled.saturating_add(bytes.len());
        if let Some(room) = self.pending.get_mut(self.filled..end) {
            room.copy_from_slice(bytes);
            self.filled = end;
        } else {
            self.take_in();
            self.hash.update(bytes);
        }
    }

    fn take_in(&mut self) {
        self.hash.update(self.pending.get(..self.filled).unwrap_or_default());
        self.filled = 0;
    }

    fn add(&mut self, part: &[u8]) {
        self.add_joined([part]);
    }

    /// One part, of several pieces.
    fn add_joined<const N: usize>(&mut self, pieces: [&[u8]; N]) {
        let length = u32::try_from(pieces.iter().map(|piece| piece.len()).sum::<usize>()).unwrap_or(u32::MAX);
        self.push(&length.to_be_bytes());
        for piece in pieces {
            self.push(piece);
        }
    }

    fn add_number(&mut self, number: impl itoa::Integer) {
        self.add(itoa::Buffer::new().format(number).as_bytes());
    }

    /// A time in one way only: seconds since 1970 and six digits of a fraction, `infinity`, `-infinity`, or nothing for NULL.
    fn add_time(&mut self, ts: Option<Timestamp>) {
        match ts {
            None => self.add(b""),
            Some(Timestamp::Infinity) => self.add(b"infinity"),
            Some(Timestamp::NegativeInfinity) => self.add(b"-infinity"),
            Some(Timestamp::At { secs, micros }) => {
                // Below a million, so with the million in front there are seven digits.
                let mut fraction = itoa::Buffer::new();
                let fraction = fraction.format(1_000_000 + micros).strip_prefix('1').unwrap_or_default();
                self.add_joined([itoa::Buffer::new().format(secs).as_bytes(), b".", fraction.as_bytes()]);
            }
        }
    }

    fn finish(mut self, ms: u64) -> Uuid {
        self.take_in();
        let digest = self.hash.finalize();
        let mut bytes = [0u8; 16];
        // The two highest bytes of the time are zero: it has 48 bits.
        let id = ms.to_be_bytes().into_iter().skip(2).chain(digest.iter().copied());
        for (byte, part) in bytes.iter_mut().zip(id) {
            *byte = part;
        }
        Uuid::new_v8(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// However long the parts are, it is the hash of all of them in one piece.
        #[test]
        fn is_the_hash_of_its_parts(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..8), number: i64) {
            let (mut hash, mut whole) = (Parts::new(), Vec::new());
            let number_text = number.to_string();
            for part in parts.iter().map(Vec::as_slice).chain([number_text.as_bytes()]) {
                whole.extend_from_slice(&u32::try_from(part.len()).expect("short").to_be_bytes());
                whole.extend_from_slice(part);
            }
            parts.iter().for_each(|part| hash.add(part));
            hash.add_number(number);
            let mut bytes = [0; 16];
            bytes[..6].copy_from_slice(&[0, 0, 0, 0, 0, 7]);
            bytes[6..].copy_from_slice(&Sha256::digest(&whole)[..10]);
            prop_assert_eq!(hash.finish(7), Uuid::new_v8(bytes));
        }
    }
}
