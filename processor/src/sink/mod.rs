//! Sinks: what a destination must be able to do, and nothing more.
//!
//! A sink connects, says what it already holds, and writes a batch. It knows no Kafka and no lane; batching, retry,
//! pausing, dead letters and metrics are written once, around it, in [`crate::deliver`].

pub mod discard;
mod event;
pub mod file;
pub mod redis_window;
pub mod webhook;

use crate::position::{Held, LogId, Offset, Partition, Reset, Span, Spans};
use crate::transform::{Content, Transformed};
use std::error::Error;
use std::time::Duration;

/// One change on its way into a batch.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The partition that it was read from.
    pub partition: Partition,
    /// Its offset there.
    pub offset: Offset,
    /// The change.
    pub change: &'a Transformed<'a>,
    /// Its content, where the sink wants it and it exists.
    pub content: Option<&'a Content>,
}

/// What one write carries, encoded event by event.
pub trait Batch: Clone + 'static {
    /// Takes one event in, as the next one in order.
    ///
    /// # Errors
    /// The event, by its own values, can never be delivered to this sink. The batch is as it was before.
    fn push(&mut self, event: &Event<'_>) -> Result<(), Refusal>;

    /// Whether a further event belongs into the next write.
    fn is_full(&self) -> bool;

    /// How many events it holds: those that were pushed and not refused, also if they have no effect.
    fn len(&self) -> usize;

    /// Whether it holds no event.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cuts it in two: keeps the first `at` events and returns the others. Asked only of a sink that answered
    /// [`Class::Refused`] or [`Class::TooLarge`], with `0 < at < len`.
    fn split_off(&mut self, at: usize) -> Self;
}

/// An event that can't be delivered because of its own values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Refusal {
    /// What is wrong with it.
    pub reason: String,
}

/// One write: a batch, and the stretches of the log that it covers.
#[derive(Debug)]
pub struct Write<'a, B> {
    /// The log that the events come from.
    pub log: &'a LogId,
    /// The stretches it covers: for each partition where the sink must stand and where it stands afterwards.
    pub spans: &'a Spans,
    /// The events; may be none, where all that was read has no effect.
    pub batch: &'a B,
}

/// How a write ended that the sink answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Written {
    /// Every event's effect is durable in the sink (or was there before), but for the rejected ones, which it has named
    /// and will never take: (index within the batch, reason).
    Durable {
        /// Events to put among the dead letters.
        rejected: Vec<(usize, String)>,
    },
    /// Nothing was applied: the sink stands further back than the write expects, or holds no position at all.
    Behind(Held),
}

/// Why a sink could not answer, or would not.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct SinkError {
    /// What follows from it.
    pub class: Class,
    /// What happened, naming the thing.
    pub message: String,
    /// What a person can do, where one can.
    pub remedy: Option<&'static str>,
    /// The cause.
    #[source]
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl SinkError {
    /// The error with its causes and remedy on one line.
    pub fn told(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text = format!("{text}: {said}");
            }
            cause = error.source();
        }
        match self.remedy {
            Some(remedy) => format!("{text}; {remedy}"),
            None => text,
        }
    }
}

/// What follows from a sink's error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Passing: try again with backoff, not before `after` where the sink named a time.
    Retry {
        /// The time that the sink asked for.
        after: Option<Duration>,
    },
    /// Somebody must act (credentials, rights, a missing target): the lane pauses, says why and looks again from time to time.
    Pause,
    /// The sink condemns the batch: one of its events is poison, to be found by bisection.
    Refused,
    /// The batch is larger than the sink takes: to be cut in two.
    TooLarge,
}

impl Class {
    /// One word, for metrics and dead letters.
    pub fn name(self) -> &'static str {
        match self {
            Self::Retry { .. } => "retry",
            Self::Pause => "pause",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
        }
    }
}

/// A destination. One worker of one lane owns it; one call at a time.
pub trait Sink: Sized + 'static {
    /// What it writes.
    type Batch: Batch;

    /// Whether its events are enriched with content.
    const WANTS_CONTENT: bool;

    /// An empty batch.
    fn batch(&self) -> Self::Batch;

    /// Asks the sink where it stands; connects first where needed. Where it keeps positions and holds none of `log`
    /// for a partition, that partition is missing in the answer.
    ///
    /// # Errors
    /// The sink can't be asked.
    fn positions(
        &mut self,
        log: &LogId,
        partitions: &[Partition],
    ) -> impl Future<Output = Result<Held, SinkError>>;

    /// Obeys an order to stand elsewhere; asked where it stands right after. A sink that keeps positions sets them, or
    /// gives up what it holds so that it is made anew; the same order may come again, also by other workers that have other
    /// partitions. One that keeps none has nothing to do.
    ///
    /// # Errors
    /// The sink can't be asked: the same order will be given again.
    fn reset(&mut self, _log: &LogId, _reset: &Reset) -> impl Future<Output = Result<(), SinkError>> {
        std::future::ready(Ok(()))
    }

    /// Hears that Kafka no longer has these stretches, which come next by what the sink has answered; asked where it stands right
    /// after. One that can be made anew from elsewhere gives up what it holds; for all others they are lost.
    ///
    /// # Errors
    /// The sink can't be asked: the same will be told again.
    fn missed(&mut self, _log: &LogId, _missing: &[Span]) -> impl Future<Output = Result<(), SinkError>> {
        std::future::ready(Ok(()))
    }

    /// Waits until the sink turns out, by itself and while nothing is written, to stand elsewhere than it was last asked
    /// or told: then it has to be asked again. May be dropped at any time. Most sinks never do.
    fn disturbed(&mut self) -> impl Future<Output = ()> {
        std::future::pending()
    }

    /// Writes a batch: all of it or nothing, and harmless when repeated. A sink that keeps positions compares the
    /// position of each span with where it stands, leaves out what it has, and moves to the spans' ends in the same
    /// atomic step as the effects.
    ///
    /// # Errors
    /// The effects may or may not have happened: the same write will be made again.
    fn write(&mut self, write: Write<'_, Self::Batch>) -> impl Future<Output = Result<Written, SinkError>>;
}
