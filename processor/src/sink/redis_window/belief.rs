//! What a worker believes that a window holds. Pure.
//!
//! A belief is never acted on alone: every write names it, and Redis compares. So a belief that is out of date costs one
//! more round trip and nothing else.

use super::encode::Stamp;
use super::order::{Fate, Known, Reached, Replay};
use super::past::Base;
use super::script::Move;
use crate::position::{LogId, Offset, Partition, Span, Spans};
use std::collections::BTreeMap;
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
    /// How far it has followed the order of the source.
    reached: BTreeMap<Partition, Reached>,
    /// What the window was made from.
    origin: Origin,
}

/// What a window was made from.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    /// Its incarnation.
    pub(super) incarnation: String,
    /// What the table said, where it was that.
    pub(super) base: Option<Arc<Base>>,
    /// Breaks in the order of what was committed up to here are known of, and could not be mended; 0 where there are none.
    pub(super) doubted_us: i64,
}

/// How to write to a window.
#[derive(Debug)]
pub(super) struct Plan {
    /// The positions to compare and to move: one for each span.
    pub(super) moves: Vec<Move>,
    /// How far each partition of the write follows the order of the source with it.
    reached: BTreeMap<Partition, Reached>,
    /// The events that the window has, by their numbers within the batch, in ascending order.
    pub(super) left_out: Vec<usize>,
}

