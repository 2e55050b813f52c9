//! A plan and its faults in words, as results and logs name them.

use super::{Fault, Plan, Shape, Step};
use crate::harness::proxy::Manner;
use std::fmt;

/// What follows the name of whose network it is.
fn in_words(manner: Manner) -> String {
    match manner {
        Manner::Slow(by) => format!("slower by {} ms", by.as_millis()),
        Manner::Throttle(rate) => format!("throttled to {} kB/s", rate / 1000),
        manner => format!("{manner:?}").to_lowercase(),
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lower = |text: String| text.to_lowercase();
        match self {
            Self::Instance(instance, how) => write!(f, "instance {instance} {}", lower(format!("{how:?}"))),
            Self::KilledAt(moment, sink, instance) => {
                write!(f, "instance {instance} killed at {moment:?} of {}", sink.name())
            }
            Self::Network(sink, manner) => write!(f, "{} {}", sink.name(), in_words(*manner)),
            Self::AnswersLost(sink, instance, times) => {
                write!(f, "{times} answers of {} lost to instance {instance}", sink.name())
            }
            Self::RequestsLost(sink, instance, times) => {
                write!(f, "{times} writes of instance {instance} to {} lost", sink.name())
            }
            Self::Server(part, how) => write!(f, "{}", lower(format!("{part:?} {how:?}"))),
            Self::Flushed => f.write_str("redis emptied"),
            Self::FlushedBehind(manner) => write!(f, "redis emptied, postgres {}", in_words(*manner)),
            Self::DiskFull => f.write_str("the receiver's disk full"),
            Self::OffsetsReset(sink) => write!(f, "offsets of {} set back by hand", sink.name()),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shape { rate, updates, deletes, bursts, .. } = &self.load;
        let bursts: Vec<_> = bursts.iter().map(|burst| format!("{:?} {}", burst.does, burst.rows)).collect();
        writeln!(
            f,
            "{} instances; {rate} changes/s, {updates} % updates, {deletes} % deletes, transactions {bursts:?}",
            self.instances
        )?;
        for Step { after, fault, lasts, into_next } in &self.steps {
            let until = if *into_next { ", into the next" } else { "" };
            writeln!(f, "  after {after} records: {fault}, for {lasts} changes{until}")?;
        }
        Ok(())
    }
}
