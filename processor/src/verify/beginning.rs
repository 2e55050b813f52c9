//! Where the log begins, in transactions of Postgres: what of the table the log never had. Pure.

use std::collections::BTreeSet;

/// Ids of transactions go round: what lies less than half a round below is older.
const HALF: u32 = 1 << 31;
/// Transactions below are Postgres' own: a row that has one was rewritten or frozen long ago.
const FIRST_OF_USERS: u32 = 3;

/// What is known of the log's beginning.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Beginning {
    /// The lowest transaction among the log's first records; none where it has no record.
    pub tx_id: Option<u32>,
    /// Whether Kafka has deleted older records.
    pub is_cut: bool,
    /// Every change that committed from here on is in the log, in microseconds since 1970.
    pub committed_us: i64,
}

impl Beginning {
    /// Whether a row that the log does not know may simply be older.
    pub(super) fn is_after(&self, tx_id: u32) -> bool {
        match self.tx_id {
            Some(first) => tx_id < FIRST_OF_USERS || tx_id.wrapping_sub(first) >= HALF,
            None => self.is_cut,
        }
    }
}

/// The lowest of some ids.
pub(super) fn lowest(tx_ids: &[u32]) -> Option<u32> {
    tx_ids.iter().copied().reduce(|one, other| if one.wrapping_sub(other) < HALF { other } else { one })
}

/// The transactions of the log that have lower ids than its beginning: they began before it and ended in it, because ids are
/// given in the order of first writes, and the log is in the order of commits. No more than were open at once.
#[derive(Debug, Default)]
pub(super) struct Late {
    beginning: Beginning,
    tx_ids: BTreeSet<u32>,
}

impl Late {
    pub(super) fn of(beginning: Beginning) -> Self {
        Self { beginning, tx_ids: BTreeSet::new() }
    }

    /// Takes in the transaction of a record.
    pub(super) fn take(&mut self, tx_id: Option<u32>) {
        self.tx_ids.extend(tx_id.filter(|tx_id| self.beginning.is_after(*tx_id)));
    }

    /// As Postgres counts them.
    pub(super) fn tx_ids(&self) -> Vec<i64> {
        self.tx_ids.iter().copied().map(i64::from).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_that_began_before_the_log_and_ended_in_it_is_of_the_log() {
        for first in [100, 9, u32::MAX - 20] {
            let mut late = Late::of(Beginning { tx_id: Some(first), ..Beginning::default() });
            let taken = [first, first.wrapping_add(1), first.wrapping_sub(2), first.wrapping_add(7)];
            taken.into_iter().for_each(|tx_id| late.take(Some(tx_id)));
            late.take(None);
            assert_eq!(late.tx_ids(), [i64::from(first.wrapping_sub(2))], "{first}");
        }
    }

    #[test]
    fn the_lowest_id_is_that_of_before_the_round_began_anew() {
        assert_eq!(lowest(&[5, u32::MAX - 1, 7]), Some(u32::MAX - 1));
        assert_eq!(lowest(&[]), None);
    }
}
