//! How long what is stored is kept: events by age and size, their ids by age alone.
//!
//! Pure. An id must be known for as long as its event can come again: as long as a topic, or the dead letters, keep the
//! record. So ids outlive events, and no size drops them early.

use std::time::Duration;

use thiserror::Error;

const S_PER_DAY: u64 = 86_400;

/// The bounds of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    events_us: i64,
    events_bytes: i64,
    ids_us: i64,
}

/// What the bounds contradict.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "ids are kept for {ids_s} s and events for {events_s} s: an event whose id is forgotten would be stored again; let \
     WEBHOOK_KEEP_IDS be at least WEBHOOK_KEEP_EVENTS"
)]
pub struct ContradictionError {
    ids_s: u64,
    events_s: u64,
}

impl Retention {
    /// How long events are kept where nothing else is said: as long as the topic keeps them.
    pub const DEFAULT_EVENTS: Duration = Duration::from_secs(7 * S_PER_DAY);
    /// How many bytes of events are kept where nothing else is said.
    pub const DEFAULT_EVENTS_BYTES: u64 = 4 * 1024 * 1024 * 1024;
    /// How long ids are known where nothing else is said. A record lies in its topic for 7 days and up to 7 more until
    /// its segment is closed, a dead letter for 30 and up to 7: a letter written at the end of the former is gone after 51.
    pub const DEFAULT_IDS: Duration = Duration::from_secs(60 * S_PER_DAY);

    /// Bounds by age and size of events and age of ids.
    ///
    /// # Errors
    /// Ids that would go before their events.
    pub fn new(events: Duration, events_bytes: u64, ids: Duration) -> Result<Self, ContradictionError> {
        if ids < events {
            return Err(ContradictionError { ids_s: ids.as_secs(), events_s: events.as_secs() });
        }
        let us = |age: Duration| i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        let events_bytes = i64::try_from(events_bytes).unwrap_or(i64::MAX);
        Ok(Self { events_us: us(events), events_bytes, ids_us: us(ids) })
    }

    /// Events received before this are too old.
    #[must_use]
    pub fn events_before_us(&self, now_us: i64) -> i64 {
        now_us.saturating_sub(self.events_us)
    }

    /// Ids received before this are too old.
    #[must_use]
    pub fn ids_before_us(&self, now_us: i64) -> i64 {
        now_us.saturating_sub(self.ids_us)
    }

    /// More bytes of events than this are too many.
    #[must_use]
    pub fn high_bytes(&self) -> i64 {
        self.events_bytes
    }

    /// Deleting stops here: a little below, so that it does not begin again with the next event.
    #[must_use]
    pub fn low_bytes(&self) -> i64 {
        self.events_bytes - self.events_bytes / 50
    }
}

impl Default for Retention {
    fn default() -> Self {
        let us = |age: Duration| i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
        Self {
            events_us: us(Self::DEFAULT_EVENTS),
            events_bytes: i64::try_from(Self::DEFAULT_EVENTS_BYTES).unwrap_or(i64::MAX),
            ids_us: us(Self::DEFAULT_IDS),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Segments are closed after so long by default, and only a closed one is deleted.
    const SEGMENT_MS: u64 = 7 * S_PER_DAY * 1000;

    fn retention_ms(topic: &str) -> u64 {
        let topics = include_str!("../../stack/topics");
        let line = topics.lines().find(|line| line.split_whitespace().next() == Some(topic)).unwrap();
        line.split_whitespace().find_map(|word| word.strip_prefix("retention.ms=")).unwrap().parse().unwrap()
    }

    #[test]
    fn ids_outlive_every_record_that_can_come_again() {
        // The segments of the last are shorter than its retention.
        let longest_ms = retention_ms("engagement_events")
            + retention_ms("engagement_events.dlq")
            + 2 * SEGMENT_MS
            + 2 * retention_ms("engagement_events.replay");
        assert!(Retention::DEFAULT_IDS > Duration::from_millis(longest_ms));
        assert!(Retention::DEFAULT_IDS > Retention::DEFAULT_EVENTS);
    }

    #[test]
    fn ids_may_not_go_before_their_events() {
        let (hour, day) = (Duration::from_secs(3600), Duration::from_secs(S_PER_DAY));
        let error = Retention::new(day, 1, hour).unwrap_err();
        assert!(error.to_string().contains("WEBHOOK_KEEP_IDS"), "{error}");
        let kept = Retention::new(hour, 5000, hour).unwrap();
        assert_eq!((kept.events_before_us(7), kept.ids_before_us(7)), (7 - 3_600_000_000, 7 - 3_600_000_000));
        assert_eq!((kept.high_bytes(), kept.low_bytes()), (5000, 4900));
    }
}
