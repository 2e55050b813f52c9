//! Which partitions are to be set to other positions when reading begins, and where to. Pure.
//!
//! Two can order it: an operator by `deltafan reset`, whose order has a number, and somebody who reset the consumer group
//! with Kafka's own tools while no instance ran. Each is obeyed once: the commit that follows says so.

use super::group::By;
use crate::control;
use crate::position::{LogId, Offset, Partition, Positions, Reset};
use std::collections::BTreeMap;

/// What the group has committed for a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Committed {
    pub offset: Offset,
    pub by: By,
}

/// The order that is due for these partitions, if one is. An offset that was committed by hand wins: it is younger than
/// the last order that was obeyed, and names itself `now_ms`.
pub(super) fn due(
    order: Option<&control::Reset>,
    log: &LogId,
    partitions: &[Partition],
    committed: &BTreeMap<Partition, Committed>,
    now_ms: i64,
) -> Option<Reset> {
    let order = order.filter(|order| order.log == log.as_str());
    let mut reset = Reset { id: 0, positions: Positions::new() };
    for partition in partitions {
        let (id, position) = match (committed.get(partition), order) {
            (Some(Committed { offset, by: By::Hand }), _) => (now_ms, Some(*offset)),
            (Some(Committed { by: By::Us(Some(obeyed)), .. }), Some(order)) if *obeyed >= order.id => {
                continue;
            }
            (_, Some(order)) => (order.id, order.positions.get(partition).copied()),
            (_, None) => continue,
        };
        if let Some(position) = position {
            reset.id = reset.id.max(id);
            reset.positions.insert(*partition, position);
        }
    }
    (!reset.positions.is_empty()).then_some(reset)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LogId {
        LogId::new("c", "t")
    }

    fn order(id: i64) -> control::Reset {
        control::Reset { id, log: "c/t".to_owned(), positions: [(0, 5), (1, 6)].into() }
    }

    fn committed(by: By) -> BTreeMap<Partition, Committed> {
        [(0, Committed { offset: 40, by })].into()
    }

    #[test]
    fn an_order_is_due_until_a_commit_says_that_it_was_obeyed() {
        let due = |by| due(Some(&order(7)), &log(), &[0], &committed(by), 99);
        let expected = Some(Reset { id: 7, positions: [(0, 5)].into() });
        assert_eq!(due(By::Us(None)), expected);
        assert_eq!(due(By::Us(Some(6))), expected);
        assert_eq!(due(By::Us(Some(7))), None);
        assert_eq!(due(By::Us(Some(8))), None);
    }

    #[test]
    fn a_partition_without_a_commit_obeys_and_one_that_is_not_named_does_not() {
        let none = BTreeMap::new();
        let got = due(Some(&order(7)), &log(), &[1, 2], &none, 99);
        assert_eq!(got, Some(Reset { id: 7, positions: [(1, 6)].into() }));
        assert_eq!(due(Some(&order(7)), &log(), &[2], &none, 99), None);
    }

    #[test]
    fn an_order_for_another_log_means_nothing() {
        let other = LogId::new("c", "made-again");
        assert_eq!(due(Some(&order(7)), &other, &[0], &BTreeMap::new(), 99), None);
    }

    #[test]
    fn a_commit_by_hand_is_an_order_and_the_younger_one() {
        let by_hand = Some(Reset { id: 99, positions: [(0, 40)].into() });
        assert_eq!(due(None, &log(), &[0, 1], &committed(By::Hand), 99), by_hand);
        assert_eq!(due(Some(&order(7)), &log(), &[0], &committed(By::Hand), 99), by_hand);
    }
}
