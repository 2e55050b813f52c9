//! The sink that keeps nothing. Events are decoded and let go: to see what a lane costs by itself, or whether a topic can be read
//! at all, with dead letters for what can't.

use super::{Batch, Event, Refusal, Sink, SinkError, Write, Written};
use crate::position::{Held, LogId, Partition};

/// So many events are let go at once.
const MOST: usize = 4000;

/// Keeps nothing, so the committed offset is its position.
#[derive(Debug, Clone, Copy, Default)]
pub struct Discard;

/// How many events there are.
#[derive(Debug, Clone, Default)]
pub struct Counted(usize);

impl Batch for Counted {
    fn push(&mut self, _: &Event<'_>) -> Result<(), Refusal> {
        self.0 += 1;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.0 >= MOST
    }

    fn len(&self) -> usize {
        self.0
    }

    fn split_off(&mut self, at: usize) -> Self {
        let rest = self.0.saturating_sub(at);
        self.0 -= rest;
        Self(rest)
    }
}

impl Sink for Discard {
    type Batch = Counted;

    const WANTS_CONTENT: bool = false;

    fn batch(&self) -> Counted {
        Counted::default()
    }

    async fn positions(&mut self, _: &LogId, _: &[Partition]) -> Result<Held, SinkError> {
        Ok(Held::NotKept)
    }

    async fn write(&mut self, _: Write<'_, Counted>) -> Result<Written, SinkError> {
        Ok(Written::Durable { rejected: Vec::new() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_cut_in_two_is_no_less() {
        let mut batch = Counted(7);
        let rest = batch.split_off(3);
        assert_eq!((batch.len(), rest.len()), (3, 4));
        assert!(!batch.is_full() && Counted(MOST).is_full());
    }
}
