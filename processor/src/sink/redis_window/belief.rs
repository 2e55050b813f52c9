//! What a worker believes that a window holds. Pure.
//!
//! A belief is never acted on alone: every write names it, and Redis compares. So a belief that is out of date costs one
//! more round trip and nothing else.

use super::past::Base;
use super::script::Move;
use crate::position::{LogId, Offset, Partition, Span, Spans};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What a window is believed to hold.
#[derive(Debug, Default)]
pub(super) struct Belief {
    /// The incarnation; none before the window was opened, or when it turned out to be gone.
    incarnation: Option<String>,
    /// The log that the offsets belong to.
    log: Option<LogId>,
    /// What the window holds of a partition; a `None` is a *claim*: it held nothing when it was opened, so the
    /// worker may give it its first position, once.
    held: BTreeMap<Partition, Option<Offset>>,
    /// What the window was made from, where that was the table; and the partitions whose log has passed it.
    base: Option<Arc<Base>>,
    over: BTreeSet<Partition>,
}

/// How to write to a window.
#[derive(Debug)]
pub(super) struct Plan {
    /// The positions to compare and to move: one for each span, then one for each of `ends`.
    pub(super) moves: Vec<Move>,
    /// Partitions that pass the base with this write.
    pub(super) ends: Vec<Partition>,
    /// Of these partitions the window has what lies below the offset.
    pub(super) has: BTreeMap<Partition, Offset>,
}

/// The field that holds a position.
pub(super) fn field(log: &LogId, partition: Partition) -> String {
    format!("{log}/{partition}")
}

/// The field that is there once the log has passed the base.
pub(super) fn over_field(log: &LogId, partition: Partition) -> String {
    format!("{log}/{partition}/over")
}

impl Belief {
    /// The incarnation believed in.
    pub(super) fn incarnation(&self) -> Option<&str> {
        self.incarnation.as_deref()
    }

    /// What is believed to be held of a partition.
    pub(super) fn held(&self, partition: Partition) -> Option<Offset> {
        self.held.get(&partition).copied().flatten()
    }

    /// The window was opened and said what it is based on, and what it holds of these partitions: their positions, then whether
    /// they have passed the base.
    pub(super) fn opened(
        &mut self,
        (incarnation, base): (String, Option<Arc<Base>>),
        log: &LogId,
        partitions: &[Partition],
        held: &[Option<Offset>],
    ) {
        if self.incarnation.as_ref() != Some(&incarnation) || self.log.as_ref() != Some(log) {
            self.held.clear();
            self.over.clear();
        }
        self.incarnation = Some(incarnation);
        self.log = Some(log.clone());
        self.base = base;
        self.held.extend(partitions.iter().copied().zip(held.iter().copied()));
        let over = partitions.iter().zip(held.iter().skip(partitions.len()));
        self.over.extend(over.filter(|(_, over)| over.is_some()).map(|(partition, _)| *partition));
    }

    /// What the window was made from, as far as it still matters for one of these partitions.
    pub(super) fn base(&self, spans: &Spans) -> Option<&Base> {
        let base = self.base.as_deref()?;
        spans.iter().any(|span| !self.over.contains(&span.partition)).then_some(base)
    }

    /// Whether what a record says is in the base.
    pub(super) fn has(&self, partition: Partition, lsn: u64, tx_id: Option<u32>) -> bool {
        let base = self.base.as_ref().filter(|_| !self.over.contains(&partition));
        base.is_some_and(|base| base.holds(lsn, tx_id))
    }

    /// The window is gone, or another one stands in its place.
    pub(super) fn gone(&mut self) {
        *self = Self::default();
    }

    /// How to write these spans: where the window is further on than a span's beginning, what it has is left out. `last_lsn`
    /// says how far in the WAL the changes of a partition reach.
    pub(super) fn plan(&self, log: &LogId, spans: &Spans, last_lsn: &BTreeMap<Partition, u64>) -> Plan {
        let known = self.log.as_ref() == Some(log);
        let mut plan =
            Plan { moves: Vec::with_capacity(spans.len()), ends: Vec::new(), has: BTreeMap::new() };
        for span in spans.iter() {
            let held = if known { self.held.get(&span.partition).copied() } else { None };
            let expected = match held {
                Some(None) => None,
                Some(Some(offset)) => Some(offset.max(span.from)),
                // Never told: only a window that stands just there takes the write.
                None => Some(span.from),
            };
            if let Some(offset) = expected.filter(|offset| *offset > span.from) {
                plan.has.insert(span.partition, offset);
            }
            let to = expected.map_or(span.to, |offset| offset.max(span.to));
            plan.moves.push(Move { field: field(log, span.partition), expected, to });
        }
        if let Some(base) = self.base(spans) {
            let ends = |(partition, lsn): (&Partition, &u64)| {
                (!self.over.contains(partition) && base.ends_with(log, *lsn)).then_some(*partition)
            };
            plan.ends.extend(last_lsn.iter().filter_map(ends));
            let over = |partition| Move { field: over_field(log, partition), expected: None, to: 1 };
            plan.moves.extend(plan.ends.iter().copied().map(over));
        }
        plan
    }

