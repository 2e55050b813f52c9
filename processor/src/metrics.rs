//! Metrics: every name, once. Base units, `_total` for counters, and as few labels as tell the lanes apart.

use crate::position::{Offset, Partition};
use metrics::{
    Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge,
    histogram,
};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

/// Records read from Kafka. Labels: pipeline, sink.
pub const RECORDS_READ: &str = "deltafan_records_read_total";
/// Records that are no change of a row and so have no effect. Labels: pipeline, sink, kind.
pub const RECORDS_WITHOUT_EFFECT: &str = "deltafan_records_without_effect_total";
/// Whether the lane stands still by an operator's order: 1, else 0. Labels: pipeline, sink.
pub const LANE_PAUSED: &str = "deltafan_lane_paused";
/// Records not delivered that Kafka deletes soon. Labels: pipeline, sink, partition.
pub const LANE_EXPIRING_RECORDS: &str = "deltafan_lane_expiring_records";
/// Events whose effect is durable in the sink. Labels: pipeline, sink.
pub const EVENTS_DELIVERED: &str = "deltafan_events_delivered_total";
/// Records written to the dead-letter topic. Labels: pipeline, sink, stage.
pub const DEAD_LETTERS: &str = "deltafan_dead_letters_total";
/// Writes of at least one event that the sink has answered with success. Labels: pipeline, sink.
pub const SINK_WRITES: &str = "deltafan_sink_writes_total";
/// Writes that failed, by what follows. Labels: pipeline, sink, class.
pub const SINK_ERRORS: &str = "deltafan_sink_errors_total";
/// The breaker in front of the sink: 0 closed, 1 half-open, 2 open. Labels: pipeline, sink.
pub const SINK_BREAKER_STATE: &str = "deltafan_sink_breaker_state";
/// Time that a write waited for its turn, where `max_rate` limits the sink. Labels: pipeline, sink.
pub const SINK_RATE_WAIT_SECONDS: &str = "deltafan_sink_rate_wait_seconds";
/// Time that one successful write took. Labels: pipeline, sink.
pub const SINK_WRITE_SECONDS: &str = "deltafan_sink_write_seconds";
/// Time from the commit in Postgres until the effect was durable in the sink. Labels: pipeline, sink.
pub const SINK_LATENCY_SECONDS: &str = "deltafan_sink_latency_seconds";
/// Seconds until a leaderboard holds all that it should; 0 where it does. Labels: pipeline, sink, key.
pub const WINDOW_INCOMPLETE_SECONDS: &str = "deltafan_window_incomplete_seconds";
/// How often the order of the source broke: changes came again that were there before, or may have. Labels: pipeline, sink, sign.
pub const SOURCE_REPLAYS: &str = "deltafan_source_replays_total";
/// Contents that the cache knows.
pub const CONTENT_ENTRIES: &str = "deltafan_content_entries";
/// Contents asked for in Postgres, because the feed did not know them or not surely enough. Labels: outcome.
pub const CONTENT_LOOKUPS: &str = "deltafan_content_lookups_total";
/// Whether the connector that writes our topics runs: 1 or 0. Labels: connector.
pub const CONNECTOR_UP: &str = "deltafan_connector_up";
/// Restarts that Kafka Connect was asked for because the connector had failed. Labels: connector.
pub const CONNECTOR_RESTARTS: &str = "deltafan_connector_restarts_total";

/// Fine where a healthy pipeline is (milliseconds), coarse where it is not.
const LATENCY_BUCKETS: [f64; 24] = [
    0.001, 0.002, 0.003, 0.004, 0.006, 0.008, 0.01, 0.012, 0.015, 0.02, 0.025, 0.03, 0.035, 0.05, 0.075, 0.1,
    0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0,
];

/// What a metric counts or measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows; starts at 0 with each process.
    Counter,
    /// Is what it is.
    Gauge,
    /// Seconds, in buckets.
    Seconds,
}

/// A metric, as it is described to Prometheus and in docs/metrics.md.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is.
    pub kind: Kind,
    /// Its labels.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const LANE: &[&str] = &["pipeline", "sink"];

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
) -> Metric {
    Metric { name, kind, labels, help }
}

