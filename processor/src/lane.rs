//! A lane: the changes of one pipeline on their way to one sink.
//!
//! source → decode → enrich → transform → deliver → sink → commit. A lane runs some workers; each is a reader and a
//! writer on a thread of their own with a [`Handoff`] between them. Lanes share nothing but the process and the contents.

use crate::deliver::{Delivery, Lane};
use crate::health::{State, WorkerHealth};
use crate::sink::Sink;
use crate::source::Handoff;
use crate::source::client::Cluster;
use crate::source::reader::{Reader, Reading, SourceError};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A worker that was started.
pub struct Worker {
    handoff: Arc<Handoff>,
    reader: JoinHandle<Result<(), SourceError>>,
    writer: JoinHandle<()>,
}

/// What it takes to start the workers of a lane.
pub struct Plan {
    /// What the workers share.
    pub lane: Lane,
    /// What they read.
    pub reading: Reading,
    /// Where Kafka is.
    pub cluster: Cluster,
    /// How long a stop waits for the write in flight.
    pub patience: Duration,
}

/// Starts the workers of a lane, one for each place in `health`, each with a sink of its own made by `sink`. `failed` is told
/// when one ends by itself.
///
/// # Errors
/// The Kafka client refuses its settings, or the system gives no thread.
pub fn start<S: Sink + Send>(
    plan: &Plan,
    health: Vec<WorkerHealth>,
    sink: impl Fn() -> anyhow::Result<S>,
    failed: &Arc<dyn Fn(String) + Send + Sync>,
) -> anyhow::Result<Vec<Worker>> {
    health
        .into_iter()
        .enumerate()
        .map(|(number, health)| start_worker(plan, number, health, sink()?, Arc::clone(failed)))
        .collect()
}

fn start_worker<S: Sink + Send>(
    plan: &Plan,
    number: usize,
    health: WorkerHealth,
    sink: S,
    failed: Arc<dyn Fn(String) + Send + Sync>,
) -> anyhow::Result<Worker> {
    let handoff = Arc::new(Handoff::new(plan.reading.limits));
    let name = format!("{}.{number}", plan.reading.group);
    let reader = Reader::new(
        &plan.cluster,
        &name,
        plan.reading.clone(),
        Arc::clone(&handoff),
        health.clone(),
        plan.lane.metrics.clone(),
    )?;
    let delivery_health = health.clone();
    let (lane, delivery_handoff) = (plan.lane.clone(), Arc::clone(&handoff));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let writer = thread::Builder::new().name(format!("w:{}", plan.lane.name)).spawn(move || {
        runtime.block_on(Delivery::new(lane, delivery_handoff, delivery_health, sink).run());
    })?;
    let (lane_name, patience) = (plan.lane.name.clone(), plan.patience);
    let reader = thread::Builder::new().name(format!("r:{}", plan.lane.name)).spawn(move || {
        let ended = reader.run(patience);
        let why = ended.as_ref().err().map(ToString::to_string);
        health.set(State::Stopped { why: why.clone() });
        if let Some(why) = why {
            failed(format!("lane {lane_name}: {why}"));
        }
        ended
    })?;
    Ok(Worker { handoff, reader, writer })
}

impl Worker {
    /// Tells it to come to its end: the write in flight is finished and committed.
    pub fn stop(&self) {
        self.handoff.stop();
    }

    /// Whether both its threads have ended.
    pub fn has_ended(&self) -> bool {
        self.reader.is_finished() && self.writer.is_finished()
    }
}