    /// The window took the write.
    pub(super) fn moved(&mut self, log: &LogId, spans: &Spans, plan: &Plan) {
        if self.log.as_ref() == Some(log) {
            let ends = spans.iter().zip(&plan.moves).map(|(span, step)| (span.partition, Some(step.to)));
            self.held.extend(ends);
            self.over.extend(&plan.ends);
        }
    }

    /// The window refused the write and said what it holds instead. Answers whether it stands further back than the
    /// write begins: then there is nothing more to try.
    pub(super) fn refused(
        &mut self,
        log: &LogId,
        spans: &Spans,
        plan: &Plan,
        held: &[Option<Offset>],
    ) -> bool {
        if self.log.as_ref() != Some(log) {
            self.held.clear();
            self.over.clear();
            self.log = Some(log.clone());
        }
        // Somebody else has passed the base.
        let over = plan.ends.iter().zip(held.iter().skip(spans.len()));
        self.over.extend(over.filter(|(_, over)| over.is_some()).map(|(partition, _)| *partition));
        let mut behind = false;
        for (span, held) in spans.iter().zip(held) {
            behind |= self.learn(span, *held);
        }
        behind
    }

    fn learn(&mut self, span: &Span, held: Option<Offset>) -> bool {
        match held {
            Some(offset) => {
                self.held.insert(span.partition, Some(offset));
                offset < span.from
            }
            // The claim is still good, or there never was one.
            None if self.held.get(&span.partition) == Some(&None) => false,
            None => {
                self.held.remove(&span.partition);
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log() -> LogId {
        LogId::new("cluster", "topic")
    }

    fn spans(from: Offset, last: Offset) -> Spans {
        let mut spans = Spans::default();
        spans.extend(0, from, last);
        spans
    }

    fn belief(held: Option<Offset>) -> Belief {
        let mut belief = Belief::default();
        belief.opened(("a".to_owned(), None), &log(), &[0], &[held, None]);
        belief
    }

    fn plan(belief: &Belief, log: &LogId, spans: &Spans) -> Plan {
        belief.plan(log, spans, &BTreeMap::new())
    }

    fn step(belief: &Belief, spans: &Spans) -> (Option<Offset>, Offset, Option<Offset>) {
        let plan = plan(belief, &log(), spans);
        let step = plan.moves.first().expect("a move");
        (step.expected, step.to, plan.has.get(&0).copied())
    }

    #[test]
    fn a_window_further_on_leaves_out_what_it_has_and_never_moves_back() {
        assert_eq!(step(&belief(Some(10)), &spans(10, 19)), (Some(10), 20, None));
        assert_eq!(step(&belief(Some(15)), &spans(10, 19)), (Some(15), 20, Some(15)));
        assert_eq!(step(&belief(Some(30)), &spans(10, 19)), (Some(30), 30, Some(30)));
    }

    #[test]
    fn only_a_window_that_said_it_holds_nothing_takes_a_first_position() {
        assert_eq!(step(&belief(None), &spans(7, 19)), (None, 20, None));
        assert_eq!(step(&Belief::default(), &spans(7, 19)), (Some(7), 20, None), "never told");
        let mut other = belief(None);
        other.opened(("b".to_owned(), None), &log(), &[], &[]);
        assert_eq!(step(&other, &spans(7, 19)), (Some(7), 20, None), "told by another incarnation");
        let again = plan(&belief(None), &LogId::new("cluster", "again"), &spans(7, 19));
        assert_eq!(again.moves.first().map(|step| step.expected), Some(Some(7)), "told of another log");
    }

    #[test]
    fn a_claim_is_good_once() {
        let mut belief = belief(None);
        let spans = spans(0, 9);
        let plan = plan(&belief, &log(), &spans);
        belief.moved(&log(), &spans, &plan);
        assert!(belief.refused(&log(), &spans, &plan, &[None]), "what it held is lost");
        assert_eq!(step(&belief, &spans), (Some(0), 10, None), "and there is no second claim");
    }

    #[test]
    fn a_refusal_tells_where_to_go_on() {
        let mut belief = belief(Some(10));
        let plan = plan(&belief, &log(), &spans(10, 19));
        assert!(!belief.refused(&log(), &spans(10, 19), &plan, &[Some(12)]));
        assert_eq!(step(&belief, &spans(10, 19)), (Some(12), 20, Some(12)));
        assert!(belief.refused(&log(), &spans(10, 19), &plan, &[Some(9)]), "further back");
        assert_eq!(belief.held(0), Some(9));
    }
}