/// The field that holds a position.
pub(super) fn field(log: &LogId, partition: Partition) -> String {
    format!("{log}/{partition}")
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

    /// The window was opened and said what it was made from, and of these partitions what it holds and how far it has followed.
    pub(super) fn opened(
        &mut self,
        origin: Origin,
        log: &LogId,
        partitions: &[Partition],
        (held, reached): (&[Option<Offset>], &[Reached]),
    ) {
        if self.incarnation.as_ref() != Some(&origin.incarnation) || self.log.as_ref() != Some(log) {
            self.held.clear();
            self.reached.clear();
        }
        self.incarnation = Some(origin.incarnation.clone());
        self.log = Some(log.clone());
        self.origin = origin;
        self.held.extend(partitions.iter().copied().zip(held.iter().copied()));
        self.reached.extend(partitions.iter().copied().zip(reached.iter().cloned()));
    }

    /// When the life of the database began that the window was made in; 0 where nothing is known of that.
    pub(super) fn since_us(&self) -> i64 {
        self.origin.base.as_ref().map_or(0, |base| base.since_us())
    }

    /// The window is gone, or another one stands in its place.
    pub(super) fn gone(&mut self) {
        *self = Self::default();
    }

    /// How to write these spans, with events of these stamps: what the window has, by its positions or by what it was made
    /// from, is left out. `is_ordered` says whether the log has the order of the source.
    ///
    /// # Errors
    /// That order breaks: nothing may be written.
    pub(super) fn plan(
        &self,
        (log, is_ordered): (&LogId, bool),
        spans: &Spans,
        stamps: &[Stamp],
    ) -> Result<Plan, Replay> {
        let is_known = self.log.as_ref() == Some(log);
        let mut has: BTreeMap<Partition, Offset> = BTreeMap::new();
        let mut moves = Vec::with_capacity(spans.len());
        for span in spans.iter() {
            let held = if is_known { self.held.get(&span.partition).copied() } else { None };
            let expected = match held {
                Some(None) => None,
                Some(Some(offset)) => Some(offset.max(span.from)),
                // Never told: only a window that stands just there takes the write.
                None => Some(span.from),
            };
            if let Some(offset) = expected.filter(|offset| *offset > span.from) {
                has.insert(span.partition, offset);
            }
            let to = expected.map_or(span.to, |offset| offset.max(span.to));
            moves.push(Move { field: field(log, span.partition), expected, to, reached: None });
        }
        let Origin { base, doubted_us, .. } = &self.origin;
        let known = Known { log, is_ordered, base: base.as_deref(), doubted_us: *doubted_us };
        let (reached, left_out) = self.follow(known, &has, stamps)?;
        for (step, span) in moves.iter_mut().zip(spans.iter()) {
            let after = reached.get(&span.partition);
            let is_new = after.is_some_and(|after| self.reached.get(&span.partition) != Some(after));
            step.reached = after.filter(|_| is_new).map(Reached::to_text);
        }
        Ok(Plan { moves, reached, left_out })
    }

    /// Judges each event: how far each partition follows, and which events the window has already.
    fn follow(
        &self,
        known: Known<'_>,
        has: &BTreeMap<Partition, Offset>,
        stamps: &[Stamp],
    ) -> Result<(BTreeMap<Partition, Reached>, Vec<usize>), Replay> {
        let (mut followed, mut left_out) = (BTreeMap::new(), Vec::new());
        for (number, stamp) in stamps.iter().enumerate() {
            if has.get(&stamp.partition).is_some_and(|has| stamp.offset < *has) {
                left_out.push(number);
                continue;
            }
            let reached = followed
                .entry(stamp.partition)
                .or_insert_with(|| self.reached.get(&stamp.partition).cloned().unwrap_or_default());
            match reached.judge(stamp, known) {
                Fate::Counts => {}
                Fate::Known => left_out.push(number),
                Fate::Breaks(replay) => return Err(replay),
            }
        }
        Ok((followed, left_out))
    }

    /// The window took the write.
    pub(super) fn moved(&mut self, log: &LogId, spans: &Spans, plan: Plan) {
        if self.log.as_ref() == Some(log) {
            let ends = spans.iter().zip(&plan.moves).map(|(span, step)| (span.partition, Some(step.to)));
            self.held.extend(ends);
            self.reached.extend(plan.reached);
        }
    }

    /// The window refused the write and said what it holds instead, and how far it has followed. Answers whether it stands
    /// further back than the write begins: then there is nothing more to try.
    pub(super) fn refused(
        &mut self,
        log: &LogId,
        spans: &Spans,
        (held, reached): (&[Option<Offset>], &[Reached]),
    ) -> bool {
        if self.log.as_ref() != Some(log) {
            self.held.clear();
            self.reached.clear();
            self.log = Some(log.clone());
        }
        self.reached.extend(spans.iter().map(|span| span.partition).zip(reached.iter().cloned()));
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

    fn origin(incarnation: &str) -> Origin {
        Origin { incarnation: incarnation.to_owned(), ..Origin::default() }
    }

    fn belief(held: Option<Offset>) -> Belief {
        let mut belief = Belief::default();
        belief.opened(origin("a"), &log(), &[0], (&[held], &[]));
        belief
    }

    fn plan(belief: &Belief, log: &LogId, spans: &Spans) -> Plan {
        belief.plan((log, true), spans, &[]).expect("no events, no order")
    }

    /// The move of a write, and the first offset that goes with it.
    fn step(belief: &Belief, spans: &Spans) -> (Option<Offset>, Offset, Option<Offset>) {
        let span = *spans.iter().next().expect("a span");
        let stamp = |offset| Stamp {
            partition: 0,
            offset,
            lsn: 1,
            tx_id: None,
            place: None,
            mark: 0,
            committed_us: 1,
        };
        let stamps: Vec<_> = (span.from..span.to).map(stamp).collect();
        let plan = belief.plan((&log(), true), spans, &stamps).expect("nothing has a place");
        let step = plan.moves.first().expect("a move");
        let first = (0..stamps.len()).find(|number| !plan.left_out.contains(number));
        (step.expected, step.to, first.map(|number| stamps[number].offset))
    }

    #[test]
    fn a_window_further_on_leaves_out_what_it_has_and_never_moves_back() {
        assert_eq!(step(&belief(Some(10)), &spans(10, 19)), (Some(10), 20, Some(10)));
        assert_eq!(step(&belief(Some(15)), &spans(10, 19)), (Some(15), 20, Some(15)));
        assert_eq!(step(&belief(Some(30)), &spans(10, 19)), (Some(30), 30, None));
    }

    #[test]
    fn only_a_window_that_said_it_holds_nothing_takes_a_first_position() {
        assert_eq!(step(&belief(None), &spans(7, 19)), (None, 20, Some(7)));
        assert_eq!(step(&Belief::default(), &spans(7, 19)), (Some(7), 20, Some(7)), "never told");
        let mut other = belief(None);
        other.opened(origin("b"), &log(), &[], (&[], &[]));
        assert_eq!(step(&other, &spans(7, 19)), (Some(7), 20, Some(7)), "told by another incarnation");
        let again = plan(&belief(None), &LogId::new("cluster", "again"), &spans(7, 19));
        assert_eq!(again.moves.first().map(|step| step.expected), Some(Some(7)), "told of another log");
    }

    #[test]
    fn a_claim_is_good_once() {
        let mut belief = belief(None);
        let spans = spans(0, 9);
        let plan = plan(&belief, &log(), &spans);
        belief.moved(&log(), &spans, plan);
        assert!(belief.refused(&log(), &spans, (&[None], &[])), "what it held is lost");
        assert_eq!(step(&belief, &spans), (Some(0), 10, Some(0)), "and there is no second claim");
    }

    #[test]
    fn a_refusal_tells_where_to_go_on() {
        let mut belief = belief(Some(10));
        assert!(!belief.refused(&log(), &spans(10, 19), (&[Some(12)], &[])));
        assert_eq!(step(&belief, &spans(10, 19)), (Some(12), 20, Some(12)));
        assert!(belief.refused(&log(), &spans(10, 19), (&[Some(9)], &[])), "further back");
        assert_eq!(belief.held(0), Some(9));
    }
}
