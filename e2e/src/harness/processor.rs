//! The processor under test: a process with a configuration of its own, and its admin port.

use super::config::SINKS;
use super::metrics::Metrics;
use super::process::{Process, Recipe};
use super::receiver::Remote;
use super::wait::{self, Look, seen_if};
use anyhow::Result;
use serde_json::Value;
use std::time::Duration;

const START: Duration = Duration::from_secs(60);

/// Events whose effect is durable, by sink.
const DELIVERED: &str = "deltafan_events_delivered_total";
/// Successful writes, by sink.
const WRITES: &str = "deltafan_sink_writes_total";
/// From commit to durable, and of that the writes themselves, added up, by sink.
const LATENCY: &str = "deltafan_sink_latency_seconds_sum";
const WRITING: &str = "deltafan_sink_write_seconds_sum";

/// The admin port of a processor.
#[derive(Debug, Clone)]
pub struct Admin(Remote);

/// A processor that was started.
#[derive(Debug)]
pub struct Processor {
    /// Its process.
    pub process: Process,
    /// Its admin port.
    pub admin: Admin,
}

/// What a lane has done so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Done {
    /// Events delivered.
    pub events: f64,
    /// Writes that it took.
    pub writes: f64,
    /// What all events took from commit to durable, in seconds.
    pub latency_s: f64,
    /// What all writes took, in seconds.
    pub writing_s: f64,
}

impl Admin {
    /// The admin port at `address` (`host:port`).
    pub fn new(address: &str) -> Result<Self> {
        Ok(Self(Remote::new(&format!("http://{address}"))?))
    }

    /// `/readyz`: whether it is ready, and the state of each lane.
    pub async fn report(&self) -> Result<Value> {
        // One that is not ready says so by its status as well.
        let (_, text) = self.0.ask("/readyz").await?;
        Ok(serde_json::from_str(&text)?)
    }

    /// The states of a lane's workers, like `/readyz` tells them.
    pub async fn workers(&self, pipeline: &str, sink: &str) -> Result<Vec<Value>> {
        let report = self.report().await?;
        let lane = report.get("lanes").and_then(|lanes| lanes.get(format!("{pipeline}/{sink}")));
        let workers = lane.and_then(|lane| lane.get("workers")).and_then(Value::as_array);
        Ok(workers.cloned().unwrap_or_default())
    }

    /// Waits until every lane is ready.
    pub async fn ready(&self) -> Result<()> {
        wait::until("the processor is ready", START, async || {
            let report = self.report().await?;
            Ok(seen_if(report.get("ready") == Some(&Value::Bool(true)), || report.to_string()))
        })
        .await
    }

    /// Waits until some worker of the lane tells `what` in `place` (`reader` or `sink`); returns why.
    pub async fn lane_is(&self, pipeline: &str, sink: &str, place: &str, what: &str) -> Result<String> {
        wait::until(&format!("lane {sink} is {what}"), START, async || {
            let workers = self.workers(pipeline, sink).await?;
            let told = workers.iter().filter_map(|worker| worker.get(place));
            let fitting =
                told.into_iter().find(|told| told.get("state").and_then(Value::as_str) == Some(what));
            Ok(match fitting {
                Some(told) => {
                    Look::Seen(told.get("why").and_then(Value::as_str).unwrap_or_default().to_owned())
                }
                None => Look::NotYet(Value::Array(workers).to_string()),
            })
        })
        .await
    }

    /// How many workers of a lane read, that is own a partition.
    pub async fn reading(&self, pipeline: &str, sink: &str) -> Result<usize> {
        let workers = self.workers(pipeline, sink).await?;
        let reads = |worker: &&Value| {
            worker.get("reader").and_then(|reader| reader.get("state")).and_then(Value::as_str)
                == Some("running")
        };
        Ok(workers.iter().filter(reads).count())
    }

    /// `/metrics`.
    pub async fn metrics(&self) -> Result<Metrics> {
        Metrics::parse(&self.0.get("/metrics").await?)
    }

    /// What each lane has done, in the order of [`SINKS`].
    pub async fn done(&self, pipeline: &str) -> Result<[Done; 2]> {
        let metrics = self.metrics().await?;
        Ok(SINKS.map(|sink| {
            let labels = [("pipeline", pipeline), ("sink", sink)];
            let [events, writes, latency_s, writing_s] =
                [DELIVERED, WRITES, LATENCY, WRITING].map(|name| metrics.sum(name, &labels));
            Done { events, writes, latency_s, writing_s }
        }))
    }
}

impl Processor {
    /// Starts one whose admin port is at `admin`; does not wait until it is ready.
    pub fn start(recipe: Recipe, admin: &str) -> Result<Self> {
        Ok(Self { process: recipe.start()?, admin: Admin::new(admin)? })
    }
}
