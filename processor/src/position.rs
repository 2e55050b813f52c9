//! Positions: where in which log a lane stands. Pure; knows neither Kafka nor any sink.
//!
//! An offset means something only within the log it was read from: a topic that was deleted and made again is
//! another log under the same name. So everything durable names the log as well ([`LogId`]).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// Number of a partition within its topic.
pub type Partition = i32;

/// Place of a record in its partition. A *position* is the offset of the next record to take, so a position of 0
/// has nothing behind it. Offsets have holes (transaction markers, compaction): never count with them.
pub type Offset = i64;

/// Names one log for good: the cluster's id and the topic's id, both given by the broker.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LogId(Arc<str>);

impl LogId {
    /// `cluster` and `topic` as the broker tells them (base64 of a UUID each).
    pub fn new(cluster: &str, topic: &str) -> Self {
        Self(format!("{cluster}/{topic}").into())
    }

    /// `cluster/topic-id`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LogId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A stretch of one partition: from the position a write expects to the position it leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The partition.
    pub partition: Partition,
    /// First offset covered: where the sink must stand before the write.
    pub from: Offset,
    /// First offset no longer covered: where it stands afterwards.
    pub to: Offset,
}

/// The position of each partition that a lane's worker owns.
pub type Positions = BTreeMap<Partition, Offset>;

/// An order to stand elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// Grows with each order: who has obeyed one obeys none that is not above it.
    pub id: i64,
    /// The position of each partition that it is about.
    pub positions: Positions,
}

/// The stretches that one write covers, a span a partition, grown record by record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spans(Vec<Span>);

impl Spans {
    /// Takes one more record in: the stretch of `partition` that began at `from` now ends behind `offset`.
    /// `from` counts only for the partition's first record here.
    pub fn extend(&mut self, partition: Partition, from: Offset, offset: Offset) {
        self.cover(Span { partition, from, to: offset.saturating_add(1) });
    }

    /// Takes in the stretch that follows; its beginning counts only where the partition is not covered yet.
    pub fn cover(&mut self, next: Span) {
        match self.0.iter_mut().find(|span| span.partition == next.partition) {
            Some(span) => span.to = span.to.max(next.to),
            None => self.0.push(next),
        }
    }

    /// The spans, in the order in which their partitions first appeared.
    pub fn iter(&self) -> impl Iterator<Item = &Span> {
        self.0.iter()
    }

    /// How many partitions are covered.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing is covered.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a sink answers when asked where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// This sink keeps no positions: the committed offset is the truth.
    NotKept,
    /// The positions that it holds of this log; a partition that is missing has none.
    At(Positions),
}

impl Held {
    /// The position held for `partition`, if the sink keeps any.
    pub fn of(&self, partition: Partition) -> Option<Offset> {
        match self {
            Self::NotKept => None,
            Self::At(positions) => positions.get(&partition).copied(),
        }
    }
}

/// Where a lane without any position begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstStart {
    /// At the earliest record that Kafka still has.
    Earliest,
    /// Behind the latest record: only what comes from now on.
    Latest,
}

/// Where to begin reading a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At this offset.
    At(Offset),
    /// At the earliest record there is.
    Earliest,
    /// Behind the latest record there is.
    Latest,
    /// Kafka no longer has the records `[from, to)` that come next.
    Lost {
        /// Where the lane stands.
        from: Offset,
        /// The earliest offset that is still there.
        to: Offset,
    },
}

/// Decides where to begin reading `partition`: the sink's own position wins over the committed offset; a sink that
/// keeps positions but holds none has lost its effects (or never had any), so everything is read again; only where
/// nothing was committed does `first` count. `low` and `high` are the watermarks of the partition.
pub fn start_of(
    held: &Held,
    partition: Partition,
    committed: Option<Offset>,
    first: FirstStart,
    (low, high): (Offset, Offset),
) -> Start {
    let stands = match held {
        Held::At(_) => held.of(partition),
        Held::NotKept => committed,
    };
    match (stands, committed, first) {
        (Some(at), _, _) if at < low => Start::Lost { from: at, to: low },
        // Beyond the end of this very log: nothing we could have written. Only a log that lost its tail answers so.
        (Some(at), _, _) if at > high => Start::Lost { from: high, to: at },
        (Some(at), _, _) => Start::At(at),
        (None, Some(_), _) | (None, None, FirstStart::Earliest) => Start::Earliest,
        (None, None, FirstStart::Latest) => Start::Latest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(positions: &[(Partition, Offset)]) -> Held {
        Held::At(positions.iter().copied().collect())
    }

    #[test]
    fn the_position_in_the_sink_wins_over_the_committed_one() {
        let marks = (0, 100);
        assert_eq!(start_of(&held(&[(0, 7)]), 0, Some(50), FirstStart::Latest, marks), Start::At(7));
        assert_eq!(start_of(&Held::NotKept, 0, Some(50), FirstStart::Latest, marks), Start::At(50));
    }

    #[test]
    fn a_sink_that_lost_its_position_reads_everything_again() {
        assert_eq!(start_of(&held(&[]), 0, Some(50), FirstStart::Latest, (3, 100)), Start::Earliest);
        assert_eq!(start_of(&held(&[]), 0, None, FirstStart::Latest, (3, 100)), Start::Latest);
        assert_eq!(start_of(&Held::NotKept, 0, None, FirstStart::Earliest, (3, 100)), Start::Earliest);
    }

    #[test]
    fn what_kafka_no_longer_has_is_named_and_never_jumped_over() {
        assert_eq!(
            start_of(&Held::NotKept, 0, Some(2), FirstStart::Earliest, (3, 100)),
            Start::Lost { from: 2, to: 3 }
        );
        assert_eq!(
            start_of(&held(&[(0, 101)]), 0, None, FirstStart::Earliest, (3, 100)),
            Start::Lost { from: 100, to: 101 }
        );
    }

    #[test]
    fn spans_grow_by_partition_and_keep_where_they_began() {
        let mut spans = Spans::default();
        spans.extend(1, 10, 12);
        spans.extend(0, 5, 5);
        spans.extend(1, 99, 20);
        let got: Vec<_> = spans.iter().copied().collect();
        assert_eq!(got, [Span { partition: 1, from: 10, to: 21 }, Span { partition: 0, from: 5, to: 6 }]);
    }
}
