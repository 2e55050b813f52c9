//! Giving back the room of purged letters. Kafka deletes records only from the beginning of a partition on: so everything goes
//! that lies before the first record that somebody still needs.

use super::ledger::{Ledger, Place};
use super::read::{DlqError, Mailbox, kept, mark};
use crate::position::{Offset, Partition};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::topic_partition_list::{Offset as ListOffset, TopicPartitionList};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::time::Duration;

/// How long Kafka may take to delete.
const DELETE: Duration = Duration::from_secs(10);

/// What a record of the topic means for the room that can be given back.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    /// Somebody needs it.
    Needed,
    /// A copy of a purged letter.
    Purged(String),
    /// What was done about a letter: needed as long as a copy of that is there.
    Mark(String),
}

impl Mailbox {
    /// Deletes what lies before the first record that somebody still needs, whoever it belongs to; how many partitions have
    /// become shorter.
    ///
    /// # Errors
    /// The topic can't be read, or Kafka does not let us delete.
    pub async fn trim(&self, ledger: &Ledger) -> Result<usize, DlqError> {
        let mut items = Vec::new();
        self.each(None, |record| {
            let place = Place { partition: record.partition, offset: record.offset };
            let ours = |pipeline: &str| pipeline == self.pipeline;
            let item = match (kept(record), mark(record)) {
                (Some(kept), _) if ours(&kept.letter.pipeline) && ledger.is_purged(&kept.letter.id) => {
                    Item::Purged(kept.letter.id)
                }
                (None, Some((mark, pipeline)))
                    if ours(&pipeline) && (ledger.is_purged(&mark.id) || !ledger.has(&mark.id)) =>
                {
                    Item::Mark(mark.id)
                }
                _ => Item::Needed,
            };
            items.push((place, item));
            Ok(ControlFlow::Continue(()))
        })?;
        let ends = trimmed(&items);
        if ends.is_empty() {
            return Ok(0);
        }
        let failed = self.kafka(&self.topic);
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &ends {
            list.add_partition_offset(&self.topic, *partition, ListOffset::Offset(*offset))
                .map_err(&failed)?;
        }
        let admin: AdminClient<DefaultClientContext> =
            self.cluster.client("deltafan.dlq").create().map_err(&failed)?;
        let options = AdminOptions::new().operation_timeout(Some(DELETE));
        let deleted = admin.delete_records(&list, &options).await.map_err(&failed)?;
        for element in deleted.elements() {
            element.error().map_err(&failed)?;
        }
        Ok(ends.len())
    }
}

/// Up to where each partition may be deleted, given its records in order; partitions of which nothing may are missing.
fn trimmed(items: &[(Place, Item)]) -> BTreeMap<Partition, Offset> {
    let mut needed: BTreeSet<&str> = BTreeSet::new();
    loop {
        let ends = ends(items, &needed);
        let goes = |place: &Place| ends.get(&place.partition).is_some_and(|end| place.offset < *end);
        // The marks of a copy that stays have to stay as well, which may let further copies stay.
        let before = needed.len();
        needed.extend(items.iter().filter(|(place, _)| !goes(place)).filter_map(|(_, item)| match item {
            Item::Purged(id) => Some(id.as_str()),
            Item::Needed | Item::Mark(_) => None,
        }));
        if needed.len() == before {
            return ends;
        }
    }
}

/// The ends where the marks of these letters are needed.
fn ends(items: &[(Place, Item)], needed: &BTreeSet<&str>) -> BTreeMap<Partition, Offset> {
    let mut ends = BTreeMap::new();
    let mut stands = BTreeSet::new();
    for (place, item) in items.iter() {
        let stays = match item {
            Item::Needed => true,
            Item::Purged(_) => false,
            Item::Mark(id) => needed.contains(id.as_str()),
        };
        if stays {
            stands.insert(place.partition);
        } else if !stands.contains(&place.partition) {
            ends.insert(place.partition, place.offset.saturating_add(1));
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item() -> impl Strategy<Value = Item> {
        let id = "[ab]";
        prop_oneof![Just(Item::Needed), id.prop_map(Item::Purged), id.prop_map(Item::Mark)]
    }

    proptest! {
        #[test]
        fn nothing_that_is_needed_goes_and_no_purged_letter_comes_back(
            items in prop::collection::vec((0i32..2, item()), 0..14)
        ) {
            let items: Vec<_> = (0..)
                .zip(items)
                .map(|(offset, (partition, item))| (Place { partition, offset }, item))
                .collect();
            let ends = trimmed(&items);
            let goes = |place: &Place| ends.get(&place.partition).is_some_and(|end| place.offset < *end);
            for (place, item) in &items {
                match item {
                    Item::Needed => prop_assert!(!goes(place)),
                    Item::Purged(_) => {}
                    Item::Mark(id) if goes(place) => {
                        // No copy that it told of is left without it.
                        let left = items.iter().any(|(copy, item)| *item == Item::Purged(id.clone()) && !goes(copy));
                        prop_assert!(!left, "{:?} {:?}", items, ends);
                    }
                    Item::Mark(_) => {}
                }
            }
            // And all goes that may: the first that stays is needed.
            for partition in 0..2 {
                let first = items.iter().find(|(place, _)| place.partition == partition && !goes(place));
                prop_assert!(!matches!(first, Some((_, Item::Purged(_)))));
            }
            if !items.iter().any(|(_, item)| *item == Item::Needed) {
                prop_assert!(items.iter().all(|(place, _)| goes(place)), "everything may go: {:?}", ends);
            }
        }
    }
}
