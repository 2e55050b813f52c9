//! Leaderboards that lack something: told by log, `/readyz` and metric.

use crate::health::WorkerHealth;
use crate::metrics::LaneMetrics;
use std::time::{SystemTime, UNIX_EPOCH};
use webhook_protocol::format_instant;

/// Tells which leaderboards of a lane lack something, and for how long: there was nobody to ask when they were made anew.
pub(super) fn tell(
    (lane, metrics, health): &(String, LaneMetrics, Option<WorkerHealth>),
    windows: &[(String, i64)],
) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let now_s = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    for (key, whole_s) in windows {
        metrics.incomplete(key, if *whole_s > 0 { whole_s.saturating_sub(now_s) } else { 0 });
    }
    let lacking = windows.iter().filter(|(_, whole_s)| *whole_s > 0);
    let lacking = lacking.map(|(key, whole_s)| {
        format!("leaderboard `{key}` until {}", format_instant(whole_s.saturating_mul(1_000_000)))
    });
    let what = Some(lacking.collect::<Vec<_>>().join(", ")).filter(|what| !what.is_empty());
    if health.as_ref().is_some_and(|health| health.set_incomplete(what.clone())) {
        match what {
            Some(what) => tracing::warn!(lane, "incomplete: {what}"),
            None => tracing::info!(lane, "every leaderboard holds all that it should"),
        }
    }
}
