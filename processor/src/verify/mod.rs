//! `deltafan verify`: compares the source tables with what every sink holds, at one stated position.
//!
//! One snapshot of Postgres is the truth ([`table`]); a logical message behind it, passed on by Debezium, marks where the
//! topic holds all that the snapshot sees ([`log`]). Live traffic is no difference: every record names its transaction, so
//! it is known which changes the snapshot sees. A leaderboard is compared where it stands, by taking the records between it
//! and the snapshot into account ([`board`]); events are compared row by row ([`history`], [`event`], [`contents`]) once
//! their lane has passed the mark. All that decides is pure; it writes nothing but the mark, and knows no lane.

mod beginning;
mod board;
mod boards;
mod contents;
mod event;
mod files;
mod finding;
mod gather;
mod history;
mod log;
mod pipeline;
mod print;
mod progress;
mod receiver;
mod report;
mod sinks;
mod table;

#[cfg(test)]
mod tests;

use crate::config::Config;
use std::time::Duration;

pub use self::finding::{Finding, Kind, Tally};
pub use self::progress::Progress;
pub use self::report::{Compared, PipelineReport, Report};

/// What to compare, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Rows whose `event_ts` is this or later, in microseconds since 1970.
    pub since_us: i64,
    /// Rows whose `event_ts` is before this; none for all that come later.
    pub until_us: Option<i64>,
    /// Only sinks of these names, where there are any.
    pub sinks: Vec<String>,
    /// How many differences of each comparison are named.
    pub limit: usize,
    /// How long to wait until a lane, or Debezium, has passed the mark.
    pub wait: Duration,
    /// The topic to which Debezium passes logical messages on.
    pub messages: String,
}

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Somebody must act: configuration, rights, tables.
    #[error("{0}")]
    Act(String),
    /// Something is away or behind, which may pass by itself.
    #[error("{0}")]
    Away(String),
}

/// Compares every pipeline with its sinks. A sink that can't be compared is told in the report.
///
/// # Errors
/// The source can't be read, or the log, or there is nothing to compare.
pub async fn run(config: &Config, options: &Options, progress: &Progress) -> Result<Report, VerifyError> {
    let enabled = |name: &str, is_on: bool| {
        is_on && (options.sinks.is_empty() || options.sinks.iter().any(|only| only == name))
    };
    for only in &options.sinks {
        let mut sinks = config.pipelines.iter().flat_map(|(_, pipeline)| pipeline.sinks.iter());
        if !sinks.any(|(name, sink)| sink.enabled && name.as_str() == only) {
            return Err(VerifyError::Act(format!("no enabled sink of the configuration is called `{only}`")));
        }
    }
    let mut report = Report::default();
    for (name, pipeline) in config.pipelines.iter() {
        if pipeline.sinks.iter().any(|(name, sink)| enabled(name.as_str(), sink.enabled)) {
            let one = pipeline::Verification::new(config, name.as_str(), pipeline, options, progress);
            report.pipelines.push(one.run(&enabled).await?);
        }
    }
    progress.end();
    if report.pipelines.is_empty() {
        return Err(VerifyError::Act("no sink is enabled: there is nothing to compare".to_owned()));
    }
    Ok(report)
}