/// All of them.
pub const METRICS: [Metric; 18] = [
    metric(RECORDS_READ, Kind::Counter, LANE, "Records read from Kafka"),
    metric(
        RECORDS_WITHOUT_EFFECT,
        Kind::Counter,
        &["pipeline", "sink", "kind"],
        "Records that are no change of a row, by kind",
    ),
    metric(
        LANE_PAUSED,
        Kind::Gauge,
        LANE,
        "1 while the lane stands still because an operator has paused it, else 0",
    ),
    metric(
        LANE_EXPIRING_RECORDS,
        Kind::Gauge,
        &["pipeline", "sink", "partition"],
        "Records, at most, that are not delivered and have reached four fifths of the topic's retention",
    ),
    metric(EVENTS_DELIVERED, Kind::Counter, LANE, "Events whose effect is durable in the sink"),
    metric(
        DEAD_LETTERS,
        Kind::Counter,
        &["pipeline", "sink", "stage"],
        "Records written to the dead-letter topic, by stage",
    ),
    metric(SINK_WRITES, Kind::Counter, LANE, "Writes that the sink has answered with success"),
    metric(
        SINK_ERRORS,
        Kind::Counter,
        &["pipeline", "sink", "class"],
        "Writes that failed, by what follows from it",
    ),
    metric(
        SINK_BREAKER_STATE,
        Kind::Gauge,
        LANE,
        "The breaker in front of the sink: 0 closed, 1 half-open (one worker tries it), 2 open (it is left alone for a while)",
    ),
    metric(
        SINK_RATE_WAIT_SECONDS,
        Kind::Seconds,
        LANE,
        "Time that a write waited for its turn; none where no max_rate limits the sink",
    ),
    metric(SINK_WRITE_SECONDS, Kind::Seconds, LANE, "Time that one successful write took"),
    metric(
        SINK_LATENCY_SECONDS,
        Kind::Seconds,
        LANE,
        "Time from the commit in Postgres until the effect was durable in the sink",
    ),
    metric(
        WINDOW_INCOMPLETE_SECONDS,
        Kind::Gauge,
        &["pipeline", "sink", "key"],
        "Seconds until a leaderboard holds all that it should, after one that was lost could only be counted anew from what Kafka \
         still had; 0 where it does",
    ),
    metric(
        SOURCE_REPLAYS,
        Kind::Counter,
        &["pipeline", "sink", "sign"],
        "Breaks in the order of the source, by what they are a sign of: written_again (changes come again), set_back (the database was \
         set back to an earlier time), begun_anew (the connector without its offsets); each has the leaderboards made anew",
    ),
    metric(CONTENT_ENTRIES, Kind::Gauge, &[], "Contents that the cache knows"),
    metric(CONTENT_LOOKUPS, Kind::Counter, &["outcome"], "Contents asked for in Postgres, by outcome"),
    metric(CONNECTOR_UP, Kind::Gauge, &["connector"], "Whether the connector that writes our topics runs"),
    metric(
        CONNECTOR_RESTARTS,
        Kind::Counter,
        &["connector"],
        "Restarts asked for because the connector had failed",
    ),
];

/// Installs the recorder.
///
/// # Errors
/// One is installed already.
pub fn install() -> Result<PrometheusHandle, BuildError> {
    let handle = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &LATENCY_BUCKETS)?
        .install_recorder()?;
    for Metric { name, kind, help, .. } in METRICS {
        match kind {
            Kind::Counter => describe_counter!(name, help),
            Kind::Gauge => describe_gauge!(name, help),
            Kind::Seconds => describe_histogram!(name, Unit::Seconds, help),
        }
    }
    Ok(handle)
}

/// The metrics of one lane, looked up once.
#[derive(Clone)]
pub struct LaneMetrics {
    pipeline: String,
    sink: String,
    /// [`RECORDS_READ`].
    pub records_read: Counter,
    /// [`LANE_PAUSED`].
    pub paused: Gauge,
    /// [`EVENTS_DELIVERED`].
    pub events_delivered: Counter,
    /// [`SINK_WRITES`].
    pub writes: Counter,
    /// [`SINK_BREAKER_STATE`].
    pub breaker: Gauge,
    /// [`SINK_RATE_WAIT_SECONDS`].
    pub rate_wait_seconds: Histogram,
    /// [`SINK_WRITE_SECONDS`].
    pub write_seconds: Histogram,
    /// [`SINK_LATENCY_SECONDS`].
    pub latency_seconds: Histogram,
}

impl LaneMetrics {
    /// The metrics of the lane `pipeline`/`sink`.
    pub fn new(pipeline: &str, sink: &str) -> Self {
        let labels = [("pipeline", pipeline.to_owned()), ("sink", sink.to_owned())];
        Self {
            pipeline: pipeline.to_owned(),
            sink: sink.to_owned(),
            records_read: counter!(RECORDS_READ, &labels),
            paused: gauge!(LANE_PAUSED, &labels),
            events_delivered: counter!(EVENTS_DELIVERED, &labels),
            writes: counter!(SINK_WRITES, &labels),
            breaker: gauge!(SINK_BREAKER_STATE, &labels),
            rate_wait_seconds: histogram!(SINK_RATE_WAIT_SECONDS, &labels),
            write_seconds: histogram!(SINK_WRITE_SECONDS, &labels),
            latency_seconds: histogram!(SINK_LATENCY_SECONDS, &labels),
        }
    }

    fn count(&self, name: &'static str, label: &'static str, value: &'static str) {
        let lane =
            [("pipeline", self.pipeline.clone()), ("sink", self.sink.clone()), (label, value.to_owned())];
        counter!(name, &lane).increment(1);
    }

    /// Sets how many records of a partition are not delivered and about to be deleted.
    pub fn expiring(&self, partition: Partition, records: Offset) {
        let (pipeline, sink, partition) = (self.pipeline.clone(), self.sink.clone(), partition.to_string());
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        gauge!(LANE_EXPIRING_RECORDS, "pipeline" => pipeline, "sink" => sink, "partition" => partition)
            .set(f64::from(records));
    }

    /// Sets how long a leaderboard is incomplete.
    pub fn incomplete(&self, key: &str, seconds: i64) {
        let (pipeline, sink, key) = (self.pipeline.clone(), self.sink.clone(), key.to_owned());
        let seconds = u32::try_from(seconds.max(0)).unwrap_or(u32::MAX);
        gauge!(WINDOW_INCOMPLETE_SECONDS, "pipeline" => pipeline, "sink" => sink, "key" => key)
            .set(f64::from(seconds));
    }

    /// Counts a break in the order of the source.
    pub fn replayed(&self, sign: &'static str) {
        self.count(SOURCE_REPLAYS, "sign", sign);
    }

    /// Counts a record without effect.
    pub fn without_effect(&self, kind: &'static str) {
        self.count(RECORDS_WITHOUT_EFFECT, "kind", kind);
    }

    /// Counts a dead letter.
    pub fn dead_letter(&self, stage: &'static str) {
        self.count(DEAD_LETTERS, "stage", stage);
    }

    /// Counts a failed write.
    pub fn error(&self, class: &'static str) {
        self.count(SINK_ERRORS, "class", class);
    }
}
