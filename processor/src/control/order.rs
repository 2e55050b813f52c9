//! Orders as records of the control topic, and the table that they add up to. Pure.
//!
//! A record's key is `pause/<pipeline>/<sink>` or `reset/<pipeline>/<sink>`, so that compaction keeps the last word on
//! each; its value is JSON. A record without value takes the order back.

use crate::position::{Offset, Partition};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The lane stands still until it is resumed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// When it was ordered, in milliseconds since 1970.
    pub since_ms: i64,
    /// Why, in the words of whoever ordered it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The lane goes on from other positions, once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reset {
    /// Numbers the orders: the time at which it was given, in milliseconds since 1970, and above that of the one before.
    pub id: i64,
    /// The log that the positions belong to, `cluster/topic-id`: in another one the order means nothing.
    pub log: String,
    /// The offset of the next record, of each partition that is reset.
    pub positions: BTreeMap<Partition, Offset>,
}

/// One order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Stand still.
    Pause(Pause),
    /// Go on.
    Resume,
    /// Go on from elsewhere.
    Reset(Reset),
    /// The last reset counts no more.
    ForgetReset,
}

/// What is in force for one lane.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LaneOrders {
    /// It is to stand still.
    pub pause: Option<Pause>,
    /// The last reset, obeyed or not.
    pub reset: Option<Reset>,
}

/// What is in force for each lane, by its name `pipeline/sink`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table(BTreeMap<String, LaneOrders>);

impl Table {
    /// What is in force for a lane.
    pub fn of(&self, lane: &str) -> LaneOrders {
        self.0.get(lane).cloned().unwrap_or_default()
    }

    /// Takes in the next order. A reset never gives way to an older one, whatever order two of them were written in.
    pub fn apply(&mut self, lane: &str, order: Order) {
        let orders = self.0.entry(lane.to_owned()).or_default();
        match order {
            Order::Pause(pause) => orders.pause = Some(pause),
            Order::Resume => orders.pause = None,
            Order::Reset(reset) if orders.reset.as_ref().is_some_and(|last| last.id >= reset.id) => {}
            Order::Reset(reset) => orders.reset = Some(reset),
            Order::ForgetReset => orders.reset = None,
        }
    }
}

const PAUSE: &str = "pause";
const RESET: &str = "reset";

impl Order {
    /// The record's key for an order to `lane`.
    pub fn key(&self, lane: &str) -> String {
        match self {
            Self::Pause(_) | Self::Resume => format!("{PAUSE}/{lane}"),
            Self::Reset(_) | Self::ForgetReset => format!("{RESET}/{lane}"),
        }
    }

    /// The record's value.
    ///
    /// # Errors
    /// JSON can't be written: never, for these types.
    pub fn value(&self) -> serde_json::Result<Option<Vec<u8>>> {
        match self {
            Self::Pause(pause) => serde_json::to_vec(pause).map(Some),
            Self::Reset(reset) => serde_json::to_vec(reset).map(Some),
            Self::Resume | Self::ForgetReset => Ok(None),
        }
    }

    /// Reads a record: the lane and the order to it. `None` for kinds of records that are not known here.
    ///
    /// # Errors
    /// What is wrong with a record of a known kind.
    pub fn read(key: Option<&[u8]>, value: Option<&[u8]>) -> Result<Option<(String, Self)>, String> {
        let Some(Ok(key)) = key.map(std::str::from_utf8) else { return Ok(None) };
        let Some((kind, lane)) = key.split_once('/') else { return Ok(None) };
        let bad = |error: serde_json::Error| format!("`{key}`: {error}");
        let order = match (kind, value) {
            (PAUSE, None) => Self::Resume,
            (PAUSE, Some(value)) => Self::Pause(serde_json::from_slice(value).map_err(bad)?),
            (RESET, None) => Self::ForgetReset,
            (RESET, Some(value)) => Self::Reset(serde_json::from_slice(value).map_err(bad)?),
            _ => return Ok(None),
        };
        Ok(Some((lane.to_owned(), order)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn order() -> impl Strategy<Value = Order> {
        let reset = (0i64..9, prop::collection::btree_map(0i32..4, 0i64..100, 0..4));
        prop_oneof![
            (0i64..9, prop::option::of("[a-z\"é]{0,5}"))
                .prop_map(|(since_ms, reason)| Order::Pause(Pause { since_ms, reason })),
            Just(Order::Resume),
            reset.prop_map(|(id, positions)| Order::Reset(Reset { id, log: "c/t".to_owned(), positions })),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(lane in "[a-z]{1,3}/[a-z]{1,3}", order in order()) {
            let (key, value) = (order.key(&lane), order.value().unwrap());
            let read = Order::read(Some(key.as_bytes()), value.as_deref());
            prop_assert_eq!(read, Ok(Some((lane, order))));
        }

        /// Compaction drops any record but the last of its key: a reader that sees only those knows the same.
        #[test]
        fn the_last_record_of_each_key_is_enough(orders in prop::collection::vec(order(), 0..20)) {
            let mut last_id = 0;
            let mut whole = Table::default();
            let mut kept = BTreeMap::new();
            for mut order in orders {
                if let Order::Reset(reset) = &mut order {
                    last_id += 1;
                    reset.id = last_id;
                }
                kept.insert(order.key("p/s"), order.clone());
                whole.apply("p/s", order);
            }
            let mut compacted = Table::default();
            for order in kept.into_values() {
                compacted.apply("p/s", order);
            }
            prop_assert_eq!(whole.of("p/s"), compacted.of("p/s"));
        }
    }

    #[test]
    fn an_older_reset_never_replaces_a_newer_one() {
        let reset = |id| Reset { id, log: "c/t".to_owned(), positions: BTreeMap::new() };
        let mut table = Table::default();
        for id in [5, 4, 5] {
            table.apply("p/s", Order::Reset(reset(id)));
        }
        assert_eq!(table.of("p/s").reset, Some(reset(5)));
    }

    #[test]
    fn other_records_mean_nothing_and_broken_ones_are_named() {
        assert_eq!(Order::read(Some(b"future/p/s"), Some(b"{}")), Ok(None));
        assert_eq!(Order::read(None, None), Ok(None));
        assert!(Order::read(Some(b"pause/p/s"), Some(b"{")).unwrap_err().contains("pause/p/s"));
    }
}
