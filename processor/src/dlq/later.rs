//! Whether a later change of a letter's row lies in the source topic: a replay then comes too late for a sink that keeps rows as
//! they last were.

use super::ledger::{KeyDigest, Known};
use super::read::{DlqError, Mailbox};
use crate::position::{Offset, Partition};
use crate::source::topic;
use rdkafka::consumer::Consumer;
use rdkafka::message::Message;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::time::Duration;

/// So many records are looked at; beyond them it is not known.
const MOST_RECORDS: u64 = 5_000_000;
const ANSWER: Duration = Duration::from_secs(10);

/// What comes after a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Later {
    /// No later change of its row; or it has no key, and so is no row's.
    Nothing,
    /// A change of its row, last at this offset of the letter's own partition.
    Change(Offset),
    /// It can't be told, for this reason.
    Unknown(&'static str),
}

impl Mailbox {
    /// What came after each of `letters` in `topic`, in their order.
    ///
    /// # Errors
    /// The topic can't be read.
    pub fn later(&self, topic: &str, letters: &[Known]) -> Result<Vec<Later>, DlqError> {
        let failed = self.kafka(topic);
        let consumer = self.consumer().map_err(&failed)?;
        let log = topic::describe(&consumer, topic).map_err(&failed)?.map(|found| found.log.to_string());
        let mut wanted: BTreeMap<(Partition, KeyDigest), Offset> = BTreeMap::new();
        let mut starts: BTreeMap<Partition, Offset> = BTreeMap::new();
        let is_here = |known: &&Known| log.as_ref() == Some(&known.kept.letter.origin.log);
        for known in letters.iter().filter(is_here) {
            let origin = &known.kept.letter.origin;
            if let Some(key) = known.kept.key {
                wanted.insert((origin.partition, key), -1);
                let next = origin.offset.saturating_add(1);
                starts.entry(origin.partition).and_modify(|at| *at = next.min(*at)).or_insert(next);
            }
        }
        let mut lows = BTreeMap::new();
        for (partition, at) in &mut starts {
            let (low, high) = consumer.fetch_watermarks(topic, *partition, ANSWER).map_err(&failed)?;
            lows.insert(*partition, low);
            *at = low.max(*at).min(high);
        }
        let starts: Vec<_> = starts.into_iter().collect();
        let mut seen = 0;
        let whole = self.scan(&consumer, topic, &starts, |message| {
            seen += 1;
            // A tombstone comes with the delete before it: that is the change.
            let key = message.key().filter(|_| message.payload().is_some());
            let last = key.and_then(|key| wanted.get_mut(&(message.partition(), KeyDigest::of(key))));
            if let Some(last) = last {
                *last = message.offset();
            }
            Ok(if seen < MOST_RECORDS { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        let later = |known: &Known| {
            let origin = &known.kept.letter.origin;
            let Some(key) = known.kept.key else { return Later::Nothing };
            if log.as_ref() != Some(&origin.log) {
                return Later::Unknown("its topic was made again since");
            }
            match wanted.get(&(origin.partition, key)) {
                Some(last) if *last > origin.offset => Later::Change(*last),
                _ if !whole => Later::Unknown("too many records have come since"),
                _ if lows.get(&origin.partition).is_some_and(|low| *low > origin.offset + 1) => {
                    Later::Unknown("kafka no longer has all that came after it")
                }
                _ => Later::Nothing,
            }
        };
        Ok(letters.iter().map(later).collect())
    }
}
